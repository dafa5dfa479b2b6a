//! Weight files under the command: what `gemc doctor FILE` says of whole, damaged and foreign ones, and what happens when one
//! goes away under a running model.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/checkpoints/lm-dense-pre-rope"
);

/// One that brings text to plan with.
const ROUTED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/checkpoints/lm-final-2domains-top1-none-flagscar"
);

fn gemc(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gemc"));
    command.args(arguments);
    command
}

fn doctor(path: &Path, more: &[&str]) -> Output {
    gemc(&["doctor"])
        .arg(path)
        .args(more)
        .output()
        .expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A package with its weight file.
fn built(dir: &Path) -> PathBuf {
    let out = dir.join("model");
    let output = out.to_str().expect("a plain path");
    let build = ["build", CHECKPOINT, "--target", "portable", "-o", output];
    let built = gemc(&build)
        .env("GEMC_CACHE", dir.join("cache"))
        .output()
        .expect("it starts");
    assert!(built.status.success(), "{}", text(&built.stderr));
    out
}

#[test]
fn a_weight_file_is_described_and_its_damage_located() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = built(dir.path());
    let path = folder.join("model.gemw");
    let good = fs::read(&path).expect("built");
    for place in [&folder, &path] {
        let whole = doctor(place, &[]);
        let said = text(&whole.stdout);
        assert_eq!(whole.status.code(), Some(0), "{said}");
        assert!(said.starts_with(&path.display().to_string()), "{said}");
        for words in [
            "version 3\nplan     ",
            "plain",
            &format!("intact   {} bytes", good.len()),
        ] {
            assert!(said.contains(words), "`{words}` in {said}");
        }
    }
    let found = |expected: i32| -> Value {
        let output = doctor(&path, &["--json"]);
        assert_eq!(output.status.code(), Some(expected));
        serde_json::from_slice(&output.stdout).expect("one JSON value")
    };
    let whole = found(0);
    let number = |at: usize| u64::from_le_bytes(good[at..][..8].try_into().expect("8 bytes"));
    let body = number(16) as usize;
    let manifest = fs::read(folder.join("manifest.json")).expect("built");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(whole["plan_hash"], manifest["plan_hash"]);
    assert_eq!(whole["bytes"], good.len());
    assert_eq!(
        (&whole["intact"], &whole["damage"]),
        (&true.into(), &Vec::<Value>::new().into())
    );
    let records = whole["records"].as_u64().expect("a number");
    let formats = whole["formats"].as_object().expect("an object");
    assert_eq!(
        formats.values().filter_map(Value::as_u64).sum::<u64>(),
        records
    );

    // The second record, whose place is in the table.
    let begin = body as u64 + number(128 + 40 + 16);
    let mut damaged = good;
    damaged[begin as usize] ^= 0x80;
    fs::write(&path, &damaged).expect("space");
    let broken = found(1);
    assert_eq!(broken["intact"], false);
    let place = &broken["damage"][0];
    assert_eq!(
        (&place["record"], &place["begin"]),
        (&1.into(), &begin.into())
    );
    assert_eq!(broken["damage"][1], Value::Null);
    let told = doctor(&folder, &[]);
    let said = text(&told.stdout);
    assert_eq!(told.status.code(), Some(1));
    assert!(
        said.contains(" record 1 (") && !said.contains("intact"),
        "{said}"
    );
}

#[test]
fn what_is_no_weight_file_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let refused = |name: &str, why: &str| {
        let path = dir.path().join(name);
        let output = doctor(&path, &["--json"]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(output.stdout.is_empty());
        assert!(
            told.contains(&path.display().to_string()) && told.contains(why),
            "{told}"
        );
    };
    fs::write(dir.path().join("empty"), "").expect("space");
    refused("empty", "has 0 bytes");
    fs::write(dir.path().join("text"), "hello ".repeat(99)).expect("space");
    refused("text", "does not start with GEMW");
    refused("absent", "No such file");
    fs::create_dir(dir.path().join("folder")).expect("space");
    refused("folder", "model.gemw");
    let pipe = Command::new("mkfifo").arg(dir.path().join("pipe")).status();
    if pipe.is_ok_and(|status| status.success()) {
        refused("pipe", "is a pipe");
    }
}

#[test]
fn codes_of_a_plan_are_checked_as_well() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let plan = dir.path().join("plan.toml");
    let planned = gemc(&["plan", ROUTED, "--bits", "4.25", "-o"])
        .arg(&plan)
        .env("GEMC_CACHE", dir.path().join("cache"))
        .output()
        .expect("it starts");
    assert!(planned.status.success(), "{}", text(&planned.stderr));
    let path = dir.path().join("plan.codes");
    let whole = doctor(&path, &["--json"]);
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stderr));
    let found: Value = serde_json::from_slice(&whole.stdout).expect("one JSON value");
    assert!(
        found["units"].as_u64().is_some_and(|units| units > 0),
        "{found}"
    );
    let mut bytes = fs::read(&path).expect("planned");
    let at = bytes.len() - 64;
    bytes[at] ^= 0x80;
    fs::write(&path, bytes).expect("space");
    let broken = doctor(&path, &[]);
    let told = text(&broken.stdout);
    assert_eq!(broken.status.code(), Some(1), "{told}");
    assert!(
        told.contains("plan.codes: codes of a plan") && told.contains("damaged  bytes "),
        "{told}"
    );
    let broken = doctor(&path, &["--json"]);
    assert_eq!(broken.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&broken.stdout).expect("one JSON value");
    assert_eq!(found["intact"], false);
    let place = &found["damage"][0];
    assert!(
        place["begin"].as_u64() <= Some(at as u64) && place["end"].as_u64() > Some(at as u64),
        "{found}"
    );
}

/// The only file of this name below a folder.
#[cfg(target_os = "linux")]
fn find(dir: &Path, name: &str) -> PathBuf {
    let items = fs::read_dir(dir).expect("a folder");
    let mut folders = items.map(|item| item.expect("listed").path().join(name));
    folders.find(|path| path.exists()).expect("it was written")
}

#[cfg(target_os = "linux")]
#[test]
fn weights_that_go_away_end_a_run_in_words() {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Stdio;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cache = dir.path().join("cache");
    let mut child = gemc(&["run", CHECKPOINT, "--chat", "-n", "1"])
        .env("GEMC_CACHE", &cache)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut to = child.stdin.take().expect("piped");
    let mut from = BufReader::new(child.stdout.take().expect("piped"));
    to.write_all(b"one\n").expect("a reader");
    let mut answer = String::new();
    from.read_line(&mut answer).expect("an answer");
    let weights = find(&cache.join("weights"), "model.gemw");
    let file = fs::OpenOptions::new().write(true).open(weights);
    file.and_then(|file| file.set_len(100)).expect("ours");
    to.write_all(b"two\n").expect("a reader");
    drop(to);
    let mut told = String::new();
    let mut errors = child.stderr.take().expect("piped");
    errors.read_to_string(&mut told).expect("UTF-8");
    let status = child.wait().expect("an end");
    assert_eq!((status.signal(), status.code()), (None, Some(1)), "{told}");
    assert!(told.contains("cut short"), "{told}");
}
