//! Plans as text: what is written is read back, and what was edited badly is refused in words.

use std::path::Path;

use gemc_format::{ActivationFormat, Codec};

use super::BitPlan;
use super::activations::{self, Formats, Rule};
use super::file::{Override, PlanFile, PlanUnit, VERSION, overrides};
use crate::graph::{Graph, Typed, Unit, UnitId, UnitMap};

fn plan() -> PlanFile {
    PlanFile {
        version: VERSION,
        checkpoint: "ab".repeat(32),
        calibration: String::new(),
        calibration_text: None,
        dead: None,
        target: "portable".to_owned(),
        rounding: "feedback".to_owned(),
        bits_per_weight: 3.25,
        unit_bytes: 1000,
        predicted_ms: None,
        projected: false,
        predicted_kl: Some(1.25e-3),
        measured_kl: Some(0.1),
        measured_kl_rounded: None,
        overrides: vec![Override {
            units: "o_proj$".to_owned(),
            format: "B8".to_owned(),
        }],
        units: vec![PlanUnit {
            name: "model.\"odd\" name\n".to_owned(),
            format: "N4".to_owned(),
            activations: Some("int8-256".to_owned()),
            bytes: 1000,
            predicted_kl: Some(0.0),
            reason: "it = 'so'".to_owned(),
            codes: format!("N4:{}", "0f".repeat(32)),
        }],
    }
}

#[test]
fn what_is_written_is_read_back() {
    let mut plan = plan();
    assert_eq!(PlanFile::parse(&plan.text().unwrap()), Ok(plan.clone()));
    plan.measured_kl = None;
    plan.overrides.clear();
    let text = plan.text().unwrap();
    assert!(!text.contains("override"), "{text}");
    assert_eq!(PlanFile::parse(&text), Ok(plan));
}

#[test]
fn other_texts_are_refused_in_words() {
    let text = plan().text().unwrap();
    for (edited, says) in [
        (text.replacen("version = 1", "version = 9", 1), "version 9"),
        (text.replacen("bytes = 1000", "bytes = -1", 1), "bytes"),
        (text.replacen("[[unit]]", "[[units]]", 1), "units"),
        (text.replacen("reason", "raisin", 1), "raisin"),
        (String::new(), "version"),
        ("\u{0}".to_owned(), "1"),
    ] {
        let error = PlanFile::parse(&edited).expect_err(says);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn exceptions_are_regular_expressions_and_formats() {
    let entry = |units: &str, format: &str| Override {
        units: units.to_owned(),
        format: format.to_owned(),
    };
    assert!(overrides(&[entry("a+", "n4")]).is_ok());
    let error = overrides(&[entry("a(", "N4")]).expect_err("no expression");
    assert!(error.contains("override"), "{error}");
    let error = overrides(&[entry("a", "Q4")]).expect_err("no format");
    assert!(error.contains("Q4") && error.contains("B8"), "{error}");
}

/// A decoder with two routed layers, and SCAR in one.
fn graph() -> Graph<Typed> {
    graph_of("lm-all-8mlp-top3-always-domainscar")
}

fn graph_of(name: &str) -> Graph<Typed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
    let loaded = crate::pipeline::load(&folder.join(name));
    loaded.expect("a checkpoint of the tree").graph
}

#[test]
fn a_plan_is_for_graphs_with_the_same_units() {
    let [own, tied] = ["lm-dense-pre-rope", "lm-dense-post-rope-layernorm"].map(graph_of);
    let plan = BitPlan::uniform(&own, Codec::N4);
    let again = graph_of("lm-dense-pre-rope");
    assert!(plan.check(&own).is_ok() && plan.check(&again).is_ok());
    let refused = |plan: &BitPlan, graph: &Graph<Typed>| {
        let error = plan.check(graph).expect_err("another graph");
        error.to_string()
    };
    let named = refused(&plan, &tied);
    assert!(named.ends_with("it names `lm_head`"), "{named}");
    let lacking = refused(&BitPlan::uniform(&tied, Codec::N4), &own);
    assert!(lacking.ends_with("it lacks `lm_head`"), "{lacking}");
}

#[test]
fn bits_name_what_plans_choose_and_other_formats_go_by_their_names() {
    let graph = graph();
    let named = |bits: &str| {
        let plan = BitPlan::parse_bits(&graph, bits);
        plan.map(|plan| plan.codec(UnitId::from_index(0)))
    };
    let names = [
        ("8.25", Codec::B8),
        ("4.25", Codec::N4),
        ("l4", Codec::L4),
        ("L4", Codec::L4),
        ("mx4", Codec::MX4),
    ];
    for (bits, codec) in names {
        assert_eq!(named(bits).expect(bits), codec);
    }
    for bits in ["n4", "4.250", "4", ""] {
        let error = named(bits).expect_err(bits).to_string();
        assert!(error.contains("4.25, l4, mx4, "), "{error}");
    }
}

fn rule(units: &str, format: ActivationFormat) -> Rule {
    Rule {
        units: units.to_owned(),
        format,
    }
}

/// Names of the units that have a format, sorted.
fn named<'g>(graph: &'g Graph<Typed>, formats: &Formats, format: ActivationFormat) -> Vec<&'g str> {
    let with = |unit: &&Unit| formats[unit.id] == Some(format);
    let mut names: Vec<&str> = graph
        .units()
        .iter()
        .filter(with)
        .map(|u| &*u.name)
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn what_goes_through_a_softmax_reads_int16_where_it_is_b8() {
    let graph = graph();
    let mut formats = UnitMap::all(graph.units(), Codec::B8);
    let precise = |formats: &UnitMap<Codec>| {
        let usual = activations::usual(&graph, formats);
        named(&graph, &usual, ActivationFormat::Int16)
    };
    let all = [
        "lm_head",
        "model.layers.0.scar.qkv",
        "model.layers.0.self_attn.qkv",
        "model.layers.1.self_attn.qkv",
    ];
    assert_eq!(precise(&formats), all);
    let head = graph.units().named("lm_head").expect("an untied head");
    formats[head.id] = Codec::L6;
    assert_eq!(precise(&formats), all[1..]);
    assert!(precise(&UnitMap::all(graph.units(), Codec::N4)).is_empty());
}

#[test]
fn activations_follow_their_rules_in_order() {
    use ActivationFormat::{Int8, Int8Wide, Int16};
    let graph = graph();
    let formats = UnitMap::all(graph.units(), Codec::B8);
    let chosen = |rules: &[Rule]| activations::chosen(&graph, &formats, rules).unwrap();
    assert_eq!(chosen(&[]), activations::usual(&graph, &formats));
    let all = chosen(&[rule("", Int8Wide)]);
    let readers = activations::readers(&graph);
    let reading = readers.iter().flatten().count();
    assert_eq!(all.values().flatten().count(), reading);
    assert!(all.values().flatten().all(|format| *format == Int8Wide));
    let again = chosen(&[rule("", Int8Wide), rule("", Int8)]);
    assert!(again.values().flatten().all(|format| *format == Int8));
    let down = chosen(&[rule("", Int8), rule("modules.*down", Int16)]);
    let precise = named(&graph, &down, Int16);
    assert!(precise.len() >= 16 && precise.iter().all(|unit| unit.contains("down")));
}

#[test]
fn units_that_read_the_same_rows_have_the_same_activations() {
    let graph = graph();
    let refused = |units: &str, says: &[&str]| {
        let rules = [rule(units, ActivationFormat::Int8Wide)];
        let formats = UnitMap::all(graph.units(), Codec::N4);
        let error = activations::chosen(&graph, &formats, &rules);
        let error = error.expect_err(units);
        for words in says {
            assert!(error.contains(words), "{words} in {error}");
        }
    };
    refused("nonsense", &["nonsense"]);
    refused("a(", &["a("]);
    // One module's last map alone: its rows stand in one buffer with those of the others.
    refused(
        r"layers\.0\.modules\.1\.down",
        &["same rows", "int8 and int8-256"],
    );
    refused(r"layers\.0\.general.*up", &["same rows", "modules.0"]);
}
