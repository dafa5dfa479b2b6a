//! Configs at the ends of what import accepts -> a program that verifies, or a refusal in words; never a panic. No weights
//! are made, so that sizes cost nothing.

use std::ops::ControlFlow;

use gemc::graph::{Graph, Typed};
use gemc::import::{Findings, config, gem};
use gemc::pack::floats;
use gemc::pipeline::{self, CompileError, CompiledModel};
use gemc::plan::{BitPlan, KvFormat, kv};
use gemc::target::Target;
use gemc::typing;
use gemc_format::Codec;
use serde_json::{Map, Value, json};

use crate::check::caught;
use crate::random::Random;

/// Largest values, and some just below.
const SIZES: &[(&str, &[u32])] = &[
    ("hidden_size", &[65_536, 65_535, 4096]),
    ("num_attention_heads", &[4096, 4095, 512]),
    ("head_dim", &[4096, 4094, 512]),
    ("intermediate_size", &[1 << 20, (1 << 20) - 1]),
    ("vocab_size", &[1 << 22, (1 << 22) - 1]),
    (
        "max_position_embeddings",
        &[1 << 24, (1 << 24) - 1, 1 << 20, 1 << 16],
    ),
    ("type_vocab_size", &[1 << 16]),
    ("clusters", &[1 << 16, (1 << 16) - 1]),
    ("top_k", &[1024, 1023]),
    ("scar_heads", &[4096, 64]),
    ("module_width", &[1 << 20, (1 << 20) - 1]),
    ("domains", &[1024, 1023]),
];

/// Parameters of a checkpoint that somebody could have.
const MOST: u64 = 1 << 30;

fn parameters(config: &config::GemConfig) -> u64 {
    let mut sum: u64 = 0;
    let _ = gem::for_each(config, &mut |_, shape| {
        sum = sum.saturating_add(shape.iter().map(|&d| d as u64).product());
        ControlFlow::Continue(())
    });
    sum
}

/// One to three sizes at their ends, the rest small; nothing if import refuses it.
pub fn any(random: &mut Random) -> Value {
    let mut chosen: Vec<(&str, u32)> = Vec::new();
    for _ in 0..=random.below(3) {
        let (key, values) = SIZES[random.below(SIZES.len())];
        chosen.push((key, values[random.below(values.len())]));
    }
    let size = |key: &str, small: u32| {
        let found = chosen.iter().find(|(name, _)| *name == key);
        found.map_or(small, |(_, value)| *value)
    };
    let domains = size("domains", 3);
    let names: Vec<String> = (0..domains).map(|d| d.to_string()).collect();
    let heads = size("num_attention_heads", 4);
    let kv_heads = [1, heads, heads / 2][random.below(3)];
    let mut pick = |values: &[&str]| values[random.below(values.len())].to_owned();
    let config = json!({
        "model_type": "gem", "gem_version": 1, "norm_eps": 1e-5, "num_hidden_layers": 1, "num_labels": 2,
        "architectures": [pick(&["GemForCausalLM", "GemForSequenceClassification"])],
        "hidden_size": size("hidden_size", 32), "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": size("head_dim", 8), "intermediate_size": size("intermediate_size", 48),
        "vocab_size": size("vocab_size", 64), "max_position_embeddings": size("max_position_embeddings", 40),
        "type_vocab_size": size("type_vocab_size", 1), "hidden_act": pick(&["silu", "gelu"]),
        "mlp_gated": pick(&["", "yes"]) == "yes", "norm": pick(&["rmsnorm", "layernorm"]),
        "norm_position": pick(&["pre", "post"]), "position_embedding": pick(&["rope", "learned", "none"]),
        "qk_norm": pick(&["", "yes"]) == "yes", "tie_word_embeddings": pick(&["", "yes"]) == "yes",
        "domains": names, "general_path": pick(&["always", "fallback", "none"]),
        "router": {"layers": pick(&["all", "final"]), "top_k": size("top_k", 2).min(domains),
            "score": pick(&["softmax", "sigmoid"]), "clusters": size("clusters", 4)},
        "scar": {"mask": pick(&["off", "cluster_or_flag", "cluster_or_domain"]), "heads": size("scar_heads", 2)},
        "modules": {"kind": pick(&["mlp", "lora", "off"]), "intermediate_size": size("module_width", 16),
            "rank": size("module_width", 16)},
    });
    config
}

/// Compiles a config for a target; whether there is a program. Nothing if import refuses it.
///
/// # Errors
/// A panic, or a kernel that does not verify.
pub fn check(config: &Value, random: &mut Random) -> Option<Result<bool, String>> {
    let map: &Map<String, Value> = config.as_object()?;
    let mut findings = Findings::default();
    let (read, _) = config::read(map, &mut findings);
    let config = read.filter(|_| findings.is_empty())?;
    if parameters(&config) > MOST {
        return None;
    }
    let targets = Target::with_own_kernels();
    let target = &targets[random.below(targets.len())];
    let codec = Codec::ALL[random.below(Codec::ALL.len())];
    let kv = KvFormat::ALL[random.below(KvFormat::ALL.len())];
    Some(caught(|| {
        let graph = typing::infer(gem::graph(&config)).map_err(|e| e.to_string())?;
        let plan = BitPlan::uniform(&graph, codec).with_kv(kv);
        match pipeline::compile(&graph, &plan, target) {
            Err(fault @ CompileError::Kernel(_)) => Err(fault.to_string()),
            Ok(compiled) => sums(&graph, &plan, &compiled).map(|()| true),
            Err(_) => Ok(false),
        }
    }))
}

/// What planning adds up from a graph is what its program has.
fn sums(graph: &Graph<Typed>, plan: &BitPlan, compiled: &CompiledModel) -> Result<(), String> {
    let shape = &compiled.program.program().shape;
    let matrices = graph.units().iter();
    let matrices: u64 = matrices.map(|u| u.shape.bytes(plan.codec(u.id))).sum();
    let same = |what: &str, added: u64, found: u64| match added == found {
        true => Ok(()),
        false => Err(format!("{added} bytes of {what}, not {found}")),
    };
    let kept = kv::sizes(graph, plan.kv());
    same(
        "a position",
        kept.per_position,
        shape.kv_bytes_per_position.into(),
    )?;
    same("windows", kept.rings, shape.ring_bytes.into())?;
    let weights = floats::bytes(graph) + matrices;
    same("weights", weights, compiled.layout.weight_bytes())
}
