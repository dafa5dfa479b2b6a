//! Generated crates, compiled and run: bit for bit what the interpreter gives, for prefill and single steps, one thread
//! and several, at every level this CPU has.
//!
//! The crates of a test are members of one workspace next to a driver, so that cargo builds everything once.

mod bundle;
mod whole;
mod workspace;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use gem_runtime::{Engine, Task};
use gem_tests::needs::repository;
use gem_tests::place;
use gemc::package::{self, Runtime};
use gemc::plan::KvFormat;
use gemc::target::Target;
use gemc_format::{ActivationFormat, Codec};
use workspace::{Case, Workspace, cargo, checksums, listed};

/// Checkpoints with a format each; every format, kind of module, mask and norm is among them.
const MODELS: &[(&str, Codec)] = &[
    ("cls-all-5domains-top2-fallback-flagscar", Codec::N4),
    ("cls-some-5lora-top3-fallback-domainscar", Codec::B8),
    ("lm-all-8mlp-top3-always-domainscar", Codec::L4),
    ("lm-all-2lora-top1-none-flagscar", Codec::N3),
    ("lm-dense-post-rope-layernorm", Codec::N5),
    ("lm-dense-pre-learned", Codec::L6),
    ("lm-some-5lora-top2-fallback-domainscar", Codec::N2),
];

/// Checkpoint and format that also run with activations, keys and values in other formats.
const OTHER_FORMATS: (&str, Codec) = ("lm-all-8mlp-top3-always-domainscar", Codec::N4);

/// How the driver runs a model: tokens of each call (the last number counts for all that follow), threads.
const MODES: &[(&str, usize)] = &[("9999", 1), ("9999", 3), ("1", 1), ("7", 2)];

/// A prompt of so many tokens, then the rest at once: around every block of rows, tile, call of 128 rows, chunk of 256
/// positions, and the context.
const PROMPTS: &[usize] = &[
    1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 383,
    384, 385, 511, 512, 513, 767, 768, 769, 1023, 1024,
];

/// Thread counts for them.
const THREADS: &[usize] = &[1, 2, 3, 5];

/// The trained language model for this machine, compiled once for all tests.
static GEM_LM: LazyLock<(Case, Workspace)> = LazyLock::new(|| {
    let dir = repository("examples/models/gem-lm");
    let case = Case::of(&dir, "gem-lm", Codec::N4, Target::host());
    let workspace = Workspace::new("prompts", std::slice::from_ref(&case));
    (case, workspace)
});

/// Tokens beyond the first chunk of rows, where the context allows, spread over the vocabulary.
fn ids(engine: &Engine) -> Vec<u32> {
    let shape = engine.program().shape();
    let info = engine.info();
    let longest = match info.task {
        Task::CausalLm => info.max_positions.min(shape.max_rows + 9),
        _ => info.max_positions.min(shape.max_rows),
    };
    (0..longest.min(150))
        .map(|i| (i * 37 + i * i) % info.vocab_size)
        .collect()
}

#[test]
fn generated_crates_equal_the_interpreter_bit_for_bit() {
    let mut cases = Vec::new();
    for target in Target::with_own_kernels() {
        if target.runs_here() {
            let of = |(model, codec): &(&str, Codec)| Case::new(model, *codec, target.clone());
            cases.extend(MODELS.iter().map(of));
            let others = [
                (ActivationFormat::Int8Wide, KvFormat::F16),
                (ActivationFormat::Int16, KvFormat::Int8),
            ];
            cases.extend(others.map(|(format, kv)| of(&OTHER_FORMATS).with_formats(format, kv)));
        } else {
            println!("SKIPPED: needs a CPU of level {}", target.level.name());
        }
    }
    let workspace = Workspace::new("generated", &cases);
    let (mut input, mut expected) = (String::new(), Vec::new());
    for (case, name) in cases.iter().zip(&workspace.names) {
        let engine = case.interpreted();
        let ids = ids(&engine);
        let sums = checksums(&engine, &ids);
        for (chunks, threads) in MODES {
            let _ = writeln!(input, "{name} {chunks} {threads} {}", listed(&ids));
            expected.push((format!("{name} {chunks} {threads}"), sums.clone()));
        }
    }
    let found = workspace.run(input);
    assert_eq!(found.len(), expected.len());
    for ((what, sums), found) in expected.iter().zip(&found) {
        assert_eq!(found, sums, "{what}");
    }
}

/// A trained model over its whole context: the logits of every position are those of single steps, whatever the
/// length of the prompt and the number of threads; and those of the interpreter, as far as there is time for it.
#[test]
fn prompts_of_any_length_equal_single_steps_bit_for_bit() {
    let (case, workspace) = &*GEM_LM;
    let engine = case.interpreted();
    let info = engine.info();
    let context = info.max_positions;
    assert_eq!(PROMPTS.last(), Some(&(context as usize)));
    let ids: Vec<u32> = (0..context)
        .map(|i| (i * 37 + i * i) % info.vocab_size)
        .collect();
    let name = &workspace.names[0];
    let mut input = format!("{name} 1 1 {}\n", listed(&ids));
    let mut what = Vec::new();
    for (i, prompt) in PROMPTS.iter().enumerate() {
        // Every prompt with one number of threads, the ones at the ends of chunks with all.
        let all = prompt % 128 < 2 || prompt % 128 == 127;
        let threads = THREADS.iter().enumerate();
        for (_, threads) in threads.filter(|(t, _)| all || i % THREADS.len() == *t) {
            let _ = writeln!(
                input,
                "{name} {prompt},{context} {threads} {}",
                listed(&ids)
            );
            what.push(format!("prompt of {prompt}, {threads} threads"));
        }
    }
    let mut found = workspace.run(input).into_iter();
    let steps = found.next().expect("a line each");
    let first = &ids[..40];
    assert!(steps.starts_with(&checksums(&engine, first)), "interpreter");
    assert_eq!(found.len(), what.len());
    for (what, sums) in what.iter().zip(found) {
        assert_eq!(sums, steps, "{what}");
    }
}

/// A classifier for `portable` needs no `std`, and the same build gives the same bytes in folders of different depth.
#[test]
fn a_portable_classifier_is_no_std_and_reproducible() {
    let portable = Target::find("portable").expect("it is embedded");
    let dir = repository("examples/models/gem-cls");
    let case = Case::of(&dir, "gem-cls", Codec::N4, portable);
    let package = case.package(Runtime::Embedded);
    let root = tempfile::tempdir().expect("a temporary folder");
    let (near, far) = (root.path().join("a"), root.path().join("b/c/d"));
    let manifest = |dir: &Path| {
        case.0
            .write(place(dir), &package, &mut |_| {})
            .expect("a new folder")
    };
    let first = manifest(&near);
    assert_eq!(first, manifest(&far));
    for (path, hash) in &first.outputs {
        let written = package::hash_file(&far.join(path)).expect("it was written");
        assert_eq!(&written, hash, "{path}");
    }
    let status = cargo(
        &near,
        &["check", "--quiet", "--locked", "--no-default-features"],
    )
    .status()
    .expect("cargo runs this test");
    assert!(status.success(), "it does not compile without std");
}
