//! `lfm2`, `lfm2_moe`: layers of short convolutions among layers of attention; experts behind sigmoid scores.

use serde_json::Value;

use super::super::ImportedModel;
use super::super::error::Findings;
use super::super::json;
use super::super::keys::Keys;
use super::super::source::Source;
use super::blocks::{AttentionNorm, Blocks, Map};
use super::decoder::{self, Frame};
use super::experts::{self, Experts};
use super::keys::{self, Common, Defaults};
use super::rope;
use crate::graph::{Activation, Gates, NodeId, Op, QkNormOver, Rope, Score};

const LFM2: Defaults = Defaults {
    vocab_size: 65536,
    hidden_size: 2560,
    intermediate_size: 12288,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(8),
    head_dim: None,
    max_position_embeddings: 128_000,
    eps: ("norm_eps", 1e-5),
    act: ("hidden_act", Activation::Silu),
    rope_theta: 1_000_000.0,
    tie_word_embeddings: true,
    bos_token_id: Some(1),
    eos_token_id: Some(2),
};

const LFM2_MOE: Defaults = Defaults {
    hidden_size: 2048,
    intermediate_size: 7168,
    ..LFM2
};

/// A validated config.
struct Config {
    common: Common,
    rope: Rope,
    /// Which layers attend; the others convolve.
    attends: Vec<bool>,
    taps: usize,
    bias: bool,
    moe: Option<Moe>,
}

struct Moe {
    experts: usize,
    top_k: usize,
    width: usize,
    /// Layers before the first with experts.
    dense: usize,
    select_bias: bool,
    gates: Gates,
}

/// Reads an `lfm2`.
pub fn lfm2(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    front(source, findings, dense)
}

/// Reads an `lfm2_moe`.
pub fn lfm2_moe(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    front(source, findings, routed)
}

fn front(
    source: &mut Source<'_>,
    findings: &mut Findings,
    read: fn(&mut Keys<'_>) -> Option<Config>,
) -> Option<ImportedModel> {
    let (config, account) = keys::read(source, findings, read);
    let config = config?;
    let layer = |b: &mut Blocks<'_, '_>, l: usize, p: &str, x| layer(&config, b, (l, p), x);
    let experts = config.moe.as_ref().map_or(0, |moe| moe.experts);
    let names = (0..experts).map(|e| format!("expert {e}")).collect();
    let frame = Frame {
        norm: "embedding_norm",
        ..Frame::PLAIN
    };
    let graph = decoder::build(&config.common, frame, names, source, findings, layer)?;
    Some(ImportedModel {
        graph,
        keys: account,
        special: config.common.special,
    })
}

fn dense(keys: &mut Keys<'_>) -> Option<Config> {
    let mut config = shared(keys, "lfm2", &LFM2, None)?;
    let adjusted = keys.flag("block_auto_adjust_ff_dim", Some(true))?;
    let multiple = keys.count("block_multiple_of", 1..=1 << 16, Some(256))?;
    let positive = |v: f64| v > 0.0 && v <= 1024.0;
    let key = "block_ffn_dim_multiplier";
    // Without a factor the width is not rounded up either.
    let factor = match keys.is_null(key) {
        true => None,
        false => Some(keys.number(key, positive, "a number above 0, or null", Some(1.0))?),
    };
    if adjusted {
        let width = 2 * config.common.intermediate / 3;
        config.common.intermediate = factor.map_or(width, |factor| {
            ((factor * width as f64) as usize).next_multiple_of(multiple)
        });
    }
    Some(config)
}

fn routed(keys: &mut Keys<'_>) -> Option<Config> {
    let experts = keys.count("num_experts", 1..=1024, Some(32));
    let top_k = keys.count("num_experts_per_tok", 1..=64, Some(4));
    let width = keys.count("moe_intermediate_size", 1..=1 << 20, Some(1792));
    let dense = keys.count("num_dense_layers", 0..=1024, Some(2));
    let select_bias = keys.flag("use_expert_bias", Some(true));
    let renormalize = keys.flag("norm_topk_prob", Some(true));
    let scale = keys.number(
        "routed_scaling_factor",
        |v| v > 0.0 && v <= 1e3,
        "a number above 0, at most 1000",
        Some(1.0),
    );
    keys.ignore("router_aux_loss_coef", "only training uses it");
    let (experts, top_k) = (experts?, top_k?);
    if top_k > experts {
        let allowed = format!("1 to `num_experts` = {experts}");
        keys.refuse("num_experts_per_tok", format!("is {top_k}"), allowed);
        return None;
    }
    let renormalize = renormalize?;
    let moe = Moe {
        experts,
        top_k,
        width: width?,
        dense: dense?,
        select_bias: select_bias?,
        gates: Gates {
            added: if renormalize { 1e-6 } else { 0.0 },
            scale: scale? as f32,
            ..Gates::plain(renormalize)
        },
    };
    shared(keys, "lfm2_moe", &LFM2_MOE, Some(moe))
}

/// What both families have.
fn shared(
    keys: &mut Keys<'_>,
    model_type: &str,
    defaults: &Defaults,
    moe: Option<Moe>,
) -> Option<Config> {
    keys::fixed(keys, model_type);
    let common = keys::common(keys, defaults);
    let layers = common.as_ref().map_or(0, |c| c.layers);
    let attends = attends(keys, layers);
    let taps = keys.count("conv_L_cache", 1..=64, Some(3));
    let bias = keys.flag("conv_bias", Some(false));
    let mut common = common?;
    if keys.written("hidden_act") {
        common.act = Activation::Silu;
        keys.ignore(
            "hidden_act",
            "layers of this family have silu, in transformers 5.24 either",
        );
    }
    // Names of older configs; what they say counts.
    if keys.written("tie_embedding") {
        common.tied = keys.flag("tie_embedding", None)?;
        keys.ignore("tie_word_embeddings", "`tie_embedding` says it");
    }
    if model_type == "lfm2" && keys.written("block_ff_dim") {
        common.intermediate = keys.count("block_ff_dim", 1..=1 << 20, None)?;
        keys.ignore("intermediate_size", "`block_ff_dim` says it");
    }
    let rope = rope::read(keys, rope::RopeDefaults::of(&common, defaults.rope_theta))?;
    Some(Config {
        rope: rope.rope(),
        attends: attends?,
        taps: taps?,
        bias: bias?,
        moe,
        common,
    })
}

/// Which layers attend, by `layer_types` or the numbers in `full_attn_idxs`.
fn attends(keys: &mut Keys<'_>, layers: usize) -> Option<Vec<bool>> {
    let refuse = |keys: &mut Keys<'_>, key: &str, value: &Value, allowed: String| {
        keys.refuse(key, format!("found {}", json::listed(value)), allowed);
        None
    };
    if let Some(value) = keys.get("layer_types") {
        let attends = |item: &Value| match item.as_str() {
            Some("full_attention") => Some(true),
            Some("conv") => Some(false),
            _ => None,
        };
        keys.ignore("full_attn_idxs", "`layer_types` says it");
        let items = value.as_array().filter(|items| items.len() == layers);
        let found: Option<Vec<bool>> = items.and_then(|items| items.iter().map(attends).collect());
        return found.or_else(|| {
            let allowed = format!("\"full_attention\" or \"conv\" for each of {layers} layers");
            refuse(keys, "layer_types", value, allowed)
        });
    }
    let Some(value) = keys.get("full_attn_idxs") else {
        return Some(vec![true; layers]);
    };
    let items: Option<Vec<u64>> = value
        .as_array()
        .and_then(|items| items.iter().map(Value::as_u64).collect());
    match items {
        Some(items) => Some((0..layers).map(|l| items.contains(&(l as u64))).collect()),
        None => refuse(keys, "full_attn_idxs", value, "a list of layers".to_owned()),
    }
}

fn layer(config: &Config, b: &mut Blocks<'_, '_>, (l, p): (usize, &str), x: NodeId) -> NodeId {
    let c = &config.common;
    let normed = decoder::norm(b, &format!("{p}.operator_norm"), c, 0.0, x);
    let mixed = match config.attends[l] {
        true => attention(config, b, &format!("{p}.self_attn"), normed),
        false => conv(config, b, &format!("{p}.conv"), normed),
    };
    let x = b.add(&format!("{p}.operator_residual"), x, mixed);
    let normed = decoder::norm(b, &format!("{p}.ffn_norm"), c, 0.0, x);
    let y = match &config.moe {
        Some(moe) if l >= moe.dense => experts(config, moe, b, p, normed),
        _ => mlp(config, b, &format!("{p}.feed_forward"), normed),
    };
    b.add(&format!("{p}.residual"), x, y)
}

fn attention(config: &Config, b: &mut Blocks<'_, '_>, p: &str, x: NodeId) -> NodeId {
    let c = &config.common;
    let rows = [c.heads, c.kv_heads, c.kv_heads].map(|heads| heads * c.head_dim);
    let names = ["q_proj", "k_proj", "v_proj"];
    let qkv = [0, 1, 2].map(|i| b.map(&format!("{p}.{}", names[i]), [rows[i], c.hidden], false));
    let out = b.map(&format!("{p}.out_proj"), [c.hidden, rows[0]], false);
    let mut spec = decoder::heads(c);
    spec.rope = Some(config.rope.clone());
    let [q, k] = ["q", "k"].map(|n| b.stored(&format!("{p}.{n}_layernorm.weight"), &[c.head_dim]));
    spec.norm = Some(AttentionNorm {
        q,
        k,
        eps: c.eps,
        over: QkNormOver::HeadBeforeRope,
    });
    b.attention(p, spec, qkv, out, x)
}

fn conv(config: &Config, b: &mut Blocks<'_, '_>, p: &str, x: NodeId) -> NodeId {
    let (d, bias) = (config.common.hidden, config.bias);
    let input = b.map(&format!("{p}.in_proj"), [3 * d, d], bias);
    let output = b.map(&format!("{p}.out_proj"), [d, d], bias);
    let weight = b.stored(&format!("{p}.conv.weight"), &[d, 1, config.taps]);
    let weight = weight.reshaped(&[d, config.taps]).transposed();
    let bias = bias.then(|| b.stored(&format!("{p}.conv.bias"), &[d]));
    let wide = b.linear(&format!("{p}.in_proj"), [input], x);
    let op = Op::ShortConv {
        weight: b.view(weight),
        bias: bias.map(|bias| b.view(bias)),
    };
    let mixed = b.node(op, &[wide], p);
    b.linear(&format!("{p}.out_proj"), [output], mixed)
}

/// Gate, up and down of a dense MLP.
fn mlp(config: &Config, b: &mut Blocks<'_, '_>, p: &str, x: NodeId) -> NodeId {
    let (d, f) = (config.common.hidden, config.common.intermediate);
    let maps = [("w1", [f, d]), ("w3", [f, d]), ("w2", [d, f])];
    let maps: [Map; 3] = maps.map(|(name, shape)| b.map(&format!("{p}.{name}"), shape, false));
    b.gated_mlp(p, config.common.act, maps, x)
}

fn experts(config: &Config, moe: &Moe, b: &mut Blocks<'_, '_>, p: &str, x: NodeId) -> NodeId {
    let select_bias = moe
        .select_bias
        .then(|| b.stored(&format!("{p}.feed_forward.expert_bias"), &[moe.experts]));
    let experts = Experts {
        layout: &experts::LFM2,
        count: moe.experts,
        top_k: moe.top_k,
        width: moe.width,
        score: Score::Sigmoid,
        gates: moe.gates,
        residual: 1.0,
        act: config.common.act,
        hidden: config.common.hidden,
    };
    experts.build(b, p, x, [select_bias, None], |_| None)
}
