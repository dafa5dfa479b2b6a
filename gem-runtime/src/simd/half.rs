//! Half-precision floats (IEEE binary16) as bits, by integer arithmetic: the same results as x86's conversions.

/// Exact value of a half; a NaN becomes quiet and keeps its payload.
#[must_use]
#[inline]
pub const fn to_f32(half: u16) -> f32 {
    let sign = (half as u32 & 0x8000) << 16;
    let exponent = (half >> 10) as u32 & 31;
    let fraction = half as u32 & 0x3ff;
    let magnitude = match (exponent, fraction) {
        (0, 0) => 0,
        // Subnormal: fraction * 2^-24; move its leading bit to bit 10 and count the steps in the exponent.
        (0, _) => {
            let steps = fraction.leading_zeros() - 21;
            ((113 - steps) << 23) | ((fraction << steps & 0x3ff) << 13)
        }
        (31, 0) => 0x7f80_0000,
        (31, _) => 0x7fc0_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// Nearest half, ties to even; too large becomes infinite, a NaN stays one with its upper payload.
#[must_use]
#[inline]
pub const fn from_f32(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude > 0x7f80_0000 {
        0x7e00 | (magnitude >> 13) as u16 & 0x3ff
    } else if magnitude >= 0x4780_0000 {
        // 2^16 and more; below it, rounding carries into the exponent by itself.
        0x7c00
    } else if magnitude >= 0x3880_0000 {
        // Normal: rebias the exponent by 112.
        round_shift(magnitude - (112 << 23), 13) as u16
    } else if magnitude > 0x3300_0000 {
        // Subnormal, in units of 2^-24, with the implicit bit made explicit. Anything not above 2^-25 is zero.
        let fraction = magnitude & 0x007f_ffff | 0x0080_0000;
        round_shift(fraction, 126 - (magnitude >> 23)) as u16
    } else {
        0
    };
    sign | half
}

/// `value / 2^by` to nearest, ties to even; `by` in 1..=24.
const fn round_shift(value: u32, by: u32) -> u32 {
    let half = (1 << (by - 1)) - 1;
    (value + half + (value >> by & 1)) >> by
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a half by its definition.
    fn half_value(half: u16) -> f64 {
        let (exponent, fraction) = (i32::from(half >> 10 & 31), f64::from(half & 0x3ff));
        let magnitude = match exponent {
            0 => fraction * 2f64.powi(-24),
            31 if fraction == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
        };
        if half >> 15 == 1 {
            -magnitude
        } else {
            magnitude
        }
    }

    #[test]
    fn every_half_has_its_value_and_comes_back() {
        for bits in 0..=u16::MAX {
            let (want, got) = (half_value(bits), to_f32(bits));
            assert!(
                f64::from(got) == want && got.is_sign_negative() == want.is_sign_negative()
                    || got.is_nan() && want.is_nan()
            );
            let back = from_f32(got);
            assert!(
                back == bits || got.is_nan() && back == bits | 0x200,
                "{bits:04x} {back:04x}"
            );
        }
    }

    #[test]
    fn floats_round_to_the_nearest_half_ties_to_even() {
        for bits in 0..0x7c00u16 {
            let (low, high) = (
                half_value(bits),
                if bits == 0x7bff {
                    65536.0
                } else {
                    half_value(bits + 1)
                },
            );
            let middle = ((low + high) / 2.0) as f32;
            let even = bits + (bits & 1);
            assert_eq!(from_f32(middle), even, "{middle}");
            assert_eq!(from_f32(middle.next_down()), bits, "{middle}");
            assert_eq!(from_f32(-middle.next_up()), 0x8000 | (bits + 1), "{middle}");
        }
        assert_eq!(from_f32(f32::MAX), 0x7c00);
        assert_eq!(from_f32(f32::MIN_POSITIVE), 0);
    }
}
