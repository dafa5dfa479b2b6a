//! A graph -> its quantised units: weights that share one format, with the nodes that read them.

use super::{Graph, NodeId, Op};

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
