//! x86-64 with AVX2 and AVX-VNNI (Alder Lake, Zen 5 and later): [`super::x86_v3`] but for products of four bytes.

use core::arch::x86_64::_mm256_dpbusd_avx_epi32;

pub use super::x86_v3::*;

/// See [`dot4_u_i8x64`](super::portable::dot4_u_i8x64).
///
/// # Safety
/// The CPU has the features of this level, see [`super::Level::supported`].
#[must_use]
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub fn dot4_u_i8x64(acc: I32x16, unsigned: I8x64, signed: I8x64) -> I32x16 {
    I32x16(
        _mm256_dpbusd_avx_epi32(acc.0, unsigned.0, signed.0),
        _mm256_dpbusd_avx_epi32(acc.1, unsigned.1, signed.1),
    )
}

/// See [`dot4_u_i8x32`](super::portable::dot4_u_i8x32).
///
/// # Safety
/// The CPU has the features of this level, see [`super::Level::supported`].
#[must_use]
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub fn dot4_u_i8x32(acc: I32x8, unsigned: I8x32, signed: I8x32) -> I32x8 {
    _mm256_dpbusd_avx_epi32(acc, unsigned, signed)
}
