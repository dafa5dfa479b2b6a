//! A typed graph and a format of keys and values -> what its layers keep of a sequence.
//!
//! The lowering takes its memory from here, so that planning knows the bytes of it without lowering anything.

use gem_runtime::abi::ProgramShape;
use gemc_kernels::kernels::attention::CHUNK;
use gemc_kernels::kernels::cache::Cache;
use gemc_kernels::kernels::vector::LANES;

use super::{KvFormat, step};
use crate::graph::{Graph, ModelFacts, NodeId, Op, Task, Typed};

/// What an attention keeps of a position.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Its keys; its values take as much.
    pub cache: Cache,
    /// See [`ProgramShape::rewind`](gem_runtime::abi::ProgramShape::rewind).
    pub rewind: u32,
    /// Words beside them: of SCAR attention a tag, and a cluster where there are any.
    pub words: usize,
}

impl Kept {
    /// Of a node; `None` for one that is no attention.
    #[must_use]
    pub fn of(graph: &Graph<Typed>, id: NodeId, format: KvFormat) -> Option<Self> {
        let node = graph.node(id);
        let (heads, width, window, words) = match &node.op {
            Op::Attention {
                kv_heads,
                head_dim,
                // Memory is of keys and values as they are kept.
                heads: _,
                causal: _,
                scale: _,
                window,
                softcap: _,
                rope: _,
                qk_norm: _,
                sinks: _,
            } => (*kv_heads as usize, *head_dim as usize, *window, 0),
            Op::ScarAttention {
                heads,
                // Told from the words.
                mask: _,
                causal: _,
            } => {
                let heads = *heads as usize;
                // Clusters come behind qkv and routing.
                let clusters = usize::from(node.inputs.len() > 2);
                let width = graph.facts().hidden_size / heads;
                (heads, width, None, 1 + clusters)
            }
            Op::Tokens
            | Op::Embed { .. }
            | Op::Norm { .. }
            | Op::Linear { .. }
            | Op::ShortConv { .. }
            | Op::Router { .. }
            | Op::Clusters { .. }
            | Op::Activate { .. }
            | Op::Add
            | Op::Combine { .. }
            | Op::SelectOutputs { .. }
            | Op::Normalize
            | Op::Softcap { .. }
            | Op::Output => return None,
        };
        let ring = window.and_then(|window| Ring::of(graph.facts(), window as usize));
        Some(Self {
            cache: Cache {
                format,
                heads,
                padded: width.next_multiple_of(LANES),
                ring: ring.map(|ring| ring.positions),
            },
            rewind: ring.map_or(ProgramShape::ANY, |ring| ring.rewind),
            words,
        })
    }

    /// Of one position.
    fn bytes(&self) -> u64 {
        let keys: usize = self.cache.bytes().iter().sum();
        (2 * keys + 4 * self.words) as u64
    }
}

/// What layers keep of the last positions, where they read no more than a window of them.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    /// Positions: the window before a step's first row, and the rows of the step, in whole chunks.
    pub positions: usize,
    /// Positions that may be forgotten so that the window before the next one is still there.
    pub rewind: u32,
}

impl Ring {
    /// For a window; `None` where the whole context takes no more, or rows see what comes behind them.
    #[must_use]
    pub fn of(facts: &ModelFacts, window: usize) -> Option<Self> {
        let ring = Self::always(facts, window, CHUNK);
        let pays = facts.task == Task::CausalLm && ring.positions < facts.max_positions;
        pays.then_some(ring)
    }

    /// For a convolution of so many taps.
    #[must_use]
    pub fn of_taps(facts: &ModelFacts, taps: usize) -> Self {
        Self::always(facts, taps, LANES)
    }

    fn always(facts: &ModelFacts, window: usize, unit: usize) -> Self {
        let (rows, _) = step::most(facts);
        // Position p - window + 1 must survive the last row of the step of p.
        let positions = (window - 1 + rows).next_multiple_of(unit);
        Self {
            positions,
            rewind: (positions - (window - 1)) as u32,
        }
    }
}

/// Bytes that a model keeps of a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// For each position of the context.
    pub per_position: u64,
    /// Whatever the context: the rings of layers with windows.
    pub rings: u64,
}

fn all(graph: &Graph<Typed>, format: KvFormat) -> impl Iterator<Item = Kept> {
    let nodes = graph.topo();
    nodes.filter_map(move |(id, _)| Kept::of(graph, id, format))
}

/// What all layers of a model keep.
#[must_use]
pub fn sizes(graph: &Graph<Typed>, format: KvFormat) -> Sizes {
    let mut sizes = Sizes::default();
    for kept in all(graph, format) {
        match kept.cache.ring {
            None => sizes.per_position += kept.bytes(),
            Some(ring) => sizes.rings += ring as u64 * kept.bytes(),
        }
    }
    for (taps, width) in convolutions(graph) {
        let ring = Ring::of_taps(graph.facts(), taps).positions;
        sizes.rings += (4 * ring * width) as u64;
    }
    sizes
}

/// Taps and columns of every short convolution.
fn convolutions(graph: &Graph<Typed>) -> impl Iterator<Item = (usize, usize)> {
    graph.topo().filter_map(|(_, node)| match &node.op {
        // Added to sums that are not kept.
        Op::ShortConv { weight, bias: _ } => {
            let shape = graph.tensor(*weight).shape();
            Some((shape[0], shape[1]))
        }
        _ => None,
    })
}

/// Bytes that are read for a token behind so many positions.
#[must_use]
pub fn read_behind(graph: &Graph<Typed>, format: KvFormat, positions: u64) -> u64 {
    let read = |kept: Kept| {
        let most = kept.cache.ring.map_or(u64::MAX, |ring| ring as u64);
        kept.bytes() * positions.min(most)
    };
    let convolutions = convolutions(graph).map(|(taps, width)| (4 * taps * width) as u64);
    all(graph, format).map(read).chain(convolutions).sum()
}
