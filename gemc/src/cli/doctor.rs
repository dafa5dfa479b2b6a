//! `gemc doctor`: this machine -> what is installed, what is missing for which target, and the command that mends it. With
//! a file: see `files`.

mod machines;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::{Failure, Outcome, Run, Ui, files};
use crate::cache::Cache;
use crate::package::toolchain::{Rustc, first_line};
use crate::target::Target;

/// Say what is installed, what is missing for which target, and how to mend it; or whether a weight file or a plan's codes are whole
#[derive(clap::Args, Debug)]
pub struct Doctor {
    /// A weight file, a folder with model.gemw, or a plan's codes: read all of it, say what it is and what is damaged
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only what this target needs: its name (see `gemc targets`), `host`, or the path of a target file
    #[arg(long, value_name = "T", conflicts_with = "file")]
    target: Option<String>,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

/// What was looked for.
#[derive(Debug, PartialEq, Serialize)]
struct Check {
    what: String,
    /// What was found; nothing when it is missing.
    found: Option<String>,
    /// What works with it.
    needed_for: String,
    /// What mends it, when it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

#[derive(Debug, Serialize)]
struct DoctorReport {
    gemc: &'static str,
    checks: Vec<Check>,
}

impl fmt::Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "gemc {}", self.gemc)?;
        for check in &self.checks {
            let Check {
                what,
                found,
                needed_for,
                mend,
            } = check;
            match found {
                Some(found) => writeln!(f, "ok       {what}: {found} ({needed_for})")?,
                None => writeln!(f, "missing  {what} ({needed_for})")?,
            }
            if let Some(mend) = mend {
                writeln!(f, "         {mend}")?;
            }
        }
        let missing = self.checks.iter().filter(|c| c.found.is_none()).count();
        match missing {
            0 => write!(f, "nothing is missing"),
            n => write!(
                f,
                "{n} missing; `gemc run` and objects need none of the above"
            ),
        }
    }
}

impl Check {
    fn new(what: &str, found: Option<String>, needed_for: &str, mend: &str) -> Self {
        Self {
            what: what.to_owned(),
            mend: found.is_none().then(|| mend.to_owned()),
            found,
            needed_for: needed_for.to_owned(),
        }
    }

    /// A program, by the first line of what it says of its version.
    fn program(name: &str, argument: &str, needed_for: &str, mend: &str) -> Self {
        Self::new(
            name,
            first_line(&name.into(), &[argument]),
            needed_for,
            mend,
        )
    }
}

const RUSTUP: &str = "install it from https://rustup.rs";

/// What of the embedded targets runs here.
fn runs_here() -> Check {
    let runs = Target::all().into_iter().filter(Target::runs_here);
    let names: Vec<String> = runs.map(|target| target.name).collect();
    Check::new(
        "targets that run here",
        (!names.is_empty())
            .then(|| format!("{}; host is {}", names.join(", "), Target::host().name)),
        "gemc run",
        "gemc build works for other machines",
    )
}

/// What every machine may have.
fn here() -> Vec<Check> {
    vec![
        cache(),
        Check::program(
            "cargo",
            "--version",
            "gemc build --bin, --backend rust",
            RUSTUP,
        ),
        Check::program(
            "rustc",
            "--version",
            "gemc build --bin, --backend rust; 1.95 or newer",
            RUSTUP,
        ),
    ]
}

/// The cache, which is tried by opening it.
fn cache() -> Check {
    let opened = Cache::open().map(|cache| cache.root().display().to_string());
    let why = opened.as_ref().err().map(ToString::to_string);
    Check::new(
        "cache",
        opened.ok(),
        "keeps what was made, so that it is not made again",
        &format!(
            "set GEMC_CACHE to a folder that can be written: {}",
            why.unwrap_or_default()
        ),
    )
}

impl Run for Doctor {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        if let Some(file) = &self.file {
            return files::examine(file, self.json, ui);
        }
        let compilers = Rustc::all().unwrap_or_default();
        let target = self.target.as_deref().map(Target::find).transpose()?;
        let (mut checks, machines) = match &target {
            Some(target) => (Vec::new(), machines::checks_for(target, &compilers)),
            None => (vec![runs_here()], machines::checks(&compilers)),
        };
        checks.extend(here());
        checks.extend(machines);
        let found = DoctorReport {
            gemc: env!("CARGO_PKG_VERSION"),
            checks,
        };
        ui.result(self.json, &found)?;
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_what_mends_it() {
        let there = Check::program("cargo", "--version", "tests", "nothing");
        assert!(there.found.is_some_and(|v| v.starts_with("cargo")) && there.mend.is_none());
        let missing = Check::program("no-such-program", "-V", "nothing", "install it");
        assert_eq!(
            (missing.found, missing.mend),
            (None, Some("install it".to_owned()))
        );
    }
}
