//! A checkpoint with the texts that its builds are fitted to and judged by.

use std::error::Error;
use std::path::Path;

use gemc::import::Split;
use gemc::pipeline::{self, LoadedCheckpoint};
use gemc::planner::Texts;
use gemc::sequences::{self, Sequence};
use gemc::texts::{self, Extent};

/// Tokens of evaluation text.
const TOKENS: usize = 16_384;

/// Bytes of probabilities that a judge keeps, enough for all tokens.
pub const MEMORY: usize = 2 << 30;

/// A checkpoint and its texts.
pub struct Material {
    /// The checkpoint.
    pub loaded: LoadedCheckpoint,
    /// Tokens of a sequence.
    pub window: usize,
    /// Calibration text, divided as for a plan.
    pub texts: Texts,
    /// Windows of evaluation text.
    pub evaluation: Vec<Sequence>,
}

impl Material {
    /// Reads everything.
    ///
    /// # Errors
    /// When the folder is no checkpoint with texts of both kinds.
    pub fn open(checkpoint: &Path) -> Result<Self, Box<dyn Error>> {
        let loaded = pipeline::load(checkpoint)?;
        let window = texts::window(&loaded);
        let read = |split, what| texts::documents(&loaded, split, None, what, Extent::All);
        let evaluation = read(Split::Evaluation, "to measure on")?;
        let calibration = read(Split::Calibration, "to calibrate with")?;
        Ok(Self {
            window,
            texts: Texts::divide(&calibration, window),
            evaluation: sequences::windows(&evaluation, window, TOKENS),
            loaded,
        })
    }
}
