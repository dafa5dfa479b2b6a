//! Checkpoint tensors in, per-node f32 weights out; units (`Linear` and `Embed` nodes) can be exchanged one by one.
//!
//! A tensor used twice (tied embeddings) is held once until one of its users is replaced.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::math;
use super::unit::{RowSource, UnitWeights};
use crate::graph::{Graph, LinearPart, NodeId, Op, TensorId, Typed};
use crate::tensors::TensorSource;

/// Shared values.
pub(super) type Values = Arc<[f32]>;

/// What a node needs besides its inputs.
#[derive(Clone, Debug)]
pub(super) enum NodeWeights {
    None,
    Embed {
        /// `[vocab, d]`.
        token: UnitWeights,
        /// `[positions, d]`.
        position: Option<Values>,
        /// `[d]`: row 0.
        token_type: Option<Values>,
    },
    Norm {
        weight: Values,
        bias: Option<Values>,
    },
    /// Rows of all parts follow each other.
    Linear {
        /// `[out, in]`.
        weight: UnitWeights,
        /// `[out]`.
        bias: Option<Values>,
    },
    Attention {
        /// Of queries and of keys.
        norms: Option<[Values; 2]>,
        /// `[heads]`.
        sinks: Option<Values>,
    },
    ShortConv {
        /// `[taps, d]`.
        weight: Values,
        /// `[d]`.
        bias: Option<Values>,
    },
    Router {
        /// `[D, d]`.
        weight: Values,
        /// `[D]`.
        bias: Option<Values>,
        /// `[D]`.
        select_bias: Option<Values>,
        /// `[1, d]`.
        base_gate: Option<Values>,
    },
    Clusters {
        /// `[clusters, d]`.
        centroids: Values,
        /// Squared norms, `[clusters]`.
        norms: Values,
    },
}

impl NodeWeights {
    /// The exchangeable matrix of a unit.
    pub fn unit(&self) -> Option<&UnitWeights> {
        match self {
            Self::Embed { token: values, .. } | Self::Linear { weight: values, .. } => Some(values),
            _ => None,
        }
    }

    /// The exchangeable matrix of a unit.
    pub fn unit_mut(&mut self) -> Option<&mut UnitWeights> {
        match self {
            Self::Embed { token: values, .. } | Self::Linear { weight: values, .. } => Some(values),
            _ => None,
        }
    }
}

/// Reads the weights of every node, in node order.
pub(super) fn load(graph: &Graph<Typed>, source: &dyn TensorSource) -> Vec<NodeWeights> {
    Loader::new(graph, source, None).nodes()
}

/// The same, but units are read when they are used.
pub(super) fn stream(graph: &Graph<Typed>, source: Shared) -> Vec<NodeWeights> {
    Loader::new(graph, &*source, Some(&source)).nodes()
}

/// A source that outlives the loading.
type Shared = Arc<dyn TensorSource + Send + Sync>;

/// Tensors of a source, one below the other.
struct Stacked {
    source: Shared,
    /// Each with its rows.
    tensors: Vec<(TensorId, usize)>,
    width: usize,
}

impl fmt::Debug for Stacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stacked").field(&self.tensors).finish()
    }
}

impl RowSource for Stacked {
    fn values(&self) -> usize {
        self.width * self.tensors.iter().map(|(_, rows)| rows).sum::<usize>()
    }

    fn width(&self) -> usize {
        self.width
    }

    fn read_rows(&self, rows: Range<usize>, out: &mut [f32]) {
        let mut out = out;
        let mut first = 0;
        for &(tensor, count) in &self.tensors {
            let start = rows.start.clamp(first, first + count) - first;
            let end = rows.end.clamp(first, first + count) - first;
            let (piece, rest) = out.split_at_mut((end - start) * self.width);
            if start < end {
                self.source.read_rows(tensor, start..end, piece);
            }
            (out, first) = (rest, first + count);
        }
        assert!(out.is_empty(), "rows {rows:?} of {first}");
    }
}

struct Loader<'a> {
    graph: &'a Graph<Typed>,
    source: &'a dyn TensorSource,
    /// Where units are left, if they are.
    streamed: Option<&'a Shared>,
    /// Tensors read so far, for those that are used again.
    whole: HashMap<TensorId, Values>,
}

impl<'a> Loader<'a> {
    fn new(
        graph: &'a Graph<Typed>,
        source: &'a dyn TensorSource,
        streamed: Option<&'a Shared>,
    ) -> Self {
        Self {
            graph,
            source,
            streamed,
            whole: HashMap::new(),
        }
    }

    fn nodes(mut self) -> Vec<NodeWeights> {
        let graph = self.graph;
        graph.topo().map(|(id, _)| self.node(id)).collect()
    }

    fn node(&mut self, id: NodeId) -> NodeWeights {
        match &self.graph.node(id).op {
            Op::Embed {
                token,
                position,
                token_type,
                // No weight.
                scale: _,
            } => NodeWeights::Embed {
                token: self.unit(&[*token]),
                position: position.map(|t| self.tensor(t)),
                token_type: token_type.map(|t| {
                    let known = self.graph.facts().conventions.token_types;
                    self.rows(t, known as usize)
                }),
            },
            Op::Norm {
                // No weights.
                kind: _,
                weight,
                bias,
                // No weight.
                eps: _,
            } => NodeWeights::Norm {
                weight: self.tensor(*weight),
                bias: bias.map(|t| self.tensor(t)),
            },
            Op::Linear { parts } => self.linear(parts),
            Op::Attention {
                // No weights.
                heads: _,
                kv_heads: _,
                head_dim: _,
                causal: _,
                scale: _,
                window: _,
                softcap: _,
                rope: _,
                qk_norm,
                sinks,
            } => NodeWeights::Attention {
                norms: qk_norm.map(|norm| [norm.q, norm.k].map(|id| self.tensor(id))),
                sinks: sinks.map(|id| self.tensor(id)),
            },
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
            } => NodeWeights::Router {
                weight: self.tensor(*weight),
                bias: bias.map(|t| self.tensor(t)),
                select_bias: select_bias.map(|t| self.tensor(t)),
                base_gate: base_gate.map(|t| self.tensor(t)),
            },
            Op::ShortConv { weight, bias } => NodeWeights::ShortConv {
                weight: self.tensor(*weight),
                bias: bias.map(|t| self.tensor(t)),
            },
            Op::Clusters { centroids } => {
                let width = self.graph.tensor(*centroids).shape()[1];
                let centroids = self.tensor(*centroids);
                let norms = centroids
                    .chunks_exact(width)
                    .map(|row| math::sum_of(row, |x| x * x))
                    .collect();
                NodeWeights::Clusters { centroids, norms }
            }
            Op::Tokens
            | Op::ScarAttention {
                // No weights.
                heads: _,
                mask: _,
                causal: _,
            }
            | Op::Activate {
                // No weights.
                act: _,
                gated: _,
            }
            | Op::Add
            // No weight.
            | Op::Combine { base: _ }
            // No weight.
            | Op::SelectOutputs { pooling: _ }
            | Op::Normalize
            // As said.
            | Op::Softcap { cap: _ }
            | Op::Output => NodeWeights::None,
        }
    }

    fn linear(&mut self, parts: &[LinearPart]) -> NodeWeights {
        let weights: Vec<TensorId> = parts.iter().map(|part| part.weight).collect();
        let weight = self.unit(&weights);
        let any_bias = parts.iter().any(|part| part.bias.is_some());
        let bias = any_bias.then(|| {
            let mut bias = Vec::new();
            for part in parts {
                match part.bias {
                    Some(tensor) => self.append(tensor, &mut bias),
                    None => {
                        bias.resize(bias.len() + self.graph.tensor(part.weight).shape()[0], 0.0)
                    }
                }
            }
            bias.into()
        });
        NodeWeights::Linear { weight, bias }
    }

    /// The rows of all tensors.
    fn unit(&mut self, tensors: &[TensorId]) -> UnitWeights {
        match (self.streamed, tensors) {
            (Some(source), _) => {
                let shape = |id: TensorId| self.graph.tensor(id).shape();
                let tensor = |id: &TensorId| (*id, shape(*id)[0]);
                UnitWeights::Read(Arc::new(Stacked {
                    source: source.clone(),
                    tensors: tensors.iter().map(tensor).collect(),
                    width: tensors.first().map_or(0, |id| shape(*id)[1]),
                }))
            }
            (None, [tensor]) => self.tensor(*tensor).into(),
            (None, _) => self.joined(tensors.iter().copied()).into(),
        }
    }

    fn joined(&self, tensors: impl Iterator<Item = TensorId>) -> Values {
        let mut values = Vec::new();
        for tensor in tensors {
            self.append(tensor, &mut values);
        }
        values.into()
    }

    fn append(&self, id: TensorId, values: &mut Vec<f32>) {
        let shape = self.graph.tensor(id).shape();
        let start = values.len();
        values.resize(start + shape.iter().product::<usize>(), 0.0);
        self.source.read_rows(id, 0..shape[0], &mut values[start..]);
    }

    fn tensor(&mut self, id: TensorId) -> Values {
        if let Some(values) = self.whole.get(&id) {
            return values.clone();
        }
        let values = self.rows(id, self.graph.tensor(id).shape()[0]);
        self.whole.insert(id, values.clone());
        values
    }

    fn rows(&self, id: TensorId, rows: usize) -> Values {
        let width: usize = self.graph.tensor(id).shape()[1..].iter().product();
        let mut values = vec![0.0; rows * width];
        self.source.read_rows(id, 0..rows, &mut values);
        values.into()
    }
}
