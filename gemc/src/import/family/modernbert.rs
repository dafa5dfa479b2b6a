//! `modernbert`: an encoder with norms before each block, rotary positions of two bases, gated MLPs, and layers that see a window.

use super::super::ImportedModel;
use super::super::config::{SpecialTokens, labels};
use super::super::error::Findings;
use super::super::keys::Keys;
use super::super::source::Source;
use super::blocks::{Attention, Blocks};
use super::rope::{self, RopeDefaults};
use super::sentence;
use super::{encoder, keys, windows};
use crate::graph::{Activation, LabelScore, NodeId, Pooling, Rope, Site, Task};

/// A validated config.
struct Config {
    hidden: usize,
    layers: usize,
    heads: usize,
    intermediate: usize,
    vocab: usize,
    positions: usize,
    act: Activation,
    eps: f32,
    norm_bias: bool,
    attention_bias: bool,
    mlp_bias: bool,
    /// Of layers that see everything, and of those that slide.
    ropes: [Rope; 2],
    slides: Vec<bool>,
    window: usize,
    head: Head,
    task: Task,
    labels: Vec<String>,
    score: LabelScore,
}

/// Of a classifier.
struct Head {
    pooling: Pooling,
    bias: bool,
    act: Activation,
}

/// Reads a `modernbert`.
pub fn modernbert(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    let (config, account) = keys::read(source, findings, read);
    let config = config?;
    let sentence = match config.task {
        Task::Embedding => Some(sentence::read(source, config.hidden, findings)?),
        _ => None,
    };
    let prefix = encoder::prefix(source, &["model.", ""], "embeddings.tok_embeddings.weight");
    if config.task == Task::Embedding {
        let unused = ["head.", "decoder.", "classifier."].map(str::to_owned);
        encoder::drop_unused(source, &prefix, &unused);
    }
    let facts = encoder::Facts {
        task: config.task,
        hidden: config.hidden,
        vocab: config.vocab,
        positions: config.positions,
        sentence: sentence.as_ref(),
        labels: config.labels.clone(),
        score: config.score,
        types: 1,
    };
    let mut b = Blocks::new(source, findings, facts.model());
    let x = build(&config, &prefix, &mut b)?;
    let graph = match &sentence {
        Some(sentence) => encoder::embedding(b, sentence, x),
        None => {
            let logits = classify(&config, &mut b, x);
            b.close(logits)
        }
    };
    findings.is_empty().then_some(ImportedModel {
        graph,
        keys: account,
        special: SpecialTokens::default(),
    })
}

fn read(keys: &mut Keys<'_>) -> Option<Config> {
    keys::fixed(keys, "modernbert");
    for key in [
        "sparse_prediction",
        "sparse_pred_ignore_index",
        "decoder_bias",
        "tie_word_embeddings",
    ] {
        keys.ignore(key, "there is no word head");
    }
    for key in [
        "deterministic_flash_attn",
        "reference_compile",
        "repad_logits_with_grad",
    ] {
        keys.ignore(key, "a setting of a Python library");
    }
    keys.ignore("initializer_cutoff_factor", "only training uses it");
    let why = "positions are rotary in every model of this family";
    keys.ignore("position_embedding_type", why);
    let hidden = keys.count("hidden_size", 1..=1 << 16, Some(768));
    let layers = keys.count("num_hidden_layers", 1..=1024, Some(22));
    let heads = keys.count("num_attention_heads", 1..=4096, Some(12));
    let intermediate = keys.count("intermediate_size", 1..=1 << 20, Some(1152));
    let vocab = keys.count("vocab_size", 1..=1 << 22, Some(50368));
    let positions = keys.count("max_position_embeddings", 1..=1 << 24, Some(8192));
    let act = keys.choice("hidden_activation", keys::ACTS, Some(Activation::Gelu));
    let range = |e: f64| (0.0..=1.0).contains(&e);
    let eps = keys.number("norm_eps", range, "a number in 0..=1", Some(1e-5));
    let [norm_bias, attention_bias, mlp_bias, classifier_bias] =
        ["norm_bias", "attention_bias", "mlp_bias", "classifier_bias"]
            .map(|key| keys.flag(key, Some(false)));
    let local = keys.count("local_attention", 0..=1 << 24, Some(128));
    let every = keys.count("global_attn_every_n_layers", 1..=1 << 16, Some(3));
    let pooling = [("cls", Pooling::First), ("mean", Pooling::Mean)];
    let pooling = keys.choice("classifier_pooling", &pooling, Some(Pooling::First));
    let classifier_act = keys.choice("classifier_activation", keys::ACTS, Some(Activation::Gelu));
    let task = encoder::task(keys);
    let labels = labels(keys, task, Some(2));
    let score = keys::label_score(keys, task, labels.as_ref().map_or(0, Vec::len));
    let (hidden, heads, positions, layers) = (hidden?, heads?, positions?, layers?);
    if !hidden.is_multiple_of(heads) {
        let allowed = format!("a divisor of `hidden_size` = {hidden}");
        keys.refuse("num_attention_heads", format!("found {heads}"), allowed);
        return None;
    }
    let types = windows::layer_types(keys, layers);
    let defaults = |theta| RopeDefaults {
        theta,
        head_dim: hidden / heads,
        positions,
        partial: false,
        long: false,
        original: None,
    };
    let global = keys.number(
        "global_rope_theta",
        |v| v > 0.0,
        "a number above 0",
        Some(160_000.0),
    )?;
    let ropes = rope::read_by_type(
        keys,
        [defaults(global), defaults(10_000.0)],
        "local_rope_theta",
        true,
    );
    let every = every?;
    let slides = types?.unwrap_or_else(|| (0..layers).map(|l| l % every != 0).collect());
    let [full, sliding] = ropes?;
    Some(Config {
        hidden,
        layers,
        heads,
        intermediate: intermediate?,
        vocab: vocab?,
        positions,
        act: act?,
        eps: eps? as f32,
        norm_bias: norm_bias?,
        attention_bias: attention_bias?,
        mlp_bias: mlp_bias?,
        ropes: [full.rope(), sliding.rope()],
        slides,
        // |i - j| is at most half of it.
        window: local? / 2 + 1,
        head: Head {
            pooling: pooling?,
            bias: classifier_bias?,
            act: classifier_act?,
        },
        task: task?,
        labels: labels?,
        score: score?,
    })
}

/// Embedding, layers and the last norm.
fn build(c: &Config, prefix: &str, b: &mut Blocks<'_, '_>) -> Option<NodeId> {
    let d = c.hidden;
    let norm = |b: &mut Blocks<'_, '_>, path: &str, x| b.layer_norm(path, d, c.eps, c.norm_bias, x);
    let path = format!("{prefix}embeddings");
    let token = b.stored(&format!("{path}.tok_embeddings.weight"), &[c.vocab, d]);
    let x = b.embed("embeddings", token, 1.0);
    let mut x = norm(b, &format!("{path}.norm"), x);
    for l in 0..c.layers {
        b.at(Site::Layer(l as u32));
        let p = format!("{prefix}layers.{l}");
        // The embedding is normed already.
        let normed = match l {
            0 => x,
            _ => norm(b, &format!("{p}.attn_norm"), x),
        };
        let mixed = attention(c, b, (l, &p), normed);
        x = b.add(&format!("{p}.attention_residual"), x, mixed);
        let normed = norm(b, &format!("{p}.mlp_norm"), x);
        let f = c.intermediate;
        let both = b.map(&format!("{p}.mlp.Wi"), [2 * f, d], c.mlp_bias);
        let down = b.map(&format!("{p}.mlp.Wo"), [d, f], c.mlp_bias);
        let maps = [both.rows(0..f), both.rows(f..2 * f), down];
        let y = b.gated_mlp(&format!("{p}.mlp"), c.act, maps, normed);
        x = b.add(&format!("{p}.residual"), x, y);
        if b.gives_up() {
            return None;
        }
    }
    b.at(Site::Final);
    Some(norm(b, &format!("{prefix}final_norm"), x))
}

fn attention(c: &Config, b: &mut Blocks<'_, '_>, (l, p): (usize, &str), x: NodeId) -> NodeId {
    let (d, slides) = (c.hidden, c.slides[l]);
    let all = b.map(&format!("{p}.attn.Wqkv"), [3 * d, d], c.attention_bias);
    let out = b.map(&format!("{p}.attn.Wo"), [d, d], c.attention_bias);
    let mut spec = Attention::plain(c.heads, d / c.heads);
    spec.window = slides.then_some(c.window);
    spec.rope = Some(c.ropes[usize::from(slides)].clone());
    let qkv = [0, 1, 2].map(|i| all.rows(i * d..(i + 1) * d));
    b.attention(&format!("{p}.attn"), spec, qkv, out, x)
}

/// The logits of labels.
fn classify(c: &Config, b: &mut Blocks<'_, '_>, x: NodeId) -> NodeId {
    let d = c.hidden;
    let x = match c.task {
        Task::TokenClassification => b.every_row(x),
        _ => b.pool(&[c.head.pooling], x),
    };
    let dense = b.map("head.dense", [d, d], c.head.bias);
    let x = b.linear("head.dense", [dense], x);
    let x = b.activate("head.act", c.head.act, x);
    let x = b.layer_norm("head.norm", d, c.eps, c.norm_bias, x);
    let out = b.map("classifier", [c.labels.len(), d], true);
    b.linear("classifier", [out], x)
}
