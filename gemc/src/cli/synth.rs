//! `gemc synth`: a config -> a random checkpoint of that shape.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::numbers::whole;
use super::{Failure, Outcome, Run, Ui};
use crate::import::counted;
use crate::synth::{self, SyntheticCheckpoint};

/// Write a random checkpoint of any shape
#[derive(clap::Args, Debug)]
pub struct Synth {
    /// A config.json
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// New folder for the checkpoint
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// The same seed gives the same bytes
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = whole(0, u64::MAX))]
    seed: u64,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report(SyntheticCheckpoint);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = &self.0;
        let (tensors, files) = (
            counted(made.tensors, "tensor"),
            counted(made.files.len(), "file"),
        );
        write!(f, "{} parameters in {tensors}, {files}", made.parameters)?;
        if !made.tokenizer {
            f.write_str("; no tokenizer, since the vocabulary is below 256")?;
        }
        Ok(())
    }
}

impl Run for Synth {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let made = synth::synth(&self.config, &self.output, self.seed, ui)?;
        ui.result(self.json, &Report(made))?;
        Ok(Outcome::Done)
    }
}
