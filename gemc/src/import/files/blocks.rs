//! Blocks of quantised weights as GGUF files hold them -> f32 values.
//!
//! The formats are those of ggml's `ggml-quants.c`, restated: a block is a run of values of one row with its scales before or
//! behind the codes. Works on unaligned bytes.

use half::f16;

use super::stored::e2m1;

/// Values of a block of the small formats.
const SMALL: usize = 32;
/// Values of a block of the K formats.
const LARGE: usize = 256;

/// A format of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum BlockType {
    /// 4 bits around 8, one scale.
    Q4_0,
    /// 4 bits, scale and least value.
    Q4_1,
    /// 5 bits around 16, one scale.
    Q5_0,
    /// 5 bits, scale and least value.
    Q5_1,
    /// 8 bits, one scale.
    Q8_0,
    /// 4 bits; eight scales and least values of 6 bits under two of f16.
    Q4K,
    /// 5 bits, as Q4K.
    Q5K,
    /// 6 bits around 32; sixteen scales of 8 bits under one of f16.
    Q6K,
    /// E2M1 under a power of two.
    Mxfp4,
}

impl BlockType {
    /// Values of a block, and its bytes.
    #[must_use]
    pub const fn size(self) -> (usize, usize) {
        match self {
            Self::Q4_0 => (SMALL, 18),
            Self::Q4_1 => (SMALL, 20),
            Self::Q5_0 => (SMALL, 22),
            Self::Q5_1 => (SMALL, 24),
            Self::Q8_0 => (SMALL, 34),
            Self::Q4K => (LARGE, 144),
            Self::Q5K => (LARGE, 176),
            Self::Q6K => (LARGE, 210),
            Self::Mxfp4 => (SMALL, 17),
        }
    }

    /// Converts whole blocks.
    ///
    /// # Panics
    /// When `bytes` are not the blocks of `out`.
    pub fn to_f32(self, bytes: &[u8], out: &mut [f32]) {
        let (values, size) = self.size();
        assert_eq!(bytes.len() / size * values, out.len(), "whole blocks");
        for (block, out) in bytes.chunks_exact(size).zip(out.chunks_exact_mut(values)) {
            match self {
                Self::Q4_0 => {
                    let scale = half(block, 0);
                    nibbles(&block[2..], out, |_, q| f32::from(q as i8 - 8) * scale);
                }
                Self::Q4_1 => {
                    let (scale, least) = (half(block, 0), half(block, 2));
                    nibbles(&block[4..], out, |_, q| f32::from(q) * scale + least);
                }
                Self::Q5_0 => {
                    let (scale, top) = (half(block, 0), word(block, 2));
                    nibbles(&block[6..], out, |i, q| {
                        f32::from((q | fifth(top, i)) as i8 - 16) * scale
                    });
                }
                Self::Q5_1 => {
                    let (scale, least, top) = (half(block, 0), half(block, 2), word(block, 4));
                    nibbles(&block[8..], out, |i, q| {
                        f32::from(q | fifth(top, i)) * scale + least
                    });
                }
                Self::Q8_0 => {
                    let scale = half(block, 0);
                    for (out, code) in out.iter_mut().zip(&block[2..]) {
                        *out = f32::from(*code as i8) * scale;
                    }
                }
                Self::Q4K => q4_q5_k(block, &block[16..], None, out),
                Self::Q5K => q4_q5_k(block, &block[48..], Some(&block[16..48]), out),
                Self::Q6K => q6_k(block, out),
                Self::Mxfp4 => {
                    // 2^(e - 127), from the bits of an f64, which has them all.
                    let scale = f64::from_bits((u64::from(block[0]) + 1023 - 127) << 52) as f32;
                    nibbles(&block[1..], out, |_, q| e2m1(q) * scale);
                }
            }
        }
    }
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn word(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// 32 codes of 4 bits: low halves of 16 bytes, then high halves.
fn nibbles(codes: &[u8], out: &mut [f32], value: impl Fn(usize, u8) -> f32) {
    for (i, out) in out.iter_mut().enumerate() {
        let byte = codes[i % 16];
        *out = value(i, if i < 16 { byte & 15 } else { byte >> 4 });
    }
}

/// The fifth bit of code `i`.
fn fifth(top: u32, i: usize) -> u8 {
    ((top >> i & 1) << 4) as u8
}

/// Scale and least value of one of eight runs of 32.
fn run_scales(scales: &[u8], run: usize) -> (f32, f32) {
    let (scale, least) = if run < 4 {
        (scales[run] & 63, scales[run + 4] & 63)
    } else {
        (
            scales[run + 4] & 15 | scales[run - 4] >> 6 << 4,
            scales[run + 4] >> 4 | scales[run] >> 6 << 4,
        )
    };
    (f32::from(scale), f32::from(least))
}

fn q4_q5_k(block: &[u8], codes: &[u8], top: Option<&[u8]>, out: &mut [f32]) {
    let (scale, least) = (half(block, 0), half(block, 2));
    for (run, out) in out.chunks_exact_mut(SMALL).enumerate() {
        let (s, m) = run_scales(&block[4..16], run);
        let (s, m) = (scale * s, least * m);
        // Two runs share 32 bytes.
        let codes = &codes[run / 2 * SMALL..][..SMALL];
        for (i, (out, byte)) in out.iter_mut().zip(codes).enumerate() {
            let low = if run % 2 == 0 { byte & 15 } else { byte >> 4 };
            let high = top.map_or(0, |top| (top[i] >> run & 1) << 4);
            *out = s * f32::from(low | high) - m;
        }
    }
}

fn q6_k(block: &[u8], out: &mut [f32]) {
    let scale = half(block, 208);
    for (half_at, out) in out.chunks_exact_mut(128).enumerate() {
        let low = &block[64 * half_at..][..64];
        let high = &block[128 + 32 * half_at..][..32];
        let scales = &block[192 + 8 * half_at..][..8];
        for (i, out) in out.iter_mut().enumerate() {
            let (quarter, l) = (i / 32, i % 32);
            let byte = low[l + quarter % 2 * 32];
            let code = if quarter < 2 { byte & 15 } else { byte >> 4 };
            let code = code | (high[l] >> (2 * quarter) & 3) << 4;
            let own = f32::from(scales[i / 16] as i8);
            *out = scale * own * f32::from(code as i8 - 32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [BlockType; 9] = [
        BlockType::Q4_0,
        BlockType::Q4_1,
        BlockType::Q5_0,
        BlockType::Q5_1,
        BlockType::Q8_0,
        BlockType::Q4K,
        BlockType::Q5K,
        BlockType::Q6K,
        BlockType::Mxfp4,
    ];

    /// Values of a block of one format whose bytes are a fixed pattern, from PyPI's `gguf` 0.19 (`gguf.quants.dequantize`).
    const EXPECTED: &str = include_str!("blocks.txt");

    /// The pattern: scales of f16 are 0.5 and 0.25, every other byte follows from its place.
    fn pattern(block: BlockType) -> Vec<u8> {
        let (_, size) = block.size();
        let mut bytes: Vec<u8> = (0..size).map(|i| (i * 89 + 7) as u8).collect();
        let scales: &[usize] = match block {
            BlockType::Q4_0 | BlockType::Q5_0 | BlockType::Q8_0 => &[0],
            BlockType::Q6K => &[208],
            BlockType::Mxfp4 => &[],
            _ => &[0, 2],
        };
        for (at, value) in scales.iter().zip([0.5, 0.25]) {
            bytes[*at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
        }
        bytes
    }

    #[test]
    fn values_are_those_of_the_format_s_own_library() {
        for (block, line) in ALL.into_iter().zip(EXPECTED.lines()) {
            let mut words = line.split(' ');
            assert_eq!(words.next(), Some(format!("{block:?}").as_str()));
            let mut out = vec![0.0; block.size().0];
            block.to_f32(&pattern(block), &mut out);
            let expected: Vec<f32> = words.map(|w| w.parse().expect("a number")).collect();
            assert_eq!(out, expected, "{block:?}");
        }
        assert_eq!(EXPECTED.lines().count(), ALL.len());
    }
}
