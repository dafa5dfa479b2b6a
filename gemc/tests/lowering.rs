//! Every tiny checkpoint lowers to a program that the verifier accepts, for every target and format.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gem_runtime::simd::Level;
use gemc::graph::{Graph, Typed};
use gemc::pack::floats;
use gemc::pipeline::{self, CompiledModel};
use gemc::plan::activations::Rule;
use gemc::plan::{BitPlan, KvFormat, kv};
use gemc::target::Target;
use gemc_format::{ActivationFormat, Codec};
use gemc_kernels::ir::KernelId;
use gemc_kernels::ir::outline::{OutlineKernel, outlines_of};
use gemc_kernels::ir::verify::{Verified, verify};
use gemc_kernels::kernels::with_outlines;
use gemc_kernels::micro::find;

fn checkpoints() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
    let mut found: Vec<PathBuf> = std::fs::read_dir(root)
        .expect("the tiny checkpoints are part of the tree")
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| p.join("config.json").is_file())
        .collect();
    found.sort();
    found
}

/// This format of activations everywhere.
fn everywhere(format: ActivationFormat) -> Rule {
    Rule {
        units: String::new(),
        format,
    }
}

#[test]
fn every_checkpoint_lowers_and_verifies() {
    let checkpoints = checkpoints();
    let targets = Target::with_own_kernels();
    assert!(targets.len() >= 5, "{targets:?}");
    assert!(checkpoints.len() >= 24);
    let mut faults = Vec::new();
    for dir in checkpoints {
        let loaded = match pipeline::load(&dir) {
            Ok(loaded) => loaded,
            Err(e) => {
                faults.push(format!("{}: {e}", dir.display()));
                continue;
            }
        };
        for target in &targets {
            for &codec in Codec::ALL {
                let plan = BitPlan::uniform(&loaded.graph, codec);
                for format in ActivationFormat::ALL {
                    let plan = plan
                        .clone()
                        .with_activations(&loaded.graph, &[everywhere(format)]);
                    let plan = plan.expect("all units agree");
                    // Three of the nine combinations: each with each in some build.
                    let plan = plan.with_kv(KvFormat::ALL[format as usize]);
                    match pipeline::compile(&loaded.graph, &plan, target) {
                        Ok(compiled) => sums_are_those_of(&compiled, &loaded.graph, &plan),
                        Err(e) => {
                            let (dir, target) = (dir.display(), &target.name);
                            faults.push(format!("{dir} {target} {codec:?}: {e}"));
                        }
                    }
                }
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults[..faults.len().min(5)].join("\n\n")
    );
}

/// What planning adds up from a graph is what its program has.
fn sums_are_those_of(compiled: &CompiledModel, graph: &Graph<Typed>, plan: &BitPlan) {
    let shape = compiled.program.program().shape;
    let kept = kv::Sizes {
        per_position: shape.kv_bytes_per_position.into(),
        rings: shape.ring_bytes.into(),
    };
    assert_eq!(kv::sizes(graph, plan.kv()), kept);
    let units = graph.units().iter();
    let matrices: u64 = units.map(|u| u.shape.bytes(plan.codec(u.id))).sum();
    let weights = compiled.layout.weight_bytes();
    assert_eq!(floats::bytes(graph) + matrices, weights);
}

/// The outlines of a program by the keys of their copies.
fn all_outlines(program: &Verified) -> BTreeMap<u64, OutlineKernel> {
    let ids = (0..program.program().kernels.len()).map(KernelId::from_index);
    let outlines = ids.flat_map(|id| outlines_of(program.kernel(id)));
    let each = outlines.map(|outline| outline.expect("a copy can do it"));
    each.map(|outline| (outline.key(), outline)).collect()
}

/// Machine code calls a compiled copy only where its text is that of the outline to the letter.
#[test]
fn every_outline_of_the_models_has_a_copy() {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/models");
    let mut copied = 0;
    for name in ["gem-lm", "gem-cls"] {
        let loaded = pipeline::load(&examples.join(name)).expect("a model of the tree");
        for target in Target::with_own_kernels() {
            let known = verify(with_outlines(target.dot, target.row_block)).expect("sound");
            let known = all_outlines(&known);
            for &codec in Codec::ALL {
                let plan = BitPlan::uniform(&loaded.graph, codec);
                let mut held = BTreeMap::new();
                for format in ActivationFormat::ALL {
                    let plan = plan
                        .clone()
                        .with_activations(&loaded.graph, &[everywhere(format)]);
                    let plan = plan.expect("all units agree");
                    let plan = plan.with_kv(KvFormat::ALL[format as usize]);
                    let compiled = pipeline::compile(&loaded.graph, &plan, &target);
                    held.extend(all_outlines(&compiled.expect("it lowers").program));
                }
                let parts = ["dot", "score_keys", "sum_values"];
                for part in parts {
                    assert!(held.values().any(|o| o.kernel.name.starts_with(part)));
                }
                for (key, outline) in held {
                    let name = &outline.kernel.name;
                    assert!(
                        known.contains_key(&key),
                        "{name} of {} is not listed",
                        target.name
                    );
                    // Levels beyond 128-bit vectors have copies; `find` gives those that this CPU runs.
                    if target.level != Level::Portable && target.level.supported() {
                        copied += 1;
                        let found = find(key).is_some();
                        assert!(found, "{name} of {} has no copy", target.name);
                    }
                }
            }
        }
    }
    println!("{copied} outlines have copies that this CPU runs");
    assert!(copied > 0 || !Level::X86V3.supported());
}
