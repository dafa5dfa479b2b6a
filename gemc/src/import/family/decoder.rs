//! What decoders of all families share: embedding and head, layers of two blocks behind norms, tensors that are left out.

use super::super::error::Findings;
use super::super::source::Source;
use super::blocks::{Attention, Blocks, Map};
use super::encoder;
use super::keys::Common;
use super::sentence::{self, Sentence};
use crate::graph::{Conventions, Graph, ModelFacts, NodeId, Pooling, Site, Task, Untyped, View};

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
    /// Name of the norm behind the last layer.
    pub norm: &'static str,
}

impl Frame {
    /// Nothing special.
    pub const PLAIN: Self = Self {
        embedding: 1.0,
        logits: 1.0,
        softcap: None,
        norms: 0.0,
        norm: "norm",
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
    let sentence = match common.task {
        Task::Embedding => Some(sentence::read(source, common.hidden, findings)?),
        _ => None,
    };
    let prefix = prefix(common, source);
    drop_known(source, &prefix, common);
    let facts = facts(common, experts, sentence.as_ref());
    let head = match common.task {
        Task::CausalLm => head(common, source, findings),
        _ => {
            let shape = [common.vocab, common.hidden];
            let path = format!("{prefix}embed_tokens.weight");
            let embedding = source.expect(&path, &shape, findings);
            Head {
                embedding,
                weight: None,
            }
        }
    };
    let mut blocks = Blocks::new(source, findings, facts);
    let mut x = blocks.embed("model.embed_tokens", head.embedding, frame.embedding);
    for l in 0..common.layers {
        blocks.at(Site::Layer(l as u32));
        x = layer(&mut blocks, l, &format!("{prefix}layers.{l}"), x);
        if blocks.gives_up() {
            return None;
        }
    }
    blocks.at(Site::Final);
    let norm = format!("{prefix}{}", frame.norm);
    let weight = norm_weight(&mut blocks, &norm, common.hidden, frame.norms);
    // A product is scaled with its input.
    let weight = match (common.task, frame.logits) {
        (Task::CausalLm, factor) if factor != 1.0 => weight.times(factor),
        _ => weight,
    };
    let origin = format!("model.{}", frame.norm);
    let x = blocks.rms_norm(&origin, weight, common.eps, x);
    let graph = match (&sentence, head.weight) {
        (Some(sentence), _) => encoder::embedding(blocks, sentence, x),
        (None, Some(weight)) => blocks.finish(weight, frame.softcap, x),
        (None, None) => {
            let x = blocks.pool(&[Pooling::Last], x);
            let score = blocks.map("score", [common.labels.len(), common.hidden], false);
            let logits = blocks.linear("score", [score], x);
            blocks.close(logits)
        }
    };
    findings.is_empty().then_some(graph)
}

/// Positions of a text at most that is encoded or classified whole: each row of it takes memory.
const LONGEST_TEXT: usize = 8192;

fn facts(c: &Common, experts: Vec<String>, sentence: Option<&Sentence>) -> ModelFacts {
    let longest = sentence.and_then(|s| s.longest).unwrap_or(LONGEST_TEXT);
    ModelFacts {
        task: c.task,
        hidden_size: c.hidden,
        vocab_size: c.vocab,
        max_positions: match c.task {
            Task::CausalLm => c.positions,
            _ => c.positions.min(longest).min(LONGEST_TEXT),
        },
        domains: experts,
        labels: c.labels.clone(),
        embedding: sentence.map_or(0, |s| s.width(c.hidden)),
        conventions: Conventions {
            pools_prompt: sentence.is_none_or(|s| s.pools_prompt),
            score: c.score,
            token_types: 1,
        },
    }
}

/// What stands before the paths of tensors: encoders are also saved without what stands around them.
pub fn prefix(c: &Common, source: &Source<'_>) -> String {
    match c.task {
        Task::CausalLm => "model.".to_owned(),
        _ => encoder::prefix(source, &["model.", ""], "embed_tokens.weight"),
    }
}

/// The weight of a norm, plus what its family adds.
pub fn norm_weight(b: &mut Blocks<'_, '_>, path: &str, d: usize, added: f32) -> View {
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

/// A layer's window, which to both sides takes one more along.
pub fn window(c: &Common, window: Option<usize>) -> Option<usize> {
    window.map(|n| n + usize::from(c.both_ways))
}

/// Heads of the sizes of a config, and nothing else.
pub fn heads(c: &Common) -> Attention {
    Attention {
        kv_heads: c.kv_heads,
        causal: !c.both_ways,
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
    /// Of a word head.
    weight: Option<View>,
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
            weight: Some(source.expect(HEAD, &shape, findings)),
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
        weight: Some(view),
    }
}

/// Tensors that other tools leave in files and that no decoder reads.
fn drop_known(source: &mut Source<'_>, prefix: &str, c: &Common) {
    for name in source.names() {
        if name.ends_with("rotary_emb.inv_freq") {
            source.drop(name, "frequencies are computed from the config");
        } else if c.task != Task::CausalLm && name.starts_with("lm_head.") {
            source.drop(name, "this task does not use it");
        } else if beyond(name, prefix, c.layers) {
            source.drop(name, "a layer behind the last: it predicts further tokens");
        }
    }
}

/// Whether a path is of a layer for multi-token prediction, which stand behind the last.
fn beyond(name: &str, prefix: &str, layers: usize) -> bool {
    if name.starts_with("mtp.") {
        return true;
    }
    let number = name
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix("layers."))
        .and_then(|rest| rest.split('.').next());
    number
        .and_then(|n| n.parse::<usize>().ok())
        .is_some_and(|n| n >= layers)
}
