//! Operations of a graph -> the f32 records that their kernels read: all weights that are not quantised.
//!
//! The lowering places what these functions name, so that planning knows the bytes of it without lowering anything.

use std::sync::Arc;

use gemc_format::padded_rows;

use super::layout::{Layout, VectorSource};
use crate::graph::{Graph, LinearPart, NodeId, Op, QkNorm, Rope, TensorId};

/// Elements that kernels load at a time: vectors of heads and tables are padded to them.
const LANES: usize = 16;

/// Bytes of all records that are no matrices, without padding between them.
#[must_use]
pub fn bytes<S>(graph: &Graph<S>) -> u64 {
    let mut layout = Layout::default();
    for (id, node) in graph.topo() {
        for source in of_op(graph, &node.op)
            .into_iter()
            .chain(kept_modules(graph, id))
        {
            layout.vector(source);
        }
    }
    layout.weight_bytes()
}

/// The records of an operation.
fn of_op<S>(graph: &Graph<S>, op: &Op) -> Vec<VectorSource> {
    match op {
        Op::Embed {
            // Quantised.
            token: _,
            position,
            token_type,
            // No weight.
            scale: _,
        } => embedding(graph, *position, *token_type),
        Op::Norm {
            weight,
            bias,
            // No weights.
            kind: _,
            eps: _,
        } => norm(graph, *weight, *bias),
        Op::Linear { parts } => biases(graph, parts).into_iter().collect(),
        Op::Attention {
            rope,
            qk_norm,
            sinks,
            // No weights.
            heads: _,
            kv_heads: _,
            head_dim: _,
            causal: _,
            scale: _,
            window: _,
            softcap: _,
        } => {
            let rope = rope.as_ref().map(frequencies);
            let norms = qk_norm.map(|norm| head_norms(graph, norm));
            let norms = norms.into_iter().flatten();
            let sinks = sinks.map(|sinks| head_sinks(graph, sinks));
            rope.into_iter().chain(norms).chain(sinks).collect()
        }
        Op::ShortConv { weight, bias } => short_conv(graph, *weight, *bias),
        Op::Router {
            weight,
            bias,
            // No weights.
            score: _,
            top_k: _,
            threshold: _,
            gates: _,
            select_bias,
            base_gate,
        } => router(graph, *weight, [*bias, *select_bias], *base_gate),
        Op::Clusters { centroids } => clusters(graph, *centroids).into(),
        // No weights at all.
        Op::Tokens
        | Op::ScarAttention {
            // As said.
            heads: _,
            mask: _,
            causal: _,
        }
        | Op::Activate {
            // As said.
            act: _,
            gated: _,
        }
        | Op::Add
        // As said.
        | Op::Combine { base: _ }
        // As said.
        | Op::SelectOutputs { pooling: _ }
        // As said.
        | Op::Normalize
        // As said.
        | Op::Softcap { cap: _ }
        | Op::Output => Vec::new(),
    }
}

/// Rows of positions, and of the token types that the model knows.
#[must_use]
pub fn embedding<S>(
    graph: &Graph<S>,
    position: Option<TensorId>,
    token_type: Option<TensorId>,
) -> Vec<VectorSource> {
    let positions = position.map(|tensor| rows(graph, tensor, graph.tensor(tensor).shape()[0]));
    let known = graph.facts().conventions.token_types as usize;
    let token_type = token_type.map(|tensor| rows(graph, tensor, known));
    positions.into_iter().chain(token_type).collect()
}

/// Weight and bias of a norm of rows.
#[must_use]
pub fn norm<S>(graph: &Graph<S>, weight: TensorId, bias: Option<TensorId>) -> Vec<VectorSource> {
    let padded = |tensor| vector(graph, tensor, padded_rows);
    [Some(weight), bias]
        .into_iter()
        .flatten()
        .map(padded)
        .collect()
}

/// Weights of the norms of queries and of keys.
#[must_use]
pub fn head_norms<S>(graph: &Graph<S>, norm: QkNorm) -> [VectorSource; 2] {
    let padded = |len: usize| len.next_multiple_of(LANES);
    [norm.q, norm.k].map(|tensor| match *graph.tensor(tensor).shape() {
        [rows, cols] => VectorSource::Rows {
            tensor,
            rows,
            cols,
            stride: padded(cols),
        },
        _ => vector(graph, tensor, padded),
    })
}

/// The sinks of heads.
#[must_use]
pub fn head_sinks<S>(graph: &Graph<S>, sinks: TensorId) -> VectorSource {
    vector(graph, sinks, |len| len)
}

/// Weights of a short convolution by taps, and its biases.
#[must_use]
pub fn short_conv<S>(
    graph: &Graph<S>,
    weight: TensorId,
    bias: Option<TensorId>,
) -> Vec<VectorSource> {
    let taps = rows(graph, weight, graph.tensor(weight).shape()[0]);
    let bias = bias.map(|tensor| vector(graph, tensor, padded_rows));
    std::iter::once(taps).chain(bias).collect()
}

/// Inverse frequencies of a rotary embedding.
#[must_use]
pub fn frequencies(rope: &Rope) -> VectorSource {
    VectorSource::InverseFrequencies(rope.frequencies.clone())
}

/// Biases of a linear map's parts, when there are any.
#[must_use]
pub fn biases<S>(graph: &Graph<S>, parts: &[LinearPart]) -> Option<VectorSource> {
    let of = |part: &LinearPart| (part.bias, graph.tensor(part.weight).shape()[0]);
    let any = parts.iter().any(|part| part.bias.is_some());
    any.then(|| VectorSource::Biases(parts.iter().map(of).collect()))
}

/// Matrix and biases of a router, and the row that gates the base.
#[must_use]
pub fn router<S>(
    graph: &Graph<S>,
    weight: TensorId,
    biases: [Option<TensorId>; 2],
    base_gate: Option<TensorId>,
) -> Vec<VectorSource> {
    let matrix = rows(graph, weight, graph.tensor(weight).shape()[0]);
    let biases = biases.into_iter().flatten();
    let biases = biases.map(|tensor| vector(graph, tensor, |len| len));
    let base_gate = base_gate.map(|tensor| rows(graph, tensor, 1));
    std::iter::once(matrix)
        .chain(biases)
        .chain(base_gate)
        .collect()
}

/// Which modules of a router the model has; nothing where it has all or none, and of other operations.
#[must_use]
pub fn kept_modules<S>(graph: &Graph<S>, router: NodeId) -> Option<VectorSource> {
    let weight = graph.node(router).op.routes_by()?;
    let modules = graph.tensor(weight).shape()[0] as u32;
    let there = |module| !graph.module_nodes(router, module).is_empty();
    let kept: Arc<[bool]> = (0..modules).map(there).collect();
    let some = kept.contains(&true) && kept.contains(&false);
    some.then_some(VectorSource::KeptModules(kept))
}

/// Centroids and their squared norms.
#[must_use]
pub fn clusters<S>(graph: &Graph<S>, centroids: TensorId) -> [VectorSource; 2] {
    let [count, cols] = [0, 1].map(|axis| graph.tensor(centroids).shape()[axis]);
    let norms = VectorSource::SquaredNorms {
        tensor: centroids,
        rows: count,
        cols,
    };
    [rows(graph, centroids, count), norms]
}

/// A 1-D tensor, zero-padded to the stride that its length gets.
fn vector<S>(graph: &Graph<S>, tensor: TensorId, stride: fn(usize) -> usize) -> VectorSource {
    let len = graph.tensor(tensor).shape()[0];
    VectorSource::Vector {
        tensor,
        len,
        stride: stride(len),
    }
}

/// The first rows of a 2-D tensor, each zero-padded as rows of activations are.
fn rows<S>(graph: &Graph<S>, tensor: TensorId, rows: usize) -> VectorSource {
    let cols = graph.tensor(tensor).shape()[1];
    VectorSource::Rows {
        tensor,
        rows,
        cols,
        stride: padded_rows(cols),
    }
}
