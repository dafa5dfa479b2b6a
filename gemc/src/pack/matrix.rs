//! One matrix to its three planes: codes stream out tile by tile, the small scale planes follow from memory.

use std::io::{Seek, Write};
use std::num::NonZero;

use gem_runtime::Error;
use gem_runtime::file::Writer;
use gem_runtime::format::{PackedSize, PackedTile, QuantisedRow, Rounding, TILE_ROWS, pack_tile};

use super::layout::{MatrixSource, PART_ROWS};
use crate::graph::{Graph, TensorId};
use crate::tensors::TensorSource;

/// f32 weights held at a time, over all threads.
const BATCH_WEIGHTS: usize = 8 << 20;

/// A tile before it is packed: rows of one tensor, or none (padding).
#[derive(Clone, Copy)]
struct Job {
    tensor: TensorId,
    first: usize,
    rows: usize,
}

/// Writes record `index`.
pub fn write<W: Write + Seek, S: Sync>(
    writer: &mut Writer<W>,
    index: usize,
    source: &MatrixSource,
    graph: &Graph<S>,
    weights: &dyn TensorSource,
    rounding: Rounding,
) -> Result<(), Error> {
    let jobs = jobs(source, graph);
    let cols = graph.tensor(source.parts[0]).shape[1];
    let size = PackedSize::new(source.codec, jobs.len() * TILE_ROWS, cols);
    let batch = (BATCH_WEIGHTS / (TILE_ROWS * cols.max(1))).max(1);
    let mut scales = Vec::with_capacity(size.row_scales_offset - size.scales_offset);
    let mut row_scales = Vec::with_capacity(size.tiles * TILE_ROWS * 4);
    for group in jobs.chunks(batch) {
        for tile in pack(group, &size, weights, rounding) {
            writer.write(index, &tile.codes)?;
            scales.extend_from_slice(&tile.scales);
            row_scales.extend_from_slice(&tile.row_scales);
        }
    }
    pad(
        writer,
        index,
        size.scales_offset - size.tiles * size.blocks * size.block_bytes,
    )?;
    writer.write(index, &scales)?;
    pad(
        writer,
        index,
        size.row_scales_offset - size.scales_offset - scales.len(),
    )?;
    writer.write(index, &row_scales)
}

fn pad<W: Write + Seek>(writer: &mut Writer<W>, index: usize, bytes: usize) -> Result<(), Error> {
    writer.write(index, &vec![0; bytes])
}

/// Tiles in file order; each part is padded to whole pairs of tiles.
fn jobs<S>(source: &MatrixSource, graph: &Graph<S>) -> Vec<Job> {
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
fn pack(
    jobs: &[Job],
    size: &PackedSize,
    weights: &dyn TensorSource,
    rounding: Rounding,
) -> Vec<PackedTile> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = jobs.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let handles: Vec<_> = jobs
            .chunks(share)
            .map(|jobs| {
                scope.spawn(move || {
                    jobs.iter()
                        .map(|job| tile(job, size, weights, rounding))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        handles
            .into_iter()
            .flat_map(|handle| {
                handle
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

fn tile(
    job: &Job,
    size: &PackedSize,
    weights: &dyn TensorSource,
    rounding: Rounding,
) -> PackedTile {
    let mut values = vec![0.0; job.rows * size.cols];
    if job.rows > 0 {
        weights.read_rows(job.tensor, job.first..job.first + job.rows, &mut values);
    }
    let mut tile = PackedTile::new(size);
    pack_tile(
        size,
        &values,
        None,
        rounding,
        &mut QuantisedRow::default(),
        &mut tile,
    );
    tile
}
