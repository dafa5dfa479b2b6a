//! Plans of tiny checkpoints: within their budget, the same twice, read back, built, and what the kernels then compute;
//! and what is said of plans and texts that do not do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gem_runtime::format::{Codec, Rounding};
use gem_runtime::protocol::{Server, Setup};
use gemc::assign::budget_of_bits;
use gemc::calibrate::{self, Gather};
use gemc::graph::NodeId;
use gemc::metrics::kl_divergence;
use gemc::pipeline::{self, Loaded};
use gemc::plan::codes;
use gemc::plan::file::{Override, PlanFile, codes_path};
use gemc::plan::{BitPlan, units};
use gemc::planner::{self, Budget, Effort, Made, Settings, Texts, Without};
use gemc::prepared::Prepared;
use gemc::progress::Silent;
use gemc::quantise::Shape;
use gemc::reference::{Activations, Reference, RoutingRecords};
use gemc::sensitivity::{Evidence, Judge, Ladder, Method, Reading};
use gemc::target::{Costs, Target};
use gemc::verify::Sequence;
use gemc::verify::candidate::{Candidate, Executor, Program};
use gemc::{backend, fake};

const ROUTED: &str = "lm-all-8mlp-top3-always-domainscar";
const DENSE: &str = "lm-dense-pre-rope";

fn load(name: &str) -> Loaded {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
    pipeline::load(&dir.join(name)).expect("a checkpoint of the repository")
}

/// Documents of two domains, of ids that a linear congruence gives.
fn documents(loaded: &Loaded, count: usize, length: usize) -> Vec<Sequence> {
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
        uniform_body: false,
        without: Without::default(),
    }
}

fn make(loaded: &Loaded, settings: &Settings) -> Made {
    let texts = Texts::divide(&documents(loaded, 64, 48), 48);
    planner::make(loaded, settings, &texts, &mut |_, _| {}, &Silent).expect("a plan")
}

/// Writes plan and codes to a folder; the plan's path.
fn write(made: &Made, dir: &Path) -> PathBuf {
    let path = dir.join("plan.toml");
    std::fs::write(&path, made.file.text().expect("a plan of gemc")).expect("a file");
    let mut bytes = Vec::new();
    codes::write(&mut bytes, &made.codes).expect("memory takes all");
    std::fs::write(codes_path(&path), bytes).expect("a file");
    path
}

fn read(path: &Path, loaded: &Loaded) -> Result<BitPlan, String> {
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
            assert_eq!(made.file.units.len(), units(&loaded.graph).len());
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
fn more_bits_are_better_and_measured_kl_is_what_is_predicted() {
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
    let (measured, predicted) = (made.file.measured_kl.unwrap(), made.file.predicted_kl);
    assert!(
        (measured / predicted - 1.0).abs() < 1e-6,
        "{measured} {predicted}"
    );
}

/// The more often a row is read the more its error costs; only a tied embedding is both read and multiplied.
#[test]
fn both_uses_of_a_tied_embedding_count() {
    let loaded = load("lm-dense-post-rope-layernorm");
    let mut texts = documents(&loaded, 32, 40);
    for text in &mut texts {
        text.ids.iter_mut().step_by(2).for_each(|id| *id = 7);
    }
    let reference = loaded.reference();
    let infos = gemc::sensitivity::infos(&loaded.graph);
    let stats = calibrate::run(&reference, &texts, Gather::Moments, &mut |_, _| {}, &Silent);
    let stats = stats.expect("ids of the model");
    let judge = Judge::new(&reference, &texts, Activations::F32, 1 << 30, &Silent).unwrap();
    let reading = Reading::measure(&reference, &infos, &stats, &judge).unwrap();
    let reading = reading.expect("a tied embedding");
    let vocab = loaded.graph.facts().vocab_size;
    assert_eq!(reading.cost.len(), vocab);
    let others = reading.cost.iter().enumerate().filter(|(id, _)| *id != 7);
    let others = others.map(|(_, cost)| *cost).fold(0.0, f64::max);
    assert!(
        others > 0.0 && reading.cost[7] > 5.0 * others,
        "{} {others}",
        reading.cost[7]
    );
    // Its row is rounded for being read, the others for the head: it is nearer to the original than they are.
    let error = |reading: Option<&Reading>| {
        let evidence = Evidence {
            stats: &stats,
            reading,
            routing_weights: true,
        };
        let ladder = Ladder::new(&reference, &infos, &evidence, Method::Feedback);
        let unit = infos
            .iter()
            .find(|unit| unit.unit.nodes.len() > 1)
            .expect("tied");
        let original = reference.unit(unit.unit.nodes[0]).expect("its weights");
        let original = original.all();
        let rounded = ladder.planes(unit, Codec::N3).weights();
        let width = original.len() / vocab;
        (7 * width..8 * width)
            .map(|i| f64::from(rounded[i] - original[i]).powi(2))
            .sum::<f64>()
    };
    assert!(error(Some(&reading)) < error(None));

    let untied = load(DENSE);
    let reference = untied.reference();
    let infos = gemc::sensitivity::infos(&untied.graph);
    let texts = documents(&untied, 4, 20);
    let stats =
        calibrate::run(&reference, &texts, Gather::Moments, &mut |_, _| {}, &Silent).unwrap();
    let judge = Judge::new(&reference, &texts, Activations::F32, 1 << 30, &Silent).unwrap();
    assert_eq!(
        Reading::measure(&reference, &infos, &stats, &judge).unwrap(),
        None
    );
}

/// A target on which some formats are quick and others slow, whatever their size.
fn slow_target() -> Target {
    let speeds = [
        ("N2", 50.0),
        ("N3", 9.0),
        ("N4", 1.0),
        ("L4", 1.0),
        ("N5", 30.0),
        ("L6", 2.0),
        ("B8", 4.0),
    ];
    Target {
        costs: Some(Costs {
            threads: 1,
            bandwidth: 1e9,
            weights: speeds.map(|(name, ns)| (name.to_owned(), ns)).into(),
            batch: speeds.map(|(name, ns)| (name.to_owned(), 0.5 * ns)).into(),
        }),
        ..Target::host()
    }
}

#[test]
fn plans_keep_to_a_time() {
    let loaded = load(ROUTED);
    let timed = |bits, latency| Settings {
        target: slow_target(),
        latency,
        effort: Effort::Low,
        ..settings(bits)
    };
    let ms = |made: &Made| {
        made.file
            .predicted_ms
            .expect("the target's costs are known")
    };
    let free = make(&loaded, &timed(8.25, None));
    let names =
        |made: &Made| -> Vec<String> { made.file.units.iter().map(|u| u.format.clone()).collect() };
    assert!(names(&free).iter().all(|f| f == "B8"));
    // Modules count by how often they are visited, so that all of the model would take longer.
    let weights: usize = free.units.iter().map(|u| u.shape.weights()).sum();
    let whole = weights as f64 * 4.0 * 1e-9;
    assert!(
        0.2 * whole < ms(&free) && ms(&free) < 0.99 * whole,
        "{} {whole}",
        ms(&free)
    );
    // N4 is the quickest format: nothing is quicker than a quarter.
    let mut before = free.file.predicted_kl;
    for share in [0.8, 0.5, 0.3] {
        let limit = share * ms(&free);
        let made = make(&loaded, &timed(8.25, Some(1e-3 * limit)));
        assert!(ms(&made) <= limit, "{} {limit}", ms(&made));
        assert!(
            ms(&made) > 0.85 * limit,
            "{} {limit}: time is left",
            ms(&made)
        );
        assert!(
            names(&made)
                .iter()
                .all(|f| ["N4", "L6", "B8"].contains(&f.as_str()))
        );
        assert!(made.file.predicted_kl > before);
        before = made.file.predicted_kl;
    }
    // Both limits: few bits want N3 and N2, which are slow.
    let small = make(&loaded, &timed(3.25, None));
    let both = make(&loaded, &timed(3.25, Some(0.8e-3 * ms(&small))));
    assert!(both.file.unit_bytes <= budget_of_bits(&both.units, 3.25));
    assert!(ms(&both) <= 0.8 * ms(&small));

    let texts = Texts::divide(&documents(&loaded, 64, 48), 48);
    let refused = |settings: &Settings| {
        let made = planner::make(&loaded, settings, &texts, &mut |_, _| {}, &Silent);
        made.expect_err("no plan").to_string()
    };
    let quickest = 0.25 * ms(&free);
    let words = refused(&timed(8.25, Some(1e-4 * quickest)));
    assert!(
        words.contains(&format!("the quickest takes {quickest:.4} ms")),
        "{words}"
    );
    let words = refused(&timed(8.25, Some(-1.0)));
    assert!(words.contains("allowed are numbers above 0"), "{words}");
    // A classifier's time is that of a text.
    let classifier = load("cls-some-5mlp-top3-none-flagscar");
    let made = make(&classifier, &timed(8.25, None));
    let all: usize = made.units.iter().map(|u| u.shape.weights()).sum();
    let most = 128.0 * all as f64 * 2.0 * 1e-9;
    assert!(
        0.05 * most < ms(&made) && ms(&made) < most,
        "{} {most}",
        ms(&made)
    );

    let unknown = Settings {
        target: Target::find("aarch64").expect("it is embedded"),
        ..timed(8.25, Some(1.0))
    };
    assert!(refused(&unknown).contains("gemc targets host --measure"));
}

/// A model whose weights are read when they are used is the same model, and so is what is made of it.
#[test]
fn a_streamed_model_is_the_same_model() {
    for name in [ROUTED, "lm-dense-post-rope-layernorm"] {
        let loaded = load(name);
        let held = loaded.reference();
        let weights = Arc::new(loaded.checkpoint.weights().clone());
        let streamed = Reference::streamed(&loaded.graph, weights);
        let texts = documents(&loaded, 8, 20);
        let infos = gemc::sensitivity::infos(&loaded.graph);
        let made = |reference: &Reference| {
            let mut routed = 0;
            let mut seen = |texts: &[Sequence], _: &RoutingRecords| routed += texts.len();
            let stats = calibrate::run(reference, &texts, Gather::Moments, &mut seen, &Silent);
            let stats = stats.expect("ids of the model");
            assert_eq!(routed, texts.len());
            let evidence = Evidence {
                stats: &stats,
                reading: None,
                routing_weights: true,
            };
            let ladder = Ladder::new(reference, &infos, &evidence, Method::Feedback);
            let judge = Judge::new(reference, &texts, Activations::F32, 1 << 30, &Silent).unwrap();
            let mut candidate = reference.clone();
            let mut errors = Vec::new();
            for unit in &infos {
                ladder.apply(&mut candidate, unit, Codec::N4).unwrap();
                errors.push(ladder.error(unit, Codec::N4));
            }
            let kl = judge.judge(&candidate, NodeId(0), true).unwrap();
            (errors, kl)
        };
        let of_held = made(&held);
        assert!(of_held.1.mean() > 0.0, "{name}");
        assert_eq!(made(&streamed), of_held, "{name}");
    }
}

/// The error of a unit, told from some of its rows.
#[test]
fn a_sample_of_rows_tells_the_error_of_all() {
    let loaded = load("lm-dense-post-rope-layernorm");
    let reference = loaded.reference();
    let texts = documents(&loaded, 32, 40);
    let infos = gemc::sensitivity::infos(&loaded.graph);
    let stats = calibrate::run(&reference, &texts, Gather::Moments, &mut |_, _| {}, &Silent);
    let stats = stats.expect("ids of the model");
    let judge = Judge::new(&reference, &texts, Activations::F32, 1 << 30, &Silent).unwrap();
    let reading = Reading::measure(&reference, &infos, &stats, &judge).unwrap();
    assert!(reading.is_some(), "a tied embedding");
    let evidence = Evidence {
        stats: &stats,
        reading: reading.as_ref(),
        routing_weights: true,
    };
    for method in [Method::Search, Method::Feedback] {
        let ladder = || Ladder::new(&reference, &infos, &evidence, method);
        let (whole, sampled) = (ladder(), ladder().with_error_rows(48));
        for unit in &infos {
            let ratio = sampled.error(unit, Codec::N3) / whole.error(unit, Codec::N3);
            let exact = unit.shape.rows() <= 48;
            assert!(
                if exact {
                    ratio == 1.0
                } else {
                    (0.6..1.6).contains(&ratio)
                },
                "{} of {} rows, {method:?}: {ratio}",
                unit.name(),
                unit.shape.rows()
            );
        }
    }
}

/// A module's error counts by the gates of the tokens that visit it, unless visits are left out.
#[test]
fn visits_decide_what_a_module_s_error_is_worth() {
    let loaded = load(ROUTED);
    let reference = loaded.reference();
    let infos = gemc::sensitivity::infos(&loaded.graph);
    let texts = documents(&loaded, 32, 48);
    let stats = calibrate::run(&reference, &texts, Gather::Squares, &mut |_, _| {}, &Silent);
    let stats = stats.expect("ids of the model");
    let ladder = |routing_weights| {
        let evidence = Evidence {
            stats: &stats,
            reading: None,
            routing_weights,
        };
        Ladder::new(&reference, &infos, &evidence, Method::Search)
    };
    let (with, without) = (ladder(true), ladder(false));
    let mut shares = Vec::new();
    for unit in &infos {
        let ratio = with.error(unit, Codec::N3) / without.error(unit, Codec::N3);
        let seen = stats
            .unit(unit.name())
            .map_or(0.0, |inputs| inputs.weight());
        let share = (seen / stats.tokens as f64).max(1e-3);
        if unit.module.is_some() {
            assert!(
                (ratio / share - 1.0).abs() < 1e-6,
                "{}: {ratio} {share}",
                unit.name()
            );
            shares.push(share);
        } else {
            assert!((ratio - 1.0).abs() < 1e-6, "{}: {ratio}", unit.name());
        }
    }
    let (least, most) = shares
        .iter()
        .fold((1.0, 0.0), |(l, m), s| (s.min(l), s.max(m)));
    assert!(most < 1.0 && most > 1.2 * least, "{least} {most}");
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
        let formats: std::collections::BTreeSet<Codec> = units(&loaded.graph)
            .iter()
            .map(|u| plan.codec(&u.name))
            .collect();
        mixed += usize::from(formats.len() > 1);
        let kl = from_fake(loaded, plan, limit);
        assert!(kl < 2e-3, "{name}: {kl}");
    }
    assert!(mixed > 20, "{mixed} checkpoints with more than one format");
}

/// Mean KL of a plan's machine code against the fake-quantised executor, routing forced.
fn from_fake(loaded: Loaded, plan: BitPlan, length: usize) -> f64 {
    let mut faked = loaded.reference();
    fake::quantise(&mut faked, &plan, Rounding::Plain).expect("quantised");
    let mut expected = Executor {
        reference: &faked,
        activations: Activations::Int8,
    };
    let ids = documents(&loaded, 1, length)[0].ids.clone();
    let expected = expected.run(&ids, None).expect("run by the reference");
    let prepared =
        Prepared::new(loaded, plan, Target::host(), Rounding::Plain, None).expect("prepared");
    let engine = backend::jitted(&prepared.parts(), Default::default(), &Silent).expect("compiled");
    let mut server = Server::new(&engine, 0);
    let mut found = Program {
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
    let edited = &file.units[1].name;
    assert_eq!(plan.codec(edited), Codec::B8);
    assert!(plan.planes(edited).unwrap().is_none());
    assert!(plan.planes(&file.units[2].name).unwrap().is_some());
    assert_ne!(
        plan.hash(),
        read(&write(&made, dir.path()), &loaded).unwrap().hash()
    );
}

#[test]
fn damaged_plans_are_refused() {
    let loaded = load(DENSE);
    let dir = tempfile::tempdir().unwrap();
    let made = make(&loaded, &settings(3.25));
    let path = write(&made, dir.path());
    let text = std::fs::read_to_string(&path).unwrap();
    let unit = &made.file.units[0];
    let refused = |edit: &dyn Fn(&str) -> String, says: &str| {
        std::fs::write(&path, edit(&text)).unwrap();
        let error = read(&path, &loaded).expect_err(says);
        assert!(error.contains(says), "{error}");
        assert!(error.contains("plan."), "names the file: {error}");
    };
    refused(
        &|t| t.replace(&made.file.checkpoint, &"0".repeat(64)),
        "another checkpoint",
    );
    refused(
        &|t| {
            t.replacen(
                &format!("format = \"{}\"", unit.format),
                "format = \"Q9\"",
                1,
            )
        },
        "Q9",
    );
    refused(
        &|t| t.replacen(&unit.name, "model.nonsense", 1),
        "is missing",
    );
    refused(&|t| t.replacen("version = 1", "version = 2", 1), "version");
    refused(&|t| format!("{t}\nsurplus = 1\n"), "surplus");
    refused(&|t| t[..t.len() / 2].to_owned(), "");
    refused(&|_| "units = [".to_owned(), "");
    refused(
        &|t| t.replacen(&unit.codes[3..], &"a".repeat(64), 1),
        &unit.name,
    );
    refused(&|t| t.replacen(&unit.codes, "N4:xyz", 1), "no digest");
    let second = &made.file.units[1].name;
    refused(
        &|t| t.replacen(&format!("{second}\""), &format!("{}\"", unit.name), 1),
        "twice",
    );
    std::fs::write(&path, &text).unwrap();
    let whole = std::fs::read(codes_path(&path)).unwrap();
    for (damage, says) in [
        (whole[..whole.len() - 100].to_vec(), "cut short"),
        (b"GEMCODEZ".to_vec(), "not a file of codes"),
        ([&whole[..whole.len() - 5], b"abcde"].concat(), ""),
    ] {
        std::fs::write(codes_path(&path), damage).unwrap();
        let found = read(&path, &loaded);
        assert!(
            says.is_empty() || found.is_err_and(|e| e.contains(says)),
            "{says}"
        );
    }
    std::fs::remove_file(codes_path(&path)).unwrap();
    assert!(
        read(&path, &loaded)
            .expect_err("no codes")
            .contains("plan.codes")
    );
}

#[test]
fn budgets_that_cannot_be_met_name_the_nearest() {
    let loaded = load(DENSE);
    let texts = Texts::divide(&documents(&loaded, 16, 48), 48);
    let mut asked = settings(1.5);
    let fails = |asked: &Settings| {
        planner::make(&loaded, asked, &texts, &mut |_, _| {}, &Silent)
            .expect_err("too small")
            .to_string()
    };
    assert!(fails(&asked).contains("2.2500"), "{}", fails(&asked));
    for bits in [f64::NAN, -1.0, 0.0, f64::INFINITY] {
        asked.budget = Budget::Bits(bits);
        assert!(fails(&asked).contains("allowed"), "{bits}");
    }
    asked.budget = Budget::Size(1000);
    let error = fails(&asked);
    let smallest: u64 = error
        .split_whitespace()
        .last()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    asked.budget = Budget::Size(smallest);
    let made = planner::make(&loaded, &asked, &texts, &mut |_, _| {}, &Silent)
        .expect("the nearest can be had");
    let plan = BitPlan::uniform(&loaded.graph, Codec::N2);
    let layout = pipeline::compile(&loaded.graph, &plan, &asked.target)
        .unwrap()
        .layout;
    assert_eq!(layout.weight_bytes(), smallest);
    let bytes: u64 = units(&loaded.graph)
        .iter()
        .map(|unit| Shape::of(&loaded.graph, unit).bytes(Codec::N2))
        .sum();
    assert_eq!(made.file.unit_bytes, bytes);
}

#[test]
fn short_texts_name_the_modules_that_starve() {
    let loaded = load(ROUTED);
    let documents = documents(&loaded, 4, 6);
    let texts = Texts::divide(&documents, 48);
    let error = planner::make(&loaded, &settings(4.25), &texts, &mut |_, _| {}, &Silent);
    let error = error.expect_err("24 tokens").to_string();
    assert!(
        error.contains("too short") && error.contains("modules."),
        "{error}"
    );
}
