//! How the inputs of linear maps are rounded: what is usual for the formats of the weights, and rules on top.
//!
//! Invariant: units that read the same rows have the same format, since those rows are written once.

use std::collections::{BTreeMap, HashMap};

use gem_runtime::format::{ActivationFormat, Codec};
use regex::Regex;

use super::units;
use crate::graph::{Graph, Guard, NodeId, Op};

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

/// int8; but the first and the last unit have int16 where their weights are B8. There the rounding of activations, not of
/// weights, would be most of a model's error: all layers amplify that of the first, and that of the last is in the logits.
#[must_use]
pub fn usual<S>(graph: &Graph<S>, formats: &BTreeMap<String, Codec>) -> Formats {
    let groups = readers(graph);
    let ends = [0, groups.len().saturating_sub(1)];
    let b8 = |unit: &String| formats.get(unit) == Some(&Codec::B8);
    let mut usual = Formats::new();
    for (place, group) in groups.into_iter().enumerate() {
        let format = match ends.contains(&place) && group.iter().all(b8) {
            true => ActivationFormat::Int16,
            false => ActivationFormat::Int8,
        };
        usual.extend(group.into_iter().map(|unit| (unit, format)));
    }
    usual
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
                "{units:?} is in the name of no unit that reads activations"
            ));
        }
    }
    check(graph, &activations)?;
    Ok(activations)
}

/// Whether units that read the same rows agree; names two that do not.
pub(super) fn check<S>(graph: &Graph<S>, activations: &Formats) -> Result<(), String> {
    for group in readers(graph) {
        let first = &group[0];
        if let Some(other) = group
            .iter()
            .find(|unit| activations[*unit] != activations[first])
        {
            return Err(format!(
                "{first} and {other} read the same rows: both need the same activations, not {} and {}",
                activations[first].name(),
                activations[other].name()
            ));
        }
    }
    Ok(())
}

/// Units in groups that read the same rows, in evaluation order: one wire, or the same stage of the modules of a layer, whose
/// rows stand in one buffer.
pub(super) fn readers<S>(graph: &Graph<S>) -> Vec<Vec<String>> {
    let mut places: HashMap<NodeId, usize> = HashMap::new();
    let mut groups: Vec<(NodeId, Vec<String>)> = Vec::new();
    for unit in units(graph) {
        let reader = unit.nodes.iter().find(|node| is_linear(graph, **node));
        let Some(&reader) = reader else { continue };
        let place = *places.entry(rows_of(graph, reader)).or_insert(groups.len());
        if place == groups.len() {
            groups.push((reader, Vec::new()));
        }
        groups[place].1.push(unit.name);
    }
    // A tied embedding comes first among units, and reads last.
    groups.sort_by_key(|(reader, _)| *reader);
    groups.into_iter().map(|(_, units)| units).collect()
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
