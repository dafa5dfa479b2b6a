//! The crate that lies in the cache -> what cargo makes of it, with no path of this machine in it.
//!
//! rustc writes paths into messages, so each that may occur is replaced: the cache's, those of crates from elsewhere, and
//! those of Rust's own library.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;

use super::toolchain::{Linkage, Toolchain, linker_variable};
use super::{PackageError, guard};
use crate::cache::{CARGO, CARGO_MARK, CRATE};

/// Has random numbers, which hash tables of the tokenizer begin with, come from the system call alone. Else `getrandom`
/// looks for its function in the C library while the program runs, which a static one cannot, and then for `/dev/urandom`.
const RANDOM: &str = "--cfg=getrandom_backend=\"linux_getrandom\"";

/// What separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: &str = "\x1f";

/// Cargo, the compiler it is told to use, and the cache it works in.
#[derive(Clone, Copy)]
pub struct Compile<'a> {
    /// Root of the cache.
    pub root: &'a Path,
    pub cargo: &'a OsStr,
    pub toolchain: &'a Toolchain,
}

impl Compile<'_> {
    /// Builds the crate; the path of the file of this name that cargo made. `arguments` say which part of the crate.
    ///
    /// # Errors
    /// With cargo's own words when it fails.
    pub fn build(self, arguments: &[String], built: &str) -> Result<PathBuf, PackageError> {
        self.mark_target()?;
        let flags = self.flags()?;
        let target = self.root.join(CARGO);
        let triple = &self.toolchain.triple;
        // Everything is there now. `--target` keeps the flags from what runs here: build scripts and macros.
        let mut command = self.command("rustc");
        command
            .args(["--release", "--offline", "--target", triple])
            .args(arguments)
            // Over whatever cargo's own configuration says of what is shipped.
            .args(["--config", "profile.release.strip = true"])
            .args(["--config", "profile.release.debug = false"])
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join(SEPARATOR.as_ref()));
        let linker = self.toolchain.linker.as_ref();
        if let Some(linker) = linker.and_then(|linker| linker.told()) {
            command.env(linker_variable(triple), linker);
        }
        // Only what links must know; so static programs share all else with others.
        if self.toolchain.linkage == Linkage::Static {
            command.args(["--", "-C", "target-feature=+crt-static"]);
        }
        self.run(&command)?;
        Ok(target.join(triple).join("release").join(built))
    }

    /// Marks cargo's folder as one that may be removed.
    fn mark_target(self) -> Result<(), PackageError> {
        let target = self.root.join(CARGO);
        let mark = target.join(CARGO_MARK);
        // Nothing that was there before is taken for ours; an empty folder is what a killed run left.
        let made = fs::create_dir(&target);
        let ours =
            made.is_ok() || fs::read_dir(&target).is_ok_and(|mut held| held.next().is_none());
        match ours {
            true => fs::write(&mark, "").map_err(PackageError::io(&mark)),
            false if target.exists() => Ok(()),
            false => made.map_err(PackageError::io(&mark)),
        }
    }

    /// Flags of rustc: the user's, then what replaces paths of this machine.
    fn flags(self) -> Result<Vec<OsString>, PackageError> {
        let mut paths = vec![(self.root.to_owned(), "gemc".to_owned())];
        let folders = self.crates()?.into_iter();
        paths.extend(folders.map(|folder| (folder, "crates".to_owned())));
        paths.extend(self.toolchain.rustc.library_sources());
        let replaced = paths.into_iter().map(|(from, to)| {
            let mut flag = OsString::from("--remap-path-prefix=");
            flag.push(from);
            flag.push(format!("={to}"));
            flag
        });
        let given = user_flags();
        let given = given.split_whitespace().map(OsString::from);
        let linux = self.toolchain.triple.contains("-linux-");
        let random = linux.then(|| RANDOM.into());
        Ok(given.chain(random).chain(replaced).collect())
    }

    /// The folders that the crates of the lock file lie in, after they were downloaded, unless they are there.
    fn crates(self) -> Result<BTreeSet<PathBuf>, PackageError> {
        let metadata = |offline: &[&str]| {
            let mut command = self.command("metadata");
            command.args(["--format-version", "1"]).args(offline);
            for triple in [self.toolchain.rustc.host(), &self.toolchain.triple] {
                command.args(["--filter-platform", triple]);
            }
            self.run(&command)
        };
        let output = match metadata(&["--offline"]) {
            Err(e) if needs_network(&e) => metadata(&[]),
            output => output,
        }?;
        folders_of_crates(&output.stdout)
    }

    fn command(self, verb: &str) -> Command {
        let dir = self.root.join(CRATE);
        let mut command = Command::new(self.cargo);
        command
            .args([verb, "--locked", "--manifest-path"])
            .arg(dir.join("Cargo.toml"))
            .env("RUSTC", &self.toolchain.rustc.program)
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .current_dir(dir);
        command
    }

    fn run(self, command: &Command) -> Result<Output, PackageError> {
        let output = guard::output(command).map_err(no_toolchain(self.cargo))?;
        if output.status.success() {
            return Ok(output);
        }
        let output = last_lines(&output.stderr);
        Err(PackageError::Cargo { output })
    }
}

/// What of the toolchain, and of what is said to it, a program depends on.
pub fn circumstance(toolchain: &Toolchain) -> String {
    let Toolchain {
        rustc,
        triple,
        linkage,
        ..
    } = toolchain;
    let flags = user_flags();
    format!(
        "{}{flags}\n{triple}\n{linkage:?}\n{RANDOM}",
        rustc.version()
    )
}

/// A library without the debug information of Rust's standard library, which cargo's profile does not reach. Where there
/// is nothing that removes it, it stays: it holds paths of Rust's makers only.
pub fn stripped(toolchain: &Toolchain, library: PathBuf) -> PathBuf {
    let Some(linker) = &toolchain.linker else {
        return library;
    };
    let to = library.with_extension("stripped");
    let status = Command::new(linker.strip())
        .args(["--strip-debug", "--enable-deterministic-archives", "-o"])
        .arg(&to)
        .arg(&library)
        .output();
    match status {
        Ok(output) if output.status.success() => to,
        _ => library,
    }
}

/// Flags that the user gives in the environment. Those of cargo's configuration files do not count: what is shipped must
/// not depend on them.
fn user_flags() -> String {
    let flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.to_string_lossy().into_owned()
}

/// What `cargo metadata` writes, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    manifest_path: PathBuf,
    /// Nothing for the crate itself and what it brings along.
    source: Option<String>,
}

/// The folders in which crates from elsewhere lie: the registry's, or that of `cargo vendor`.
fn folders_of_crates(metadata: &[u8]) -> Result<BTreeSet<PathBuf>, PackageError> {
    let metadata: Metadata = serde_json::from_slice(metadata).map_err(|e| PackageError::Cargo {
        output: format!("cargo metadata: {e}"),
    })?;
    let others = metadata.packages.iter().filter(|p| p.source.is_some());
    let folders = others.filter_map(|p| p.manifest_path.parent()?.parent());
    Ok(folders.map(Path::to_owned).collect())
}

/// What it means that a tool does not start: it is not there, or the system starts nothing.
fn no_toolchain(program: &OsStr) -> impl FnOnce(io::Error) -> PackageError + '_ {
    |source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => PackageError::NoToolchain {
            program: program.to_string_lossy().into_owned(),
            source,
        },
        _ => PackageError::io(Path::new(program))(source),
    }
}

/// Whether cargo failed only because a crate has not been downloaded yet: then it names the option that forbids it.
fn needs_network(error: &PackageError) -> bool {
    matches!(error, PackageError::Cargo { output } if output.contains("--offline"))
}

/// The end of a long text.
fn last_lines(bytes: &[u8]) -> String {
    const LINES: usize = 60;
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_from_elsewhere_are_found() {
        let metadata = br#"{"packages": [
            {"name": "m", "source": null, "manifest_path": "/cache/crate/Cargo.toml"},
            {"name": "a", "source": "registry+x", "manifest_path": "/home/u/r/a-1.0.0/Cargo.toml"},
            {"name": "b", "source": "registry+x", "manifest_path": "/home/u/r/b-1.0.0/Cargo.toml"}
        ]}"#;
        let found = folders_of_crates(metadata).expect("JSON");
        assert_eq!(Vec::from_iter(found), [PathBuf::from("/home/u/r")]);
        assert!(folders_of_crates(b"{").is_err());
    }
}
