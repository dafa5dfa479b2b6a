//! Checkpoint tensors in, per-node f32 weights out; units (`Linear` and `Embed` nodes) can be exchanged one by one.
//!
//! A tensor used twice (tied embeddings) is held once until one of its users is replaced.

use std::collections::HashMap;
use std::sync::Arc;

use super::math;
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
        token: Values,
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
        weight: Values,
        /// `[out]`.
        bias: Option<Values>,
    },
    QkNorm {
        q: Values,
        k: Values,
    },
    Router {
        /// `[D, d]`.
        weight: Values,
        /// `[D]`.
        bias: Option<Values>,
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
    pub fn unit(&self) -> Option<&Values> {
        match self {
            Self::Embed { token: values, .. } | Self::Linear { weight: values, .. } => Some(values),
            _ => None,
        }
    }

    /// The exchangeable matrix of a unit.
    pub fn unit_mut(&mut self) -> Option<&mut Values> {
        match self {
            Self::Embed { token: values, .. } | Self::Linear { weight: values, .. } => Some(values),
            _ => None,
        }
    }
}

/// Reads the weights of every node, in node order.
pub(super) fn load(graph: &Graph<Typed>, source: &dyn TensorSource) -> Vec<NodeWeights> {
    let mut loader = Loader {
        graph,
        source,
        whole: HashMap::new(),
    };
    graph.topo().map(|(id, _)| loader.node(id)).collect()
}

struct Loader<'a> {
    graph: &'a Graph<Typed>,
    source: &'a dyn TensorSource,
    /// Tensors read so far, for those that are used again.
    whole: HashMap<TensorId, Values>,
}

impl Loader<'_> {
    fn node(&mut self, id: NodeId) -> NodeWeights {
        match &self.graph.node(id).op {
            Op::Embed {
                token,
                position,
                token_type,
            } => NodeWeights::Embed {
                token: self.tensor(*token),
                position: position.map(|t| self.tensor(t)),
                token_type: token_type.map(|t| self.rows(t, 1)),
            },
            Op::Norm { weight, bias, .. } => NodeWeights::Norm {
                weight: self.tensor(*weight),
                bias: bias.map(|t| self.tensor(t)),
            },
            Op::Linear { parts } => self.linear(parts),
            Op::Attention {
                qk_norm: Some((q, k, _)),
                ..
            } => NodeWeights::QkNorm {
                q: self.tensor(*q),
                k: self.tensor(*k),
            },
            Op::Router { weight, bias, .. } => NodeWeights::Router {
                weight: self.tensor(*weight),
                bias: bias.map(|t| self.tensor(t)),
            },
            Op::Clusters { centroids } => {
                let width = self.graph.tensor(*centroids).shape[1];
                let centroids = self.tensor(*centroids);
                let norms = centroids
                    .chunks_exact(width)
                    .map(|row| math::sum_of(row, |x| x * x))
                    .collect();
                NodeWeights::Clusters { centroids, norms }
            }
            _ => NodeWeights::None,
        }
    }

    fn linear(&mut self, parts: &[LinearPart]) -> NodeWeights {
        let weight = match parts {
            [part] => self.tensor(part.weight),
            _ => self.joined(parts.iter().map(|part| part.weight)),
        };
        let any_bias = parts.iter().any(|part| part.bias.is_some());
        let bias = any_bias.then(|| {
            let mut bias = Vec::new();
            for part in parts {
                match part.bias {
                    Some(tensor) => self.append(tensor, &mut bias),
                    None => bias.resize(bias.len() + self.graph.tensor(part.weight).shape[0], 0.0),
                }
            }
            bias.into()
        });
        NodeWeights::Linear { weight, bias }
    }

    fn joined(&self, tensors: impl Iterator<Item = TensorId>) -> Values {
        let mut values = Vec::new();
        for tensor in tensors {
            self.append(tensor, &mut values);
        }
        values.into()
    }

    fn append(&self, id: TensorId, values: &mut Vec<f32>) {
        let shape = &self.graph.tensor(id).shape;
        let start = values.len();
        values.resize(start + shape.iter().product::<usize>(), 0.0);
        self.source.read_rows(id, 0..shape[0], &mut values[start..]);
    }

    fn tensor(&mut self, id: TensorId) -> Values {
        if let Some(values) = self.whole.get(&id) {
            return values.clone();
        }
        let values = self.rows(id, self.graph.tensor(id).shape[0]);
        self.whole.insert(id, values.clone());
        values
    }

    fn rows(&self, id: TensorId, rows: usize) -> Values {
        let width: usize = self.graph.tensor(id).shape[1..].iter().product();
        let mut values = vec![0.0; rows * width];
        self.source.read_rows(id, 0..rows, &mut values);
        values.into()
    }
}
