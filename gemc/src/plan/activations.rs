//! How the inputs of linear maps are rounded: what is usual for the formats of the weights, and rules on top.
//!
//! Invariant: units that read the same rows have the same format, since those rows are written once.

use std::collections::HashMap;

use gemc_format::{ActivationFormat, Codec};
use regex::Regex;

use crate::graph::{Graph, GroupId, NodeId, Op, Task, Typed, Unit, UnitMap};

/// Of units; nothing where one reads no activations.
pub type Formats = UnitMap<Option<ActivationFormat>>;

/// Gives units a format of activations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Regular expression, found anywhere in a unit's name.
    pub units: String,
    /// What those units get.
    pub format: ActivationFormat,
}

/// int8; but int16 where weights are B8 and what they give goes through a softmax: queries and keys, and logits. There the
/// rounding of activations, not of weights, would be most of a model's error (docs/results/spine.md). In a model that gives
/// vectors it is so of all that is B8, since no softmax at the end hides it (docs/results/importers.md, MiniLM).
#[must_use]
pub fn usual(graph: &Graph<Typed>, formats: &UnitMap<Codec>) -> Formats {
    let vectors = graph.facts().task == Task::Embedding;
    let precise = |reader: &Reader<'_>| {
        let shows = vectors || feeds_softmax(graph, reader.node);
        formats[reader.unit.id] == Codec::B8 && shows
    };
    let mut usual = Formats::all(graph.units(), None);
    for group in readers(graph) {
        let format = match group.iter().all(precise) {
            true => ActivationFormat::Int16,
            false => ActivationFormat::Int8,
        };
        for reader in group {
            usual[reader.unit.id] = Some(format);
        }
    }
    usual
}

fn feeds_softmax(graph: &Graph<Typed>, node: NodeId) -> bool {
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
pub fn chosen(
    graph: &Graph<Typed>,
    formats: &UnitMap<Codec>,
    rules: &[Rule],
) -> Result<Formats, String> {
    let mut activations = usual(graph, formats);
    for Rule { units, format } in rules {
        let regex = Regex::new(units).map_err(|e| e.to_string())?;
        let mut matches = 0;
        for unit in graph
            .units()
            .iter()
            .filter(|unit| regex.is_match(&unit.name))
        {
            if let Some(own) = &mut activations[unit.id] {
                *own = *format;
                matches += 1;
            }
        }
        if matches == 0 {
            return Err(format!(
                "\"{units}\" matches the name of no unit that reads activations"
            ));
        }
    }
    check(graph, &activations)?;
    Ok(activations)
}

/// Whether units that read the same rows agree; names two that do not.
pub(super) fn check(graph: &Graph<Typed>, activations: &Formats) -> Result<(), String> {
    let of = |reader: &Reader<'_>| activations[reader.unit.id].unwrap_or_default();
    for group in readers(graph) {
        let first = &group[0];
        if let Some(other) = group.iter().find(|other| of(other) != of(first)) {
            return Err(format!(
                "{} and {} read the same rows: both need the same activations, not {} and {}",
                first.unit.name,
                other.unit.name,
                of(first).name(),
                of(other).name()
            ));
        }
    }
    Ok(())
}

/// A unit that reads activations, by a linear map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'g> {
    pub unit: &'g Unit,
    node: NodeId,
}

/// Rows that linear maps read.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum InputRows {
    /// The input is this wire.
    Wire(NodeId),
    /// Hidden units of all modules, whose rows stand in one buffer.
    Modules(GroupId),
}

/// Readers in groups of the same rows, in evaluation order of units: one wire, or the same stage of the modules of a layer.
pub(super) fn readers(graph: &Graph<Typed>) -> Vec<Vec<Reader<'_>>> {
    let mut places: HashMap<InputRows, usize> = HashMap::new();
    let mut groups: Vec<Vec<Reader<'_>>> = Vec::new();
    for unit in graph.units().iter() {
        let linear = |node: &&NodeId| matches!(graph.node(**node).op, Op::Linear { .. });
        let Some(&node) = unit.nodes.iter().find(linear) else {
            continue;
        };
        let rows = match unit.module {
            Some(_) if !unit.shares_inputs => InputRows::Modules(unit.group),
            _ => InputRows::Wire(graph.node(node).inputs[0]),
        };
        let place = *places.entry(rows).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(Reader { unit, node });
    }
    groups
}
