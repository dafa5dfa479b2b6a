//! Everything a kernel's code depends on, as one value: the key by which equal kernels are shared, and the only way to a
//! kernel.
//!
//! Invariant: [`Spec::kernel`] sees the spec and nothing else, so that two kernels with equal specs are the same, and a
//! field that changes code cannot be left out of the key.

use super::attention::Attention;
use super::clusters::Clusters;
use super::combine::Combine;
use super::conv::{ConvInputs, ConvSums};
use super::dispatch::{CallModules, CountItems, Dispatch, Tags};
use super::elementwise::Elementwise;
use super::embed::Embed;
use super::matmul::Matmul;
use super::norm::Norm;
use super::pool::{Normalize, Pool};
use super::quantise::{QuantiseRows, SelectRows};
use super::rope::{Heads, RopeTable};
use super::route::Router;
use crate::ir::Kernel;

/// An f32 of a spec: compared and hashed by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exact(u32);

impl Exact {
    /// The number whose bits these are.
    #[must_use]
    pub const fn get(self) -> f32 {
        f32::from_bits(self.0)
    }

    /// As part of an identifier: `1e_6`, `0_5`.
    #[must_use]
    pub fn in_words(self) -> String {
        let x = self.get();
        let shortest = if x != 0.0 && !(1e-3..1e4).contains(&x.abs()) {
            format!("{x:e}")
        } else {
            format!("{x}")
        };
        shortest.replace(['.', '-'], "_")
    }
}

impl From<f32> for Exact {
    fn from(value: f32) -> Self {
        Self(value.to_bits())
    }
}

/// Declares [`Spec`] with a variant of the same name for each kind of kernel.
macro_rules! specs {
    ($($(#[$doc:meta])* $kind:ident;)*) => {
        /// What a kernel is. Specs are equal exactly when their kernels are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Spec {
            $($(#[$doc])* $kind($kind),)*
        }

        impl Spec {
            /// Names of the kinds.
            pub const KINDS: &'static [&'static str] = &[$(stringify!($kind)),*];

            /// Name of its kind.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => stringify!($kind),)*
                }
            }

            /// A name for people; kernels of different specs may share it.
            #[must_use]
            pub fn name(&self) -> String {
                match self {
                    $(Self::$kind(spec) => spec.name(),)*
                }
            }

            /// Writes the kernel. It calls functions by their place in [`crate::functions::Math::ALL`].
            #[must_use]
            pub fn kernel(&self) -> Kernel {
                match self {
                    $(Self::$kind(spec) => spec.kernel(),)*
                }
            }
        }

        $(impl From<$kind> for Spec {
            fn from(spec: $kind) -> Self {
                Self::$kind(spec)
            }
        })*
    };
}

specs! {
    /// Token ids to rows.
    Embed;
    /// A norm of rows.
    Norm;
    /// Rows to quantised rows.
    QuantiseRows;
    /// Wanted rows to quantised rows.
    SelectRows;
    /// A product with a matrix.
    Matmul;
    /// Cosines and sines of positions.
    RopeTable;
    /// Projections to queries, keys and values.
    Heads;
    /// Attention of heads.
    Attention;
    /// Probabilities of modules and the fired ones.
    Router;
    /// Nearest centroids.
    Clusters;
    /// Work lists of modules.
    Dispatch;
    /// Items of a phase.
    CountItems;
    /// Calls of active modules.
    CallModules;
    /// SCAR's memory of positions.
    Tags;
    /// Sums of modules, general path and residual.
    Combine;
    /// The rows of a text to one.
    Pool;
    /// Gated inputs of a short convolution.
    ConvInputs;
    /// A short convolution.
    ConvSums;
    /// Outputs at length one.
    Normalize;
    /// A function of every value.
    Elementwise;
}
