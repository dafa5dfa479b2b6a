//! Weights to one aligned file: the layout first, from shapes and formats; then the bytes, streamed in that order.
//!
//! Nothing holds more than a batch of tiles of f32: matrices go through in groups of tiles, quantised on all cores.
//! What a tile becomes depends on its weights alone, so the file's bytes do not depend on the machine.

pub mod floats;
pub mod layout;
mod matrix;
pub(crate) mod vectors;

use std::io::{Seek, Write};

use gem_runtime::file::{self, Header, Record as FileRecord, Writer, name_hash};
use gem_runtime::{Error, sources};
use gemc_format::{Rounding, TileOrder};

use sha2::{Digest as _, Sha256};

use crate::cache::{Cache, Key};
use crate::graph::{Graph, Typed};
use crate::plan::BitPlan;
use crate::tensors::TensorSource;
use layout::{Layout, Record, Source, VectorSource, vector_len};

/// Hash of the sources of this module and of `quantise`; see `build.rs`.
pub(crate) const PACKING: &str = env!("GEMC_PACKING");

/// Folder of the runtime whose sources say how a weight file is laid out.
const WEIGHT_FILE: &str = "file/";

/// What a weight file is made from, besides its layout.
#[derive(Clone, Copy)]
pub struct Packer<'a> {
    /// Shapes and names.
    pub graph: &'a Graph<Typed>,
    /// The tensors' values.
    pub weights: &'a dyn TensorSource,
    /// How they are rounded.
    pub rounding: Rounding,
    /// Codes that were made before.
    pub plan: &'a BitPlan,
    /// Where quantised matrices are kept.
    pub cache: Option<&'a Cache>,
}

impl Packer<'_> {
    /// Writes the weight file. `progress` hears the bytes of the body done so far, of `layout.body_bytes()`.
    ///
    /// # Errors
    /// From `to`: a full disk, for instance. The file then has no valid header.
    pub fn write<W: Write + Seek>(
        &self,
        to: W,
        layout: &Layout,
        progress: &mut dyn FnMut(u64),
    ) -> Result<W, Error> {
        let header = Header {
            plan_hash: self.plan.hash(),
            body_bytes: layout.body_bytes(),
        };
        let records = file_records(layout, self.graph).collect();
        let mut writer = Writer::new(to, header, records)?;
        for (index, record) in layout.records().iter().enumerate() {
            match &record.source {
                Source::Matrix(source) => matrix::write(&mut writer, index, source, self)?,
                Source::Vector(source) => {
                    let values = vectors::values(source, self.weights, vector_len(source));
                    writer.write(index, bytemuck::cast_slice(&little_endian(values)))?;
                }
            }
            progress(record.offset + record.bytes);
        }
        writer.finish()
    }
}

/// Says what stands where in the weight file: that of every target, as long as they have one layout.
#[must_use]
pub fn layout_digest<S>(layout: &Layout, graph: &Graph<S>) -> u64 {
    file::layout_digest(file_records(layout, graph))
}

/// Identifies the bytes of a weight file, given the checkpoint it is made from. Targets whose bytes are equal share it.
#[must_use]
pub fn key(plan: &BitPlan, layout: &Layout, rounding: Rounding, checkpoint: &[Key]) -> Key {
    let mut hash = Sha256::new();
    hash.update(PACKING);
    hash.update(gemc_format::FINGERPRINT);
    let files = sources::FILES.iter();
    for (path, text) in files.filter(|(path, _)| path.starts_with(WEIGHT_FILE)) {
        hash.update(format!("{path} {text}"));
    }
    hash.update(plan.hash());
    plan.digests_anew().for_each(|digest| hash.update(digest));
    hash.update(format!("{rounding:?} {:?}", layout.records()));
    hash.update(checkpoint.as_flattened());
    hash.finalize().into()
}

/// The words of f32 values as the file stores them.
fn little_endian(values: Vec<f32>) -> Vec<u32> {
    values.into_iter().map(|v| v.to_bits().to_le()).collect()
}

/// Records of the file, in its order.
fn file_records<S>(layout: &Layout, graph: &Graph<S>) -> impl Iterator<Item = FileRecord> {
    let records = layout.records().iter();
    records.map(|record| file_record(record, graph))
}

fn file_record<S>(record: &Record, graph: &Graph<S>) -> FileRecord {
    let (codec, layout) = match &record.source {
        Source::Matrix(source) => (source.codec as u8, TileOrder::Tile16 as u8),
        Source::Vector(_) => (0, 0),
    };
    FileRecord {
        name_hash: name_hash(&name(&record.source, graph)),
        codec,
        layout,
        offset: record.offset,
        bytes: record.bytes,
    }
}

/// A record's name, from the tensors it holds.
fn name<S>(source: &Source, graph: &Graph<S>) -> String {
    let path = |t: &crate::graph::TensorId| graph.tensor(*t).path.clone();
    match source {
        Source::Matrix(m) => m.parts.iter().map(path).collect::<Vec<_>>().join("+"),
        Source::Vector(VectorSource::Vector { tensor, .. } | VectorSource::Rows { tensor, .. }) => {
            path(tensor)
        }
        Source::Vector(VectorSource::SquaredNorms { tensor, .. }) => {
            format!("|{}|^2", path(tensor))
        }
        Source::Vector(VectorSource::Biases(parts)) => {
            let paths: Vec<String> = parts
                .iter()
                .map(|(t, n)| t.as_ref().map_or_else(|| format!("0x{n}"), path))
                .collect();
            paths.join("+")
        }
        Source::Vector(VectorSource::InverseFrequencies(all)) => format!("rope {all:?}"),
        Source::Vector(VectorSource::KeptModules(all)) => format!("kept {all:?}"),
    }
}
