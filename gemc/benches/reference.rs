//! Prefill throughput of the reference executor on the shape of gem-lm with made-up weights: windows of 256 tokens,
//! eight at a time. `cargo bench -p gemc --bench reference`; prints tokens per second of wall clock and of CPU time.

use std::ops::Range;
use std::time::{Duration, Instant};

use gemc::graph::{Graph, TensorId, Typed};
use gemc::import::{Findings, config, gem};
use gemc::reference::{Activations, Batch, OutputRows, Reference, RunOptions};
use gemc::tensors::TensorSource;
use serde_json::json;

const WINDOW: usize = 256;
const WINDOWS: usize = 8;
const VOCAB: usize = 4096;

fn graph() -> Graph<Typed> {
    let config = json!({
        "model_type": "gem", "gem_version": 1, "architectures": ["GemForCausalLM"],
        "hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 512, "vocab_size": VOCAB, "max_position_embeddings": 1024,
        "hidden_act": "silu", "mlp_gated": true, "norm": "rmsnorm", "norm_eps": 1e-5, "norm_position": "pre",
        "position_embedding": "rope", "tie_word_embeddings": true,
        "domains": ["a", "b", "c", "d", "e", "f", "g", "h"],
        "router": {"layers": "all", "score": "softmax", "top_k": 1, "threshold": 0.3,
                   "renormalize": false, "clusters": 64, "bias": false},
        "scar": {"layers": [1, 4], "heads": 4, "mask": "cluster_or_domain", "residual": true},
        "modules": {"kind": "mlp", "intermediate_size": 256},
        "general_path": "always",
    });
    let mut findings = Findings::default();
    let map = config.as_object().expect("an object was written above");
    let (config, _) = config::read(map, &mut findings);
    let config = config.unwrap_or_else(|| unreachable!("{findings:?}"));
    gemc::typing::infer(gem::graph(&config)).expect("the importer's graphs are well-typed")
}

/// Uniform values of a size that keeps activations near 1; routers decide.
struct MadeUp(Graph<Typed>);

impl TensorSource for MadeUp {
    fn read_rows(&self, id: TensorId, rows: Range<usize>, out: &mut [f32]) {
        let tensor = self.0.tensor(id);
        let width: usize = tensor.shape()[1..].iter().product();
        let norm = f32::from(u8::from(tensor.path.ends_with("norm.weight")));
        let deviation = (3.0 / width as f32).sqrt()
            * if tensor.path.contains("router") {
                4.0
            } else {
                1.0
            };
        for (i, x) in out.iter_mut().enumerate() {
            let index = (rows.start * width + i) as u64 ^ (u64::from(id.0) << 40);
            let h = index.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let h = (h ^ (h >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            *x = norm + ((h >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * deviation;
        }
    }

    fn digest(&self, id: TensorId) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&id.0.to_le_bytes());
        digest
    }
}

/// User and system time of this process so far, where the system tells.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 10))
}

fn main() {
    let graph = graph();
    let reference = Reference::new(&graph, &MadeUp(graph.clone()));
    let window = |seed: usize| -> Vec<u32> {
        (0..WINDOW)
            .map(|i| ((i * i * 7 + i * 31 + seed * 101) % VOCAB) as u32)
            .collect()
    };
    let batch = Batch::of(&(0..WINDOWS).map(window).collect::<Vec<_>>());
    for (name, activations, outputs) in [
        ("f32, all logits", Activations::F32, OutputRows::All),
        ("f32, no logits", Activations::F32, OutputRows::None),
        ("int8, all logits", Activations::Rounded, OutputRows::All),
    ] {
        let options = RunOptions {
            activations,
            outputs,
            ..RunOptions::default()
        };
        let mut best = f64::INFINITY;
        let cpu = cpu_time();
        let rounds = 6;
        for _ in 0..rounds {
            let start = Instant::now();
            let run = reference
                .run(&batch, &options)
                .expect("the batch fits the model");
            best = best.min(start.elapsed().as_secs_f64());
            drop(run);
        }
        let tokens = batch.rows() as f64;
        let per_cpu = cpu
            .zip(cpu_time())
            .map(|(a, b)| rounds as f64 * tokens / (b - a).as_secs_f64());
        println!(
            "{name}: {:.0} tokens/s, {:.0} per CPU second",
            tokens / best,
            per_cpu.unwrap_or(f64::NAN)
        );
    }
}
