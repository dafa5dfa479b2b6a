//! A graph -> its branches: attention, MLPs, general paths and modules, whatever adds to a stream and can be left out.

use std::collections::{BTreeSet, HashMap};

use super::{Graph, Guard, NodeId, Op, Site, Typed, UnitId};

/// A part of a model whose output is added to something: without it, that stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Path of its last map in the checkpoint, without the map's own name: `model.layers.2.modules.5`.
    pub name: String,
    /// Its last linear map: where that gives zero, the branch adds nothing.
    pub last: NodeId,
    /// The units that nothing else reads, in evaluation order.
    pub units: Vec<UnitId>,
    /// The rows that reach it.
    pub guard: Guard,
    /// Where in the model it is.
    pub site: Site,
}

impl Graph<Typed> {
    /// All branches, in evaluation order. Their names are distinct.
    #[must_use]
    pub fn branches(&self) -> Vec<Branch> {
        let lasts = self.topo().filter(|(id, node)| {
            let placed = matches!(node.site, Site::Layer(_) | Site::Final);
            placed && matches!(node.op, Op::Linear { .. }) && self.is_added(*id)
        });
        let mut branches: Vec<Branch> = lasts.map(|(id, _)| self.branch(id)).collect();
        let mut seen: HashMap<String, usize> = HashMap::new();
        for branch in &branches {
            *seen.entry(branch.name.clone()).or_default() += 1;
        }
        for branch in &mut branches {
            if seen[&branch.name] > 1 {
                branch.name.clone_from(&self.node(branch.last).origin);
            }
        }
        branches
    }

    /// Whether all that reads a wire adds it, perhaps behind a norm that gives nothing for nothing.
    fn is_added(&self, id: NodeId) -> bool {
        let readers = self.consumers(id);
        let added = |reader: &NodeId| match self.node(*reader).op {
            Op::Add => self.node(*reader).inputs != [id, id],
            Op::Combine { base } => !base || self.adds(*reader, id),
            Op::Norm { bias, .. } => bias.is_none() && self.is_added(*reader),
            _ => false,
        };
        !readers.is_empty() && readers.iter().all(added)
    }

    /// Whether a sum of modules and a base takes a wire once.
    fn adds(&self, combine: NodeId, id: NodeId) -> bool {
        let inputs = self.node(combine).inputs.iter();
        inputs.filter(|input| **input == id).count() == 1
    }

    fn branch(&self, last: NodeId) -> Branch {
        let node = self.node(last);
        let mut own = BTreeSet::from([last]);
        for id in (self.start(node.site).0..last.0).rev().map(NodeId) {
            let readers = self.consumers(id);
            let routes = matches!(self.node(id).op, Op::Router { .. } | Op::Clusters { .. });
            if !routes && !readers.is_empty() && readers.iter().all(|reader| own.contains(reader)) {
                own.insert(id);
            }
        }
        let units = own.iter().filter_map(|id| self.units().of_node(*id));
        let units: BTreeSet<UnitId> = units.map(|unit| unit.id).collect();
        let path = node.origin.rsplit_once('.');
        Branch {
            name: path
                .map_or(node.origin.as_str(), |(path, _)| path)
                .to_owned(),
            last,
            units: units.into_iter().collect(),
            guard: node.guard,
            site: node.site,
        }
    }
}
