//! `llama`, `mistral`, `qwen2`, `qwen3`, `granite`, `smollm3`, `ernie4_5`: RMS norms before each block, rotary positions, gated MLPs.

use super::super::ImportedModel;
use super::super::error::Findings;
use super::super::keys::Keys;
use super::super::source::Source;
use super::blocks::{AttentionNorm, Blocks};
use super::decoder::{self, Frame};
use super::defaults::{ERNIE4_5, GRANITE, LLAMA, MISTRAL, QWEN2, QWEN3, SMOLLM3};
use super::keys::{self, Common, Defaults};
use super::rope;
use super::windows::{self, Windows};
use crate::graph::{NodeId, QkNormOver, Rope};

/// What the families differ in.
pub struct Family {
    pub model_type: &'static str,
    pub defaults: Defaults,
    pub biases: Biases,
    /// RMS norms of q and k.
    pub qk_norm: Option<QkNormOver>,
    pub windows: Windows,
    /// `embedding_multiplier`, `residual_multiplier`, `attention_multiplier`, `logits_scaling`.
    pub multipliers: bool,
    /// `position_embedding_type` is `rope`, or nothing rotates.
    pub named_rope: bool,
    /// `no_rope_layers` or `no_rope_layer_interval`: layers without rotation.
    pub unrotated: bool,
    /// Whether rotary pairs stand side by side.
    pub pairs: bool,
}

/// Which maps have biases.
#[derive(Clone, Copy, PartialEq)]
pub enum Biases {
    /// `attention_bias` and `mlp_bias` say it.
    Keys,
    /// `attention_bias` says it of attention alone.
    AttentionKey,
    /// `use_bias` says it of all.
    OneKey,
    /// There are none.
    None,
    /// q, k and v have them.
    Qkv,
    /// q, k and v have them, unless `qkv_bias` is false.
    QkvKey,
}

/// A validated config.
pub struct Config {
    pub common: Common,
    /// Of each layer.
    rope: Vec<Option<Rope>>,
    /// Of each layer.
    windows: Vec<Option<usize>>,
    qkv_bias: bool,
    o_bias: bool,
    pub mlp_bias: bool,
    multipliers: Multipliers,
}

/// Factors of Granite.
#[derive(Clone, Copy)]
struct Multipliers {
    embedding: f32,
    residual: f32,
    /// `None`: one over the root of the head's width.
    attention: Option<f32>,
    logits: f32,
}

macro_rules! fronts {
    ($($front:ident $family:ident $doc:literal;)*) => {
        $(#[doc = $doc]
        pub fn $front(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
            front(&$family, source, findings)
        })*
    };
}

fronts! {
    llama LLAMA "Reads a `llama`.";
    mistral MISTRAL "Reads a `mistral`.";
    qwen2 QWEN2 "Reads a `qwen2`.";
    qwen3 QWEN3 "Reads a `qwen3`.";
    granite GRANITE "Reads a `granite`.";
    smollm3 SMOLLM3 "Reads a `smollm3`.";
    ernie4_5 ERNIE4_5 "Reads an `ernie4_5`.";
}

fn front(
    family: &Family,
    source: &mut Source<'_>,
    findings: &mut Findings,
) -> Option<ImportedModel> {
    let (config, account) = keys::read(source, findings, |keys| read(family, keys));
    let config = config?;
    let layer = |b: &mut Blocks<'_, '_>, l: usize, p: &str, x| {
        let c = &config.common;
        let attend = |b: &mut Blocks<'_, '_>, p: &str, x| attention(family, &config, b, (l, p), x);
        decoder::pre_norm(b, c, p, x, attend, |b, p, x| {
            let p = format!("{p}.mlp");
            let [gate, up, down] = decoder::mlp_maps(b, c, &p, c.intermediate, config.mlp_bias);
            let down = down.times(config.multipliers.residual);
            b.gated_mlp(&p, c.act, [gate, up, down], x)
        })
    };
    let frame = config.frame();
    let graph = decoder::build(&config.common, frame, Vec::new(), source, findings, layer)?;
    Some(ImportedModel {
        graph,
        keys: account,
        special: config.common.special,
    })
}

impl Config {
    /// What stands around the layers.
    pub fn frame(&self) -> Frame {
        Frame {
            embedding: self.multipliers.embedding,
            logits: 1.0 / self.multipliers.logits,
            ..Frame::PLAIN
        }
    }

    /// What the results of blocks are multiplied by.
    pub fn residual(&self) -> f32 {
        self.multipliers.residual
    }
}

/// Reads the config of a family; other families share it.
pub fn read(family: &Family, keys: &mut Keys<'_>) -> Option<Config> {
    keys::fixed(keys, family.model_type);
    let common = keys::common(keys, &family.defaults);
    let layers = common.as_ref().map_or(0, |c| c.layers);
    let windows = windows::read(family.windows, keys, layers);
    let rotated = match (family.unrotated, family.named_rope) {
        (true, _) => windows::rotated(keys, layers),
        (false, true) => windows::by_name(keys, layers),
        (false, false) => Some(vec![true; layers]),
    };
    let qkv_bias = match family.biases {
        Biases::QkvKey => keys.flag("qkv_bias", Some(true)),
        biases => Some(biases == Biases::Qkv),
    };
    let mut flag = |key, there| match there {
        true => keys.flag(key, Some(false)),
        false => Some(false),
    };
    let by_key = matches!(family.biases, Biases::Keys | Biases::AttentionKey);
    let attention_bias = flag("attention_bias", by_key);
    let mlp_bias = flag("mlp_bias", family.biases == Biases::Keys);
    let every_bias = flag("use_bias", family.biases == Biases::OneKey);
    let multipliers = multipliers(family, keys);
    let common = common?;
    let rope = rope::read(
        keys,
        rope::RopeDefaults::of(&common, family.defaults.rope_theta),
    );
    let rope = rope?.rope();
    let (every_bias, rotated) = (every_bias?, rotated?);
    let attention_bias = attention_bias? || every_bias;
    let windows = windows?;
    // Sliding layers of SmolLM3 are those without rotation.
    Some(Config {
        rope: rotated
            .iter()
            .map(|rotates| rotates.then(|| rope.clone()))
            .collect(),
        windows,
        qkv_bias: attention_bias || qkv_bias?,
        o_bias: attention_bias,
        mlp_bias: mlp_bias? || every_bias,
        multipliers: multipliers?,
        common,
    })
}

fn multipliers(family: &Family, keys: &mut Keys<'_>) -> Option<Multipliers> {
    let mut number = |key| match family.multipliers {
        true => keys.number(
            key,
            |v| v > 0.0 && v <= 1e6,
            "a number above 0, at most 1e6",
            Some(1.0),
        ),
        false => Some(1.0),
    };
    let [embedding, residual, attention, logits] = [
        "embedding_multiplier",
        "residual_multiplier",
        "attention_multiplier",
        "logits_scaling",
    ]
    .map(&mut number);
    Some(Multipliers {
        embedding: embedding? as f32,
        residual: residual? as f32,
        attention: Some(attention? as f32).filter(|_| family.multipliers),
        logits: logits? as f32,
    })
}

/// Attention of a layer below `p`.
pub fn attention(
    family: &Family,
    config: &Config,
    b: &mut Blocks<'_, '_>,
    (l, p): (usize, &str),
    x: NodeId,
) -> NodeId {
    let c = &config.common;
    let (mut qkv, out) = decoder::attention_maps(b, c, p, [config.qkv_bias, config.o_bias]);
    let mut spec = decoder::heads(c);
    spec.scale = config.multipliers.attention;
    spec.window = decoder::window(c, config.windows[l]);
    spec.rope = config.rope[l].clone();
    spec.norm = family.qk_norm.map(|over| {
        let mut weight = |name: &str, heads: usize| {
            let path = format!("{p}.{name}.weight");
            match over {
                QkNormOver::AllHeads => {
                    let all = b.stored(&path, &[heads * c.head_dim]);
                    all.reshaped(&[heads, c.head_dim])
                }
                QkNormOver::HeadBeforeRope | QkNormOver::HeadAfterRope => {
                    b.stored(&path, &[c.head_dim])
                }
            }
        };
        AttentionNorm {
            q: weight("q_norm", c.heads),
            k: weight("k_norm", c.kv_heads),
            eps: c.eps,
            over,
        }
    });
    if let Some(rope) = spec.rope.as_ref().filter(|_| family.pairs) {
        let width = rope.width();
        let [q, k, v] = qkv;
        qkv = [
            q.pairs_apart(c.head_dim, width),
            k.pairs_apart(c.head_dim, width),
            v,
        ];
    }
    b.attention(p, spec, qkv, out.times(config.multipliers.residual), x)
}
