//! The vector operations that generated kernels call: one module per [`Level`] of instructions, all with the same
//! function names, so that a kernel's text differs between targets only in the module it imports.
//!
//! Names are `operation_type`, after the kernel IR's operations; [`portable`] documents each and is the reference: all
//! levels give the same bits, except for the payload of a NaN that arithmetic makes and for operands that the kernel
//! IR's verifier excludes. The functions of a level may be called where [`Level::features`] are enabled.

pub mod half;
#[cfg(target_arch = "aarch64")]
pub mod neon;
#[cfg(target_arch = "aarch64")]
pub mod neon_dotprod;
pub mod portable;
#[cfg(all(test, feature = "std"))]
mod tests;
#[cfg(target_arch = "x86_64")]
pub mod x86_v3;
#[cfg(target_arch = "x86_64")]
pub mod x86_v3_vnni;
#[cfg(target_arch = "x86_64")]
pub mod x86_v4_vnni;

/// Bytes that weights are asked for before they are read: about as many as one core waits for at once, 100 ns at 30 GB/s.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 4096;

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Plain Rust on arrays.
    Portable,
    /// 64-bit Arm with NEON, as every one has.
    Neon,
    /// 64-bit Arm with NEON and the dot product of signed bytes (ARMv8.2: Cortex-A55, A76 and later).
    NeonDotprod,
    /// x86-64 with AVX2, FMA and F16C: vectors are pairs of 256 bits.
    X86V3,
    /// The same with AVX-VNNI (Alder Lake, Zen 5 and later).
    X86V3Vnni,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    X86V4Vnni,
}

impl Level {
    /// Every level, the slowest of an architecture first.
    pub const ALL: [Self; 6] = [
        Self::Portable,
        Self::Neon,
        Self::NeonDotprod,
        Self::X86V3,
        Self::X86V3Vnni,
        Self::X86V4Vnni,
    ];

    /// Name of the module in [`crate::simd`], also in targets and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::NeonDotprod => "neon_dotprod",
            Self::X86V3 => "x86_v3",
            Self::X86V3Vnni => "x86_v3_vnni",
            Self::X86V4Vnni => "x86_v4_vnni",
        }
    }

    /// The level with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// What `#[target_feature(enable = "..")]` of a kernel says; empty for none.
    #[must_use]
    pub const fn features(self) -> &'static str {
        match self {
            Self::Portable => "",
            Self::Neon => "neon",
            Self::NeonDotprod => "neon,dotprod",
            Self::X86V3 => "avx2,fma,f16c",
            Self::X86V3Vnni => "avx2,fma,f16c,avxvnni",
            Self::X86V4Vnni => "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
        }
    }

    /// Whether CPUs of this level run what is compiled for another.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        let has = |feature| self.features().split(',').any(|own| own == feature);
        let mut features = other.features().split(',').filter(|f| !f.is_empty());
        features.all(has)
    }

    /// What the CPU this runs on lacks of [`Level::features`]. Without `std`, what the build does not assume.
    pub fn missing(self) -> impl Iterator<Item = &'static str> {
        let features = self.features().split(',').filter(|f| !f.is_empty());
        features.filter(|feature| !has(feature))
    }

    /// Whether the CPU this runs on has the instructions. Without `std`, whether the build assumes them.
    #[must_use]
    pub fn supported(self) -> bool {
        self.missing().next().is_none()
    }
}

/// Asks the CPU for one of the features that levels name; without `std` the build.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
macro_rules! has {
    ($asked:expr, $detected:ident; $($feature:tt),*) => {
        match $asked {
            $(
                #[cfg(feature = "std")]
                $feature => std::arch::$detected!($feature),
                #[cfg(not(feature = "std"))]
                $feature => cfg!(target_feature = $feature),
            )*
            _ => false,
        }
    };
}

#[cfg(target_arch = "x86_64")]
fn has(feature: &str) -> bool {
    has!(feature, is_x86_feature_detected; "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni", "avxvnni")
}

#[cfg(target_arch = "aarch64")]
fn has(feature: &str) -> bool {
    has!(feature, is_aarch64_feature_detected; "neon", "dotprod")
}

#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
fn has(_: &str) -> bool {
    false
}
