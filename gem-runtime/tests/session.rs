//! Sessions over a program written by hand: steps, chunks, limits, truncation, forced routing, sharing.
#![cfg(feature = "std")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod toy;

use gem_runtime::abi::RoutingTap;
use gem_runtime::routing::{RoutingHook, RoutingView};
use gem_runtime::{Error, Model as _, SessionOptions, Task};
use toy::{VOCAB, expected_state, weight};

const IDS: [u32; 14] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7];

fn expected(tokens: &[u32]) -> Vec<f32> {
    let module = tokens[tokens.len() - 1] % toy::MODULES;
    let state = expected_state(tokens, Some(module));
    (0..VOCAB).map(|t| weight(t) * state).collect()
}

fn options(threads: usize) -> SessionOptions {
    SessionOptions {
        context: None,
        threads: Some(threads),
    }
}

#[test]
fn every_way_to_feed_tokens_gives_the_same_logits() {
    let engine = toy::engine(Task::CausalLm);
    for threads in [1, 2, 5] {
        let mut all = engine.session(options(threads)).expect("small");
        let mut seen = 0;
        all.forward_all(&IDS, |position, logits| {
            assert_eq!(position, seen);
            seen += 1;
            assert_eq!(logits, expected(&IDS[..seen as usize]), "at {position}");
        })
        .expect("fits");
        assert_eq!((seen, all.position()), (14, 14));
        for cut in 1..IDS.len() {
            let mut session = engine.session(options(threads)).expect("small");
            let first = session.forward(&IDS[..cut]).expect("fits").to_vec();
            assert_eq!(first, expected(&IDS[..cut]));
            let second = session.forward(&IDS[cut..]).expect("fits").to_vec();
            assert_eq!(second, expected(&IDS), "cut at {cut}");
        }
    }
}

#[test]
fn bad_input_is_an_error_and_changes_nothing() {
    let engine = toy::engine(Task::CausalLm);
    let mut session = engine.session(options(2)).expect("small");
    session.forward(&IDS[..13]).expect("fits");
    assert!(matches!(session.forward(&[]), Err(Error::Empty)));
    assert!(matches!(
        session.forward(&[1, VOCAB]),
        Err(Error::Token {
            id: VOCAB,
            vocab: VOCAB
        })
    ));
    assert!(matches!(
        session.forward(&[1; 8]),
        Err(Error::Context {
            needed: 21,
            limit: 20
        })
    ));
    assert!(matches!(
        session.classify_ids(&[1]),
        Err(Error::Task { .. })
    ));
    assert_eq!(session.position(), 13);
    assert_eq!(session.forward(&IDS[13..]).expect("fits"), expected(&IDS));
    session.forward(&[1; 6]).expect("up to the limit");
    assert!(matches!(session.forward(&[1]), Err(Error::Context { .. })));
}

#[test]
fn a_shortened_session_goes_on_from_there() {
    let engine = toy::engine(Task::CausalLm);
    let mut session = engine.session(options(1)).expect("small");
    session.forward(&[9, 9, 9]).expect("fits");
    session.truncate(5);
    assert_eq!(session.position(), 3);
    session.truncate(1);
    assert_eq!(session.forward(&[2]).expect("fits"), expected(&[9, 2]));
    session.reset();
    assert_eq!(session.forward(&IDS).expect("fits"), expected(&IDS));
    let memory = session.memory();
    assert_eq!(memory.kv, 4 * 20);
    assert!(memory.arena > 0);
}

#[test]
fn what_was_lost_is_run_again_even_after_it_was_cancelled() {
    let mut toy = toy::Toy::default();
    // The toy loses nothing, but says so.
    toy.shape.rewind = 2;
    let weights = gem_runtime::storage::Weights::copied(&toy::weight_file()).expect("sound");
    let engine = gem_runtime::Engine::new(toy::info(Task::CausalLm), Box::new(toy), weights);
    let engine = engine.expect("they fit");
    let mut session = engine.session(options(1)).expect("memory");
    session.forward(&[1, 2, 3, 4, 5, 6]).expect("good tokens");
    session.truncate(3);
    session.cancel_handle().cancel();
    let stopped = session.forward(&[7]).map(<[f32]>::len);
    assert!(
        matches!(stopped, Err(Error::Cancelled { taken: 0 })),
        "{stopped:?}"
    );
    assert_eq!(session.tokens(), [1, 2, 3]);
    assert_eq!(
        session.forward(&[7]).expect("fits"),
        expected(&[1, 2, 3, 7])
    );
    assert_eq!(session.tokens(), [1, 2, 3, 7]);
}

#[test]
fn sessions_share_a_model_across_threads() {
    let engine = toy::engine(Task::CausalLm);
    let run = |engine: &gem_runtime::Engine, n: usize| {
        let mut session = engine.session(options(2)).expect("small");
        session.forward(&IDS[..n]).expect("fits").to_vec()
    };
    std::thread::scope(|scope| {
        for n in 1..=4 {
            let engine = &engine;
            scope.spawn(move || assert_eq!(run(engine, n), expected(&IDS[..n])));
        }
    });
}

#[test]
fn options_out_of_range_are_errors() {
    let engine = toy::engine(Task::CausalLm);
    let with = |context| SessionOptions {
        context: Some(context),
        threads: Some(1),
    };
    for context in [0, 21, u32::MAX] {
        assert!(matches!(
            engine.session(with(context)),
            Err(Error::Options(_))
        ));
    }
    let session = engine.session(with(7)).expect("small");
    assert_eq!((session.context(), session.memory().kv), (7, 28));
}

#[test]
fn an_encoder_sees_the_whole_text() {
    let engine = toy::engine(Task::SequenceClassification);
    let mut session = engine.session(options(2)).expect("small");
    for text in [&IDS[..4], &IDS[2..3], &IDS[..3]] {
        let state = expected_state(text, Some(text[0] % toy::MODULES));
        let logits = session.classify_ids(text).expect("fits");
        assert_eq!(logits, [weight(0) * state, weight(1) * state]);
    }
    assert_eq!(session.longest_text(), toy::MAX_ROWS);
    assert!(matches!(
        session.classify_ids(&IDS[..5]),
        Err(Error::Context {
            needed: 5,
            limit: 4
        })
    ));
    assert!(matches!(session.forward(&IDS), Err(Error::Task { .. })));
}

/// Forces one module everywhere, or leaves nonsense.
struct Force {
    fired: i32,
    seen: Vec<(u32, i32)>,
}

impl RoutingHook for Force {
    fn routed(&mut self, tap: &RoutingTap, mut view: RoutingView<'_>) {
        assert_eq!(tap.site, "layers.0");
        for (i, row) in view.rows().iter().enumerate() {
            let own = view.fired(i).expect("a row")[0];
            assert_eq!(view.p(i).expect("a row")[own as usize], 0.75);
            assert_eq!(view.gates(i).expect("a row"), [0.5]);
            assert_eq!(view.cluster(i), None);
            self.seen.push((row.position, own));
            view.fired_mut(i).expect("a row")[0] = self.fired;
            *view.domain_mut(i).expect("a row") = self.fired.max(0);
        }
        assert!(view.p(view.rows().len()).is_none());
    }
}

#[test]
fn routing_can_be_read_and_forced() {
    let engine = toy::engine(Task::CausalLm);
    for fired in [-1, 0, 2] {
        let mut session = engine.session(options(2)).expect("small");
        let mut force = Force {
            fired,
            seen: Vec::new(),
        };
        let mut n = 0;
        session
            .forward_routed(&IDS, &mut force, |_, logits| {
                n += 1;
                let state = expected_state(&IDS[..n], u32::try_from(fired).ok());
                assert_eq!(logits[1], weight(1) * state);
            })
            .expect("fits");
        let own: Vec<(u32, i32)> = (0..)
            .zip(IDS.map(|id| (id % toy::MODULES) as i32))
            .collect();
        assert_eq!(force.seen, own);
    }
}

#[test]
fn impossible_routing_is_refused() {
    let engine = toy::engine(Task::CausalLm);
    for fired in [-2, 3, i32::MAX] {
        let mut session = engine.session(options(1)).expect("small");
        let mut force = Force {
            fired,
            seen: Vec::new(),
        };
        let result = session.forward_routed(&IDS, &mut force, |_, _| {});
        assert!(matches!(result, Err(Error::Routing { row: 0, .. })));
        assert_eq!(session.position(), 0);
    }
}

/// The toy with a weight of token 5 that is not a number.
fn broken(task: Task, value: f32) -> gem_runtime::Engine {
    let mut file = toy::weight_file();
    let body = gem_runtime::file::WeightFile::parse(&file)
        .expect("own file")
        .body_range();
    file[body.start + 20..][..4].copy_from_slice(&value.to_le_bytes());
    let weights = gem_runtime::storage::Weights::copied(&file).expect("its header is sound");
    gem_runtime::Engine::new(toy::info(task), Box::new(toy::Toy::default()), weights)
        .expect("they fit")
}

#[test]
fn logits_that_are_not_numbers_are_errors_and_change_nothing() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let engine = broken(Task::CausalLm, value);
        let mut session = engine.session(options(2)).expect("small");
        let named = |result: gem_runtime::Result<()>, position| match result {
            Err(Error::Logits {
                position: at,
                id: 5,
                ..
            }) => assert_eq!(at, position),
            other => panic!("expected an error, got {other:?}"),
        };
        named(session.forward(&IDS[..6]).map(drop), 5);
        assert_eq!(session.position(), 0);
        let mut seen = 0;
        let all = session.forward_all(&IDS, |_, _| seen += 1);
        named(all, 0);
        assert_eq!((session.position(), seen), (0, 0));
    }
    // Of two labels, the second is not a number; tokens beyond the labels do not matter.
    let engine = broken(Task::SequenceClassification, f32::NAN);
    let mut session = engine.session(options(1)).expect("small");
    assert!(session.classify_ids(&IDS[..3]).is_ok());
}
