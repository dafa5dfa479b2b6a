//! `gemc inspect`: a checkpoint -> its report.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::{Failure, Outcome, Run, Ui};
use crate::import::Split;
use crate::inspect::Inspection;
use crate::plan::dead::DeadWeight;
use crate::texts::{Extent, TextSource};
use crate::{dead, import, inspect, pipeline, sequences, texts};

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
    /// Also say what leaving out each branch costs, measured on calibration text: a folder of `<domain>.jsonl` or a plain text;
    /// without a PATH the checkpoint's own, or a packaged default where it has none
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true)]
    calib: Option<Option<PathBuf>>,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

/// What is told of a checkpoint.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    inspection: Inspection,
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead: Option<DeadWeight>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inspection)?;
        if let Some(text) = &self.calibration_text {
            writeln!(f, "measured on {text}")?;
        }
        match &self.dead {
            Some(dead) => write!(f, "{dead}"),
            None => Ok(()),
        }
    }
}

impl Run for Inspect {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let Some(calib) = &self.calib else {
            let most = if self.check { u64::MAX } else { READ };
            let checkpoint = import::checkpoint_with(&self.checkpoint, most)?;
            let inspection = inspect::report(&checkpoint)?;
            ui.result(self.json, &inspection)?;
            return Ok(Outcome::Done);
        };
        let loaded = pipeline::load(&self.checkpoint)?;
        let inspection = inspect::report(&loaded.checkpoint)?;
        let (dir, split) = (loaded.checkpoint.dir(), Split::Calibration);
        let source = TextSource::find(dir, split, calib.as_deref())?;
        let documents = texts::read(&loaded, &source, "to measure on", Extent::Plan)?;
        let mixed = sequences::windows(&documents, texts::window(&loaded), usize::MAX);
        let dead = dead::measure(&loaded.reference(), &mixed, None, ui)?;
        let told = Told {
            inspection,
            calibration_text: source.name(),
            dead: Some(dead),
        };
        ui.result(self.json, &told)?;
        Ok(Outcome::Done)
    }
}
