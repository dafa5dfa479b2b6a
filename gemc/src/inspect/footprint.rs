//! A model's graph -> what it takes: weights that a token passes, bytes in a usual format, memory for each position.

use serde::Serialize;

use crate::graph::{Graph, Guard, NodeId, Op, Typed, Untyped};
use crate::plan::{KvFormat, kv};
use crate::typing;

/// What a model takes when it runs, as far as that is known before it is planned.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Footprint {
    /// Values that a token passes at most: those of modules as often as may fire, of an embedding one row.
    pub active: u64,
    /// Bytes of weights at 4.25 bits (N4), with what stays in f32.
    pub bytes_at_4_25: u64,
    /// Bytes of keys and values for each position of the context, in f32.
    pub kv_bytes_per_position: u64,
    /// Bytes of windows and convolutions, whatever the context.
    pub kv_bytes_fixed: u64,
}

/// Of a model; nothing of one whose shapes do not fit, which the compiler tells.
pub fn of(graph: &Graph<Untyped>) -> Footprint {
    let Ok(typed) = typing::infer(graph.clone()) else {
        return Footprint::default();
    };
    let sizes = kv::sizes(&typed, KvFormat::default());
    let units = typed.units();
    let quantised: u64 = units.iter().map(|unit| unit.shape.weights() as u64).sum();
    let whole: u64 = typed
        .tensors()
        .map(|(_, tensor)| values(tensor.shape()))
        .sum();
    let codes: u64 = units
        .iter()
        .map(|unit| unit.shape.bytes(gemc_format::Codec::N4))
        .sum();
    Footprint {
        // A row of a tied embedding is part of the head, too.
        active: active(&typed).min(whole),
        bytes_at_4_25: codes + 4 * whole.saturating_sub(quantised),
        kv_bytes_per_position: sizes.per_position,
        kv_bytes_fixed: sizes.rings,
    }
}

fn values(shape: &[usize]) -> u64 {
    shape.iter().map(|&d| d as u64).product()
}

fn active(graph: &Graph<Typed>) -> u64 {
    let all = graph.topo().map(|(id, node)| {
        let own = match &node.op {
            // A row of each table.
            Op::Embed { .. } => {
                let tables = node.op.tensors().into_iter();
                let width = |id| graph.tensor(id).shape().last().copied().unwrap_or(0) as u64;
                tables.map(width).sum()
            }
            op => {
                let tensors = op.tensors().into_iter();
                tensors
                    .map(|id| values(graph.tensor(id).shape()))
                    .sum::<u64>()
            }
        };
        (own as f64 * share(graph, id)).round() as u64
    });
    all.sum()
}

/// The part of a node's weights that a token passes, were all modules of its site loaded alike.
fn share(graph: &Graph<Typed>, id: NodeId) -> f64 {
    let Guard::Module { routing, .. } = graph.node(id).guard else {
        return 1.0;
    };
    match graph.node(routing).op {
        Op::Router { weight, top_k, .. } => {
            let modules = graph.tensor(weight).shape()[0];
            (f64::from(top_k) / modules.max(1) as f64).min(1.0)
        }
        _ => 1.0,
    }
}
