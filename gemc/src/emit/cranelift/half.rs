//! Half-precision conversions by integer arithmetic on four lanes, bit-equal to [`gem_runtime::simd::half`]: Cranelift
//! has none.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::emitter::Emitter;
use super::segments::Segments;

/// Difference of the exponents' biases, where singles have their exponent.
const REBIAS: u32 = 112 << 23;
/// 2^-14, the least normal half.
const LEAST_NORMAL: u32 = 113 << 23;
/// Infinity.
const INFINITE: u32 = 0x7f80_0000;

impl Emitter<'_> {
    /// Halves to singles; every half is a single, so nothing is rounded.
    pub(super) fn half_to_float(&mut self, halves: Segments) -> Segments {
        let [a, b] = [halves.at(0), halves.at(1)];
        let words = [
            self.ins().uwiden_low(a),
            self.ins().uwiden_high(a),
            self.ins().uwiden_low(b),
            self.ins().uwiden_high(b),
        ];
        Segments::of(words.map(|word| self.single_of(word)))
    }

    /// To nearest, ties to even.
    pub(super) fn float_to_half(&mut self, floats: Segments) -> Segments {
        let words = self.zip([floats], |e, [x]| e.half_of(x));
        let low = self.ins().unarrow(words.at(0), words.at(1));
        Segments::of([low, self.ins().unarrow(words.at(2), words.at(3))])
    }

    /// Lanes of 32 bits that hold halves.
    fn single_of(&mut self, half: Value) -> Value {
        let (magnitude_bits, sign_bit) = (self.words(0x7fff), self.words(0x8000));
        let (thirteen, sixteen) = (self.int(13), self.int(16));
        let magnitude = self.ins().band(half, magnitude_bits);
        let magnitude = self.ins().ishl(magnitude, thirteen);
        let rebias = self.words(REBIAS);
        let normal = self.ins().iadd(magnitude, rebias);
        // With the least normal exponent, a subnormal's fraction counts beside an implicit one, which is taken off.
        let least = self.words(LEAST_NORMAL);
        let with_one = self.ins().iadd(magnitude, least);
        let with_one = self.cast(types::F32X4, with_one);
        let least = self.cast(types::F32X4, least);
        let subnormal = self.ins().fsub(with_one, least);
        let subnormal = self.cast(types::I32X4, subnormal);
        let one = self.words(1 << 23);
        let is_subnormal = self.ins().icmp(IntCC::SignedLessThan, magnitude, one);
        let finite = self.choose(is_subnormal, subnormal, normal);
        // Infinite or NaN: the exponent becomes all ones, a NaN quiet.
        let largest = self.words((31 << 23) - 1);
        let is_special = self
            .ins()
            .icmp(IntCC::SignedGreaterThan, magnitude, largest);
        let infinite = self.words(INFINITE);
        let special = self.ins().band(is_special, infinite);
        let result = self.ins().bor(finite, special);
        let infinity = self.words(31 << 23);
        let is_nan = self
            .ins()
            .icmp(IntCC::SignedGreaterThan, magnitude, infinity);
        let quiet = self.words(1 << 22);
        let quiet = self.ins().band(is_nan, quiet);
        let result = self.ins().bor(result, quiet);
        let sign = self.ins().band(half, sign_bit);
        let sign = self.ins().ishl(sign, sixteen);
        let result = self.ins().bor(result, sign);
        self.cast(types::F32X4, result)
    }

    /// The half in the low bits of each lane.
    fn half_of(&mut self, float: Value) -> Value {
        let bits = self.cast(types::I32X4, float);
        let sign_bit = self.words(0x8000_0000);
        let sign = self.ins().band(bits, sign_bit);
        let magnitude = self.ins().bxor(bits, sign);
        let (thirteen, sixteen) = (self.int(13), self.int(16));
        let finite = self.finite_half(magnitude, thirteen);
        // 2^16 and more; below it, rounding carries into the exponent by itself.
        let largest = self.words(0x477f_ffff);
        let infinite = self.words(0x7c00);
        let is_large = self
            .ins()
            .icmp(IntCC::SignedGreaterThan, magnitude, largest);
        let result = self.choose(is_large, infinite, finite);
        let infinity = self.words(INFINITE);
        let is_nan = self
            .ins()
            .icmp(IntCC::SignedGreaterThan, magnitude, infinity);
        let payload = self.ins().ushr(magnitude, thirteen);
        let payload_bits = self.words(0x3ff);
        let payload = self.ins().band(payload, payload_bits);
        let quiet = self.words(0x7e00);
        let nan = self.ins().bor(payload, quiet);
        let result = self.choose(is_nan, nan, result);
        let sign = self.ins().ushr(sign, sixteen);
        self.ins().bor(result, sign)
    }

    /// The half nearest to a magnitude below 2^16.
    fn finite_half(&mut self, magnitude: Value, thirteen: Value) -> Value {
        // Half of the last place, and one more where the last place is odd.
        let rebias = self.words(REBIAS);
        let rebiased = self.ins().isub(magnitude, rebias);
        let last = self.ins().ushr(rebiased, thirteen);
        let one = self.words(1);
        let odd = self.ins().band(last, one);
        let almost_half = self.words(0xfff);
        let rounded = self.ins().iadd(rebiased, almost_half);
        let rounded = self.ins().iadd(rounded, odd);
        let normal = self.ins().ushr(rounded, thirteen);
        // The last place of 0.5 is 2^-24, that of subnormal halves: the addition rounds, the fraction is the half.
        let point_five = self.words(0x3f00_0000);
        let x = self.cast(types::F32X4, magnitude);
        let shift = self.cast(types::F32X4, point_five);
        let sum = self.ins().fadd(x, shift);
        let sum = self.cast(types::I32X4, sum);
        let subnormal = self.ins().isub(sum, point_five);
        let least = self.words(LEAST_NORMAL);
        let is_subnormal = self.ins().icmp(IntCC::SignedLessThan, magnitude, least);
        self.choose(is_subnormal, subnormal, normal)
    }
}
