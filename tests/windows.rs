//! Layers that keep only a window of positions: what they compute, when they overwrite, and what a sequence that is cut back
//! costs.

use std::path::Path;

use gem_runtime::{Engine, Model as _, Session, SessionOptions};
use gemc::emit::cranelift::Effort;
use gemc::graph::Task;
use gemc::metrics;
use gemc::pipeline;
use gemc::plan::{BitPlan, KvFormat, kv};
use gemc::prepared::PreparedModel;
use gemc::progress::Silent;
use gemc::reference::Activations;
use gemc::target::Target;
use gemc::verify::candidate::{Candidate as _, Executor};
use gemc::{backend, fake};
use gemc_format::{Codec, Rounding};

const WINDOW: u32 = 7;

/// More than twice what a layer with that window keeps.
const TOKENS: u32 = 600;

fn model(name: &str, window: u32, kv: KvFormat) -> PreparedModel {
    prepared(&gem_tests::windowed(name, window), kv)
}

fn prepared(checkpoint: &Path, kv: KvFormat) -> PreparedModel {
    let loaded = pipeline::load(checkpoint).expect("a good checkpoint");
    let plan = BitPlan::uniform(&loaded.graph, Codec::B8).with_kv(kv);
    PreparedModel::new(loaded, plan, Target::host(), Rounding::Plain, None).expect("it compiles")
}

fn ids() -> Vec<u32> {
    (0..TOKENS)
        .map(|i| (i * i * 7 + i * 3 + i / 5) % 64)
        .collect()
}

fn machine_code(model: &PreparedModel) -> Engine {
    backend::jitted(model, Effort::default(), &Silent).expect("machine code")
}

fn session(engine: &Engine) -> Session {
    let options = SessionOptions {
        context: Some(1024),
        threads: Some(1),
    };
    engine.session(options).expect("memory")
}

/// Logits of every position from `from` on, in calls of so many tokens.
fn logits(session: &mut Session, ids: &[u32], pieces: usize) -> Vec<Vec<f32>> {
    let mut rows = Vec::new();
    for piece in ids.chunks(pieces) {
        let told = session.forward_all(piece, |_, row| rows.push(row.to_vec()));
        told.expect("good tokens");
    }
    rows
}

fn bits(rows: &[Vec<f32>]) -> Vec<u32> {
    rows.iter().flatten().map(|x| x.to_bits()).collect()
}

fn mean_kl(expected: &[Vec<f32>], found: &[Vec<f32>]) -> f64 {
    let pairs = expected.iter().zip(found);
    let divergence = metrics::divergence(Task::CausalLm);
    pairs.map(|(e, f)| divergence(e, f)).sum::<f64>() / expected.len() as f64
}

#[test]
fn what_a_window_has_left_behind_does_not_matter() {
    let ids = ids();
    let executed = |model: &PreparedModel| {
        let mut faked = model.loaded.reference();
        fake::quantise(&mut faked, &model.plan, Rounding::Plain).expect("codes");
        let mut executor = Executor {
            reference: &faked,
            activations: Activations::Rounded,
        };
        executor.run(&ids, None).expect("good tokens").logits
    };
    for kv in KvFormat::ALL {
        let model = model(&format!("{kv:?}"), WINDOW, kv);
        let engine = machine_code(&model);
        let whole = logits(&mut session(&engine), &ids, ids.len());
        for pieces in [1, 130, 257] {
            let found = logits(&mut session(&engine), &ids, pieces);
            assert_eq!(bits(&found), bits(&whole), "{kv:?}: in pieces of {pieces}");
        }
        let interpreted = backend::interpreted(&model).expect("a program");
        let found = logits(&mut session(&interpreted), &ids[..300], 150);
        assert_eq!(bits(&found), bits(&whole[..300]), "{kv:?}: interpreted");
        if kv == KvFormat::F32 {
            let expected = executed(&model);
            let apart = mean_kl(&expected, &whole);
            assert!(apart < 2e-4, "{apart:e} from the reference");
            let other = executed(&self::model("wider", WINDOW + 1, kv));
            let control = mean_kl(&other, &whole);
            assert!(
                control > 20.0 * apart,
                "a window of one more is {control:e} away"
            );
        }
    }
}

#[test]
fn they_keep_their_window_and_no_more() {
    let model = model("memory", WINDOW, KvFormat::F16);
    let kept = kv::sizes(&model.loaded.graph, KvFormat::F16);
    // Keys and values of 2 heads of 16, two bytes each: of all positions in one layer, of 256 in two.
    let position = 2 * 2 * 16 * 2;
    assert_eq!(
        (kept.per_position, kept.rings),
        (position, 2 * 256 * position)
    );
    let engine = machine_code(&model);
    let mut session = session(&engine);
    let bytes = 1024 * position + 2 * 256 * position;
    assert_eq!(session.memory().kv, bytes);
    logits(&mut session, &ids(), 600);
    assert_eq!(session.memory().kv, bytes);
}

/// What a session holds after it was cut back gives the bits of one that never held more, near the end and far from it.
fn can_be_cut_back(model: &PreparedModel, rewind: u32) {
    let ids = ids();
    let engine = machine_code(model);
    assert_eq!(engine.program().shape().rewind, rewind);
    let mut cut = session(&engine);
    logits(&mut cut, &ids, 600);
    for kept in [599, 600 - rewind, 599 - rewind, 100, 3, 0] {
        cut.truncate(kept);
        assert_eq!(cut.position(), kept);
        let other: Vec<u32> = ids.iter().rev().take(20).copied().collect();
        let found = logits(&mut cut, &other, 7);
        let mut fresh = session(&engine);
        logits(&mut fresh, &ids[..kept as usize], 600);
        let expected = logits(&mut fresh, &other, 20);
        assert_eq!(bits(&found), bits(&expected), "cut back to {kept}");
        assert_eq!(cut.position(), kept + 20);
        // Back to what it was, for the next.
        cut.truncate(kept);
        logits(&mut cut, &ids[kept as usize..], 600);
    }
}

#[test]
fn a_sequence_can_be_cut_back_anywhere() {
    // 256 positions are kept, of which 6 precede the next one.
    can_be_cut_back(&model("rewind", WINDOW, KvFormat::Int8), 250);
}

#[test]
fn convolutions_keep_what_they_sum_and_no_more() {
    let model = prepared(&gem_tests::convolved("convolved"), KvFormat::F32);
    // 144 positions are kept, of which two precede the next one, of 64 columns in two layers.
    let kept = kv::sizes(&model.loaded.graph, KvFormat::F32);
    assert_eq!(kept.rings, 2 * 144 * 64 * 4);
    can_be_cut_back(&model, 142);
    let (ids, engine) = (ids(), machine_code(&model));
    let whole = logits(&mut session(&engine), &ids, ids.len());
    for pieces in [1, 130, 257] {
        let found = logits(&mut session(&engine), &ids, pieces);
        assert_eq!(bits(&found), bits(&whole), "in pieces of {pieces}");
    }
    let interpreted = backend::interpreted(&model).expect("a program");
    let found = logits(&mut session(&interpreted), &ids[..300], 150);
    assert_eq!(bits(&found), bits(&whole[..300]), "interpreted");
    let mut faked = model.loaded.reference();
    fake::quantise(&mut faked, &model.plan, Rounding::Plain).expect("codes");
    let mut executor = Executor {
        reference: &faked,
        activations: Activations::Rounded,
    };
    let expected = executor.run(&ids, None).expect("good tokens").logits;
    let apart = mean_kl(&expected, &whole);
    assert!(apart < 2e-4, "{apart:e} from the reference");
}
