//! 64-bit Arm with NEON and the dot product of ARMv8.2: [`super::neon`] but for products of four signed bytes.

use core::arch::aarch64::{int8x16_t, int32x4_t};
use core::arch::asm;

pub use super::neon::*;

/// See [`dot4_s_i8x64`](super::portable::dot4_s_i8x64).
///
/// # Safety
/// The CPU has the features of this level, see [`super::Level::supported`].
#[must_use]
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn dot4_s_i8x64(acc: I32x16, a: I8x64, b: I8x64) -> I32x16 {
    I32x16(
        sdot(acc.0, a.0, b.0),
        sdot(acc.1, a.1, b.1),
        sdot(acc.2, a.2, b.2),
        sdot(acc.3, a.3, b.3),
    )
}

/// See [`dot4_s_i8x32`](super::portable::dot4_s_i8x32).
///
/// # Safety
/// The CPU has the features of this level, see [`super::Level::supported`].
#[must_use]
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn dot4_s_i8x32(acc: I32x8, a: I8x32, b: I8x32) -> I32x8 {
    I32x8(sdot(acc.0, a.0, b.0), sdot(acc.1, a.1, b.1))
}

/// See [`dot4_s_by_i8x64`](super::portable::dot4_s_by_i8x64).
///
/// # Safety
/// The CPU has the features of this level, see [`super::Level::supported`].
#[must_use]
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn dot4_s_by_i8x64<const N: i32>(acc: I32x16, a: I8x64, b: I8x16) -> I32x16 {
    I32x16(
        sdot_by::<N>(acc.0, a.0, b),
        sdot_by::<N>(acc.1, a.1, b),
        sdot_by::<N>(acc.2, a.2, b),
        sdot_by::<N>(acc.3, a.3, b),
    )
}

/// See [`dot4_s_by_i8x32`](super::portable::dot4_s_by_i8x32).
///
/// # Safety
/// The CPU has the features of this level, see [`super::Level::supported`].
#[must_use]
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn dot4_s_by_i8x32<const N: i32>(acc: I32x8, a: I8x32, b: I8x16) -> I32x8 {
    I32x8(sdot_by::<N>(acc.0, a.0, b), sdot_by::<N>(acc.1, a.1, b))
}

/// The instruction with four bytes of the second operand in every lane.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot_by<const N: i32>(acc: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let sums;
    // SAFETY: computes a register from registers, by an instruction of the features.
    unsafe {
        asm!(
            "sdot {acc:v}.4s, {a:v}.16b, {b:v}.4b[{n}]",
            acc = inlateout(vreg) acc => sums,
            a = in(vreg) a,
            b = in(vreg) b,
            n = const N,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// The instruction, whose intrinsic is not stable.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(acc: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let sums;
    // SAFETY: computes a register from registers, by an instruction of the features.
    unsafe {
        asm!(
            "sdot {acc:v}.4s, {a:v}.16b, {b:v}.16b",
            acc = inlateout(vreg) acc => sums,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// See [`stream_once_i8x64`](super::portable::stream_once_i8x64). One instruction for four registers: a pair of loads is an
/// operation more than its loads, of which these cores begin three a cycle.
///
/// # Safety
/// The vector's bytes must be readable.
#[must_use]
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub unsafe fn stream_once_i8x64(from: *const u8) -> I8x64 {
    let (a, b, c, d);
    // SAFETY: reads 64 bytes, which the caller promises.
    unsafe {
        asm!(
            "ld1 {{v28.16b, v29.16b, v30.16b, v31.16b}}, [{from}]",
            from = in(reg) from,
            out("v28") a,
            out("v29") b,
            out("v30") c,
            out("v31") d,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    I8x64(a, b, c, d)
}
