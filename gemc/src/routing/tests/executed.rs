//! Measures of what the executor decides on tiny checkpoints: they must agree with what it computes.

use std::sync::Arc;

use super::super::*;
use super::fixture::{checkpoint, tokens};
use crate::graph::{NodeId, Site};
use crate::metrics::kl_divergence;
use crate::progress::Silent;
use crate::reference::{Batch, Matrix, Reference, RoutingRecords, RoutingSource, Run, RunOptions};
use crate::sequences::{Origin, Sequence};

/// Every layer and the final placement, softmax and sigmoid, one module and eight, decoders and classifiers.
const ROUTED: &[&str] = &[
    "lm-all-8mlp-top3-always-domainscar",
    "lm-all-1mlp-top1-always-flagscar",
    "lm-all-2lora-top1-none-flagscar",
    "lm-final-5mlp-top3-always",
    "lm-some-1domains-top1-fallback",
    "cls-final-2mlp-top1-fallback",
    "cls-some-5mlp-top3-none-flagscar",
];

fn reference(name: &str) -> Reference {
    let loaded = checkpoint(name);
    loaded.reference()
}

fn texts() -> Vec<Sequence> {
    let lengths = [40, 1, 23, 40];
    let sequence = |(i, n): (usize, usize)| Sequence {
        domain: ["law", "stem"][i % 2].to_owned(),
        ids: tokens(n, i),
        label: None,
        origin: Origin::default(),
    };
    lengths.into_iter().enumerate().map(sequence).collect()
}

fn batch(texts: &[Sequence]) -> Batch {
    let ids: Vec<&[u32]> = texts.iter().map(|s| &s.ids[..]).collect();
    Batch::of(&ids)
}

fn routes(reference: &Reference, texts: &[Sequence], run: &Run) -> Routes {
    let mut collector = Collector::new(reference.graph());
    collector.push_batch(texts, &run.routing).unwrap();
    collector.finish()
}

#[test]
fn counts_add_up_to_tokens() {
    for name in ROUTED {
        let reference = reference(name);
        let texts = texts();
        let run = reference
            .run(&batch(&texts), &RunOptions::default())
            .unwrap();
        let routes = routes(&reference, &texts, &run);
        assert_eq!(routes.tokens(), 104, "{name}");
        for site in &routes.sites {
            let parts = site.domains.values().chain([&site.all]);
            for m in parts {
                assert_eq!(
                    m.argmax.iter().sum::<u64>(),
                    m.tokens,
                    "{name} {}",
                    site.site
                );
                assert_eq!(
                    m.states.iter().sum::<u64>(),
                    m.tokens,
                    "{name} {}",
                    site.site
                );
                let unfired = *m.states.last().unwrap() as f64;
                assert!((m.fired.unwrap() - 1.0 + unfired / m.tokens as f64).abs() < 1e-12);
                let most = (site.top_k as u64) * m.tokens;
                assert!(m.traffic.iter().map(|t| t.tokens).sum::<u64>() <= most);
                if let Some(clusters) = &m.clusters {
                    assert_eq!(clusters.tokens.values().sum::<u64>(), m.tokens);
                }
                if let Some(single) = m.density.and_then(|d| d.single) {
                    assert!(single > 0.0 && single <= 1.0, "{name} {single}");
                }
            }
        }
        for transition in &routes.transitions {
            for flow in transition.domains.values().chain([&transition.all]) {
                let states = flow.edges.iter().map(|e| e.from.max(e.to)).max().unwrap() + 1;
                for from in 0..states {
                    let sum: f64 = (0..states).map(|to| flow.probability(from, to)).sum();
                    assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-12, "{name} {sum}");
                }
            }
            let tokens: u64 = transition.all.edges.iter().map(|e| e.tokens).sum();
            assert_eq!(tokens, routes.tokens(), "{name}");
        }
    }
}

#[test]
fn expected_cost_is_what_the_executor_computes() {
    for name in ROUTED.iter().filter(|name| name.starts_with("lm")) {
        let reference = reference(name);
        let texts = texts();
        let mut rows = 0;
        let observer =
            &mut |id: NodeId, x: &Matrix, _: &RoutingRecords| rows += x.rows() * (id.index() + 1);
        let run = reference
            .run_observed(&batch(&texts), &RunOptions::default(), observer)
            .unwrap();
        let routes = routes(&reference, &texts, &run);
        // Each node at another price, the embedding for nothing, as no product is observed there.
        let embedding = reference.units().next().unwrap();
        let price = |id: NodeId| {
            if id == embedding {
                0.0
            } else {
                (id.index() + 1) as f64
            }
        };
        let expected = routes.expected(reference.graph(), price);
        let found = expected.all.unwrap() * routes.tokens() as f64;
        assert!(
            (found - rows as f64).abs() < 1e-6 * found,
            "{name}: {found} {rows}"
        );
        let by_domain = expected.domains.iter();
        let weighted: f64 = by_domain
            .map(|(d, cost)| cost * routes.texts[d] as f64)
            .sum();
        assert!(
            (weighted - found).abs() < 1e-6 * found,
            "{name}: {weighted} {found}"
        );
    }
}

/// Mean KL of the undisturbed run when a module's gate is zero: another way to switch it off, where gates are not
/// renormalised or the module never fires.
fn with_gate_zero(reference: &Reference, texts: &[Sequence], site: Site, module: usize) -> f64 {
    let batch = batch(texts);
    let run = reference.run(&batch, &RunOptions::default()).unwrap();
    let mut records = run.routing.clone();
    let mut routing = records.get(site).unwrap().clone();
    let mut decisions = (*routing.decisions).clone();
    for row in 0..decisions.rows() {
        decisions.p[row * decisions.modules + module] = 0.0;
    }
    routing.decisions = Arc::new(decisions);
    records.insert(site, routing);
    let options = RunOptions {
        routing: RoutingSource::Forced(&records),
        ..RunOptions::default()
    };
    let off = reference.run(&batch, &options).unwrap();
    let kl = (0..run.logits.rows()).map(|r| kl_divergence(run.logits.row(r), off.logits.row(r)));
    kl.sum::<f64>() / run.logits.rows() as f64
}

#[test]
fn a_module_that_is_off_adds_nothing_biases_included() {
    for (name, site) in [
        ("cls-some-5mlp-top3-none-flagscar", Site::Layer(1)),
        ("cls-final-2mlp-top1-fallback", Site::Final),
        ("lm-some-2lora-top2-always-domainscar", Site::Layer(0)),
        ("lm-all-8mlp-top3-always-domainscar", Site::Layer(0)),
    ] {
        let reference = reference(name);
        let options = CausalOptions { free_routing: true };
        let found = causal(&reference, &texts(), options, &Silent).unwrap();
        let of_site: Vec<_> = found
            .modules
            .iter()
            .filter(|m| m.site == site.to_string())
            .collect();
        assert_eq!(of_site.len(), reference.graph().facts().domains.len());
        let mut any = false;
        for module in of_site {
            let want = with_gate_zero(&reference, &texts(), site, module.module);
            let near = (module.kl - want).abs() <= 1e-9 + 1e-3 * want;
            assert!(near, "{name} {}: {} {want}", module.module, module.kl);
            // A classifier reads one row of a text, which not every module serves.
            let decoder = name.starts_with("lm");
            let costs = module.kl > 0.0;
            assert!(costs || module.tokens == 0 || !decoder, "{name} {module:?}");
            assert!(module.tokens > 0 || !costs, "{name} {module:?}");
            any |= costs;
        }
        assert!(any, "{name}: no module costs anything");
    }
}

#[test]
fn a_module_that_is_never_reached_costs_exactly_nothing() {
    let reference = reference("lm-final-5mlp-top3-always");
    let texts = [Sequence {
        domain: "law".to_owned(),
        ids: tokens(1, 3),
        label: None,
        origin: Origin::default(),
    }];
    let options = CausalOptions { free_routing: true };
    let found = causal(&reference, &texts, options, &Silent).unwrap();
    let unreached: Vec<_> = found.modules.iter().filter(|m| m.tokens == 0).collect();
    assert!(
        unreached.len() >= 2,
        "one token reaches three modules of five at most"
    );
    for module in unreached {
        assert_eq!((module.kl, module.kl_free), (0.0, Some(0.0)));
        // Running it all the same finds nothing either.
        assert_eq!(
            with_gate_zero(&reference, &texts, Site::Final, module.module),
            0.0
        );
    }
    let json = serde_json::to_string(&found).unwrap();
    assert!(!json.contains("-0.0"), "{json}");
}

#[test]
fn afterwards_the_model_is_as_it_was_and_another_run_finds_the_same() {
    let reference = reference("cls-some-5mlp-top3-none-flagscar");
    let before = reference
        .run(&batch(&texts()), &RunOptions::default())
        .unwrap();
    let first = causal(&reference, &texts(), CausalOptions::default(), &Silent).unwrap();
    let after = reference
        .run(&batch(&texts()), &RunOptions::default())
        .unwrap();
    assert!(before.logits == after.logits);
    assert_eq!(
        (first.tokens, first.outputs),
        (104, 4),
        "a classifier has an output a text"
    );
    let second = causal(&reference, &texts(), CausalOptions::default(), &Silent).unwrap();
    assert_eq!(first, second);
    let weighted = |m: &ModuleCost| (m.domains["law"] * 2.0 + m.domains["stem"] * 2.0) / 4.0;
    for module in &first.modules {
        assert!((module.kl - weighted(module)).abs() < 1e-12, "{module:?}");
        assert_eq!(module.kl_free, None);
    }
    // A failing run gives the weights back, too.
    let mut bad = texts();
    bad[0].ids[0] = u32::MAX;
    causal(&reference, &bad, CausalOptions::default(), &Silent).unwrap_err();
    let again = reference
        .run(&batch(&texts()), &RunOptions::default())
        .unwrap();
    assert!(before.logits == again.logits);
}

#[test]
fn models_without_modules_have_no_costs() {
    for name in ["lm-dense-pre-rope", "lm-some-1domains-top1-fallback"] {
        let reference = reference(name);
        let found = causal(&reference, &texts(), CausalOptions::default(), &Silent).unwrap();
        assert_eq!((found.modules.len(), found.outputs), (0, 104), "{name}");
        let none = causal(&reference, &[], CausalOptions::default(), &Silent).unwrap();
        assert_eq!(none, Causal::default());
    }
}
