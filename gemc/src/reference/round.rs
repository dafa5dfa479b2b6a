//! The kernels' rounding of activations: a block of up to 32 values in, int8 codes and one f32 scale out.
//!
//! Executor and kernels agree bit for bit on codes and scale; a shorter last block behaves as if padded with zeros.

/// Columns that share a scale.
pub const BLOCK: usize = 32;

/// Added and subtracted, rounds |x| < 2^22 to the nearest integer, ties to even (1.5 * 2^23).
const ROUND: f32 = 12_582_912.0;

/// `(inverse, scale)` of a block: codes are `round_ties_even(x * inverse)`, values `code * scale`.
///
/// A block of zeros, or of values so small that the inverse is not finite, has both zero.
#[must_use]
pub fn block_scale(block: &[f32]) -> (f32, f32) {
    let largest = largest_magnitude(block);
    let inverse = 127.0 / largest;
    if inverse.is_finite() {
        (inverse, largest * (1.0 / 127.0))
    } else {
        (0.0, 0.0)
    }
}

/// Codes in -127..=127 of one block of at most [`BLOCK`] values, and the scale.
///
/// # Panics
/// When `codes` is shorter than `block`.
pub fn encode_block(block: &[f32], codes: &mut [i8]) -> f32 {
    let (inverse, scale) = block_scale(block);
    for (code, x) in codes[..block.len()].iter_mut().zip(block) {
        *code = round_ties_even(x * inverse) as i8;
    }
    scale
}

/// Replaces each value of a row by what its code stands for.
pub fn round_row(row: &[f32], out: &mut [f32]) {
    for (block, rounded) in row.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
        let (inverse, scale) = block_scale(block);
        for (y, x) in rounded.iter_mut().zip(block) {
            *y = round_ties_even(x * inverse) * scale;
        }
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
    use super::*;

    fn plain(row: &[f32]) -> Vec<f32> {
        let mut padded = row.to_vec();
        padded.resize(row.len().next_multiple_of(BLOCK), 0.0);
        let mut out = Vec::new();
        for block in padded.chunks(BLOCK) {
            let largest = block.iter().fold(0.0f32, |a, x| a.max(x.abs()));
            let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
            let scale = largest * (1.0 / 127.0);
            out.extend(block.iter().map(|x| {
                let code = (x * inverse).round_ties_even() as i8;
                f32::from(code) * scale
            }));
        }
        out.truncate(row.len());
        out
    }

    #[test]
    fn rounds_like_the_definition_at_every_length() {
        for n in [1, 7, 8, 31, 32, 33, 64, 77] {
            let row: Vec<f32> = (0..n)
                .map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.037)
                .collect();
            let mut out = vec![0.0; n];
            round_row(&row, &mut out);
            assert_eq!(out, plain(&row), "{n} columns");
        }
    }

    #[test]
    fn ties_go_to_even_and_the_largest_value_gets_127() {
        let mut block = [0.0f32; BLOCK];
        block[..4].copy_from_slice(&[127.0, 0.5, 1.5, -2.5]);
        let mut codes = [9i8; BLOCK];
        let scale = encode_block(&block, &mut codes);
        assert_eq!(codes[..5], [127, 0, 2, -2, 0]);
        assert!((scale - 1.0).abs() < 1e-6);
    }

    #[test]
    fn zero_and_vanishing_blocks_are_zero() {
        for tiny in [0.0, 1e-40] {
            let block = [tiny; BLOCK];
            let mut codes = [9i8; BLOCK];
            assert_eq!(encode_block(&block, &mut codes), 0.0);
            assert_eq!(codes, [0; BLOCK]);
        }
    }
}
