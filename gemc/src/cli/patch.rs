//! `gemc patch`: a weight file, and a checkpoint in which one module was trained further -> what to ship in place of all weights.

use std::fmt;
use std::io::Cursor;
use std::path::PathBuf;

use gem_runtime::file::WeightFile;
use gem_runtime::patch::{MAGIC, State};
use gem_runtime::storage::Weights;
use serde::Serialize;

use super::model::ModelArgs;
use super::{Failure, Outcome, Run, Ui};
use crate::output::{Kind, OutputFile, place_all};
use crate::patch::{self, PatchError};
use crate::progress::Progress as _;

/// What a patch is written over.
pub const PATCH: Kind = Kind {
    name: "a patch",
    is: |bytes| bytes.starts_with(&MAGIC),
};

/// Replace one module of a shipped model: make what changes its weights, and nothing else of them
#[derive(clap::Args, Debug)]
pub struct Patch {
    /// The weight file that was shipped
    #[arg(value_name = "BASE.gemw")]
    base: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// The module that was trained further; every other tensor is as it was
    #[arg(long, value_name = "NAME")]
    module: String,
    /// File to write
    #[arg(short, long, value_name = "FILE.gemp")]
    output: PathBuf,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct PatchReport {
    output: String,
    module: String,
    bytes: u64,
    base_bytes: u64,
    /// Of the base's weights.
    replaced_bytes: u64,
}

impl fmt::Display for PatchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = 100.0 * self.bytes as f64 / self.base_bytes as f64;
        write!(
            f,
            "{}: module `{}`, {:.2} MB, {share:.1} % of the weight file",
            self.output,
            self.module,
            self.bytes as f64 / 1e6
        )
    }
}

impl Run for Patch {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let mut args = self.model;
        if args.formats.plan.is_none() {
            return Err(Failure::usage(
                "--plan: name the plan that the weight file was built with; its codes and moments stand beside it",
            ));
        }
        args.formats.patched = Some(self.module.clone());
        let to = OutputFile::attempt(&self.output, PATCH)?;
        let base = Weights::open_checked(&self.base)?;
        ui.start("rounding the module", 0);
        let model = args.compile()?;
        let mut after = Cursor::new(Vec::new());
        model.write_weights(&mut after, &mut |_| {})?;
        let after = after.into_inner();
        let (graph, layout) = (&model.loaded.graph, &model.compiled.layout);
        let made = patch::between(graph, layout, &self.module, &base, &after)?;
        if made.state(&WeightFile::parse(&after)?)? == State::Applicable {
            return Err(PatchError::Same(self.module).into());
        }
        place_all([to.write(made.as_bytes())?])?;
        let report = PatchReport {
            output: self.output.display().to_string(),
            module: self.module,
            bytes: made.as_bytes().len() as u64,
            base_bytes: base.file_bytes(),
            replaced_bytes: made.replaced_bytes(),
        };
        ui.result(self.json, &report)?;
        Ok(Outcome::Done)
    }
}
