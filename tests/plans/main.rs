//! Plans of tiny checkpoints: within their budget, the same twice, read back, built, and what the kernels then compute;
//! and what is said of plans and texts that do not do.

mod evidence;
mod refused;
mod time;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gem_runtime::protocol::{Server, Setup};
use gemc::assign::budget_of_bits;
use gemc::calibrate::{self, Gather};
use gemc::graph::NodeId;
use gemc::metrics::kl_divergence;
use gemc::pipeline::{self, LoadedCheckpoint};
use gemc::plan::BitPlan;
use gemc::plan::codes;
use gemc::plan::file::{Override, PlanFile, codes_path};
use gemc::planner::{self, Ablation, Budget, Effort, FinishedPlan, Settings, Texts};
use gemc::prepared::PreparedModel;
use gemc::progress::Silent;
use gemc::reference::{Activations, Reference, RoutingRecords};
use gemc::sensitivity::{Evidence, Judge, Ladder, Method, Reading};
use gemc::sequences::{Origin, Sequence};
use gemc::target::{Costs, Target};
use gemc::verify::candidate::{Candidate, Executor, ProgramCandidate};
use gemc::{backend, fake};
use gemc_format::{Codec, Rounding};

const ROUTED: &str = "lm-all-8mlp-top3-always-domainscar";
const DENSE: &str = "lm-dense-pre-rope";

fn load(name: &str) -> LoadedCheckpoint {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
    pipeline::load(&dir.join(name)).expect("a checkpoint of the repository")
}

/// Documents of two domains, of ids that a linear congruence gives.
fn documents(loaded: &LoadedCheckpoint, count: usize, length: usize) -> Vec<Sequence> {
    let vocab = loaded.graph.facts().vocab_size as u64;
    let mut state = 1u64;
    (0..count)
        .map(|index| Sequence {
            domain: ["one", "two"][index % 2].to_owned(),
            ids: (0..length)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(99);
                    ((state >> 33) % vocab) as u32
                })
                .collect(),
            label: None,
            origin: Origin::default(),
        })
        .collect()
}

fn settings(bits: f64) -> Settings {
    Settings {
        target: Target::host(),
        budget: Budget::Bits(bits),
        latency: None,
        method: Method::Feedback,
        effort: Effort::Default,
        overrides: Vec::new(),
        activations: Vec::new(),
        uniform_body: false,
        without: Ablation::default(),
        workplace: None,
        keep_moments: false,
    }
}

fn make(loaded: &LoadedCheckpoint, settings: &Settings) -> FinishedPlan {
    let texts = Texts::divide(&documents(loaded, 64, 48), 48);
    planner::make(loaded, settings, &texts, &mut |_, _| {}, &Silent).expect("a plan")
}

/// Writes plan and codes to a folder; the plan's path.
fn write(made: &FinishedPlan, dir: &Path) -> PathBuf {
    let path = dir.join("plan.toml");
    std::fs::write(&path, made.file.text().expect("a plan of gemc")).expect("a file");
    let mut bytes = Vec::new();
    codes::write(&mut bytes, &made.codes).expect("memory takes all");
    std::fs::write(codes_path(&path), bytes).expect("a file");
    path
}

fn read(path: &Path, loaded: &LoadedCheckpoint) -> Result<BitPlan, String> {
    let file = PlanFile::read(path).map_err(|e| e.to_string())?;
    let checkpoint = loaded.checkpoint.content_hash();
    file.plan(path, &loaded.graph, &checkpoint)
        .map_err(|e| e.to_string())
}

#[test]
fn plans_keep_their_budget_and_are_the_same_twice() {
    for name in [ROUTED, DENSE] {
        let loaded = load(name);
        for bits in [2.25, 2.75, 3.25, 4.25, 8.25] {
            let made = make(&loaded, &settings(bits));
            assert!(made.file.bits_per_weight <= bits + 1e-9, "{name} {bits}");
            assert!(
                made.file.bits_per_weight > bits - 0.5,
                "{name} {bits}: {}",
                made.file.bits_per_weight
            );
            assert_eq!(made.file.units.len(), loaded.graph.units().len());
            let again = make(&loaded, &settings(bits));
            assert_eq!(
                made.file.text().unwrap(),
                again.file.text().unwrap(),
                "{name} {bits}"
            );
            assert_eq!(made.codes, again.codes);
        }
    }
}

#[test]
fn more_bits_are_better_and_prediction_and_measurement_are_two_figures() {
    let loaded = load(ROUTED);
    let kl = |bits| {
        make(&loaded, &settings(bits))
            .file
            .measured_kl
            .expect("measured")
    };
    let (few, some, many) = (kl(2.5), kl(3.5), kl(6.0));
    assert!(
        few > some && some > many && many > 0.0,
        "{few} {some} {many}"
    );
    let made = make(&loaded, &settings(3.5));
    let (measured, predicted) = (
        made.file.measured_kl.unwrap(),
        made.file.predicted_kl.unwrap(),
    );
    let ratio = measured / predicted;
    assert!((0.2..5.0).contains(&ratio), "{measured} {predicted}");
    assert!((ratio - 1.0).abs() > 1e-6, "{measured} {predicted}");
    let units: f64 = made
        .file
        .units
        .iter()
        .map(|unit| unit.predicted_kl.unwrap())
        .sum();
    assert!(
        (units / predicted - 1.0).abs() < 1e-9,
        "{units} {predicted}"
    );
}

/// Every kind of checkpoint: classifiers, low-rank modules, one domain, several modules a token, none, no general path.
#[test]
fn kernels_compute_what_was_planned() {
    let mut mixed = 0;
    for dir in gem_tests::checkpoints() {
        let name = dir.display();
        let loaded = pipeline::load(&dir).expect("a checkpoint of the repository");
        let limit = loaded.graph.facts().max_positions.min(40);
        let mut asked = settings(3.5);
        asked.effort = Effort::Low;
        let texts = Texts::divide(&documents(&loaded, 96, limit), limit);
        let made = planner::make(&loaded, &asked, &texts, &mut |_, _| {}, &Silent);
        let folder = tempfile::tempdir().unwrap();
        let path = write(
            &made.unwrap_or_else(|e| panic!("{name}: {e}")),
            folder.path(),
        );
        let plan = read(&path, &loaded).unwrap();
        let formats: std::collections::BTreeSet<Codec> = loaded
            .graph
            .units()
            .iter()
            .map(|unit| plan.codec(unit.id))
            .collect();
        mixed += usize::from(formats.len() > 1);
        let kl = from_fake(loaded, plan, limit);
        assert!(kl < 2e-3, "{name}: {kl}");
    }
    assert!(mixed > 20, "{mixed} checkpoints with more than one format");
}

/// Mean KL of a plan's machine code against the fake-quantised executor, routing forced.
fn from_fake(loaded: LoadedCheckpoint, plan: BitPlan, length: usize) -> f64 {
    let mut faked = loaded.reference();
    fake::quantise(&mut faked, &plan, Rounding::Plain).expect("quantised");
    let mut expected = Executor {
        reference: &faked,
        activations: Activations::Rounded,
    };
    let ids = documents(&loaded, 1, length)[0].ids.clone();
    let expected = expected.run(&ids, None).expect("run by the reference");
    let prepared =
        PreparedModel::new(loaded, plan, Target::host(), Rounding::Plain, None).expect("prepared");
    let engine = backend::jitted(&prepared, Default::default(), &Silent).expect("compiled");
    let mut server = Server::new(&engine, 0);
    let mut found = ProgramCandidate {
        peer: &mut server,
        graph: &prepared.loaded.graph,
        setup: Setup::default(),
    };
    let found = found
        .run(&ids, Some(&expected.routing))
        .expect("run by the kernels");
    let rows = expected.logits.iter().zip(&found.logits);
    let sum: f64 = rows.map(|(p, q)| kl_divergence(p, q)).sum();
    sum / expected.logits.len() as f64
}

#[test]
fn exceptions_hold_and_the_body_can_be_uniform() {
    let loaded = load(ROUTED);
    let mut fixed = settings(4.25);
    fixed.overrides = vec![
        Override {
            units: "embed_tokens".into(),
            format: "b8".into(),
        },
        Override {
            units: "o_proj$".into(),
            format: "L4".into(),
        },
    ];
    for uniform in [false, true] {
        fixed.uniform_body = uniform;
        let made = make(&loaded, &fixed);
        assert!(
            made.file.bits_per_weight <= 4.25,
            "{}",
            made.file.bits_per_weight
        );
        let mut body = std::collections::BTreeSet::new();
        for unit in &made.file.units {
            match unit.name.as_str() {
                "model.embed_tokens" => assert_eq!(unit.format, "B8"),
                name if name.ends_with("o_proj") => assert_eq!(unit.format, "L4"),
                _ => {
                    body.insert(unit.format.clone());
                }
            }
        }
        assert!(!uniform || body.len() <= 2, "{body:?}");
    }
    fixed.overrides[0].units = "no such unit".into();
    let texts = Texts::divide(&documents(&loaded, 64, 48), 48);
    let error = planner::make(&loaded, &fixed, &texts, &mut |_, _| {}, &Silent);
    let error = error.expect_err("nothing matches").to_string();
    assert!(error.contains("no such unit"), "{error}");
}

#[test]
fn an_edited_format_is_rounded_anew() {
    let loaded = load(DENSE);
    let dir = tempfile::tempdir().unwrap();
    let made = make(&loaded, &settings(3.25));
    let path = write(&made, dir.path());
    let mut file = made.file.clone();
    file.units[1].format = "B8".into();
    std::fs::write(&path, file.text().unwrap()).unwrap();
    let plan = read(&path, &loaded).unwrap();
    let units = loaded.graph.units();
    let [edited, other] = [1, 2].map(|i| units.named(&file.units[i].name).unwrap().id);
    assert_eq!(plan.codec(edited), Codec::B8);
    assert!(plan.planes(edited).unwrap().is_none());
    assert!(plan.planes(other).unwrap().is_some());
    assert_ne!(
        plan.hash(),
        read(&write(&made, dir.path()), &loaded).unwrap().hash()
    );
}
