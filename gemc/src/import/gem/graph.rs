//! `GemConfig` -> the model graph, following the section "Semantics" of `docs/checkpoint.md` line by line.
//!
//! Which optional tensors exist is asked of the tensor table, so that table and graph cannot disagree.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::super::config::{GemConfig, GeneralPath, Modules, NormPosition, Positions};
use super::tensors;
use crate::graph::{
    Builder, Conventions, Gates, Graph, Guard, LinearPart, ModelFacts, NodeId, NormKind, Op,
    Pooling, QkNorm, QkNormOver, Site, Task, TensorId, Untyped, attention_scale,
};

/// Builds the graph of a config. It holds as many nodes and tensors as the config asks for: check the file first.
#[must_use]
pub fn build(c: &GemConfig) -> Graph<Untyped> {
    let mut table = HashMap::new();
    let _ = tensors::for_each(c, &mut |path, shape| {
        table.insert(path.to_owned(), shape.to_vec());
        ControlFlow::Continue(())
    });
    let facts = ModelFacts {
        task: c.task,
        hidden_size: c.hidden_size,
        vocab_size: c.vocab_size,
        max_positions: c.max_position_embeddings,
        domains: c.domains.clone(),
        labels: c.labels.clone(),
        embedding: 0,
        conventions: Conventions::PLAIN,
    };
    let front = Front {
        c,
        table,
        b: Builder::new(facts),
    };
    front.model()
}

/// A graph in the making.
struct Front<'c> {
    c: &'c GemConfig,
    table: HashMap<String, Vec<usize>>,
    b: Builder,
}

impl Front<'_> {
    fn model(mut self) -> Graph<Untyped> {
        let mut h = self.embed();
        for l in 0..self.c.num_hidden_layers {
            self.b.at(Site::Layer(l as u32));
            h = self.layer(l, h);
        }
        self.b.at(Site::Final);
        if self.pre() {
            h = self.norm("model.final_norm", h);
        }
        if self.c.final_routed() {
            h = self.final_block(h);
        }
        self.b.at(Site::Head);
        let logits = self.head(h);
        self.b.finish(logits)
    }

    fn pre(&self) -> bool {
        self.c.norm_position == NormPosition::Pre
    }

    /// A tensor when the table has it.
    fn optional(&mut self, path: &str) -> Option<TensorId> {
        let shape = self.table.get(path)?;
        Some(self.b.tensor(path, shape))
    }

    /// A tensor that the table has whenever this is called; its absence would be a bug of the two modules here.
    fn tensor(&mut self, path: &str) -> TensorId {
        self.optional(path)
            .expect("the table lists every tensor that the graph reads unconditionally")
    }

    fn part(&mut self, path: &str) -> LinearPart {
        LinearPart {
            weight: self.tensor(&format!("{path}.weight")),
            bias: self.optional(&format!("{path}.bias")),
        }
    }

    /// One linear node of the named maps, called `origin`.
    fn linear(&mut self, origin: String, maps: &[String], input: NodeId) -> NodeId {
        let parts = maps.iter().map(|path| self.part(path)).collect();
        self.b.add(Op::Linear { parts }, &[input], origin)
    }

    /// A linear node of one map, called like it.
    fn single(&mut self, path: String, input: NodeId) -> NodeId {
        let maps = [path.clone()];
        self.linear(path, &maps, input)
    }

    fn norm(&mut self, path: &str, input: NodeId) -> NodeId {
        let weight = self.tensor(&format!("{path}.weight"));
        let bias = match self.c.norm {
            NormKind::Rms => None,
            NormKind::Layer => Some(self.tensor(&format!("{path}.bias"))),
        };
        let op = Op::Norm {
            kind: self.c.norm,
            weight,
            bias,
            eps: self.c.norm_eps,
        };
        self.b.add(op, &[input], path)
    }

    fn add(&mut self, a: NodeId, b: NodeId, origin: String) -> NodeId {
        self.b.add(Op::Add, &[a, b], origin)
    }

    /// h = E\[tok\] (+ P\[0..T-1\]) (+ TypeEmb\[0\]); then embed_norm if post.
    fn embed(&mut self) -> NodeId {
        let tokens = self.b.add(Op::Tokens, &[], "tokens");
        let op = Op::Embed {
            token: self.tensor("model.embed_tokens.weight"),
            position: self.optional("model.position_embeddings.weight"),
            token_type: self.optional("model.token_type_embeddings.weight"),
            scale: 1.0,
        };
        let h = self.b.add(op, &[tokens], "model.embed_tokens");
        if self.pre() {
            h
        } else {
            self.norm("model.embed_norm", h)
        }
    }

    fn layer(&mut self, l: usize, h: NodeId) -> NodeId {
        let p = format!("model.layers.{l}");
        if self.pre() {
            let n = self.norm(&format!("{p}.input_norm"), h);
            let a = self.attention(&p, n);
            let h = self.add(h, a, format!("{p}.attention_residual"));
            let x = self.norm(&format!("{p}.post_attention_norm"), h);
            let y = self.ffn(l, &p, x);
            self.add(h, y, format!("{p}.residual"))
        } else {
            let a = self.attention(&p, h);
            let sum = self.add(h, a, format!("{p}.attention_residual"));
            let x = self.norm(&format!("{p}.post_attention_norm"), sum);
            let y = self.ffn(l, &p, x);
            let sum = self.add(x, y, format!("{p}.residual"));
            self.norm(&format!("{p}.output_norm"), sum)
        }
    }

    fn attention(&mut self, p: &str, x: NodeId) -> NodeId {
        let p = format!("{p}.self_attn");
        let maps = ["q_proj", "k_proj", "v_proj"].map(|m| format!("{p}.{m}"));
        let qkv = self.linear(format!("{p}.qkv"), &maps, x);
        let q_norm = self.optional(&format!("{p}.q_norm.weight"));
        let k_norm = self.optional(&format!("{p}.k_norm.weight"));
        let op = Op::Attention {
            heads: self.c.num_attention_heads as u32,
            kv_heads: self.c.num_key_value_heads as u32,
            head_dim: self.c.head_dim as u32,
            causal: self.c.causal(),
            scale: attention_scale(self.c.head_dim),
            window: None,
            softcap: None,
            rope: match &self.c.positions {
                Positions::Rope(rule) => Some(rule.rope(self.c.head_dim)),
                Positions::Learned | Positions::None => None,
            },
            qk_norm: q_norm.zip(k_norm).map(|(q, k)| QkNorm {
                q,
                k,
                eps: self.c.norm_eps,
                over: QkNormOver::HeadBeforeRope,
            }),
            sinks: None,
        };
        let mixed = self.b.add(op, &[qkv], p.clone());
        self.single(format!("{p}.o_proj"), mixed)
    }

    /// general(x) of a layer that is not routed, the routed block otherwise.
    fn ffn(&mut self, l: usize, p: &str, x: NodeId) -> NodeId {
        if !self.c.is_routed(l) {
            return self.mlp(&format!("{p}.general"), x);
        }
        let (routing, x) = self.route(p, self.c.has_scar(l), x);
        let general = format!("{p}.general");
        let base = match self.c.general_path {
            GeneralPath::Always => Some(self.mlp(&general, x)),
            GeneralPath::Fallback => {
                self.b.guarded(Guard::Fallback { routing });
                let base = self.mlp(&general, x);
                self.b.guarded(Guard::Always);
                Some(base)
            }
            GeneralPath::None => None,
        };
        self.combine(p, routing, base, x)
    }

    /// y = x' + sum g_m module_m(x'), once, on x_f.
    fn final_block(&mut self, x: NodeId) -> NodeId {
        let (routing, x) = self.route("model", self.c.final_scar(), x);
        self.combine("model", routing, Some(x), x)
    }

    /// Router, clusters and SCAR on x; gives the routing and x'.
    fn route(&mut self, p: &str, scar: bool, x: NodeId) -> (NodeId, NodeId) {
        let router = &self.c.router;
        let op = Op::Router {
            weight: self.tensor(&format!("{p}.router.weight")),
            bias: self.optional(&format!("{p}.router.bias")),
            score: router.score,
            top_k: router.top_k,
            threshold: router.threshold,
            select_bias: None,
            gates: Gates::plain(router.renormalize),
            base_gate: None,
        };
        let routing = self.b.add(op, &[x], format!("{p}.router"));
        match &self.c.scar {
            Some(config) if scar => {
                let s = self.scar(p, config.heads, config.mask, routing, x);
                let x = match config.residual {
                    true => self.add(x, s, format!("{p}.scar.residual")),
                    false => s,
                };
                (routing, x)
            }
            _ => (routing, x),
        }
    }

    fn scar(
        &mut self,
        p: &str,
        heads: u32,
        mask: crate::graph::ScarMask,
        routing: NodeId,
        x: NodeId,
    ) -> NodeId {
        let centroids = self.optional(&format!("{p}.router.centroids"));
        let clusters = centroids.map(|centroids| {
            let op = Op::Clusters { centroids };
            self.b.add(op, &[x], format!("{p}.router.centroids"))
        });
        let qkv = self.single(format!("{p}.scar.qkv"), x);
        let inputs: Vec<NodeId> = [qkv, routing].into_iter().chain(clusters).collect();
        let op = Op::ScarAttention {
            heads,
            mask,
            causal: self.c.causal(),
        };
        let mixed = self.b.add(op, &inputs, format!("{p}.scar"));
        self.single(format!("{p}.scar.out"), mixed)
    }

    /// base + sum of the fired modules. Without modules, a base that covers every row is the sum itself.
    fn combine(&mut self, p: &str, routing: NodeId, base: Option<NodeId>, x: NodeId) -> NodeId {
        let modules = self.modules(p, routing, x);
        let everywhere = base.filter(|&b| self.b.guard_of(b) == Guard::Always);
        if let (Some(base), true) = (everywhere, modules.is_empty()) {
            return base;
        }
        let inputs: Vec<NodeId> = [routing].into_iter().chain(base).chain(modules).collect();
        let op = Op::Combine {
            base: base.is_some(),
        };
        self.b.add(op, &inputs, format!("{p}.combine"))
    }

    fn modules(&mut self, p: &str, routing: NodeId, x: NodeId) -> Vec<NodeId> {
        if self.c.modules == Modules::Off {
            return Vec::new();
        }
        let outputs = (0..self.c.domains.len())
            .map(|m| {
                let module = m as u32;
                self.b.guarded(Guard::Module { routing, module });
                self.module(&format!("{p}.modules.{m}"), x)
            })
            .collect();
        self.b.guarded(Guard::Always);
        outputs
    }

    fn module(&mut self, p: &str, x: NodeId) -> NodeId {
        if !matches!(self.c.modules, Modules::Lora { .. }) {
            return self.mlp(p, x);
        }
        let low = self.single(format!("{p}.a"), x);
        self.single(format!("{p}.b"), low)
    }

    /// down(act(gate x) * up x), or down(act(up x)).
    fn mlp(&mut self, p: &str, x: NodeId) -> NodeId {
        let gated = self.c.mlp_gated;
        let wide = if gated {
            let maps = ["gate_proj", "up_proj"].map(|m| format!("{p}.{m}"));
            self.linear(format!("{p}.gate_up"), &maps, x)
        } else {
            self.single(format!("{p}.up_proj"), x)
        };
        let act = self.c.hidden_act;
        let op = Op::Activate { act, gated };
        let wide = self.b.add(op, &[wide], format!("{p}.act"));
        self.single(format!("{p}.down_proj"), wide)
    }

    fn head(&mut self, h: NodeId) -> NodeId {
        let first = self.c.task == Task::SequenceClassification;
        let pooling = first.then_some(Pooling::First).into_iter().collect();
        let op = Op::SelectOutputs { pooling };
        let rows = self.b.add(op, &[h], "outputs");
        if first {
            return self.single("classifier".to_owned(), rows);
        }
        let weight = match self.optional("lm_head.weight") {
            Some(weight) => weight,
            None => self.tensor("model.embed_tokens.weight"),
        };
        let parts = vec![LinearPart { weight, bias: None }];
        self.b.add(Op::Linear { parts }, &[rows], "lm_head")
    }
}
