//! `gemc bundle` as a process: what the file holds, what is refused, and that it is whole or not there.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use gem_runtime::bundle::Bundle;
use tempfile::TempDir;

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/checkpoints/lm-dense-pre-rope"
);
/// The model's name in its manifest.
const NAME: &str = "lm-dense-pre-rope";

fn gemc() -> Command {
    Command::new(env!("CARGO_BIN_EXE_gemc"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A folder with a model, built once.
fn model() -> &'static Path {
    static MODEL: OnceLock<TempDir> = OnceLock::new();
    let folder = MODEL.get_or_init(|| {
        let folder = TempDir::new().expect("a folder");
        let out = folder.path().join("built");
        let built = gemc()
            .args(["build", CHECKPOINT, "--bits", "8.25", "-o", text(&out)])
            .output()
            .expect("it starts");
        assert!(built.status.success(), "{}", told(&built));
        folder
    });
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| folder.path().join("built"))
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with a program in it: this one.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().expect("a folder"));
        let itself = std::env::current_exe().expect("a path");
        fs::copy(itself, place.at("program")).expect("space");
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bundle(&self, program: &str, models: &[&str], out: &str) -> Output {
        gemc()
            .arg("bundle")
            .arg(self.at(program))
            .args(models)
            .arg("-o")
            .arg(self.at(out))
            .output()
            .expect("it starts")
    }

    fn bundled(&self, program: &str, models: &[&str], out: &str) -> String {
        let output = self.bundle(program, models, out);
        assert!(output.status.success(), "{}", told(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Fails with exit code 1 and these words, and leaves the folder as it was.
    fn refused(&self, program: &str, models: &[&str], out: &str, words: &str) {
        let before = self.contents();
        let output = self.bundle(program, models, out);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(words) && !told.contains("panicked"), "{told}");
        assert!(self.contents() == before, "something was written");
    }

    fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let items = fs::read_dir(self.0.path()).expect("a folder");
        let paths = items.map(|item| item.expect("listed").path());
        let mut contents: Vec<_> = paths
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), fs::read(path).expect("a file")))
            .collect();
        contents.sort();
        contents
    }
}

#[test]
fn a_bundle_is_the_program_with_its_models() {
    let place = Place::new();
    let model = text(model());
    fs::set_permissions(place.at("program"), fs::Permissions::from_mode(0o4750)).expect("ours");
    let told = place.bundled("program", &[model], "out");
    assert!(
        told.contains("out: ") && told.contains("lm-dense-pre-rope: weights"),
        "{told}"
    );
    let mode = fs::metadata(place.at("out"))
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o750, "executable, and nobody else's rights");
    let program = fs::read(place.at("program")).expect("there");
    assert!(
        fs::read(place.at("out"))
            .expect("there")
            .starts_with(&program)
    );
    let listed = Command::new(place.at("out"))
        .arg("--list")
        .output()
        .expect("it starts");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("a_bundle_is_the_program"));

    let bundle = Bundle::open(&place.at("out")).expect("sound");
    bundle.verify().expect("undamaged");
    assert_eq!(bundle.models().collect::<Vec<_>>(), [NAME]);
    assert!(bundle.payload().is_multiple_of(64 << 10));
    let weights = bundle.weights(NAME).expect("there");
    weights.verify().expect("undamaged");
    for (name, bytes) in bundle.texts(NAME).expect("there") {
        assert!(
            fs::read(Path::new(model).join(&name)).expect("beside it") == bytes,
            "{name}"
        );
    }
    assert!(
        bundle
            .text_folder(NAME)
            .expect("there")
            .get("tokenizer.json")
            .is_some()
    );
}

#[test]
fn models_are_named_and_an_old_bundle_is_replaced() {
    let place = Place::new();
    let model = text(model());
    let weights = format!("{model}/model.gemw");
    let (two, three) = (format!("two={model}"), format!("three={weights}"));
    let json = gemc()
        .arg("bundle")
        .arg(place.at("program"))
        .args([model, &two, &three, "--json", "-o"])
        .arg(place.at("out"))
        .output()
        .expect("it starts");
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let program = fs::metadata(place.at("program")).expect("there").len();
    assert_eq!(report["program_bytes"], program);
    assert_eq!(
        report["bytes"],
        fs::metadata(place.at("out")).expect("there").len()
    );
    assert_eq!(report["models"][2]["name"], "three");
    let bundle = Bundle::open(&place.at("out")).expect("sound");
    assert_eq!(bundle.models().collect::<Vec<_>>(), [NAME, "two", "three"]);
    // As if the models had never been there, also in its own place.
    place.bundled("program", &[model], "fresh");
    place.bundled("out", &[model], "again");
    place.bundled("out", &[model], "out");
    let fresh = fs::read(place.at("fresh")).expect("there");
    for name in ["again", "out"] {
        assert!(fs::read(place.at(name)).expect("there") == fresh, "{name}");
    }
}

#[test]
fn what_cannot_be_bundled_is_refused_and_nothing_is_written() {
    let place = Place::new();
    let model = text(model());
    let here = |name: &str| text(&place.at(name)).to_owned();
    place.refused(
        "program",
        &[model],
        "program",
        "is not a bundle that gemc wrote",
    );
    place.refused("absent", &[model], "out", "absent");
    place.refused("program", &["/nowhere/model"], "out", "/nowhere/model");
    place.refused("program", &[&format!("={model}")], "out", "names have");
    place.refused(
        "program",
        &[model, model],
        "out",
        "two models are called `lm-dense-pre-rope`",
    );
    fs::write(place.at("script"), "#!/bin/sh\n").expect("space");
    place.refused(
        "script",
        &[model],
        "out",
        "allowed: an ELF or PE executable",
    );
    fs::write(
        place.at("mac"),
        [&[0xcf, 0xfa, 0xed, 0xfe][..], &[0; 28]].concat(),
    )
    .expect("space");
    place.refused("mac", &[model], "out", "is a program for macOS");
    // An object file is no program.
    let mut object = fs::read(place.at("program")).expect("there");
    object[16] = 1;
    fs::write(place.at("object"), &object).expect("space");
    place.refused(
        "object",
        &[model],
        "out",
        "allowed: an ELF or PE executable",
    );
    // Damaged weights.
    let mut weights = fs::read(Path::new(model).join("model.gemw")).expect("there");
    let last = weights.len() - 1;
    weights[last] ^= 1;
    fs::write(place.at("model.gemw"), &weights).expect("space");
    place.refused("program", &[&here("model.gemw")], "out", "is damaged");
    // A bundle that was cut: what of it is the program is not guessed.
    place.bundled("program", &[model], "out");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(place.at("out"))
        .expect("ours");
    let length = file.metadata().expect("open").len();
    file.set_len(length - 1).expect("ours");
    place.refused("out", &[model], "out", "it was cut short");
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let place = Place::new();
    let model = text(model());
    place.bundled("program", &[model], "out");
    let before = place.contents();
    for blocks in ["0", "8", "512"] {
        // A limit on the size of files makes writes fail part of the way.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let output = Command::new("sh")
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_gemc"), "bundle"])
            .arg(place.at("program"))
            .args([model, "-o"])
            .arg(place.at("out"))
            .output()
            .expect("a shell");
        assert_eq!(output.status.code(), Some(1), "{blocks}: {}", told(&output));
        assert!(place.contents() == before, "{blocks} blocks");
    }
}
