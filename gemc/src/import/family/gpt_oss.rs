//! `gpt_oss`: attention with sinks and windows on every second layer, and experts whose gates and ups lie by turns, with biases.

use super::super::ImportedModel;
use super::super::error::Findings;
use super::super::files::StoredType;
use super::super::keys::Keys;
use super::super::source::Source;
use super::blocks::{Blocks, Map};
use super::decoder::{self, Frame};
use super::defaults::LLAMA;
use super::experts::{self, RouterViews, Rule};
use super::keys::{self, Common, Defaults};
use super::rope::{self, RopeDefaults};
use super::windows::{self, Windows};
use crate::graph::{Activation, Gates, NodeId, Rope, Score, View};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 201_088,
    hidden_size: 2880,
    intermediate_size: 2880,
    num_hidden_layers: 36,
    num_attention_heads: 64,
    num_key_value_heads: Some(8),
    head_dim: Some(64),
    max_position_embeddings: 131_072,
    eps: ("rms_norm_eps", 1e-5),
    rope_theta: 150_000.0,
    bos_token_id: None,
    eos_token_id: None,
    ..LLAMA.defaults
};

/// A validated config.
struct Config {
    common: Common,
    rope: Rope,
    windows: Vec<Option<usize>>,
    bias: bool,
    experts: usize,
    top_k: usize,
}

/// Reads a `gpt_oss`.
pub fn gpt_oss(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    let (config, account) = keys::read(source, findings, read);
    let config = config?;
    let c = &config.common;
    let layer = |b: &mut Blocks<'_, '_>, l: usize, p: &str, x| {
        let attend = |b: &mut Blocks<'_, '_>, p: &str, x| attention(&config, b, (l, p), x);
        decoder::pre_norm(b, c, p, x, attend, |b, p, x| experts(&config, b, p, x))
    };
    let names = (0..config.experts).map(|e| format!("expert {e}")).collect();
    let graph = decoder::build(c, Frame::PLAIN, names, source, findings, layer)?;
    Some(ImportedModel {
        graph,
        keys: account,
        special: config.common.special,
    })
}

fn read(keys: &mut Keys<'_>) -> Option<Config> {
    const FIXED: &str = "experts clamp and scale by these numbers in every model of this family";
    keys::fixed(keys, "gpt_oss");
    for key in ["router_aux_loss_coef", "initial_context_length"] {
        keys.ignore(key, "only training uses it");
    }
    for (key, value) in [("swiglu_alpha", 1.702), ("swiglu_limit", 7.0)] {
        keys.only(key, &[serde_json::json!(value)], FIXED);
    }
    let common = keys::common(keys, &DEFAULTS);
    let layers = common.as_ref().map_or(0, |c| c.layers);
    let windows = windows::read(Windows::EverySecond(Some(128)), keys, layers);
    let bias = keys.flag("attention_bias", Some(true));
    let written = ["num_local_experts", "num_experts"]
        .into_iter()
        .find(|key| keys.written(key));
    let key = written.unwrap_or("num_local_experts");
    let experts = keys.count(key, 1..=1024, Some(128));
    let top_k = ["num_experts_per_tok", "experts_per_token"]
        .into_iter()
        .find(|key| keys.written(key));
    keys.ignore("experts_per_token", "`num_experts_per_tok` says it");
    let top_k = keys.count(top_k.unwrap_or("num_experts_per_tok"), 1..=64, Some(4));
    let common = common?;
    let (experts, top_k) = (experts?, top_k?);
    if top_k > experts {
        let allowed = format!("1 to `{key}` = {experts}");
        keys.refuse("num_experts_per_tok", format!("is {top_k}"), allowed);
        return None;
    }
    if !["rope_parameters", "rope_scaling"]
        .iter()
        .any(|key| keys.get(key).is_some_and(|value| !value.is_null()))
    {
        keys.refuse("rope_parameters", "is missing", "what transformers writes");
        return None;
    }
    let rope = rope::read(keys, RopeDefaults::of(&common, DEFAULTS.rope_theta))?;
    Some(Config {
        rope: rope.rope(),
        windows: windows?,
        bias: bias?,
        experts,
        top_k,
        common,
    })
}

fn attention(config: &Config, b: &mut Blocks<'_, '_>, (l, p): (usize, &str), x: NodeId) -> NodeId {
    let c = &config.common;
    let (qkv, out) = decoder::attention_maps(b, c, p, [config.bias; 2]);
    let mut spec = decoder::heads(c);
    spec.window = decoder::window(c, config.windows[l]);
    spec.rope = Some(config.rope.clone());
    spec.sinks = Some(b.stored(&format!("{p}.sinks"), &[c.heads]));
    b.attention(p, spec, qkv, out, x)
}

/// The matrices `[out, in]` of all experts.
fn stored(
    b: &mut Blocks<'_, '_>,
    path: &str,
    [count, out, input]: [usize; 3],
) -> impl Fn(usize) -> View + use<> {
    let blocks = b.stored_type(path) == Some(StoredType::F4E2M1);
    let shape = match blocks {
        true => [count, out, input],
        false => [count, input, out],
    };
    let all = b.stored(path, &shape);
    move |e| match blocks {
        true => all.clone().matrix(e),
        false => all.clone().matrix(e).transposed(),
    }
}

fn experts(config: &Config, b: &mut Blocks<'_, '_>, p: &str, x: NodeId) -> NodeId {
    let (c, count) = (&config.common, config.experts);
    let (d, f) = (c.hidden, c.intermediate);
    let p = format!("{p}.mlp");
    let router = RouterViews {
        weight: b.stored(&format!("{p}.router.weight"), &[count, d]),
        bias: Some(b.stored(&format!("{p}.router.bias"), &[count])),
        select_bias: None,
        base_gate: None,
    };
    let maps = maps(b, &format!("{p}.experts"), [count, d, f]);
    let rule = Rule {
        top_k: config.top_k,
        score: Score::Softmax,
        gates: Gates::plain(true),
        act: Activation::ClampedSilu,
    };
    experts::routed(b, &p, x, router, rule, maps, |_| None)
}

/// Gate, up and down of every expert.
fn maps(b: &mut Blocks<'_, '_>, at: &str, [count, d, f]: [usize; 3]) -> Vec<[Map; 3]> {
    let of = |bias: &View, e: usize, len| bias.clone().range(e..e + 1).reshaped(&[len]);
    if b.has(&format!("{at}.gate_proj")) {
        // As GGUF files have them.
        let shapes = [("gate", [f, d]), ("up", [f, d]), ("down", [d, f])];
        let all = shapes.map(|(name, [out, input])| {
            let path = format!("{at}.{name}_proj");
            let weight = b.stored(&path, &[count, out, input]);
            (
                weight,
                b.stored(&format!("{path}_bias"), &[count, out]),
                out,
            )
        });
        let map = |e: usize| {
            all.clone().map(|(weight, bias, out)| Map {
                weight: weight.matrix(e),
                bias: Some(of(&bias, e, out)),
            })
        };
        return (0..count).map(map).collect();
    }
    // Blocks stand along the columns, plain values across them.
    let wide = stored(b, &format!("{at}.gate_up_proj"), [count, 2 * f, d]);
    let wide_bias = b.stored(&format!("{at}.gate_up_proj_bias"), &[count, 2 * f]);
    let down = stored(b, &format!("{at}.down_proj"), [count, d, f]);
    let down_bias = b.stored(&format!("{at}.down_proj_bias"), &[count, d]);
    let map = |e: usize| {
        let both = wide(e);
        let both_bias = of(&wide_bias, e, 2 * f);
        let [gate, up] = [0, 1].map(|from| Map {
            weight: both.clone().every_second(from),
            bias: Some(both_bias.clone().every_second(from)),
        });
        let down = Map {
            weight: down(e),
            bias: Some(of(&down_bias, e, d)),
        };
        [gate, up, down]
    };
    (0..count).map(map).collect()
}
