//! Compiled copies of outlines: the inner loops that a just-in-time compiler with 128-bit vectors cannot do as well.
//!
//! The files of the levels are written by gemc from the kernels' one definition. A copy stands for every outline whose
//! text has its key; see `gemc_kernels::ir::outline`.

#[cfg(target_arch = "aarch64")]
#[rustfmt::skip]
mod neon;
#[cfg(target_arch = "aarch64")]
#[rustfmt::skip]
mod neon_dotprod;
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
mod x86_v3;
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
mod x86_v3_vnni;
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
mod x86_v4_vnni;

use gem_runtime::simd::Level;

/// Runs a copy: base addresses of the regions, inputs, and 16 f32 for each mutable local, which are read and written.
///
/// The CPU must have the level's instructions, and the accesses of the outline must be in range.
pub type Run = unsafe extern "C" fn(regions: *const *mut u8, inputs: *const i32, locals: *mut f32);

/// A copy and the hash of its outline's text.
#[repr(C)]
#[cfg_attr(
    not(any(target_arch = "aarch64", target_arch = "x86_64")),
    allow(dead_code, reason = "no level has copies here")
)]
struct Copy {
    key: u64,
    run: Run,
}

/// An entry of a level's table.
#[cfg_attr(
    not(any(target_arch = "aarch64", target_arch = "x86_64")),
    allow(dead_code, reason = "no level has copies here")
)]
const fn copy(key: u64, run: Run) -> Copy {
    Copy { key, run }
}

/// All copies as an object file for the system that this is built for; empty where there are none.
///
/// It defines a symbol `gemc_copies_` and a level's name ([`Level::name`]) for every level that has copies: the address and
/// number of pairs of a key and the address of a [`Run`], each of 8 bytes.
#[cfg(feature = "relocatable")]
pub static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/copies.o"));

/// The keys of a level's copies.
#[cfg(feature = "relocatable")]
pub fn keys(level: Level) -> impl Iterator<Item = u64> {
    copies(level).iter().map(|copy| copy.key)
}

/// The best copy that this CPU runs, if there is one.
#[must_use]
pub fn find(key: u64) -> Option<Run> {
    let best_first = Level::ALL.into_iter().rev();
    best_first
        .filter(|level| level.supported())
        .flat_map(copies)
        .find(|copy| copy.key == key)
        .map(|copy| copy.run)
}

fn copies(level: Level) -> &'static [Copy] {
    match level {
        #[cfg(target_arch = "aarch64")]
        Level::Neon => neon::COPIES,
        #[cfg(target_arch = "aarch64")]
        Level::NeonDotprod => neon_dotprod::COPIES,
        #[cfg(target_arch = "x86_64")]
        Level::X86V3 => x86_v3::COPIES,
        #[cfg(target_arch = "x86_64")]
        Level::X86V3Vnni => x86_v3_vnni::COPIES,
        #[cfg(target_arch = "x86_64")]
        Level::X86V4Vnni => x86_v4_vnni::COPIES,
        _ => &[],
    }
}
