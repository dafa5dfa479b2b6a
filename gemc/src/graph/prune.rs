//! A graph and linear maps that are to give zero -> the graph without them, and without all that only they needed.
//!
//! Zeros go forward: a product of zeros is zero, a sum with zero is its other term, a sum of modules does without those
//! that are zero. Then what nothing reads any more goes. Tensors keep their ids, so that weights stay where they are.

use std::collections::BTreeSet;

use super::{Activation, Builder, Graph, Guard, NodeId, Op, Untyped};

/// What became of a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    /// Its wire is another's.
    Same(NodeId),
    Zero,
}

/// A node whose input became zero and that is not zero for it, a linear map with a bias for instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin} needs what was left out")]
pub struct Needed {
    /// Its path in the checkpoint.
    pub origin: String,
}

impl Graph<Untyped> {
    /// The graph in which these linear maps give zero.
    ///
    /// # Errors
    /// Naming what cannot do without them.
    pub fn without(&self, zero: &BTreeSet<NodeId>) -> Result<Self, Needed> {
        let pruning = Pruning::new(self, zero)?;
        let live = pruning.live();
        Ok(pruning.rebuilt(&live))
    }
}

/// Whether a function of zero is zero.
const fn keeps_zero(act: Activation) -> bool {
    match act {
        Activation::Silu
        | Activation::Gelu
        | Activation::GeluTanh
        | Activation::Relu
        | Activation::Tanh
        | Activation::ClampedSilu => true,
    }
}

struct Pruning<'g> {
    graph: &'g Graph<Untyped>,
    fates: Vec<Fate>,
}

impl<'g> Pruning<'g> {
    fn new(graph: &'g Graph<Untyped>, zero: &BTreeSet<NodeId>) -> Result<Self, Needed> {
        let mut pruning = Self {
            graph,
            fates: Vec::new(),
        };
        for (id, _) in graph.topo() {
            let fate = match zero.contains(&id) {
                true => Fate::Zero,
                false => pruning.fate(id)?,
            };
            pruning.fates.push(fate);
        }
        Ok(pruning)
    }

    /// The node that gives a wire; nothing for zeros.
    fn source(&self, id: NodeId) -> Option<NodeId> {
        match self.fates[id.index()] {
            Fate::Stays => Some(id),
            Fate::Same(other) => Some(other),
            Fate::Zero => None,
        }
    }

    fn fate(&self, id: NodeId) -> Result<Fate, Needed> {
        let node = self.graph.node(id);
        let sources: Vec<Option<NodeId>> = node.inputs.iter().map(|id| self.source(*id)).collect();
        if sources.iter().all(Option::is_some) {
            return Ok(Fate::Stays);
        }
        let zero = match &node.op {
            Op::Linear { parts } => parts.iter().all(|part| part.bias.is_none()),
            Op::Norm { bias, .. } => bias.is_none(),
            Op::Activate { act, gated } => *gated || keeps_zero(*act),
            Op::Attention { .. } | Op::ScarAttention { .. } => true,
            Op::Add => {
                let other = sources.iter().flatten().next();
                return Ok(other.map_or(Fate::Zero, |other| Fate::Same(*other)));
            }
            Op::Combine { base } => return Ok(self.combined(id, *base, &sources)),
            _ => false,
        };
        match zero {
            true => Ok(Fate::Zero),
            false => Err(Needed {
                origin: node.origin.clone(),
            }),
        }
    }

    /// A sum of which some terms are zero: the base alone where that is all that is left and is there on every row.
    fn combined(&self, id: NodeId, base: bool, sources: &[Option<NodeId>]) -> Fate {
        let terms: Vec<NodeId> = sources[1..].iter().flatten().copied().collect();
        let has_base = base && sources[1].is_some();
        let gated = self
            .graph
            .node(self.graph.node(id).inputs[0])
            .op
            .gates_base();
        match terms[..] {
            [] => Fate::Zero,
            [only] if has_base && !gated && self.graph.node(only).guard == Guard::Always => {
                Fate::Same(only)
            }
            _ => Fate::Stays,
        }
    }

    /// Wires that a node reads, those that are zero left out.
    fn inputs(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let inputs = self.graph.node(id).inputs.iter();
        inputs.filter_map(|input| self.source(*input))
    }

    /// Whether the result depends on a node, by node.
    fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.fates.len()];
        live[self.graph.output().index()] = true;
        // A text without tokens is none.
        live[0] = true;
        for (id, node) in self.graph.topo().rev() {
            if !live[id.index()] {
                continue;
            }
            let router = match node.guard {
                Guard::Module { routing, .. } | Guard::Fallback { routing } => Some(routing),
                Guard::Always => None,
            };
            for input in self.inputs(id).chain(router) {
                live[input.index()] = true;
            }
        }
        live
    }

    fn rebuilt(&self, live: &[bool]) -> Graph<Untyped> {
        let mut builder = Builder::new(self.graph.facts().clone());
        for (_, tensor) in self.graph.tensors() {
            builder.view(tensor.view.clone());
        }
        let mut ids: Vec<Option<NodeId>> = vec![None; live.len()];
        // Inputs come before those that read them, and what is live reads nothing else.
        let new = |ids: &[Option<NodeId>], id: NodeId| ids[id.index()].unwrap_or(NodeId(0));
        let mut result = NodeId(0);
        for (id, node) in self.graph.topo().filter(|(id, _)| live[id.index()]) {
            let inputs: Vec<NodeId> = self.inputs(id).map(|input| new(&ids, input)).collect();
            if matches!(node.op, Op::Output) {
                result = inputs.first().copied().unwrap_or(result);
                continue;
            }
            builder.at(node.site);
            builder.guarded(match node.guard {
                Guard::Always => Guard::Always,
                Guard::Module { routing, module } => Guard::Module {
                    routing: new(&ids, routing),
                    module,
                },
                Guard::Fallback { routing } => Guard::Fallback {
                    routing: new(&ids, routing),
                },
            });
            let op = self.operation(id, live);
            ids[id.index()] = Some(builder.add(op, &inputs, node.origin.clone()));
        }
        builder.finish(result)
    }

    /// A node's operation: a sum knows whether it still has a base, a router whether there is one to gate.
    fn operation(&self, id: NodeId, live: &[bool]) -> Op {
        let node = self.graph.node(id);
        let mut op = node.op.clone();
        match &mut op {
            Op::Combine { base } => *base = *base && self.source(node.inputs[1]).is_some(),
            Op::Router { base_gate, .. } => {
                let based = |sum: &NodeId| {
                    let sum_node = self.graph.node(*sum);
                    let based = matches!(sum_node.op, Op::Combine { base: true });
                    live[sum.index()] && based && self.source(sum_node.inputs[1]).is_some()
                };
                if !self.graph.consumers(id).iter().any(based) {
                    *base_gate = None;
                }
            }
            _ => {}
        }
        op
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pipeline::{LoadedCheckpoint, load};
    use crate::typing;

    fn tiny(name: &str) -> LoadedCheckpoint {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
        load(&folder.join(name)).expect("a good checkpoint")
    }

    fn without(
        loaded: &LoadedCheckpoint,
        left_out: &dyn Fn(&str) -> bool,
    ) -> Graph<crate::graph::Typed> {
        let branches = loaded.graph.branches().into_iter();
        let zero = branches
            .filter(|branch| left_out(&branch.name))
            .map(|branch| branch.last);
        let pruned = loaded.checkpoint.graph().without(&zero.collect());
        typing::infer(pruned.expect("nothing needs them")).expect("it fits")
    }

    #[test]
    fn branches_are_attention_paths_and_modules() {
        let loaded = tiny("lm-all-8mlp-top3-always-domainscar");
        let names: Vec<String> = loaded
            .graph
            .branches()
            .into_iter()
            .map(|b| b.name)
            .collect();
        for name in ["self_attn", "general", "modules.0", "modules.7"] {
            let name = format!("model.layers.0.{name}");
            assert!(names.contains(&name), "{name} of {names:?}");
        }
        let branches = loaded.graph.branches();
        assert!(branches.iter().all(|branch| !branch.units.is_empty()));
    }

    #[test]
    fn modules_are_left_out_one_by_one_and_together() {
        let loaded = tiny("lm-all-8mlp-top3-always-domainscar");
        let units = |graph: &Graph<crate::graph::Typed>| graph.units().len();
        let all = units(&loaded.graph);
        let one = without(&loaded, &|name| name == "model.layers.0.modules.3");
        assert_eq!(units(&one), all - 2);
        assert!(
            one.units()
                .named("model.layers.0.modules.3.down_proj")
                .is_none()
        );
        assert_eq!(one.routers().len(), loaded.graph.routers().len());
        // With the last of what a router decides on goes the router.
        let block = [
            "model.layers.0.modules",
            "model.layers.0.general",
            "model.layers.0.scar",
        ];
        let none = without(&loaded, &|name| {
            block.iter().any(|part| name.starts_with(part))
        });
        assert_eq!(none.routers().len() + 1, loaded.graph.routers().len());
        assert_eq!(none.tensors().count(), loaded.graph.tensors().count());
    }
}
