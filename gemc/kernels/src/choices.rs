//! What kernels differ in by a model's, a plan's or a target's choice.

use serde::{Deserialize, Serialize};

/// How keys and values of attention are kept: a choice between a context's memory and exactness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvFormat {
    /// Kept as they are computed, in f32.
    #[default]
    F32,
    /// Half precision: half the memory.
    F16,
    /// Codes with one scale for a head of a position: a quarter of the memory and a little more.
    Int8,
}

impl KvFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Int8];

    /// Name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// Behind the names of kernels and outlines.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "",
            Self::F16 => "_kvf16",
            Self::Int8 => "_kvint8",
        }
    }
}

/// Which norm, over the last dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NormKind {
    /// `x / sqrt(mean(x^2) + eps) * w`.
    Rms,
    /// `(x - mean) / sqrt(var + eps) * w + b`, biased variance.
    Layer,
}

/// Elementwise non-linearity of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// `x/2 (1 + erf(x/sqrt 2))`.
    Gelu,
    /// The tanh approximation as PyTorch writes it.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// The hyperbolic tangent.
    Tanh,
    /// `c sigmoid(1.702 c)` of `c = min(x, 7)`; in a gated MLP ups are clamped to -7..=7, plus 1.
    ClampedSilu,
}

impl Activation {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Silu,
        Self::Gelu,
        Self::GeluTanh,
        Self::Relu,
        Self::Tanh,
        Self::ClampedSilu,
    ];
}

/// Factor of the sigmoid's argument of [`Activation::ClampedSilu`].
pub const CLAMPED_FACTOR: f32 = 1.702;

/// Where [`Activation::ClampedSilu`] clamps.
pub const CLAMPED_LIMIT: f32 = 7.0;

/// How the rows of a text become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// The first row.
    First,
    /// The last row.
    Last,
    /// Their mean.
    Mean,
    /// Their sum over the root of their number.
    MeanSqrt,
    /// Their mean, each weighted by its place among all rows of the text, the first by 1.
    Weighted,
    /// The largest value of each column.
    Max,
}

/// What of queries and keys an RMS norm divides by its root mean square, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QkNormOver {
    /// Each head by itself, before it is rotated.
    HeadBeforeRope,
    /// Each head by itself, once it is rotated.
    HeadAfterRope,
    /// All heads of a row together, before they are rotated.
    AllHeads,
}

/// Turns router logits into p.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Score {
    /// Over all modules.
    Softmax,
    /// Each module alone.
    Sigmoid,
}

/// How kernels multiply codes with activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DotStrategy {
    /// Four products of u8 and i8 into 32 bits: VNNI, portable code.
    Bytes4,
    /// Four products of i8 and i8 into 32 bits: Arm with the dot product.
    SignedBytes4,
    /// Products of i8 and i8 added in lanes of 16 bits, as many as fit: Arm without the dot product.
    Lanes16,
    /// Two products into 16 bits, then words into 32: AVX2's `maddubs` chains.
    Pairs,
}

impl DotStrategy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bytes4, Self::SignedBytes4, Self::Lanes16, Self::Pairs];
}
