//! The command as a process where machine code cannot be had or kept: foreign targets, a system that forbids executable
//! memory, caches that cannot be used. Each is told in words, with what can be done, or costs nothing but time.
#![cfg(target_os = "linux")]

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/checkpoints/lm-dense-pre-rope"
);

/// A target of another architecture than this one.
const FOREIGN: &str = if cfg!(target_arch = "aarch64") {
    "x86-64-v3"
} else {
    "aarch64"
};

/// A command with a cache of its own.
fn gemc(cache: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gemc"));
    command.args(arguments).env("GEMC_CACHE", cache);
    command
}

fn output(mut command: Command) -> Output {
    command.output().expect("it starts")
}

fn logits(cache: &Path, backend: &str, more: &[&str]) -> Command {
    let arguments = [
        "logits",
        CHECKPOINT,
        "--ids",
        "1,5,9",
        "--json",
        "--backend",
        backend,
    ];
    gemc(cache, &[&arguments[..], more].concat())
}

/// Asserts that a run failed for a reason that is told, with all these words.
fn refused(output: &Output, words: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(output.stdout.is_empty());
    for word in words {
        assert!(told.contains(word), "`{word}` in: {told}");
    }
    for word in ["panicked", "internal"] {
        assert!(!told.contains(word), "{told}");
    }
}

/// What a run answered; nothing went wrong.
fn answered(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    String::from_utf8(output.stdout.clone()).expect("JSON")
}

/// A target file of an architecture that Cranelift is not built for here.
fn riscv(dir: &Path) -> String {
    let portable = include_str!("../../targets/portable.toml");
    let text = portable.replace(
        "triple = \"host\"",
        "triple = \"riscv64gc-unknown-linux-gnu\"",
    );
    let path = dir.join("board.toml");
    fs::write(
        &path,
        text.replace("name = \"portable\"", "name = \"board\""),
    )
    .expect("space");
    path.to_str().expect("a plain path").to_owned()
}

#[test]
fn foreign_targets_do_not_run_here() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let board = riscv(dir.path());
    for (target, name) in [(FOREIGN, FOREIGN), (&board, "board")] {
        let foreign = output(logits(dir.path(), "jit", &["--target", target]));
        let advice = "build a crate for it instead";
        refused(
            &foreign,
            &[name, "cannot run in this process", advice, "`host`"],
        );
        let run = [
            "run", CHECKPOINT, "--prompt", "a", "-n", "1", "--target", target,
        ];
        refused(&output(gemc(dir.path(), &run)), &[name, "cannot run"]);
    }
}

#[test]
fn targets_without_machine_code_have_no_listing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let out = dir.path().join("out");
    let board = riscv(dir.path());
    let emit = |stage: &str, target: &str| {
        let output_folder = out.to_str().expect("a plain path");
        let build = [
            "build",
            CHECKPOINT,
            "-o",
            output_folder,
            "--emit",
            stage,
            "--target",
            target,
        ];
        output(gemc(dir.path(), &build))
    };
    for stage in ["clif", "disasm"] {
        let none = emit(stage, &board);
        refused(&none, &["board", "riscv64gc", "x86-64 and aarch64"]);
        assert!(!out.exists(), "nothing is left behind");
    }
    answered(&emit("kernel", &board));
    assert!(out.join("emit/program.gemk").exists());
}

/// Makes the system refuse this process, and what it becomes, memory that was written and becomes executable.
fn without_executable_memory(mut command: Command) -> io::Result<Output> {
    let forbid = || {
        // SAFETY: the call takes numbers alone, and allocates nothing between fork and exec.
        let result = unsafe {
            libc::prctl(
                libc::PR_SET_MDWE,
                libc::PR_MDWE_REFUSE_EXEC_GAIN as libc::c_ulong,
                0,
                0,
                0,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: see above.
    unsafe { command.pre_exec(forbid) };
    command.output()
}

#[test]
fn a_system_that_forbids_executable_memory_is_told() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let forbidden = match without_executable_memory(logits(dir.path(), "jit", &[])) {
        Ok(output) => output,
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            // Linux before 6.3.
            println!("SKIPPED: needs PR_SET_MDWE");
            return;
        }
        Err(error) => unreachable!("the child does not start: {error}"),
    };
    let words = [
        "forbids executable memory",
        "`--backend rust`",
        "`--backend interp`",
    ];
    refused(&forbidden, &words);
    let run = ["run", CHECKPOINT, "--prompt", "a", "-n", "1"];
    let run = without_executable_memory(gemc(dir.path(), &run)).expect("as before");
    refused(&run, &["forbids executable memory"]);
    let advised = without_executable_memory(logits(dir.path(), "interp", &[])).expect("as before");
    let expected = output(logits(dir.path(), "jit", &[]));
    assert_eq!(answered(&advised), answered(&expected));
}

#[test]
fn a_cache_that_cannot_be_used_costs_time_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let good = dir.path().join("good");
    let expected = answered(&output(logits(&good, "jit", &[])));
    assert!(good.join("weights").is_dir());
    // No folder can be made below a file.
    let file = dir.path().join("file");
    fs::write(&file, "").expect("space");
    let nested = dir.path().join("nested");
    fs::create_dir(&nested).expect("space");
    fs::write(nested.join("weights"), "").expect("space");
    for cache in [&file, &file.join("below"), &nested] {
        assert_eq!(answered(&output(logits(cache, "jit", &[]))), expected);
    }
    let told = output(logits(&nested, "jit", &[])).stderr;
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains("made again each time"), "{told}");
    // A full disk: a limit on the size of files makes writes fail part of the way.
    let full = dir.path().join("full");
    for blocks in [0, 2] {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let command = logits(&full, "jit", &[]);
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &script, "sh"])
            .arg(command.get_program());
        limited.args(command.get_args()).env("GEMC_CACHE", &full);
        assert_eq!(answered(&output(limited)), expected, "{blocks} blocks");
    }
    let mut limited = logits(&good, "jit", &[]);
    limited.env("GEMC_CACHE_LIMIT", "lots");
    refused(&output(limited), &["GEMC_CACHE_LIMIT", "lots", "20G"]);
}
