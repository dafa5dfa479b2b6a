//! A small routed decoder or encoder as a hand-built graph with made-up weights: every kind of node in few lines.

use std::ops::Range;

use crate::graph::{
    Activation, Builder, Graph, Guard, LinearPart, ModelFacts, NodeId, NormKind, Op, Rope,
    RopeScaling, ScarMask, Score, Site, Task, TensorId, Typed,
};
use crate::tensors::TensorSource;

/// Shape of the model; modules are gated MLPs of half the width.
pub struct Shape {
    pub hidden: usize,
    pub layers: u32,
    pub vocab: usize,
    pub modules: u32,
    pub top_k: u32,
    pub threshold: f32,
    pub causal: bool,
    /// Whether the general path runs where nothing fired alone.
    pub fallback: bool,
}

pub const SMALL: Shape = Shape {
    hidden: 48,
    layers: 2,
    vocab: 50,
    modules: 3,
    top_k: 2,
    threshold: 0.35,
    causal: true,
    fallback: true,
};

/// Values that depend on tensor and index alone, of a size that keeps activations near 1.
pub struct MadeUp {
    pub scales: Vec<(f32, f32, usize)>,
}

impl TensorSource for MadeUp {
    fn read_rows(&self, id: TensorId, rows: Range<usize>, out: &mut [f32]) {
        let (centre, scale, width) = self.scales[id.index()];
        assert_eq!(out.len(), rows.len() * width);
        for (i, x) in out.iter_mut().enumerate() {
            let index = (rows.start * width + i) as u64;
            let mut h = (index ^ (u64::from(id.0) << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            h = (h ^ (h >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let unit = (h >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            *x = centre + unit * scale;
        }
    }
}

pub fn model(shape: &Shape) -> (Graph<Typed>, MadeUp) {
    let facts = ModelFacts {
        task: if shape.causal { Task::CausalLm } else { Task::SequenceClassification },
        hidden_size: shape.hidden,
        vocab_size: shape.vocab,
        max_positions: 300,
        domains: (0..shape.modules).map(|m| format!("domain{m}")).collect(),
        labels: Vec::new(),
    };
    let mut maker = Maker {
        builder: Builder::new(facts),
        d: shape.hidden,
    };
    let graph = maker.whole(shape);
    let graph = crate::typing::infer(graph).expect("the fixture is well-typed");
    let scales = graph.tensors().map(|(_, t)| {
        let width: usize = t.shape[1..].iter().product();
        let norm = t.path.ends_with("norm.weight");
        let scale = if t.shape.len() == 2 { (3.0 / width as f32).sqrt() } else { 0.1 };
        // Routers that do decide; embeddings of size 1.
        let scale = match &t.path {
            p if p.ends_with("router.weight") => scale * 2.0,
            p if p.contains("embed") || p.ends_with("centroids") => 1.0,
            _ => scale,
        };
        (if norm { 1.0 } else { 0.0 }, scale, width)
    });
    let source = MadeUp { scales: scales.collect() };
    (graph, source)
}

struct Maker {
    builder: Builder,
    d: usize,
}

impl Maker {
    fn whole(mut self: &mut Self, shape: &Shape) -> Graph<crate::graph::Untyped> {
        let d = self.d;
        let tokens = self.builder.add(Op::Tokens, &[], "tokens");
        let token = self.builder.tensor("embed.weight", &[shape.vocab, d]);
        let embed = Op::Embed { token, position: None, token_type: None };
        let mut h = self.builder.add(embed, &[tokens], "embed");
        for layer in 0..shape.layers {
            self.builder.at(Site::Layer(layer));
            h = self.layer(h, layer, shape);
        }
        self.builder.at(Site::Final);
        let x = self.norm(h, "final_norm");
        self.builder.at(Site::Head);
        let x = self.builder.add(Op::SelectOutputs { first: !shape.causal }, &[x], "select");
        let head = Op::Linear { parts: vec![LinearPart { weight: token, bias: None }] };
        let logits = self.builder.add(head, &[x], "head");
        let maker = std::mem::replace(&mut self.builder, Builder::new(ModelFacts {
            task: Task::CausalLm,
            hidden_size: 0,
            vocab_size: 0,
            max_positions: 0,
            domains: Vec::new(),
            labels: Vec::new(),
        }));
        maker.finish(logits)
    }

    fn norm(&mut self, x: NodeId, path: &str) -> NodeId {
        let weight = self.builder.tensor(&format!("{path}.weight"), &[self.d]);
        let op = Op::Norm { kind: NormKind::Rms, weight, bias: None, eps: 1e-5 };
        self.builder.add(op, &[x], path)
    }

    fn linear(&mut self, x: NodeId, path: &str, outs: &[usize], inputs: usize) -> NodeId {
        let parts = outs.iter().enumerate().map(|(i, out)| LinearPart {
            weight: self.builder.tensor(&format!("{path}.{i}.weight"), &[*out, inputs]),
            bias: (i == 1).then(|| self.builder.tensor(&format!("{path}.{i}.bias"), &[*out])),
        });
        let parts = parts.collect();
        self.builder.add(Op::Linear { parts }, &[x], path)
    }

    fn mlp(&mut self, x: NodeId, path: &str, f: usize) -> NodeId {
        let wide = self.linear(x, &format!("{path}.gate_up"), &[f, f], self.d);
        let act = Op::Activate { act: Activation::Silu, gated: true };
        let inner = self.builder.add(act, &[wide], format!("{path}.act"));
        self.linear(inner, &format!("{path}.down"), &[self.d], f)
    }

    fn layer(&mut self, h: NodeId, layer: u32, shape: &Shape) -> NodeId {
        let (d, path) = (self.d, format!("layers.{layer}"));
        let head_dim = (d / 4) as u32;
        let x = self.norm(h, &format!("{path}.input_norm"));
        let width = d / 4;
        let qkv = self.linear(x, &format!("{path}.qkv"), &[d, 2 * width, 2 * width], d);
        let attention = Op::Attention {
            heads: 4,
            kv_heads: 2,
            head_dim,
            causal: shape.causal,
            rope: Some(Rope { theta: 10_000.0, scaling: RopeScaling::None }),
            qk_norm: None,
        };
        let attended = self.builder.add(attention, &[qkv], format!("{path}.attention"));
        let out = self.linear(attended, &format!("{path}.o"), &[d], d);
        let h = self.builder.add(Op::Add, &[h, out], format!("{path}.add"));
        let x = self.norm(h, &format!("{path}.post_norm"));
        let y = self.routed(x, &path, shape);
        self.builder.add(Op::Add, &[h, y], format!("{path}.out"))
    }

    fn routed(&mut self, x: NodeId, path: &str, shape: &Shape) -> NodeId {
        let d = self.d;
        let router = Op::Router {
            weight: self.builder.tensor(&format!("{path}.router.weight"), &[shape.modules as usize, d]),
            bias: None,
            score: Score::Softmax,
            top_k: shape.top_k,
            threshold: shape.threshold,
            renormalize: false,
        };
        let routing = self.builder.add(router, &[x], format!("{path}.router"));
        let centroids = self.builder.tensor(&format!("{path}.router.centroids"), &[16, d]);
        let clusters = self.builder.add(Op::Clusters { centroids }, &[x], format!("{path}.clusters"));
        let qkv = self.linear(x, &format!("{path}.scar.qkv"), &[3 * d], d);
        let scar = Op::ScarAttention { heads: 2, mask: ScarMask::ClusterOrDomain, causal: shape.causal };
        let s = self.builder.add(scar, &[qkv, routing, clusters], format!("{path}.scar"));
        let s = self.linear(s, &format!("{path}.scar.out"), &[d], d);
        let x = self.builder.add(Op::Add, &[x, s], format!("{path}.scar.add"));
        if shape.fallback {
            self.builder.guarded(Guard::Fallback { routing });
        }
        let general = self.mlp(x, &format!("{path}.general"), 2 * d);
        let mut inputs = vec![routing, general];
        for module in 0..shape.modules {
            self.builder.guarded(Guard::Module { routing, module });
            inputs.push(self.mlp(x, &format!("{path}.modules.{module}"), d));
        }
        self.builder.guarded(Guard::Always);
        self.builder.add(Op::Combine { base: true }, &inputs, format!("{path}.combine"))
    }
}
