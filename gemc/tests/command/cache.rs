//! `gemc cache` beside what fills it: whether weights were quantised is read from it, and emptying takes nothing from a
//! process that runs.

use std::io::{BufRead as _, BufReader, Write as _};

use serde_json::Value;

use super::*;

/// What `gemc cache --json` says, with more arguments.
fn contents(cache: &Path, more: &[&str]) -> Value {
    let output = gemc(&[&["cache", "--json"], more].concat())
        .env("GEMC_CACHE", cache)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", told(&output));
    serde_json::from_slice(&output.stdout).expect("one value")
}

fn run(cache: &Path, bits: &str) {
    let run = [
        "run", CHECKPOINT, "--prompt", "a", "-n", "1", "--bits", bits,
    ];
    let output = gemc(&run).env("GEMC_CACHE", cache).output();
    let output = output.expect("it starts");
    assert!(output.status.success(), "{}", told(&output));
}

#[test]
fn whether_something_was_quantised_is_read_from_the_cache() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let cache = root.path();
    assert_eq!(contents(cache, &[])["entries"], 0);
    run(cache, "4.25");
    let first = contents(cache, &[]);
    let matrices = |of: &Value| of["kinds"]["matrices"]["kept"].clone();
    let made = |of: &Value| -> Vec<Value> {
        let kept = matrices(of);
        let kept = kept.as_array().expect("a list").iter();
        kept.map(|kept| kept["made"].clone()).collect()
    };
    assert!(first["kinds"]["matrices"]["entries"].as_u64() > Some(0));
    assert_eq!(first["kinds"]["weights"]["entries"], 1);
    run(cache, "4.25");
    assert_eq!(
        made(&contents(cache, &[])),
        made(&first),
        "nothing was made"
    );
    run(cache, "8.25");
    let second = contents(cache, &[]);
    assert_eq!(second["kinds"]["weights"]["entries"], 2);
    assert_eq!(
        matrices(&second).as_array().map(Vec::len),
        matrices(&first).as_array().map(|list| 2 * list.len())
    );
    let text = gemc(&["cache"]).env("GEMC_CACHE", cache).output();
    let text = String::from_utf8(text.expect("it starts").stdout).expect("a text");
    for words in [
        "quantised matrices; oldest use within an hour",
        "no limit",
        "30 days",
    ] {
        assert!(text.contains(words), "`{words}` in {text}");
    }
    let cleared = contents(cache, &["--clear"]);
    assert_eq!(cleared["removed"], second["entries"]);
    assert_eq!(contents(cache, &[])["entries"], 0);
    run(cache, "4.25");
    assert_eq!(
        matrices(&contents(cache, &[])).as_array().map(Vec::len),
        matrices(&first).as_array().map(Vec::len)
    );
}

#[test]
fn a_process_that_runs_keeps_what_it_uses() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let cache = root.path();
    let chat = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/gem-lm");
    let mut child = gemc(&["run", chat, "--chat", "-n", "2", "--rounding", "plain"])
        .env("GEMC_CACHE", cache)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut to = child.stdin.take().expect("piped");
    let mut from = BufReader::new(child.stdout.take().expect("piped"));
    let mut answer = || {
        writeln!(to, "Hello").expect("it listens");
        let mut line = String::new();
        from.read_line(&mut line).expect("it answers");
    };
    answer();
    let cleared = contents(cache, &["--clear"]);
    assert!(cleared["in_use"].as_u64() > Some(0), "{cleared}");
    assert_eq!(contents(cache, &[])["kinds"]["weights"]["entries"], 1);
    answer();
    drop(to);
    assert!(child.wait().expect("it ends").success());
    let cleared = contents(cache, &["--clear"]);
    assert_eq!(cleared["in_use"], 0, "{cleared}");
}
