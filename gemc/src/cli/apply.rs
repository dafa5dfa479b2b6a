//! `gemc apply`: a weight file and patches -> the weight file with the modules replaced.

use std::fmt;
use std::path::{Path, PathBuf};

use gem_runtime::file::MAGIC;
use gem_runtime::patch::{self, Patch, State};
use gem_runtime::storage::Weights;
use serde::Serialize;

use super::patch::PATCH;
use super::{Failure, Outcome, Run, Ui};
use crate::output::{Kind, OutputFile, place_all};

/// What weights are written over.
const WEIGHTS: Kind = Kind {
    name: "a weight file",
    is: |bytes| bytes.starts_with(&MAGIC),
};

/// Put modules into a weight file by patches that `gemc patch` made
#[derive(clap::Args, Debug)]
pub struct Apply {
    /// A weight file
    #[arg(value_name = "BASE.gemw")]
    base: PathBuf,
    /// Patches; those of one module in the order in which they were made
    #[arg(value_name = "PATCH.gemp", required = true)]
    patches: Vec<PathBuf>,
    /// File to write, which may be BASE.gemw: the old file or the new one is there at any time
    #[arg(
        short,
        long,
        value_name = "FILE.gemw",
        required_unless_present = "list"
    )]
    output: Option<PathBuf>,
    /// Also write the patch that takes the last one back
    #[arg(long, value_name = "FILE.gemp", conflicts_with = "list")]
    undo: Option<PathBuf>,
    /// Write no weights: say of every patch whether the weight file has it
    #[arg(long, conflicts_with = "output")]
    list: bool,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

/// A patch, and how the weights stand to it.
#[derive(Debug, Serialize)]
struct Line {
    patch: String,
    module: String,
    /// applied, applicable, or why neither.
    state: String,
}

#[derive(Debug, Serialize)]
struct ApplyReport {
    weights: String,
    patches: Vec<Line>,
}

impl fmt::Display for ApplyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.weights)?;
        for line in &self.patches {
            writeln!(
                f,
                "  {}: module `{}`, {}",
                line.patch, line.module, line.state
            )?;
        }
        Ok(())
    }
}

impl Run for Apply {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let patches = (self.patches.iter()).map(|path| Patch::open(path));
        let patches: Vec<Patch> = patches.collect::<Result<_, _>>()?;
        let (weights, state): (&Path, fn(&Weights, &Patch) -> String) = match &self.output {
            None => (&self.base, found),
            Some(output) => {
                let to = OutputFile::attempt(output, WEIGHTS)?;
                let undo = self.undo.as_deref();
                let undo = undo
                    .map(|path| OutputFile::attempt(path, PATCH))
                    .transpose()?;
                if undo.as_ref().is_some_and(|undo| undo.place() == to.place()) {
                    return Err(Failure::usage("--undo: needs another file than --output"));
                }
                // Before the weights are replaced, which may be those that it is made from.
                if let (Some(undo), Some((last, before))) = (&undo, patches.split_last()) {
                    let weights = Weights::open_patched(&self.base, before)?;
                    let back = last.reversed(&weights.as_file()?)?;
                    place_all([undo.write(back.as_bytes())?])?;
                }
                patch::apply(&self.base, &patches, to.place())?;
                (output, |_, _| "applied".to_owned())
            }
        };
        let read = Weights::open(weights)?;
        let line = |(path, patch): (&PathBuf, &Patch)| Line {
            patch: path.display().to_string(),
            module: patch.module().to_owned(),
            state: state(&read, patch),
        };
        let report = ApplyReport {
            weights: weights.display().to_string(),
            patches: self.patches.iter().zip(&patches).map(line).collect(),
        };
        ui.result(self.json, &report)?;
        Ok(Outcome::Done)
    }
}

/// How weights stand to a patch, in words.
fn found(weights: &Weights, patch: &Patch) -> String {
    let state = weights.as_file().and_then(|file| patch.state(&file));
    match state {
        Ok(State::Applied) => "applied".to_owned(),
        Ok(State::Applicable) => "applicable".to_owned(),
        Err(error) => error.to_string(),
    }
}
