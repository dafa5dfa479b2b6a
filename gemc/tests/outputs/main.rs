//! The command as a process, where it writes: nothing that is not gemc's is ever replaced, paths are tried before the work,
//! and what was made is not lost with the disk.
#![cfg(unix)]

mod builds;

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/checkpoints/lm-dense-pre-rope"
);

/// A checkpoint with texts, made once; nobody writes to it.
fn planned() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outputs-model");
        let _ = fs::remove_dir_all(&dir);
        copy_checkpoint(&dir);
        dir
    })
}

/// A tiny checkpoint with calibration text of 12 documents.
fn copy_checkpoint(dir: &Path) {
    fs::create_dir_all(dir.join("calibration")).expect("space");
    for item in fs::read_dir(CHECKPOINT).expect("a folder") {
        let path = item.expect("an item").path();
        if path.is_file() {
            fs::copy(&path, dir.join(path.file_name().expect("a name"))).expect("space");
        }
    }
    let text: String = (0..12)
        .map(|i| {
            format!(
                "{{\"text\": \"{}\"}}\n",
                format!("a{i} bc {} ", i % 5).repeat(40)
            )
        })
        .collect();
    fs::write(dir.join("calibration/law.jsonl"), text).expect("space");
}

fn gemc(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gemc"));
    command.args(arguments);
    command
}

/// `gemc plan` with little effort.
fn plan(checkpoint: &Path, arguments: &[&str]) -> Command {
    let mut command = gemc(&[
        "plan",
        text(checkpoint),
        "--effort",
        "low",
        "--rounding",
        "plain",
    ]);
    command.args(arguments);
    command
}

fn output(mut command: Command) -> Output {
    command.output().expect("it starts")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn done(command: Command) {
    let output = output(command);
    assert!(output.status.success(), "{}", told(&output));
}

fn refused(command: Command, words: &[&str]) {
    let output = output(command);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for word in words {
        assert!(told.contains(word), "`{word}` in: {told}");
    }
    assert!(
        !told.contains("sensitivity") && !told.contains("gathering"),
        "before the work: {told}"
    );
    assert!(!told.contains("internal error"), "{told}");
}

fn names(dir: &Path) -> Vec<String> {
    let items = fs::read_dir(dir).expect("a folder").flatten();
    let mut names: Vec<String> = items
        .map(|item| item.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Logits with a plan; that it runs at all shows that its codes are there.
fn runs(checkpoint: &Path, plan: &Path) {
    done(gemc(&[
        "logits",
        text(checkpoint),
        "--ids",
        "1,2",
        "--backend",
        "interp",
        "--plan",
        text(plan),
    ]));
}

#[test]
fn a_plan_replaces_plans_alone() {
    let root = tempfile::tempdir().expect("a folder");
    let model = root.path().join("model");
    copy_checkpoint(&model);
    let at = |name: &str| root.path().join(name);
    fs::write(at("letter.txt"), "dear").expect("space");
    fs::write(at("page.html"), "<html>mine</html>").expect("space");
    fs::write(at("mine.codes"), "GEM").expect("space");
    symlink("letter.txt", at("link.toml")).expect("space");
    fs::hard_link(model.join("config.json"), at("second-name")).expect("space");
    let fifo = Command::new("mkfifo").arg(at("pipe")).status();
    assert!(
        fifo.is_ok_and(|status| status.success()),
        "mkfifo is everywhere"
    );
    let before: Vec<_> = names(&model)
        .into_iter()
        .map(|name| fs::read(model.join(name)).ok())
        .collect();
    let plan_to = |path: &Path| plan(&model, &["-o", text(path)]);
    for (path, word) in [
        (model.join("model.safetensors"), "model.safetensors"),
        (model.join("config.json"), "config.json"),
        // Absent or empty, it would be read as something else.
        (
            model.join("chat_template.jinja"),
            "belongs to the checkpoint",
        ),
        (
            model.join("calibration/more.jsonl"),
            "belongs to the checkpoint",
        ),
        (at("letter.txt"), "not a plan that gemc wrote"),
        (at("link.toml"), "not a plan that gemc wrote"),
        (at("second-name"), "not a plan that gemc wrote"),
        (at("mine.toml"), "not a file of codes that gemc wrote"),
        (at("plan.codes"), "names a file of codes"),
        (at("pipe"), "is a pipe"),
        (PathBuf::from("/dev/null"), "is a device"),
        (root.path().to_owned(), "is a folder"),
        (at("new/"), "does not name a file"),
        (at("letter.txt/plan.toml"), "cannot be written"),
    ] {
        refused(plan_to(&path), &[word]);
    }
    assert_eq!(output(plan(&model, &["-o", ""])).status.code(), Some(2));
    for (page, word) in [
        (at("page.html"), "not a report that gemc wrote"),
        (model.join("config.json"), "not a report"),
        (at("plan.toml"), "is where the plan would be written"),
        (at("plan.codes"), "is where its codes would be written"),
        (at("plan.toml/page.html"), "is where the plan"),
        (PathBuf::from("/dev/null"), "is a device"),
    ] {
        let both = ["-o", text(&at("plan.toml")), "--report", text(&page)].map(str::to_owned);
        refused(plan(&model, &both.each_ref().map(String::as_str)), &[word]);
        assert!(!at("plan.toml").exists(), "nothing is written");
    }
    let after: Vec<_> = names(&model)
        .into_iter()
        .map(|name| fs::read(model.join(name)).ok())
        .collect();
    assert!(before == after, "the checkpoint is untouched");
    assert_eq!(fs::read(at("letter.txt")).expect("there"), b"dear");
    assert!(at("link.toml").is_symlink());
    let left = [
        "letter.txt",
        "link.toml",
        "mine.codes",
        "model",
        "page.html",
        "pipe",
        "second-name",
    ];
    assert_eq!(names(root.path()), left);
}

#[test]
fn plans_and_reports_are_replaced_with_links_and_permissions_kept() {
    let root = tempfile::tempdir().expect("a folder");
    let at = |name: &str| root.path().join(name);
    fs::create_dir(at("deep")).expect("space");
    symlink("deep/real.toml", at("link.toml")).expect("space");
    let page = at("new/page.html");
    for bits in ["4", "5"] {
        let to = [
            "--bits",
            bits,
            "-o",
            text(&at("link.toml")),
            "--report",
            text(&page),
        ]
        .map(str::to_owned);
        done(plan(planned(), &to.each_ref().map(String::as_str)));
    }
    assert!(at("link.toml").is_symlink());
    assert_eq!(names(&at("deep")), ["real.codes", "real.toml"]);
    assert_eq!(names(&at("new")), ["page.html"]);
    runs(planned(), &at("link.toml"));
    runs(planned(), &at("deep/real.toml"));
    let real = at("deep/real.toml");
    let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
    fs::write(at("plain"), "").expect("space");
    assert_eq!(mode(&real), mode(&at("plain")), "as the umask says");
    fs::set_permissions(&real, Permissions::from_mode(0o600)).expect("ours");
    done(plan(planned(), &["-o", text(&real)]));
    assert_eq!(mode(&real), 0o600);
    fs::set_permissions(&real, Permissions::from_mode(0o400)).expect("ours");
    refused(plan(planned(), &["-o", text(&real)]), &["write-protected"]);
}

/// A pipe that nobody writes to would be waited for, for ever.
#[test]
fn pipes_are_not_waited_for() {
    let root = tempfile::tempdir().expect("a folder");
    let at = |name: &str| root.path().join(name);
    fs::create_dir(at("out")).expect("space");
    for pipe in ["plan.toml", "x.codes", "out/manifest.json"] {
        let made = Command::new("mkfifo").arg(at(pipe)).status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "mkfifo is everywhere"
        );
    }
    refused(gemc(&["explain", text(&at("plan.toml"))]), &["is a pipe"]);
    let with_plan = [
        "build",
        CHECKPOINT,
        "-o",
        text(&at("new")),
        "--plan",
        text(&at("plan.toml")),
    ]
    .map(str::to_owned);
    refused(
        gemc(&with_plan.each_ref().map(String::as_str)),
        &["is a pipe"],
    );
    refused(
        plan(planned(), &["-o", text(&at("x.toml"))]),
        &["is a pipe"],
    );
    let folder = at("out");
    refused(
        gemc(&["build", CHECKPOINT, "-o", text(&folder)]),
        &["manifest.json", "did not write"],
    );
    refused(
        gemc(&["build", CHECKPOINT, "-o", text(&folder), "--locked"]),
        &["no manifest.json"],
    );
}

#[test]
fn every_plan_has_codes_of_its_own() {
    let root = tempfile::tempdir().expect("a folder");
    let at = |name: &str| root.path().join(name);
    let all = ["plan-3.25", "plan-3.75", "a.toml", "a.txt", "b"];
    for (name, bits) in all.iter().zip(["3.25", "3.75", "4", "5", "6"]) {
        done(plan(planned(), &["--bits", bits, "-o", text(&at(name))]));
    }
    for name in all {
        runs(planned(), &at(name));
    }
    for codes in [
        "plan-3.25.codes",
        "plan-3.75.codes",
        "a.codes",
        "a.txt.codes",
        "b.codes",
    ] {
        assert!(at(codes).is_file(), "{codes}");
    }
    // `b.toml` would have the codes of `b`.
    refused(
        plan(planned(), &["-o", text(&at("b.toml"))]),
        &["b.codes", "choose another name"],
    );
    // Codes whose plan is elsewhere.
    fs::rename(at("a.toml"), at("moved.toml")).expect("there");
    refused(
        plan(planned(), &["-o", text(&at("a.toml"))]),
        &["a.codes", "another plan", "a.toml"],
    );
    fs::copy(at("a.txt.codes"), at("plan-3.25.codes")).expect("space");
    refused(
        plan(planned(), &["-o", text(&at("plan-3.25"))]),
        &["another plan"],
    );
    fs::rename(at("a.codes"), at("moved.codes")).expect("there");
    runs(planned(), &at("moved.toml"));
    // A plan that was edited has its codes still, and codes that nobody can read are nobody's.
    let moved = at("moved.toml");
    let edited = fs::read_to_string(&moved).expect("there").replacen(
        "format = \"N4\"",
        "format = \"B8\"",
        1,
    );
    fs::write(&moved, edited).expect("space");
    done(plan(planned(), &["-o", text(&moved)]));
    fs::write(at("moved.codes"), "GEMCODES").expect("space");
    done(plan(planned(), &["-o", text(&moved)]));
    runs(planned(), &moved);
}

/// A limit on the size of files makes writes fail part of the way, as a full disk does.
fn with_small_files(blocks: u32, command: &Command) -> Command {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let mut limited = Command::new("sh");
    limited
        .args(["-c", &script, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    limited
}

#[test]
fn a_plan_that_cannot_be_written_is_kept() {
    let root = tempfile::tempdir().expect("a folder");
    let (model, out, cache) = (
        root.path().join("model"),
        root.path().join("out"),
        root.path().join("cache"),
    );
    copy_checkpoint(&model);
    let file = out.join("plan.toml");
    let command = |bits: &str| {
        let mut command = plan(&model, &["--bits", bits, "-o", text(&file)]);
        command.env("GEMC_CACHE", &cache);
        command
    };
    done(command("4"));
    let before = (
        fs::read(&file).expect("there"),
        fs::read(out.join("plan.codes")).expect("there"),
    );
    let failed = output(with_small_files(1, &command("6")));
    assert_eq!(failed.status.code(), Some(1), "{}", told(&failed));
    assert!(
        told(&failed).contains("plan.codes: cannot be written"),
        "{}",
        told(&failed)
    );
    let after = (
        fs::read(&file).expect("there"),
        fs::read(out.join("plan.codes")).expect("there"),
    );
    assert!(before == after, "both files are as they were");
    assert_eq!(names(&out), ["plan.codes", "plan.toml"]);
    // The folder goes away while the plan is made: the cache has it.
    let mut child = command("5")
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let first = lines.next().expect("progress").expect("text");
    fs::remove_dir_all(&out).expect("ours");
    let rest: Vec<String> = lines.map(|line| line.expect("text")).collect();
    assert_eq!(
        child.wait().expect("it ended").code(),
        Some(1),
        "{first} {rest:?}"
    );
    let words = rest.last().expect("an error");
    assert!(
        words.contains("plan.codes") && words.contains("the plan is kept"),
        "{words}"
    );
    let kept = words.rsplit_once(' ').expect("a path").1;
    runs(&model, Path::new(kept));
    let mut run = gemc(&["run", text(&model), "--prompt", "a", "-n", "1"]);
    run.env("GEMC_CACHE", &cache);
    let run = output(run);
    assert!(told(&run).contains("the plan made last"), "{}", told(&run));
}

#[test]
fn paths_are_tried_before_anything_is_made() {
    let root = tempfile::tempdir().expect("a folder");
    fs::write(root.path().join("file"), "mine").expect("space");
    let below = root.path().join("file/below");
    let out = text(&below);
    let cache = root.path().join("cache");
    let config = format!("{CHECKPOINT}/config.json");
    for arguments in [
        &["build", CHECKPOINT, "-o", out][..],
        &["build", CHECKPOINT, "-o", out, "--bin"],
        &["build", CHECKPOINT, "-o", out, "--format", "obj"],
        &["runtime", "-o", out],
        &["synth", &config, "-o", out],
        &["plan", text(planned()), "-o", out],
        &["plan", text(planned()), "-o", "x.toml", "--report", out],
    ] {
        let mut command = gemc(arguments);
        command.env("GEMC_CACHE", &cache).current_dir(root.path());
        refused(command, &["below"]);
        assert!(!cache.exists(), "{arguments:?}: nothing was made");
    }
    assert_eq!(names(root.path()), ["file"]);
}
