//! `phi3`: Llama with fused maps, rotation of a part of each head, and a divisor for each pair of long contexts.

use super::super::ImportedModel;
use super::super::error::Findings;
use super::super::keys::Keys;
use super::super::rope::{RopeRule, RopeScaling};
use super::super::source::Source;
use super::blocks::{Blocks, Map};
use super::decoder::{self, Frame};
use super::defaults::LLAMA;
use super::keys::{self, Common, Defaults};
use super::rope::{self, RopeDefaults};
use super::windows::{self, Windows};
use crate::graph::{NodeId, Rope};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 32064,
    hidden_size: 3072,
    intermediate_size: 8192,
    max_position_embeddings: 4096,
    eps: ("rms_norm_eps", 1e-5),
    eos_token_id: Some(32000),
    ..LLAMA.defaults
};

/// A validated config.
struct Config {
    common: Common,
    rope: Rope,
    windows: Vec<Option<usize>>,
}

/// Reads a `phi3`.
pub fn phi3(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    let (config, account) = keys::read(source, findings, read);
    let config = config?;
    let layer = |b: &mut Blocks<'_, '_>, l: usize, p: &str, x| {
        let c = &config.common;
        let attend = |b: &mut Blocks<'_, '_>, p: &str, x| attention(&config, b, (l, p), x);
        decoder::pre_norm(b, c, p, x, attend, |b, p, x| {
            let (p, d, f) = (format!("{p}.mlp"), c.hidden, c.intermediate);
            let both = b.map(&format!("{p}.gate_up_proj"), [2 * f, d], false);
            let down = b.map(&format!("{p}.down_proj"), [d, f], false);
            b.gated_mlp(&p, c.act, [both.rows(0..f), both.rows(f..2 * f), down], x)
        })
    };
    let graph = decoder::build(
        &config.common,
        Frame::PLAIN,
        Vec::new(),
        source,
        findings,
        layer,
    )?;
    Some(ImportedModel {
        graph,
        keys: account,
        special: config.common.special,
    })
}

fn read(keys: &mut Keys<'_>) -> Option<Config> {
    keys::fixed(keys, "phi3");
    for key in ["resid_pdrop", "embd_pdrop"] {
        keys.ignore(key, "only training uses it");
    }
    let common = keys::common(keys, &DEFAULTS);
    let layers = common.as_ref().map_or(0, |c| c.layers);
    let windows = windows::read(Windows::All(None), keys, layers);
    let mut common = common?;
    let defaults = RopeDefaults {
        partial: true,
        long: true,
        // It stands in the class of transformers' config, and wins over what a dictionary says.
        original: Some(4096),
        ..RopeDefaults::of(&common, DEFAULTS.rope_theta)
    };
    let rope = rope::read(keys, defaults)?;
    if let RopeRule {
        scaling: RopeScaling::Long { positions, .. },
        ..
    } = rope.rule
        && positions < common.positions
    {
        // Behind them other divisors would serve all positions, those before as well.
        common.positions = positions;
    }
    Some(Config {
        rope: rope.rope(),
        windows: windows?,
        common,
    })
}

fn attention(config: &Config, b: &mut Blocks<'_, '_>, (l, p): (usize, &str), x: NodeId) -> NodeId {
    let c = &config.common;
    let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
    let all = b.map(&format!("{p}.qkv_proj"), [q + 2 * kv, c.hidden], false);
    let part = |start: usize, rows: usize| -> Map { all.rows(start..start + rows) };
    let out = b.map(&format!("{p}.o_proj"), [c.hidden, q], false);
    let mut spec = decoder::heads(c);
    spec.window = decoder::window(c, config.windows[l]);
    spec.rope = Some(config.rope.clone());
    let qkv = [part(0, q), part(q, kv), part(q + kv, kv)];
    b.attention(p, spec, qkv, out, x)
}
