//! A checkpoint with the texts that its builds are fitted to and judged by.

use std::error::Error;
use std::path::Path;

pub mod judged;

use gemc::import::Split;
use gemc::pipeline::{self, LoadedCheckpoint};
use gemc::planner::Texts;

use self::judged::Judged;
use gemc::texts::{self, Extent};

/// Windows of evaluation text, of each domain.
const OF_DOMAIN: usize = 64;

/// Bytes of probabilities that a judge keeps, enough for all tokens.
pub const MEMORY: usize = 4 << 30;

/// A checkpoint and its texts.
pub struct Material {
    /// The checkpoint and its typed graph.
    pub loaded: LoadedCheckpoint,
    /// Tokens of a sequence.
    pub window: usize,
    /// Calibration text, divided as for a plan.
    pub texts: Texts,
    /// Windows of evaluation text.
    pub judged: Judged,
}

impl Material {
    /// Reads everything; evaluation text is the checkpoint's own, or that of another folder.
    ///
    /// # Errors
    /// When the folder is no checkpoint with texts of both kinds.
    pub fn open(checkpoint: &Path, evaluation: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let loaded = pipeline::load(checkpoint)?;
        let window = texts::window(&loaded);
        let read = |split, from, what| texts::documents(&loaded, split, from, what, Extent::All);
        let evaluation = read(Split::Evaluation, evaluation, "to measure on")?;
        let calibration = read(Split::Calibration, None, "to calibrate with")?;
        Ok(Self {
            window,
            texts: Texts::divide(&calibration, window),
            judged: Judged::spread(&evaluation, window, OF_DOMAIN),
            loaded,
        })
    }
}
