//! Why there is no plan.

use gemc_format::Codec;

use crate::pipeline::CompileError;
use crate::reference::ReferenceError;
use crate::typing::TypingError;

/// Bits per weight of the smallest and the largest format.
fn sizes() -> [f64; 2] {
    let bits = Codec::LADDER.map(Codec::bits_per_weight);
    [bits[0], bits[bits.len() - 1]]
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlannerError {
    /// No number of bits.
    #[error("--bits {0}: allowed are numbers above 0; formats have {least} to {most}", least = sizes()[0], most = sizes()[1])]
    Bits(f64),
    /// Too few bits.
    #[error("--bits {bits}: no plan is that small; the smallest has {smallest:.4} bits per weight")]
    FewBits {
        /// Bits per weight that were asked for.
        bits: f64,
        /// The nearest that can be had.
        smallest: f64,
    },
    /// Too few bytes.
    #[error("{budget} bytes: no plan is that small; the smallest takes {smallest}")]
    Budget {
        /// Bytes that were asked for.
        budget: u64,
        /// The nearest that can be had.
        smallest: u64,
    },
    /// Nothing is known of the target's speed.
    #[error(
        "--latency: the speed of target {target} is not known; run `gemc targets host --measure` on the device and give \
         what it prints as the target's file"
    )]
    NoCosts {
        /// Name of the target.
        target: String,
    },
    /// No kernels can be made of the model.
    #[error(transparent)]
    Compile(#[from] Box<CompileError>),
    /// The time asked for is not a number above 0.
    #[error("--latency: {0:.4} ms; allowed are numbers above 0")]
    Latency(f64),
    /// Too little time.
    #[error(
        "--latency {asked:.4} ms: no plan of this size is that fast; the fastest takes {quickest:.4} ms"
    )]
    Slow {
        /// Milliseconds asked for.
        asked: f64,
        /// The nearest that can be had.
        quickest: f64,
    },
    /// A value of `--override` that fits no unit or no format.
    #[error("--override: {0}")]
    Override(String),
    /// How activations are rounded.
    #[error("--activations: {0}")]
    Activations(String),
    /// Nothing to calibrate with.
    #[error(
        "no calibration text: {0}; allowed: a folder of <domain>.jsonl files, each line {{\"text\": …}}"
    )]
    NoText(String),
    /// Too little of it.
    #[error(
        "the calibration text is too short: {tokens} tokens for moments, and these modules saw fewer than {least}: {modules}"
    )]
    Short {
        /// How much there is.
        tokens: u64,
        /// How many rows a module needs.
        least: u64,
        /// Names of the modules that saw too few rows.
        modules: String,
    },
    /// A fault of gemc: the checkpoint's graph did not fit together.
    #[error(transparent)]
    Typing(#[from] TypingError),
    /// The executor cannot run the model on the texts.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}
