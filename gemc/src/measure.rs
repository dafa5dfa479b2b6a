//! This machine -> the costs of a target that it runs: a product of every format as machine code, a pass over memory, barriers, and
//! the phases of a small model that has work of every kind.

use std::collections::BTreeMap;

use gem_runtime::kit::three_digits;
use gem_runtime::protocol::{
    BenchRequest, Peer as _, ProbeRequest, Server, barrier, costs_of_phases, measure_products,
    probe,
};
use gemc_format::{Codec, Rounding};

use crate::backend::{self, JitEngineError};
use crate::emit::cranelift::Effort;
use crate::graph::Task;
use crate::jit::{JitError, JitProgram};
use crate::pipeline::{self, CompileError};
use crate::plan::BitPlan;
use crate::prepared::PreparedModel;
use crate::products;
use crate::progress::Silent;
use crate::synth::{self, SynthError};
use crate::target::{Costs, Memory, Target};
use crate::work::{self, StepRows};

/// Tokens of the small model's prompt.
const PROMPT: u32 = 256;

/// How often it is read.
const PROMPTS: u32 = 5;

/// A decoder that has attention, routing, clusters and SCAR, and whose weights do not matter.
const SMALL: &str = r#"{
    "model_type": "gem", "gem_version": 1, "architectures": ["GemForCausalLM"], "hidden_size": 256, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 64, "intermediate_size": 512, "vocab_size": 512,
    "max_position_embeddings": 1024, "norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu",
    "mlp_gated": true, "norm": "rmsnorm", "norm_position": "pre", "position_embedding": "rope", "domains": ["a", "b", "c", "d"],
    "router": {"layers": "all", "score": "softmax", "top_k": 1, "threshold": 0.1, "renormalize": false, "clusters": 64, "bias": false},
    "scar": {"layers": [1], "heads": 4, "mask": "cluster_or_domain", "residual": true},
    "modules": {"kind": "mlp", "intermediate_size": 256}, "general_path": "always"
}"#;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The machine code could not be made.
    #[error(transparent)]
    Jit(#[from] JitError),
    /// The small model could not be made machine code.
    #[error(transparent)]
    Engine(#[from] JitEngineError),
    /// There is not enough memory, or no thread.
    #[error(transparent)]
    Runtime(#[from] gem_runtime::Error),
    /// There is no place for the small model.
    #[error("temporary folder: {0}")]
    Folder(std::io::Error),
    /// The small model cannot be written.
    #[error(transparent)]
    Synth(#[from] SynthError),
    /// The small model cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A fault of gemc.
    #[error("internal fault, please report: a kernel failed verification: {0}")]
    Kernel(String),
}

/// Measures this machine; products are those of the target, which must run here. Takes seconds.
///
/// # Errors
/// When machine code cannot be made, or memory or threads are not to be had.
pub fn measure(target: &Target, threads: Option<u32>) -> Result<Costs, MeasureError> {
    let found = probe(&ProbeRequest {
        threads,
        ..ProbeRequest::modest(threads)
    })?;
    let (program, products) = products::program(target).map_err(MeasureError::Kernel)?;
    let jit = JitProgram::with_effort(&program, Effort::High)?;
    let costs = measure_products(&jit, &products, &mut |_| {})?;
    let mut others: BTreeMap<String, f64> = phases(target)?;
    let activations = costs.others.iter();
    others.extend(activations.map(|(kind, cost)| ((*kind).to_owned(), three_digits(*cost))));
    let of = |cost: fn(&_) -> f64| {
        let costs = costs.products.iter();
        let costs = costs.map(|t| (t.format.to_owned(), three_digits(cost(t))));
        costs.collect()
    };
    let barrier = match found.threads {
        1 => 0.0,
        threads => three_digits(1e6 * barrier(Some(threads))?),
    };
    Ok(Costs {
        projected: false,
        threads: found.threads,
        bandwidth: three_digits(found.bytes_per_second / 1e9),
        barrier,
        weights: of(|t| t.alone),
        batch: of(|t| t.batch),
        others,
    })
}

/// Memory of this machine and its last cache, where the system tells.
#[must_use]
pub fn memory() -> Option<Memory> {
    let kilobytes = |text: &str| text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok();
    let about = std::fs::read_to_string("/proc/meminfo").ok()?;
    let ram = about
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let size = |index: u32| {
        let file = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        let text = std::fs::read_to_string(file).ok()?;
        text.trim().strip_suffix('K')?.parse::<u64>().ok()
    };
    Some(Memory {
        ram: 1024 * kilobytes(ram)?,
        cache: (0..8)
            .filter_map(size)
            .max()
            .map(|kilobytes| 1024 * kilobytes),
    })
}

/// What a thousand values of each kind of work take that phases are of by themselves.
fn phases(target: &Target) -> Result<BTreeMap<String, f64>, MeasureError> {
    let folder = tempfile::tempdir().map_err(MeasureError::Folder)?;
    let config = folder.path().join("config.json");
    std::fs::write(&config, SMALL).map_err(MeasureError::Folder)?;
    let checkpoint = folder.path().join("model");
    synth::synth(&config, &checkpoint, 0, &Silent)?;
    let loaded = pipeline::load(&checkpoint)?;
    let plan = BitPlan::uniform(&loaded.graph, Codec::B8);
    let model = PreparedModel::new(loaded, plan, target.clone(), Rounding::Plain, None)?;
    let engine = backend::jitted_with(&model, Effort::High)?;
    let bench = Server::new(&engine, 0).bench(&BenchRequest {
        prefill: PROMPT,
        decode: 0,
        runs: PROMPTS,
        phases: true,
        threads: Some(1),
    })?;
    let step = StepRows::text(PROMPT, Task::CausalLm);
    let work: Vec<(&'static str, f64)> = (work::of(&model.compiled).iter())
        .map(|phase| phase.alone(step).unwrap_or(("", 0.0)))
        .collect();
    let costs = costs_of_phases(&work, &bench.prefill_phase_ns, PROMPTS);
    let named = costs
        .into_iter()
        .map(|(kind, cost)| (kind.to_owned(), three_digits(cost)));
    Ok(named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::WorkKind;

    #[test]
    fn what_is_measured_is_a_target_s_costs() {
        let costs = measure(&Target::host(), Some(2)).unwrap();
        assert_eq!(costs.threads, 2);
        assert!(costs.barrier > 0.0);
        let missing = WorkKind::ALL.map(WorkKind::name);
        let missing = missing
            .into_iter()
            .find(|kind| !costs.others.contains_key(*kind));
        assert_eq!(missing, None);
        let target = Target {
            costs: Some(costs),
            ..Target::host()
        };
        let text = toml::to_string_pretty(&target).unwrap();
        assert_eq!(Target::parse("board.toml", &text).unwrap(), target);
    }
}
