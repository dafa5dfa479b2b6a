//! Text from C: an object and the runtime library in one program say what sessions of the same kernels say.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use gem_runtime::text::{Message, Text};
use gem_runtime::{Engine, Model as _, Sampling, SessionOptions};
use gem_tests::machine::NATIVE;
use gem_tests::needs::repository;
use gem_tests::place;
use gemc::backend;
use gemc::cache::Cache;
use gemc::emit::cranelift::Effort;
use gemc::package::{Builder, Form, LIBRARY, WEIGHTS, write_runtime};
use gemc::pipeline;
use gemc::plan::BitPlan;
use gemc::prepared::PreparedModel;
use gemc::target::Target;
use gemc_format::{Codec, Rounding};

const TOKENS: u32 = 32;

const EXAMPLE: &str = "examples/c/text.c";

fn temporary(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("c-text")
        .join(name);
    std::fs::create_dir_all(&dir).expect("space");
    dir
}

/// Compiles a checkpoint of a folder of the repository, writes its object, links a program in C with it; the program's
/// path, the model's folder, and the same kernels as machine code of this process.
fn linked(source: &str, checkpoint: &str, runtime: &Path) -> (PathBuf, PathBuf, Engine) {
    let dir = repository(checkpoint);
    let name = dir.file_name().and_then(|n| n.to_str()).expect("a name");
    let target = Target::find(NATIVE.target).expect("an embedded target");
    let loaded = pipeline::load(&dir).expect("a good checkpoint");
    let plan = BitPlan::uniform(&loaded.graph, Codec::N4);
    let model = PreparedModel::new(loaded, plan, target, Rounding::Plain, None);
    let mut model = model.expect("it compiles");
    model.name = name.to_owned();
    let object = model.object("gem").expect("machine code");
    let linkable = model
        .linkable(Form::Object, object)
        .expect("a readable checkpoint");
    let folder = temporary(name).join("model");
    model
        .write_linkable(place(&folder), &linkable, &mut |_| {})
        .expect("a new folder, or one of ours");
    let program = temporary(name).join("program");
    let output = Command::new(NATIVE.compiler)
        .args([
            "-std=c99",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
        ])
        .arg("-I")
        .arg(runtime)
        .arg("-o")
        .arg(&program)
        .arg(repository(source))
        .arg(folder.join(linkable.file_name()))
        .arg(runtime.join(LIBRARY))
        .args(["-lpthread", "-ldl", "-lm"])
        .output()
        .expect("the compiler starts");
    assert!(output.status.success(), "{}", told(&output));
    let vocabulary = model.loaded.graph.facts().vocab_size as u32;
    let text = Text::open(&dir, vocabulary).expect("a good tokenizer");
    let engine = backend::jitted_with(&model, Effort::default()).expect("its own weights");
    (program, folder, engine.with_text(text))
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn run(program: &Path, folder: &Path, count: u32, prompt: &str) -> Output {
    Command::new(program)
        .arg(folder)
        .args([&count.to_string(), prompt])
        .output()
        .expect("the program starts")
}

/// The folder of the runtime library, built once.
fn runtime() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = temporary("runtime");
        let builder = Builder::new(&Cache::open().expect("a home"), None);
        let library = builder.runtime_library().expect("cargo runs this test");
        write_runtime(place(&folder), &library, NATIVE.target)
            .expect("a new folder, or one of ours");
        folder
    });
    &FOLDER
}

#[test]
fn a_conversation_in_c_is_that_of_a_session() {
    if !NATIVE.is_there() {
        return;
    }
    let checkpoint = "examples/checkpoints/lm-dense-pre-rope";
    let (program, folder, engine) = linked("tests/c/chat.c", checkpoint, runtime());
    let mut session = engine.session(SessionOptions::default()).expect("small");
    let sampling = || Sampling {
        max_tokens: 6,
        ..Sampling::default()
    };
    let mut turns = vec![Message::user("a b")];
    let mut expected = String::new();
    for next in [Some("c"), None] {
        let pieces = session.chat(&turns, sampling());
        let answer: String = pieces.map(|piece| piece.expect("it fits").text).collect();
        let _ = writeln!(expected, "{answer}");
        turns.push(Message::assistant(&answer));
        turns.extend(next.map(Message::user));
    }
    let _ = writeln!(expected, "{} tokens", session.position());
    let chat = || {
        Command::new(&program)
            .arg(&folder)
            .args(["6", "a b", "c"])
            .output()
            .expect("the program starts")
    };
    let output = chat();
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);

    let weights = folder.join(WEIGHTS);
    let mut bytes = std::fs::read(&weights).expect("written");
    let last = bytes.len() - 1;
    bytes[last] ^= 0x80;
    std::fs::write(&weights, bytes).expect("space");
    let output = chat();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("model.gemw is damaged"),
        "{}",
        told(&output)
    );
}

#[test]
fn a_program_in_c_says_what_sessions_say() {
    if !NATIVE.is_there() {
        return;
    }
    let runtime = runtime();
    let prompt = "The license";
    let (program, folder, engine) = linked(EXAMPLE, "examples/models/gem-lm", runtime);
    let mut session = engine.session(SessionOptions::default()).expect("small");
    let sampling = Sampling {
        max_tokens: TOKENS,
        ..Sampling::default()
    };
    let pieces = session.generate(prompt, sampling);
    let mut expected: String = pieces.map(|piece| piece.expect("it fits").text).collect();
    expected.push('\n');
    assert!(expected.len() > 10, "{expected}");
    let output = run(&program, &folder, TOKENS, prompt);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);

    // Errors come with words.
    let output = run(&program, &folder, TOKENS, "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(told(&output), "error: no tokens: at least one is needed\n");
    let output = run(&program, Path::new("no/such/folder"), 1, prompt);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("no/such/folder"),
        "{}",
        told(&output)
    );

    let (classifier, labels, engine) = linked(EXAMPLE, "examples/models/gem-cls", runtime);
    let text = "The patient was given a dose of the drug.";
    let mut session = engine.session(SessionOptions::default()).expect("small");
    let expected: String = session
        .classify(text)
        .expect("a text")
        .iter()
        .map(|label| format!("{:.3} {}\n", label.score, label.label))
        .collect();
    let output = run(&classifier, &labels, 0, text);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);

    // Weights of another program are refused, by name of what differs.
    let output = run(&program, &labels, 1, prompt);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("for another program"),
        "{}",
        told(&output)
    );
}
