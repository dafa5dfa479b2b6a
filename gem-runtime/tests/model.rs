//! Which weights, programs and facts make an engine, and which do not.
#![cfg(feature = "std")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod toy;

use std::io::Write as _;

use gem_runtime::storage::{Aligned, Weights};
use gem_runtime::{Engine, Error, Model as _, ModelInfo, Result, Session, SessionOptions, Task};
use toy::Toy;

fn build(info: ModelInfo, toy: Toy) -> Result<Engine> {
    let weights = Weights::copied(&toy::weight_file())?;
    Engine::new(info, Box::new(toy), weights)
}

fn with_info(change: impl FnOnce(&mut ModelInfo)) -> Result<Engine> {
    let mut info = toy::info(Task::CausalLm);
    change(&mut info);
    build(info, Toy::default())
}

fn with_toy(change: impl FnOnce(&mut Toy)) -> Result<Engine> {
    let mut toy = Toy::default();
    change(&mut toy);
    build(toy::info(Task::CausalLm), toy)
}

#[test]
fn weights_of_another_program_are_refused_by_name() {
    let differs = |result: Result<Engine>| match result {
        Err(Error::WrongWeights { what, .. }) => what,
        other => panic!("expected an error, got {other:?}"),
    };
    assert_eq!(differs(with_info(|i| i.target = "a72".into())), "target");
    assert_eq!(differs(with_info(|i| i.plan_hash[31] = 0)), "plan");
    assert_eq!(differs(with_toy(|t| t.shape.weight_bytes = 128)), "size");
    let message = with_info(|i| i.plan_hash = [0xa5; 32])
        .expect_err("another plan")
        .to_string();
    assert!(message.contains("expected a5a5a5"), "{message}");
}

#[test]
fn contradicting_tables_are_refused() {
    let refused = |result: Result<Engine>| {
        assert!(matches!(result, Err(Error::Program(_))), "{result:?}");
    };
    refused(with_toy(|t| t.shape.max_rows = 0));
    refused(with_toy(|t| t.shape.logits_stride = 10));
    refused(with_toy(|t| t.shape.logits = t.shape.arena_bytes - 4));
    refused(with_toy(|t| t.shape.logits = 2));
    refused(with_toy(|t| t.taps[0].after = 3));
    refused(with_toy(|t| t.taps[0].modules = u32::MAX));
    refused(with_toy(|t| t.taps[0].cluster = Some(u32::MAX - 3)));
    refused(with_info(|i| i.max_positions = 0));
    refused(with_info(|i| i.labels = vec!["x".into()].into()));
}

#[test]
fn a_cpu_that_cannot_run_it_is_an_error() {
    let missing = gem_runtime::simd::Level::ALL
        .into_iter()
        .find(|level| !level.supported());
    let Some(level) = missing else {
        println!("SKIPPED: needs a CPU that lacks a level");
        return;
    };
    let error = with_info(|i| i.level = level).expect_err("unsupported");
    assert!(error.to_string().contains(level.name()), "{error}");
}

#[test]
fn weights_come_from_files_memory_or_the_program() {
    let bytes = toy::weight_file();
    let mut file = tempfile::NamedTempFile::new().expect("a temporary folder");
    file.write_all(&bytes).expect("space");
    file.flush().expect("space");
    let leaked: &'static Aligned<[u8]> = {
        let mut fixed = Box::new(Aligned([0; 16 * 1024 + 64]));
        fixed.0.copy_from_slice(&bytes);
        Box::leak(fixed)
    };
    let sources = [
        Weights::open(file.path()),
        Weights::read(file.path()),
        Weights::copied(&bytes),
        Weights::embedded(leaked),
    ];
    for weights in sources {
        let weights = weights.expect("a good file");
        assert_eq!(weights.body().as_ptr() as usize % 64, 0);
        weights.verify().expect("intact");
        let engine = Engine::new(toy::info(Task::CausalLm), Box::new(Toy::default()), weights)
            .expect("it fits");
        let mut session = engine.session(SessionOptions::default()).expect("small");
        assert_eq!(session.forward(&[1]).expect("fits")[2], 2.25 * 101.0);
    }
    let absent = Weights::open(&file.path().with_extension("absent"));
    let message = absent.expect_err("no such file").to_string();
    assert!(message.contains("absent"), "{message}");
}

#[test]
fn parts_can_move_between_threads() {
    const fn sendable<T: Send>() {}
    const fn shareable<T: Send + Sync>() {}
    sendable::<Session<'_>>();
    shareable::<Engine>();
    shareable::<Error>();
}
