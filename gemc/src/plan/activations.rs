//! How the inputs of linear maps are rounded: what is usual for the formats of the weights, and rules on top.
//!
//! Invariant: units that read the same rows have the same format, since those rows are written once.

use std::collections::{BTreeMap, HashMap};

use gemc_format::{ActivationFormat, Codec};
use regex::Regex;

use crate::graph::{Graph, Guard, NodeId, Op, units};

/// Of units by name; those that are not there read no activations.
pub type Formats = BTreeMap<String, ActivationFormat>;

/// Gives units a format of activations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Regular expression, found anywhere in a unit's name.
    pub units: String,
    /// What those units get.
    pub format: ActivationFormat,
}

/// int8; but int16 where weights are B8 and what they give goes through a softmax: queries and keys, and logits. There the
/// rounding of activations, not of weights, would be most of a model's error (docs/results/spine.md).
#[must_use]
pub fn usual<S>(graph: &Graph<S>, formats: &BTreeMap<String, Codec>) -> Formats {
    let precise = |reader: &Reader| {
        formats.get(&reader.unit) == Some(&Codec::B8) && feeds_softmax(graph, reader.node)
    };
    let mut usual = Formats::new();
    for group in readers(graph) {
        let format = match group.iter().all(precise) {
            true => ActivationFormat::Int16,
            false => ActivationFormat::Int8,
        };
        usual.extend(group.into_iter().map(|reader| (reader.unit, format)));
    }
    usual
}

fn feeds_softmax<S>(graph: &Graph<S>, node: NodeId) -> bool {
    let takes = |id: &NodeId| {
        let op = &graph.node(*id).op;
        matches!(
            op,
            Op::Attention { .. } | Op::ScarAttention { .. } | Op::Output
        )
    };
    graph.consumers(node).iter().any(takes)
}

/// What rules make of the usual; the last that matches a unit counts.
///
/// # Errors
/// In words, when a rule is no expression or matches nothing, or when units that read the same rows would differ.
pub fn chosen<S>(
    graph: &Graph<S>,
    formats: &BTreeMap<String, Codec>,
    rules: &[Rule],
) -> Result<Formats, String> {
    let mut activations = usual(graph, formats);
    for Rule { units, format } in rules {
        let regex = Regex::new(units).map_err(|e| e.to_string())?;
        let mut matches = 0;
        for (_, own) in activations
            .iter_mut()
            .filter(|(unit, _)| regex.is_match(unit))
        {
            *own = *format;
            matches += 1;
        }
        if matches == 0 {
            return Err(format!(
                "\"{units}\" is in the name of no unit that reads activations"
            ));
        }
    }
    check(graph, &activations)?;
    Ok(activations)
}

/// Whether units that read the same rows agree; names two that do not.
pub(super) fn check<S>(graph: &Graph<S>, activations: &Formats) -> Result<(), String> {
    let of = |reader: &Reader| activations[&reader.unit];
    for group in readers(graph) {
        let first = &group[0];
        if let Some(other) = group.iter().find(|other| of(other) != of(first)) {
            return Err(format!(
                "{} and {} read the same rows: both need the same activations, not {} and {}",
                first.unit,
                other.unit,
                of(first).name(),
                of(other).name()
            ));
        }
    }
    Ok(())
}

/// A unit that reads activations, by a linear map.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub unit: String,
    node: NodeId,
}

/// Readers in groups of the same rows, in evaluation order of units: one wire, or the same stage of the modules of a layer,
/// whose rows stand in one buffer.
pub(super) fn readers<S>(graph: &Graph<S>) -> Vec<Vec<Reader>> {
    let mut places: HashMap<NodeId, usize> = HashMap::new();
    let mut groups: Vec<Vec<Reader>> = Vec::new();
    for unit in units(graph) {
        let node = unit.nodes.iter().find(|node| is_linear(graph, **node));
        let Some(&node) = node else { continue };
        let place = *places.entry(rows_of(graph, node)).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(Reader {
            unit: unit.name,
            node,
        });
    }
    groups
}

fn is_linear<S>(graph: &Graph<S>, node: NodeId) -> bool {
    matches!(graph.node(node).op, Op::Linear { .. })
}

/// Stands for the rows that a linear map reads: the wire, or the first module's map of the same stage.
fn rows_of<S>(graph: &Graph<S>, reader: NodeId) -> NodeId {
    let node = graph.node(reader);
    let wire = node.inputs[0];
    let Guard::Module { routing, module } = node.guard else {
        return wire;
    };
    if graph.node(wire).guard != node.guard {
        return wire;
    }
    let stages = |module| {
        let mut nodes = graph.module_nodes(routing, module);
        nodes.retain(|node| is_linear(graph, *node));
        nodes
    };
    let stage = stages(module).iter().position(|node| *node == reader);
    stage.map_or(wire, |stage| stages(0)[stage])
}
