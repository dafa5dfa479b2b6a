//! The graph of a config as a list of nodes that can be changed, and made a graph again.

use gemc_kernels::ir::testing::Bytes;
use serde_json::{Value, json};

use crate::graph::{
    Activation, Builder, Graph, Guard, LinearPart, ModelFacts, Node, NodeId, Op, Tensor, TensorId,
    Untyped, View,
};
use crate::import::{Findings, config, gem};

/// A graph in parts.
#[derive(Clone, Debug)]
pub struct Edited {
    facts: ModelFacts,
    tensors: Vec<Tensor>,
    /// All but the output.
    pub nodes: Vec<Node>,
    /// What the output reads.
    pub result: usize,
}

/// Every kind of node: SCAR attention, clusters, modules, a fallback.
fn base() -> Value {
    json!({
        "model_type": "gem", "gem_version": 1, "architectures": ["GemForCausalLM"],
        "hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 12, "intermediate_size": 80, "vocab_size": 50, "max_position_embeddings": 300,
        "hidden_act": "silu", "mlp_gated": true, "norm": "rmsnorm", "norm_eps": 1e-5, "norm_position": "pre",
        "position_embedding": "rope", "tie_word_embeddings": true, "num_labels": 2,
        "domains": ["a", "b", "c"],
        "router": {"layers": "all", "score": "sigmoid", "top_k": 2, "threshold": 0.6,
                   "renormalize": false, "clusters": 16, "bias": false},
        "scar": {"layers": "routed", "heads": 2, "mask": "cluster_or_domain", "residual": true},
        "modules": {"kind": "mlp", "intermediate_size": 40},
        "general_path": "fallback",
    })
}

pub fn decoder() -> Edited {
    with("mlp_gated", json!(true))
}

/// The decoder with another value of a key.
pub fn with(key: &str, value: Value) -> Edited {
    with_all([(key, value)])
}

/// The decoder with other values of several keys.
pub fn with_all<const N: usize>(changes: [(&str, Value); N]) -> Edited {
    let mut config = base();
    let mut classifies = false;
    for (key, value) in changes {
        classifies |= value.to_string().contains("Classification");
        config[key] = value;
    }
    if !classifies {
        config
            .as_object_mut()
            .expect("an object")
            .remove("num_labels");
    } else {
        config["tie_word_embeddings"] = json!(false);
    }
    let mut findings = Findings::default();
    let map = config.as_object().expect("an object");
    let (read, _) = config::read(map, &mut findings);
    findings.into_result(()).expect("a good config");
    Edited::of(&gem::graph(&read.expect("a config")))
}

impl Edited {
    fn of(graph: &Graph<Untyped>) -> Self {
        let mut nodes: Vec<Node> = graph.topo().map(|(_, node)| node.clone()).collect();
        let output = nodes.pop().expect("an output");
        Self {
            facts: graph.facts().clone(),
            tensors: graph.tensors().map(|(_, tensor)| tensor.clone()).collect(),
            nodes,
            result: output.inputs[0].index(),
        }
    }

    pub fn build(&self) -> Graph<Untyped> {
        let mut builder = Builder::new(self.facts.clone());
        for tensor in &self.tensors {
            builder.view(tensor.view.clone());
        }
        for node in &self.nodes {
            builder.at(node.site);
            builder.guarded(node.guard);
            builder.add(node.op.clone(), &node.inputs, node.origin.clone());
        }
        builder.finish(NodeId::from_index(self.result))
    }

    /// Place of a node by its path.
    pub fn find(&self, origin: &str) -> usize {
        let mut nodes = self.nodes.iter();
        nodes
            .position(|node| node.origin == origin)
            .unwrap_or_else(|| unreachable!("no node {origin}"))
    }

    pub fn node(&mut self, origin: &str) -> &mut Node {
        let at = self.find(origin);
        &mut self.nodes[at]
    }

    pub fn tensor(&mut self, path: &str, shape: &[usize]) -> TensorId {
        self.tensors.push(Tensor {
            path: path.to_owned(),
            view: View::whole(path, shape),
        });
        TensorId::from_index(self.tensors.len() - 1)
    }

    /// Inserts before a node, with its site and guard.
    fn insert_node(&mut self, at: usize, mut node: Node, inputs: &[usize], origin: &str) -> usize {
        let moved = |id: NodeId| NodeId::from_index(id.index() + usize::from(id.index() >= at));
        for node in &mut self.nodes {
            node.inputs.iter_mut().for_each(|id| *id = moved(*id));
            match &mut node.guard {
                Guard::Always => {}
                Guard::Module { routing, module: _ } | Guard::Fallback { routing } => {
                    *routing = moved(*routing);
                }
            }
        }
        node.inputs = inputs.iter().map(|i| NodeId::from_index(*i)).collect();
        node.origin = origin.to_owned();
        self.nodes.insert(at, node);
        self.result += usize::from(self.result >= at);
        at
    }

    pub fn insert(&mut self, at: usize, op: Op, inputs: &[usize], origin: &str) -> usize {
        let node = Node {
            op,
            ..self.nodes[at].clone()
        };
        self.insert_node(at, node, inputs, origin)
    }

    /// Inserts a copy of a node behind it.
    pub fn insert_like(&mut self, of: usize, inputs: &[usize], origin: &str) -> usize {
        self.insert_like_of(of, of, inputs, origin)
    }

    /// Inserts a copy of a node behind another.
    pub fn insert_like_of(
        &mut self,
        behind: usize,
        of: usize,
        inputs: &[usize],
        origin: &str,
    ) -> usize {
        let node = self.nodes[of].clone();
        self.insert_node(behind + 1, node, inputs, origin)
    }

    /// A norm before a guarded node, on its rows.
    pub fn insert_guarded_norm(&mut self, at: usize) -> usize {
        let op = self.node("model.layers.0.input_norm").op.clone();
        let input = self.nodes[at].inputs[0].index();
        self.insert(at, op, &[input], "a norm")
    }

    pub fn replace_input(&mut self, origin: &str, old: usize, new: usize) {
        for input in &mut self.node(origin).inputs {
            if input.index() == old {
                *input = NodeId::from_index(new);
            }
        }
    }

    pub fn parts(&mut self, origin: &str, weights: &[TensorId]) {
        let part = |weight: &TensorId| LinearPart {
            weight: *weight,
            bias: None,
        };
        self.node(origin).op = Op::Linear {
            parts: weights.iter().map(part).collect(),
        };
    }

    pub fn set_gated(&mut self, origin: &str, value: bool) {
        if let Op::Activate { gated, .. } = &mut self.node(origin).op {
            *gated = value;
        }
    }

    pub fn set_act(&mut self, origin: &str, value: Activation) {
        if let Op::Activate { act, .. } = &mut self.node(origin).op {
            *act = value;
        }
    }

    pub fn set_causal(&mut self, origin: &str, value: bool) {
        if let Op::Attention { causal, .. } | Op::ScarAttention { causal, .. } =
            &mut self.node(origin).op
        {
            *causal = value;
        }
    }

    /// Any change that leaves inputs before their users.
    pub fn at_random(&mut self, bytes: &mut Bytes<'_>) {
        let at = 1 + bytes.below(self.nodes.len() - 1);
        let other = bytes.below(self.nodes.len());
        match bytes.below(6) {
            0 => {
                let slots = self.nodes[at].inputs.len();
                if slots > 0 {
                    let slot = bytes.below(slots);
                    self.nodes[at].inputs[slot] = NodeId::from_index(bytes.below(at));
                }
            }
            1 => self.nodes[at].guard = self.nodes[other].guard,
            2 => self.nodes[at].site = self.nodes[other].site,
            3 => self.nodes[at].op = self.nodes[other].op.clone(),
            4 => {
                let inputs: Vec<usize> = self.nodes[at].inputs.iter().map(|i| i.index()).collect();
                self.insert_like(at, &inputs, "a copy");
            }
            _ => {
                let inputs = [bytes.below(at), bytes.below(at)];
                self.insert(at, Op::Add, &inputs, "a sum");
            }
        }
    }
}
