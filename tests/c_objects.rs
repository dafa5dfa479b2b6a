//! Objects for C, linked and run as a C program would, natively and under emulation: the logits are the sessions', bit for
//! bit; nothing is undefined; what `gem.h` says is refused, is; C and Rust agree about every structure.

use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use gem_runtime::abi::{Ctx, Entry, Phase, ProgramShape, Row, Table};
use gem_runtime::c::{self, Status};
use gem_runtime::file::{BASIS, Checksum, HEAD_DIGEST_BYTES, PRIME, at};
use gem_runtime::text::Text;
use gem_runtime::{Engine, Model as _, SessionOptions, Task};
use gem_tests::machine::{ARM, Machine, NATIVE};
use gem_tests::needs::{repository, skipped};
use gem_tests::place;
use gemc::emit::cranelift::Effort;
use gemc::package::Form;
use gemc::pipeline;
use gemc::plan::BitPlan;
use gemc::prepared::PreparedModel;
use gemc::target::Target;
use gemc::{backend, package};
use gemc_format::{Codec, Rounding};
use object::{Object as _, ObjectSymbol as _};

/// Tokens of a text; more than a step has rows, and more than layers with windows keep.
const TOKENS: u32 = 600;

/// What an object exports, behind its prefix.
const EXPORTS: [&str; 10] = [
    "check", "context", "error", "memory", "open", "position", "program", "reset", "step",
    "truncate",
];

/// A checkpoint compiled for a target.
struct Case(PreparedModel);

impl Case {
    fn new(name: &str, dir: &Path, codec: Codec, target: &Target) -> Self {
        let loaded = pipeline::load(dir).expect("a good checkpoint");
        let plan = BitPlan::uniform(&loaded.graph, codec);
        let model = PreparedModel::new(loaded, plan, target.clone(), Rounding::Plain, None);
        let mut model = model.expect("it compiles");
        model.name = name.to_owned();
        Self(model)
    }

    fn tiny(name: &str, checkpoint: &str, codec: Codec, target: &Target) -> Self {
        let dir = repository("examples/checkpoints").join(checkpoint);
        Self::new(name, &dir, codec, target)
    }

    /// Writes object, header and weights to a folder.
    fn write(&self, dir: &Path, form: Form, prefix: &str) -> PathBuf {
        let parts = &self.0;
        let object = parts.object(prefix).expect("a target with machine code");
        let linkable = parts.linkable(form, object).expect("a readable checkpoint");
        parts
            .write_linkable(place(dir), &linkable, &mut |_| {})
            .expect("a new folder, or one of ours");
        dir.join(linkable.file_name())
    }

    /// The same kernels as machine code of this machine, whatever the target.
    fn engine(&self) -> Engine {
        backend::jitted_with(&self.0, Effort::default()).expect("its own weights")
    }
}

fn temporary(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c").join(name);
    std::fs::create_dir_all(&dir).expect("space");
    dir
}

fn target(name: &str) -> Target {
    Target::find(name).expect("an embedded target")
}

/// Compiles and links C: strict, warnings are errors.
fn link(machine: &Machine, program: &Path, sources: &[PathBuf], include: &[&Path]) {
    let mut command = Command::new(machine.compiler);
    command.args([
        "-std=c99",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
    ]);
    command.args(machine.link);
    for dir in include {
        command.arg("-I").arg(dir);
    }
    let output = command
        .arg(format!("-DTOKENS={TOKENS}"))
        .arg("-o")
        .arg(program)
        .args(sources)
        .output()
        .expect("the compiler starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", program.display());
    // The linker's warnings count as well: of text relocations, or of an executable stack.
    assert!(told.is_empty(), "{}: {told}", program.display());
}

fn run(machine: &Machine, program: &Path, arguments: &[String]) -> String {
    let output = machine
        .command(program)
        .args(arguments)
        .output()
        .expect("the program starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {} {told}",
        program.display(),
        output.status
    );
    String::from_utf8(output.stdout).expect("digits")
}

/// A checksum of logits, as `models.c` has it.
fn checksum(logits: &[f32]) -> String {
    let step = |hash: u64, x: &f32| (hash ^ u64::from(x.to_bits())).wrapping_mul(PRIME);
    format!("{:016x}", logits.iter().fold(BASIS, step))
}

/// What `models.c` prints for a model.
fn expected(name: &str, engine: &Engine) -> String {
    let info = engine.info();
    let most = info.most_positions(engine.program().shape().max_rows);
    let options = SessionOptions {
        context: Some(most),
        threads: Some(1),
    };
    let mut session = engine.session(options).expect("small");
    let n = most.min(TOKENS);
    let ids: Vec<u32> = (0..n).map(|i| (i * 37 + i * i) % info.vocab_size).collect();
    let mut sums = Vec::new();
    match info.task {
        Task::CausalLm => {
            session
                .forward_all(&ids, |position, logits| {
                    if position < 5 || position == n - 1 {
                        sums.push(checksum(logits));
                    }
                })
                .expect("it fits");
            let last = sums.last().expect("a text has tokens").clone();
            sums.extend([last.clone(), last]);
        }
        Task::SequenceClassification | Task::TokenClassification | Task::Embedding => {
            for length in (1..=n as usize).step_by(9) {
                let logits = session.classify_ids(&ids[..length]).expect("it fits");
                sums.push(checksum(logits));
            }
        }
    }
    format!("{name}: {}", sums.join(" "))
}

/// Tiny checkpoints in one program, every `stride`th from `first` on; the formats by turns.
fn models_give_the_bits_of_sessions(machine: &Machine, first: usize, stride: usize) {
    if !machine.is_there() {
        return;
    }
    let dir = temporary(&format!("models-{}", machine.target));
    let mut sources = vec![repository("tests/c/models.c")];
    let (mut include, mut weights, mut lines) = (String::new(), Vec::new(), Vec::new());
    let mut names = Vec::new();
    let mut checkpoints = gem_tests::checkpoints();
    checkpoints.push(gem_tests::windowed(machine.target, 7));
    checkpoints.push(gem_tests::convolved(&format!(
        "{}-convolved",
        machine.target
    )));
    let chosen = checkpoints.iter().enumerate().skip(first).step_by(stride);
    for (i, checkpoint) in chosen {
        let name = format!("m{i}");
        let codec = Codec::ALL[i % Codec::ALL.len()];
        let case = Case::new(&name, checkpoint, codec, &target(machine.target));
        let folder = dir.join(&name);
        sources.push(case.write(&folder, Form::Object, &name));
        weights.push(folder.join(package::WEIGHTS).display().to_string());
        let _ = writeln!(include, "GEM_DECLARE({name});");
        lines.push(expected(&name, &case.engine()));
        names.push(format!("API({name})"));
    }
    let _ = writeln!(
        include,
        "static const api models[] = {{{}}};",
        names.join(", ")
    );
    std::fs::write(dir.join("models.inc"), include).expect("space");
    let program = dir.join("models");
    let header = dir.join(format!("m{first}"));
    link(machine, &program, &sources, &[&dir, &header]);
    let found = run(machine, &program, &weights);
    assert_eq!(found.lines().count(), lines.len());
    for (line, found) in lines.iter().zip(found.lines()) {
        assert_eq!(found, line, "{}", machine.target);
    }
}

#[test]
fn native_models_give_the_bits_of_sessions() {
    models_give_the_bits_of_sessions(&NATIVE, 0, 1);
}

#[test]
fn arm_models_give_the_bits_of_sessions() {
    for (i, machine) in ARM.iter().enumerate() {
        models_give_the_bits_of_sessions(machine, i, ARM.len());
    }
}

#[test]
fn misuse_is_refused_and_changes_nothing() {
    for machine in [&NATIVE, &ARM[0]] {
        if !machine.is_there() {
            continue;
        }
        let dir = temporary(&format!("misuse-{}", machine.target));
        let [own, other] = [Codec::N4, Codec::L4].map(|codec| {
            let checkpoint = "lm-some-2lora-top2-fallback-domainscar";
            let folder = dir.join(codec.name());
            let case = Case::tiny("toy", checkpoint, codec, &target(machine.target));
            let library = case.write(&folder, Form::Library, "gem");
            (library, folder.join(package::WEIGHTS).display().to_string())
        });
        // The own weights in another layout, with a digest that says so.
        let mut moved = std::fs::read(&own.1).expect("just written");
        moved[at::LAYOUT] ^= 1;
        let body = u64::from_le_bytes(moved[at::BODY_OFFSET..][..8].try_into().expect("8 bytes"));
        let (covered, rest) = moved.split_at_mut(body as usize - HEAD_DIGEST_BYTES);
        rest[..HEAD_DIGEST_BYTES].copy_from_slice(&Checksum::of(covered).to_le_bytes());
        let layout = dir.join("layout.gemw");
        std::fs::write(&layout, moved).expect("space");
        let layout = layout.display().to_string();
        let program = dir.join("misuse");
        let sources = [repository("tests/c/misuse.c"), own.0];
        link(machine, &program, &sources, &[&dir.join(Codec::N4.name())]);
        assert_eq!(run(machine, &program, &[own.1, other.1, layout]), "ok\n");
    }
}

/// Every target with machine code, and formats of other systems: ELF, Mach-O, COFF. Compiled copies are merged for the
/// system that gemc is for.
#[test]
fn objects_define_everything_they_use() {
    let mut targets = Target::all();
    targets.retain(|target| target.name != "portable");
    for (base, triple) in [
        ("aarch64", "aarch64-apple-ios"),
        ("x86-64-v3", "x86_64-pc-windows-msvc"),
        ("aarch64", "aarch64-linux-android"),
    ] {
        let triple = triple.to_owned();
        targets.push(Target {
            triple,
            ..target(base)
        });
    }
    for target in &targets {
        for checkpoint in [
            "lm-all-8mlp-top3-always-domainscar",
            "cls-all-5domains-top2-fallback-flagscar",
        ] {
            let case = Case::tiny("toy", checkpoint, Codec::N4, target);
            let bytes = case.0.object("toy").expect("machine code");
            let again = case.0.object("toy").expect("machine code");
            assert!(bytes == again, "{}: the same bytes", target.triple);
            let file = object::File::parse(&*bytes).expect("an object file");
            let mut exported = Vec::new();
            let mut copied = false;
            for symbol in file.symbols() {
                let name = symbol.name().expect("a name");
                copied |= name.starts_with("toy_copy");
                // ELF begins with a symbol of nothing.
                let nothing = name.is_empty();
                assert!(
                    nothing || !symbol.is_undefined(),
                    "{}: {name}",
                    target.triple
                );
                if symbol.is_global() && !nothing {
                    exported.push(name.trim_start_matches('_').to_owned());
                }
            }
            exported.sort();
            let wanted = EXPORTS.map(|name| format!("toy_{name}"));
            assert_eq!(exported, wanted, "{}", target.triple);
            let own = target.triple == "host" || target.triple.starts_with("x86_64-unknown-linux");
            let own = own && cfg!(all(target_arch = "x86_64", target_os = "linux"));
            assert_eq!(copied, own, "{}: compiled copies", target.triple);
        }
    }
}

#[test]
fn an_object_format_that_cannot_be_written_is_refused() {
    let target = Target {
        triple: "aarch64-pc-windows-msvc".to_owned(),
        ..target("aarch64")
    };
    let case = Case::tiny("toy", "lm-dense-pre-rope", Codec::N4, &target);
    let error = case.0.object("gem").expect_err("COFF").to_string();
    assert!(error.contains("aarch64-pc-windows-msvc"), "{error}");
}

#[test]
fn targets_without_machine_code_are_refused() {
    let text = std::fs::read_to_string(repository("targets/portable.toml")).expect("a target");
    for (triple, reason) in [
        ("x86_64-unknown-linux-gnu", "FMA"),
        ("thumbv7em-none-eabihf", "no machine code"),
        ("wasm32-unknown-unknown", "no machine code"),
    ] {
        let text = text.replace("\"host\"", &format!("{triple:?}"));
        let target = Target::parse("board.toml", &text).expect("a good target");
        let case = Case::tiny("toy", "lm-dense-pre-rope", Codec::N4, &target);
        let error = case.0.object("gem").expect_err(triple).to_string();
        assert!(
            error.contains(reason) && error.contains("portable"),
            "{error}"
        );
    }
}

/// An object is position-independent: a shared library of nothing else links, without text relocations.
#[test]
fn objects_make_shared_libraries() {
    for machine in [&NATIVE, &ARM[1]] {
        if !machine.is_there() {
            continue;
        }
        let dir = temporary(&format!("shared-{}", machine.target));
        let case = Case::tiny(
            "toy",
            "lm-final-5mlp-top3-always",
            Codec::B8,
            &target(machine.target),
        );
        let object = case.write(&dir.join("toy"), Form::Object, "gem");
        let output = Command::new(machine.compiler)
            .args([
                "-shared",
                "-nostdlib",
                "-Wl,-z,defs,-z,text,--fatal-warnings",
                "-o",
            ])
            .arg(dir.join("toy.so"))
            .arg(object)
            .output()
            .expect("the compiler starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
    }
}

/// The structures of `gem.h` are the runtime's.
#[test]
fn c_and_rust_agree_about_structures() {
    if !NATIVE.is_there() {
        return;
    }
    let mut text = String::from("#include \"gem.h\"\n");
    let mut require = |what: String, is: usize| {
        let n = text.lines().count();
        let _ = writeln!(text, "typedef char check{n}[({what}) == {is} ? 1 : -1];");
    };
    macro_rules! fields {
        ($rust:ty, $c:literal: $($field:ident),*) => {
            require(format!("sizeof({})", $c), size_of::<$rust>());
            $(require(format!("offsetof({}, {})", $c, stringify!($field)), offset_of!($rust, $field));)*
        };
    }
    fields!(Row, "gem_abi_row": token, slot, position, visible);
    fields!(Entry, "gem_abi_entry": kernel, args);
    fields!(Table, "gem_abi_table": entries, len);
    fields!(Ctx, "gem_abi_ctx": weights, arena, kv, rows, outputs, tables, n_rows, n_slots, n_outputs, context);
    fields!(Phase, "gem_abi_phase": entry, items);
    // Behind the tag of the items come their number and their bound; `abi.rs` tests what a `Items` is in memory.
    let items = offset_of!(Phase, items);
    require("offsetof(gem_abi_phase, n)".to_owned(), items + 4);
    require("offsetof(gem_abi_phase, max)".to_owned(), items + 8);
    fields!(ProgramShape, "gem_abi_shape":
        arena_bytes, kv_bytes_per_position, ring_bytes, rewind, max_rows, max_outputs, logits, logits_stride, weight_bytes);
    fields!(c::Tap, "gem_abi_tap": site, after, modules, top_k, p, fired, gates, domain, cluster);
    fields!(c::Half, "gem_abi_half": site, before, heads, width, ring);
    fields!(c::ProgramTable, "gem_abi_program":
        abi, bytes, name, target, level, features, plan_hash, layout, shape, body, head, tables, taps, halves, n_body, n_head, n_tables,
        n_taps, n_halves, task, vocab_size, hidden_size, max_positions, max_context, n_logits, conventions, labels, domains, eos, n_labels,
        n_domains, n_eos, bos, bits_per_weight, weight_bytes);
    let numbers = [
        ("GEM_ABI", c::ABI),
        ("GEM_NONE", c::NONE),
        ("GEM_CAUSAL_LM", c::CAUSAL_LM),
        ("GEM_SEQUENCE_CLASSIFICATION", c::SEQUENCE_CLASSIFICATION),
        ("GEM_ALIGNMENT", gem_runtime::memory::BUFFER_ALIGN as u32),
        ("GEM_OK", Status::Ok as u32),
        ("GEM_NULL", Status::Null as u32),
        ("GEM_CONTEXT", Status::Context as u32),
        ("GEM_MISALIGNED", Status::Alignment as u32),
        ("GEM_MEMORY", Status::Memory as u32),
        ("GEM_WEIGHT_FILE", Status::WeightFile as u32),
        ("GEM_WRONG_WEIGHTS", Status::WrongWeights as u32),
        ("GEM_EMPTY", Status::Empty as u32),
        ("GEM_TOKEN", Status::Token as u32),
        ("GEM_FULL", Status::Full as u32),
        ("GEM_FAILED", Status::Failed as u32),
        ("GEM_STOPPED", Status::Stopped as u32),
        ("GEM_LOGITS", Status::Logits as u32),
        ("GEM_OVERWRITTEN", Status::Overwritten as u32),
    ];
    for (name, value) in numbers {
        require(name.to_owned(), value as usize);
    }
    // The declarations of the macro are those of the text.
    text.push_str("GEM_DECLARE(gem);\n");
    let dir = temporary("structures");
    std::fs::write(dir.join(package::HEADER_NAME), package::HEADER).expect("space");
    for (compiler, standard, file) in [
        ("cc", "-std=c99", "structures.c"),
        ("c++", "-std=c++11", "structures.cc"),
    ] {
        if Command::new(compiler).arg("--version").output().is_err() {
            skipped(compiler).unwrap();
            continue;
        }
        let source = dir.join(file);
        std::fs::write(&source, &text).expect("space");
        let output = Command::new(compiler)
            .args([
                standard,
                "-Wall",
                "-Wextra",
                "-Wpedantic",
                "-Werror",
                "-fsyntax-only",
            ])
            .arg(source)
            .output()
            .expect("the compiler starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{compiler}: {told}");
    }
}

/// The example, with a trained model: what follows a prompt is what a session chooses.
#[test]
fn the_example_continues_ids_as_a_session_does() {
    if !NATIVE.is_there() {
        return;
    }
    let dir = temporary("ids");
    let model = repository("examples/models/gem-lm");
    let case = Case::new("gem-lm", &model, Codec::N4, &target(NATIVE.target));
    let folder = dir.join("gem-lm");
    let library = case.write(&folder, Form::Library, "gem");
    let program = dir.join("ids");
    link(
        &NATIVE,
        &program,
        &[repository("examples/c/ids.c"), library],
        &[&folder],
    );
    let vocabulary = case.0.loaded.graph.facts().vocab_size as u32;
    let text = Text::open(&model, vocabulary).expect("readable");
    let text = text.expect("it has a tokenizer");
    let prompt = text.tokenizer().encode("The license").expect("a text");
    let count = 24;
    let weights = folder.join(package::WEIGHTS);
    let mut arguments = vec![weights.display().to_string(), count.to_string()];
    arguments.extend(prompt.iter().map(ToString::to_string));
    let engine = case.engine();
    let mut session = engine.session(SessionOptions::default()).expect("small");
    let mut input = prompt;
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let logits = session.forward(&input).expect("it fits");
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let next = logits
            .iter()
            .position(|x| *x == largest)
            .expect("there is one") as u32;
        chosen.push(next.to_string());
        if engine.info().eos.contains(&next) {
            break;
        }
        input = vec![next];
    }
    assert_eq!(
        run(&NATIVE, &program, &arguments).trim_end(),
        chosen.join(" ")
    );
}
