//! One damaged checkpoint for every way a file can be broken.

use std::fs;
use std::path::Path;

use super::super::checkpoint;
use super::{base, expect_finding, folder, made};

type Damage = fn(&Path);

/// What a clone without git-LFS holds in a file's place.
const POINTER: &[u8] =
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n";

/// A change to a good checkpoint and words of the finding.
fn damages() -> Vec<(&'static str, Damage, &'static [&'static str])> {
    vec![
        (
            "no config",
            |d| remove(d, "config.json"),
            &["holds no config.json", "allowed: a folder with"],
        ),
        (
            "deep config",
            |d| put(d, "config.json", "[".repeat(1 << 20).as_bytes()),
            &["recursion limit"],
        ),
        (
            "NaN in config",
            |d| replace(d, "config.json", "\"threshold\":0.3", "\"threshold\":NaN"),
            &["no NaN"],
        ),
        (
            "twice",
            |d| replace(d, "config.json", "{", "{\"norm\":\"rmsnorm\","),
            &[": key \"norm\" appears twice at line 1"],
        ),
        (
            "no tensors",
            |d| remove(d, "model.safetensors"),
            &["neither model.safetensors nor"],
        ),
        (
            "empty tensors",
            |d| put(d, "model.safetensors", b""),
            &["model.safetensors", "truncated"],
        ),
        (
            "short tensors",
            |d| cut(d, 100),
            &["model.safetensors", "truncated"],
        ),
        (
            "cut data",
            |d| cut(d, 20_000),
            &["out of the file's", "truncated"],
        ),
        (
            "huge header",
            |d| patch(d, 0, &u64::MAX.to_le_bytes()),
            &["oversized"],
        ),
        (
            "surplus bytes",
            append,
            &["oversized", "after the last tensor"],
        ),
        (
            "missing",
            |d| replace(d, "model.safetensors", "1.scar.out.bias", "1.scar.out.bogu"),
            &["1.scar.out.bias", "missing", "[24]"],
        ),
        (
            "surplus",
            |d| replace(d, "model.safetensors", "1.scar.out.bias", "1.scar.out.bogu"),
            &["1.scar.out.bogu", "surplus"],
        ),
        (
            "type",
            |d| replace(d, "model.safetensors", "\"BF16\"", "\"Q4_0\""),
            &["model.safetensors", "Q4_0"],
        ),
        (
            "wrong type",
            |d| {
                replace(
                    d,
                    "model.safetensors",
                    "\"dtype\":\"BF16\",\"shape\":[300,24]",
                    "\"dtype\":\"U16\",\"shape\": [300,24]",
                )
            },
            &["embed_tokens.weight", "U16", "F32, F16 or BF16"],
        ),
        (
            "shape",
            |d| replace(d, "model.safetensors", "[300,24]", "[24,300]"),
            &["embed_tokens.weight", "[24, 300]", "[300, 24]"],
        ),
        (
            "NaN",
            |d| poison(d, [0xc0, 0x7f]),
            &["lm_head.weight", "NaN", "[299, 23]"],
        ),
        (
            "infinity",
            |d| poison(d, [0x80, 0xff]),
            &["lm_head.weight", "-inf", "[299, 23]"],
        ),
        (
            "index beside",
            |d| put(d, "model.safetensors.index.json", b"{}"),
            &["stands beside"],
        ),
        (
            "ids",
            |d| {
                replace(
                    d,
                    "tokenizer.json",
                    "\"<|filler_299|>\":299",
                    "\"<|filler_299|>\":300",
                )
            },
            &["tokenizer.json", "filler_299", "id 300", "300"],
        ),
        (
            "tokenizer",
            |d| put(d, "tokenizer.json", b"{\"model\":"),
            &["tokenizer.json", "not valid JSON"],
        ),
        (
            "config pointer",
            |d| put(d, "config.json", POINTER),
            &["config.json: is a git-LFS pointer", "git lfs pull"],
        ),
        (
            "tensor pointer",
            |d| put(d, "model.safetensors", POINTER),
            &["model.safetensors: is a git-LFS pointer", "git lfs pull"],
        ),
        (
            "tokenizer pointer",
            |d| put(d, "tokenizer.json", POINTER),
            &["tokenizer.json: is a git-LFS pointer", "git lfs pull"],
        ),
        (
            "UTF-16",
            |d| put(d, "config.json", b"\xff\xfe{\0}\0"),
            &["config.json: is UTF-16 text; allowed: UTF-8"],
        ),
        (
            "eos",
            |d| put(d, "generation_config.json", b"{\"eos_token_id\": [2, 300]}"),
            &["eos_token_id", "300"],
        ),
        (
            "top_p",
            |d| put(d, "generation_config.json", b"{\"top_p\": \"high\"}"),
            &["top_p", "found \"high\""],
        ),
        (
            "a folder",
            |d| fs::create_dir(d.join("chat_template.jinja")).expect("space"),
            &["chat_template.jinja", "is a folder"],
        ),
        (
            "a normaliser that the tokenizer cannot have",
            |d| {
                replace(
                    d,
                    "tokenizer.json",
                    "\"normalizer\":null",
                    "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(\"},\"content\":\"\"}",
                );
            },
            &["tokenizer.json"],
        ),
    ]
}

fn put(dir: &Path, name: &str, bytes: &[u8]) {
    fs::write(dir.join(name), bytes).expect("written");
}

fn remove(dir: &Path, name: &str) {
    fs::remove_file(dir.join(name)).expect("removed");
}

/// Replaces the first occurrence, which must be of the same length in a safetensors file.
fn replace(dir: &Path, name: &str, from: &str, to: &str) {
    let bytes = fs::read(dir.join(name)).expect("read");
    let at = bytes
        .windows(from.len())
        .position(|w| w == from.as_bytes())
        .expect("occurs");
    let new = [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat();
    put(dir, name, &new);
}

fn cut(dir: &Path, to: usize) {
    let bytes = fs::read(dir.join("model.safetensors")).expect("read");
    put(dir, "model.safetensors", &bytes[..to]);
}

fn patch(dir: &Path, at: usize, with: &[u8]) {
    let mut bytes = fs::read(dir.join("model.safetensors")).expect("read");
    bytes[at..at + with.len()].copy_from_slice(with);
    put(dir, "model.safetensors", &bytes);
}

fn append(dir: &Path) {
    let mut bytes = fs::read(dir.join("model.safetensors")).expect("read");
    bytes.extend([0; 7]);
    put(dir, "model.safetensors", &bytes);
}

/// The last value of the file is the head's last.
fn poison(dir: &Path, value: [u8; 2]) {
    let length = fs::metadata(dir.join("model.safetensors"))
        .expect("there")
        .len();
    patch(dir, length as usize - 2, &value);
}

#[test]
fn damaged_files_give_one_clear_report() {
    let root = folder();
    let good = made(root.path(), &base());
    for (case, damage, words) in damages() {
        let copy = folder();
        for item in fs::read_dir(&good).expect("listed") {
            let path = item.expect("an item").path();
            fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("copied");
        }
        damage(copy.path());
        expect_finding(copy.path(), case, words);
    }
    let marked = good.join("config.json");
    let config = fs::read(&marked).expect("read");
    fs::write(&marked, [b"\xef\xbb\xbf", &config[..]].concat()).expect("written");
    checkpoint(&good).expect("a byte order mark is no fault");
    expect_finding(
        &root.path().join("absent"),
        "no folder",
        &["absent", "is not a folder"],
    );
    expect_finding(&good.join("config.json"), "a file", &["is not a folder"]);
}

/// A copy of a checkpoint in which something else stands in a file's place.
#[cfg(unix)]
fn replaced(good: &Path, name: &str, replace: &dyn Fn(&Path)) -> tempfile::TempDir {
    let copy = folder();
    for item in fs::read_dir(good).expect("listed") {
        let path = item.expect("an item").path();
        fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    let path = copy.path().join(name);
    let _ = fs::remove_file(&path);
    replace(&path);
    copy
}

#[cfg(unix)]
#[test]
fn what_stands_in_a_files_place_is_named_and_never_waited_for() {
    use std::os::unix::fs::symlink;
    let root = folder();
    let good = made(root.path(), &base());
    let files = [
        "config.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ];
    for name in files {
        let link = replaced(&good, name, &|path| {
            symlink("blobs/0", path).expect("a link")
        });
        if name == "model.safetensors.index.json" {
            expect_finding(link.path(), name, &[name, "stands beside"]);
            fs::remove_file(link.path().join("model.safetensors")).expect("removed");
        }
        let words = [name, "is a link to blobs/0, which does not exist"];
        expect_finding(link.path(), name, &words);
        let dir = replaced(&good, name, &|path| fs::create_dir(path).expect("a folder"));
        if name == "model.safetensors.index.json" {
            fs::remove_file(dir.path().join("model.safetensors")).expect("removed");
        }
        expect_finding(
            dir.path(),
            name,
            &[name, "is a folder; allowed: a regular file"],
        );
        let pipe = replaced(&good, name, &|path| {
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.expect("mkfifo").success());
        });
        if name == "model.safetensors.index.json" {
            fs::remove_file(pipe.path().join("model.safetensors")).expect("removed");
        }
        expect_finding(
            pipe.path(),
            name,
            &[name, "is a pipe; allowed: a regular file"],
        );
    }
}
