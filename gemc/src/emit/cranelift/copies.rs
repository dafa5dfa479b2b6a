//! Compiled copies of outlines that a piece of machine code may call: those of this process by their address, or those of an
//! object file by their number.

use gemc_kernels::micro::Run;

#[cfg(feature = "object")]
use super::merged::{Merged, Number};

/// Where copies are found.
#[derive(Clone, Copy)]
pub(super) enum Copies {
    /// In this process, for code that runs in it.
    Here,
    /// In the object file of copies, from which they are taken into the one that is made.
    #[cfg(feature = "object")]
    Merged(&'static Merged, gem_runtime::simd::Level),
}

/// What code calls.
#[derive(Clone, Copy)]
pub(super) enum Copy {
    Here(Run),
    #[cfg(feature = "object")]
    Merged(Number),
}

impl Copies {
    /// The best copy of the outline with this key.
    pub(super) fn find(self, key: u64) -> Option<Copy> {
        match self {
            Self::Here => gemc_kernels::micro::find(key).map(Copy::Here),
            #[cfg(feature = "object")]
            Self::Merged(merged, level) => merged.find(key, level).map(Copy::Merged),
        }
    }
}
