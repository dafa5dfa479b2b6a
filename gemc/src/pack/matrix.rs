//! One matrix to its three planes: codes stream out tile by tile, the small scale planes follow from memory.

use std::io::{Seek, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use gem_runtime::Error;
use gem_runtime::file::Writer;
use gemc_format::{PackedSize, PackedTile, QuantisedRow, TILE_ROWS, pack_tile};
use sha2::{Digest as _, Sha256};

use super::layout::{MatrixSource, PART_ROWS};
use super::{PACKING, Packer};
use crate::cache::Key;
use crate::graph::{Graph, TensorId, Typed};
use crate::workers;

/// f32 weights held at a time, over all threads.
const BATCH_WEIGHTS: usize = 8 << 20;

/// A tile before it is packed: rows of one tensor, or none (padding).
#[derive(Clone, Copy)]
struct Job {
    tensor: TensorId,
    first: usize,
    rows: usize,
}

/// In the cache: the three planes as they are in a file.
const KIND: &str = "matrices";

/// Writes record `index`: as planned, from the cache, or quantised now and kept there.
pub fn write<W: Write + Seek>(
    writer: &mut Writer<W>,
    index: usize,
    source: &MatrixSource,
    packer: &Packer<'_>,
) -> Result<(), Error> {
    let planned = packer.plan.planes(source.unit);
    if let Some(planes) =
        planned.map_err(|e| Error::WeightFile(format!("cannot be written: {e}")))?
    {
        return writer.write(index, planes);
    }
    let Some(cache) = packer.cache else {
        return quantise(source, packer, &mut |bytes| writer.write(index, bytes));
    };
    let key = key(source, packer);
    if let Some(planes) = cache.find(KIND, &key) {
        return writer.write(index, &planes);
    }
    // A cache that cannot be written is no reason to stop.
    let mut sink = cache.sink(KIND).ok();
    quantise(source, packer, &mut |bytes| {
        if let Some(Err(error)) = sink.as_mut().map(|sink| sink.write_all(bytes)) {
            sink = None;
            cache.failed(&error);
        }
        writer.write(index, bytes)
    })?;
    if let Some(Err(error)) = sink.map(|sink| cache.keep(KIND, &key, sink)) {
        cache.failed(&error);
    }
    Ok(())
}

/// Everything the planes depend on.
fn key(source: &MatrixSource, packer: &Packer<'_>) -> Key {
    let mut hash = Sha256::new();
    hash.update(PACKING);
    hash.update(format!("{:?} {:?}", source.codec, packer.rounding));
    for &tensor in &source.parts {
        hash.update(packer.weights.digest(tensor));
    }
    hash.finalize().into()
}

/// The planes, piece by piece.
fn quantise(
    source: &MatrixSource,
    packer: &Packer<'_>,
    write: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let jobs = jobs(source, packer.graph);
    let cols = packer.graph.tensor(source.parts[0]).shape[1];
    let size = PackedSize::new(source.codec, jobs.len() * TILE_ROWS, cols);
    let batch = (BATCH_WEIGHTS / (TILE_ROWS * cols.max(1))).max(1);
    let mut scales = Vec::with_capacity(size.row_scales_offset - size.scales_offset);
    let mut row_scales = Vec::with_capacity(size.tiles * TILE_ROWS * 4);
    for group in jobs.chunks(batch) {
        for tile in pack(group, &size, packer) {
            write(&tile.codes)?;
            scales.extend_from_slice(&tile.scales);
            row_scales.extend_from_slice(&tile.row_scales);
        }
    }
    let codes = size.tiles * size.blocks * size.block_bytes;
    write(&vec![0; size.scales_offset - codes])?;
    write(&scales)?;
    let end = size.scales_offset + scales.len();
    write(&vec![0; size.row_scales_offset - end])?;
    write(&row_scales)
}

/// Tiles in file order; each part is padded to whole pairs of tiles.
fn jobs(source: &MatrixSource, graph: &Graph<Typed>) -> Vec<Job> {
    let mut jobs = Vec::new();
    for &tensor in &source.parts {
        let rows = graph.tensor(tensor).shape[0];
        for first in (0..rows.next_multiple_of(PART_ROWS)).step_by(TILE_ROWS) {
            jobs.push(Job {
                tensor,
                first,
                rows: rows.saturating_sub(first).min(TILE_ROWS),
            });
        }
    }
    jobs
}

/// Packs a group of tiles on all cores, in order.
fn pack(jobs: &[Job], size: &PackedSize, packer: &Packer<'_>) -> Vec<PackedTile> {
    let places: Vec<OnceLock<PackedTile>> = jobs.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    workers::share(|| {
        while let Some((job, place)) = {
            let n = next.fetch_add(1, Ordering::Relaxed);
            jobs.get(n).zip(places.get(n))
        } {
            place.get_or_init(|| tile(job, size, packer));
        }
    });
    // Every place is filled: numbers are given out once each, and whoever takes one fills its place.
    places
        .into_iter()
        .filter_map(OnceLock::into_inner)
        .collect()
}

fn tile(job: &Job, size: &PackedSize, packer: &Packer<'_>) -> PackedTile {
    let mut values = vec![0.0; job.rows * size.cols];
    if job.rows > 0 {
        let rows = job.first..job.first + job.rows;
        packer.weights.read_rows(job.tensor, rows, &mut values);
    }
    let mut tile = PackedTile::new(size);
    pack_tile(
        size,
        &values,
        None,
        packer.rounding,
        &mut QuantisedRow::default(),
        &mut tile,
    );
    tile
}
