//! How the inputs of linear maps are rounded: rules -> an activation block by unit.
//!
//! Invariant: units that read the same rows have the same, since those rows are written once.

use std::collections::{BTreeMap, HashMap};

use gem_runtime::format::ActivationBlock;
use regex::Regex;

use super::units;
use crate::graph::{Graph, Guard, NodeId, Op};

/// Units by name; those that are not there have blocks of 32.
pub type Blocks = BTreeMap<String, ActivationBlock>;

/// Gives units an activation block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Regular expression, found anywhere in a unit's name.
    pub units: String,
    /// What those units get.
    pub block: ActivationBlock,
}

/// The blocks that rules choose; the last that matches a unit counts.
///
/// # Errors
/// In words, when a rule is no expression or matches nothing, or when units that read the same rows would differ.
pub fn chosen<S>(graph: &Graph<S>, rules: &[Rule]) -> Result<Blocks, String> {
    let groups = readers(graph);
    let mut blocks = Blocks::new();
    for Rule { units, block } in rules {
        let regex = Regex::new(units).map_err(|e| e.to_string())?;
        let names = groups.iter().flatten();
        let matching: Vec<&String> = names.filter(|name| regex.is_match(name)).collect();
        if matching.is_empty() {
            return Err(format!(
                "{units:?} is in the name of no unit that reads activations"
            ));
        }
        blocks.extend(matching.into_iter().map(|name| (name.clone(), *block)));
    }
    blocks.retain(|_, block| *block != ActivationBlock::default());
    check(&groups, &blocks)?;
    Ok(blocks)
}

/// Whether units that read the same rows agree; names two that do not.
pub(super) fn check(groups: &[Vec<String>], blocks: &Blocks) -> Result<(), String> {
    let of = |name: &String| blocks.get(name).copied().unwrap_or_default();
    for group in groups {
        let first = &group[0];
        if let Some(other) = group.iter().find(|name| of(name) != of(first)) {
            return Err(format!(
                "{first} and {other} read the same rows: both need the same activation block, not {} and {}",
                of(first).columns(),
                of(other).columns()
            ));
        }
    }
    Ok(())
}

/// Units in groups that read the same rows: one wire, or the same stage of the modules of a layer, whose rows stand in one
/// buffer.
pub(super) fn readers<S>(graph: &Graph<S>) -> Vec<Vec<String>> {
    let mut places: HashMap<NodeId, usize> = HashMap::new();
    let mut groups: Vec<Vec<String>> = Vec::new();
    for unit in units(graph) {
        let reader = unit.nodes.iter().find(|node| is_linear(graph, **node));
        let Some(&reader) = reader else { continue };
        let place = *places.entry(rows_of(graph, reader)).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(unit.name);
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
