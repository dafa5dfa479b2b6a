//! The command as a process, given what is not what it should be: pipes and links in the place of files, names of things
//! that are not there, terminals of all kinds.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/checkpoints/lm-dense-pre-rope"
);

fn gemc(cache: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gemc"));
    command.args(arguments).env("GEMC_CACHE", cache);
    command
}

/// What a run says that ends by itself.
fn output(mut command: Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let begun = Instant::now();
    while child.try_wait().expect("it is ours").is_none() {
        let waits = begun.elapsed() > Duration::from_secs(120);
        if waits {
            child.kill().expect("it is ours");
        }
        assert!(!waits, "{command:?} waits for something");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("it ended")
}

/// Asserts that a run ends with a code, having said all these words on standard error.
fn refused(command: Command, code: i32, words: &[&str]) {
    let output = output(command);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    for word in words {
        assert!(told.contains(word), "`{word}` in: {told}");
    }
    assert!(!told.contains("internal error"), "{told}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo").success());
}

/// A copy of the checkpoint.
fn copy(to: &Path) {
    fs::create_dir(to).expect("space");
    for item in fs::read_dir(CHECKPOINT).expect("committed") {
        let path = item.expect("listed").path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("space");
        }
    }
}

#[test]
fn pipes_are_refused_wherever_a_file_is_read() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (cache, fifo) = (root.path().join("cache"), root.path().join("fifo.toml"));
    pipe(&fifo);
    let fifo = text(&fifo);
    let is_pipe = ["fifo.toml", "is a pipe; allowed: a regular file"];
    refused(gemc(&cache, &["explain", fifo]), 1, &is_pipe);
    refused(gemc(&cache, &["synth", fifo, "-o", "nowhere"]), 1, &is_pipe);
    refused(gemc(&cache, &["targets", fifo]), 1, &is_pipe);
    let logits = ["logits", CHECKPOINT, "--ids", "1", "--backend", "jit"];
    let planned = [&logits[..], &["--plan", fifo]].concat();
    refused(gemc(&cache, &planned), 1, &is_pipe);
    let target = [&logits[..], &["--target", fifo]].concat();
    refused(gemc(&cache, &target), 1, &is_pipe);
    let calibration = root.path().join("calibration");
    fs::create_dir(&calibration).expect("space");
    pipe(&calibration.join("law.jsonl"));
    let plan = ["plan", CHECKPOINT, "--calib", text(&calibration)];
    refused(gemc(&cache, &plan), 1, &["law.jsonl: is a pipe"]);
    let checkpoint = root.path().join("checkpoint");
    copy(&checkpoint);
    fs::remove_file(checkpoint.join("tokenizer.json")).expect("it was there");
    pipe(&checkpoint.join("tokenizer.json"));
    let run = ["run", text(&checkpoint), "--prompt", "a", "-n", "1"];
    refused(gemc(&cache, &run), 1, &["tokenizer.json: is a pipe"]);
    refused(
        gemc(&cache, &["inspect", "/dev/zero"]),
        1,
        &["is not a folder"],
    );
}

#[test]
fn a_link_that_leads_nowhere_is_no_absent_file() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let cache = root.path().join("cache");
    let checkpoint = root.path().join("checkpoint");
    copy(&checkpoint);
    for name in [
        "generation_config.json",
        "tokenizer_config.json",
        "calibration",
    ] {
        let kept = checkpoint.join("kept");
        let path = checkpoint.join(name);
        let there = path.exists();
        if there {
            fs::rename(&path, &kept).expect("ours");
        }
        symlink("blobs/0", &path).expect("a link");
        let words = [name, "is a link to blobs/0, which does not exist"];
        refused(gemc(&cache, &["inspect", text(&checkpoint)]), 1, &words);
        fs::remove_file(&path).expect("ours");
        if there {
            fs::rename(&kept, &path).expect("ours");
        }
    }
}

#[test]
fn names_of_what_is_not_there_are_answered_with_what_is() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let cache = root.path().join("cache");
    let targets = |name| gemc(&cache, &["targets", name]);
    refused(targets("./nope.toml"), 1, &["./nope.toml", "No such file"]);
    let told = String::from_utf8_lossy(&output(targets("aarch46")).stderr).into_owned();
    assert!(told.contains("did you mean `aarch64`?"), "{told}");
    refused(
        gemc(&cache, &["inspect", "some-org/Some-Model-7B"]),
        1,
        &["is not a folder here", "gemc pull some-org/Some-Model-7B"],
    );
    let unread = root.path().join("unread");
    fs::create_dir(&unread).expect("space");
    fs::write(unread.join("config.json"), "{\"model_type\": \"jamba\"}").expect("space");
    let words = ["model_type", "its layers keep a state", "docs/families.md"];
    refused(gemc(&cache, &["inspect", text(&unread)]), 1, &words);
}

#[test]
fn bench_fits_the_model_and_tells_the_spread() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let bench = |more: &[&str]| {
        let bench = [
            "bench",
            CHECKPOINT,
            "--backend",
            "interp",
            "--rounding",
            "plain",
        ];
        let runs = ["--runs", "2", "--threads", "1"];
        gemc(root.path(), &[&bench[..], &runs, more].concat())
    };
    let fit = output(bench(&["--json"]));
    let told = String::from_utf8_lossy(&fit.stderr);
    assert_eq!(fit.status.code(), Some(0), "{told}");
    let found: serde_json::Value = serde_json::from_slice(&fit.stdout).expect("one value");
    let figure = |name: &str| {
        let value = found[0][name].as_f64();
        assert!(value.is_some(), "{name}: {found}");
        value.unwrap_or_default()
    };
    assert_eq!(
        (figure("prefill_tokens"), figure("decode_tokens")),
        (96.0, 32.0)
    );
    for what in ["prefill", "decode"] {
        let [least, median, most] =
            ["_min", "", "_max"].map(|end| figure(&format!("{what}_tok_s{end}")));
        assert!(0.0 < least && least <= median && median <= most, "{found}");
    }
    refused(
        bench(&["-p", "100", "-n", "29"]),
        2,
        &["-p 100 and -n 29", "128 positions"],
    );
}

/// What a run writes to a terminal.
fn on_a_terminal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let (mut ours, mut theirs) = (0, 0);
    // SAFETY: the call writes two descriptors, and takes null for what it need not know or tell.
    let opened = unsafe {
        libc::openpty(
            &mut ours,
            &mut theirs,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    };
    assert_eq!(opened, 0, "{}", io::Error::last_os_error());
    // SAFETY: both are open, and nobody else has them.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    let mut command = Command::new(env!("CARGO_BIN_EXE_gemc"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(theirs);
    let mut child = command.spawn().expect("it starts");
    // The other end closes when nobody holds it any more.
    drop(command);
    let mut bytes = Vec::new();
    // Linux says EIO at the end of a terminal.
    let _ = File::from(ours).read_to_end(&mut bytes);
    child.wait().expect("it ended");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn findings_are_plain_where_colours_are_not_wanted() {
    let term = ("TERM", "xterm-256color");
    let plain: [&[(&str, &str)]; 5] = [
        &[("TERM", "dumb")],
        &[("TERM", "dumb"), ("CI", "1")],
        &[],
        &[term, ("NO_COLOR", "1")],
        &[term, ("CLICOLOR", "0")],
    ];
    // A finding, and a word of clap's own.
    for arguments in [&["inspect", "no/such/folder"][..], &["frobnicate"]] {
        let coloured = on_a_terminal(arguments, &[term]);
        assert!(coloured.contains('\u{1b}'), "{arguments:?}: {coloured:?}");
        for variables in plain {
            let told = on_a_terminal(arguments, variables);
            assert!(told.starts_with("error: "), "{variables:?}: {told:?}");
            assert!(!told.contains('\u{1b}'), "{variables:?}: {told:?}");
        }
    }
}
