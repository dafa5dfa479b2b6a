//! One matrix to its record: the planes that the plan or the cache has, or those that its rows are quantised to as they are read.

use std::io::{Seek, Write};
use std::ops::Range;

use gem_runtime::Error;
use gem_runtime::file::Writer;
use gemc_format::Inputs;
use sha2::{Digest as _, Sha256};

use super::layout::MatrixSource;
use super::{PACKING, Packer};
use crate::cache::Key;
use crate::graph::TensorId;
use crate::quantise::stream;

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
    hash.update(gemc_format::FINGERPRINT);
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
    let shape = &packer.graph.units()[source.unit].shape;
    let firsts = shape.parts.iter().scan(0, |next, rows| {
        let first = *next;
        *next += rows;
        Some(first)
    });
    // A tile's rows are of one part.
    let parts: Vec<(usize, TensorId)> = firsts.zip(source.parts.iter().copied()).collect();
    let read = |rows: Range<usize>, out: &mut [f32]| {
        let of = parts.iter().rfind(|(first, _)| *first <= rows.start);
        if let Some(&(first, tensor)) = of {
            let rows = rows.start - first..rows.end - first;
            packer.weights.read_rows(tensor, rows, out);
        }
    };
    let inputs = Inputs::Unknown(packer.rounding);
    stream(shape, source.codec, inputs, read, write)
}
