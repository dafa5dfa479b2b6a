//! Where every weight stands in the file: records in the order in which the lowering first asks for them.
//!
//! Sizes follow from shapes and formats alone, so the layout is complete before a single weight is read; `pack::write`
//! then streams the records in this order. Offsets are relative to the file's body.

use std::collections::HashMap;
use std::sync::Arc;

use gem_runtime::abi::ARG_UNIT;
use gem_runtime::file::{file_bytes, record_align};
use gemc_format::{Codec, mean_bits, padded_rows};

use crate::graph::{Graph, Guard, NodeId, Op, TensorId, Typed, UnitId, Units};

/// A stack of linear maps, quantised in one format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixSource {
    /// Unit it belongs to; identifies the record.
    pub unit: UnitId,
    /// Weights, one below the other.
    pub parts: Vec<TensorId>,
    /// Format of its codes and block scales.
    pub codec: Codec,
}

/// Values stored as f32.
#[derive(Clone, Debug, PartialEq)]
pub enum VectorSource {
    /// A 1-D tensor, zero-padded to `stride`.
    Vector {
        /// The tensor whose values are stored.
        tensor: TensorId,
        /// Elements of the tensor.
        len: usize,
        /// Elements stored, `len` and zeros.
        stride: usize,
    },
    /// A `[rows, cols]` tensor, each row zero-padded to `stride`; only the first `rows` rows.
    Rows {
        /// The tensor whose values are stored.
        tensor: TensorId,
        /// Number of rows that are stored.
        rows: usize,
        /// Columns of the tensor.
        cols: usize,
        /// Elements from one stored row to the next.
        stride: usize,
    },
    /// Biases of a matrix's parts, each padded like its rows; a part without one gives zeros.
    Biases(Vec<(Option<TensorId>, usize)>),
    /// `|C_c|^2` of each row of a `[rows, cols]` tensor, zero-padded to a multiple of 16.
    SquaredNorms {
        /// The tensor of centroids.
        tensor: TensorId,
        /// Number of centroids.
        rows: usize,
        /// Columns of the tensor.
        cols: usize,
    },
    /// Inverse frequencies of a rotary embedding, zero-padded to a multiple of 16.
    InverseFrequencies(Arc<[f64]>),
    /// 1 for each module of a router that the model has, 0 for one that is left out, zero-padded to a multiple of 16.
    KeptModules(Arc<[bool]>),
}

impl VectorSource {
    /// The first tensor that values come from; frequencies and marks come from none.
    #[must_use]
    pub fn tensor(&self) -> Option<TensorId> {
        match self {
            Self::Vector { tensor, .. }
            | Self::Rows { tensor, .. }
            | Self::SquaredNorms { tensor, .. } => Some(*tensor),
            Self::Biases(parts) => parts.iter().find_map(|(bias, _)| *bias),
            Self::InverseFrequencies(..) | Self::KeptModules(..) => None,
        }
    }
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Codes, block scales, row scales.
    Matrix(MatrixSource),
    /// f32 values, for what is not quantised.
    Vector(VectorSource),
}

/// A record with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The weights it holds, and how.
    pub source: Source,
    /// Byte offset in the body.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// A placed matrix; offsets in argument units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Format of its codes and block scales.
    pub codec: Codec,
    /// Rows, padding included: a multiple of 32.
    pub rows: usize,
    /// Columns that are real.
    pub cols: usize,
    /// First row of each part.
    pub part_rows: Vec<usize>,
    /// Offsets of the planes that kernels read: codes, block scales, and row scales where the format has them.
    pub planes: Vec<u32>,
}

impl Matrix {
    /// Tiles of 16 rows.
    #[must_use]
    pub fn tiles(&self) -> usize {
        self.rows / 16
    }

    /// Blocks of 32 columns.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.cols.div_ceil(32)
    }
}

/// The layout under construction.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    records: Vec<Record>,
    /// Place among the records, by unit.
    matrices: HashMap<UnitId, usize>,
    /// Places among the records, by [`VectorSource::tensor`].
    vectors: HashMap<Option<TensorId>, Vec<usize>>,
    end: u64,
    weight_bytes: u64,
    /// Weights and format of each matrix.
    quantised: Vec<(usize, Codec)>,
}

impl Layout {
    /// Places a matrix, or finds it where its unit was placed before.
    pub fn matrix(&mut self, units: &Units, source: MatrixSource) -> Matrix {
        let shape = &units[source.unit].shape;
        let codec = source.codec;
        let size = shape.size(codec);
        let offset = match self.matrices.get(&source.unit) {
            Some(&index) => self.records[index].offset,
            None => {
                self.weight_bytes += shape.bytes(codec);
                self.quantised.push((shape.weights(), codec));
                self.matrices.insert(source.unit, self.records.len());
                self.place(Source::Matrix(source), size.bytes as u64)
            }
        };
        let arg = |plane: usize| arg_offset(offset + plane as u64);
        Matrix {
            codec,
            rows: size.rows,
            cols: size.cols,
            part_rows: shape.first_rows().collect(),
            planes: size.planes().map(arg).collect(),
        }
    }

    /// Places f32 values, or finds them; the offset is in argument units.
    pub fn vector(&mut self, source: VectorSource) -> u32 {
        let bytes = 4 * vector_len(&source) as u64;
        let places = self.vectors.entry(source.tensor()).or_default();
        let same = |index: &&usize| match &self.records[**index].source {
            Source::Vector(other) => *other == source,
            Source::Matrix(_) => false,
        };
        let offset = match places.iter().find(same) {
            Some(index) => self.records[*index].offset,
            None => {
                places.push(self.records.len());
                self.weight_bytes += bytes;
                self.place(Source::Vector(source), bytes)
            }
        };
        arg_offset(offset)
    }

    /// All records, in file order.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.end
    }

    /// Bytes of the weight file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        file_bytes(self.records.len(), self.end)
    }

    /// Everything the kernels read, without padding.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// Bytes of matrices that one decoded token reads: all of a dense model's, but of the embedding only the head's use
    /// (or one row), and of a routed block's modules at most top-k.
    #[must_use]
    pub fn bytes_per_token(&self, graph: &Graph<Typed>) -> u64 {
        let mut bytes = 0.0;
        for (id, node) in graph.topo() {
            if !matches!(node.op, Op::Linear { .. }) {
                continue;
            }
            let share = match node.guard {
                Guard::Module { routing, .. } => routed_share(graph, routing),
                _ => 1.0,
            };
            let unit = graph.units().of_node(id);
            let index = unit.and_then(|unit| self.matrices.get(&unit.id));
            debug_assert!(index.is_some(), "{id} was placed");
            bytes += share * index.map_or(0.0, |index| self.records[*index].bytes as f64);
        }
        bytes as u64
    }

    /// Code bits and block scales per quantised weight; row scales excluded.
    #[must_use]
    pub fn bits_per_weight(&self) -> f64 {
        mean_bits(self.quantised.iter().copied())
    }

    fn place(&mut self, source: Source, bytes: u64) -> u64 {
        let offset = self.end.next_multiple_of(record_align(bytes));
        self.end = (offset + bytes).next_multiple_of(ARG_UNIT as u64);
        self.records.push(Record {
            source,
            offset,
            bytes,
        });
        offset
    }
}

/// Beyond what offsets reach it is any: no program is made of such a layout, see `lower::sizes`.
fn arg_offset(offset: u64) -> u32 {
    debug_assert_eq!(offset % ARG_UNIT as u64, 0);
    u32::try_from(offset / ARG_UNIT as u64).unwrap_or(u32::MAX)
}

/// Number of f32 elements of a record.
#[must_use]
pub fn vector_len(source: &VectorSource) -> usize {
    match source {
        VectorSource::Vector { stride, .. } => *stride,
        VectorSource::Rows { rows, stride, .. } => rows * stride,
        VectorSource::Biases(parts) => parts.iter().map(|(_, n)| padded_rows(*n)).sum(),
        VectorSource::SquaredNorms { rows, .. } => rows.next_multiple_of(16),
        VectorSource::InverseFrequencies(all) => all.len().next_multiple_of(16),
        VectorSource::KeptModules(all) => all.len().next_multiple_of(16),
    }
}

/// Share of a routed block's modules that a token visits at most.
pub(crate) fn routed_share<S>(graph: &Graph<S>, routing: NodeId) -> f64 {
    match graph.node(routing).op {
        Op::Router { weight, top_k, .. } => {
            f64::from(top_k) / graph.tensor(weight).shape()[0] as f64
        }
        _ => 1.0,
    }
}
