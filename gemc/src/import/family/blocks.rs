//! The parts of layers: norms, attention, MLPs, heads; from views of stored tensors to nodes of a graph.

use super::super::error::Findings;
use super::super::source::Source;
use crate::graph::{
    Activation, Builder, Graph, LinearPart, ModelFacts, NodeId, NormKind, Op, QkNorm, QkNormOver,
    Rope, Site, Task, Untyped, View, attention_scale,
};

/// A graph in the making, and the checkpoint that it reads.
pub struct Blocks<'s, 'a> {
    source: &'s mut Source<'a>,
    findings: &'s mut Findings,
    b: Builder,
}

/// A linear map: `[out, in]`, and `[out]`.
#[derive(Clone, Debug)]
pub struct Map {
    pub weight: View,
    pub bias: Option<View>,
}

impl Map {
    fn pairs_apart(self, head: usize, rotated: usize) -> Self {
        Self {
            weight: self.weight.pairs_apart(head, rotated),
            bias: self.bias.map(|bias| bias.pairs_apart(head, rotated)),
        }
    }
}

/// Attention over q, k and v, without its maps.
#[derive(Clone, Debug)]
pub struct Attention {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// `None`: one over the root of `head_dim`.
    pub scale: Option<f32>,
    pub window: Option<usize>,
    pub softcap: Option<f32>,
    pub rope: Option<Rope>,
    pub norm: Option<AttentionNorm>,
    pub sinks: Option<View>,
}

/// Norms of queries and keys.
#[derive(Clone, Debug)]
pub struct AttentionNorm {
    pub q: View,
    pub k: View,
    pub eps: f32,
    pub over: QkNormOver,
}

impl<'s, 'a> Blocks<'s, 'a> {
    pub fn new(source: &'s mut Source<'a>, findings: &'s mut Findings, facts: ModelFacts) -> Self {
        Self {
            source,
            findings,
            b: Builder::new(facts),
        }
    }

    /// Whether the model is larger than any that is built.
    pub fn gives_up(&self) -> bool {
        self.source.is_too_large()
    }

    /// Where in the model the nodes are that follow.
    pub fn at(&mut self, site: Site) {
        self.b.at(site);
    }

    /// A stored tensor that must be there.
    pub fn stored(&mut self, path: &str, shape: &[usize]) -> View {
        self.source.expect(path, shape, self.findings)
    }

    /// The map of a module as PyTorch stores it: `path.weight`, `path.bias`.
    pub fn map(&mut self, path: &str, [out, input]: [usize; 2], bias: bool) -> Map {
        Map {
            weight: self.stored(&format!("{path}.weight"), &[out, input]),
            bias: bias.then(|| self.stored(&format!("{path}.bias"), &[out])),
        }
    }

    /// A node of maps of one input.
    pub fn linear(
        &mut self,
        origin: &str,
        maps: impl IntoIterator<Item = Map>,
        x: NodeId,
    ) -> NodeId {
        let part = |map: Map| LinearPart {
            weight: self.b.view(map.weight),
            bias: map.bias.map(|bias| self.b.view(bias)),
        };
        let parts = maps.into_iter().map(part).collect();
        self.b.add(Op::Linear { parts }, &[x], origin)
    }

    /// RMS norm.
    pub fn rms_norm(&mut self, origin: &str, weight: View, eps: f32, x: NodeId) -> NodeId {
        let op = Op::Norm {
            kind: NormKind::Rms,
            weight: self.b.view(weight),
            bias: None,
            eps,
        };
        self.b.add(op, &[x], origin)
    }

    /// Token ids to rows.
    pub fn embed(&mut self, origin: &str, token: View) -> NodeId {
        let tokens = self.b.add(Op::Tokens, &[], "tokens");
        let op = Op::Embed {
            token: self.b.view(token),
            position: None,
            token_type: None,
        };
        self.b.add(op, &[tokens], origin)
    }

    pub fn add(&mut self, origin: &str, a: NodeId, b: NodeId) -> NodeId {
        self.b.add(Op::Add, &[a, b], origin)
    }

    /// q, k and v of x, attention, and its output map; nodes below `origin`.
    pub fn attention(
        &mut self,
        origin: &str,
        spec: Attention,
        qkv: [Map; 3],
        out: Map,
        x: NodeId,
    ) -> NodeId {
        let causal = self.b.facts().task == Task::CausalLm;
        let [q, k, v] = qkv;
        let rotated = spec.rope.as_ref().map_or(0, Rope::width);
        let [q, k] = [q, k].map(|map| match self.source.has_pairs() {
            true => map.pairs_apart(spec.head_dim, rotated),
            false => map,
        });
        let qkv = [q, k, v];
        let qkv = self.linear(&format!("{origin}.qkv"), qkv, x);
        let op = Op::Attention {
            heads: spec.heads as u32,
            kv_heads: spec.kv_heads as u32,
            head_dim: spec.head_dim as u32,
            causal,
            scale: spec.scale.unwrap_or(attention_scale(spec.head_dim)),
            window: spec.window.map(|n| n as u32),
            softcap: spec.softcap,
            rope: spec.rope,
            qk_norm: spec.norm.map(|norm| QkNorm {
                q: self.b.view(norm.q),
                k: self.b.view(norm.k),
                eps: norm.eps,
                over: norm.over,
            }),
            sinks: spec.sinks.map(|sinks| self.b.view(sinks)),
        };
        let mixed = self.b.add(op, &[qkv], origin);
        self.linear(&format!("{origin}.o_proj"), [out], mixed)
    }

    /// `down(act(gate x) * up x)`; nodes below `origin`.
    pub fn gated_mlp(
        &mut self,
        origin: &str,
        act: Activation,
        [gate, up, down]: [Map; 3],
        x: NodeId,
    ) -> NodeId {
        let wide = self.linear(&format!("{origin}.gate_up"), [gate, up], x);
        let op = Op::Activate { act, gated: true };
        let wide = self.b.add(op, &[wide], format!("{origin}.act"));
        self.linear(&format!("{origin}.down_proj"), [down], wide)
    }

    /// The rows whose logits are wanted, and the head.
    pub fn finish(mut self, weight: View, x: NodeId) -> Graph<Untyped> {
        self.b.at(Site::Head);
        let op = Op::SelectOutputs { first: false };
        let rows = self.b.add(op, &[x], "outputs");
        let logits = self.linear("lm_head", [Map { weight, bias: None }], rows);
        self.b.finish(logits)
    }
}
