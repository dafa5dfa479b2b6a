//! `gemma2`, `gemma3_text`: norms before and behind each block with weights less one, scaled embeddings, capped scores and logits, layers
//! that slide between those that see everything.

use serde_json::json;

use super::super::ImportedModel;
use super::super::error::Findings;
use super::super::files::StoredType;
use super::super::keys::Keys;
use super::super::source::Source;
use super::blocks::{AttentionNorm, Blocks};
use super::decoder::{self, Frame, norm};
use super::keys::{self, Common, Defaults};
use super::rope::{self, RopeDefaults};
use super::{defaults, windows};
use crate::graph::{Activation, NodeId, QkNormOver, Rope, Task};

/// What the two differ in.
struct Family {
    model_type: &'static str,
    defaults: Defaults,
    /// Caps of scores and of logits.
    caps: [Option<f64>; 2],
    /// Whether heads of q and k are normed, and sliding layers have a base of their own.
    third: bool,
}

const GEMMA2: Family = Family {
    model_type: "gemma2",
    defaults: Defaults {
        vocab_size: 256_000,
        hidden_size: 2304,
        intermediate_size: 9216,
        num_hidden_layers: 26,
        num_attention_heads: 8,
        num_key_value_heads: Some(4),
        head_dim: Some(256),
        max_position_embeddings: 8192,
        act: ("hidden_activation", Activation::GeluTanh),
        tie_word_embeddings: true,
        bos_token_id: Some(2),
        eos_token_id: Some(1),
        ..defaults::LLAMA.defaults
    },
    caps: [Some(50.0), Some(30.0)],
    third: false,
};

const GEMMA3: Family = Family {
    model_type: "gemma3_text",
    defaults: Defaults {
        vocab_size: 262_208,
        max_position_embeddings: 131_072,
        rope_theta: 1_000_000.0,
        ..GEMMA2.defaults
    },
    caps: [None, None],
    third: true,
};

/// A validated config.
struct Config {
    common: Common,
    /// Of layers that see everything, and of those that slide.
    ropes: [Rope; 2],
    /// Of each layer.
    windows: Vec<Option<usize>>,
    slides: Vec<bool>,
    scale: f32,
    caps: [Option<f32>; 2],
    bias: bool,
    /// Whether positions see later ones.
    both_ways: bool,
}

/// Reads a `gemma2`.
pub fn gemma2(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    front(&GEMMA2, source, findings)
}

/// Reads a `gemma3_text`.
pub fn gemma3_text(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    front(&GEMMA3, source, findings)
}

fn front(
    family: &Family,
    source: &mut Source<'_>,
    findings: &mut Findings,
) -> Option<ImportedModel> {
    let (config, account) = keys::read(source, findings, |keys| read(family, keys));
    let config = config?;
    let prefix = decoder::prefix(&config.common, source);
    let embedding = format!("{prefix}embed_tokens.weight");
    let root = (config.common.hidden as f64).sqrt() as f32;
    let added = if source.has_whole_norms() { 0.0 } else { 1.0 };
    let frame = Frame {
        // transformers rounds it to the type of the weights.
        embedding: match source.stored_type(&embedding) {
            // llama.cpp does not.
            _ if source.has_whole_norms() => root,
            Some(StoredType::BF16) => half::bf16::from_f32(root).to_f32(),
            Some(StoredType::F16) => half::f16::from_f32(root).to_f32(),
            _ => root,
        },
        softcap: config.caps[1],
        norms: added,
        ..Frame::PLAIN
    };
    let layer = |b: &mut Blocks<'_, '_>, l: usize, p: &str, x| {
        layer((family, added), &config, b, (l, p), x)
    };
    let graph = decoder::build(&config.common, frame, Vec::new(), source, findings, layer)?;
    Some(ImportedModel {
        graph,
        keys: account,
        special: config.common.special,
    })
}

fn read(family: &Family, keys: &mut Keys<'_>) -> Option<Config> {
    keys::fixed(keys, family.model_type);
    let common = keys::common(keys, &family.defaults);
    if common.as_ref().is_some_and(|c| c.both_ways) {
        let key = "use_bidirectional_attention says it";
        keys.refuse("is_causal", "found false".to_owned(), key);
    }
    let both_ways = both_ways(family, keys, common.as_ref().map(|c| c.task));
    let layers = common.as_ref().map_or(0, |c| c.layers);
    let window = keys.count_or_none("sliding_window", 1..=1 << 24, Some(4096));
    let every = match family.third {
        true => keys.count("sliding_window_pattern", 1..=1 << 16, Some(6)),
        false => Some(2),
    };
    let types = windows::layer_types(keys, layers);
    let scalar = keys.number(
        "query_pre_attn_scalar",
        |v| v > 0.0 && v <= 1e6,
        "a number above 0",
        Some(256.0),
    );
    let mut cap = |key, default| {
        if keys.is_null(key) {
            return Some(None);
        }
        let written = keys.written(key) || default != 0.0;
        let value = keys.number(
            key,
            |v| (0.0..=1e6).contains(&v),
            "a number above 0",
            Some(default),
        )?;
        Some(Some(value as f32).filter(|v| written && *v > 0.0))
    };
    let logits = cap("final_logit_softcapping", family.caps[1].unwrap_or(0.0));
    let scores = match family.third {
        true => Some(None),
        false => cap("attn_logit_softcapping", family.caps[0].unwrap_or(0.0)),
    };
    if family.third {
        let why = "attention of this family does not read it, in transformers 5.24 either";
        keys.ignore("attn_logit_softcapping", why);
    }
    let bias = keys.flag("attention_bias", Some(false));
    let common = common?;
    let ropes = ropes(family, keys, &common);
    let (every, window, both_ways) = (every?, window?, both_ways?);
    // As far to both sides as half of it.
    let window = window.map(|w| if both_ways { w / 2 + 1 } else { w });
    let slides = types?.unwrap_or_else(|| (0..layers).map(|l| (l + 1) % every != 0).collect());
    if window.is_none() && slides.contains(&true) {
        keys.refuse(
            "sliding_window",
            "is null, but layers slide",
            "a number of positions",
        );
        return None;
    }
    Some(Config {
        ropes: ropes?,
        windows: slides
            .iter()
            .map(|slides| window.filter(|_| *slides))
            .collect(),
        slides,
        scale: (1.0 / scalar?.sqrt()) as f32,
        caps: [scores?, logits?],
        bias: bias?,
        both_ways,
        common,
    })
}

/// Whether positions see later ones, which those of a text can that is encoded whole.
fn both_ways(family: &Family, keys: &mut Keys<'_>, task: Option<Task>) -> Option<bool> {
    const KEY: &str = "use_bidirectional_attention";
    if family.third && task == Some(Task::Embedding) {
        if keys.is_null(KEY) {
            return Some(false);
        }
        return keys.flag(KEY, Some(false));
    }
    let why = "decoders that see later positions are not built";
    keys.only(KEY, &[json!(false)], why);
    Some(false)
}

fn ropes(family: &Family, keys: &mut Keys<'_>, c: &Common) -> Option<[Rope; 2]> {
    let global = RopeDefaults::of(c, family.defaults.rope_theta);
    if !family.third {
        let rope = rope::read(keys, global)?.rope();
        return Some([rope.clone(), rope]);
    }
    let local = RopeDefaults::of(c, 10_000.0);
    let [full, sliding] = rope::read_by_type(keys, [global, local], "rope_local_base_freq", false)?;
    Some([full.rope(), sliding.rope()])
}

fn layer(
    (family, added): (&Family, f32),
    config: &Config,
    b: &mut Blocks<'_, '_>,
    (l, p): (usize, &str),
    x: NodeId,
) -> NodeId {
    let c = &config.common;
    let around =
        |b: &mut Blocks<'_, '_>, name: &str, x| norm(b, &format!("{p}.{name}"), c, added, x);
    let normed = around(b, "input_layernorm", x);
    let attention = format!("{p}.self_attn");
    let (qkv, out) = decoder::attention_maps(b, c, &attention, [config.bias; 2]);
    let mut spec = decoder::heads(c);
    spec.causal = !config.both_ways;
    spec.scale = Some(config.scale);
    spec.window = config.windows[l];
    spec.softcap = config.caps[0];
    spec.rope = Some(config.ropes[usize::from(config.slides[l])].clone());
    let mut head_norm =
        |name: &str| decoder::norm_weight(b, &format!("{attention}.{name}"), c.head_dim, added);
    spec.norm = family.third.then(|| AttentionNorm {
        q: head_norm("q_norm"),
        k: head_norm("k_norm"),
        eps: c.eps,
        over: QkNormOver::HeadBeforeRope,
    });
    let mixed = b.attention(&attention, spec, qkv, out, normed);
    let mixed = around(b, "post_attention_layernorm", mixed);
    let x = b.add(&format!("{p}.attention_residual"), x, mixed);
    let normed = around(b, "pre_feedforward_layernorm", x);
    let mlp = format!("{p}.mlp");
    let maps = decoder::mlp_maps(b, c, &mlp, c.intermediate, false);
    let y = b.gated_mlp(&mlp, c.act, maps, normed);
    let y = around(b, "post_feedforward_layernorm", y);
    b.add(&format!("{p}.residual"), x, y)
}
