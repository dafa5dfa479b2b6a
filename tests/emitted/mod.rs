//! Programs -> one crate of emitted Rust, so that rustc is called once for many, and what it leaves of their memory.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gem_runtime::simd::Level;
use gemc_kernels::ir::testing::Memory;
use gemc_kernels::rust;

use crate::machine::Machine;
use crate::needs::repository;
use crate::sample::Sample;

/// Reads memory, runs programs, writes memory.
const DRIVER: &str = include_str!("driver.rs");

/// A program to be emitted for a level.
#[derive(Debug)]
pub struct Case {
    /// The program with its memory, as the interpreter ran it.
    pub sample: Sample,
    /// Whose vector operations it uses.
    pub level: Level,
}

impl Case {
    /// An identifier.
    fn name(&self) -> String {
        format!("{}_{}", self.sample.name, self.level.name())
    }
}

/// Compiles the programs into one crate in the folder, runs it on the machine if that can be, and holds what each leaves
/// against the interpreter.
///
/// # Panics
/// When rustc refuses one, or it leaves other memory than the interpreter.
pub fn check(temporary: &Path, name: &str, machine: &Machine, cases: &[Case]) {
    let root = temporary.join("differential").join(name);
    write_crate(&root, name, cases);
    let mut input = Vec::new();
    cases
        .iter()
        .for_each(|case| feed(&mut input, case.sample.memory()));
    let Some(left) = drive(temporary, &root, machine, input) else {
        return;
    };
    let mut rest = &left[..];
    for Case { sample, level } in cases {
        let what = format!("emitted Rust of level {}", level.name());
        let taken = rest.split_at_checked(sample.bytes_left());
        let (image, after) =
            taken.unwrap_or_else(|| unreachable!("it stops here: {}", sample.described(&what)));
        sample.check(&what, image);
        rest = after;
    }
}

fn write_crate(root: &Path, name: &str, cases: &[Case]) {
    let runtime = repository("gem-runtime");
    let manifest = format!(
        "[package]\nname = \"differential-{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
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
        let name = case.name();
        let _ = writeln!(
            main,
            "mod {name} {{\n    mod kernels;\n    mod program;\n    pub use program::PROGRAM;\n}}"
        );
        let _ = writeln!(list, "    &{name}::PROGRAM,");
        for (path, text) in rust::program(&case.sample.verified, case.level) {
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
    word(input, step.ring_bytes);
}

/// Compiles the crate and runs it; what it wrote, to its end or to where it failed.
fn drive(temporary: &Path, root: &Path, machine: &Machine, input: Vec<u8>) -> Option<Vec<u8>> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["run", "--quiet", "--offline"])
        .current_dir(root);
    let target = temporary.join("generated-target");
    let mut child = machine
        .cargo(command)?
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
    Some(output.stdout)
}
