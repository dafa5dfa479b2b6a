//! Text from C: an object and the runtime library in one program say what sessions of the same kernels say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gem_runtime::format::{Codec, Rounding};
use gem_runtime::text::Text;
use gem_runtime::{Engine, Model as _, Sampling, SessionOptions};
use gem_tests::machine::NATIVE;
use gem_tests::needs::repository;
use gemc::backend;
use gemc::cache::Cache;
use gemc::emit::cranelift::Effort;
use gemc::package::{Builder, Form, LIBRARY, Parts, write_runtime};
use gemc::pipeline;
use gemc::plan::BitPlan;
use gemc::target::Target;

const TOKENS: u32 = 32;

fn temporary(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("c-text")
        .join(name);
    std::fs::create_dir_all(&dir).expect("space");
    dir
}

/// Compiles a trained model, writes its object, links the example with it; the program's path, and the same kernels as
/// machine code of this process.
fn example(name: &str, runtime: &Path) -> (PathBuf, PathBuf, Engine) {
    let dir = repository("examples/models").join(name);
    let target = Target::find(NATIVE.target).expect("an embedded target");
    let loaded = pipeline::load(&dir).expect("a good checkpoint");
    let plan = BitPlan::uniform(&loaded.graph, Codec::N4);
    let compiled = pipeline::compile(&loaded.graph, &plan, &target).expect("it compiles");
    let parts = Parts {
        name,
        loaded: &loaded,
        compiled: &compiled,
        plan: &plan,
        target: &target,
        rounding: Rounding::Plain,
        cache: None,
    };
    let object = parts.object("gem").expect("machine code");
    let linkable = parts
        .linkable(Form::Object, object)
        .expect("a readable checkpoint");
    let folder = temporary(name).join("model");
    parts
        .write_linkable(&folder, &linkable, &mut |_| {})
        .expect("a new folder, or one of ours");
    let program = temporary(name).join("text");
    let output = Command::new(NATIVE.compiler)
        .args([
            "-std=c99",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-I",
        ])
        .arg(runtime)
        .arg("-o")
        .arg(&program)
        .arg(repository("examples/c/text.c"))
        .arg(folder.join(linkable.file_name()))
        .arg(runtime.join(LIBRARY))
        .args(["-lpthread", "-ldl", "-lm"])
        .output()
        .expect("the compiler starts");
    assert!(output.status.success(), "{}", told(&output));
    let vocabulary = loaded.graph.facts().vocab_size as u32;
    let text = Text::open(&dir, vocabulary).expect("a good tokenizer");
    let engine = backend::jitted_with(&parts, Effort::default()).expect("its own weights");
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

#[test]
fn a_program_in_c_says_what_sessions_say() {
    if !NATIVE.is_there() {
        return;
    }
    let runtime = temporary("runtime");
    let builder = Builder::new(&Cache::open().expect("a home"), None);
    let library = builder.runtime_library().expect("cargo runs this test");
    write_runtime(&runtime, &library, NATIVE.target).expect("a new folder, or one of ours");

    let prompt = "The license";
    let (program, folder, engine) = example("gem-lm", &runtime);
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

    let (classifier, labels, engine) = example("gem-cls", &runtime);
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
