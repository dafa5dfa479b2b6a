//! `gemc import-published`: the state dict of the paper's script -> a GEM checkpoint.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::{Failure, Outcome, Run, Ui};
use crate::import::published::{self, Published};

/// Make a GEM checkpoint of a state dict of the script published with the paper (docs/checkpoint.md)
#[derive(clap::Args, Debug)]
pub struct ImportPublished {
    /// The state dict, as safetensors
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// New folder for the checkpoint
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report(Published);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Published {
            layers,
            labels,
            tensors,
            left_out,
        } = &self.0;
        write!(
            f,
            "{layers} layers, {labels} labels: {tensors} tensors, {left_out} left out; put the tokenizer.json of the encoder \
             beside them to give it text"
        )
    }
}

impl Run for ImportPublished {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let made = published::convert(&self.file, &self.output)?;
        ui.result(self.json, &Report(made))?;
        Ok(Outcome::Done)
    }
}
