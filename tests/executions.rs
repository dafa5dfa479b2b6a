//! The kernels of every tiny checkpoint, interpreted, against the fake-quantised executor; and as machine
//! code of this machine against the interpreter: bit for bit, on one thread and on several.
//!
//! Every checkpoint meets every format, and every target some formats of every checkpoint: each of the combinations of
//! two is run, of all three one in as many as there are targets, by rotation. `gemc/tests/lowering.rs` verifies them all,
//! and `tests/kernels/` holds products of every format and strategy against the format's rule. Every
//! format of activations, and of keys and values, meets every checkpoint once, and a model whose rows are longer than wide blocks.

use std::path::{Path, PathBuf};

use gem_runtime::protocol::{Server, Setup};
use gem_tests::goldens::{self, Golden};
use gemc::emit::cranelift::Effort;
use gemc::metrics::kl_divergence;
use gemc::pipeline::LoadedCheckpoint;
use gemc::plan::activations::Rule;
use gemc::plan::{BitPlan, KvFormat};
use gemc::prepared::PreparedModel;
use gemc::progress::Silent;
use gemc::reference::{Activations, Batch, Reference, RunOptions};
use gemc::target::Target;
use gemc::verify::candidate::{Candidate, Executor, Output, ProgramCandidate};
use gemc::{backend, fake, pipeline, synth};
use gemc_format::{ActivationFormat, Codec, Rounding};
use libtest_mimic::{Arguments, Failed, Trial};

/// Mean KL in nats between kernels and the fake-quantised executor, routing forced, that is always small enough.
const NEGLIGIBLE: f64 = 2e-4;

/// The same where all activations are int16, whose steps are too small to amplify another order of sums.
const PRECISE: f64 = 1e-6;

/// What keys and values in fewer bits may add.
const OF_KV: f64 = 5e-3;

/// Share of the quantisation's own KL that kernels may add: sums differ in order, so an activation may fall on the
/// other side of a rounding step now and then, and tiny random models amplify each.
const SHARE: f64 = 0.5;

/// Rows of more than one wide block, and of more than two, none of them whole.
const WIDE: &str = r#"{
  "model_type": "gem", "gem_version": 1, "architectures": ["GemForCausalLM"], "hidden_size": 288, "num_hidden_layers": 2,
  "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 32, "intermediate_size": 544, "vocab_size": 320,
  "max_position_embeddings": 64, "norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
  "hidden_act": "silu", "mlp_gated": true, "norm": "rmsnorm", "norm_position": "pre", "position_embedding": "rope",
  "domains": ["a", "b", "c"],
  "router": {"layers": "all", "score": "softmax", "top_k": 2, "threshold": 0.3, "renormalize": true, "clusters": 4, "bias": true},
  "scar": {"layers": "routed", "heads": 9, "mask": "cluster_or_domain", "residual": true},
  "modules": {"kind": "mlp", "intermediate_size": 320}, "general_path": "fallback", "torch_dtype": "bfloat16"
}"#;

/// General path and modules as wide as each other, so that their second products differ in the rows of their buffers alone.
const EQUAL_WIDTHS: &str = r#"{"architectures": ["GemForCausalLM"], "model_type": "gem", "gem_version": 1, "hidden_size": 64, "num_hidden_layers":
2, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 300, "max_position_embeddings": 512,
"num_key_value_heads": 2, "head_dim": 16, "hidden_act": "silu", "mlp_gated": true, "norm": "rmsnorm", "norm_eps":
1e-05, "norm_position": "pre", "position_embedding": "rope", "type_vocab_size": 0, "attention_bias": false,
"mlp_bias": false, "qk_norm": false, "tie_word_embeddings": false, "domains": ["healthcare", "law"], "router":
{"layers": [0, 1], "score": "sigmoid", "top_k": 2, "threshold": 0.3, "renormalize": false, "clusters": 0, "bias":
false}, "scar": {"layers": "routed", "heads": 1, "mask": "off", "residual": true}, "modules": {"kind": "mlp",
"intermediate_size": 96}, "general_path": "fallback", "rope_theta": 10000.0, "rope_scaling": null, "torch_dtype":
"bfloat16", "bos_token_id": 257, "eos_token_id": 258, "pad_token_id": 256, "initializer_range": 0.02}"#;

/// Attention and SCAR whose heads differ in the columns of their projections alone.
const EQUAL_HEADS: &str = r#"{"architectures": ["GemForCausalLM"], "model_type": "gem", "gem_version": 1, "hidden_size": 312, "num_hidden_layers":
2, "num_attention_heads": 12, "intermediate_size": 96, "vocab_size": 300, "max_position_embeddings": 512,
"num_key_value_heads": 12, "head_dim": 26, "hidden_act": "relu", "mlp_gated": false, "norm": "rmsnorm", "norm_eps":
1e-05, "norm_position": "pre", "position_embedding": "learned", "type_vocab_size": 0, "attention_bias": true,
"mlp_bias": true, "qk_norm": false, "tie_word_embeddings": false, "domains": ["healthcare", "law"], "router":
{"layers": [0, 1], "score": "sigmoid", "top_k": 2, "threshold": 0.3, "renormalize": false, "clusters": 0, "bias":
false}, "scar": {"layers": "routed", "heads": 12, "mask": "cluster_or_domain", "residual": true}, "modules": {"kind":
"lora", "rank": 5}, "general_path": "always", "torch_dtype": "bfloat16", "bos_token_id": 257, "eos_token_id": 258,
"pad_token_id": 256, "initializer_range": 0.02}"#;

/// Sizes of the team that runs machine code.
const THREADS: [u32; 2] = [1, 3];

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let targets = Target::with_own_kernels();
    for (i, dir) in gem_tests::checkpoints().into_iter().enumerate() {
        for (j, &codec) in Codec::ALL.iter().enumerate() {
            let target = targets[(i + j) % targets.len()].clone();
            let dir = dir.clone();
            let title = format!("{}::{}::{}", name(&dir), target.name, codec.name());
            trials.push(Trial::test(title, move || {
                agrees(&dir, Variant::of(codec), &target)
            }));
        }
        let target = targets[i % targets.len()].clone();
        let codec = Codec::ALL[i % Codec::ALL.len()];
        for format in ActivationFormat::ALL {
            let (codec_name, format_name) = (codec.name(), format.name());
            let title = format!(
                "{}::{}::{codec_name}::{format_name}",
                name(&dir),
                target.name
            );
            let (dir, target) = (dir.clone(), target.clone());
            trials.push(Trial::test(title, move || {
                agrees(&dir, Variant::of(codec).with(format), &target)
            }));
        }
        for kv in [KvFormat::F16, KvFormat::Int8] {
            let title = format!("{}::{}::kv-{}", name(&dir), target.name, kv.name());
            let (dir, target) = (dir.clone(), target.clone());
            let variant = Variant {
                kv,
                ..Variant::of(codec)
            };
            trials.push(Trial::test(title, move || agrees(&dir, variant, &target)));
        }
    }
    for target in targets {
        for format in [ActivationFormat::Int8Wide, ActivationFormat::Int16] {
            let title = format!("long-rows-{}-{}", target.name, format.name());
            let target = target.clone();
            trials.push(Trial::test(title.clone(), move || {
                agrees(
                    &synthetic(&title, WIDE)?,
                    Variant::of(Codec::N4).with(format),
                    &target,
                )
            }));
        }
    }
    // Both were silently wrong while kernels were known by names that left these differences out.
    for (what, config) in [("equal-widths", EQUAL_WIDTHS), ("equal-heads", EQUAL_HEADS)] {
        for target in Target::with_own_kernels() {
            let title = format!("{what}-{}", target.name);
            trials.push(Trial::test(title.clone(), move || {
                let variant = Variant::of(Codec::B8).with(ActivationFormat::Int16);
                agrees(&synthetic(&title, config)?, variant, &target)
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A random model of a config, in a folder of its own.
fn synthetic(title: &str, config_text: &str) -> Result<PathBuf, Failed> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(title);
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(&root)?;
    let (config, dir) = (root.join("config.json"), root.join("model"));
    std::fs::write(&config, config_text)?;
    synth::synth(&config, &dir, 3, &Silent)?;
    Ok(dir)
}

/// What to run: the goldens of a checkpoint; of one that has none, some tokens with the reference's routing.
fn inputs(
    dir: &Path,
    loaded: &LoadedCheckpoint,
    reference: &Reference,
) -> Result<Vec<Golden>, Failed> {
    if dir.join("golden.safetensors").exists() {
        return Ok(goldens::read(dir, &loaded.graph)?);
    }
    let facts = loaded.graph.facts();
    // More than a step has rows, where the model has so many positions.
    let tokens = facts.max_positions.min(200) as u32;
    let vocab = facts.vocab_size as u32;
    let ids: Vec<u32> = (0..tokens).map(|i| (i * 37 + i * i) % vocab).collect();
    let run = reference.run(&Batch::one(&ids), &RunOptions::default())?;
    let routing = run.routing;
    let logits = Vec::new();
    Ok(vec![Golden {
        ids,
        logits,
        routing,
    }])
}

/// What varies between builds of a checkpoint.
#[derive(Clone, Copy)]
struct Variant {
    codec: Codec,
    /// Of all units, where it is not the usual one.
    activations: Option<ActivationFormat>,
    kv: KvFormat,
}

impl Variant {
    const fn of(codec: Codec) -> Self {
        Self {
            codec,
            activations: None,
            kv: KvFormat::F32,
        }
    }

    const fn with(mut self, activations: ActivationFormat) -> Self {
        self.activations = Some(activations);
        self
    }

    /// How far kernels may be from the executor, whose keys and values are f32, in mean KL.
    fn allowed(self, quantisation: f64) -> f64 {
        match (self.activations, self.kv) {
            (Some(ActivationFormat::Int16), _) => PRECISE,
            (_, KvFormat::F32) => NEGLIGIBLE.max(SHARE * quantisation),
            (_, KvFormat::F16 | KvFormat::Int8) => OF_KV.max(SHARE * quantisation),
        }
    }
}

fn agrees(dir: &Path, variant: Variant, target: &Target) -> Result<(), Failed> {
    let Variant {
        codec,
        activations,
        kv,
    } = variant;
    let loaded = pipeline::load(dir)?;
    let everywhere = |format| Rule {
        units: String::new(),
        format,
    };
    let rules: Vec<Rule> = activations.map(everywhere).into_iter().collect();
    let plan = BitPlan::uniform(&loaded.graph, codec);
    let plan = plan.with_activations(&loaded.graph, &rules)?.with_kv(kv);
    let model = PreparedModel::new(loaded, plan, target.clone(), Rounding::Plain, None)?;
    let (loaded, plan) = (&model.loaded, &model.plan);
    let engine = backend::interpreted(&model)?;
    let reference = loaded.reference();
    let mut original = Executor {
        reference: &reference,
        activations: Activations::F32,
    };
    let mut faked = loaded.reference();
    fake::quantise(&mut faked, plan, Rounding::Plain)?;
    let mut server = Server::new(&engine, 0);
    let mut interpreted = ProgramCandidate {
        peer: &mut server,
        graph: &loaded.graph,
        setup: Setup::default(),
    };
    // Kernels of targets that this machine does not run compute the same bits in its own instructions.
    let machine_code = if target.runs_here() {
        backend::jitted(&model, Effort::default(), &Silent)?
    } else {
        backend::jitted_with(&model, Effort::default())?
    };
    let mut executor = Executor {
        reference: &faked,
        activations: Activations::Rounded,
    };
    for golden in inputs(dir, loaded, &reference)? {
        if golden.ids.len() > 64 && codec != Codec::B8 {
            continue;
        }
        let forced = Some(&golden.routing);
        let kernels = interpreted.run(&golden.ids, forced)?;
        for threads in THREADS {
            let mut server = Server::new(&machine_code, 0);
            let mut program = ProgramCandidate {
                peer: &mut server,
                graph: &loaded.graph,
                setup: Setup {
                    threads: Some(threads),
                    ..Setup::default()
                },
            };
            equal(&kernels, &program.run(&golden.ids, forced)?, threads)?;
        }
        let expected = executor.run(&golden.ids, forced)?;
        let kl = mean_kl(&expected.logits, &kernels.logits);
        let quantisation = mean_kl(&original.run(&golden.ids, forced)?.logits, &expected.logits);
        if kl.is_nan() || kl > variant.allowed(quantisation) {
            return Err(format!(
                "{} tokens: mean KL {kl:e}, of quantisation itself {quantisation:e}",
                golden.ids.len()
            )
            .into());
        }
    }
    Ok(())
}

/// Holds machine code against the interpreter.
fn equal(interpreted: &Output, found: &Output, threads: u32) -> Result<(), Failed> {
    let bits = |output: &Output| -> Vec<Vec<u32>> {
        let row = |row: &Vec<f32>| row.iter().map(|x| x.to_bits()).collect();
        output.logits.iter().map(row).collect()
    };
    let (want, got) = (bits(interpreted), bits(found));
    if want != got {
        let rows = want.iter().zip(&got);
        let row = rows.take_while(|(a, b)| a == b).count();
        return Err(
            format!("machine code, {threads} threads: row {row} of the logits differs").into(),
        );
    }
    // Floats print as the shortest decimal that reads back exactly.
    let routing = |output: &Output| format!("{:?}", output.routing);
    if routing(interpreted) != routing(found) {
        return Err(format!("machine code, {threads} threads: routing differs").into());
    }
    Ok(())
}

fn mean_kl(expected: &[Vec<f32>], found: &[Vec<f32>]) -> f64 {
    assert_eq!(expected.len(), found.len());
    let sum: f64 = expected
        .iter()
        .zip(found)
        .map(|(p, q)| kl_divergence(p, q))
        .sum();
    sum / expected.len() as f64
}
