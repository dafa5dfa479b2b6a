//! What builds and runs write: folders that keep to what gemc wrote, results that nobody takes, first runs at once.

use super::*;

#[test]
fn options_of_a_run_are_checked_before_weights_are_made() {
    let root = tempfile::tempdir().expect("a folder");
    let run = ["run", CHECKPOINT, "--prompt", "abc"];
    let cls = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/checkpoints/cls-dense-pre-none"
    );
    let long = "a b ".repeat(5000);
    for backend in ["jit", "interp", "rust"] {
        for (arguments, word) in [
            (&[&run[..], &["--temp=-1"]].concat()[..], "--temp"),
            (&[&run[..], &["--top-p", "2"]].concat(), "--top-p"),
            (&[&run[..], &["--threads", "0"]].concat(), "--threads"),
            (&[&run[..], &["--context", "999999999"]].concat(), "context"),
            (&["run", CHECKPOINT, "--prompt", ""], "no tokens"),
            (&["run", CHECKPOINT, "--prompt", &long], "do not fit"),
            (&["run", CHECKPOINT, "--text", "a"], "classify"),
            (&["run", cls, "--prompt", "a"], "continue"),
        ] {
            let mut command = gemc(arguments);
            command
                .args(["--backend", backend])
                .env("GEMC_CACHE", root.path());
            let output = output(command);
            let told = told(&output);
            assert!(matches!(output.status.code(), Some(1 | 2)), "{told}");
            assert!(told.contains(word), "{word} in {told}");
            assert_eq!(
                names(root.path()),
                [""; 0],
                "{arguments:?}: nothing was made"
            );
        }
    }
}

#[test]
fn builds_keep_to_what_they_wrote() {
    let root = tempfile::tempdir().expect("a folder");
    let out = root.path().join("work/model");
    let build = |more: &[&str]| {
        let mut command = gemc(&["build", CHECKPOINT, "--rounding", "plain", "-o", text(&out)]);
        command.args(more);
        command
    };
    done(build(&[]));
    let kernels = out.join("src/kernels.rs");
    let generated = fs::read(&kernels).expect("there");
    fs::write(&kernels, "// mine").expect("space");
    for more in [
        &[][..],
        &["--locked"],
        &["--bits", "8.25"],
        &["--format", "obj"],
    ] {
        refused(build(more), &["src/kernels.rs", "--overwrite"]);
        assert_eq!(fs::read(&kernels).expect("there"), b"// mine", "{more:?}");
    }
    let contradiction = output(build(&["--locked", "--overwrite"]));
    assert_eq!(contradiction.status.code(), Some(2));
    done(build(&["--overwrite"]));
    assert_eq!(fs::read(&kernels).expect("there"), generated);
    // A repository, and what desktops leave.
    fs::create_dir_all(out.join(".git/objects")).expect("space");
    fs::write(out.join(".git/HEAD"), "ref: refs/heads/main").expect("space");
    fs::write(out.join(".gitignore"), "/target").expect("space");
    fs::write(out.join(".DS_Store"), "").expect("space");
    done(build(&["--bits", "8.25"]));
    done(build(&["--bits", "8.25", "--locked"]));
    assert!(out.join(".git/objects").is_dir());
    assert_eq!(
        fs::read(out.join(".git/HEAD")).expect("there"),
        b"ref: refs/heads/main"
    );
    assert!(out.join(".gitignore").exists() && out.join(".DS_Store").exists());
    assert_eq!(names(&root.path().join("work")), ["model"]);
    // `-o ..` and `-o .`, among other things.
    let here = root.path().join("work/here");
    fs::create_dir(&here).expect("space");
    for folder in ["..", ".", "../..", "../../work"] {
        fs::create_dir_all(here.join("empty")).expect("space");
        let mut command = gemc(&["build", CHECKPOINT, "-o", folder]);
        command.current_dir(&here);
        refused(command, &["did not write"]);
        assert!(here.join("empty").is_dir(), "{folder}");
    }
}

/// Updates that are killed at any moment leave the repository where it is, or beside it until the next run.
#[test]
fn killed_updates_keep_the_repository() {
    let root = tempfile::tempdir().expect("a folder");
    let out = root.path().join("model");
    let build = |bits: &str| {
        let mut command = gemc(&[
            "build",
            CHECKPOINT,
            "--rounding",
            "plain",
            "-o",
            text(&out),
            "--bits",
            bits,
        ]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    fs::create_dir_all(out.join(".git")).expect("space");
    fs::write(out.join(".git/HEAD"), "mine").expect("space");
    done(build("4.25"));
    for (index, pause) in [2, 10, 25, 50, 75, 100, 150].into_iter().enumerate() {
        let mut child = build(["8.25", "4.25"][index % 2])
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().expect("it is ours");
        child.wait().expect("it ended");
        let places = [out.clone(), root.path().join(".model.gemc-old")];
        assert!(
            places.iter().any(|place| place.join(".git/HEAD").exists()),
            "{pause} ms"
        );
    }
    done(build("6.25"));
    assert_eq!(fs::read(out.join(".git/HEAD")).expect("there"), b"mine");
    assert_eq!(names(root.path()), ["model"]);
}

#[test]
fn results_that_nobody_takes_are_told() {
    if !Path::new("/dev/full").exists() {
        println!("SKIPPED: needs /dev/full");
        return;
    }
    let root = tempfile::tempdir().expect("a folder");
    let out = root.path().join("model");
    for arguments in [
        &["inspect", CHECKPOINT, "--json"][..],
        &[
            "build",
            CHECKPOINT,
            "--rounding",
            "plain",
            "-o",
            text(&out),
            "--json",
        ],
        &["targets"],
        &["--help"],
        &["plan", "--help"],
        &["--version"],
    ] {
        let full = fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("there");
        let mut command = gemc(arguments);
        command.stdout(full);
        refused(command, &["standard output", "space"]);
    }
    assert!(out.join("manifest.json").is_file(), "what was built stays");
}

/// Six processes find no weights and need the same: one makes them.
#[test]
fn first_runs_at_once_share_the_work() {
    let root = tempfile::tempdir().expect("a folder");
    let run = || {
        let mut command = gemc(&[
            "logits",
            CHECKPOINT,
            "--ids",
            "1,5,9",
            "--backend",
            "jit",
            "--json",
        ]);
        command
            .env("GEMC_CACHE", root.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().expect("it starts")
    };
    let children: Vec<_> = (0..6).map(|_| run()).collect();
    let outputs: Vec<Output> = children
        .into_iter()
        .map(|child| child.wait_with_output().expect("it ended"))
        .collect();
    let made = outputs
        .iter()
        .filter(|output| told(output).contains("quantising"))
        .count();
    assert_eq!(made, 1, "one makes the weights");
    for output in &outputs {
        assert!(output.status.success(), "{}", told(output));
        assert!(!told(output).contains("anew"), "{}", told(output));
        assert_eq!(output.stdout, outputs[0].stdout);
    }
    assert_eq!(
        names(&root.path().join("weights")).len(),
        1,
        "no lock is left"
    );
}
