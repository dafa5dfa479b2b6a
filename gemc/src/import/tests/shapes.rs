//! Every legal combination of keys: its graph is well typed and reads exactly the tensors of the table.

use serde_json::{Value, json};

use super::super::*;
use super::{set, with};
use crate::graph::Guard;
use crate::typing;

/// Every combination of the keys that decide which nodes and tensors exist.
#[test]
fn every_legal_combination_has_a_well_typed_graph_of_exactly_its_tensors() {
    let mut count = 0;
    for layers in [json!([]), json!([1]), json!("all"), json!("final")] {
        for general in ["always", "fallback", "none"] {
            for kind in ["mlp", "lora", "off"] {
                for mask in ["cluster_or_flag", "off"] {
                    for variant in 0..8 {
                        let routed = layers != json!([]);
                        if !routed && (kind != "off" || mask != "off") {
                            continue;
                        }
                        let config = combination(&layers, general, kind, mask, variant);
                        check_graph(&config);
                        count += 1;
                    }
                }
            }
        }
    }
    assert_eq!(count, 8 * 3 * (1 + 3 * 6));
}

fn combination(layers: &Value, general: &str, kind: &str, mask: &str, variant: u32) -> Value {
    let bit = |b: u32| variant >> b & 1 == 1;
    let mut config = with(&[
        ("router.layers", layers.clone()),
        ("general_path", json!(general)),
        ("modules.kind", json!(kind)),
        ("modules.rank", json!(4)),
        ("scar.mask", json!(mask)),
        ("scar.residual", json!(bit(0))),
        ("router.clusters", json!(if bit(1) { 0 } else { 5 })),
        ("norm_position", json!(if bit(0) { "pre" } else { "post" })),
        ("norm", json!(if bit(1) { "rmsnorm" } else { "layernorm" })),
        (
            "position_embedding",
            json!(if bit(1) { "learned" } else { "rope" }),
        ),
        ("mlp_gated", json!(bit(2))),
        ("mlp_bias", json!(bit(0))),
        ("attention_bias", json!(bit(1))),
        ("qk_norm", json!(bit(2))),
        ("type_vocab_size", json!(variant & 2)),
        ("tie_word_embeddings", json!(bit(2))),
    ]);
    if bit(2) ^ bit(0) {
        set(
            &mut config,
            "architectures",
            json!(["GemForSequenceClassification"]),
        );
        set(&mut config, "num_labels", json!(7));
    }
    if *layers == json!([]) {
        set(&mut config, "domains", json!([]));
        set(&mut config, "router", Value::Null);
        set(&mut config, "scar", Value::Null);
        set(&mut config, "modules", Value::Null);
    }
    config
}

fn check_graph(value: &Value) {
    let mut findings = Findings::default();
    let map = value.as_object().expect("an object");
    let (config, _) = config::read(map, &mut findings);
    findings
        .into_result(())
        .unwrap_or_else(|e| panic!("{e}\n{value}"));
    let config = config.expect("no findings");
    let graph = typing::infer(gem::graph(&config)).unwrap_or_else(|e| panic!("{e}\n{value}"));
    let mut from_graph: Vec<(String, Vec<usize>)> = graph
        .tensors()
        .map(|(_, t)| (t.path.clone(), t.shape().to_vec()))
        .collect();
    let mut from_table = Vec::new();
    let _ = gem::for_each(&config, &mut |path, shape| {
        from_table.push((path.to_owned(), shape.to_vec()));
        std::ops::ControlFlow::Continue(())
    });
    from_graph.sort();
    from_table.sort();
    assert_eq!(from_graph, from_table, "{value}");
    let guarded = graph
        .topo()
        .any(|(_, n)| matches!(n.guard, Guard::Fallback { .. }));
    let layers = config.router.place.clone();
    let fallback = config.general_path == config::GeneralPath::Fallback;
    assert_eq!(
        guarded,
        fallback && matches!(layers, config::RouterPlace::Layers(_)),
        "{value}"
    );
}
