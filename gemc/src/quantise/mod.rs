//! A unit's weights, a format, and what is known of the unit's inputs -> the planes of its record in the weight file.
//!
//! What a plan keeps in `plan.codes` are these planes; `pack` copies them, `fake` reads the weights they stand for.

#[cfg(feature = "calibrate")]
pub mod factor;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use gemc_format::{
    Codec, Inputs, PackedSize, PackedTile, Packer, QuantisedRow, Shape, TILE_ROWS, dequantise_row,
    rows_of, write_planes,
};
use memmap2::Mmap;
use sha2::{Digest as _, Sha256};

use crate::workers;

/// f32 weights held at a time, over all threads.
const BATCH_WEIGHTS: usize = 8 << 20;

/// A unit in a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planes {
    /// Format of the codes.
    pub codec: Codec,
    /// Rows and columns of the unit.
    pub shape: Shape,
    /// The record: see `PackedSize`.
    pub bytes: PlaneBytes,
}

/// Bytes in memory, or of a file that was written for them and is not written any more.
#[derive(Clone, Debug)]
pub enum PlaneBytes {
    /// In memory.
    Held(Vec<u8>),
    /// In a file.
    Mapped(Arc<Mmap>),
}

impl Deref for PlaneBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Held(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

impl PartialEq for PlaneBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for PlaneBytes {}

impl Planes {
    /// The weights that the codes stand for, `[rows, cols]`.
    #[must_use]
    pub fn weights(&self) -> Vec<f32> {
        dequantise(&self.bytes, &self.shape, self.codec)
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&*self.bytes).into()
    }
}

/// The weights that a record's planes stand for, `[rows, cols]`.
///
/// # Panics
/// When the planes are of another size.
#[must_use]
pub fn dequantise(planes: &[u8], shape: &Shape, codec: Codec) -> Vec<f32> {
    let mut weights = vec![0.0; shape.weights()];
    dequantise_rows(planes, shape, codec, 0..shape.rows(), &mut weights);
    weights
}

/// Some rows of them.
///
/// # Panics
/// When there are not as many, or `out` is of another size.
pub fn dequantise_rows(
    planes: &[u8],
    shape: &Shape,
    codec: Codec,
    rows: Range<usize>,
    out: &mut [f32],
) {
    assert!(
        rows.end <= shape.rows() && out.len() == rows.len() * shape.cols,
        "rows {rows:?} of {}",
        shape.rows()
    );
    let size = shape.size(codec);
    let mut scratch = QuantisedRow::default();
    for (row, out) in rows.zip(out.chunks_exact_mut(size.cols.max(1))) {
        let packed = shape.packed_row(row);
        dequantise_row(&size, planes, packed, &mut scratch, out);
    }
}

/// Quantises a unit; `weights` are `[rows, cols]`. On all cores, and the same whatever their number.
///
/// # Panics
/// When `weights` or `inputs` are of another shape.
#[must_use]
pub fn quantise(weights: &[f32], shape: &Shape, codec: Codec, inputs: Inputs<'_>) -> Planes {
    quantise_rows(rows_of(weights, shape), shape, codec, inputs)
}

/// The same of a unit whose rows `read` gives when they are needed.
///
/// # Panics
/// When `inputs` are of another shape.
#[must_use]
pub fn quantise_rows(
    read: impl Fn(Range<usize>, &mut [f32]) + Sync,
    shape: &Shape,
    codec: Codec,
    inputs: Inputs<'_>,
) -> Planes {
    let mut bytes = Vec::with_capacity(shape.size(codec).bytes);
    let Ok(()) = stream(shape, codec, inputs, read, |piece| {
        bytes.extend_from_slice(piece);
        Ok::<(), Infallible>(())
    });
    Planes {
        codec,
        shape: shape.clone(),
        bytes: PlaneBytes::Held(bytes),
    }
}

/// Quantises a matrix whose rows `read` gives, `[rows, cols]`, and hands the planes of its record to `write`, piece by piece in
/// their order. Holds a batch of tiles at a time; quantises on all cores, and the same whatever their number.
///
/// # Errors
/// Those of `write`.
///
/// # Panics
/// When `inputs` are of another shape.
pub fn stream<E>(
    shape: &Shape,
    codec: Codec,
    inputs: Inputs<'_>,
    read: impl Fn(Range<usize>, &mut [f32]) + Sync,
    write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let size = shape.size(codec);
    let batch = (BATCH_WEIGHTS / (TILE_ROWS * size.cols.max(1))).max(1);
    let tiles = shape.tiles();
    let packed = tiles
        .chunks(batch)
        .flat_map(|tiles| pack(tiles, &size, inputs, &read));
    write_planes(&size, packed, write)
}

/// Packs a batch of tiles on all cores, in order.
fn pack(
    tiles: &[Range<usize>],
    size: &PackedSize,
    inputs: Inputs<'_>,
    read: &(impl Fn(Range<usize>, &mut [f32]) + Sync),
) -> Vec<PackedTile> {
    let places: Vec<OnceLock<PackedTile>> = tiles.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    workers::share(|| {
        let mut packer = Packer::new(size, inputs);
        while let Some((rows, place)) = {
            let n = next.fetch_add(1, Ordering::Relaxed);
            tiles.get(n).zip(places.get(n))
        } {
            place.get_or_init(|| packer.tile(rows.clone(), read));
        }
    });
    // Every place is filled: numbers are given out once each, and whoever takes one fills its place.
    places
        .into_iter()
        .filter_map(OnceLock::into_inner)
        .collect()
}
