//! 64-bit Arm with NEON: a 512-bit vector is four of 128 bits, lower lanes first.

mod memory;
mod types;

use core::arch::aarch64::*;
use core::arch::asm;

pub use memory::*;
pub use types::*;

/// Declares functions with the features of this level; each is documented at [`super::portable`].
macro_rules! level {
    ($(fn $name:ident $(<const $N:ident: $NT:ty>)? ($($a:ident: $A:ty),*) -> $R:ty $body:block)*) => {
        $(
            #[doc = concat!("See [`", stringify!($name), "`](super::portable::", stringify!($name), ").")]
            ///
            /// # Safety
            /// The CPU has the features of this level, see [`super::Level::supported`].
            #[must_use]
            #[inline]
            #[target_feature(enable = "neon")]
            pub fn $name $(<const $N: $NT>)? ($($a: $A),*) -> $R $body
        )*
    };
}

/// Declares operations whose quarters are computed alone, by an expression over the quarters.
macro_rules! quarterwise {
    ($($name:ident $(<const $N:ident: $NT:ty>)? ($($a:ident: $A:ident),+) -> $R:ident = $e:expr;)*) => {
        level! {
            $(fn $name $(<const $N: $NT>)? ($($a: $A),+) -> $R {
                let first = { $(let $a = $a.0;)+ $e };
                let second = { $(let $a = $a.1;)+ $e };
                let third = { $(let $a = $a.2;)+ $e };
                let fourth = { $(let $a = $a.3;)+ $e };
                $R(first, second, third, fourth)
            })*
        }
    };
}

quarterwise! {
    add_f32x16(a: F32x16, b: F32x16) -> F32x16 = vaddq_f32(a, b);
    sub_f32x16(a: F32x16, b: F32x16) -> F32x16 = vsubq_f32(a, b);
    mul_f32x16(a: F32x16, b: F32x16) -> F32x16 = vmulq_f32(a, b);
    div_f32x16(a: F32x16, b: F32x16) -> F32x16 = vdivq_f32(a, b);
    fma_f32x16(a: F32x16, b: F32x16, c: F32x16) -> F32x16 = vfmaq_f32(c, a, b);
    min_f32x16(a: F32x16, b: F32x16) -> F32x16 = min(a, b);
    max_f32x16(a: F32x16, b: F32x16) -> F32x16 = max(a, b);
    abs_f32x16(a: F32x16) -> F32x16 = vabsq_f32(a);
    neg_f32x16(a: F32x16) -> F32x16 = vnegq_f32(a);
    sqrt_f32x16(a: F32x16) -> F32x16 = vsqrtq_f32(a);
    cmp_eq_f32x16(a: F32x16, b: F32x16) -> I32x16 = mask(vceqq_f32(a, b));
    cmp_ne_f32x16(a: F32x16, b: F32x16) -> I32x16 = mask(vmvnq_u32(vceqq_f32(a, b)));
    cmp_lt_f32x16(a: F32x16, b: F32x16) -> I32x16 = mask(vcltq_f32(a, b));
    cmp_le_f32x16(a: F32x16, b: F32x16) -> I32x16 = mask(vcleq_f32(a, b));
    cmp_gt_f32x16(a: F32x16, b: F32x16) -> I32x16 = mask(vcgtq_f32(a, b));
    cmp_ge_f32x16(a: F32x16, b: F32x16) -> I32x16 = mask(vcgeq_f32(a, b));
    select_f32x16(m: I32x16, a: F32x16, b: F32x16) -> F32x16 = vbslq_f32(vreinterpretq_u32_s32(m), a, b);

    add_i32x16(a: I32x16, b: I32x16) -> I32x16 = vaddq_s32(a, b);
    sub_i32x16(a: I32x16, b: I32x16) -> I32x16 = vsubq_s32(a, b);
    mul_i32x16(a: I32x16, b: I32x16) -> I32x16 = vmulq_s32(a, b);
    min_i32x16(a: I32x16, b: I32x16) -> I32x16 = vminq_s32(a, b);
    max_i32x16(a: I32x16, b: I32x16) -> I32x16 = vmaxq_s32(a, b);
    and_i32x16(a: I32x16, b: I32x16) -> I32x16 = vandq_s32(a, b);
    or_i32x16(a: I32x16, b: I32x16) -> I32x16 = vorrq_s32(a, b);
    xor_i32x16(a: I32x16, b: I32x16) -> I32x16 = veorq_s32(a, b);
    cmp_eq_i32x16(a: I32x16, b: I32x16) -> I32x16 = mask(vceqq_s32(a, b));
    cmp_ne_i32x16(a: I32x16, b: I32x16) -> I32x16 = mask(vmvnq_u32(vceqq_s32(a, b)));
    cmp_lt_i32x16(a: I32x16, b: I32x16) -> I32x16 = mask(vcltq_s32(a, b));
    cmp_le_i32x16(a: I32x16, b: I32x16) -> I32x16 = mask(vcleq_s32(a, b));
    cmp_gt_i32x16(a: I32x16, b: I32x16) -> I32x16 = mask(vcgtq_s32(a, b));
    cmp_ge_i32x16(a: I32x16, b: I32x16) -> I32x16 = mask(vcgeq_s32(a, b));
    select_i32x16(m: I32x16, a: I32x16, b: I32x16) -> I32x16 = vbslq_s32(vreinterpretq_u32_s32(m), a, b);

    add_i16x32(a: I16x32, b: I16x32) -> I16x32 = vaddq_s16(a, b);
    add_i8x64(a: I8x64, b: I8x64) -> I8x64 = vaddq_s8(a, b);
    and_i8x64(a: I8x64, b: I8x64) -> I8x64 = vandq_s8(a, b);
    or_i8x64(a: I8x64, b: I8x64) -> I8x64 = vorrq_s8(a, b);
    xor_i8x64(a: I8x64, b: I8x64) -> I8x64 = veorq_s8(a, b);

    // The intrinsics with a literal exclude either 0 or the lane's width; of a shift by a vector of literals LLVM makes the
    // same instruction, and none by 0.
    shl_i32x16<const N: i32>(a: I32x16) -> I32x16 = vshlq_s32(a, vdupq_n_s32(N));
    shr_s_i32x16<const N: i32>(a: I32x16) -> I32x16 = vshlq_s32(a, vdupq_n_s32(-N));
    shr_u_i32x16<const N: i32>(a: I32x16) -> I32x16 = {
        vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-N)))
    };
    shr_u_i8x64<const N: i8>(a: I8x64) -> I8x64 = {
        vreinterpretq_s8_u8(vshlq_u8(vreinterpretq_u8_s8(a), vdupq_n_s8(-N)))
    };

    to_float_i32x16(a: I32x16) -> F32x16 = vcvtq_f32_s32(a);
    to_int_f32x16(a: F32x16) -> I32x16 = vcvtnq_s32_f32(a);

    dot2_u_i8x64(unsigned: I8x64, signed: I8x64) -> I16x32 = dot2_u(unsigned, signed);
    dot2_s_i8x64(a: I8x64, b: I8x64) -> I16x32 = dot2_s(a, b);
    dot_words_i16x32(a: I16x32, b: I16x32) -> I32x16 = dot_words(a, b);
    dot4_u_i8x64(acc: I32x16, unsigned: I8x64, signed: I8x64) -> I32x16 = dot4_u(acc, unsigned, signed);
    dot4_s_i8x64(acc: I32x16, a: I8x64, b: I8x64) -> I32x16 = dot4_s(acc, a, b);
}

/// Declares operations on halves whose quarters are computed alone.
macro_rules! halfwise {
    ($($name:ident($($a:ident: $A:ident),+) -> $R:ident = $e:expr;)*) => {
        level! {
            $(fn $name($($a: $A),+) -> $R {
                let first = { $(let $a = $a.0;)+ $e };
                let second = { $(let $a = $a.1;)+ $e };
                $R(first, second)
            })*
        }
    };
}

halfwise! {
    add_i16x16(a: I16x16, b: I16x16) -> I16x16 = vaddq_s16(a, b);
    add_i32x8(a: I32x8, b: I32x8) -> I32x8 = vaddq_s32(a, b);
    mul_i32x8(a: I32x8, b: I32x8) -> I32x8 = vmulq_s32(a, b);
    add_f32x8(a: F32x8, b: F32x8) -> F32x8 = vaddq_f32(a, b);
    mul_f32x8(a: F32x8, b: F32x8) -> F32x8 = vmulq_f32(a, b);
    fma_f32x8(a: F32x8, b: F32x8, c: F32x8) -> F32x8 = vfmaq_f32(c, a, b);
    to_float_i32x8(a: I32x8) -> F32x8 = vcvtq_f32_s32(a);
    dot2_u_i8x32(unsigned: I8x32, signed: I8x32) -> I16x16 = dot2_u(unsigned, signed);
    dot2_s_i8x32(a: I8x32, b: I8x32) -> I16x16 = dot2_s(a, b);
    dot_words_i16x16(a: I16x16, b: I16x16) -> I32x8 = dot_words(a, b);
    dot4_u_i8x32(acc: I32x8, unsigned: I8x32, signed: I8x32) -> I32x8 = dot4_u(acc, unsigned, signed);
    dot4_s_i8x32(acc: I32x8, a: I8x32, b: I8x32) -> I32x8 = dot4_s(acc, a, b);
}

level! {
    fn dot4_s_by_i8x64<const N: i32>(acc: I32x16, a: I8x64, b: I8x16) -> I32x16 {
        let b = spread::<N>(b);
        I32x16(
            dot4_s(acc.0, a.0, b),
            dot4_s(acc.1, a.1, b),
            dot4_s(acc.2, a.2, b),
            dot4_s(acc.3, a.3, b),
        )
    }
    fn dot4_s_by_i8x32<const N: i32>(acc: I32x8, a: I8x32, b: I8x16) -> I32x8 {
        let b = spread::<N>(b);
        I32x8(dot4_s(acc.0, a.0, b), dot4_s(acc.1, a.1, b))
    }
    fn mul_s_by_i8x32<const N: i32>(a: I8x32, b: I8x16) -> I16x32 {
        let b = spread::<N>(b);
        let ([first, second], [third, fourth]) = (products(a.0, b), products(a.1, b));
        I16x32(first, second, third, fourth)
    }
    fn mac_s_by_i8x32<const N: i32>(acc: I16x32, a: I8x32, b: I8x16) -> I16x32 {
        let b = spread::<N>(b);
        let [first, second] = add_products([acc.0, acc.1], a.0, b);
        let [third, fourth] = add_products([acc.2, acc.3], a.1, b);
        I16x32(first, second, third, fourth)
    }
    fn add_pairs_i32x16(acc: I32x16, words: I16x32) -> I32x16 {
        I32x16(
            vpadalq_s16(acc.0, words.0),
            vpadalq_s16(acc.1, words.1),
            vpadalq_s16(acc.2, words.2),
            vpadalq_s16(acc.3, words.3),
        )
    }
    fn fold_pairs_i32x16(a: I32x16) -> I32x8 { I32x8(fold(a.0, a.1), fold(a.2, a.3)) }
    fn join_i8x32(low: I8x32, high: I8x32) -> I8x64 { I8x64(low.0, low.1, high.0, high.1) }
    fn join_i16x16(low: I16x16, high: I16x16) -> I16x32 { I16x32(low.0, low.1, high.0, high.1) }
    fn join_i32x8(low: I32x8, high: I32x8) -> I32x16 { I32x16(low.0, low.1, high.0, high.1) }
    fn join_f32x8(low: F32x8, high: F32x8) -> F32x16 { F32x16(low.0, low.1, high.0, high.1) }
    fn low_i8x64(a: I8x64) -> I8x32 { I8x32(a.0, a.1) }
    fn high_i8x64(a: I8x64) -> I8x32 { I8x32(a.2, a.3) }
    fn low_i16x32(a: I16x32) -> I16x16 { I16x16(a.0, a.1) }
    fn high_i16x32(a: I16x32) -> I16x16 { I16x16(a.2, a.3) }
    fn low_i32x16(a: I32x16) -> I32x8 { I32x8(a.0, a.1) }
    fn high_i32x16(a: I32x16) -> I32x8 { I32x8(a.2, a.3) }
    fn low_f32x16(a: F32x16) -> F32x8 { F32x8(a.0, a.1) }
    fn high_f32x16(a: F32x16) -> F32x8 { F32x8(a.2, a.3) }
}

#[inline]
#[target_feature(enable = "neon")]
fn mask(truths: uint32x4_t) -> int32x4_t {
    vreinterpretq_s32_u32(truths)
}

/// By comparison: `fmin` has other rules for NaN and zeros.
#[inline]
#[target_feature(enable = "neon")]
fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vbslq_f32(greater(b, a), a, b)
}

/// See [`min`].
#[inline]
#[target_feature(enable = "neon")]
fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vbslq_f32(greater(a, b), a, b)
}

/// Mask of `a > b`. By an instruction that LLVM does not know: of a comparison and a selection it makes `fminnm`, whose
/// result of a signalling NaN is a NaN.
#[inline]
#[target_feature(enable = "neon")]
fn greater(a: float32x4_t, b: float32x4_t) -> uint32x4_t {
    let mask;
    // SAFETY: computes a register from registers, by an instruction of NEON.
    unsafe {
        asm!(
            "fcmgt {mask:v}.4s, {a:v}.4s, {b:v}.4s",
            mask = lateout(vreg) mask,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    mask
}

/// The 16 products of signed bytes, in order. One block of both instructions: LLVM would see that both halves of a
/// broadcast are equal and take the halves apart, which costs an instruction and a register for each. Not `pure`, so that
/// these blocks stay in order: free to move them, LLVM unpacks all weights first and puts them on the stack
/// (`tests/spills.rs`).
#[inline]
#[target_feature(enable = "neon")]
fn products(a: int8x16_t, b: int8x16_t) -> [int16x8_t; 2] {
    let (low, high): (int16x8_t, int16x8_t);
    // SAFETY: computes registers from registers, by instructions of NEON.
    unsafe {
        asm!(
            "smull {low:v}.8h, {a:v}.8b, {b:v}.8b",
            "smull2 {high:v}.8h, {a:v}.16b, {b:v}.16b",
            low = out(vreg) low,
            high = lateout(vreg) high,
            a = in(vreg) a,
            b = in(vreg) b,
            options(nomem, nostack, preserves_flags)
        );
    }
    [low, high]
}

/// As [`products`], added to words, which wrap.
#[inline]
#[target_feature(enable = "neon")]
fn add_products(acc: [int16x8_t; 2], a: int8x16_t, b: int8x16_t) -> [int16x8_t; 2] {
    let [mut low, mut high] = acc;
    // SAFETY: computes registers from registers, by instructions of NEON.
    unsafe {
        asm!(
            "smlal {low:v}.8h, {a:v}.8b, {b:v}.8b",
            "smlal2 {high:v}.8h, {a:v}.16b, {b:v}.16b",
            low = inout(vreg) low,
            high = inout(vreg) high,
            a = in(vreg) a,
            b = in(vreg) b,
            options(nomem, nostack, preserves_flags)
        );
    }
    [low, high]
}

/// Sums of neighbours. By an instruction that LLVM does not know: it would take even and odd lanes apart to add them in
/// another order, where something else is added to the sums.
#[inline]
#[target_feature(enable = "neon")]
fn fold(low: int32x4_t, high: int32x4_t) -> int32x4_t {
    let sums;
    // SAFETY: computes a register from registers, by an instruction of NEON.
    unsafe {
        asm!(
            "addp {sums:v}.4s, {low:v}.4s, {high:v}.4s",
            sums = lateout(vreg) sums,
            low = in(vreg) low,
            high = in(vreg) high,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// The 16 products of unsigned and signed bytes, in order.
#[inline]
#[target_feature(enable = "neon")]
fn unsigned_products(unsigned: int8x16_t, signed: int8x16_t) -> [int16x8_t; 2] {
    let unsigned = vreinterpretq_u8_s8(unsigned);
    let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(unsigned)));
    let high = vreinterpretq_s16_u16(vmovl_high_u8(unsigned));
    [
        vmulq_s16(low, vmovl_s8(vget_low_s8(signed))),
        vmulq_s16(high, vmovl_high_s8(signed)),
    ]
}

#[inline]
#[target_feature(enable = "neon")]
fn dot_words(a: int16x8_t, b: int16x8_t) -> int32x4_t {
    vpaddq_s32(
        vmull_s16(vget_low_s16(a), vget_low_s16(b)),
        vmull_high_s16(a, b),
    )
}

#[inline]
#[target_feature(enable = "neon")]
fn dot4_u(acc: int32x4_t, unsigned: int8x16_t, signed: int8x16_t) -> int32x4_t {
    let [low, high] = unsigned_products(unsigned, signed);
    vaddq_s32(acc, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)))
}

/// Four bytes in every lane.
#[inline]
#[target_feature(enable = "neon")]
fn spread<const N: i32>(bytes: int8x16_t) -> int8x16_t {
    vreinterpretq_s8_s32(vdupq_laneq_s32::<N>(vreinterpretq_s32_s8(bytes)))
}

/// Sums of two products fit 16 bits: no pair is -128 and -128.
#[inline]
#[target_feature(enable = "neon")]
fn dot4_s(acc: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let [low, high] = products(a, b);
    vpadalq_s16(acc, vpaddq_s16(low, high))
}

#[inline]
#[target_feature(enable = "neon")]
fn dot2_s(a: int8x16_t, b: int8x16_t) -> int16x8_t {
    let [low, high] = products(a, b);
    vpaddq_s16(low, high)
}

#[inline]
#[target_feature(enable = "neon")]
fn dot2_u(unsigned: int8x16_t, signed: int8x16_t) -> int16x8_t {
    let [low, high] = unsigned_products(unsigned, signed);
    vqaddq_s16(vuzp1q_s16(low, high), vuzp2q_s16(low, high))
}

level! {
    fn fma_f32(a: f32, b: f32, c: f32) -> f32 {
        vget_lane_f32::<0>(vfma_f32(vdup_n_f32(c), vdup_n_f32(a), vdup_n_f32(b)))
    }

    fn sqrt_f32(a: f32) -> f32 {
        vget_lane_f32::<0>(vsqrt_f32(vdup_n_f32(a)))
    }

    fn to_int_f32(a: f32) -> i32 {
        vcvtns_s32_f32(a)
    }

    fn lanes_i32x16(lanes: [i32; 16]) -> I32x16 {
        // SAFETY: both are 16 integers, in this order.
        unsafe { core::mem::transmute(lanes) }
    }

    fn lanes_i8x16(lanes: [i8; 16]) -> I8x16 {
        // SAFETY: both are 16 bytes, in this order.
        unsafe { core::mem::transmute(lanes) }
    }

    fn splat_f32(a: f32) -> F32x16 {
        let a = vdupq_n_f32(a);
        F32x16(a, a, a, a)
    }

    fn splat_i32(a: i32) -> I32x16 {
        let a = vdupq_n_s32(a);
        I32x16(a, a, a, a)
    }

    fn splat_i32_i8x64(a: i32) -> I8x64 {
        bits_i32x16_i8x64(splat_i32(a))
    }

    fn splat_i32_i16x32(a: i32) -> I16x32 {
        bits_i32x16_i16x32(splat_i32(a))
    }

    fn widen_s_i8x16(a: I8x16) -> I32x16 {
        let (low, high) = (vmovl_s8(vget_low_s8(a)), vmovl_high_s8(a));
        I32x16(
            vmovl_s16(vget_low_s16(low)),
            vmovl_high_s16(low),
            vmovl_s16(vget_low_s16(high)),
            vmovl_high_s16(high),
        )
    }

    fn widen_u_i8x16(a: I8x16) -> I32x16 {
        let a = vreinterpretq_u8_s8(a);
        let (low, high) = (vmovl_u8(vget_low_u8(a)), vmovl_high_u8(a));
        I32x16(
            mask(vmovl_u16(vget_low_u16(low))),
            mask(vmovl_high_u16(low)),
            mask(vmovl_u16(vget_low_u16(high))),
            mask(vmovl_high_u16(high)),
        )
    }

    fn narrow_i32x16(a: I32x16) -> I8x16 {
        let low = vcombine_s16(vmovn_s32(a.0), vmovn_s32(a.1));
        let high = vcombine_s16(vmovn_s32(a.2), vmovn_s32(a.3));
        vcombine_s8(vmovn_s16(low), vmovn_s16(high))
    }

    fn half_to_float_i16x16(a: I16x16) -> F32x16 {
        let (low, high) = (vreinterpretq_f16_s16(a.0), vreinterpretq_f16_s16(a.1));
        F32x16(
            vcvt_f32_f16(vget_low_f16(low)),
            vcvt_high_f32_f16(low),
            vcvt_f32_f16(vget_low_f16(high)),
            vcvt_high_f32_f16(high),
        )
    }

    fn float_to_half_f32x16(a: F32x16) -> I16x16 {
        I16x16(
            vreinterpretq_s16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a.0), a.1)),
            vreinterpretq_s16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a.2), a.3)),
        )
    }

    fn reduce_add_f32x16(a: F32x16) -> f32 {
        let a = vaddq_f32(vaddq_f32(a.0, a.2), vaddq_f32(a.1, a.3));
        vpadds_f32(vadd_f32(vget_low_f32(a), vget_high_f32(a)))
    }

    fn reduce_max_f32x16(a: F32x16) -> f32 {
        let a = max(max(a.0, a.2), max(a.1, a.3));
        let a = max(a, vextq_f32::<2>(a, a));
        let a = max(a, vextq_f32::<1>(a, a));
        vgetq_lane_f32::<0>(a)
    }

    fn reduce_add_i32x16(a: I32x16) -> i32 {
        vaddvq_s32(vaddq_s32(vaddq_s32(a.0, a.2), vaddq_s32(a.1, a.3)))
    }

    fn lookup_i8x64(table: I8x16, index: I8x64) -> I8x64 {
        I8x64(
            vqtbl1q_s8(table, vreinterpretq_u8_s8(index.0)),
            vqtbl1q_s8(table, vreinterpretq_u8_s8(index.1)),
            vqtbl1q_s8(table, vreinterpretq_u8_s8(index.2)),
            vqtbl1q_s8(table, vreinterpretq_u8_s8(index.3)),
        )
    }

    fn lookup32_i8x64(low: I8x16, high: I8x16, index: I8x64) -> I8x64 {
        let tables = int8x16x2_t(low, high);
        I8x64(
            vqtbl2q_s8(tables, vreinterpretq_u8_s8(index.0)),
            vqtbl2q_s8(tables, vreinterpretq_u8_s8(index.1)),
            vqtbl2q_s8(tables, vreinterpretq_u8_s8(index.2)),
            vqtbl2q_s8(tables, vreinterpretq_u8_s8(index.3)),
        )
    }
}

/// Declares casts of the same 64 bytes.
macro_rules! casts {
    ($($name:ident($From:ident) -> $To:ident;)*) => {
        level! {
            $(fn $name(a: $From) -> $To {
                // SAFETY: both are 64 bytes of plain integers or floats.
                unsafe { core::mem::transmute(a) }
            })*
        }
    };
}

casts! {
    bits_i8x64_i16x32(I8x64) -> I16x32;
    bits_i8x64_i32x16(I8x64) -> I32x16;
    bits_i8x64_f32x16(I8x64) -> F32x16;
    bits_i16x32_i8x64(I16x32) -> I8x64;
    bits_i16x32_i32x16(I16x32) -> I32x16;
    bits_i16x32_f32x16(I16x32) -> F32x16;
    bits_i32x16_i8x64(I32x16) -> I8x64;
    bits_i32x16_i16x32(I32x16) -> I16x32;
    bits_i32x16_f32x16(I32x16) -> F32x16;
    bits_f32x16_i8x64(F32x16) -> I8x64;
    bits_f32x16_i16x32(F32x16) -> I16x32;
    bits_f32x16_i32x16(F32x16) -> I32x16;
}
