//! `bert`, `roberta`, `xlm-roberta`, `distilbert`: encoders with layer norms behind each block and learned positions.

use serde_json::json;

use super::super::config::labels;
use super::super::error::Findings;
use super::super::keys::Keys;
use super::super::source::Source;
use super::super::{ImportedModel, config::SpecialTokens};
use super::blocks::{Attention, Blocks};
use super::sentence::{self, Sentence};
use super::{encoder, keys};
use crate::graph::{Activation, LabelScore, NodeId, Site, Task};

/// What the families differ in.
struct Family {
    model_type: &'static str,
    /// In front of the encoder's paths, where a head stands beside it.
    prefix: &'static str,
    layers: &'static str,
    keys: KeyNames,
    /// Paths below a layer: q, k, v, o, the norm behind, the MLP's two maps, the norm behind.
    layer: [&'static str; 8],
    /// Whether tokens have types.
    types: bool,
    /// Whether positions begin behind the id of padding.
    padded: bool,
    /// Paths and activation of a classifier's first map; it may stand in the encoder.
    head: Head,
    vocab_size: usize,
}

/// Names of config keys.
struct KeyNames {
    hidden: &'static str,
    layers: &'static str,
    heads: &'static str,
    intermediate: &'static str,
    act: &'static str,
}

struct Head {
    dense: &'static str,
    act: Activation,
    out: &'static str,
}

const BERT: Family = Family {
    model_type: "bert",
    prefix: "bert.",
    layers: "encoder.layer",
    keys: KeyNames {
        hidden: "hidden_size",
        layers: "num_hidden_layers",
        heads: "num_attention_heads",
        intermediate: "intermediate_size",
        act: "hidden_act",
    },
    layer: [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    ],
    types: true,
    padded: false,
    head: Head {
        dense: "bert.pooler.dense",
        act: Activation::Tanh,
        out: "classifier",
    },
    vocab_size: 30522,
};

const ROBERTA: Family = Family {
    model_type: "roberta",
    prefix: "roberta.",
    padded: true,
    head: Head {
        dense: "classifier.dense",
        act: Activation::Tanh,
        out: "classifier.out_proj",
    },
    vocab_size: 50265,
    ..BERT
};

const XLM_ROBERTA: Family = Family {
    model_type: "xlm-roberta",
    vocab_size: 30522,
    ..ROBERTA
};

const DISTILBERT: Family = Family {
    model_type: "distilbert",
    prefix: "distilbert.",
    layers: "transformer.layer",
    keys: KeyNames {
        hidden: "dim",
        layers: "n_layers",
        heads: "n_heads",
        intermediate: "hidden_dim",
        act: "activation",
    },
    layer: [
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
        "sa_layer_norm",
        "ffn.lin1",
        "ffn.lin2",
        "output_layer_norm",
    ],
    types: false,
    head: Head {
        dense: "pre_classifier",
        act: Activation::Relu,
        out: "classifier",
    },
    ..BERT
};

/// A validated config.
struct Config {
    hidden: usize,
    layers: usize,
    heads: usize,
    intermediate: usize,
    vocab: usize,
    /// Rows of the table of positions.
    positions: usize,
    /// The first of them that is used.
    first: usize,
    types: usize,
    act: Activation,
    eps: f32,
    task: Task,
    labels: Vec<String>,
    score: LabelScore,
}

/// Reads a `bert`.
pub fn bert(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    front(&BERT, source, findings)
}

/// Reads a `roberta`.
pub fn roberta(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    front(&ROBERTA, source, findings)
}

/// Reads an `xlm-roberta`.
pub fn xlm_roberta(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    front(&XLM_ROBERTA, source, findings)
}

/// Reads a `distilbert`.
pub fn distilbert(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    front(&DISTILBERT, source, findings)
}

fn front(
    family: &Family,
    source: &mut Source<'_>,
    findings: &mut Findings,
) -> Option<ImportedModel> {
    let (config, account) = keys::read(source, findings, |keys| read(family, keys));
    let config = config?;
    let sentence = match config.task {
        Task::Embedding => Some(sentence::read(source, config.hidden, findings)?),
        _ => None,
    };
    let prefix = encoder::prefix(
        source,
        &[family.prefix, ""],
        "embeddings.word_embeddings.weight",
    );
    encoder::drop_unused(source, &prefix, &family.unused(&prefix, config.task));
    let facts = encoder::Facts {
        task: config.task,
        hidden: config.hidden,
        vocab: config.vocab,
        positions: config.positions - config.first,
        sentence: sentence.as_ref(),
        labels: config.labels.clone(),
        score: config.score,
        types: config.types,
    };
    let mut b = Blocks::new(source, findings, facts.model());
    let x = build(family, &config, &prefix, &mut b)?;
    let graph = end(family, &config, sentence.as_ref(), b, x);
    findings.is_empty().then_some(ImportedModel {
        graph,
        keys: account,
        special: SpecialTokens::default(),
    })
}

impl Family {
    /// Beginnings of the paths of tensors that a task leaves out.
    fn unused(&self, prefix: &str, task: Task) -> Vec<String> {
        let mut unused = vec![
            format!("{prefix}embeddings.position_ids"),
            format!("{prefix}embeddings.token_type_ids"),
        ];
        let pooler = format!("{prefix}pooler.");
        let pools = task == Task::SequenceClassification && self.head.dense.contains("pooler");
        if !pools {
            unused.push(pooler);
        }
        if task == Task::Embedding {
            // Heads that predict masked tokens.
            unused.extend(["cls.", "lm_head.", "vocab_"].map(str::to_owned));
        }
        unused
    }
}

fn read(family: &Family, keys: &mut Keys<'_>) -> Option<Config> {
    const WHY: &str = "positions of this kind are not built";
    keys::fixed(keys, family.model_type);
    keys.only(
        "is_decoder",
        &[json!(false)],
        "decoders of this family are not built",
    );
    keys.only("position_embedding_type", &[json!("absolute")], WHY);
    keys.ignore(
        "sinusoidal_pos_embds",
        "positions are a table, whoever filled it",
    );
    for key in ["tie_word_embeddings", "tie_weights_"] {
        keys.ignore(key, "there is no word head");
    }
    let names = &family.keys;
    let hidden = keys.count(names.hidden, 1..=1 << 16, Some(768));
    let distil = names.layers == "n_layers";
    let layers = keys.count(names.layers, 1..=1024, Some(if distil { 6 } else { 12 }));
    let heads = keys.count(names.heads, 1..=4096, Some(12));
    let intermediate = keys.count(names.intermediate, 1..=1 << 20, Some(3072));
    let vocab = keys.count("vocab_size", 1..=1 << 22, Some(family.vocab_size));
    let positions = keys.count("max_position_embeddings", 1..=1 << 24, Some(512));
    let types = match family.types {
        true => keys.count("type_vocab_size", 1..=1 << 16, Some(2)),
        false => Some(0),
    };
    let first = match family.padded {
        true => keys
            .count("pad_token_id", 0..=1 << 22, Some(1))
            .map(|pad| pad + 1),
        false => Some(0),
    };
    let act = keys.choice(names.act, keys::ACTS, Some(Activation::Gelu));
    let eps = match family.types {
        true => keys.number(
            "layer_norm_eps",
            |e| (0.0..=1.0).contains(&e),
            "a number in 0..=1",
            Some(1e-12),
        ),
        false => Some(1e-12),
    };
    let task = encoder::task(keys);
    let labels = labels(keys, task, Some(2));
    let score = keys::label_score(keys, task, labels.as_ref().map_or(0, Vec::len));
    let (hidden, heads) = (hidden?, heads?);
    if !hidden.is_multiple_of(heads) {
        let allowed = format!("a divisor of `{}` = {hidden}", names.hidden);
        keys.refuse(names.heads, format!("found {heads}"), allowed);
        return None;
    }
    let (positions, first) = (positions?, first?);
    if positions <= first {
        let allowed = format!("more than {first}: positions begin behind `pad_token_id`");
        keys.refuse(
            "max_position_embeddings",
            format!("found {positions}"),
            allowed,
        );
        return None;
    }
    Some(Config {
        hidden,
        layers: layers?,
        heads,
        intermediate: intermediate?,
        vocab: vocab?,
        positions,
        first,
        types: types?,
        act: act?,
        eps: eps? as f32,
        task: task?,
        labels: labels?,
        score: score?,
    })
}

/// Embedding and layers.
fn build(family: &Family, c: &Config, prefix: &str, b: &mut Blocks<'_, '_>) -> Option<NodeId> {
    let d = c.hidden;
    let embeddings = format!("{prefix}embeddings");
    let path = |name: &str| format!("{embeddings}.{name}.weight");
    let token = b.stored(&path("word_embeddings"), &[c.vocab, d]);
    let position = b.stored(&path("position_embeddings"), &[c.positions, d]);
    let position = match c.first {
        0 => position,
        first => position.range(first..c.positions),
    };
    let position = b.cut(position);
    let types = family
        .types
        .then(|| b.stored(&path("token_type_embeddings"), &[c.types, d]));
    let x = b.embed_with("embeddings", token, Some(position), types, 1.0);
    let mut x = b.layer_norm(&format!("{embeddings}.LayerNorm"), d, c.eps, true, x);
    for l in 0..c.layers {
        b.at(Site::Layer(l as u32));
        x = layer(family, c, b, &format!("{prefix}{}.{l}", family.layers), x);
        if b.gives_up() {
            return None;
        }
    }
    Some(x)
}

fn layer(family: &Family, c: &Config, b: &mut Blocks<'_, '_>, p: &str, x: NodeId) -> NodeId {
    let (d, f) = (c.hidden, c.intermediate);
    let path = |i: usize| format!("{p}.{}", family.layer[i]);
    let qkv = [0, 1, 2].map(|i| b.map(&path(i), [d, d], true));
    let out = b.map(&path(3), [d, d], true);
    let spec = Attention::plain(c.heads, d / c.heads);
    let mixed = b.attention(&format!("{p}.attention"), spec, qkv, out, x);
    let sum = b.add(&format!("{p}.attention_residual"), x, mixed);
    let x = b.layer_norm(&path(4), d, c.eps, true, sum);
    let up = b.map(&path(5), [f, d], true);
    let down = b.map(&path(6), [d, f], true);
    let y = b.mlp(&format!("{p}.mlp"), c.act, [up, down], x);
    let sum = b.add(&format!("{p}.residual"), x, y);
    b.layer_norm(&path(7), d, c.eps, true, sum)
}

/// What follows the last layer.
fn end(
    family: &Family,
    c: &Config,
    sentence: Option<&Sentence>,
    mut b: Blocks<'_, '_>,
    x: NodeId,
) -> crate::graph::Graph<crate::graph::Untyped> {
    if let Some(sentence) = sentence {
        return encoder::embedding(b, sentence, x);
    }
    let d = c.hidden;
    if c.task == Task::TokenClassification {
        let x = b.every_row(x);
        let out = b.map("classifier", [c.labels.len(), d], true);
        let logits = b.linear("classifier", [out], x);
        return b.close(logits);
    }
    let pooled = b.pool(&[crate::graph::Pooling::First], x);
    let dense = b.map(family.head.dense, [d, d], true);
    let x = b.linear(family.head.dense, [dense], pooled);
    let x = b.activate(&format!("{}.act", family.head.dense), family.head.act, x);
    let out = b.map(family.head.out, [c.labels.len(), d], true);
    let logits = b.linear(family.head.out, [out], x);
    b.close(logits)
}
