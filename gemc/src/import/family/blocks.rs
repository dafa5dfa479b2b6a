//! The parts of layers: norms, attention, MLPs, heads; from views of stored tensors to nodes of a graph.

use std::ops::Range;

use super::super::error::Findings;
use super::super::files::StoredType;
use super::super::source::Source;

use crate::graph::{
    Activation, Builder, Graph, Guard, LinearPart, ModelFacts, NodeId, NormKind, Op, Pooling,
    QkNorm, QkNormOver, Rope, Site, TensorId, Untyped, View, attention_scale,
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

impl Attention {
    /// Of so many heads, each with its own keys and values, and nothing else.
    pub fn plain(heads: usize, head_dim: usize) -> Self {
        Self {
            heads,
            kv_heads: heads,
            head_dim,
            causal: false,
            scale: None,
            window: None,
            softcap: None,
            rope: None,
            norm: None,
            sinks: None,
        }
    }
}

impl Map {
    /// The map of a part of its rows.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        Self {
            weight: self.weight.clone().range(rows.clone()),
            bias: self.bias.clone().map(|bias| bias.range(rows)),
        }
    }

    /// All that it gives times a factor.
    pub fn times(self, factor: f32) -> Self {
        if factor == 1.0 {
            return self;
        }
        Self {
            weight: self.weight.times(factor),
            bias: self.bias.map(|bias| bias.times(factor)),
        }
    }

    /// With rotary pairs of heads, which stand side by side, as halves of a head.
    pub fn pairs_apart(self, head: usize, rotated: usize) -> Self {
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
    /// Whether a position sees only those up to itself.
    pub causal: bool,
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

    /// Whether the files hold a tensor.
    pub fn has(&self, path: &str) -> bool {
        self.source.has(path)
    }

    /// How a tensor is stored; `None` without files.
    pub fn stored_type(&self, path: &str) -> Option<StoredType> {
        self.source.stored_type(path)
    }

    /// A tensor of the graph.
    pub fn view(&mut self, view: View) -> TensorId {
        self.b.view(view)
    }

    /// A node.
    pub fn node(&mut self, op: Op, inputs: &[NodeId], origin: &str) -> NodeId {
        self.b.add(op, inputs, origin)
    }

    /// On which rows the nodes are that follow.
    pub fn guarded(&mut self, guard: Guard) {
        self.b.guarded(guard);
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
    pub fn embed(&mut self, origin: &str, token: View, scale: f32) -> NodeId {
        self.embed_with(origin, token, None, None, scale)
    }

    /// Token ids to rows, plus rows of positions, plus row 0 of the types of tokens.
    pub fn embed_with(
        &mut self,
        origin: &str,
        token: View,
        position: Option<View>,
        token_type: Option<View>,
        scale: f32,
    ) -> NodeId {
        let tokens = self.b.add(Op::Tokens, &[], "tokens");
        let op = Op::Embed {
            token: self.b.view(token),
            position: position.map(|view| self.b.view(view)),
            token_type: token_type.map(|view| self.b.view(view)),
            scale,
        };
        self.b.add(op, &[tokens], origin)
    }

    /// As many rows of a table of positions as the model has positions.
    pub fn cut(&self, table: View) -> View {
        let positions = self.b.facts().max_positions;
        match table.rows() {
            rows if rows == positions => table,
            _ => table.range(0..positions),
        }
    }

    /// Layer norm, with weight and perhaps bias at `path`, in the names of either age.
    pub fn layer_norm(&mut self, path: &str, d: usize, eps: f32, bias: bool, x: NodeId) -> NodeId {
        let older = self.source.has(&format!("{path}.gamma"));
        let [weight, shift] = if older {
            ["gamma", "beta"]
        } else {
            ["weight", "bias"]
        };
        let weight = self.stored(&format!("{path}.{weight}"), &[d]);
        let shift = bias.then(|| self.stored(&format!("{path}.{shift}"), &[d]));
        let op = Op::Norm {
            kind: NormKind::Layer,
            weight: self.b.view(weight),
            bias: shift.map(|view| self.b.view(view)),
            eps,
        };
        self.b.add(op, &[x], path)
    }

    /// `down(act(up x))`; nodes below `origin`.
    pub fn mlp(
        &mut self,
        origin: &str,
        act: Activation,
        [up, down]: [Map; 2],
        x: NodeId,
    ) -> NodeId {
        let wide = self.linear(&format!("{origin}.up_proj"), [up], x);
        let wide = self.activate(&format!("{origin}.act"), act, wide);
        self.linear(&format!("{origin}.down_proj"), [down], wide)
    }

    /// An activation of every value.
    pub fn activate(&mut self, origin: &str, act: Activation, x: NodeId) -> NodeId {
        let op = Op::Activate { act, gated: false };
        self.b.add(op, &[x], origin)
    }

    /// One row of a text's rows; what follows is the head.
    pub fn pool(&mut self, ways: &[Pooling], x: NodeId) -> NodeId {
        self.b.at(Site::Head);
        let pooling = ways.to_vec();
        self.b.add(Op::SelectOutputs { pooling }, &[x], "outputs")
    }

    /// Every row that is asked for; what follows is the head.
    pub fn every_row(&mut self, x: NodeId) -> NodeId {
        self.b.at(Site::Head);
        let op = Op::SelectOutputs {
            pooling: Vec::new(),
        };
        self.b.add(op, &[x], "outputs")
    }

    /// Outputs at length one.
    pub fn normalize(&mut self, x: NodeId) -> NodeId {
        self.b.add(Op::Normalize, &[x], "normalize")
    }

    /// The graph whose result this is.
    pub fn close(self, x: NodeId) -> Graph<Untyped> {
        self.b.finish(x)
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
            causal: spec.causal,
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

    /// The rows whose logits are wanted, and the head, whose logits may be capped.
    pub fn finish(mut self, weight: View, softcap: Option<f32>, x: NodeId) -> Graph<Untyped> {
        let rows = self.every_row(x);
        let logits = self.linear("lm_head", [Map { weight, bias: None }], rows);
        let logits = match softcap {
            None => logits,
            Some(cap) => self.b.add(Op::Softcap { cap }, &[logits], "softcap"),
        };
        self.b.finish(logits)
    }
}
