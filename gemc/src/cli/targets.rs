//! `gemc targets`: what can be built for.

use std::fmt;

use serde::Serialize;

use super::{Failure, Outcome, Run, Ui};
use crate::target::Target;

/// Show the targets that are built in, or everything about one
#[derive(clap::Args, Debug)]
pub struct Targets {
    /// Name of a target, `host`, or the path of a target file
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct List(Vec<Target>);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for target in &self.0 {
            let runs = if target.runs_here() {
                "runs here"
            } else {
                "does not run here"
            };
            writeln!(f, "{:16} {} ({runs})", target.name, target.description)?;
        }
        write!(f, "{:16} {}", "host", Target::host().name)
    }
}

#[derive(Serialize)]
struct One(Target);

impl fmt::Display for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = toml::to_string_pretty(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl Run for Targets {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        match &self.name {
            Some(name) => ui.result(self.json, &One(Target::find(name)?))?,
            None => ui.result(self.json, &List(Target::all()))?,
        }
        Ok(Outcome::Done)
    }
}
