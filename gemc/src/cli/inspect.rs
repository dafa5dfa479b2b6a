//! `gemc inspect`: a checkpoint -> its report.

use std::path::PathBuf;

use super::{Failure, Outcome, Run, Ui};
use crate::{import, inspect};

/// Check a checkpoint and show shapes, parameters, routing, and what is used, dropped, accepted and ignored
#[derive(clap::Args, Debug)]
pub struct Inspect {
    /// Folder with config.json and model.safetensors
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

impl Run for Inspect {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let checkpoint = import::checkpoint(&self.checkpoint)?;
        let report = inspect::report(&checkpoint)?;
        ui.result(self.json, &report)?;
        Ok(Outcome::Done)
    }
}
