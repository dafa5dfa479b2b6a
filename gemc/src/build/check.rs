//! Arguments of the rustc that expands a macro -> whether it only checks, and where it writes.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::cache::Cache;

/// Programs that expand macros and never make a program, by their names without what systems add.
const CHECKERS: &[&str] = &[
    "clippy-driver",
    "rustdoc",
    "rust-analyzer",
    "rust-analyzer-proc-macro-srv",
];

/// What rustc writes when it makes code.
const CODE: &[&str] = &["link", "obj", "asm", "llvm-ir", "llvm-bc", "mir"];

/// The compiler that a macro is expanded by, as its arguments describe it.
#[derive(Clone, Debug, Default)]
pub struct Rustc {
    arguments: Vec<OsString>,
}

impl Rustc {
    /// The one with these arguments, its own name first.
    pub fn new(arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            arguments: arguments.into_iter().collect(),
        }
    }

    /// The one that this is part of.
    #[must_use]
    pub fn this() -> Self {
        Self::new(std::env::args_os())
    }

    /// Whether it makes no code. One that does not say so makes some.
    #[must_use]
    pub fn is_check(&self) -> bool {
        let name = self.arguments.first().map(Path::new);
        let name = name.and_then(Path::file_stem).unwrap_or_default();
        if CHECKERS.iter().any(|checker| name == OsStr::new(checker)) {
            return true;
        }
        let mut kinds = self.values("--emit").peekable();
        let made = |kinds: &OsStr| {
            let kinds = kinds.to_string_lossy().into_owned();
            let kinds = kinds.split(',').map(|kind| kind.split('=').next());
            kinds.flatten().any(|kind| CODE.contains(&kind))
        };
        kinds.peek().is_some() && !kinds.any(made)
    }

    /// Whether it optimises too little for kernels to be fast; by default it does.
    #[must_use]
    pub fn is_unoptimised(&self) -> bool {
        let codegen = self.values("-C").chain(self.values("--codegen"));
        let joined = self
            .arguments
            .iter()
            .filter_map(|a| a.to_str()?.strip_prefix("-C"));
        let options = codegen.filter_map(OsStr::to_str).chain(joined);
        let levels = options.filter_map(|option| option.strip_prefix("opt-level="));
        let optimises = |argument: &OsString| argument == "-O";
        match levels.last() {
            Some(level) => matches!(level, "0" | "1"),
            None => !self.arguments.iter().any(optimises),
        }
    }

    /// Values of an option, after `=` or as the next argument.
    fn values<'a>(&'a self, option: &'a str) -> impl Iterator<Item = &'a OsStr> {
        let next = self
            .arguments
            .iter()
            .skip(1)
            .map(OsString::as_os_str)
            .chain([OsStr::new("")]);
        self.arguments
            .iter()
            .zip(next)
            .filter_map(move |(argument, next)| {
                if argument == option {
                    return Some(next);
                }
                let text = argument.to_str()?;
                let value = text.strip_prefix(option)?.strip_prefix('=')?;
                Some(OsStr::new(value))
            })
    }

    /// A cache beside what it writes, in cargo's target folder, where there is no other.
    pub(super) fn beside_output(&self) -> Option<Cache> {
        let folder = PathBuf::from(self.values("--out-dir").next()?);
        Cache::at(&folder.parent()?.join("gemc")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rustc(line: &str) -> Rustc {
        Rustc::new(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn what_is_not_optimised_is_known_by_the_level() {
        for slow in [
            "rustc a.rs",
            "rustc a.rs -C opt-level=0",
            "rustc -Copt-level=1 a.rs",
            "rustc -O -Copt-level=0 a",
        ] {
            assert!(rustc(slow).is_unoptimised(), "{slow}");
        }
        for fast in [
            "rustc -O a.rs",
            "rustc -C opt-level=3",
            "rustc -Copt-level=s a",
            "rustc --codegen opt-level=2",
            "rustc --codegen=opt-level=3",
        ] {
            assert!(!rustc(fast).is_unoptimised(), "{fast}");
        }
    }

    #[test]
    fn checks_are_known_by_what_they_write() {
        for check in [
            "rustc --crate-name a src/lib.rs --emit=dep-info,metadata --out-dir t",
            "rustc a.rs --emit metadata",
            "rustc a.rs --emit=metadata=a.rmeta",
            "/a/clippy-driver rustc a.rs --emit=dep-info,metadata,link",
            "rustdoc a.rs",
            "C:/bin/rustdoc.exe a.rs",
            "/a/rust-analyzer-proc-macro-srv",
            "rust-analyzer proc-macro",
        ] {
            assert!(rustc(check).is_check(), "{check}");
        }
        for build in [
            "rustc --crate-name a src/lib.rs --emit=dep-info,metadata,link",
            "rustc a.rs --emit dep-info,link",
            "rustc a.rs --emit=link=a.out",
            "rustc a.rs --emit=metadata --emit=asm",
            "rustc a.rs",
            "something-else",
            "",
        ] {
            assert!(!rustc(build).is_check(), "{build}");
        }
    }
}
