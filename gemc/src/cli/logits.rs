//! `gemc logits`: token ids -> logits, for parity checks; needs no tokenizer.

use gem_runtime::protocol::{LogitsRequest, Setup, Which};

use super::model::{Backend, ModelArgs};
use super::numbers::{threads, whole};
use super::{Failure, Outcome, Run, Ui};
use crate::pipeline;
use crate::reference::{self, Logits as Rows};

/// Print the logits of token ids, for parity checks
#[derive(clap::Args, Debug)]
pub struct Logits {
    #[command(flatten)]
    model: ModelArgs,
    /// Token ids, separated by commas
    #[arg(
        long,
        value_name = "1,5,9",
        value_delimiter = ',',
        num_args = 1,
        required = true,
        value_parser = whole(0, u32::MAX)
    )]
    ids: Vec<u32>,
    /// Only those of the last so many positions
    #[arg(long, value_name = "N", value_parser = whole(1, usize::MAX))]
    last: Option<usize>,
    /// What computes them
    #[arg(long, value_enum, default_value_t = LogitsSource::Reference)]
    backend: LogitsSource,
    /// Threads of a program
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<u32>,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LogitsSource {
    /// The f32 executor on the weights as they are
    Reference,
    /// The generated crate, compiled once and cached
    Rust,
    /// Machine code made in this process, without a Rust toolchain
    Jit,
    /// The interpreter: slow, and checks every access
    Interp,
}

impl Run for Logits {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let logits = match self.backend {
            LogitsSource::Reference => {
                let loaded = pipeline::load(&self.model.checkpoint)?;
                let reference = loaded.reference();
                reference::logits(&reference, &self.ids, self.last)?
            }
            LogitsSource::Rust => self.program(Backend::Rust, ui)?,
            LogitsSource::Jit => self.program(Backend::Jit, ui)?,
            LogitsSource::Interp => self.program(Backend::Interp, ui)?,
        };
        ui.result(self.json, &logits)?;
        Ok(Outcome::Done)
    }
}

impl Logits {
    fn program(&self, backend: Backend, ui: &Ui) -> Result<Rows, Failure> {
        let last = |n| Which::Last(u32::try_from(n).unwrap_or(u32::MAX));
        let request = LogitsRequest {
            ids: self.ids.clone(),
            which: self.last.map_or(Which::All, last),
            setup: Setup {
                threads: self.threads,
                context: None,
            },
            ..LogitsRequest::default()
        };
        self.model.compile()?.answer(backend, ui, |peer| {
            let mut logits = Vec::new();
            let result = peer.logits(&request, &mut |_, row| logits.push(row.to_vec()))?;
            for (site, values) in &result.saturated {
                ui.note(&format!(
                    "warning: {values} keys and values of {site} are too large for f16 and were cut to 65504; --kv f32 or \
                     --kv int8 holds them"
                ));
            }
            Ok(Rows { logits })
        })
    }
}
