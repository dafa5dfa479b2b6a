//! The reference level: every vector operation in plain Rust on arrays of lanes, for any machine.

mod memory;

use core::array::from_fn;

pub use memory::*;

use super::half;
use crate::kernel::{max_f32, min_f32};

/// Declares a vector type.
macro_rules! vector {
    ($($(#[$doc:meta])* $name:ident([$lane:ty; $n:literal]);)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq)]
            #[repr(C, align(16))]
            pub struct $name(pub [$lane; $n]);
        )*
    };
}

vector! {
    /// 16 bytes.
    I8x16([i8; 16]);
    /// 64 bytes, signed or not as the operation says.
    I8x64([i8; 64]);
    /// 16 words of 16 bits, or half-precision floats.
    I16x16([i16; 16]);
    /// 32 words of 16 bits.
    I16x32([i16; 32]);
    /// 16 integers, or a mask: lanes all ones or zero.
    I32x16([i32; 16]);
    /// 16 singles.
    F32x16([f32; 16]);
    /// Half of an [`I8x64`].
    I8x32([i8; 32]);
    /// Half of an [`I32x16`].
    I32x8([i32; 8]);
    /// Half of an [`F32x16`].
    F32x8([f32; 8]);
}

/// Declares operations that compute lane `i` of the result from lanes `i` of the operands.
macro_rules! lanewise {
    ($($(#[$doc:meta])* $name:ident($($a:ident: $A:ident),+) -> $R:ident = $e:expr;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            #[inline]
            pub fn $name($($a: $A),+) -> $R {
                $R(from_fn(|i| {
                    $(let $a = $a.0[i];)+
                    $e
                }))
            }
        )*
    };
}

/// All ones or zero.
fn mask(truth: bool) -> i32 {
    -i32::from(truth)
}

lanewise! {
    /// `a + b`.
    add_f32x16(a: F32x16, b: F32x16) -> F32x16 = a + b;
    /// `a - b`.
    sub_f32x16(a: F32x16, b: F32x16) -> F32x16 = a - b;
    /// `a * b`.
    mul_f32x16(a: F32x16, b: F32x16) -> F32x16 = a * b;
    /// `a / b`.
    div_f32x16(a: F32x16, b: F32x16) -> F32x16 = a / b;
    /// `a * b + c`, rounded once.
    fma_f32x16(a: F32x16, b: F32x16, c: F32x16) -> F32x16 = fma_f32(a, b, c);
    /// `a < b ? a : b`.
    min_f32x16(a: F32x16, b: F32x16) -> F32x16 = min_f32(a, b);
    /// `a > b ? a : b`.
    max_f32x16(a: F32x16, b: F32x16) -> F32x16 = max_f32(a, b);
    /// Sign bit cleared.
    abs_f32x16(a: F32x16) -> F32x16 = a.abs();
    /// Sign bit flipped.
    neg_f32x16(a: F32x16) -> F32x16 = -a;
    /// Square root, correctly rounded.
    sqrt_f32x16(a: F32x16) -> F32x16 = sqrt_f32(a);
    /// Mask of `a == b`; false with a NaN.
    cmp_eq_f32x16(a: F32x16, b: F32x16) -> I32x16 = mask(a == b);
    /// Mask of `a != b`; true with a NaN.
    cmp_ne_f32x16(a: F32x16, b: F32x16) -> I32x16 = mask(a != b);
    /// Mask of `a < b`; false with a NaN.
    cmp_lt_f32x16(a: F32x16, b: F32x16) -> I32x16 = mask(a < b);
    /// Mask of `a <= b`; false with a NaN.
    cmp_le_f32x16(a: F32x16, b: F32x16) -> I32x16 = mask(a <= b);
    /// Mask of `a > b`; false with a NaN.
    cmp_gt_f32x16(a: F32x16, b: F32x16) -> I32x16 = mask(a > b);
    /// Mask of `a >= b`; false with a NaN.
    cmp_ge_f32x16(a: F32x16, b: F32x16) -> I32x16 = mask(a >= b);
    /// `mask ? a : b`; the mask's lanes are all ones or zero.
    select_f32x16(m: I32x16, a: F32x16, b: F32x16) -> F32x16 = if m != 0 { a } else { b };

    /// `a + b`, wrapping.
    add_i32x16(a: I32x16, b: I32x16) -> I32x16 = a.wrapping_add(b);
    /// `a - b`, wrapping.
    sub_i32x16(a: I32x16, b: I32x16) -> I32x16 = a.wrapping_sub(b);
    /// `a * b`, wrapping.
    mul_i32x16(a: I32x16, b: I32x16) -> I32x16 = a.wrapping_mul(b);
    /// The smaller, signed.
    min_i32x16(a: I32x16, b: I32x16) -> I32x16 = a.min(b);
    /// The larger, signed.
    max_i32x16(a: I32x16, b: I32x16) -> I32x16 = a.max(b);
    /// Bitwise and.
    and_i32x16(a: I32x16, b: I32x16) -> I32x16 = a & b;
    /// Bitwise or.
    or_i32x16(a: I32x16, b: I32x16) -> I32x16 = a | b;
    /// Bitwise exclusive or.
    xor_i32x16(a: I32x16, b: I32x16) -> I32x16 = a ^ b;
    /// Mask of `a == b`.
    cmp_eq_i32x16(a: I32x16, b: I32x16) -> I32x16 = mask(a == b);
    /// Mask of `a != b`.
    cmp_ne_i32x16(a: I32x16, b: I32x16) -> I32x16 = mask(a != b);
    /// Mask of `a < b`, signed.
    cmp_lt_i32x16(a: I32x16, b: I32x16) -> I32x16 = mask(a < b);
    /// Mask of `a <= b`, signed.
    cmp_le_i32x16(a: I32x16, b: I32x16) -> I32x16 = mask(a <= b);
    /// Mask of `a > b`, signed.
    cmp_gt_i32x16(a: I32x16, b: I32x16) -> I32x16 = mask(a > b);
    /// Mask of `a >= b`, signed.
    cmp_ge_i32x16(a: I32x16, b: I32x16) -> I32x16 = mask(a >= b);
    /// `mask ? a : b`; the mask's lanes are all ones or zero.
    select_i32x16(m: I32x16, a: I32x16, b: I32x16) -> I32x16 = if m != 0 { a } else { b };

    /// `a + b`, wrapping.
    add_i16x32(a: I16x32, b: I16x32) -> I16x32 = a.wrapping_add(b);
    /// `a + b`, wrapping.
    add_i8x64(a: I8x64, b: I8x64) -> I8x64 = a.wrapping_add(b);
    /// Bitwise and.
    and_i8x64(a: I8x64, b: I8x64) -> I8x64 = a & b;
    /// Bitwise or.
    or_i8x64(a: I8x64, b: I8x64) -> I8x64 = a | b;
    /// Bitwise exclusive or.
    xor_i8x64(a: I8x64, b: I8x64) -> I8x64 = a ^ b;

    /// Integer to float, to nearest even.
    to_float_i32x16(a: I32x16) -> F32x16 = a as f32;
    /// Float to integer, to nearest even; lanes lie within ±2^30.
    to_int_f32x16(a: F32x16) -> I32x16 = to_int_f32(a);
    /// Bytes as integers, signed.
    widen_s_i8x16(a: I8x16) -> I32x16 = i32::from(a);
    /// Bytes as integers, unsigned.
    widen_u_i8x16(a: I8x16) -> I32x16 = i32::from(a as u8);
    /// Low bytes.
    narrow_i32x16(a: I32x16) -> I8x16 = a as i8;
    /// Half-precision floats as singles, exact.
    half_to_float_i16x16(a: I16x16) -> F32x16 = half::to_f32(a as u16);
    /// Singles as half-precision floats, to nearest even.
    float_to_half_f32x16(a: F32x16) -> I16x16 = half::from_f32(a) as i16;

    /// `a + b`, wrapping.
    add_i16x16(a: I16x16, b: I16x16) -> I16x16 = a.wrapping_add(b);
    /// `a + b`, wrapping.
    add_i32x8(a: I32x8, b: I32x8) -> I32x8 = a.wrapping_add(b);
    /// `a * b`, wrapping.
    mul_i32x8(a: I32x8, b: I32x8) -> I32x8 = a.wrapping_mul(b);
    /// `a + b`.
    add_f32x8(a: F32x8, b: F32x8) -> F32x8 = a + b;
    /// `a * b`.
    mul_f32x8(a: F32x8, b: F32x8) -> F32x8 = a * b;
    /// `a * b + c`, rounded once.
    fma_f32x8(a: F32x8, b: F32x8, c: F32x8) -> F32x8 = fma_f32(a, b, c);
    /// Integer to float, to nearest even.
    to_float_i32x8(a: I32x8) -> F32x8 = a as f32;
}

/// `a * b + c`, rounded once.
#[must_use]
#[inline]
pub fn fma_f32(a: f32, b: f32, c: f32) -> f32 {
    #[cfg(feature = "std")]
    return a.mul_add(b, c);
    #[cfg(not(feature = "std"))]
    libm::fmaf(a, b, c)
}

/// Square root, correctly rounded.
#[must_use]
#[inline]
pub fn sqrt_f32(a: f32) -> f32 {
    #[cfg(feature = "std")]
    return a.sqrt();
    #[cfg(not(feature = "std"))]
    libm::sqrtf(a)
}

/// Float to integer, to nearest even; the operand lies within ±2^30.
#[must_use]
#[inline]
pub fn to_int_f32(a: f32) -> i32 {
    #[cfg(feature = "std")]
    let rounded = a.round_ties_even();
    #[cfg(not(feature = "std"))]
    let rounded = libm::rintf(a);
    rounded as i32
}

/// 16 literals.
#[must_use]
#[inline]
pub fn lanes_i32x16(lanes: [i32; 16]) -> I32x16 {
    I32x16(lanes)
}

/// 16 literals.
#[must_use]
#[inline]
pub fn lanes_i8x16(lanes: [i8; 16]) -> I8x16 {
    I8x16(lanes)
}

/// `a` in every lane.
#[must_use]
#[inline]
pub fn splat_f32(a: f32) -> F32x16 {
    F32x16([a; 16])
}

/// `a` in every lane.
#[must_use]
#[inline]
pub fn splat_i32(a: i32) -> I32x16 {
    I32x16([a; 16])
}

/// The four bytes of `a`, 16 times.
#[must_use]
#[inline]
pub fn splat_i32_i8x64(a: i32) -> I8x64 {
    bits_i32x16_i8x64(splat_i32(a))
}

/// The two words of `a`, 16 times.
#[must_use]
#[inline]
pub fn splat_i32_i16x32(a: i32) -> I16x32 {
    bits_i32x16_i16x32(splat_i32(a))
}

/// Left shift by `N` in 0..=31.
#[must_use]
#[inline]
pub fn shl_i32x16<const N: u32>(a: I32x16) -> I32x16 {
    I32x16(a.0.map(|a| a << N))
}

/// Arithmetic right shift by `N` in 0..=31.
#[must_use]
#[inline]
pub fn shr_s_i32x16<const N: u32>(a: I32x16) -> I32x16 {
    I32x16(a.0.map(|a| a >> N))
}

/// Logical right shift by `N` in 0..=31.
#[must_use]
#[inline]
pub fn shr_u_i32x16<const N: u32>(a: I32x16) -> I32x16 {
    I32x16(a.0.map(|a| (a as u32 >> N) as i32))
}

/// Logical right shift of each byte by `N` in 0..=7.
#[must_use]
#[inline]
pub fn shr_u_i8x64<const N: u32>(a: I8x64) -> I8x64 {
    I8x64(a.0.map(|a| (a as u8 >> N) as i8))
}

/// Sum of the lanes by halves: `i += i + 8`, then 4, 2, 1.
#[must_use]
#[inline]
pub fn reduce_add_f32x16(a: F32x16) -> f32 {
    by_halves(a.0, |a, b| a + b)
}

/// Sum of the lanes, wrapping.
#[must_use]
#[inline]
pub fn reduce_add_i32x16(a: I32x16) -> i32 {
    by_halves(a.0, i32::wrapping_add)
}

/// Largest lane by halves, `a > b ? a : b` with the lower lane first.
#[must_use]
#[inline]
pub fn reduce_max_f32x16(a: F32x16) -> f32 {
    by_halves(a.0, max_f32)
}

#[inline]
fn by_halves<T: Copy>(mut lanes: [T; 16], f: impl Fn(T, T) -> T) -> T {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = f(lanes[i], lanes[i + half]);
        }
    }
    lanes[0]
}

/// `table[index]` per byte; indices in 0..16.
#[must_use]
#[inline]
pub fn lookup_i8x64(table: I8x16, index: I8x64) -> I8x64 {
    I8x64(index.0.map(|i| table.0[(i & 15) as usize]))
}

/// The same of two tables, one behind the other; indices in 0..32.
#[must_use]
#[inline]
pub fn lookup32_i8x64(low: I8x16, high: I8x16, index: I8x64) -> I8x64 {
    I8x64(index.0.map(|i| {
        let table = if i < 16 { low } else { high };
        table.0[(i & 15) as usize]
    }))
}

/// Declares products of bytes and words on whole vectors and halves.
macro_rules! dots {
    ($($bytes:ident, $words:ident, $sums:ident: $dot4_u:ident $dot4_s:ident $dot2_u:ident $dot2_s:ident $dot_words:ident;)*) => {
        $(
            /// Lane `i`: `acc + ` the sum of products of bytes `4 i ..`, the first operand unsigned, wrapping.
            #[must_use]
            #[inline]
            pub fn $dot4_u(acc: $sums, unsigned: $bytes, signed: $bytes) -> $sums {
                $sums(from_fn(|i| {
                    (4 * i..4 * i + 4).fold(acc.0[i], |sum, k| {
                        sum.wrapping_add(i32::from(unsigned.0[k] as u8) * i32::from(signed.0[k]))
                    })
                }))
            }

            /// Lane `i`: `acc + ` the sum of products of bytes `4 i ..`, both signed, wrapping; one operand has no -128.
            #[must_use]
            #[inline]
            pub fn $dot4_s(acc: $sums, a: $bytes, b: $bytes) -> $sums {
                $sums(from_fn(|i| {
                    (4 * i..4 * i + 4).fold(acc.0[i], |sum, k| {
                        sum.wrapping_add(i32::from(a.0[k]) * i32::from(b.0[k]))
                    })
                }))
            }

            /// Lane `i`: the sum of products of bytes `2 i` and `2 i + 1`, the first operand unsigned; saturates.
            #[must_use]
            #[inline]
            pub fn $dot2_u(unsigned: $bytes, signed: $bytes) -> $words {
                $words(from_fn(|i| {
                    let product = |k: usize| i32::from(unsigned.0[k] as u8) * i32::from(signed.0[k]);
                    let sum = product(2 * i) + product(2 * i + 1);
                    sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
                }))
            }

            /// Lane `i`: the sum of products of bytes `2 i` and `2 i + 1`, both signed, neither -128.
            #[must_use]
            #[inline]
            pub fn $dot2_s(a: $bytes, b: $bytes) -> $words {
                $words(from_fn(|i| {
                    let product = |k: usize| i32::from(a.0[k]) * i32::from(b.0[k]);
                    (product(2 * i) + product(2 * i + 1)) as i16
                }))
            }

            /// Lane `i`: the sum of products of words `2 i` and `2 i + 1`, wrapping.
            #[must_use]
            #[inline]
            pub fn $dot_words(a: $words, b: $words) -> $sums {
                $sums(from_fn(|i| {
                    let product = |k: usize| i32::from(a.0[k]) * i32::from(b.0[k]);
                    product(2 * i).wrapping_add(product(2 * i + 1))
                }))
            }
        )*
    };
}

dots! {
    I8x64, I16x32, I32x16: dot4_u_i8x64 dot4_s_i8x64 dot2_u_i8x64 dot2_s_i8x64 dot_words_i16x32;
    I8x32, I16x16, I32x8: dot4_u_i8x32 dot4_s_i8x32 dot2_u_i8x32 dot2_s_i8x32 dot_words_i16x16;
}

/// As [`dot4_s_i8x64`], with bytes `4 N ..` of the second operand in every lane.
#[must_use]
#[inline]
pub fn dot4_s_by_i8x64<const N: usize>(acc: I32x16, a: I8x64, b: I8x16) -> I32x16 {
    dot4_s_i8x64(acc, a, I8x64(from_fn(|i| b.0[4 * N + i % 4])))
}

/// As [`dot4_s_i8x32`], with bytes `4 N ..` of the second operand in every lane.
#[must_use]
#[inline]
pub fn dot4_s_by_i8x32<const N: usize>(acc: I32x8, a: I8x32, b: I8x16) -> I32x8 {
    dot4_s_i8x32(acc, a, I8x32(from_fn(|i| b.0[4 * N + i % 4])))
}

/// Lane `i`: the product of byte `i` and byte `4 N + i % 4` of the second operand, both signed.
#[must_use]
#[inline]
pub fn mul_s_by_i8x32<const N: usize>(a: I8x32, b: I8x16) -> I16x32 {
    mac_s_by_i8x32::<N>(I16x32([0; 32]), a, b)
}

/// As [`mul_s_by_i8x32`], added to words, wrapping.
#[must_use]
#[inline]
pub fn mac_s_by_i8x32<const N: usize>(acc: I16x32, a: I8x32, b: I8x16) -> I16x32 {
    I16x32(from_fn(|i| {
        let product = i16::from(a.0[i]) * i16::from(b.0[4 * N + i % 4]);
        acc.0[i].wrapping_add(product)
    }))
}

/// Lane `i`: that of `acc`, plus words `2 i` and `2 i + 1`, wrapping.
#[must_use]
#[inline]
pub fn add_pairs_i32x16(acc: I32x16, words: I16x32) -> I32x16 {
    I32x16(from_fn(|i| {
        let pair = i32::from(words.0[2 * i]) + i32::from(words.0[2 * i + 1]);
        acc.0[i].wrapping_add(pair)
    }))
}

/// Lane `i`: the sum of lanes `2 i` and `2 i + 1`, wrapping.
#[must_use]
#[inline]
pub fn fold_pairs_i32x16(a: I32x16) -> I32x8 {
    I32x8(from_fn(|i| a.0[2 * i].wrapping_add(a.0[2 * i + 1])))
}

/// Declares both halves of vectors, and what is made of two.
macro_rules! halves {
    ($($low:ident $high:ident($A:ident) -> $join:ident $R:ident;)*) => {
        $(
            /// The vector of a lower and an upper half.
            #[must_use]
            #[inline]
            pub fn $join(low: $R, high: $R) -> $A {
                let half = low.0.len();
                $A(from_fn(|i| if i < half { low.0[i] } else { high.0[i - half] }))
            }

            /// The lower half of the lanes.
            #[must_use]
            #[inline]
            pub fn $low(a: $A) -> $R {
                $R(from_fn(|i| a.0[i]))
            }

            /// The upper half of the lanes.
            #[must_use]
            #[inline]
            pub fn $high(a: $A) -> $R {
                $R(from_fn(|i| a.0[a.0.len() / 2 + i]))
            }
        )*
    };
}

halves! {
    low_i8x64 high_i8x64(I8x64) -> join_i8x32 I8x32;
    low_i16x32 high_i16x32(I16x32) -> join_i16x16 I16x16;
    low_i32x16 high_i32x16(I32x16) -> join_i32x8 I32x8;
    low_f32x16 high_f32x16(F32x16) -> join_f32x8 F32x8;
}
