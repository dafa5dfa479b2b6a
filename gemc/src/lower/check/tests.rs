//! A good graph with one thing wrong: the finding names it. And with anything wrong: it is refused, or it lowers.

mod edit;

use std::path::Path;

use gemc_format::Codec;
use gemc_kernels::ir::testing::Bytes;
use gemc_kernels::ir::verify::verify;

use edit::{Edited, decoder, with, with_all};
use serde_json::json;

use super::check;
use crate::graph::{Activation, Graph, Guard, NodeId, Op, Site, Typed};
use crate::lower;
use crate::lower::steps::Step;
use crate::plan::BitPlan;
use crate::target::Target;
use crate::typing;

fn typed(edited: &Edited) -> Graph<Typed> {
    typing::infer(edited.build()).expect("well typed")
}

/// What is wrong with an edited graph, a line each.
fn findings(edited: &Edited) -> String {
    let graph = typed(edited);
    let findings = check(&graph).expect_err("refused");
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Refused with a finding at the node of this path that says so.
#[track_caller]
fn refused(edited: &Edited, origin: &str, what: &str) {
    let found = findings(edited);
    let fits = |line: &str| line.starts_with(&format!("{origin} (")) && line.contains(what);
    assert!(found.lines().any(fits), "{origin}: {what}\n{found}");
    assert!(found.lines().all(|line| line.contains("; allowed: ")));
}

#[test]
fn what_the_importer_builds_is_accepted() {
    for (key, value) in [
        ("general_path", json!("always")),
        ("general_path", json!("none")),
        ("modules", json!({"kind": "off"})),
        ("modules", json!({"kind": "lora", "rank": 4})),
        ("mlp_gated", json!(false)),
        ("norm_position", json!("post")),
        ("position_embedding", json!("none")),
    ] {
        let graph = typed(&with(key, value.clone()));
        assert_eq!(check(&graph).err(), None, "{key} = {value}");
    }
}

#[test]
fn keys_and_values_can_be_indexed_at_any_context() {
    let heads = |n: u32| {
        with_all([
            ("num_attention_heads", json!(n)),
            ("num_key_value_heads", json!(n)),
        ])
    };
    // Of 12 columns each, padded to 16.
    assert_eq!(check(&typed(&heads(1024))).err(), None);
    let findings = findings(&heads(1025));
    assert!(
        findings.contains("elements a position; allowed: at most 16384"),
        "{findings}"
    );
}

#[test]
fn attention_reads_a_linear_map() {
    let mut edited = decoder();
    let qkv = edited.find("model.layers.0.self_attn.qkv");
    let attention = edited.find("model.layers.0.self_attn");
    let sum = edited.insert(attention, Op::Add, &[qkv, qkv], "sum");
    edited.node("model.layers.0.self_attn").inputs = vec![NodeId::from_index(sum)];
    refused(&edited, "model.layers.0.self_attn", "comes from a sum");
    refused(&edited, "sum", "a sum reads a linear map of 3 parts");

    let mut edited = decoder();
    let qkv = edited.find("model.layers.0.scar.qkv");
    let scar = edited.find("model.layers.0.scar");
    let sum = edited.insert(scar, Op::Add, &[qkv, qkv], "sum");
    edited.node("model.layers.0.scar").inputs[0] = NodeId::from_index(sum);
    refused(&edited, "model.layers.0.scar", "comes from a sum");
}

#[test]
fn a_projection_has_one_part_or_three() {
    let mut edited = decoder();
    let wide = edited.tensor("wide", &[64, 48]);
    let narrow = edited.tensor("narrow", &[16, 48]);
    edited.parts("model.layers.0.self_attn.qkv", &[wide, narrow, narrow]);
    refused(
        &edited,
        "model.layers.0.self_attn",
        "parts of [64, 16, 16] rows",
    );
    let whole = edited.tensor("whole", &[96, 48]);
    edited.parts("model.layers.0.self_attn.qkv", &[whole]);
    assert_eq!(check(&typed(&edited)).err(), None);
}

#[test]
fn an_activation_follows_a_linear_map_that_only_it_reads() {
    let general = |name: &str| format!("model.layers.0.general.{name}");
    let mut edited = decoder();
    let (wide, act) = (
        edited.find(&general("gate_up")),
        edited.find(&general("act")),
    );
    edited.insert_like(act, &[wide], "again");
    refused(&edited, "again", "2 nodes read");

    let mut edited = decoder();
    edited.node(&general("gate_up")).guard = Guard::Always;
    refused(&edited, &general("act"), "on fewer rows");

    let mut edited = with("general_path", json!("always"));
    let (norm, down) = (
        edited.find("model.layers.0.input_norm"),
        edited.find(&general("down_proj")),
    );
    let plain = Op::Activate {
        act: Activation::Relu,
        gated: false,
    };
    edited.insert(down, plain, &[norm], "relu");
    refused(&edited, "relu", "activates a norm");

    let mut edited = with("mlp_gated", json!(false));
    edited.set_gated(&general("act"), true);
    let half = edited.tensor("half", &[48, 40]);
    edited.parts(&general("down_proj"), &[half]);
    refused(&edited, &general("act"), "activates parts of [80] rows");
}

#[test]
fn only_linear_maps_read_activations() {
    let mut edited = with("general_path", json!("always"));
    let act = edited.find("model.layers.0.general.act");
    edited.insert(act + 1, Op::Add, &[act, act], "sum");
    refused(&edited, "sum", "a sum reads an activation");
}

#[test]
fn several_parts_are_for_those_who_know_them() {
    let mut edited = decoder();
    let half = edited.tensor("half", &[24, 48]);
    edited.parts("model.layers.0.self_attn.o_proj", &[half, half]);
    refused(
        &edited,
        "model.layers.0.attention_residual",
        "a sum reads a linear map of 2 parts",
    );
}

#[test]
fn modules_are_equal_chains_of_linear_maps() {
    let module = |name: &str| format!("model.layers.0.modules.1.{name}");
    let mut edited = decoder();
    let first = edited.find(&module("gate_up"));
    let norm = edited.insert_guarded_norm(first);
    edited.node(&module("gate_up")).inputs = vec![NodeId::from_index(norm)];
    refused(&edited, "a norm", "a norm in a module");

    let mut edited = decoder();
    edited.set_act(&module("act"), Activation::Relu);
    refused(&edited, &module("gate_up"), "another shape");

    let mut edited = decoder();
    let other = edited.find("model.layers.0.input_norm");
    edited.node(&module("gate_up")).inputs = vec![NodeId::from_index(other)];
    refused(&edited, &module("gate_up"), "reads other rows");

    let mut edited = decoder();
    let last = edited.find(&module("down_proj"));
    let weight = edited.tensor("square", &[48, 48]);
    let longer = edited.insert_like(last, &[last], "longer");
    edited.parts("longer", &[weight]);
    refused(
        &edited,
        &module("down_proj"),
        "read by more than the map behind it",
    );
    edited.replace_input("model.layers.0.combine", last, longer);
    refused(&edited, &module("down_proj"), "another shape");

    let mut edited = decoder();
    let last = edited.find(&module("down_proj"));
    let act = edited.find(&module("act"));
    let end = edited.insert_like_of(last, act, &[last], "end");
    edited.set_gated("end", false);
    edited.replace_input("model.layers.0.combine", last, end);
    refused(&edited, "end", "at an end");
}

#[test]
fn modules_may_be_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
    let loaded = crate::pipeline::load(&folder.join("lm-all-8mlp-top3-always-domainscar"));
    let loaded = loaded.expect("a good checkpoint");
    let modules = [0, 2, 5].map(|m| format!("model.layers.0.modules.{m}"));
    let graph = crate::typing::without(loaded.checkpoint.graph(), &modules).expect("it fits");
    let checked = check(&graph).expect("it can be lowered");
    let stages = checked.steps.iter().find_map(|(_, step)| match step {
        Step::Modules { stages, .. } => Some(stages),
        _ => None,
    });
    for stage in stages.expect("there are modules") {
        let there: Vec<usize> = stage.iter().map(|product| product.module()).collect();
        assert_eq!(there, [1, 3, 4, 6, 7]);
    }
}

#[test]
fn clusters_belong_to_the_router_of_their_site() {
    let path = "model.layers.0.router.centroids";
    let mut edited = decoder();
    edited.node(path).site = Site::Final;
    refused(&edited, path, "no router before it at final");
    let mut edited = decoder();
    let other = edited.find("model.layers.0.input_norm");
    edited.node(path).inputs = vec![NodeId::from_index(other)];
    refused(&edited, path, "other rows than the router's");
    let mut edited = decoder();
    let (clusters, router) = (edited.find(path), edited.find("model.layers.0.router"));
    let inputs = edited.nodes[router].inputs.clone();
    edited.insert_like_of(clusters, clusters, &[inputs[0].index()], "again");
    refused(&edited, "again", "second clusters at layers.0");
    edited.insert_like_of(router, router, &[inputs[0].index()], "another");
    refused(&edited, "another", "a second router at layers.0");
}

#[test]
fn there_is_one_embedding_and_one_head_behind_everything() {
    let mut edited = decoder();
    let embed = edited.find("model.embed_tokens");
    edited.insert_like(embed, &[0], "again");
    refused(&edited, "again", "a second embedding");

    let mut edited = decoder();
    let (select, input) = (edited.find("outputs"), edited.node("outputs").inputs[0]);
    edited.insert_like(select, &[input.index()], "again");
    refused(&edited, "again", "selected again");

    let mut edited = decoder();
    let select = edited.find("outputs");
    edited.insert(select + 1, Op::Add, &[input.index(); 2], "late");
    refused(&edited, "late", "a sum behind the selected rows");

    let mut edited = with("vocab_size", json!(48));
    let select = edited.find("outputs");
    edited.result = select;
    refused(&edited, "output", "reads selected rows");

    let mut edited = decoder();
    let head = edited.find("lm_head");
    edited.insert_like(head, &[head - 1], "lm_head");
    refused(&edited, "lm_head", "a second linear map of this path");
}

#[test]
fn who_sees_whom_is_the_tasks() {
    for path in ["model.layers.0.self_attn", "model.layers.0.scar"] {
        let mut edited = decoder();
        edited.set_causal(path, false);
        let error = typing::infer(edited.build()).expect_err("refused");
        assert_eq!(error.origin, path);
        assert!(error.what.contains("sees later positions"), "{error}");
    }
}

/// Lowers what is accepted; gives whether it was.
fn lowers(edited: &Edited, target: &Target, proved: bool) -> bool {
    let Ok(graph) = typing::infer(edited.build()) else {
        return false;
    };
    let Ok(checked) = check(&graph) else {
        return false;
    };
    let plan = BitPlan::uniform(&graph, Codec::N4);
    let lowered = lower::program(&checked, &plan, target).expect("a small step");
    if proved {
        let verified = verify(lowered.program);
        assert_eq!(verified.err(), None, "{:#?}", edited.nodes);
    }
    true
}

#[test]
fn an_edited_graph_is_refused_or_lowers() {
    let target = Target::all().into_iter().next().expect("a target");
    let (mut accepted, mut tried) = (0, 0);
    let models = [
        decoder(),
        with("general_path", json!("always")),
        with("modules", json!({"kind": "lora", "rank": 48})),
        with("mlp_gated", json!(false)),
        with("architectures", json!(["GemForSequenceClassification"])),
    ];
    for seed in 0..400_u64 {
        let random = Bytes::random(seed, 64);
        let mut bytes = Bytes::new(&random);
        let mut edited = models[bytes.below(models.len())].clone();
        for _ in 0..=bytes.below(2) {
            edited.at_random(&mut bytes);
        }
        tried += 1;
        accepted += usize::from(lowers(&edited, &target, accepted < 20));
    }
    assert!(
        (20..tried - 20).contains(&accepted),
        "{accepted} of {tried}"
    );
}
