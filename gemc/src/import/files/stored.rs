//! Stored bytes -> f32 values, and the search for values that are not finite. Works on unaligned bytes of any host.

use half::slice::{HalfBitsSliceExt as _, HalfFloatSliceExt as _};
use safetensors::tensor::Dtype;

use super::blocks::BlockType;

/// The element types a model tensor may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum StoredType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an F32.
    BF16,
    /// Sign, four bits of exponent, three of mantissa; to be multiplied by a scale.
    F8E4M3,
    /// Sign, two bits of exponent, one of mantissa, two values a byte; to be multiplied by a scale.
    F4E2M1,
    /// Blocks of quantised values.
    Block(BlockType),
}

impl std::fmt::Display for StoredType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Block(block) => write!(f, "{block:?}"),
            plain => write!(f, "{plain:?}"),
        }
    }
}

impl StoredType {
    /// The ones this compiler reads, in words.
    pub const ALLOWED: &str = "F32, F16 or BF16";

    /// Of a safetensors type.
    #[must_use]
    pub fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::BF16),
            _ => None,
        }
    }

    /// Values that are stored together, and their bytes.
    #[must_use]
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::BF16 => (1, 2),
            Self::F8E4M3 => (1, 1),
            Self::F4E2M1 => (2, 1),
            Self::Block(block) => block.size(),
        }
    }

    /// Bytes of so many values, whole blocks of them.
    #[must_use]
    pub const fn bytes(self, values: usize) -> usize {
        let (block, bytes) = self.block();
        values / block * bytes
    }
}

/// Converts little-endian elements.
///
/// # Panics
/// When `bytes` is not `out.len()` elements long.
pub fn to_f32(stored: StoredType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(
        bytes.len(),
        stored.bytes(out.len()),
        "one element per value"
    );
    match stored {
        StoredType::F32 => {
            let (words, _) = bytes.as_chunks::<4>();
            for (o, &w) in out.iter_mut().zip(words) {
                *o = f32::from_le_bytes(w);
            }
        }
        StoredType::BF16 => {
            let (words, _) = bytes.as_chunks::<2>();
            for (o, &w) in out.iter_mut().zip(words) {
                *o = f32::from_bits(u32::from(u16::from_le_bytes(w)) << 16);
            }
        }
        StoredType::F16 => f16_to_f32(bytes, out),
        StoredType::F8E4M3 => {
            for (o, byte) in out.iter_mut().zip(bytes) {
                *o = f8_to_f32(*byte);
            }
        }
        StoredType::F4E2M1 => {
            for (o, byte) in out.chunks_exact_mut(2).zip(bytes) {
                o[0] = e2m1(byte & 15);
                o[1] = e2m1(byte >> 4);
            }
        }
        StoredType::Block(block) => block.to_f32(bytes, out),
    }
}

/// The value of E2M1 of the lower four bits.
pub(super) fn e2m1(bits: u8) -> f32 {
    const VALUES: [f32; 16] = [
        0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0,
    ];
    VALUES[usize::from(bits & 15)]
}

/// E4M3 with a bias of 7, without infinities; all ones is no number.
fn f8_to_f32(bits: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(bits >> 3 & 15), f32::from(bits & 7));
    let magnitude = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    if bits >> 7 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

/// Through an aligned buffer, since the crate's vector conversion takes slices of `f16`.
fn f16_to_f32(bytes: &[u8], out: &mut [f32]) {
    const CHUNK: usize = 256;
    let mut bits = [0u16; CHUNK];
    let (words, _) = bytes.as_chunks::<2>();
    for (out, words) in out.chunks_mut(CHUNK).zip(words.chunks(CHUNK)) {
        for (b, &w) in bits.iter_mut().zip(words) {
            *b = u16::from_le_bytes(w);
        }
        let halves: &[half::f16] = bits[..out.len()].reinterpret_cast();
        halves.convert_to_f32_slice(out);
    }
}

/// The index of the first NaN or infinity: an element whose exponent bits are all ones.
#[must_use]
pub fn first_not_finite(stored: StoredType, bytes: &[u8]) -> Option<usize> {
    match stored {
        StoredType::F32 => first(bytes, |w: [u8; 4]| {
            const MASK: u32 = 0x7f80_0000;
            u32::from_le_bytes(w) & MASK == MASK
        }),
        StoredType::F16 => first(bytes, |w: [u8; 2]| u16::from_le_bytes(w) & 0x7c00 == 0x7c00),
        StoredType::BF16 => first(bytes, |w: [u8; 2]| u16::from_le_bytes(w) & 0x7f80 == 0x7f80),
        StoredType::F8E4M3 => bytes.iter().position(|byte| byte & 0x7f == 0x7f),
        StoredType::F4E2M1 => None,
        StoredType::Block(block) => {
            let (values, size) = block.size();
            let mut out = vec![0f32; values];
            let mut blocks = bytes.chunks_exact(size).enumerate();
            blocks.find_map(|(i, bytes)| {
                block.to_f32(bytes, &mut out);
                let wrong = out.iter().position(|value| !value.is_finite());
                wrong.map(|at| i * values + at)
            })
        }
    }
}

/// Without a branch inside a chunk, so that the compiler makes vector code of it.
fn first<const N: usize>(bytes: &[u8], bad: impl Fn([u8; N]) -> bool) -> Option<usize> {
    const CHUNK: usize = 4096;
    let (words, _) = bytes.as_chunks::<N>();
    let chunk = words
        .chunks(CHUNK)
        .position(|c| c.iter().fold(false, |any, &w| any | bad(w)))?;
    let from = chunk * CHUNK;
    words[from..].iter().position(|&w| bad(w)).map(|i| from + i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_convert_as_the_half_crate_does() {
        // Every bit pattern, at an odd address.
        let mut bytes = vec![0u8];
        bytes.extend((0..=u16::MAX).flat_map(u16::to_le_bytes));
        let mut out = vec![0f32; 1 << 16];
        to_f32(StoredType::F16, &bytes[1..], &mut out);
        for (i, v) in (0..=u16::MAX).zip(&out) {
            let want = half::f16::from_bits(i).to_f32();
            assert!(want.to_bits() == v.to_bits() || want.is_nan() && v.is_nan());
        }
        to_f32(StoredType::BF16, &bytes[1..], &mut out);
        for (i, v) in (0..=u16::MAX).zip(&out) {
            let want = half::bf16::from_bits(i).to_f32();
            assert!(want.to_bits() == v.to_bits() || want.is_nan() && v.is_nan());
        }
    }

    #[test]
    fn small_floats_are_those_of_their_definition() {
        let mut out = vec![0f32; 256];
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        to_f32(StoredType::F8E4M3, &bytes, &mut out);
        // Zero, the smallest, the largest subnormal, one, the largest, no number; and their negatives.
        let known = [
            (0, 0.0),
            (1, 0.001_953_125),
            (7, 0.013_671_875),
            (0x38, 1.0),
            (0x7e, 448.0),
        ];
        for (bits, value) in known {
            assert_eq!(out[bits].to_bits(), f32::to_bits(value));
            assert_eq!(out[bits + 128].to_bits(), f32::to_bits(-value));
        }
        assert!(out[0x7f].is_nan() && out[0xff].is_nan());
        assert!(out[..0x7f].windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(first_not_finite(StoredType::F8E4M3, &bytes), Some(0x7f));
        let mut two = [0f32; 4];
        to_f32(StoredType::F4E2M1, &[0x72, 0x9f], &mut two);
        assert_eq!(two, [1.0, 6.0, -6.0, -0.5]);
    }

    #[test]
    fn exactly_the_values_that_are_not_finite_are_found() {
        for i in 0..=u16::MAX {
            let bytes = i.to_le_bytes();
            let half = half::f16::from_bits(i).is_finite();
            assert_eq!(first_not_finite(StoredType::F16, &bytes).is_none(), half);
            let brain = half::bf16::from_bits(i).is_finite();
            assert_eq!(first_not_finite(StoredType::BF16, &bytes).is_none(), brain);
        }
        let mut bytes = vec![0u8; 4 * 10_000];
        for v in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            bytes[4 * 9_001..4 * 9_002].copy_from_slice(&v.to_le_bytes());
            assert_eq!(first_not_finite(StoredType::F32, &bytes), Some(9_001));
        }
        bytes[4 * 9_001..4 * 9_002].copy_from_slice(&f32::MAX.to_le_bytes());
        assert_eq!(first_not_finite(StoredType::F32, &bytes), None);
    }
}
