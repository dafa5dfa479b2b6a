//! A row of activations in, what the kernels' int8 codes stand for out.
//!
//! The rule is [`gemc_format::activation`]'s, bit for bit; here it runs over whole rows and vectorises. A
//! shorter last block behaves as if padded with zeros.

use gemc_format::activation::TINY;
use gemc_format::{ActivationFormat, BLOCK};

/// Added and subtracted, rounds |x| < 2^22 to the nearest integer, ties to even (1.5 * 2^23).
const ROUND: f32 = 12_582_912.0;

/// Rounds each value of a row to the nearest one that its block can represent.
///
/// # Panics
/// When the two differ in length.
pub(super) fn round_row(row: &[f32], format: ActivationFormat, out: &mut [f32]) {
    assert_eq!(row.len(), out.len());
    let columns = format.columns();
    for (block, rounded) in row.chunks(columns).zip(out.chunks_mut(columns)) {
        round_block(block, rounded);
        if format.terms() == 2 {
            add_second_term(block, rounded);
        }
    }
}

fn round_block(block: &[f32], out: &mut [f32]) {
    let (inverse, scale) = block_scale(block);
    for (y, x) in out.iter_mut().zip(block) {
        *y = round_ties_even(x * inverse) * scale;
    }
}

/// Adds what codes of their own make of the errors of a rounded block.
fn add_second_term(block: &[f32], rounded: &mut [f32]) {
    let mut left = [0.0; BLOCK];
    let mut second = [0.0; BLOCK];
    let left = &mut left[..block.len()];
    for (left, (x, y)) in left.iter_mut().zip(block.iter().zip(rounded.iter())) {
        *left = x - y;
    }
    round_block(left, &mut second[..block.len()]);
    for (y, term) in rounded.iter_mut().zip(second) {
        *y += term;
    }
}

/// `(inverse, scale)` of a block: codes are `round_ties_even(x * inverse)`, values `code * scale`.
fn block_scale(block: &[f32]) -> (f32, f32) {
    let largest = largest_magnitude(block);
    if largest > TINY {
        (127.0 / largest, largest * (1.0 / 127.0))
    } else {
        (0.0, 0.0)
    }
}

/// `f32::round_ties_even` for small values, in two additions that vectorise everywhere.
#[inline(always)]
fn round_ties_even(x: f32) -> f32 {
    (x + ROUND) - ROUND
}

fn largest_magnitude(block: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let chunks = block.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, x.abs());
        }
    }
    let most = lanes.into_iter().fold(0.0, larger);
    rest.iter().map(|x| x.abs()).fold(most, larger)
}

/// A maximum without the NaN rules of `f32::max`, which keep it from vectorising.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

#[cfg(test)]
mod tests {
    use gemc_format::activation::quantise_block;

    use super::*;

    fn by_the_rule(row: &[f32], format: ActivationFormat) -> Vec<f32> {
        let rounded = |values: &[f32]| -> Vec<f32> {
            let mut codes = vec![0; values.len()];
            let scale = quantise_block(values, &mut codes);
            codes.into_iter().map(|c| f32::from(c) * scale).collect()
        };
        let all = |values: &[f32]| {
            let first = rounded(values);
            if format.terms() == 1 {
                return first;
            }
            let left: Vec<f32> = values.iter().zip(&first).map(|(x, y)| x - y).collect();
            let terms = first.iter().zip(rounded(&left));
            terms.map(|(a, b)| a + b).collect()
        };
        row.chunks(format.columns()).flat_map(all).collect()
    }

    #[test]
    fn rounds_like_the_kernels_at_every_length_and_magnitude() {
        for n in [1, 7, 8, 31, 32, 33, 64, 77, 255, 256, 257, 300] {
            for magnitude in [1.0, 3e-39, 1e-30, 1e-29, 7e30] {
                let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) * 0.037 * magnitude;
                let row: Vec<f32> = (0..n).map(value).collect();
                for block in ActivationFormat::ALL {
                    let mut out = vec![9.0; n];
                    round_row(&row, block, &mut out);
                    let expected = by_the_rule(&row, block);
                    assert_eq!(
                        out, expected,
                        "{n} columns of about {magnitude:e}, {block:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn ties_go_to_even_and_zeros_stay() {
        let mut row = [0.0f32; 64];
        row[..4].copy_from_slice(&[127.0, 0.5, 1.5, -2.5]);
        let mut out = [9.0f32; 64];
        round_row(&row, ActivationFormat::Int8, &mut out);
        let codes = out[..5].iter().map(|x| x.round());
        assert!(codes.eq([127.0, 0.0, 2.0, -2.0, 0.0]));
        assert_eq!(out[32..], [0.0; 32]);
    }
}
