//! Which weights, programs and facts make an engine, and which do not.
#![cfg(feature = "std")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod toy;

use std::io::{Seek as _, SeekFrom, Write as _};

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
    assert_eq!(differs(with_info(|i| i.layout ^= 1)), "layout");
    assert_eq!(differs(with_info(|i| i.plan_hash[31] = 0)), "plan");
    assert_eq!(differs(with_toy(|t| t.shape.weight_bytes = 128)), "size");
    let message = with_info(|i| i.plan_hash = [0xa5; 32])
        .expect_err("another plan")
        .to_string();
    assert!(message.contains("expected a5a5a5"), "{message}");
    assert!(message.contains("or build both again"), "{message}");
    // Weights do not belong to a target.
    with_info(|i| i.target = "a72".into()).expect("the same weights");
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
    let changed = std::fs::File::options().write(true).open(file.path());
    let mut changed = changed.expect("ours");
    let at = bytes.len() as u64 - 60;
    changed.seek(SeekFrom::Start(at)).expect("ours");
    changed.write_all(&[0xff]).expect("space");
    let damaged = Weights::open_checked(file.path()).expect_err("a weight is another");
    let message = damaged.to_string();
    assert!(
        message.contains(&file.path().display().to_string()) && message.contains("record 0"),
        "{message}"
    );
    assert!(Weights::open(file.path()).is_ok(), "the header is intact");
    let absent = Weights::open(&file.path().with_extension("absent"));
    let message = absent.expect_err("no such file").to_string();
    assert!(message.contains("absent"), "{message}");
}

/// Whatever stands at a path, it is refused at once, by that path.
#[test]
fn what_is_no_weight_file_is_refused_with_its_path() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let refused = |name: &str, why: &str| {
        let path = dir.path().join(name);
        for result in [Weights::open(&path), Weights::read(&path)] {
            let message = result.expect_err(name).to_string();
            assert!(
                message.contains(&path.display().to_string()) && message.contains(why),
                "{message}"
            );
        }
    };
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.path().join(name), bytes).expect("space");
    };
    let good = toy::weight_file();
    write("empty", b"");
    refused("empty", "has 0 bytes");
    write("cut", &good[..good.len() - 1]);
    refused("cut", "where its header says");
    write("grown", &[&good[..], b"x"].concat());
    refused("grown", "where its header says");
    write("text", &b"what is this".repeat(99));
    refused("text", "does not start with GEMW");
    for version in [1, 2] {
        let mut old = good.clone();
        old[4] = version;
        write("old", &old);
        let why = format!("version {version}, this program reads version 3; build both again");
        refused("old", &why);
    }
    refused("absent", "");
    refused(".", "is a folder");
    // Of a size for which there is no memory, had anybody reserved it.
    let sparse = std::fs::File::create(dir.path().join("sparse")).expect("space");
    if sparse.set_len(1 << 42).is_ok() {
        refused("sparse", "does not start with GEMW");
    }
    let mut huge = good;
    huge[24..32].copy_from_slice(&(1_u64 << 50).to_le_bytes());
    write("huge", &huge);
    refused("huge", "where its header says");
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink("nothing", dir.path().join("dangling")).expect("a link");
        refused("dangling", "");
        if std::path::Path::new("/dev/zero").exists() {
            symlink("/dev/zero", dir.path().join("device")).expect("a link");
            refused("device", "is a device");
        }
        let pipe = std::process::Command::new("mkfifo")
            .arg(dir.path().join("pipe"))
            .status();
        if pipe.is_ok_and(|status| status.success()) {
            refused("pipe", "is a pipe");
        }
        write("whole", &toy::weight_file());
        symlink("whole", dir.path().join("link")).expect("a link");
        Weights::open_checked(&dir.path().join("link")).expect("a link to a good file");
    }
}

#[test]
fn weights_of_another_program_are_refused_with_their_path() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary folder");
    file.write_all(&toy::weight_file()).expect("space");
    let info = ModelInfo {
        plan_hash: [0xa5; 32],
        ..toy::info(Task::CausalLm)
    };
    let opened = Engine::open(info, Box::new(Toy::default()), file.path());
    let message = opened.expect_err("another plan").to_string();
    assert!(
        message.contains(&file.path().display().to_string()),
        "{message}"
    );
}

#[test]
fn parts_can_move_between_threads() {
    const fn sendable<T: Send>() {}
    const fn shareable<T: Send + Sync>() {}
    sendable::<Session>();
    shareable::<Engine>();
    shareable::<Error>();
}
