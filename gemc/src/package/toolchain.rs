//! A Rust target -> the compiler with its standard library and the linker that make programs for it; or what is missing,
//! and the commands that bring it, which `gemc doctor` says in the same words.
//!
//! What the user gives wins: `RUSTC`, and `CARGO_TARGET_..._LINKER` as cargo knows it.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PackageError;

/// How a program is linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Linkage {
    /// With the C library of the machine that runs it.
    #[default]
    Dynamic,
    /// With the C library inside: needs nothing of the machine.
    Static,
}

/// Something that is not installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing, in words.
    pub what: String,
    /// The commands that bring it.
    pub mend: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "missing  {}\n         {}", self.what, self.mend)
    }
}

/// What Debian has for a machine.
struct Debian {
    /// Architecture, as Rust's targets begin.
    machine: &'static str,
    /// Debian's name of it.
    name: &'static str,
    /// How the names of its GNU tools begin.
    tools: &'static str,
}

const DEBIAN: &[Debian] = &[
    Debian {
        machine: "aarch64",
        name: "arm64",
        tools: "aarch64-linux-gnu",
    },
    Debian {
        machine: "armv7",
        name: "armhf",
        tools: "arm-linux-gnueabihf",
    },
    Debian {
        machine: "riscv64gc",
        name: "riscv64",
        tools: "riscv64-linux-gnu",
    },
    Debian {
        machine: "x86_64",
        name: "amd64",
        tools: "x86_64-linux-gnu",
    },
];

fn machine(triple: &str) -> &str {
    triple.split('-').next().unwrap_or(triple)
}

fn debian(triple: &str) -> Option<&'static Debian> {
    let known = DEBIAN.iter().find(|d| d.machine == machine(triple));
    known.filter(|_| triple.contains("-linux-"))
}

/// A Rust compiler that answered `-vV`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rustc {
    /// How it is called.
    pub program: OsString,
    /// What `-vV` says.
    version: String,
}

impl Rustc {
    /// The compilers of this machine that can build generated crates, the one to be preferred first: `RUSTC` alone where it
    /// is set, else that of the path, then those of Debian's packages.
    ///
    /// # Errors
    /// [`PackageError::NoToolchain`] when there is none.
    pub fn all() -> Result<Vec<Self>, PackageError> {
        if let Some(given) = std::env::var_os("RUSTC") {
            return Ok(vec![Self::ask(given)?]);
        }
        let first = Self::ask("rustc".into());
        let others = of_packages().into_iter();
        let others = others.filter_map(|path| Self::ask(path.into()).ok());
        let others: Vec<Self> = others.filter(Self::is_recent).collect();
        match first {
            Err(error) if others.is_empty() => Err(error),
            first => Ok(first.into_iter().chain(others).collect()),
        }
    }

    fn ask(program: OsString) -> Result<Self, PackageError> {
        let none = |source| PackageError::NoToolchain {
            program: program.to_string_lossy().into_owned(),
            source,
        };
        let output = Command::new(&program).arg("-vV").output().map_err(none)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(none(std::io::Error::other(said.trim().to_owned())));
        }
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Self { program, version })
    }

    /// What `-vV` says, which identifies it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The first line of it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.version.lines().next().unwrap_or_default().trim()
    }

    fn field(&self, name: &str) -> &str {
        let mut lines = self.version.lines();
        lines
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .unwrap_or_default()
    }

    /// The Rust target of the machine it runs on.
    #[must_use]
    pub fn host(&self) -> &str {
        self.field("host")
    }

    /// Whether generated crates allow it.
    fn is_recent(&self) -> bool {
        let numbers = |text: &str| -> Vec<u32> {
            let parts = text.split(['.', '-']).take(2);
            parts.map(|part| part.parse().unwrap_or(0)).collect()
        };
        numbers(self.field("release")) >= numbers(env!("CARGO_PKG_RUST_VERSION"))
    }

    /// Whether it has the standard library of a target.
    #[must_use]
    pub fn has_library(&self, triple: &str) -> bool {
        let folder = first_line(
            &self.program,
            &["--print", "target-libdir", "--target", triple],
        );
        let items = folder.and_then(|folder| std::fs::read_dir(folder).ok());
        let mut items = items.into_iter().flatten().flatten();
        items.any(|item| item.file_name().to_string_lossy().starts_with("libstd-"))
    }

    /// Where the sources of its standard library would be, and what stands for them in programs.
    pub(super) fn library_sources(&self) -> Option<(PathBuf, String)> {
        let sysroot = first_line(&self.program, &["--print", "sysroot"])?;
        let sources = Path::new(&sysroot).join("lib/rustlib/src/rust");
        Some((sources, format!("/rustc/{}", self.field("commit-hash"))))
    }
}

/// Where Debian's packages put compilers, the newest first.
fn of_packages() -> Vec<PathBuf> {
    let items = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let folders = items.filter(|item| item.file_name().to_string_lossy().starts_with("rust-"));
    let mut found: Vec<PathBuf> = folders.map(|item| item.path().join("bin/rustc")).collect();
    found.sort();
    found.push("/usr/bin/rustc".into());
    found.reverse();
    found.retain(|path| path.is_file());
    found
}

/// The first line that a program writes; nothing when it does not run or fails.
pub(crate) fn first_line(program: &OsString, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    output.status.success().then_some(line)
}

/// What links programs for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linker {
    /// How it is called.
    pub program: OsString,
    /// Whether the user, cargo or gemc chose it.
    choice: Choice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// By the user, in [`linker_variable`].
    Given,
    /// Rust: it need not be told.
    Default,
    /// By gemc, from what Debian calls the tools of the target.
    Ours,
}

/// Version of Android's interfaces that programs are linked for: the oldest that Rust's standard library knows.
const ANDROID_API: u32 = 21;

/// The folder of Android's native tools, as the user gives it.
pub const ANDROID_NDK: &str = "ANDROID_NDK_HOME";

/// The compiler that Android's native tools have for a target, in their folder or on the path.
fn android_linker(triple: &str, tools: Option<PathBuf>) -> OsString {
    let name = format!("{triple}{ANDROID_API}-clang");
    let host = format!("{}-x86_64", std::env::consts::OS);
    let folder = tools.map(|tools| tools.join("toolchains/llvm/prebuilt").join(host));
    match folder {
        Some(folder) => folder.join("bin").join(name).into(),
        None => name.into(),
    }
}

/// The variable that names a target's linker to cargo.
#[must_use]
pub fn linker_variable(triple: &str) -> String {
    let name = triple.to_ascii_uppercase().replace(['-', '.'], "_");
    format!("CARGO_TARGET_{name}_LINKER")
}

impl Linker {
    /// Of a target, on a host; nothing where only cargo knows.
    #[must_use]
    pub fn of(triple: &str, host: &str) -> Option<Self> {
        let (program, choice) = if let Some(given) = std::env::var_os(linker_variable(triple)) {
            (given, Choice::Given)
        } else if !triple.contains("-linux-") {
            return None;
        } else if triple.ends_with("-android") && triple != host {
            let tools = std::env::var_os(ANDROID_NDK).map(PathBuf::from);
            (android_linker(triple, tools), Choice::Ours)
        } else if machine(triple) == machine(host) && host.contains("-linux-") {
            ("cc".into(), Choice::Default)
        } else {
            let tools = debian(triple)?.tools;
            (format!("{tools}-gcc").into(), Choice::Ours)
        };
        Some(Self { program, choice })
    }

    /// Its version; nothing when it does not run. What a user gives is not tried.
    #[must_use]
    pub fn found(&self) -> Option<String> {
        match self.choice {
            Choice::Given => Some(self.program.to_string_lossy().into_owned()),
            Choice::Default | Choice::Ours => first_line(&self.program, &["--version"]),
        }
    }

    /// What must be said to cargo.
    pub(super) fn told(&self) -> Option<&OsString> {
        (self.choice == Choice::Ours).then_some(&self.program)
    }

    /// The program of the same tools that removes debug information from libraries.
    pub(super) fn strip(&self) -> OsString {
        let name = self.program.to_string_lossy();
        if name.ends_with("-clang") {
            return Path::new(&self.program).with_file_name("llvm-strip").into();
        }
        match name.strip_suffix("gcc") {
            Some(tools) => format!("{tools}strip").into(),
            None => "strip".into(),
        }
    }

    /// Where it has a library of C.
    #[must_use]
    pub fn library(&self, name: &str) -> Option<PathBuf> {
        let path = first_line(&self.program, &[&format!("-print-file-name={name}")])?;
        let path = PathBuf::from(path);
        (path.is_absolute() && path.exists()).then_some(path)
    }
}

/// The standard library of a target that no compiler here has.
#[must_use]
pub fn library_missing(triple: &str) -> Missing {
    let mut mend = match std::env::var_os("RUSTC") {
        Some(rustc) => format!(
            "rustup target add {triple}, or unset RUSTC, which is {}",
            rustc.display()
        ),
        None => format!("rustup target add {triple}"),
    };
    if let Some(debian) = debian(triple).filter(|_| triple.contains("-gnu")) {
        let name = debian.name;
        mend += &format!(
            "; on Debian also: dpkg --add-architecture {name} && apt-get update && \
             apt-get install rustc-web libstd-rust-web-dev:{name}"
        );
    }
    Missing {
        what: format!("Rust's standard library for {triple}"),
        mend,
    }
}

/// A linker that does not run.
#[must_use]
pub fn linker_missing(triple: &str, linker: &Linker) -> Missing {
    let package = match (linker.choice, debian(triple)) {
        (Choice::Ours, Some(debian)) => format!("gcc-{}", debian.tools.replace('_', "-")),
        _ => "gcc".to_owned(),
    };
    let variable = linker_variable(triple);
    let install = match triple.ends_with("-android") {
        true => format!("install Android's NDK and set {ANDROID_NDK} to its folder"),
        false => format!("apt-get install {package}"),
    };
    Missing {
        what: format!("{}, the linker for {triple}", linker.program.display()),
        mend: format!("{install}, or set {variable} to another"),
    }
}

/// A C library that can be linked into programs.
#[must_use]
pub fn static_missing(triple: &str, host: &str) -> Missing {
    let package = match debian(triple) {
        Some(debian) if machine(triple) != machine(host) => {
            format!("libc6-dev-{}-cross", debian.name)
        }
        _ => "libc6-dev".to_owned(),
    };
    let musl = musl(triple);
    Missing {
        what: format!("libc.a, the C library inside static programs for {triple}"),
        mend: format!(
            "apt-get install {package} (Fedora: glibc-static), or rustup target add {musl}"
        ),
    }
}

/// The target of the same machine whose C library is musl.
#[must_use]
pub fn musl(triple: &str) -> String {
    triple.replace("-linux-gnu", "-linux-musl")
}

/// What makes programs for a target.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The compiler, for this machine and for the target alike.
    pub rustc: Rustc,
    /// The linker, where it is known.
    pub linker: Option<Linker>,
    /// Triple of the Rust target.
    pub triple: String,
    /// How programs are linked.
    pub linkage: Linkage,
}

impl Toolchain {
    /// For a Rust target; `None` is the machine this runs on. A static program for glibc may become one for musl.
    ///
    /// # Errors
    /// [`PackageError::NoToolchain`], and [`PackageError::Missing`] with everything that is.
    pub fn find(triple: Option<&str>, linkage: Linkage) -> Result<Self, PackageError> {
        let compilers = Rustc::all()?;
        let host = compilers.first().map(Rustc::host).unwrap_or_default();
        let triple = triple.unwrap_or(host);
        let linker = Linker::of(triple, host);
        let rustc = compilers.iter().find(|rustc| rustc.has_library(triple));
        let mut missing = Vec::new();
        if rustc.is_none() {
            missing.push(library_missing(triple));
        }
        let absent = linker.as_ref().filter(|linker| linker.found().is_none());
        missing.extend(absent.map(|linker| linker_missing(triple, linker)));
        let mut found = triple.to_owned();
        if linkage == Linkage::Static {
            let has_musl = || rustc.is_some_and(|rustc| rustc.has_library(&musl(triple)));
            let has_libc = || {
                let linker = linker.as_ref().filter(|_| absent.is_none());
                linker.is_none_or(|linker| linker.library("libc.a").is_some())
            };
            match static_triple(triple, has_libc, has_musl)? {
                Some(triple) => found = triple,
                None => missing.push(static_missing(triple, host)),
            }
        }
        match rustc {
            Some(rustc) if missing.is_empty() => Ok(Self {
                rustc: rustc.clone(),
                linker,
                triple: found,
                linkage,
            }),
            _ => Err(PackageError::Missing {
                triple: triple.to_owned(),
                missing,
            }),
        }
    }
}

/// The target whose programs can be static: itself, or that of musl; `None` when a C library is missing.
///
/// # Errors
/// [`PackageError::NoStatic`] for systems that have no static programs.
fn static_triple(
    triple: &str,
    has_libc: impl FnOnce() -> bool,
    has_musl: impl FnOnce() -> bool,
) -> Result<Option<String>, PackageError> {
    if triple.contains("-linux-musl") {
        return Ok(Some(triple.to_owned()));
    }
    if !triple.contains("-linux-gnu") {
        return Err(PackageError::NoStatic {
            triple: triple.to_owned(),
        });
    }
    let glibc = has_libc().then(|| triple.to_owned());
    Ok(glibc.or_else(|| has_musl().then(|| musl(triple))))
}

#[cfg(test)]
mod tests;
