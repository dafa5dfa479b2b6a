//! `mixtral`, `qwen2_moe`, `qwen3_moe`, `olmoe`, `granitemoe`, `granitemoeshared`, `granitemoehybrid`: decoders whose MLPs are experts behind a
//! router, perhaps beside one that serves every token.

use serde_json::Value;

use super::super::ImportedModel;
use super::super::error::Findings;
use super::super::keys::Keys;
use super::super::source::Source;
use super::blocks::{Blocks, Map};
use super::decoder;
use super::defaults::{GRANITE_HYBRID, GRANITE_MOE, MIXTRAL, OLMOE, QWEN2_MOE, QWEN3_MOE};
use super::experts::{self, Experts, Layout};
use super::keys;
use super::llama::{self, Config};
use crate::graph::{Gates, NodeId, Score};

/// What the families differ in beside their attention.
struct Family {
    attention: &'static llama::Family,
    /// Keys that say how many experts there are, the first of them in newer configs.
    count: &'static [&'static str],
    defaults: Defaults,
    /// Key of an expert's width.
    width: &'static str,
    /// Whether gates sum to one: always, or where `norm_topk_prob` says so.
    renormalize: Option<bool>,
    /// `decoder_sparse_step` and `mlp_only_layers` say which layers have experts.
    sparse: bool,
    shared: Shared,
    layout: &'static Layout,
}

#[derive(Clone, Copy)]
struct Defaults {
    experts: usize,
    top_k: usize,
    width: usize,
    shared: usize,
}

/// An MLP that serves every token.
#[derive(Clone, Copy, PartialEq)]
enum Shared {
    None,
    /// Of `shared_expert_intermediate_size`, times the sigmoid of a product with the row.
    Gated,
    /// Of `shared_intermediate_size`, if that is above 0.
    Plain,
}

const MIXTRAL_MOE: Family = Family {
    attention: &MIXTRAL,
    count: &["num_local_experts", "num_experts"],
    defaults: Defaults {
        experts: 8,
        top_k: 2,
        width: 14336,
        shared: 0,
    },
    width: "intermediate_size",
    renormalize: Some(true),
    sparse: false,
    shared: Shared::None,
    layout: &experts::MIXTRAL,
};

const QWEN2: Family = Family {
    attention: &QWEN2_MOE,
    count: &["num_experts", "num_local_experts"],
    defaults: Defaults {
        experts: 60,
        top_k: 4,
        width: 1408,
        shared: 5632,
    },
    width: "moe_intermediate_size",
    renormalize: None,
    sparse: true,
    shared: Shared::Gated,
    layout: &experts::QWEN,
};

const QWEN3: Family = Family {
    attention: &QWEN3_MOE,
    defaults: Defaults {
        experts: 128,
        top_k: 8,
        width: 768,
        shared: 0,
    },
    shared: Shared::None,
    ..QWEN2
};

const OLMO: Family = Family {
    attention: &OLMOE,
    defaults: Defaults {
        experts: 64,
        top_k: 8,
        width: 2048,
        shared: 0,
    },
    width: "intermediate_size",
    sparse: false,
    shared: Shared::None,
    ..QWEN2
};

const GRANITE: Family = Family {
    attention: &GRANITE_MOE,
    defaults: Defaults {
        width: 11008,
        ..MIXTRAL_MOE.defaults
    },
    layout: &experts::GRANITE,
    ..MIXTRAL_MOE
};

const GRANITE_SHARED: Family = Family {
    attention: &llama::Family {
        model_type: "granitemoeshared",
        ..GRANITE_MOE
    },
    shared: Shared::Plain,
    ..GRANITE
};

const GRANITE_ATTENTION: Family = Family {
    attention: &GRANITE_HYBRID,
    defaults: Defaults {
        shared: 1024,
        ..GRANITE.defaults
    },
    ..GRANITE_SHARED
};

/// A validated config.
struct Moe {
    base: Config,
    experts: usize,
    top_k: usize,
    width: usize,
    gates: Gates,
    /// Width of the shared MLP; 0: there is none.
    shared: usize,
    /// Which layers have experts.
    sparse: Vec<bool>,
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
    mixtral MIXTRAL_MOE "Reads a `mixtral`.";
    qwen2_moe QWEN2 "Reads a `qwen2_moe`.";
    qwen3_moe QWEN3 "Reads a `qwen3_moe`.";
    olmoe OLMO "Reads an `olmoe`.";
    granitemoe GRANITE "Reads a `granitemoe`.";
    granitemoeshared GRANITE_SHARED "Reads a `granitemoeshared`.";
    granitemoehybrid GRANITE_ATTENTION "Reads a `granitemoehybrid` whose layers are all attention.";
}

fn front(
    family: &Family,
    source: &mut Source<'_>,
    findings: &mut Findings,
) -> Option<ImportedModel> {
    let (config, account) = keys::read(source, findings, |keys| read(family, keys));
    let config = config?;
    let (c, attention) = (&config.base.common, family.attention);
    let layer = |b: &mut Blocks<'_, '_>, l: usize, p: &str, x| {
        let attend = |b: &mut Blocks<'_, '_>, p: &str, x| {
            llama::attention(attention, &config.base, b, (l, p), x)
        };
        decoder::pre_norm(b, c, p, x, attend, |b, p, x| {
            ffn(family, &config, b, (l, p), x)
        })
    };
    let routed = config.sparse.contains(&true) && config.experts > 0;
    let names = (0..config.experts).map(|e| format!("expert {e}"));
    let names = names.filter(|_| routed).collect();
    let frame = config.base.frame();
    let graph = decoder::build(c, frame, names, source, findings, layer)?;
    Some(ImportedModel {
        graph,
        keys: account,
        special: config.base.common.special,
    })
}

fn read(family: &Family, keys: &mut Keys<'_>) -> Option<Moe> {
    const COUNT: std::ops::RangeInclusive<usize> = 0..=1024;
    let base = llama::read(family.attention, keys);
    for key in ["router_jitter_noise", "router_aux_loss_coef"] {
        keys.ignore(key, "only training uses it");
    }
    keys.only("clip_qkv", &[], "clipped projections are not built");
    let written = family.count.iter().find(|key| keys.written(key));
    let key = written.or(family.count.first())?;
    let experts = keys.count(key, COUNT, Some(family.defaults.experts));
    let top_k = keys.count("num_experts_per_tok", 0..=64, Some(family.defaults.top_k));
    let width = keys.count(family.width, 1..=1 << 20, Some(family.defaults.width));
    let shared = match family.shared {
        Shared::None => Some(0),
        Shared::Gated => {
            let key = "shared_expert_intermediate_size";
            keys.count(key, 1..=1 << 20, Some(family.defaults.shared))
        }
        Shared::Plain => {
            let key = "shared_intermediate_size";
            keys.count(key, 0..=1 << 20, Some(family.defaults.shared))
        }
    };
    let renormalize = match family.renormalize {
        Some(always) => Some(always),
        None => keys.flag("norm_topk_prob", Some(false)),
    };
    let base = base?;
    let sparse = match family.sparse {
        true => sparse(keys, base.common.layers),
        false => Some(vec![true; base.common.layers]),
    };
    let (experts, top_k, shared) = (experts?, top_k?, shared?);
    if top_k > experts || (top_k == 0) != (experts == 0) {
        let allowed = format!("1 to `{key}` = {experts}");
        keys.refuse("num_experts_per_tok", format!("is {top_k}"), allowed);
        return None;
    }
    if experts == 0 && shared == 0 {
        keys.refuse(key, "is 0, and there is no other MLP", "at least 1");
        return None;
    }
    Some(Moe {
        base,
        experts,
        top_k,
        width: width?,
        gates: Gates::plain(renormalize?),
        shared,
        sparse: sparse?,
    })
}

/// Layer l has experts where (l + 1) is a multiple of `decoder_sparse_step` and `mlp_only_layers` does not name it.
fn sparse(keys: &mut Keys<'_>, layers: usize) -> Option<Vec<bool>> {
    let step = keys.count("decoder_sparse_step", 1..=1 << 16, Some(1));
    let mut dense = Vec::new();
    if let Some(value) = keys.get("mlp_only_layers") {
        let items = value
            .as_array()
            .map(|items| items.iter().map(Value::as_u64).collect());
        let Some(Some(items)) = items else {
            let found = format!("found {}", super::super::json::listed(value));
            keys.refuse("mlp_only_layers", found, "a list of layers");
            return None;
        };
        dense = items;
    }
    let step = step?;
    Some(
        (0..layers)
            .map(|l| (l + 1) % step == 0 && !dense.contains(&(l as u64)))
            .collect(),
    )
}

fn ffn(
    family: &Family,
    config: &Moe,
    b: &mut Blocks<'_, '_>,
    (l, p): (usize, &str),
    x: NodeId,
) -> NodeId {
    let c = &config.base.common;
    if !config.sparse[l] {
        let p = format!("{p}.mlp");
        let maps = decoder::mlp_maps(b, c, &p, c.intermediate, false);
        return b.gated_mlp(&p, c.act, maps, x);
    }
    let residual = config.base.residual();
    let shared = |b: &mut Blocks<'_, '_>, x| {
        let (p, [gate, up, down]) = shared_maps(family, config, b, p);
        b.gated_mlp(&p, c.act, [gate, up, down.times(residual)], x)
    };
    if config.experts == 0 {
        return shared(b, x);
    }
    let moe = Experts {
        layout: family.layout,
        count: config.experts,
        top_k: config.top_k,
        width: config.width,
        score: Score::Softmax,
        gates: config.gates,
        residual,
        act: c.act,
        hidden: c.hidden,
    };
    let base_gate = (family.shared == Shared::Gated).then(|| {
        b.stored(
            &format!("{p}.mlp.shared_expert_gate.weight"),
            &[1, c.hidden],
        )
    });
    moe.build(b, p, x, [None, base_gate], |b| {
        (config.shared > 0).then(|| shared(b, x))
    })
}

/// The shared MLP's path, and gate, up, down.
fn shared_maps(
    family: &Family,
    config: &Moe,
    b: &mut Blocks<'_, '_>,
    p: &str,
) -> (String, [Map; 3]) {
    let (c, f) = (&config.base.common, config.shared);
    if family.shared == Shared::Gated {
        let p = format!("{p}.mlp.shared_expert");
        let maps = decoder::mlp_maps(b, c, &p, f, false);
        return (p, maps);
    }
    let p = format!("{p}.shared_mlp");
    // As GGUF files have it.
    if b.has(&format!("{p}.gate_proj.weight")) {
        let maps = decoder::mlp_maps(b, c, &p, f, false);
        return (p, maps);
    }
    let both = b.map(&format!("{p}.input_linear"), [2 * f, c.hidden], false);
    let down = b.map(&format!("{p}.output_linear"), [c.hidden, f], false);
    (p, [both.rows(0..f), both.rows(f..2 * f), down])
}
