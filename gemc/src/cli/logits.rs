//! `gemc logits`: token ids -> logits, for parity checks; needs no tokenizer.

use std::path::PathBuf;

use super::{Failure, Outcome, Run, Ui};
use crate::pipeline;
use crate::reference::{self, Reference};

/// Print the logits of token ids, for parity checks
#[derive(clap::Args, Debug)]
pub struct Logits {
    /// Folder with config.json and model.safetensors
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Token ids, separated by commas
    #[arg(
        long,
        value_name = "1,5,9",
        value_delimiter = ',',
        num_args = 1,
        required = true
    )]
    ids: Vec<u32>,
    /// Only those of the last so many positions
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// What computes them
    #[arg(long, value_enum, default_value_t = Backend::Reference)]
    backend: Backend,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Backend {
    /// The f32 executor on the weights as they are
    Reference,
}

impl Run for Logits {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let loaded = pipeline::load(&self.checkpoint)?;
        let logits = match self.backend {
            Backend::Reference => {
                let reference = Reference::new(&loaded.graph, loaded.checkpoint.weights());
                reference::logits(&reference, &self.ids, self.last)?
            }
        };
        ui.result(self.json, &logits)?;
        Ok(Outcome::Done)
    }
}
