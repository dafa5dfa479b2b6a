//! A tiny model of which one layer is dead: what is said of it, what goes, and what it costs.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::graph::NodeId;
use crate::pipeline::{LoadedCheckpoint, load};
use crate::progress::Silent;
use crate::reference::{Batch, RunOptions};
use crate::sequences::Origin;

const ROUTED: &str = "lm-all-8mlp-top3-always-domainscar";

fn tiny(name: &str) -> LoadedCheckpoint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
    load(&folder.join(name)).expect("a good checkpoint")
}

/// The model with the general path and modules of layer 1 scaled down until they do nothing.
fn with_a_dead_layer(loaded: &LoadedCheckpoint) -> Reference {
    let mut reference = loaded.reference();
    for branch in dead_branches(reference.graph()) {
        let weights = reference.unit(branch).expect("a map").all().into_owned();
        let scaled: Vec<f32> = weights.iter().map(|w| w * 1e-6).collect();
        reference.replace(branch, scaled).expect("as many");
        if let Some(bias) = reference.bias(branch).map(|bias| bias.len()) {
            reference
                .replace_bias(branch, vec![0.0; bias])
                .expect("as many");
        }
    }
    reference
}

fn is_dead(name: &str) -> bool {
    name.starts_with("model.layers.1.general") || name.starts_with("model.layers.1.modules")
}

fn dead_branches(graph: &crate::graph::Graph<crate::graph::Typed>) -> Vec<NodeId> {
    let branches = graph.branches().into_iter();
    let dead = branches.filter(|branch| is_dead(&branch.name));
    dead.map(|branch| branch.last).collect()
}

fn texts(vocab: usize, documents: usize) -> Vec<Sequence> {
    let mut state = 5u64;
    let mut id = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(99);
        ((state >> 33) % vocab as u64) as u32
    };
    (0..documents)
        .map(|index| Sequence {
            domain: ["one", "two"][index % 2].to_owned(),
            ids: (0..64).map(|_| id()).collect(),
            label: None,
            origin: Origin::default(),
        })
        .collect()
}

#[test]
fn a_dead_layer_is_named_and_no_other() {
    let loaded = tiny(ROUTED);
    let reference = with_a_dead_layer(&loaded);
    let texts = texts(loaded.graph.facts().vocab_size, 1024);
    let found = measure(&reference, &texts, None, &Silent).expect("texts fit");
    assert_eq!(found.branches, loaded.graph.branches().len());
    let of = |verdict| {
        let branches = found
            .found
            .iter()
            .filter(move |branch| branch.verdict == verdict);
        branches
            .map(|branch| branch.name.as_str())
            .collect::<BTreeSet<_>>()
    };
    let (dead, unmeasured) = (of(Verdict::Dead), of(Verdict::Unmeasured));
    assert!(dead.contains("model.layers.1.general"), "{found}");
    assert!(dead.iter().any(|name| name.contains("modules")), "{found}");
    assert!(dead.iter().all(|name| is_dead(name)), "{found}");
    // Every module of the layer is dead, or too few tokens reach it.
    let named: Vec<&&str> = dead
        .union(&unmeasured)
        .filter(|name| is_dead(name))
        .collect();
    assert_eq!(
        named.len(),
        dead_branches(reference.graph()).len(),
        "{found}"
    );
    for branch in found.found.iter().filter(|b| b.verdict == Verdict::Dead) {
        assert!(branch.tokens >= LEAST_TOKENS && branch.kl.is_some_and(|kl| kl < LEAST_KL));
    }
    // As it is, nothing of the model is dead.
    let found = measure(&loaded.reference(), &texts, None, &Silent).expect("texts fit");
    assert!(
        found.found.iter().all(|b| b.verdict != Verdict::Dead),
        "{found}"
    );
}

#[test]
fn too_little_text_says_nothing() {
    let loaded = tiny(ROUTED);
    let reference = with_a_dead_layer(&loaded);
    let texts = texts(loaded.graph.facts().vocab_size, 32);
    let found = measure(&reference, &texts, Some(1.0), &Silent).expect("texts fit");
    assert_eq!(found.found.len(), found.branches);
    for branch in &found.found {
        assert_eq!((branch.verdict, branch.kl), (Verdict::Unmeasured, None));
    }
}

#[test]
fn what_goes_keeps_to_its_limit_together() {
    let loaded = tiny(ROUTED);
    let reference = with_a_dead_layer(&loaded);
    let texts = texts(loaded.graph.facts().vocab_size, 1024);
    let dropped = |limit: f64| {
        let mut found = measure(&reference, &texts, Some(limit), &Silent).expect("texts fit");
        drop_under(&reference, &texts, &mut found, limit, &Silent).expect("texts fit");
        assert!(found.dropped_kl.is_some_and(|kl| kl <= limit), "{found}");
        found.dropped()
    };
    let little = dropped(1e-4);
    assert!(
        little.len() > 1 && little.iter().all(|name| is_dead(name)),
        "{little:?}"
    );
    // A generous limit takes more, of what does something too.
    let more = dropped(0.5);
    assert!(little.iter().all(|name| more.contains(name)));
    assert!(more.len() > little.len(), "{more:?}");
}

#[test]
fn a_graph_without_branches_computes_what_zeros_do() {
    for (name, parts) in [
        (
            ROUTED,
            &[
                "model.layers.1.modules.2",
                "model.layers.0.modules.7",
                "model.layers.1.self_attn",
            ][..],
        ),
        (ROUTED, &["model.layers.0.general"]),
        (
            "lm-some-5lora-top2-fallback-domainscar",
            &["modules.1", "modules.4", "general"],
        ),
        ("cls-some-5mlp-top3-none-flagscar", &["modules.0"]),
    ] {
        let loaded = tiny(name);
        let wanted = |branch: &&Branch| parts.iter().any(|part| branch.name.ends_with(part));
        let branches = loaded.graph.branches();
        let branches: Vec<&Branch> = branches.iter().filter(wanted).collect();
        assert!(!branches.is_empty(), "{name}");
        let mut zeros = loaded.reference();
        for branch in &branches {
            zeros.silence(branch.last).expect("a map");
        }
        let names: Vec<String> = branches.iter().map(|branch| branch.name.clone()).collect();
        let ids: Vec<u32> = (0..40)
            .map(|i| (i * 37 + 11) % loaded.graph.facts().vocab_size as u32)
            .collect();
        let batch = Batch::of(&[&ids]);
        let expected = zeros.run(&batch, &RunOptions::default()).expect("it runs");
        let units = loaded.graph.units().len();
        let pruned = loaded.without(&names).expect("nothing needs them");
        assert!(pruned.graph.units().len() < units);
        let found = pruned
            .reference()
            .run(&batch, &RunOptions::default())
            .expect("it runs");
        let apart = expected.logits.values().iter().zip(found.logits.values());
        let apart = apart.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "{name}: {apart}");
    }
}

#[test]
fn unknown_branches_are_refused() {
    let error = tiny(ROUTED).without(&["model.layers.9".to_owned()]);
    let error = error.expect_err("there is none").to_string();
    assert!(
        error.contains("model.layers.9: the model has no such branch"),
        "{error}"
    );
}
