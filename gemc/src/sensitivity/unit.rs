//! The units of a graph with what planning needs to know of each: group, shape, and where to resume a run.

use crate::graph::{Graph, Guard, NodeId, Typed, Unit, units};
use crate::quantise::Shape;

/// A unit with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitInfo {
    /// The unit.
    pub unit: Unit,
    /// Its name without the module's number.
    pub group: String,
    /// Rows and columns.
    pub shape: Shape,
    /// First node of its layer: what comes before does not depend on it.
    pub start: NodeId,
    /// The module it belongs to.
    pub module: Option<u32>,
    /// Whether all modules of the group read the same rows (a module's last map reads hidden units of its own).
    pub shares_inputs: bool,
}

impl UnitInfo {
    /// The unit's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.unit.name
    }
}

/// All quantised units in evaluation order.
#[must_use]
pub fn infos(graph: &Graph<Typed>) -> Vec<UnitInfo> {
    units(graph)
        .into_iter()
        .map(|unit| {
            let node = graph.node(unit.nodes[0]);
            let module = match node.guard {
                Guard::Module { module, .. } => Some(module),
                _ => None,
            };
            let first = graph.topo().find(|(_, other)| other.site == node.site);
            UnitInfo {
                group: group(&unit.name, module),
                shape: Shape::of(graph, &unit),
                start: first.map_or(NodeId(0), |(id, _)| id),
                shares_inputs: (node.inputs.first())
                    .is_some_and(|input| graph.node(*input).guard != node.guard),
                module,
                unit,
            }
        })
        .collect()
}

fn group(name: &str, module: Option<u32>) -> String {
    match module {
        Some(m) => name.replacen(&format!(".modules.{m}."), ".modules.*.", 1),
        None => name.to_owned(),
    }
}
