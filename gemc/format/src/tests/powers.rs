//! Scales that are powers of two, without row scales: MX4, rounded in every way.

use super::gaussian;
use crate::feedback::{self, Factor, FeedbackScratch, panels_len};
use crate::grid::Grid;
use crate::mx4::MX4;
use crate::quantise::{QuantisedRow, plain};
use crate::search;
use crate::{BLOCK, BlockSums};

/// The weights that a row stands for.
fn values(row: &QuantisedRow) -> Vec<f32> {
    let of = |(col, code): (usize, &i8)| {
        let byte = row.scales[col / BLOCK];
        row.row_scale * MX4::level(*code, byte)
    };
    row.codes.iter().enumerate().map(of).collect()
}

/// Plain rounding, search, and feedback of inputs that do not depend on each other.
fn rounded(weights: &[f32]) -> [QuantisedRow; 3] {
    let mut rows: [QuantisedRow; 3] = Default::default();
    plain::<MX4>(weights, &mut rows[0]);
    search::row::<MX4>(weights, None, &mut rows[1]);
    let (cols, blocks) = (weights.len(), weights.len().div_ceil(BLOCK));
    let places: Vec<u32> = (0..cols as u32).collect();
    let mut h = vec![0.0; blocks * BLOCK * BLOCK];
    for col in 0..cols {
        h[col * BLOCK + col % BLOCK] = 1.0;
    }
    let factor = Factor {
        importance: &vec![1.0; cols],
        blocks: &h,
        order: &places,
        places: &places,
        panels: &vec![0.0; panels_len(cols)],
        diagonal: &vec![1.0; cols],
    };
    feedback::row::<MX4>(
        weights,
        &factor,
        &mut FeedbackScratch::default(),
        &mut rows[2],
    );
    rows
}

fn error(weights: &[f32], row: &QuantisedRow) -> f64 {
    let squares = |x: f32| f64::from(x) * f64::from(x);
    let differences = weights.iter().zip(values(row)).map(|(w, v)| squares(w - v));
    differences.sum::<f64>() / weights.iter().map(|w| squares(*w)).sum::<f64>()
}

#[test]
fn rows_have_no_scale_and_errors_are_those_of_four_bits() {
    let weights = gaussian(1024, 1);
    let errors = rounded(&weights).map(|row| {
        assert_eq!(row.row_scale, 1.0);
        error(&weights, &row)
    });
    assert!(
        errors.iter().all(|e| (5e-3..2.5e-2).contains(e)),
        "{errors:?}"
    );
    assert!(
        errors[1] < errors[0] && errors[2] <= errors[1],
        "{errors:?}"
    );
    assert_eq!(<MX4 as Grid>::SCALES.row_bytes(), 0);
    assert_eq!(<MX4 as Grid>::SCALES.sums(), BlockSums::Floats);
}

#[test]
fn a_row_times_a_power_of_two_has_the_same_codes_and_its_scales_move() {
    let weights = gaussian(96, 2);
    let expected = rounded(&weights);
    for exponent in [-90, -7, 1, 60, 120] {
        let factor = 2.0f32.powi(exponent);
        let moved: Vec<f32> = weights.iter().map(|w| w * factor).collect();
        for (found, expected) in rounded(&moved).iter().zip(&expected) {
            assert_eq!(found.codes, expected.codes, "2^{exponent}");
            let bytes = expected
                .scales
                .iter()
                .map(|s| (i32::from(*s) + exponent) as u8);
            assert!(found.scales.iter().copied().eq(bytes), "2^{exponent}");
        }
    }
}

/// A number of OCP's MXFP4: an E2M1 code and the E8M0 byte of its block.
fn mxfp4(code: u8, byte: u8) -> f32 {
    let magnitude = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][usize::from(code & 7)];
    let sign = if code & 8 == 0 { 1.0 } else { -1.0 };
    sign * magnitude * 2.0f32.powi(i32::from(byte) - 127)
}

#[test]
fn numbers_of_mxfp4_survive_bit_for_bit() {
    let mut state = 5u64;
    let mut random = move |below: u8| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) % u64::from(below)) as u8
    };
    for _ in 0..200 {
        let (mut weights, mut bytes) = (Vec::new(), Vec::new());
        for _ in 0..8 {
            let byte = 97 + random(60);
            // Codes of any kind, small ones alone, a few large ones, zeros.
            let codes: [u8; BLOCK] = match random(4) {
                0 => std::array::from_fn(|_| random(16)),
                1 => std::array::from_fn(|_| random(2) * 8 + random(6)),
                2 => std::array::from_fn(|_| (6 + random(2)) * random(2)),
                _ => [0; BLOCK],
            };
            let largest = codes.iter().map(|code| code & 7).max();
            bytes.push(match largest {
                Some(0) => Some(0),
                Some(6 | 7) => Some(byte),
                // Another byte has the same numbers with larger codes.
                _ => None,
            });
            // Zero has no sign.
            weights.extend(codes.map(|code| mxfp4(code, byte) + 0.0));
        }
        for row in rounded(&weights) {
            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
            assert!(values(&row).iter().zip(&weights).all(same));
            for (found, byte) in row.scales.iter().zip(&bytes) {
                assert!(byte.is_none_or(|byte| byte == *found), "{byte:?}: {found}");
            }
        }
    }
}

/// Rows whose blocks are of very different sizes, one of them zero.
fn uneven_rows() -> Vec<Vec<f32>> {
    let mut rows = Vec::new();
    for seed in 0..40 {
        let mut weights = gaussian(250, seed);
        for (block, weights) in weights.chunks_mut(BLOCK).enumerate() {
            let exponent = (seed as i32 * 7 + block as i32 * 13) % 41 - 20;
            // Some blocks have few values, or only small ones beside the largest.
            let last = weights.len() - 1;
            weights[last / 2 * (block % 2)..last]
                .iter_mut()
                .for_each(|w| *w *= 0.2);
            weights.iter_mut().for_each(|w| *w *= 2.0f32.powi(exponent));
        }
        weights[64..96].fill(0.0);
        rows.push(weights);
    }
    rows
}

#[test]
fn what_is_of_the_grid_stays_as_it_is() {
    for weights in uneven_rows() {
        for first in rounded(&weights) {
            let kept = &values(&first)[..weights.len()];
            for (way, again) in rounded(kept).iter().enumerate() {
                assert_eq!(again.scales, first.scales, "{way}");
                assert_eq!(again.codes, first.codes, "{way}");
                assert!(values(again)[..weights.len()] == *kept, "{way}");
            }
        }
    }
}

#[test]
fn zeros_stay_zero_and_the_largest_finite() {
    for weights in [vec![0.0; 40], vec![f32::MAX; 40], vec![-f32::MAX; 40]] {
        for row in rounded(&weights) {
            let values = values(&row);
            assert!(values.iter().all(|v| v.is_finite()), "{values:?}");
            let zeros = values.iter().filter(|v| **v == 0.0).count();
            assert_eq!(zeros, if weights[0] == 0.0 { 64 } else { 24 });
        }
    }
    // Both beside each other, and what is too small for any scale.
    let mut weights = vec![0.0; 96];
    weights[40] = 0.3;
    weights[70] = 1e-42;
    for row in rounded(&weights) {
        let values = values(&row);
        assert!((values[40] - 0.3).abs() < 0.06, "{}", values[40]);
        assert!(values[..32].iter().all(|v| *v == 0.0));
        assert!(values[64..].iter().all(|v| v.abs() < 1e-36));
    }
}
