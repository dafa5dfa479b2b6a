//! x86-64 with AVX-512 F, BW, DQ, VL and VNNI: one register per vector. Masks are vectors here too; the compiler turns
//! a comparison that feeds a selection back into a mask register.

use core::arch::x86_64::*;

/// 16 bytes.
pub type I8x16 = __m128i;
/// 16 words of 16 bits, or half-precision floats.
pub type I16x16 = __m256i;
/// Half of an [`I8x64`].
pub type I8x32 = __m256i;
/// Half of an [`I32x16`].
pub type I32x8 = __m256i;
/// Half of an [`F32x16`].
pub type F32x8 = __m256;

/// Declares a vector type of one register.
macro_rules! register {
    ($($(#[$doc:meta])* $name:ident($register:ty);)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            #[repr(C)]
            pub struct $name(pub $register);
        )*
    };
}

register! {
    /// 64 bytes, signed or not as the operation says.
    I8x64(__m512i);
    /// 32 words of 16 bits.
    I16x32(__m512i);
    /// 16 integers, or a mask: lanes all ones or zero.
    I32x16(__m512i);
    /// 16 singles.
    F32x16(__m512);
}

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
            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
            pub fn $name $(<const $N: $NT>)? ($($a: $A),*) -> $R $body
        )*
    };
}

/// Declares operations by an expression over the registers.
macro_rules! whole {
    ($($name:ident($($a:ident: $A:ident),+) -> $R:ident = $e:expr;)*) => {
        level! {
            $(fn $name($($a: $A),+) -> $R {
                $(let $a = $a.0;)+
                $R($e)
            })*
        }
    };
}

whole! {
    add_f32x16(a: F32x16, b: F32x16) -> F32x16 = _mm512_add_ps(a, b);
    sub_f32x16(a: F32x16, b: F32x16) -> F32x16 = _mm512_sub_ps(a, b);
    mul_f32x16(a: F32x16, b: F32x16) -> F32x16 = _mm512_mul_ps(a, b);
    div_f32x16(a: F32x16, b: F32x16) -> F32x16 = _mm512_div_ps(a, b);
    fma_f32x16(a: F32x16, b: F32x16, c: F32x16) -> F32x16 = _mm512_fmadd_ps(a, b, c);
    min_f32x16(a: F32x16, b: F32x16) -> F32x16 = _mm512_min_ps(a, b);
    max_f32x16(a: F32x16, b: F32x16) -> F32x16 = _mm512_max_ps(a, b);
    abs_f32x16(a: F32x16) -> F32x16 = _mm512_andnot_ps(_mm512_set1_ps(-0.0), a);
    neg_f32x16(a: F32x16) -> F32x16 = _mm512_xor_ps(_mm512_set1_ps(-0.0), a);
    sqrt_f32x16(a: F32x16) -> F32x16 = _mm512_sqrt_ps(a);
    cmp_eq_f32x16(a: F32x16, b: F32x16) -> I32x16 = _mm512_movm_epi32(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b));
    cmp_ne_f32x16(a: F32x16, b: F32x16) -> I32x16 = _mm512_movm_epi32(_mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(a, b));
    cmp_lt_f32x16(a: F32x16, b: F32x16) -> I32x16 = _mm512_movm_epi32(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b));
    cmp_le_f32x16(a: F32x16, b: F32x16) -> I32x16 = _mm512_movm_epi32(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b));
    cmp_gt_f32x16(a: F32x16, b: F32x16) -> I32x16 = _mm512_movm_epi32(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b));
    cmp_ge_f32x16(a: F32x16, b: F32x16) -> I32x16 = _mm512_movm_epi32(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b));
    select_f32x16(m: I32x16, a: F32x16, b: F32x16) -> F32x16 = _mm512_mask_blend_ps(_mm512_movepi32_mask(m), b, a);

    add_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_add_epi32(a, b);
    sub_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_sub_epi32(a, b);
    mul_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_mullo_epi32(a, b);
    min_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_min_epi32(a, b);
    max_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_max_epi32(a, b);
    and_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_and_si512(a, b);
    or_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_or_si512(a, b);
    xor_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_xor_si512(a, b);
    cmp_eq_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_movm_epi32(_mm512_cmpeq_epi32_mask(a, b));
    cmp_ne_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_movm_epi32(_mm512_cmpneq_epi32_mask(a, b));
    cmp_lt_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_movm_epi32(_mm512_cmplt_epi32_mask(a, b));
    cmp_le_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_movm_epi32(_mm512_cmple_epi32_mask(a, b));
    cmp_gt_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_movm_epi32(_mm512_cmpgt_epi32_mask(a, b));
    cmp_ge_i32x16(a: I32x16, b: I32x16) -> I32x16 = _mm512_movm_epi32(_mm512_cmpge_epi32_mask(a, b));
    select_i32x16(m: I32x16, a: I32x16, b: I32x16) -> I32x16 = _mm512_mask_blend_epi32(_mm512_movepi32_mask(m), b, a);

    add_i16x32(a: I16x32, b: I16x32) -> I16x32 = _mm512_add_epi16(a, b);
    add_i8x64(a: I8x64, b: I8x64) -> I8x64 = _mm512_add_epi8(a, b);
    and_i8x64(a: I8x64, b: I8x64) -> I8x64 = _mm512_and_si512(a, b);
    or_i8x64(a: I8x64, b: I8x64) -> I8x64 = _mm512_or_si512(a, b);
    xor_i8x64(a: I8x64, b: I8x64) -> I8x64 = _mm512_xor_si512(a, b);

    to_float_i32x16(a: I32x16) -> F32x16 = _mm512_cvtepi32_ps(a);
    to_int_f32x16(a: F32x16) -> I32x16 = _mm512_cvtps_epi32(a);

    dot2_u_i8x64(unsigned: I8x64, signed: I8x64) -> I16x32 = _mm512_maddubs_epi16(unsigned, signed);
    dot2_s_i8x64(a: I8x64, b: I8x64) -> I16x32 = dot2_s(a, b);
    dot_words_i16x32(a: I16x32, b: I16x32) -> I32x16 = _mm512_madd_epi16(a, b);
    dot4_u_i8x64(acc: I32x16, unsigned: I8x64, signed: I8x64) -> I32x16 = _mm512_dpbusd_epi32(acc, unsigned, signed);
    dot4_s_i8x64(acc: I32x16, a: I8x64, b: I8x64) -> I32x16 = dot4_s(acc, a, b);

    bits_i8x64_i16x32(a: I8x64) -> I16x32 = a;
    bits_i8x64_i32x16(a: I8x64) -> I32x16 = a;
    bits_i8x64_f32x16(a: I8x64) -> F32x16 = _mm512_castsi512_ps(a);
    bits_i16x32_i8x64(a: I16x32) -> I8x64 = a;
    bits_i16x32_i32x16(a: I16x32) -> I32x16 = a;
    bits_i16x32_f32x16(a: I16x32) -> F32x16 = _mm512_castsi512_ps(a);
    bits_i32x16_i8x64(a: I32x16) -> I8x64 = a;
    bits_i32x16_i16x32(a: I32x16) -> I16x32 = a;
    bits_i32x16_f32x16(a: I32x16) -> F32x16 = _mm512_castsi512_ps(a);
    bits_f32x16_i8x64(a: F32x16) -> I8x64 = _mm512_castps_si512(a);
    bits_f32x16_i16x32(a: F32x16) -> I16x32 = _mm512_castps_si512(a);
    bits_f32x16_i32x16(a: F32x16) -> I32x16 = _mm512_castps_si512(a);
}

/// The magnitude of `a` times `b` with the sign of `a`; there is no `vpsignb` of this width.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn dot2_s(a: __m512i, b: __m512i) -> __m512i {
    let negative = _mm512_movepi8_mask(a);
    let signed = _mm512_mask_sub_epi8(b, negative, _mm512_setzero_si512(), b);
    _mm512_maddubs_epi16(_mm512_abs_epi8(a), signed)
}

/// Even and odd bytes as words; VNNI multiplies unsigned bytes only.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn dot4_s(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
    let even = _mm512_madd_epi16(
        _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(a)),
        _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(b)),
    );
    let odd = _mm512_madd_epi16(_mm512_srai_epi16::<8>(a), _mm512_srai_epi16::<8>(b));
    _mm512_add_epi32(acc, _mm512_add_epi32(even, odd))
}

level! {
    fn fma_f32(a: f32, b: f32, c: f32) -> f32 {
        _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)))
    }

    fn sqrt_f32(a: f32) -> f32 {
        _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(a)))
    }

    fn to_int_f32(a: f32) -> i32 {
        _mm_cvtss_si32(_mm_set_ss(a))
    }

    fn lanes_i32x16(lanes: [i32; 16]) -> I32x16 {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = lanes;
        I32x16(_mm512_setr_epi32(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p))
    }

    fn lanes_i8x16(lanes: [i8; 16]) -> I8x16 {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = lanes;
        _mm_setr_epi8(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
    }

    fn splat_f32(a: f32) -> F32x16 {
        F32x16(_mm512_set1_ps(a))
    }

    fn splat_i32(a: i32) -> I32x16 {
        I32x16(_mm512_set1_epi32(a))
    }

    fn splat_i32_i8x64(a: i32) -> I8x64 {
        I8x64(_mm512_set1_epi32(a))
    }

    fn splat_i32_i16x32(a: i32) -> I16x32 {
        I16x32(_mm512_set1_epi32(a))
    }

    fn shl_i32x16<const N: u32>(a: I32x16) -> I32x16 {
        I32x16(_mm512_slli_epi32::<N>(a.0))
    }

    fn shr_s_i32x16<const N: u32>(a: I32x16) -> I32x16 {
        I32x16(_mm512_srai_epi32::<N>(a.0))
    }

    fn shr_u_i32x16<const N: u32>(a: I32x16) -> I32x16 {
        I32x16(_mm512_srli_epi32::<N>(a.0))
    }

    fn shr_u_i8x64<const N: u32>(a: I8x64) -> I8x64 {
        let kept = _mm512_set1_epi8((0xffu8 >> N) as i8);
        I8x64(_mm512_and_si512(_mm512_srli_epi16::<N>(a.0), kept))
    }

    fn widen_s_i8x16(a: I8x16) -> I32x16 {
        I32x16(_mm512_cvtepi8_epi32(a))
    }

    fn widen_u_i8x16(a: I8x16) -> I32x16 {
        I32x16(_mm512_cvtepu8_epi32(a))
    }

    fn narrow_i32x16(a: I32x16) -> I8x16 {
        _mm512_cvtepi32_epi8(a.0)
    }

    fn half_to_float_i16x16(a: I16x16) -> F32x16 {
        F32x16(_mm512_cvtph_ps(a))
    }

    fn float_to_half_f32x16(a: F32x16) -> I16x16 {
        _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a.0)
    }

    fn reduce_add_f32x16(a: F32x16) -> f32 {
        let a = _mm256_add_ps(_mm512_castps512_ps256(a.0), _mm512_extractf32x8_ps::<1>(a.0));
        let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
        let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
        _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
    }

    fn reduce_max_f32x16(a: F32x16) -> f32 {
        let a = _mm256_max_ps(_mm512_castps512_ps256(a.0), _mm512_extractf32x8_ps::<1>(a.0));
        let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
        let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
        _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)))
    }

    fn reduce_add_i32x16(a: I32x16) -> i32 {
        let a = _mm256_add_epi32(_mm512_castsi512_si256(a.0), _mm512_extracti64x4_epi64::<1>(a.0));
        let a = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
        let a = _mm_add_epi32(a, _mm_unpackhi_epi64(a, a));
        _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32::<1>(a)))
    }

    fn lookup_i8x64(table: I8x16, index: I8x64) -> I8x64 {
        I8x64(_mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), index.0))
    }

    fn lookup32_i8x64(low: I8x16, high: I8x16, index: I8x64) -> I8x64 {
        let (low, high) = (_mm512_broadcast_i32x4(low), _mm512_broadcast_i32x4(high));
        let upper = _mm512_test_epi8_mask(index.0, _mm512_set1_epi8(16));
        let low = _mm512_shuffle_epi8(low, index.0);
        I8x64(_mm512_mask_shuffle_epi8(low, upper, high, index.0))
    }

    fn add_i16x16(a: I16x16, b: I16x16) -> I16x16 { _mm256_add_epi16(a, b) }
    fn add_i32x8(a: I32x8, b: I32x8) -> I32x8 { _mm256_add_epi32(a, b) }
    fn mul_i32x8(a: I32x8, b: I32x8) -> I32x8 { _mm256_mullo_epi32(a, b) }
    fn add_f32x8(a: F32x8, b: F32x8) -> F32x8 { _mm256_add_ps(a, b) }
    fn mul_f32x8(a: F32x8, b: F32x8) -> F32x8 { _mm256_mul_ps(a, b) }
    fn fma_f32x8(a: F32x8, b: F32x8, c: F32x8) -> F32x8 { _mm256_fmadd_ps(a, b, c) }
    fn to_float_i32x8(a: I32x8) -> F32x8 { _mm256_cvtepi32_ps(a) }
    fn dot2_u_i8x32(unsigned: I8x32, signed: I8x32) -> I16x16 { _mm256_maddubs_epi16(unsigned, signed) }
    fn dot2_s_i8x32(a: I8x32, b: I8x32) -> I16x16 {
        _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a))
    }
    fn dot_words_i16x16(a: I16x16, b: I16x16) -> I32x8 { _mm256_madd_epi16(a, b) }
    fn dot4_u_i8x32(acc: I32x8, unsigned: I8x32, signed: I8x32) -> I32x8 { _mm256_dpbusd_epi32(acc, unsigned, signed) }
    fn dot4_s_i8x32(acc: I32x8, a: I8x32, b: I8x32) -> I32x8 {
        let whole = |a| _mm512_zextsi256_si512(a);
        _mm512_castsi512_si256(dot4_s(whole(acc), whole(a), whole(b)))
    }
    fn dot4_s_by_i8x64<const N: i32>(acc: I32x16, a: I8x64, b: I8x16) -> I32x16 {
        dot4_s_i8x64(acc, a, splat_i32_i8x64(_mm_extract_epi32::<N>(b)))
    }
    fn dot4_s_by_i8x32<const N: i32>(acc: I32x8, a: I8x32, b: I8x16) -> I32x8 {
        dot4_s_i8x32(acc, a, _mm256_set1_epi32(_mm_extract_epi32::<N>(b)))
    }
    fn mul_s_by_i8x32<const N: i32>(a: I8x32, b: I8x16) -> I16x32 {
        let b = _mm512_cvtepi8_epi16(_mm256_set1_epi32(_mm_extract_epi32::<N>(b)));
        I16x32(_mm512_mullo_epi16(_mm512_cvtepi8_epi16(a), b))
    }
    fn mac_s_by_i8x32<const N: i32>(acc: I16x32, a: I8x32, b: I8x16) -> I16x32 {
        add_i16x32(acc, mul_s_by_i8x32::<N>(a, b))
    }
    fn add_pairs_i32x16(acc: I32x16, words: I16x32) -> I32x16 {
        add_i32x16(acc, I32x16(_mm512_madd_epi16(words.0, _mm512_set1_epi16(1))))
    }
    fn fold_pairs_i32x16(a: I32x16) -> I32x8 {
        let pairs = _mm256_hadd_epi32(_mm512_castsi512_si256(a.0), _mm512_extracti64x4_epi64::<1>(a.0));
        _mm256_permute4x64_epi64::<0b11_01_10_00>(pairs)
    }
    fn join_i8x32(low: I8x32, high: I8x32) -> I8x64 {
        I8x64(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high))
    }
    fn join_i16x16(low: I16x16, high: I16x16) -> I16x32 {
        I16x32(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high))
    }
    fn join_i32x8(low: I32x8, high: I32x8) -> I32x16 {
        I32x16(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high))
    }
    fn join_f32x8(low: F32x8, high: F32x8) -> F32x16 {
        F32x16(_mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high))
    }
    fn low_i8x64(a: I8x64) -> I8x32 { _mm512_castsi512_si256(a.0) }
    fn high_i8x64(a: I8x64) -> I8x32 { _mm512_extracti64x4_epi64::<1>(a.0) }
    fn low_i16x32(a: I16x32) -> I16x16 { _mm512_castsi512_si256(a.0) }
    fn high_i16x32(a: I16x32) -> I16x16 { _mm512_extracti64x4_epi64::<1>(a.0) }
    fn low_i32x16(a: I32x16) -> I32x8 { _mm512_castsi512_si256(a.0) }
    fn high_i32x16(a: I32x16) -> I32x8 { _mm512_extracti64x4_epi64::<1>(a.0) }
    fn low_f32x16(a: F32x16) -> F32x8 { _mm512_castps512_ps256(a.0) }
    fn high_f32x16(a: F32x16) -> F32x8 { _mm512_extractf32x8_ps::<1>(a.0) }
}

/// Declares unaligned loads and stores.
macro_rules! memory {
    ($($load:ident, $store:ident, $T:ident;)*) => {
        $(
            #[doc = concat!("See [`", stringify!($load), "`](super::portable::", stringify!($load), ").")]
            ///
            /// # Safety
            /// The vector's bytes must be readable.
            #[must_use]
            #[inline]
            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
            pub unsafe fn $load(from: *const u8) -> $T {
                // SAFETY: the caller's promise; every bit pattern is a value.
                unsafe { from.cast::<$T>().read_unaligned() }
            }

            #[doc = concat!("See [`", stringify!($store), "`](super::portable::", stringify!($store), ").")]
            ///
            /// # Safety
            /// The vector's bytes must be writable, and nobody else may use them meanwhile.
            #[inline]
            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
            pub unsafe fn $store(to: *mut u8, a: $T) {
                // SAFETY: the caller's promise.
                unsafe { to.cast::<$T>().write_unaligned(a) }
            }
        )*
    };
}

memory! {
    load_i8x16, store_i8x16, I8x16;
    load_i8x64, store_i8x64, I8x64;
    load_i16x16, store_i16x16, I16x16;
    load_i16x32, store_i16x32, I16x32;
    load_i32x16, store_i32x16, I32x16;
    load_f32x16, store_f32x16, F32x16;
    load_i8x32, store_i8x32, I8x32;
    load_i32x8, store_i32x8, I32x8;
    load_f32x8, store_f32x8, F32x8;
}

/// See [`stream_i8x64`](super::portable::stream_i8x64).
///
/// # Safety
/// The vector's bytes must be readable.
#[must_use]
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn stream_i8x64(from: *const u8) -> I8x64 {
    // A hint, which reads nothing: it may point anywhere.
    _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(super::AHEAD).cast());
    // SAFETY: the caller's promise.
    unsafe { load_i8x64(from) }
}

/// See [`stream_once_i8x64`](super::portable::stream_once_i8x64).
pub use self::stream_i8x64 as stream_once_i8x64;
