//! A typed graph and a format of keys and values -> what its attentions keep of a position.
//!
//! The lowering takes its memory from here, so that planning knows the bytes of it without lowering anything.

use gemc_kernels::kernels::cache::Cache;
use gemc_kernels::kernels::vector::LANES;

use super::KvFormat;
use crate::graph::{Graph, NodeId, Op, Typed};

/// What an attention keeps of a position.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Its keys; its values take as much.
    pub cache: Cache,
    /// Words beside them: of SCAR attention a tag, and a cluster where there are any.
    pub words: usize,
}

impl Kept {
    /// Of a node; `None` for one that is no attention.
    #[must_use]
    pub fn of(graph: &Graph<Typed>, id: NodeId, format: KvFormat) -> Option<Self> {
        let node = graph.node(id);
        let (heads, width, words) = match &node.op {
            Op::Attention {
                kv_heads,
                head_dim,
                // Memory is of keys and values as they are kept.
                heads: _,
                causal: _,
                scale: _,
                window: _,
                softcap: _,
                rope: _,
                qk_norm: _,
                sinks: _,
            } => (*kv_heads as usize, *head_dim as usize, 0),
            Op::ScarAttention {
                heads,
                // Told from the words.
                mask: _,
                causal: _,
            } => {
                let heads = *heads as usize;
                // Clusters come behind qkv and routing.
                let clusters = usize::from(node.inputs.len() > 2);
                (heads, graph.facts().hidden_size / heads, 1 + clusters)
            }
            Op::Tokens
            | Op::Embed { .. }
            | Op::Norm { .. }
            | Op::Linear { .. }
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
        let padded = width.next_multiple_of(LANES);
        Some(Self {
            cache: Cache {
                format,
                heads,
                padded,
            },
            words,
        })
    }

    fn bytes(&self) -> u64 {
        let keys: usize = self.cache.bytes().iter().sum();
        (2 * keys + 4 * self.words) as u64
    }
}

/// Bytes that all attentions of a model keep of a position.
#[must_use]
pub fn bytes_per_position(graph: &Graph<Typed>, format: KvFormat) -> u64 {
    let kept = graph
        .topo()
        .filter_map(|(id, _)| Kept::of(graph, id, format));
    kept.map(|kept| kept.bytes()).sum()
}
