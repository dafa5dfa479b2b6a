//! Which format each quantised unit gets. A uniform format is a plan too.

use std::collections::BTreeMap;

use gem_runtime::format::Codec;
use sha2::{Digest, Sha256};

use crate::graph::{Graph, NodeId, Op};

/// What can be wrong with a bit-width.
#[derive(Debug, thiserror::Error)]
#[error("--bits {asked}: no format of that size; known: {known}")]
pub struct UnknownBits {
    asked: String,
    known: String,
}

/// Names of uniform formats as `--bits` takes them.
const UNIFORM: &[(&str, Codec)] = &[
    ("8.25", Codec::B8),
    ("6.25", Codec::L6),
    ("5.25", Codec::N5),
    ("4.25", Codec::N4),
    ("4.25l", Codec::L4),
    ("3.25", Codec::N3),
    ("2.25", Codec::N2),
];

/// Format by unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitPlan {
    formats: BTreeMap<String, Codec>,
}

impl BitPlan {
    /// The same format for every quantised unit of the graph.
    #[must_use]
    pub fn uniform<S>(graph: &Graph<S>, codec: Codec) -> Self {
        let formats = units(graph).into_iter().map(|u| (u.name, codec)).collect();
        Self { formats }
    }

    /// The uniform plan that `--bits` names.
    ///
    /// # Errors
    /// Naming the known ones.
    pub fn parse_bits<S>(graph: &Graph<S>, bits: &str) -> Result<Self, UnknownBits> {
        let codec = UNIFORM
            .iter()
            .find(|(name, _)| *name == bits)
            .map(|(_, c)| *c)
            .ok_or_else(|| UnknownBits {
                asked: bits.to_owned(),
                known: UNIFORM
                    .iter()
                    .map(|(n, _)| *n)
                    .collect::<Vec<_>>()
                    .join(", "),
            })?;
        Ok(Self::uniform(graph, codec))
    }

    /// The format of a unit.
    ///
    /// # Panics
    /// When the unit is not of the graph that the plan was made for; `gemc` checks a plan's hash before.
    #[must_use]
    pub fn codec(&self, unit: &str) -> Codec {
        *self
            .formats
            .get(unit)
            .expect("the plan was made for this graph")
    }

    /// Identifies the plan in the weight file and in bench results.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for (unit, codec) in &self.formats {
            hasher.update(format!("{unit}={codec:?}\n"));
        }
        hasher.finalize().into()
    }
}

/// A group of weights that share one format: a `Linear` node, or the token embedding with a tied head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Origin of the node; `model.embed_tokens` for the embedding.
    pub name: String,
    /// `Linear` or `Embed` nodes that read it; more than one when tied.
    pub nodes: Vec<NodeId>,
}

/// Name of the embedding's unit.
pub const EMBEDDING: &str = "model.embed_tokens";

/// All quantised units of a graph in evaluation order.
#[must_use]
pub fn units<S>(graph: &Graph<S>) -> Vec<Unit> {
    let mut found: Vec<Unit> = Vec::new();
    let mut embedding = None;
    for (id, node) in graph.topo() {
        match &node.op {
            Op::Embed { token, .. } => {
                embedding = Some(*token);
                found.push(Unit {
                    name: EMBEDDING.to_owned(),
                    nodes: vec![id],
                });
            }
            Op::Linear { parts } if parts.len() == 1 && Some(parts[0].weight) == embedding => {
                let tied = found.iter_mut().find(|u| u.name == EMBEDDING);
                tied.expect("the embedding comes before the head")
                    .nodes
                    .push(id);
            }
            Op::Linear { .. } => found.push(Unit {
                name: node.origin.clone(),
                nodes: vec![id],
            }),
            _ => {}
        }
    }
    found
}

/// The unit a node's weights belong to.
#[must_use]
pub fn unit_of<S>(graph: &Graph<S>, node: NodeId) -> String {
    units(graph)
        .into_iter()
        .find(|u| u.nodes.contains(&node))
        .map(|u| u.name)
        .unwrap_or_default()
}
