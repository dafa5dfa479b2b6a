//! Why a model does not become a module, each in a paragraph that says what to do.

use std::path::PathBuf;

use crate::cache::CacheError;
use crate::package::PackageError;
use crate::pipeline::CompileError;
use crate::prepared::FormatsError;
use crate::target::TargetError;

/// Why a model does not become a module.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The checkpoint.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The plan, or the name of a format.
    #[error(transparent)]
    Formats(#[from] FormatsError),
    /// The target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Targets of several architectures.
    #[error(
        "`{0}` and `{1}` are for different architectures; name targets of one, or none for all"
    )]
    Architectures(String, String),
    /// No module can be called so.
    #[error(
        "`{0}` cannot be the name of a module; allowed: letters, digits and `_`, no keyword, not beginning with a digit"
    )]
    Name(String),
    /// Weights that would make every build slow.
    #[error(
        "{}: the weight file has {megabytes} MB, and at most {largest} MB become part of a program; use `weights = \"file\"` \
         and give the file to `Model::open`, or join program and weights with `gemc bundle`",
        checkpoint.display()
    )]
    TooLargeToEmbed {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// Its weight file.
        megabytes: u64,
        /// What is allowed.
        largest: u64,
    },
    /// Inputs that rustc would read in every build.
    #[error(
        "{}: the checkpoint has {megabytes} MB, which rustc would read again for every check and build, since that is how it \
         tracks a macro's inputs; at most {largest} MB are. Use a build script:\n\
         fn main() {{ gemc::Build::new(\"{}\").compile().unwrap_or_else(|e| gemc::build::fail(&e)) }}",
        checkpoint.display(),
        checkpoint.display()
    )]
    TooLargeToTrack {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// All its files.
        megabytes: u64,
        /// What is allowed.
        largest: u64,
    },
    /// Rounding that would take minutes, since nothing is optimised.
    #[error(
        "{}: {millions} million weights are to be rounded by a gemc that is compiled without optimisation, which would take \
         minutes; add `[profile.dev.package] gemc-format.opt-level = 3` to the Cargo.toml of the workspace, or install a gemc of this \
         version, which then does the work: `cargo install --path gemc`",
        checkpoint.display()
    )]
    Unoptimised {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// Its quantised weights, in millions.
        millions: u64,
    },
    /// A path that cannot be written in source code.
    #[error("{}: the path is not UTF-8, so no program can include it", .0.display())]
    Path(PathBuf),
    /// There is nowhere to keep weights.
    #[error(
        "quantised weights can be kept nowhere: set GEMC_CACHE to a folder that can be written ({0})"
    )]
    NoPlace(String),
    /// The weights.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The cache's size.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A build script that cargo did not start.
    #[error("{0} is not set: a build script is run by cargo")]
    NotCargo(&'static str),
    /// A fault of gemc.
    #[error("internal fault, please report: {0}")]
    Internal(String),
}
