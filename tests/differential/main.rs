//! Filetests and random kernel programs on every execution: the interpreter, machine code with both efforts, and emitted
//! Rust of each level that this CPU has, and, emulated, of those for Arm. All leave the same memory.
//!
//! Many programs become one crate, so that rustc is called once for a batch. The short run of the test suite, without
//! Rust, is in `gemc::fuzzing`.

use std::path::Path;

use gem_runtime::simd::Level;
use gem_tests::emitted::{Case, check};
use gem_tests::machine::{ARM, NATIVE};
use gem_tests::sample::Sample;
use gemc::target::Target;

/// Random programs of each target in the suite.
const FEW: u64 = 8;

/// Where crates are made.
const TEMPORARY: &str = env!("CARGO_TARGET_TMPDIR");

/// Programs of a crate.
const BATCH: u64 = 40;

/// Programs of a run, unless `GEM_FUZZ_PROGRAMS` says otherwise.
const PROGRAMS: u64 = 200;

fn levels() -> Vec<Level> {
    Level::ALL.into_iter().filter(|l| l.supported()).collect()
}

/// The random program of a seed: of every length in turn.
fn sample(seed: u64) -> Sample {
    Sample::random(seed, 100 + 40 * (seed as usize % 24))
}

/// Some random programs, of every length.
fn random(count: u64) -> impl Iterator<Item = Sample> {
    (0..count).map(|i| sample(i * 7))
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
    let levels = levels();
    let mut seed = first;
    while seed < end {
        let seeds = seed..end.min(seed + BATCH);
        let case = |seed| Case {
            sample: sample(seed),
            level: levels[seed as usize % levels.len()],
        };
        let cases: Vec<Case> = seeds.clone().map(case).collect();
        cases.iter().for_each(|c| c.sample.check_machine_code());
        check(Path::new(TEMPORARY), "random", &NATIVE, &cases);
        println!("{} programs, seeds {seeds:?}", cases.len());
        seed = seeds.end;
    }
}

/// Machine code of both is run where they are.
#[test]
fn emitted_rust_of_filetests_and_kernels_equals_the_interpreter() {
    let mut cases = Vec::new();
    for target in Target::all().into_iter().filter(Target::runs_here) {
        let level = target.level;
        let case = |sample| Case { sample, level };
        cases.extend(Sample::filetests().into_iter().map(case));
        cases.extend(Sample::kernels(&target).into_iter().map(case));
        cases.extend(random(FEW).map(case));
    }
    assert!(cases.len() >= 80, "{} cases", cases.len());
    check(Path::new(TEMPORARY), "filetests", &NATIVE, &cases);
}

/// Emulated CPUs end a program at an instruction that they have not.
#[test]
fn emitted_rust_for_arm_equals_the_interpreter() {
    for machine in ARM {
        let target = Target::find(machine.target).expect("an embedded target");
        let level = target.level;
        let case = |sample| Case { sample, level };
        let samples = Sample::filetests().into_iter().chain(random(FEW));
        let samples = samples.chain(Sample::kernels(&target));
        let cases: Vec<Case> = samples.map(case).collect();
        let name = format!("emulated-{}", machine.target);
        check(Path::new(TEMPORARY), &name, &machine, &cases);
    }
}
