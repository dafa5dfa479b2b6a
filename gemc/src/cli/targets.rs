//! `gemc targets`: what can be built for.

use std::fmt;

use serde::Serialize;

use super::numbers::threads;
use super::{Failure, Outcome, Run, Ui};
use crate::measure;
use crate::progress::Progress as _;
use crate::target::{Costs, Memory, Target};

/// Show the targets that are built in, or everything about one
#[derive(clap::Args, Debug)]
pub struct Targets {
    /// Name of a target, `host`, or the path of a target file
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Measure what decoding takes on this machine, and show the target with that: what `gemc plan --latency` needs
    #[arg(long, requires = "name")]
    measure: bool,
    /// Threads to measure with; one for each fast core unless given
    #[arg(long, value_name = "N", requires = "measure", value_parser = threads)]
    threads: Option<u32>,
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
            let costs = match &target.costs {
                Some(costs) if costs.projected => "costs projected",
                Some(_) => "costs measured",
                None => "no costs",
            };
            let what = &target.description;
            writeln!(f, "{:16} {what} ({runs}; {costs})", target.name)?;
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

impl Targets {
    fn measured(&self, target: &Target, ui: &Ui) -> Result<Costs, Failure> {
        let missing = target.missing_here();
        if !target.is_native() || !missing.is_empty() {
            let lacks = match missing.is_empty() {
                true => "it is for another machine".to_owned(),
                false => format!("this machine lacks {}", missing.join(", ")),
            };
            let words = format!("--measure: {} does not run here: {lacks}", target.name);
            return Err(Failure::Input(words.into()));
        }
        ui.start("measuring this machine", 0);
        measure::measure(target, self.threads).map_err(|e| Failure::Input(Box::new(e)))
    }
}

impl Run for Targets {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        match &self.name {
            Some(name) => {
                let mut target = Target::find(name)?;
                if self.measure {
                    target.costs = Some(self.measured(&target, ui)?);
                    // Of the machine that the costs are of.
                    target.cores.clear();
                    let known = target.memory.take();
                    let cache = known.as_ref().and_then(|memory| memory.cache);
                    target.memory = measure::memory().map(|memory| Memory {
                        cache: memory.cache.or(cache),
                        ..memory
                    });
                    target.memory = target.memory.or(known);
                    for what in ["bandwidth", "cores"] {
                        target.provenance.remove(what);
                    }
                    let how = "measured by `gemc targets --measure`".to_owned();
                    target.provenance.insert("costs".to_owned(), how);
                }
                ui.result(self.json, &One(target))?;
            }
            None => ui.result(self.json, &List(Target::all()))?,
        }
        Ok(Outcome::Done)
    }
}
