//! Weights in two tensors, codes and scales, as `quantization_config` says -> one tensor of f32 values.
//!
//! `mxfp4` (gpt-oss): `NAME_blocks`, U8 `[…, blocks, 16]` with two values of FP4 a byte, the lower half first, and `NAME_scales`, U8
//! `[…, blocks]`, powers of two. `fp8`: `NAME`, F8_E4M3 `[rows, columns]`, and `NAME_scale_inv`, a factor for each block of
//! `weight_block_size`. Both as transformers 5.24 dequantises them.

use super::super::error::{Finding, Findings};
use super::safetensors::Entry;
use super::stored::{StoredType, first_not_finite, to_f32};

/// How weights were quantised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Blocks of 32 values of FP4, each with a power of two.
    Mxfp4,
    /// Values of FP8, a factor for each block of so many rows and columns.
    Fp8([usize; 2]),
}

/// Values of a block of [`Scheme::Mxfp4`].
const BLOCK: usize = 32;

/// Where the scales of a tensor's values stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Columns of the tensor's last dimension.
    columns: usize,
    /// Rows and columns that share a scale.
    size: [usize; 2],
}

impl Blocks {
    /// Index of the scale of the value at a flat index.
    fn of(self, flat: usize) -> usize {
        let (row, column) = (flat / self.columns, flat % self.columns);
        let [rows, columns] = self.size;
        row / rows * self.columns.div_ceil(columns) + column / columns
    }
}

/// Scales of a tensor, as they are stored.
#[derive(Clone, Copy, Debug)]
pub struct Scales<'a> {
    pub blocks: Blocks,
    /// `None`: a byte b is 2^(b - 127).
    pub stored: Option<StoredType>,
    pub bytes: &'a [u8],
}

impl Scales<'_> {
    /// The scale of the value at a flat index.
    #[must_use]
    pub fn of(&self, flat: usize) -> f32 {
        self.at(self.blocks.of(flat))
    }

    fn at(&self, index: usize) -> f32 {
        let Some(stored) = self.stored else {
            return 2f32.powi(i32::from(self.bytes[index]) - 127);
        };
        let mut value = [0.0];
        to_f32(
            stored,
            &self.bytes[stored.bytes(index)..stored.bytes(index + 1)],
            &mut value,
        );
        value[0]
    }

    /// Index of the first that is no number.
    #[must_use]
    pub fn first_not_finite(&self) -> Option<usize> {
        match self.stored {
            // 2^128.
            None => self.bytes.iter().position(|byte| *byte == u8::MAX),
            Some(stored) => first_not_finite(stored, self.bytes),
        }
    }
}

/// What the scales of a tensor are called.
fn partner(scheme: Scheme, name: &str) -> Option<(String, String)> {
    match scheme {
        Scheme::Mxfp4 => {
            let stem = name.strip_suffix("_blocks")?;
            Some((stem.to_owned(), format!("{stem}_scales")))
        }
        Scheme::Fp8(_) => Some((name.to_owned(), format!("{name}_scale_inv"))),
    }
}

/// Whether the entry is of codes: the names of the whole and of its scales.
pub(super) fn codes(scheme: Scheme, entry: &Entry) -> Option<(String, String)> {
    let wanted = match scheme {
        Scheme::Mxfp4 => "U8",
        Scheme::Fp8(_) => "F8_E4M3",
    };
    let is = entry.stored.as_ref().is_err_and(|name| name == wanted);
    is.then(|| partner(scheme, &entry.name)).flatten()
}

/// The whole as one tensor, from its codes and scales; a finding where they do not go together.
pub(super) fn whole(
    scheme: Scheme,
    name: &str,
    codes: &Entry,
    scales: &Entry,
    findings: &mut Findings,
) -> Option<(Entry, Blocks, Option<StoredType>)> {
    let mut wrong = |what: String, allowed: String| {
        findings.push(Finding::tensor(&scales.name, what).allowed(allowed));
        None
    };
    let (shape, blocks, stored, expected) = match scheme {
        Scheme::Mxfp4 => {
            let (rest, last) = match codes.shape.as_slice() {
                [rest @ .., groups, 16] if !rest.is_empty() => (rest, *groups),
                other => {
                    let what = format!("belongs to codes of shape {other:?}");
                    return wrong(what, "[…, blocks, 16]".to_owned());
                }
            };
            let columns = last.checked_mul(BLOCK)?;
            let shape = [rest, &[columns]].concat();
            let blocks = Blocks {
                columns,
                size: [1, BLOCK],
            };
            (shape, blocks, StoredType::F4E2M1, [rest, &[last]].concat())
        }
        Scheme::Fp8([rows, columns]) => {
            let &[r, c] = codes.shape.as_slice() else {
                let what = format!("belongs to a tensor of shape {:?}", codes.shape);
                return wrong(what, "a matrix".to_owned());
            };
            let blocks = Blocks {
                columns: c,
                size: [rows, columns],
            };
            let expected = vec![r.div_ceil(rows), c.div_ceil(columns)];
            (codes.shape.clone(), blocks, StoredType::F8E4M3, expected)
        }
    };
    if scales.shape != expected {
        return wrong(
            format!("has shape {:?}", scales.shape),
            format!("{expected:?}"),
        );
    }
    let kind = match (scheme, &scales.stored) {
        (Scheme::Mxfp4, Err(name)) if name == "U8" => None,
        (Scheme::Fp8(_), Ok(stored)) => Some(*stored),
        (_, found) => {
            let found = found
                .as_ref()
                .map_or_else(Clone::clone, ToString::to_string);
            let allowed = match scheme {
                Scheme::Mxfp4 => "U8",
                Scheme::Fp8(_) => StoredType::ALLOWED,
            };
            return wrong(format!("has type {found}"), allowed.to_owned());
        }
    };
    let entry = Entry {
        name: name.to_owned(),
        stored: Ok(stored),
        shape,
        bytes: codes.bytes.clone(),
    };
    Some((entry, blocks, kind))
}
