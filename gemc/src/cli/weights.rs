//! `gemc weights`: a checkpoint's weights into the cache, for macros and build scripts that are compiled without optimisation.

use serde::Serialize;

use super::model::ModelArgs;
use super::{Failure, Outcome, Run, Ui};
use crate::cache::Cache;
use crate::pack::PACKING;
use crate::package::kept_weights;

/// Quantise a checkpoint's weights and keep them in the cache; prints where
#[derive(clap::Args, Debug)]
pub struct Weights {
    #[command(flatten)]
    model: ModelArgs,
    /// Fail unless this gemc rounds and packs as the one with this hash does
    #[arg(long, value_name = "HASH")]
    packing: Option<String>,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Kept {
    weights: String,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.weights)
    }
}

impl Run for Weights {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        if let Some(wanted) = self.packing.filter(|wanted| wanted != PACKING) {
            let words = format!("this gemc packs weights as {PACKING}, not as {wanted}");
            return Err(Failure::Input(words.into()));
        }
        let model = self.model.compile()?;
        let weights = kept_weights(&model, &Cache::open()?, ui)?;
        let weights = weights.display().to_string();
        ui.result(self.json, &Kept { weights })?;
        Ok(Outcome::Done)
    }
}
