//! The command as a process among others: exit codes of wrong options, small stacks, no threads to be had, closed streams,
//! and what becomes of its children when it is killed.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/checkpoints/lm-dense-pre-rope"
);
const TRAINED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/gem-lm");
const GEMC: &str = env!("CARGO_BIN_EXE_gemc");

/// A folder for a cache and for output.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A command with its cache in a folder.
fn gemc(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(GEMC);
    command
        .args(arguments)
        .env("GEMC_CACHE", dir.join("cache"))
        .stdin(Stdio::null());
    command
}

fn ended(mut command: Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// What a command wrote to standard output; all went well.
fn answer(command: Command) -> String {
    let (code, output, told) = ended(command);
    assert_eq!(code, Some(0), "{told}");
    output
}

/// A script through which a command runs, with limits that it sets.
fn limited(limits: &str, command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &format!("{limits}; exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    let set = command.get_envs();
    shell.envs(set.filter_map(|(name, value)| Some((name, value?))));
    shell
}

#[test]
fn a_wrong_value_is_usage_wherever_it_is_found() {
    let dir = folder();
    let out = dir.path().join("out");
    let refused = |arguments: &[&str], option: &str, value: &str| {
        let all = [arguments, &[option, value]].concat();
        let (code, output, told) = ended(gemc(dir.path(), &all));
        assert_eq!((code, &*output), (Some(2), ""), "{all:?}: {told}");
        for words in [option, value, "allowed"] {
            assert!(told.contains(words), "{words:?} in {told}");
        }
        assert!(!told.contains("panicked"), "{told}");
    };
    let plan: &[&str] = &["plan", CHECKPOINT, "-o", text(&out)];
    let verify: &[&str] = &["verify", CHECKPOINT, "--backend", "jit"];
    let bench: &[&str] = &["bench", CHECKPOINT, "--backend", "interp"];
    let logits: &[&str] = &["logits", CHECKPOINT];
    let one: &[&str] = &["logits", CHECKPOINT, "--ids", "1"];
    let synth: &[&str] = &["synth", "config.json", "-o", text(&out)];
    let targets: &[&str] = &["targets", "host", "--measure"];
    let huge = "99999999999999999999";
    for (verb, option, values) in [
        (plan, "--bits", &["0", "-1", "nan", "inf", "1e999", "x"][..]),
        (plan, "--size", &["0", "-1", "nan", "inf", "0.5", "x"]),
        (plan, "--latency", &["0", "-1", "nan", "inf", "x"]),
        (verify, "--max-kl", &["nan", "-nan", "inf", "-1", "x"]),
        (verify, "--min-top1", &["nan", "-1", "1.5", "x"]),
        (verify, "--min-f1", &["nan", "-1", "1.5", "x"]),
        (verify, "--disturb", &["nan", "inf", "-1", "1"]),
        (verify, "--tokens", &["0", "-1", "nan", huge]),
        (verify, "--threads", &["0", "-1", "100000", huge]),
        (verify, "--bits", &["7", "nan", "-1"]),
        (bench, "-p", &["0", "-1", "nan", huge]),
        (bench, "-n", &["-1", "nan", huge]),
        (bench, "--runs", &["0", "-1", "1001", huge]),
        (bench, "--threads", &["0", "-1", "100000", huge]),
        (logits, "--ids", &["-1", "nan", huge]),
        (one, "--last", &["0", "-1", "nan"]),
        (one, "--threads", &["0", "-1", "100000", huge]),
        (synth, "--seed", &["-1", "nan", huge]),
        (targets, "--threads", &["0", "-1", "100000", huge]),
    ] {
        for value in values {
            refused(verb, option, value);
        }
    }
    for backend in ["jit", "interp", "rust"] {
        let run = ["run", CHECKPOINT, "--backend", backend, "--prompt", "a"];
        for (option, value) in [
            ("--temp", "-1"),
            ("--temp", "nan"),
            ("--top-k", "-1"),
            ("--top-p", "0"),
            ("--min-p", "inf"),
            ("--repeat", "0"),
            ("--seed", "-1"),
            ("-n", "-1"),
            ("--threads", "0"),
            ("--context", "0"),
            ("--stop", ""),
        ] {
            refused(&run, option, value);
        }
    }
    assert!(
        !dir.path().join("cache/programs").exists(),
        "nothing was compiled"
    );
    assert!(!out.exists(), "nothing was written");
}

#[test]
fn values_that_one_model_does_not_take_are_usage_too() {
    let dir = folder();
    let out = dir.path().join("out");
    for (arguments, says) in [
        (
            &["run", CHECKPOINT, "--prompt", "a", "--context", "9999"][..],
            "1 to 128",
        ),
        (
            &["bench", CHECKPOINT, "--backend", "jit", "-p", "9999"],
            "128 positions",
        ),
        (
            &["plan", TRAINED, "--size", "2K", "-o", text(&out)],
            "smallest",
        ),
        (
            &["plan", TRAINED, "--domains", "opera", "-o", text(&out)],
            "there are",
        ),
        (
            &[
                "plan",
                TRAINED,
                "--override",
                "nothing=N4",
                "-o",
                text(&out),
            ],
            "nothing",
        ),
        (&["inspect", CHECKPOINT, "--frobnicate"], "--frobnicate"),
        (
            &["build", CHECKPOINT, "-o", text(&out), "--target", "pdp11"],
            "known: host",
        ),
    ] {
        let (code, _, told) = ended(gemc(dir.path(), arguments));
        assert_eq!(code, Some(2), "{arguments:?}: {told}");
        assert!(told.contains(says), "{says:?} in {told}");
    }
    // Every default is a value of its option; what is missing is found after that.
    for verb in ["bench", "build", "inspect", "plan", "run", "verify"] {
        let arguments: &[&str] = match verb {
            "build" => &["build", "no/such/model", "-o", text(&out)],
            "run" => &["run", "no/such/model", "--prompt", "a"],
            _ => &[verb, "no/such/model"],
        };
        let (code, _, told) = ended(gemc(dir.path(), arguments));
        assert_eq!(code, Some(1), "{verb}: {told}");
        assert!(
            told.contains("no/such/model") && !told.contains("panicked"),
            "{told}"
        );
    }
}

#[test]
fn values_may_begin_with_a_hyphen() {
    let dir = folder();
    let run = |more: &[&str]| {
        let all = [&["run", CHECKPOINT, "-n", "2"], more].concat();
        ended(gemc(dir.path(), &all))
    };
    for prompt in ["-1", "--", "---", "-", "--json", "--stop"] {
        let (code, output, told) = run(&["--prompt", prompt, "--stop", "---", "--stop", "-"]);
        assert_eq!(code, Some(0), "{prompt}: {told}");
        assert!(!output.is_empty());
    }
    // A path that looks like an option is one that was forgotten.
    let (code, _, told) = ended(gemc(dir.path(), &["build", CHECKPOINT, "-o", "--bin"]));
    assert_eq!(code, Some(2), "{told}");
    assert!(!Path::new("--bin").exists());
}

#[test]
fn small_stacks_suffice() {
    let dir = folder();
    let out = dir.path().join("out");
    let toml = dir.path().join("p.toml");
    let run: &[&str] = &["run", CHECKPOINT, "--prompt", "ab", "-n", "2"];
    let expected = answer(gemc(dir.path(), run));
    let build = |format| ["build", CHECKPOINT, "-o", text(&out), "--format", format];
    let plan = ["plan", TRAINED, "--effort", "low", "-o", text(&toml)];
    let logits = [
        "logits",
        TRAINED,
        "--ids",
        "1,2",
        "--backend",
        "jit",
        "--rounding",
        "plain",
    ];
    let verbs: [&[&str]; 5] = [
        &build("crate"),
        &build("obj"),
        &plan,
        &logits,
        &["inspect", TRAINED],
    ];
    for limits in [
        "RUST_MIN_STACK=131072",
        "ulimit -s 256; RUST_MIN_STACK=65536",
    ] {
        let limits = format!("{limits}; export RUST_MIN_STACK");
        assert_eq!(answer(limited(&limits, &gemc(dir.path(), run))), expected);
        for verb in verbs {
            answer(limited(&limits, &gemc(dir.path(), verb)));
        }
    }
}

/// Somebody else, who may have no process beside the one.
const NO_THREADS: &[&str] = &[
    "--nproc=1",
    "setpriv",
    "--reuid",
    "65534",
    "--regid",
    "65534",
    "--clear-groups",
];

#[test]
fn without_threads_the_calling_one_does_the_work() {
    let dir = folder();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    let alone = |arguments: &[&str]| {
        let mut command = Command::new("prlimit");
        command
            .args(NO_THREADS)
            .arg(GEMC)
            .args(arguments)
            .env("GEMC_CACHE", dir.path().join("other"))
            .stdin(Stdio::null());
        command
    };
    let inspected = alone(&["inspect", CHECKPOINT]).output();
    if !inspected.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: needs root, prlimit and setpriv, and a build that others may read");
        return;
    }
    let run: &[&str] = &["run", CHECKPOINT, "--prompt", "ab", "-n", "2"];
    assert_eq!(answer(alone(run)), answer(gemc(dir.path(), run)));
    let logits = |backend| {
        [
            "logits",
            CHECKPOINT,
            "--ids",
            "1,5,9",
            "--json",
            "--backend",
            backend,
        ]
    };
    for backend in ["reference", "jit"] {
        let expected = answer(gemc(dir.path(), &logits(backend)));
        assert_eq!(answer(alone(&logits(backend))), expected);
    }
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    answer(gemc(dir.path(), &["build", CHECKPOINT, "-o", text(&ours)]));
    answer(alone(&["build", CHECKPOINT, "-o", text(&theirs)]));
    let weights = |dir: &Path| fs::read(dir.join("model.gemw")).expect("written");
    assert!(weights(&ours) == weights(&theirs), "the same bytes");
    // Who asks for threads is told.
    let (code, _, told) = ended(alone(&[run, &["--threads", "2"]].concat()));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("thread 2 of 2"), "{told}");
}

#[test]
fn closed_streams_are_no_fault() {
    let dir = folder();
    let out = dir.path().join("out");
    let run = ["run", CHECKPOINT, "--prompt", "ab", "-n", "2"];
    for closed in ["exec >&-", "exec 2>&-", "exec <&-", "exec <&- >&- 2>&-"] {
        for verb in [
            &["inspect", CHECKPOINT][..],
            &run,
            &["build", CHECKPOINT, "-o", text(&out)],
        ] {
            let (code, _, told) = ended(limited(closed, &gemc(dir.path(), verb)));
            assert_eq!(code, Some(0), "{closed} {verb:?}: {told}");
        }
        // No result and no note went into a file that took the place of a stream.
        let manifest = fs::read(out.join("manifest.json")).expect("written");
        assert!(serde_json::from_slice::<serde_json::Value>(&manifest).is_ok());
        let (code, ..) = ended(limited(closed, &gemc(dir.path(), &["inspect", "no/such"])));
        assert_eq!(code, Some(1), "{closed}");
    }
}

#[test]
fn numbers_of_threads_in_the_environment_change_nothing() {
    let dir = folder();
    let logits = ["logits", CHECKPOINT, "--ids", "1,5,9", "--json"];
    let expected = answer(gemc(dir.path(), &logits));
    for threads in ["0", "1", "3", "x", "", "100000", "99999999999999999999"] {
        let mut command = gemc(dir.path(), &logits);
        command.env("RAYON_NUM_THREADS", threads);
        assert_eq!(answer(command), expected, "{threads:?}");
    }
}

/// A cargo that does as it is told here, but for telling what crates there are: none.
fn fake_cargo(dir: &Path, build: &str) -> PathBuf {
    let path = dir.join("cargo");
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in metadata) echo '{{\"packages\": []}}'; exit;; esac\n{build}\n"
    );
    fs::write(&path, script).expect("space");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    path
}

fn with_cargo(mut command: Command, cargo: &Path) -> Command {
    command.env("CARGO", cargo);
    command
}

/// Whether a process is there and is not merely waited for.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_killed_command_takes_its_compilers_along() {
    for signal in ["KILL", "TERM", "INT"] {
        let dir = folder();
        let pids = dir.path().join("pids");
        let build = format!(
            "sleep 300 & echo $$ $! > '{0}.new'; mv '{0}.new' '{0}'; wait",
            pids.display()
        );
        let cargo = fake_cargo(dir.path(), &build);
        let out = dir.path().join("out");
        let arguments = ["build", CHECKPOINT, "--bin", "-o", text(&out)];
        let mut child = with_cargo(gemc(dir.path(), &arguments), &cargo)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        eventually("cargo starts", || pids.exists());
        let pids = fs::read_to_string(&pids).expect("two numbers");
        assert!(pids.split_whitespace().all(lives), "they work");
        let killed = Command::new("/bin/sh")
            .args(["-c", "kill -s $1 $2", "sh", signal, &child.id().to_string()])
            .status();
        assert!(killed.expect("a shell").success());
        assert!(!child.wait().expect("it ended").success(), "{signal}");
        eventually("cargo and what it started end", || {
            !pids.split_whitespace().any(lives)
        });
    }
}

#[test]
fn a_program_that_is_run_is_the_process_itself() {
    let dir = folder();
    let program = r#"
release=$CARGO_TARGET_DIR/$(rustc -vV | sed -n 's/^host: //p')/release
mkdir -p "$release"
printf '#!/bin/sh\necho $$ "$@"\nexit 7\n' > "$release/lm-dense-pre-rope"
chmod +x "$release/lm-dense-pre-rope""#;
    let cargo = fake_cargo(dir.path(), program);
    let arguments = [
        "run",
        CHECKPOINT,
        "--backend",
        "rust",
        "--prompt",
        "-a b",
        "-n",
        "2",
    ];
    let child = with_cargo(gemc(dir.path(), &arguments), &cargo)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let pid = child.id().to_string();
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7), "{told}");
    assert!(
        said.starts_with(&format!("{pid} --weights ")),
        "{pid}: {said}"
    );
    assert!(said.ends_with(" --prompt -a b -n 2\n"), "{said}");
}

#[test]
fn folders_of_any_name_give_crates_that_cargo_takes() {
    let dir = folder();
    for (name, expected) in [
        ("log", "model-log"),
        ("gen", "model-gen"),
        ("rand_core", "model-rand-core"),
        ("CON", "model-con"),
        ("std", "model-std"),
        ("u8", "model-u8"),
        ("qu\"ote {x}\n```", "qu-ote-x"),
    ] {
        let checkpoint = dir.path().join(name);
        copy(Path::new(CHECKPOINT), &checkpoint);
        let out = dir.path().join("out");
        answer(gemc(
            dir.path(),
            &["build", text(&checkpoint), "-o", text(&out)],
        ));
        let manifest = fs::read_to_string(out.join("Cargo.toml")).expect("written");
        assert!(
            manifest.contains(&format!("\nname = \"{expected}\"\n")),
            "{manifest}"
        );
        let update = Command::new(env!("CARGO"))
            .args(["update", "--workspace", "--offline", "--locked"])
            .current_dir(&out)
            .output()
            .expect("cargo runs this test");
        let said = String::from_utf8_lossy(&update.stderr);
        assert!(update.status.success(), "{name}: {said}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    for item in fs::read_dir(from).expect("a folder") {
        let path = item.expect("listed").path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("space");
        }
    }
}
