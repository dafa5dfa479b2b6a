//! Random kernel programs on every execution: the interpreter, machine code with both efforts, and emitted Rust of each
//! level that this CPU has. All leave the same memory.
//!
//! Many programs become one crate, so that rustc is called once for a batch. The short run of the test suite, without
//! Rust, is in `gemc::fuzzing`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gem_runtime::simd::Level;
use gem_tests::needs::repository;
use gemc::emit::cranelift::Effort;
use gemc::emit::rust;
use gemc::jit::JitProgram;
use gemc::kernel::testing::{Bytes, Image, Memory, interpret, run, valid_program};
use gemc::kernel::text::print;
use gemc::kernel::verify::{Verified, verify};

/// Programs of a crate.
const BATCH: u64 = 40;

/// Programs of a run, unless `GEM_FUZZ_PROGRAMS` says otherwise.
const PROGRAMS: u64 = 200;

/// Reads memory, runs programs, writes memory.
const DRIVER: &str = include_str!("driver.rs");

/// A program and what the interpreter leaves of its memory.
struct Case {
    seed: u64,
    level: Level,
    verified: Verified,
    expected: Image,
}

impl Case {
    fn new(seed: u64, level: Level) -> Self {
        let size = 100 + 40 * (seed as usize % 24);
        let program = valid_program(&Bytes::random(seed, size));
        let text = print(&program);
        let verified = verify(program);
        let verified = verified.unwrap_or_else(|e| unreachable!("seed {seed}: {e:#?}\n{text}"));
        let mut memory = Memory::random(verified.program().shape, seed);
        let done = interpret(&verified, &mut memory);
        assert_eq!(done, Ok(()), "seed {seed}\n{text}");
        Self {
            seed,
            level,
            expected: memory.image(),
            verified,
        }
    }

    fn memory(&self) -> Memory {
        Memory::random(self.verified.program().shape, self.seed)
    }

    fn check_machine_code(&self) {
        for effort in [Effort::Low, Effort::High] {
            let jit = JitProgram::with_effort(&self.verified, effort).expect("this machine's");
            let mut memory = self.memory();
            run(&jit, &mut memory);
            self.check(&format!("machine code, {effort:?}"), &memory.image());
        }
    }

    /// Holds what an execution left against what the interpreter left.
    fn check(&self, what: &str, found: &Image) {
        let difference = self.expected.difference(found);
        assert_eq!(difference, None, "{}", self.described(what));
    }

    fn described(&self, what: &str) -> String {
        let text = print(self.verified.program());
        format!("seed {}, {what}\n{text}", self.seed)
    }

    fn bytes_left(&self) -> usize {
        let slots = self.expected.kv.iter().map(Vec::len);
        self.expected.arena.len() + slots.sum::<usize>()
    }
}

fn number(variable: &str, default: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.map_or(default, |value| value.parse().expect("a number"))
}

#[test]
#[ignore = "takes minutes: rustc compiles every program; see CONTRIBUTING.md"]
fn emitted_rust_and_machine_code_equal_the_interpreter() {
    let first = number("GEM_FUZZ_SEED", 0);
    let end = first + number("GEM_FUZZ_PROGRAMS", PROGRAMS);
    let levels: Vec<Level> = Level::ALL.into_iter().filter(|l| l.supported()).collect();
    let mut seed = first;
    while seed < end {
        let seeds = seed..end.min(seed + BATCH);
        let case = |seed| Case::new(seed, levels[seed as usize % levels.len()]);
        let cases: Vec<Case> = seeds.clone().map(case).collect();
        cases.iter().for_each(Case::check_machine_code);
        check_rust(&cases);
        println!("{} programs, seeds {seeds:?}", cases.len());
        seed = seeds.end;
    }
}

/// Compiles the programs into one, and runs it.
fn check_rust(cases: &[Case]) {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("differential");
    write_crate(&root, cases);
    let mut input = Vec::new();
    cases
        .iter()
        .for_each(|case| feed(&mut input, case.memory()));
    let left = drive(&root, input);
    let mut rest = &left[..];
    for case in cases {
        let what = format!("emitted Rust of level {}", case.level.name());
        let taken = rest.split_at_checked(case.bytes_left());
        let (image, after) = taken
            .unwrap_or_else(|| unreachable!("the program stops here: {}", case.described(&what)));
        case.check(&what, &case.expected.like(image));
        rest = after;
    }
}

fn write_crate(root: &Path, cases: &[Case]) {
    let runtime = repository("gem-runtime");
    let manifest = format!(
        "[package]\nname = \"differential\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\ngem-runtime = {{ path = '{}', default-features = false }}\n\n\
         [profile.dev]\nopt-level = 1\ndebug = false\n\n[workspace]\n",
        runtime.display()
    );
    // Programs of the batch before are not to be found.
    let _ = fs::remove_dir_all(root.join("src"));
    let write = |path: PathBuf, text: &str| {
        fs::create_dir_all(path.parent().expect("below the root")).expect("space");
        fs::write(path, text).expect("space");
    };
    write(root.join("Cargo.toml"), &manifest);
    fs::copy(repository("Cargo.lock"), root.join("Cargo.lock")).expect("space");
    let mut main = DRIVER.to_owned();
    let mut list = String::new();
    for case in cases {
        let name = format!("p{}", case.seed);
        let _ = writeln!(
            main,
            "mod {name} {{\n    mod kernels;\n    mod program;\n    pub use program::PROGRAM;\n}}"
        );
        let _ = writeln!(list, "    &{name}::PROGRAM,");
        for (path, text) in rust::program(&case.verified, case.level) {
            write(
                root.join(path.replace("src/", &format!("src/{name}/"))),
                &text,
            );
        }
    }
    let _ = writeln!(
        main,
        "static PROGRAMS: [&CompiledProgram; {}] = [\n{list}];",
        cases.len()
    );
    write(root.join("src/main.rs"), &main);
}

/// Appends the memory that a program starts from, as the driver reads it.
fn feed(input: &mut Vec<u8>, mut memory: Memory) {
    let step = memory.step();
    let word = |input: &mut Vec<u8>, n: u32| input.extend(n.to_le_bytes());
    let buffer = |input: &mut Vec<u8>, bytes: &[u8]| {
        input.extend((bytes.len() as u32).to_le_bytes());
        input.extend(bytes);
    };
    buffer(input, memory.weights());
    buffer(input, memory.arena());
    word(input, step.n_slots);
    for slot in 0..step.n_slots {
        buffer(input, memory.kv(slot as usize));
    }
    for words in [&step.rows, &step.outputs] {
        word(input, words.len() as u32);
        words.iter().for_each(|n| word(input, *n));
    }
    word(input, step.context);
}

/// Compiles the crate and runs it; what it wrote, to its end or to where it failed.
fn drive(root: &Path, input: Vec<u8>) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["run", "--quiet", "--offline"])
        .current_dir(root);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated-target");
    let mut child = command
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cargo runs this test");
    let mut stdin = child.stdin.take().expect("piped");
    // It may end before it has read all.
    let feed = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("it ends");
    feed.join().expect("no panic");
    output.stdout
}
