//! A graph -> its quantised units: weights that share one format, with their shape and their place in the model.
//!
//! Computed once, when a graph gets its types, and kept with it. Analyses know units by their ids and keep what they find in
//! tables by id ([`super::UnitMap`]); names are what files and people say.

use std::collections::HashMap;
use std::ops::Index;

use gemc_format::Shape;

use super::{Graph, Guard, NodeId, Op, Role, Site, TensorId};

gemc_kernels::id_type!(
    /// A quantised unit: its place among the units of a graph, in evaluation order.
    UnitId,
    "u"
);
gemc_kernels::id_type!(
    /// A group of units: its place among the groups of a graph, in the order of their first units.
    GroupId,
    "g"
);

/// Weights that share one format: those of a `Linear` node, or the token embedding, with a tied head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Index among the units of its graph, in evaluation order.
    pub id: UnitId,
    /// Origin of its first node: what plans and reports call it.
    pub name: String,
    /// `Embed` or `Linear` nodes that read it: one, or two when tied.
    pub nodes: Vec<NodeId>,
    /// Rows of each of its parts, and columns.
    pub shape: Shape,
    /// What its product computes: attention's maps, the MLP's, a module's, embedding or head.
    pub role: Role,
    /// Embedding, a layer, the last router or the head.
    pub site: Site,
    /// The module of its site that it belongs to.
    pub module: Option<u32>,
    /// Units of the same kind at its site: the same map of all modules, or itself alone.
    pub group: GroupId,
    /// Whether its rows are both looked up and multiplied with.
    pub tied: bool,
    /// First node of its site: what comes before does not depend on it.
    pub start: NodeId,
    /// Of a module: whether its input is computed outside, the same for all modules. The inputs of a module's later maps are
    /// hidden units of its own.
    pub shares_inputs: bool,
}

/// Units of the same kind at one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name of its unit; of several, with `*` for each segment in which their names differ.
    pub name: String,
    /// In evaluation order; at least one.
    pub units: Vec<UnitId>,
}

/// All quantised units of a graph, in evaluation order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    units: Vec<Unit>,
    groups: Vec<Group>,
    /// The unit that a node reads, by the node's index.
    of_node: Vec<Option<UnitId>>,
    by_name: HashMap<String, UnitId>,
}

impl Units {
    /// Of a graph whose shapes fit.
    pub(super) fn of_graph<S>(graph: &Graph<S>) -> Self {
        let mut finder = Finder::default();
        for (id, node) in graph.topo() {
            let unit = match &node.op {
                Op::Embed { token, .. } => {
                    let unit = finder.add(graph, id, &[*token]);
                    finder.embedding = Some((*token, unit));
                    Some(unit)
                }
                Op::Linear { parts } => {
                    let weights: Vec<TensorId> = parts.iter().map(|part| part.weight).collect();
                    Some(match finder.embedding {
                        Some((token, unit)) if weights == [token] => finder.tie(unit, id),
                        _ => finder.add(graph, id, &weights),
                    })
                }
                _ => None,
            };
            finder.of_node.push(unit);
        }
        finder.finish()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// The units, in evaluation order.
    pub fn iter(&self) -> std::slice::Iter<'_, Unit> {
        self.units.iter()
    }

    /// The unit that a node's weights belong to.
    #[must_use]
    pub fn of_node(&self, node: NodeId) -> Option<&Unit> {
        self.of_node[node.index()].map(|id| &self[id])
    }

    /// The unit of a name, as files say it.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Unit> {
        self.by_name.get(name).map(|id| &self[*id])
    }

    /// The groups, by id.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The group of an id.
    #[must_use]
    pub fn group(&self, id: GroupId) -> &Group {
        &self.groups[id.index()]
    }
}

impl Index<UnitId> for Units {
    type Output = Unit;

    fn index(&self, id: UnitId) -> &Unit {
        &self.units[id.index()]
    }
}

impl<'u> IntoIterator for &'u Units {
    type Item = &'u Unit;
    type IntoIter = std::slice::Iter<'u, Unit>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Units in the making.
#[derive(Default)]
struct Finder {
    units: Vec<Unit>,
    groups: Vec<Vec<UnitId>>,
    of_node: Vec<Option<UnitId>>,
    by_name: HashMap<String, UnitId>,
    /// The last embedding.
    embedding: Option<(TensorId, UnitId)>,
    /// Units of each module so far.
    stages: HashMap<(NodeId, u32), usize>,
    /// Groups of each router, by stage of its modules.
    of_router: HashMap<NodeId, Vec<GroupId>>,
}

impl Finder {
    fn add<S>(&mut self, graph: &Graph<S>, id: NodeId, weights: &[TensorId]) -> UnitId {
        let node = graph.node(id);
        let unit = UnitId::from_index(self.units.len());
        let group = self.group(node.guard, unit);
        let outside = |input: &NodeId| graph.node(*input).guard != node.guard;
        self.units.push(Unit {
            id: unit,
            name: node.origin.clone(),
            nodes: vec![id],
            shape: shape(graph, weights),
            // Embeddings and linear maps have one.
            role: graph.role(id).unwrap_or(Role::General),
            site: node.site,
            module: match node.guard {
                Guard::Module { module, .. } => Some(module),
                Guard::Always | Guard::Fallback { .. } => None,
            },
            group,
            tied: false,
            start: graph.start(node.site),
            shares_inputs: node.inputs.first().is_some_and(outside),
        });
        self.by_name.entry(node.origin.clone()).or_insert(unit);
        unit
    }

    /// Another node that reads a unit.
    fn tie(&mut self, unit: UnitId, node: NodeId) -> UnitId {
        let tied = &mut self.units[unit.index()];
        tied.nodes.push(node);
        tied.tied = true;
        unit
    }

    /// The n-th unit of a module is in one group with the n-th of every other module of its router.
    fn group(&mut self, guard: Guard, unit: UnitId) -> GroupId {
        let new = GroupId::from_index(self.groups.len());
        let group = match guard {
            Guard::Always | Guard::Fallback { .. } => new,
            Guard::Module { routing, module } => {
                let stage = self.stages.entry((routing, module)).or_default();
                let groups = self.of_router.entry(routing).or_default();
                if *stage == groups.len() {
                    groups.push(new);
                }
                *stage += 1;
                groups[*stage - 1]
            }
        };
        if group == new {
            self.groups.push(Vec::new());
        }
        self.groups[group.index()].push(unit);
        group
    }

    fn finish(self) -> Units {
        let name = |id: &UnitId| self.units[id.index()].name.as_str();
        let groups = self.groups.iter().map(|units| Group {
            name: common(units.iter().map(name)),
            units: units.clone(),
        });
        Units {
            groups: groups.collect(),
            units: self.units,
            of_node: self.of_node,
            by_name: self.by_name,
        }
    }
}

fn shape<S>(graph: &Graph<S>, weights: &[TensorId]) -> Shape {
    let dimension = |weight: &TensorId, axis: usize| graph.tensor(*weight).shape()[axis];
    Shape {
        parts: weights.iter().map(|weight| dimension(weight, 0)).collect(),
        cols: weights.first().map_or(0, |weight| dimension(weight, 1)),
    }
}

/// One name for several: segments in which they differ are `*`.
fn common<'n>(mut names: impl Iterator<Item = &'n str>) -> String {
    let first = names.next().unwrap_or_default();
    let mut segments: Vec<&str> = first.split('.').collect();
    for name in names {
        for (segment, other) in segments.iter_mut().zip(name.split('.')) {
            if *segment != other {
                *segment = "*";
            }
        }
    }
    segments.join(".")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Typed;
    use super::*;

    fn graph(name: &str) -> Graph<Typed> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
        let loaded = crate::pipeline::load(&folder.join(name));
        loaded.expect("a checkpoint of the repository").graph
    }

    #[test]
    fn the_maps_of_modules_are_groups_by_their_stage() {
        let graph = graph("lm-all-8mlp-top3-always-domainscar");
        let units = graph.units();
        for unit in units.iter() {
            assert_eq!(units[unit.id], *unit);
            assert_eq!(units.named(&unit.name), Some(unit));
            assert!(units.group(unit.group).units.contains(&unit.id));
            let nodes = unit.nodes.iter().map(|node| units.of_node(*node));
            assert!(nodes.flatten().all(|found| found == unit));
        }
        let named = |name: &str| units.named(name).expect("a unit of the model");
        let wide = named("model.layers.1.modules.2.up_proj");
        let group = units.group(wide.group);
        assert_eq!(group.name, "model.layers.1.modules.*.up_proj");
        assert_eq!(group.units.len(), 8);
        assert_eq!((wide.role, wide.module), (Role::Module, Some(2)));
        assert_eq!(wide.site, Site::Layer(1));
        assert!(wide.shares_inputs);
        let down = named("model.layers.1.modules.2.down_proj");
        assert!(down.group != wide.group && !down.shares_inputs);
        let qkv = named("model.layers.1.self_attn.qkv");
        assert_eq!(qkv.shape.parts.len(), 3);
        assert_eq!(units.group(qkv.group).units, [qkv.id]);
        let roles = [
            ("model.embed_tokens", Role::Embedding),
            ("model.layers.0.self_attn.o_proj", Role::Attention),
            ("model.layers.0.scar.qkv", Role::Scar),
            ("model.layers.0.scar.out", Role::Scar),
            ("model.layers.0.general.down_proj", Role::General),
            ("lm_head", Role::Head),
        ];
        for (name, role) in roles {
            assert_eq!(
                (named(name).role, named(name).module),
                (role, None),
                "{name}"
            );
        }
    }

    #[test]
    fn a_tied_head_belongs_to_the_embedding() {
        let graph = graph("lm-dense-post-rope-layernorm");
        let tied: Vec<&Unit> = graph.units().iter().filter(|unit| unit.tied).collect();
        let [unit] = tied[..] else {
            unreachable!("one tied unit, not {}", tied.len());
        };
        assert_eq!((unit.role, unit.nodes.len()), (Role::Embedding, 2));
        assert!(graph.units().named("lm_head").is_none());
    }
}
