//! A checked graph, and the layout of its weights -> whether a program can hold them.
//!
//! Kernels count elements in 32 bits, programs the bytes of a step's memory, and a weight file's offsets units of
//! [`ARG_UNIT`] bytes. What one step's memory needs at least is known before any kernel is made, so that no size in a
//! kernel overflows; the whole is known when everything is placed.

use gem_runtime::abi::ARG_UNIT;
use gemc_format::padded_rows;
use gemc_kernels::ir::verify::MAX_LOCAL_BYTES;
use gemc_kernels::kernels::attention::CHUNK;
use gemc_kernels::kernels::vector::LANES;

use super::steps::{LowerableGraph, Step};
use crate::graph::{Graph, NodeId, Typed, WireType};
use crate::pack::layout::{Layout, Source, VectorSource};
use crate::plan::KvFormat;
use crate::plan::kv;

/// Bytes of a weight that kernels can count.
const MOST_WEIGHT: u64 = (1 << 31) - 1;

/// Bytes of a weight file that offsets reach.
const MOST_WEIGHTS: u64 = (ARG_UNIT as u64) << 32;

/// Bytes of a slot that precede its pointer.
const MOST_RINGS: u64 = (1 << 31) - ARG_UNIT as u64;

/// Width of an attention head at most: kernels hold one in their own memory, beside scores and a mask.
const MOST_HEAD: usize = MAX_LOCAL_BYTES as usize / 4 - 2 * CHUNK;

/// A model is larger than programs can be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Large {
    /// Offsets of a step's memory have 32 bits.
    #[error(
        "a step of {rows} rows needs {bytes} bytes of memory; allowed: less than 4294967296, so a shorter context or a \
         smaller model"
    )]
    Step {
        /// What it needs, or a part of it that is too much already.
        bytes: u64,
        /// Rows of a step.
        rows: usize,
    },
    /// Keys and values of a position.
    #[error("keys and values of a position need {bytes} bytes; allowed: less than 4294967296")]
    Position {
        /// Bytes of keys and values of one position, all layers together.
        bytes: u64,
    },
    /// What layers with windows keep of a sequence.
    #[error("keys and values within windows need {bytes} bytes; allowed: at most {MOST_RINGS}")]
    Windows {
        /// Bytes of all layers together.
        bytes: u64,
    },
    /// A head is wider than a kernel's own memory.
    #[error("{origin}: heads are {width} wide; allowed: at most {MOST_HEAD}")]
    Head {
        /// Path of the attention in the checkpoint.
        origin: String,
        /// Width of a head.
        width: usize,
    },
    /// One matrix or vector is too large to be addressed.
    #[error("{name}: has {bytes} bytes in this format; allowed: at most {MOST_WEIGHT}")]
    Weight {
        /// Name of the unit or tensor.
        name: String,
        /// What it takes in the weight file.
        bytes: u64,
    },
    /// All weights together are too many to be addressed.
    #[error("the weights take {bytes} bytes; allowed: at most {MOST_WEIGHTS}")]
    Weights {
        /// Bytes of the weight file's body.
        bytes: u64,
    },
}

/// Whether what every step's memory holds can be counted.
pub(super) fn steps(
    checked: &LowerableGraph<'_>,
    format: KvFormat,
    rows: usize,
    outputs: usize,
) -> Result<(), Large> {
    let graph = checked.graph;
    for (id, step) in &checked.steps {
        if let Some(heads) = Heads::of(graph, step) {
            heads.check(&graph.node(*id).origin)?;
        }
        let bytes = elements(checked, *id, rows, outputs, step).saturating_mul(4);
        if bytes > u64::from(u32::MAX) {
            return Err(Large::Step { bytes, rows });
        }
    }
    let kv::Sizes {
        per_position: bytes,
        rings,
    } = kv::sizes(graph, format);
    if bytes > u64::from(u32::MAX) {
        return Err(Large::Position { bytes });
    }
    match rings > MOST_RINGS {
        true => Err(Large::Windows { bytes: rings }),
        false => Ok(()),
    }
}

/// Whether weights have their place.
pub(super) fn weights(graph: &Graph<Typed>, layout: &Layout) -> Result<(), Large> {
    for record in layout.records() {
        if record.bytes > MOST_WEIGHT {
            let name = match &record.source {
                Source::Matrix(matrix) => graph.units()[matrix.unit].name.clone(),
                Source::Vector(vector) => vector_name(graph, vector),
            };
            let bytes = record.bytes;
            return Err(Large::Weight { name, bytes });
        }
    }
    match layout.body_bytes() {
        bytes if bytes > MOST_WEIGHTS => Err(Large::Weights { bytes }),
        _ => Ok(()),
    }
}

fn vector_name<S>(graph: &Graph<S>, vector: &VectorSource) -> String {
    let named = vector
        .tensor()
        .map(|tensor| graph.tensor(tensor).path.clone());
    named.unwrap_or_else(|| "frequencies of rotary embeddings".to_owned())
}

/// The heads of an attention.
struct Heads {
    /// That ask.
    asking: usize,
    width: usize,
}

impl Heads {
    fn of(graph: &Graph<Typed>, step: &Step<'_>) -> Option<Self> {
        match step {
            Step::Attention(op, _) => Some(Self {
                asking: op.heads,
                width: op.head_dim,
            }),
            Step::ScarAttention(scar) => Some(Self {
                asking: scar.heads,
                width: graph.facts().hidden_size / scar.heads,
            }),
            _ => None,
        }
    }

    fn padded(&self) -> usize {
        self.width.next_multiple_of(LANES)
    }

    fn check(&self, origin: &str) -> Result<(), Large> {
        if self.width <= MOST_HEAD {
            return Ok(());
        }
        Err(Large::Head {
            origin: origin.to_owned(),
            width: self.width,
        })
    }
}

/// Elements of what a step writes, at least.
fn elements(
    checked: &LowerableGraph<'_>,
    id: NodeId,
    rows: usize,
    outputs: usize,
    step: &Step<'_>,
) -> u64 {
    let graph = checked.graph;
    let heads = Heads::of(graph, step);
    let asked = heads.map_or(0, |heads| times(&[rows, heads.asking, heads.padded()]));
    let written = match step {
        Step::Modules { routing, stages } => {
            let products = stages.iter().flatten();
            let widest = products.map(|product| width(graph, product.id)).max();
            let slots = top_k(checked, *routing);
            times(&[rows, slots, widest.unwrap_or(0)])
        }
        // Probabilities and decisions; and a list of rows for each module.
        Step::Router(router) => times(&[rows, width(graph, id) + router.op.top_k]),
        _ => times(&[of(graph.wire(id), rows, outputs), width(graph, id)]),
    };
    asked.max(written)
}

/// Rows of a wire.
const fn of(wire: WireType, rows: usize, outputs: usize) -> usize {
    match wire {
        WireType::Outputs { width: _ } => outputs,
        WireType::Ids
        | WireType::Rows { width: _ }
        | WireType::Routing { modules: _ }
        | WireType::Clusters { count: _ } => rows,
    }
}

/// Elements of a wire's row, padded.
fn width(graph: &Graph<Typed>, id: NodeId) -> usize {
    match graph.wire(id) {
        WireType::Ids | WireType::Clusters { count: _ } => 1,
        WireType::Rows { width } | WireType::Outputs { width } => padded_rows(width),
        WireType::Routing { modules } => modules,
    }
}

/// How many modules of a router fire for a row.
fn top_k(checked: &LowerableGraph<'_>, routing: NodeId) -> usize {
    let found = checked.steps.iter().find_map(|(id, step)| match step {
        Step::Router(router) if *id == routing => Some(router.op.top_k),
        _ => None,
    });
    found.unwrap_or(1)
}

fn times(factors: &[usize]) -> u64 {
    let factors = factors.iter().map(|&factor| factor as u64);
    factors.fold(1, u64::saturating_mul)
}
