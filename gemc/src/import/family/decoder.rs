//! What decoders of all families share: embedding and head, layers of two blocks behind norms, tensors that are left out.

use super::super::error::Findings;
use super::super::source::Source;
use super::blocks::{Attention, Blocks, Map};
use super::keys::Common;
use crate::graph::{Graph, ModelFacts, NodeId, Site, Task, Untyped, View};

/// What stands around the layers of a decoder.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// What token rows are multiplied by.
    pub embedding: f32,
    /// What logits are multiplied by.
    pub logits: f32,
    /// Largest magnitude of logits.
    pub softcap: Option<f32>,
    /// What is added to the weights of norms.
    pub norms: f32,
    /// Path of the norm behind the last layer.
    pub norm: &'static str,
}

impl Frame {
    /// Nothing special.
    pub const PLAIN: Self = Self {
        embedding: 1.0,
        logits: 1.0,
        softcap: None,
        norms: 0.0,
        norm: "model.norm",
    };
}

/// Builds a decoder; `layer` is given its number, the prefix of its tensors and its input. `experts` are the names of the modules of
/// routed layers.
pub fn build(
    common: &Common,
    frame: Frame,
    experts: Vec<String>,
    source: &mut Source<'_>,
    findings: &mut Findings,
    mut layer: impl FnMut(&mut Blocks<'_, '_>, usize, &str, NodeId) -> NodeId,
) -> Option<Graph<Untyped>> {
    drop_known(source, common.layers);
    let facts = ModelFacts {
        task: Task::CausalLm,
        hidden_size: common.hidden,
        vocab_size: common.vocab,
        max_positions: common.positions,
        domains: experts,
        labels: Vec::new(),
        embedding: 0,
    };
    let head = head(common, source, findings);
    let mut blocks = Blocks::new(source, findings, facts);
    let mut x = blocks.embed("model.embed_tokens", head.embedding, frame.embedding);
    for l in 0..common.layers {
        blocks.at(Site::Layer(l as u32));
        x = layer(&mut blocks, l, &format!("model.layers.{l}"), x);
        if blocks.gives_up() {
            return None;
        }
    }
    blocks.at(Site::Final);
    let weight = norm_weight(&mut blocks, frame.norm, common.hidden, frame.norms);
    // A product is scaled with its input.
    let weight = match frame.logits {
        1.0 => weight,
        factor => weight.times(factor),
    };
    let x = blocks.rms_norm(frame.norm, weight, common.eps, x);
    let graph = blocks.finish(head.weight, frame.softcap, x);
    findings.is_empty().then_some(graph)
}

/// The weight of a norm, plus what its family adds.
fn norm_weight(b: &mut Blocks<'_, '_>, path: &str, d: usize, added: f32) -> View {
    let weight = b.stored(&format!("{path}.weight"), &[d]);
    match added {
        0.0 => weight,
        number => weight.plus(number),
    }
}

/// RMS norm of rows, with its weight at `path`.
pub fn norm(b: &mut Blocks<'_, '_>, path: &str, c: &Common, added: f32, x: NodeId) -> NodeId {
    let weight = norm_weight(b, path, c.hidden, added);
    b.rms_norm(path, weight, c.eps, x)
}

/// `x + attention(norm x)`, then `x + ffn(norm x)`, with norms of the first Llama's names.
pub fn pre_norm(
    b: &mut Blocks<'_, '_>,
    c: &Common,
    p: &str,
    x: NodeId,
    attention: impl FnOnce(&mut Blocks<'_, '_>, &str, NodeId) -> NodeId,
    ffn: impl FnOnce(&mut Blocks<'_, '_>, &str, NodeId) -> NodeId,
) -> NodeId {
    let normed = norm(b, &format!("{p}.input_layernorm"), c, 0.0, x);
    let mixed = attention(b, &format!("{p}.self_attn"), normed);
    let x = b.add(&format!("{p}.attention_residual"), x, mixed);
    let normed = norm(b, &format!("{p}.post_attention_layernorm"), c, 0.0, x);
    let y = ffn(b, p, normed);
    b.add(&format!("{p}.residual"), x, y)
}

/// Heads of the sizes of a config, and nothing else.
pub fn heads(c: &Common) -> Attention {
    Attention {
        kv_heads: c.kv_heads,
        ..Attention::plain(c.heads, c.head_dim)
    }
}

/// The maps of attention below `p`, with biases of q, k and v, and of o.
pub fn attention_maps(
    b: &mut Blocks<'_, '_>,
    c: &Common,
    p: &str,
    [qkv_bias, o_bias]: [bool; 2],
) -> ([Map; 3], Map) {
    let rows = [c.heads, c.kv_heads, c.kv_heads].map(|heads| heads * c.head_dim);
    let names = ["q_proj", "k_proj", "v_proj"];
    let qkv = [0, 1, 2].map(|i| {
        let path = format!("{p}.{}", names[i]);
        b.map(&path, [rows[i], c.hidden], qkv_bias)
    });
    (
        qkv,
        b.map(&format!("{p}.o_proj"), [c.hidden, rows[0]], o_bias),
    )
}

/// The maps of a gated MLP of width `f` below `p`: gate, up, down.
pub fn mlp_maps(b: &mut Blocks<'_, '_>, c: &Common, p: &str, f: usize, bias: bool) -> [Map; 3] {
    let d = c.hidden;
    let maps = [
        ("gate_proj", [f, d]),
        ("up_proj", [f, d]),
        ("down_proj", [d, f]),
    ];
    maps.map(|(name, shape)| b.map(&format!("{p}.{name}"), shape, bias))
}

/// The two uses of the vocabulary.
struct Head {
    embedding: View,
    weight: View,
}

/// Tied checkpoints may hold one of the two, or both: equal ones are one, different ones are both kept, as in transformers 5.
fn head(common: &Common, source: &mut Source<'_>, findings: &mut Findings) -> Head {
    const EMBEDDING: &str = "model.embed_tokens.weight";
    const HEAD: &str = "lm_head.weight";
    let shape = [common.vocab, common.hidden];
    let has = [EMBEDDING, HEAD].map(|path| source.has(path));
    if !common.tied || (has == [true, true] && !source.same(EMBEDDING, HEAD)) {
        return Head {
            embedding: source.expect(EMBEDDING, &shape, findings),
            weight: source.expect(HEAD, &shape, findings),
        };
    }
    let one = if has == [false, true] {
        HEAD
    } else {
        EMBEDDING
    };
    let view = source.expect(one, &shape, findings);
    if has == [true, true] {
        source.drop(
            HEAD,
            "a copy of the embedding, which is the head (tie_word_embeddings)",
        );
    }
    Head {
        embedding: view.clone(),
        weight: view,
    }
}

/// Tensors that other tools leave in files and that no decoder reads.
fn drop_known(source: &mut Source<'_>, layers: usize) {
    for name in source.names() {
        if name.ends_with("rotary_emb.inv_freq") {
            source.drop(name, "frequencies are computed from the config");
        } else if beyond(name, layers) {
            source.drop(name, "a layer behind the last: it predicts further tokens");
        }
    }
}

/// Whether a path is of a layer for multi-token prediction, which stand behind the last.
fn beyond(name: &str, layers: usize) -> bool {
    if name.starts_with("mtp.") {
        return true;
    }
    let number = name
        .strip_prefix("model.layers.")
        .and_then(|rest| rest.split('.').next());
    number
        .and_then(|n| n.parse::<usize>().ok())
        .is_some_and(|n| n >= layers)
}
