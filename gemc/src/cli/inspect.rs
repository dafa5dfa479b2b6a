//! `gemc inspect`: a checkpoint -> its report.

use std::path::PathBuf;

use super::{Failure, Outcome, Run, Ui};
use crate::{import, inspect};

/// Bytes whose values are read without being asked to: seconds.
const READ: u64 = 4 << 30;

/// Check a checkpoint and show shapes, parameters, routing, and what is used, dropped, accepted and ignored
#[derive(clap::Args, Debug)]
pub struct Inspect {
    /// Folder with config.json and model.safetensors
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Also read the values of a checkpoint of more than 4 GiB, for NaN and infinity; those of a smaller one always are
    #[arg(long)]
    check: bool,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

impl Run for Inspect {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let most = if self.check { u64::MAX } else { READ };
        let checkpoint = import::checkpoint_with(&self.checkpoint, most)?;
        let report = inspect::report(&checkpoint)?;
        ui.result(self.json, &report)?;
        Ok(Outcome::Done)
    }
}
