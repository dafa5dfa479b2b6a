//! `model::Model`: a checkpoint's path at run time to a model that threads share; and everything that is refused.

use std::path::PathBuf;

use gem_runtime::{Finish, Model as _, Sampling, SessionOptions};
use gem_tests::needs::repository;
use gemc::cache::Cache;
use gemc::model::{Model, OpenError, Options};
use gemc::pipeline;
use gemc::plan::activations::Rule;
use gemc::plan::{BitPlan, KvFormat};
use gemc::prepared::{FormatsError, PreparedModel};
use gemc::target::Target;
use gemc_format::{ActivationFormat, Codec, Rounding};

fn checkpoint() -> PathBuf {
    repository("examples/checkpoints/lm-all-8mlp-top3-always-domainscar")
}

fn options() -> Options {
    let options = Model::options().rounding(Rounding::Plain);
    options.bits("8.25").without_cache()
}

/// Bits of the logits of every position.
fn logits(model: &impl gem_runtime::Model, ids: &[u32]) -> Vec<u32> {
    let options = SessionOptions {
        threads: Some(2),
        ..SessionOptions::default()
    };
    let mut session = model.session(options).expect("small");
    let mut bits = Vec::new();
    let each = |_, row: &[f32]| bits.extend(row.iter().map(|x| x.to_bits()));
    session.forward_all(ids, each).expect("ids of the model");
    bits
}

/// Works for any model: what is compiled ahead, and what is compiled here.
fn answer(model: &dyn gem_runtime::Model) -> (String, Option<Finish>) {
    let mut session = model.session(SessionOptions::default()).expect("small");
    let sampling = Sampling {
        max_tokens: 5,
        ..Sampling::default()
    };
    let mut pieces = session.generate("ab", sampling);
    let text = pieces
        .by_ref()
        .map(|piece| piece.expect("a tokenizer").text)
        .collect();
    (text, pieces.finish())
}

#[test]
fn threads_share_one_model() {
    let model = options().open(checkpoint()).expect("a good checkpoint");
    let prepared = PreparedModel::new(
        pipeline::load(&checkpoint()).expect("a good checkpoint"),
        uniform(Codec::B8),
        Target::host(),
        Rounding::Plain,
        None,
    );
    let prepared = prepared.expect("it compiles");
    let interpreted = gemc::backend::interpreted(&prepared).expect("its own weights");
    assert_eq!(model.info(), interpreted.info());
    let sequences: [&[u32]; 2] = [&[1, 5, 9, 3, 3, 7], &[2, 4, 6]];
    std::thread::scope(|scope| {
        for ids in sequences {
            let (model, interpreted) = (&model, &interpreted);
            scope.spawn(move || {
                for _ in 0..3 {
                    assert_eq!(logits(model, ids), logits(interpreted, ids));
                }
            });
        }
    });
    let (text, finish) = answer(&model);
    assert!(finish.is_some());
    assert_eq!(answer(&model), (text, finish), "greedy");
}

fn uniform(codec: Codec) -> BitPlan {
    let loaded = pipeline::load(&checkpoint()).expect("a good checkpoint");
    BitPlan::uniform(&loaded.graph, codec)
}

#[test]
fn a_plan_is_as_good_as_its_name() {
    let plan = uniform(Codec::B8);
    let ids = [3, 1, 4, 1, 5];
    let named = options().open(checkpoint()).expect("a good checkpoint");
    let planned = options().plan(plan).open(checkpoint()).expect("its plan");
    let other = options().bits("4.25").open(checkpoint()).expect("a format");
    assert_eq!(logits(&named, &ids), logits(&planned, &ids));
    assert_ne!(logits(&named, &ids), logits(&other, &ids));
}

/// Around every block of rows, call of 128 rows and chunk of 256 positions, to the context; more threads than cores.
#[test]
fn other_activations_keys_and_values_equal_single_steps_over_the_whole_context() {
    const PROMPTS: [usize; 11] = [1, 2, 7, 8, 9, 127, 128, 129, 255, 257, 1024];
    let trained = repository("examples/models/gem-lm");
    let graph = pipeline::load(&trained).expect("a good checkpoint").graph;
    let ids: Vec<u32> = (0..1024).map(|i| (i * 37 + i * i) % 4096).collect();
    let steps = |model: &Model, prompt: usize, threads: usize| -> Vec<u32> {
        let options = SessionOptions {
            context: None,
            threads: Some(threads),
        };
        let mut session = model.session(options).expect("small");
        let mut bits = Vec::new();
        let (first, rest) = ids.split_at(prompt);
        for ids in std::iter::once(first).chain(rest.chunks(prompt)) {
            let each = |_, row: &[f32]| bits.extend(row.iter().map(|x| x.to_bits()));
            session.forward_all(ids, each).expect("within the context");
        }
        let past = session.forward_all(&[1], |_, _| ());
        assert!(past.is_err(), "past the context");
        bits
    };
    let mut seen = Vec::new();
    for (format, kv) in [
        (ActivationFormat::Int8, KvFormat::F16),
        (ActivationFormat::Int8Wide, KvFormat::Int8),
        (ActivationFormat::Int16, KvFormat::F32),
    ] {
        let everywhere = Rule {
            units: String::new(),
            format,
        };
        let plan = BitPlan::uniform(&graph, Codec::N4).with_activations(&graph, &[everywhere]);
        let options = options().plan(plan.expect("all units agree")).kv(kv);
        let model = options.open(&trained).expect("a good checkpoint");
        let expected = steps(&model, 1, 1);
        for (prompt, threads) in PROMPTS.into_iter().zip([1, 2, 3, 5].into_iter().cycle()) {
            let found = steps(&model, prompt, threads);
            assert!(
                found == expected,
                "{format:?} {kv:?}: {prompt} tokens at once, {threads} threads"
            );
        }
        assert!(
            !seen.contains(&expected),
            "{format:?} {kv:?} changes nothing"
        );
        seen.push(expected);
    }
}

#[test]
fn what_cannot_be_opened_is_told() {
    let error = |options: Options| options.open(checkpoint()).expect_err("refused");
    let bits = error(options().bits("7"));
    assert!(
        matches!(bits, OpenError::Formats(FormatsError::Bits(_))),
        "{bits}"
    );
    assert!(bits.to_string().contains("l4"), "{bits}");
    let other = repository("examples/checkpoints/lm-dense-pre-rope");
    let other = pipeline::load(&other).expect("a good checkpoint");
    let plan = error(options().plan(BitPlan::uniform(&other.graph, Codec::N4)));
    assert!(
        matches!(plan, OpenError::Formats(FormatsError::Plan(_))),
        "{plan}"
    );
    assert!(plan.to_string().contains("another checkpoint"), "{plan}");
    let foreign = Target::all().into_iter().find(|t| !t.is_native());
    let foreign = error(options().target(foreign.expect("one of another architecture")));
    assert!(foreign.to_string().contains("cannot run"), "{foreign}");
    let nowhere = options().open("no/such/folder").expect_err("refused");
    assert!(matches!(nowhere, OpenError::Compile(_)), "{nowhere}");
    assert!(nowhere.to_string().contains("no/such/folder"), "{nowhere}");
}

#[test]
fn a_second_opening_uses_the_cache() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::at(dir.path()).expect("made");
    let open = || {
        let options = options().cache(cache.clone());
        options.open(checkpoint()).expect("a good checkpoint")
    };
    let ids = [2, 7, 1, 8];
    let fresh = options().open(checkpoint()).expect("a good checkpoint");
    let expected = logits(&fresh, &ids);
    assert_eq!(logits(&open(), &ids), expected);
    std::fs::remove_dir_all(dir.path().join("matrices")).expect("there");
    assert_eq!(logits(&open(), &ids), expected);
    assert!(!dir.path().join("matrices").exists(), "nothing was made");
}
