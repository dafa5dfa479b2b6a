//! `include_model!`: a model as a module of a program. All work is `gemc::Build`'s; here arguments are read.
//!
//! ```ignore
//! gem_macros::include_model!("models/gem-cls", bits = 4.25);
//!
//! use gem_runtime::Model as _;
//!
//! fn main() -> gem_runtime::Result<()> {
//!     let model = gem_cls::Model::embedded()?;
//!     println!("{}", model.classify("a fine day")?[0].label);
//!     Ok(())
//! }
//! ```

mod arguments;

use std::path::{Path, PathBuf};

use gemc::build::{Build, Rustc};
use proc_macro::TokenStream;

/// A model as a module: `include_model!("FOLDER", KEY = VALUE, ...)`.
///
/// The folder is relative to that of the crate's `Cargo.toml`; `org/name` is found in the cache of the Hugging Face hub where
/// there is no such folder. The module is called as the folder, in snake case, and has
/// the interface of a crate that `gemc build` generates: `Model`, `INFO`.
///
/// | key | value | unless given |
/// |---|---|---|
/// | `bits` | a uniform format, `4.25` or `"mx4"` for instance | 4.25 |
/// | `plan` | path of a plan that `gemc plan` made, relative as the folder | a uniform format |
/// | `target` | a target's name, or a list of names of one architecture, the best first | every level of x86-64, aarch64, portable code |
/// | `name` | name of the module | the folder's |
/// | `weights` | `"embed"`: part of the program, up to 16 MB; `"file"`: in a file that `Model::open` is given | `"embed"` |
/// | `text` | whether the tokenizer becomes part of the program | `true` |
/// | `crate` | path of gem-runtime | `::gem_runtime` |
///
/// Checks (`cargo check`, clippy, rust-analyzer) get the interface without kernels and weights. Weights are kept in
/// `$GEMC_CACHE`, else the user's cache, else cargo's target folder.
#[proc_macro]
pub fn include_model(input: TokenStream) -> TokenStream {
    let expanded = syn::parse::<arguments::Arguments>(input).and_then(|arguments| {
        let build: Build = arguments.build(&root())?;
        let module = build.module(&Rustc::this());
        module.map_err(|error| syn::Error::new(arguments.folder.span(), error))
    });
    expanded
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

/// Folder of the crate that is compiled.
fn root() -> PathBuf {
    let root = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    root.unwrap_or_else(|| Path::new(".").to_owned())
}
