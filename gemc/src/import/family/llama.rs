//! `llama`, `mistral`, `qwen2`, `qwen3`: RMS norms before each block, rotary positions, gated MLPs.

use super::super::error::Findings;
use super::super::keys::Keys;
use super::super::source::Source;
use super::super::{ImportedModel, json};
use super::blocks::{Attention, AttentionNorm, Blocks};
use super::keys::{Common, Defaults};
use super::rope::{ReadRope, RopeDefaults};
use super::{decoder, keys, rope};
use crate::graph::{NodeId, QkNormOver, Rope};

/// What the families differ in.
struct Family {
    model_type: &'static str,
    defaults: Defaults,
    /// Biases of q, k, v and of o; of MLPs.
    biases: Biases,
    /// RMS norms of the heads of q and k.
    qk_norm: bool,
    windows: Windows,
}

#[derive(Clone, Copy, PartialEq)]
enum Biases {
    /// `attention_bias` and `mlp_bias` say it.
    Keys,
    /// `attention_bias` says it of attention alone.
    AttentionKey,
    /// There are none.
    None,
    /// q, k and v have them.
    Qkv,
}

#[derive(Clone, Copy, PartialEq)]
enum Windows {
    None,
    /// `sliding_window` of all layers; this many positions where nothing is written.
    All(usize),
    /// `use_sliding_window`, and `layer_types` or `max_window_layers` say which layers have one.
    Some,
}

const LLAMA: Family = Family {
    model_type: "llama",
    defaults: Defaults {
        vocab_size: 32000,
        hidden_size: 4096,
        intermediate_size: 11008,
        num_hidden_layers: 32,
        num_attention_heads: 32,
        num_key_value_heads: None,
        head_dim: None,
        max_position_embeddings: 2048,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        tie_word_embeddings: false,
        bos_token_id: Some(1),
        eos_token_id: Some(2),
    },
    biases: Biases::Keys,
    qk_norm: false,
    windows: Windows::None,
};

const MISTRAL: Family = Family {
    model_type: "mistral",
    defaults: Defaults {
        intermediate_size: 14336,
        num_key_value_heads: Some(8),
        max_position_embeddings: 4096 * 32,
        ..LLAMA.defaults
    },
    biases: Biases::None,
    windows: Windows::All(4096),
    ..LLAMA
};

const QWEN2: Family = Family {
    model_type: "qwen2",
    defaults: Defaults {
        vocab_size: 151_936,
        intermediate_size: 22016,
        num_key_value_heads: Some(32),
        max_position_embeddings: 32768,
        bos_token_id: None,
        eos_token_id: None,
        ..LLAMA.defaults
    },
    biases: Biases::Qkv,
    windows: Windows::Some,
    ..LLAMA
};

const QWEN3: Family = Family {
    model_type: "qwen3",
    defaults: Defaults {
        head_dim: Some(128),
        ..QWEN2.defaults
    },
    biases: Biases::AttentionKey,
    qk_norm: true,
    ..QWEN2
};

/// A validated config.
struct Config {
    common: Common,
    rope: Rope,
    /// Of each layer.
    windows: Vec<Option<usize>>,
    qkv_bias: bool,
    o_bias: bool,
    mlp_bias: bool,
}

/// Reads a `llama`.
pub fn llama(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    front(&LLAMA, source, findings)
}

/// Reads a `mistral`.
pub fn mistral(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    front(&MISTRAL, source, findings)
}

/// Reads a `qwen2`.
pub fn qwen2(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    front(&QWEN2, source, findings)
}

/// Reads a `qwen3`.
pub fn qwen3(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    front(&QWEN3, source, findings)
}

fn front(
    family: &Family,
    source: &mut Source<'_>,
    findings: &mut Findings,
) -> Option<ImportedModel> {
    let (config, account) = keys::read(source.config, findings, |keys| read(family, keys));
    let config = config?;
    let layer = |b: &mut Blocks<'_, '_>, l: usize, p: &str, x| layer(family, &config, b, l, p, x);
    let graph = decoder::build(&config.common, source, findings, layer)?;
    Some(ImportedModel {
        graph,
        keys: account,
        special: config.common.special,
    })
}

fn read(family: &Family, keys: &mut Keys<'_>) -> Option<Config> {
    keys::fixed(keys, family.model_type);
    let common = keys::common(keys, &family.defaults);
    let layers = common.as_ref().map_or(0, |c| c.layers);
    let windows = windows(family, keys, layers);
    let mut flag = |key, there| match there {
        true => keys.flag(key, Some(false)),
        false => Some(false),
    };
    let by_key = matches!(family.biases, Biases::Keys | Biases::AttentionKey);
    let attention_bias = flag("attention_bias", by_key);
    let mlp_bias = flag("mlp_bias", family.biases == Biases::Keys);
    let common = common?;
    let rope = rope::read(
        keys,
        RopeDefaults {
            theta: family.defaults.rope_theta,
            head_dim: common.head_dim,
            positions: common.positions,
            partial: false,
        },
    );
    let ReadRope { rule, width } = rope?;
    let attention_bias = attention_bias?;
    Some(Config {
        rope: rule.rope(width),
        windows: windows?,
        qkv_bias: attention_bias || family.biases == Biases::Qkv,
        o_bias: attention_bias,
        mlp_bias: mlp_bias?,
        common,
    })
}

/// The window of each layer.
fn windows(family: &Family, keys: &mut Keys<'_>, layers: usize) -> Option<Vec<Option<usize>>> {
    const WINDOW: std::ops::RangeInclusive<usize> = 1..=(1 << 24);
    match family.windows {
        Windows::None => Some(vec![None; layers]),
        Windows::All(default) => {
            let window = keys.count_or_none("sliding_window", WINDOW, Some(default))?;
            Some(vec![window; layers])
        }
        Windows::Some => {
            let used = keys.flag("use_sliding_window", Some(false))?;
            let window = keys.count_or_none("sliding_window", WINDOW, Some(4096))?;
            let window = window.filter(|_| used);
            let most = keys.count("max_window_layers", 0..=1 << 16, Some(28))?;
            let by_number = |l: usize| window.filter(|_| l >= most);
            let types = layer_types(keys, layers)?;
            Some(match types {
                None => (0..layers).map(by_number).collect(),
                Some(types) => {
                    keys.ignore("max_window_layers", "`layer_types` says it");
                    if window.is_none() && types.contains(&true) {
                        let what = "has \"sliding_attention\", but no window is used";
                        let allowed =
                            "\"full_attention\", or `use_sliding_window` and `sliding_window`";
                        keys.refuse("layer_types", what, allowed);
                        return None;
                    }
                    types
                        .into_iter()
                        .map(|slides| window.filter(|_| slides))
                        .collect()
                }
            })
        }
    }
}

/// Which layers slide, where `layer_types` says it.
fn layer_types(keys: &mut Keys<'_>, layers: usize) -> Option<Option<Vec<bool>>> {
    let Some(value) = keys.get("layer_types") else {
        return Some(None);
    };
    let slides = |item: &serde_json::Value| match item.as_str() {
        Some("full_attention" | "attention") => Some(false),
        Some("sliding_attention") => Some(true),
        _ => None,
    };
    let items = value.as_array().filter(|items| items.len() == layers);
    let types: Option<Vec<bool>> = items.and_then(|items| items.iter().map(slides).collect());
    if types.is_none() {
        let allowed =
            format!("\"full_attention\" or \"sliding_attention\" for each of {layers} layers");
        keys.refuse(
            "layer_types",
            format!("found {}", json::listed(value)),
            allowed,
        );
    }
    types.map(Some)
}

fn layer(
    family: &Family,
    config: &Config,
    b: &mut Blocks<'_, '_>,
    l: usize,
    p: &str,
    x: NodeId,
) -> NodeId {
    let c = &config.common;
    let d = c.hidden;
    let weight = b.stored(&format!("{p}.input_layernorm.weight"), &[d]);
    let normed = b.rms_norm(&format!("{p}.input_layernorm"), weight, c.eps, x);
    let attention = format!("{p}.self_attn");
    let rows = [c.heads, c.kv_heads, c.kv_heads].map(|heads| heads * c.head_dim);
    let names = ["q_proj", "k_proj", "v_proj"];
    let qkv = [0, 1, 2].map(|i| {
        b.map(
            &format!("{attention}.{}", names[i]),
            [rows[i], d],
            config.qkv_bias,
        )
    });
    let out = b.map(&format!("{attention}.o_proj"), [d, rows[0]], config.o_bias);
    let norm = family.qk_norm.then(|| AttentionNorm {
        q: b.stored(&format!("{attention}.q_norm.weight"), &[c.head_dim]),
        k: b.stored(&format!("{attention}.k_norm.weight"), &[c.head_dim]),
        eps: c.eps,
        over: QkNormOver::HeadBeforeRope,
    });
    let spec = Attention {
        heads: c.heads,
        kv_heads: c.kv_heads,
        head_dim: c.head_dim,
        scale: None,
        window: config.windows[l],
        softcap: None,
        rope: Some(config.rope.clone()),
        norm,
        sinks: None,
    };
    let mixed = b.attention(&attention, spec, qkv, out, normed);
    let x = b.add(&format!("{p}.attention_residual"), x, mixed);
    let weight = b.stored(&format!("{p}.post_attention_layernorm.weight"), &[d]);
    let normed = b.rms_norm(&format!("{p}.post_attention_layernorm"), weight, c.eps, x);
    let f = c.intermediate;
    let maps = [
        ("gate_proj", [f, d]),
        ("up_proj", [f, d]),
        ("down_proj", [d, f]),
    ];
    let maps = maps.map(|(name, shape)| b.map(&format!("{p}.mlp.{name}"), shape, config.mlp_bias));
    let y = b.gated_mlp(&format!("{p}.mlp"), c.act, maps, normed);
    b.add(&format!("{p}.residual"), x, y)
}
