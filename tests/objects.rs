//! Object files linked with a C program and run, natively and under emulation: what kernels leave in memory is what the
//! interpreter leaves, for filetests, random programs and kernels of every format.
//!
//! The program holds the phase table, the call tables and the memory, as a foreign runtime would; it prints the memory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use gem_tests::machine::{ARM, Machine, NATIVE};
use gem_tests::sample::Sample;
use gemc::emit::cranelift::object::{KERNEL_PREFIX, kernels};
use gemc::emit::cranelift::{Effort, Isa, compile};
use gemc::target::Target;
use gemc_kernels::ir::testing::Memory;
use gemc_kernels::ir::{Items, Phase, Program, TableEntry};

/// Random programs, a second of emulation altogether.
const PROGRAMS: u64 = 12;

/// Declarations that every program has: the runtime's structures as C sees them.
const HEADER: &str = r#"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
typedef struct Ctx Ctx;
typedef void Kernel(const Ctx *, const uint32_t *, uint32_t, uint32_t);
typedef struct { Kernel *kernel; const uint32_t *args; } Entry;
typedef struct { const Entry *entries; uint32_t len; } Table;
struct Ctx {
    const uint8_t *weights; uint8_t *arena; uint8_t *const *kv; const uint32_t *rows; const uint32_t *outputs;
    const Table *tables; uint32_t n_rows, n_slots, n_outputs, context;
};
"#;

/// Random programs, the filetests that run, and the target's kernels of every format.
fn samples(target: &Target) -> Vec<Sample> {
    let random = (0..PROGRAMS).map(|seed| Sample::random(seed, 700));
    let all = random.chain(Sample::filetests());
    all.chain(Sample::kernels(target)).collect()
}

#[test]
fn native_objects_leave_what_the_interpreter_leaves() {
    check(&NATIVE);
}

#[test]
fn arm_objects_leave_what_the_interpreter_leaves() {
    for machine in &ARM {
        check(machine);
    }
}

fn check(machine: &Machine) {
    if !machine.is_there() {
        return;
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("objects")
        .join(machine.target);
    std::fs::create_dir_all(&dir).expect("space");
    let target = Target::find(machine.target).expect("an embedded target");
    let samples = samples(&target);
    for sample in &samples {
        let program = build(machine, &target, &dir, sample);
        sample.check(machine.target, &run(machine, &program));
    }
    println!("{}: {} programs", machine.target, samples.len());
}

/// Compiles and links a program.
fn build(machine: &Machine, target: &Target, dir: &Path, sample: &Sample) -> PathBuf {
    let isa = Isa::of_target(target, Effort::Low).expect("a target with a backend");
    let compiled = compile(&sample.verified, &isa, false).expect("it compiles");
    let at = |extension: &str| dir.join(format!("{}.{extension}", sample.name));
    std::fs::write(at("o"), kernels(&compiled, &isa).expect("an object")).expect("space");
    std::fs::write(at("c"), source(sample.verified.program(), sample.memory())).expect("space");
    let output = Command::new(machine.compiler)
        .args(["-O1", "-static", "-o"])
        .args([at("elf"), at("c"), at("o")])
        .output()
        .expect("the compiler starts");
    assert!(
        output.status.success(),
        "{}: {}",
        sample.name,
        String::from_utf8_lossy(&output.stderr)
    );
    at("elf")
}

fn run(machine: &Machine, program: &Path) -> Vec<u8> {
    let output = machine.command(program).output();
    let output = output.expect("the program starts");
    assert!(
        output.status.success(),
        "{}: {}",
        program.display(),
        output.status
    );
    output.stdout
}

/// The C program of a sample.
fn source(program: &Program, mut memory: Memory) -> String {
    let mut c = HEADER.to_owned();
    let used = [&program.body, &program.head]
        .into_iter()
        .flatten()
        .map(|p| p.entry.kernel);
    let called = program
        .tables
        .iter()
        .flat_map(|t| &t.entries)
        .map(|e| e.kernel);
    let mut kernels: Vec<_> = used.chain(called).collect();
    kernels.sort();
    kernels.dedup();
    for id in kernels {
        let _ = writeln!(
            c,
            "extern Kernel {KERNEL_PREFIX}{};",
            program.kernel(id).name
        );
    }
    bytes(&mut c, "weights", "const", memory.weights());
    bytes(&mut c, "arena", "", memory.arena());
    let step = memory.step();
    for slot in 0..step.n_slots {
        bytes(&mut c, &format!("kv{slot}"), "", memory.kv(slot as usize));
    }
    let start = |i| format!("kv{i} + {}", step.ring_bytes);
    let slots: Vec<String> = (0..step.n_slots).map(start).collect();
    let _ = writeln!(c, "static uint8_t *const kv[] = {{{}}};", slots.join(", "));
    words(&mut c, "rows", &step.rows);
    words(&mut c, "outputs", &step.outputs);
    tables(&mut c, program);
    let _ = writeln!(c, "int main(void) {{");
    let _ = writeln!(
        c,
        "  const Ctx ctx = {{weights, arena, kv, rows, outputs, tables, {}, {}, {}, {}}};",
        step.rows.len() / 4,
        step.n_slots,
        step.outputs.len(),
        step.context
    );
    for phase in program.body.iter().chain(&program.head) {
        call(
            &mut c,
            program,
            phase,
            step.rows.len() / 4,
            step.outputs.len(),
        );
    }
    let _ = writeln!(c, "  fwrite(arena, 1, {}, stdout);", memory.arena().len());
    for slot in 0..step.n_slots {
        let _ = writeln!(
            c,
            "  fwrite(kv{slot}, 1, {}, stdout);",
            memory.kv(slot as usize).len()
        );
    }
    let _ = writeln!(c, "  return 0;\n}}");
    c
}

fn call(c: &mut String, program: &Program, phase: &Phase, rows: usize, outputs: usize) {
    let items = match phase.items {
        Items::Fixed(n) => n.to_string(),
        Items::PerRow(n) => (n as usize * rows).to_string(),
        Items::PerOutput(n) => (n as usize * outputs).to_string(),
        Items::Loaded { offset, max } => {
            format!("({{ uint32_t n; memcpy(&n, arena + {offset}, 4); n < {max} ? n : {max}; }})")
        }
    };
    let kernel = &program.kernel(phase.entry.kernel).name;
    let args = arguments(&phase.entry);
    let _ = writeln!(c, "  {KERNEL_PREFIX}{kernel}(&ctx, {args}, 0, {items});");
}

fn arguments(entry: &TableEntry) -> String {
    let words: Vec<String> = entry.args.iter().map(|word| format!("{word}u")).collect();
    // An array has one element at least.
    let words = if words.is_empty() {
        "0".to_owned()
    } else {
        words.join(", ")
    };
    format!("(const uint32_t[]){{{words}}}")
}

fn tables(c: &mut String, program: &Program) {
    let mut list = Vec::new();
    for (i, table) in program.tables.iter().enumerate() {
        let entry = |e: &TableEntry| {
            format!(
                "{{{KERNEL_PREFIX}{}, {}}}",
                program.kernel(e.kernel).name,
                arguments(e)
            )
        };
        let entries: Vec<String> = table.entries.iter().map(entry).collect();
        let _ = writeln!(
            c,
            "static const Entry entries{i}[] = {{{}}};",
            entries.join(", ")
        );
        list.push(format!("{{entries{i}, {}}}", entries.len()));
    }
    list.push("{0, 0}".to_owned());
    let _ = writeln!(c, "static const Table tables[] = {{{}}};", list.join(", "));
}

fn bytes(c: &mut String, name: &str, qualifier: &str, bytes: &[u8]) {
    let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
    let list = if list.is_empty() {
        "0".to_owned()
    } else {
        list.join(",")
    };
    let _ = writeln!(
        c,
        "static {qualifier} uint8_t {name}[] __attribute__((aligned(64))) = {{{list}}};"
    );
}

fn words(c: &mut String, name: &str, words: &[u32]) {
    let mut list: Vec<String> = words.iter().map(u32::to_string).collect();
    list.push("0".to_owned());
    let _ = writeln!(
        c,
        "static const uint32_t {name}[] = {{{}}};",
        list.join(",")
    );
}
