//! The command as a process, where it writes folders: what a full disk, a kill or a foreign folder leaves behind.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/checkpoints/lm-dense-pre-rope"
);

fn gemc(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gemc"));
    command.args(arguments);
    command
}

fn names(dir: &Path) -> Vec<String> {
    let items = fs::read_dir(dir).expect("a folder");
    let mut names: Vec<String> = items
        .map(|item| {
            item.expect("listed")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for name in names(dir) {
        let path = dir.join(name);
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).expect("a file");
            found.push((path, bytes));
        }
    }
    found
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A limit on the size of files makes writes fail part of the way, as a full disk does.
fn with_small_files(blocks: u32, arguments: &[&str]) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    Command::new("sh")
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_gemc")])
        .args(arguments)
        .output()
        .expect("a shell")
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let out = root.path().join("out");
    let output = out.to_str().expect("a plain path");
    let build = ["build", CHECKPOINT, "-o", output, "--bits", "8.25"];
    // The weights take more than the 8 blocks, the sources before them fewer than the 64.
    for blocks in [0, 8, 64] {
        let failed = with_small_files(blocks, &build);
        let told = told(&failed);
        assert_eq!(failed.status.code(), Some(1), "{blocks} blocks: {told}");
        assert!(told.contains("too large"), "{told}");
        assert!(!told.contains("panicked"), "{told}");
        assert_eq!(names(root.path()), [] as [&str; 0], "{blocks} blocks");
    }
    assert!(gemc(&build).status().expect("it starts").success());
    let before = files(&out);
    let other = ["build", CHECKPOINT, "-o", output, "--bits", "4.25"];
    assert_eq!(with_small_files(8, &other).status.code(), Some(1));
    assert_eq!(names(root.path()), ["out"]);
    assert!(files(&out) == before, "the package before is untouched");
}

#[test]
fn a_killed_build_is_no_obstacle_to_the_next() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let out = root.path().join("out");
    let output = out.to_str().expect("a plain path");
    let build = ["build", CHECKPOINT, "-o", output];
    for pause in [1, 5, 20, 60] {
        let mut child = gemc(&build)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().expect("it is ours");
        child.wait().expect("it ended");
        let complete = out.join("manifest.json").is_file();
        assert_eq!(out.exists(), complete, "a folder that looks whole");
    }
    assert!(gemc(&build).status().expect("it starts").success());
    assert_eq!(names(root.path()), ["out"], "nothing else remains");
}

#[test]
fn a_folder_of_other_things_is_left_alone() {
    let root = tempfile::tempdir().expect("a temporary folder");
    fs::write(root.path().join("letter.txt"), "dear").expect("written");
    let output = root.path().to_str().expect("a plain path");
    let refused = gemc(&["build", CHECKPOINT, "-o", output])
        .output()
        .expect("it starts");
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("letter.txt"));
    assert_eq!(names(root.path()), ["letter.txt"]);
}

#[test]
fn stages_can_be_looked_at() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let out = root.path().join("out");
    let output = out.to_str().expect("a plain path");
    let build = [
        "build",
        CHECKPOINT,
        "-o",
        output,
        "--emit",
        "kernel,graph,kernel",
    ];
    assert!(gemc(&build).status().expect("it starts").success());
    assert_eq!(names(&out.join("emit")), ["graph.dot", "program.gemk"]);
    let kernels = fs::read_to_string(out.join("emit/program.gemk")).expect("a text");
    gemc::kernel::text::parse(&kernels).expect("its own text");
    let graph = fs::read_to_string(out.join("emit/graph.dot")).expect("a text");
    assert!(graph.contains("linear 64 -> "), "{graph}");
    assert!(gemc(&build).status().expect("it starts").success(), "again");
}
