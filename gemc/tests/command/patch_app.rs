//! `examples/patched` with a small model: an app that fetches patches while it answers, and its server, as processes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, channel};

use gem_runtime::file::Checksum;

use super::patch::{checkpoint, done, of_module, trained, weights};
use super::*;

/// Module 1 of it is `law`; a change there changes the answer to the prompt.
const MODEL: &str = "lm-some-2lora-top2-fallback-domainscar";
const PROMPT: &str = "The license";

/// Longer than any answer or update takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn repository(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the repository").join(path)
}

pub(super) fn copied(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let path = to.join(path.strip_prefix(from).expect("in it"));
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, bytes).expect("written");
    }
}

/// Copies the example: it finds the small model where it stands in the repository, and is built as other tests' apps are.
fn example(folder: &Path) -> PathBuf {
    let (from, to) = (repository("examples/patched"), folder.join("patched"));
    for part in ["src", "tests", "model"] {
        copied(&from.join(part), &to.join(part));
    }
    for manifest in ["Cargo.toml", "model/Cargo.toml"] {
        let text = fs::read_to_string(from.join(manifest)).expect("a manifest");
        let text = ["../../../", "../../"].iter().fold(text, |text, up| {
            text.replace(&format!("\"{up}gem"), &ours("gem"))
        });
        let (text, _profiles) = text.split_once("\n# Development").unwrap_or((&text, ""));
        let text = match manifest {
            "Cargo.toml" => format!("{text}\n[profile.dev]\ndebug = false\n"),
            _ => text.to_owned(),
        };
        fs::write(to.join(manifest), text).expect("written");
    }
    fs::copy(repository("Cargo.lock"), to.join("Cargo.lock")).expect("written");
    to
}

/// The start of a path of one of our crates, quoted.
fn ours(start: &str) -> String {
    format!("\"{}", repository(start).display())
}

/// A checkpoint's answer, by gemc.
fn answer(folder: &Path, of: &str, more: &[&str]) -> String {
    let run = ["run", of, "--plan", "patched/plan.toml", "--prompt", PROMPT];
    let greedy = "-n 40 --temp 0 --top-k 0 --top-p 1 --repeat 1 --quiet --json";
    let run: Vec<&str> = (run.into_iter().chain(greedy.split(' ')))
        .chain(more.iter().copied())
        .collect();
    let told = done(folder, &run);
    let text = told["text"].as_str().expect("a text");
    format!("{PROMPT}{}", text.replace(['\n', '\r'], " "))
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.stderr(Stdio::piped()).spawn().expect("it starts"))
    }
}

/// Lines of a stream, as they come.
fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (to, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The app, its answers and what it tells.
struct App {
    process: Running,
    prompts: ChildStdin,
    answers: Receiver<String>,
    told: Receiver<String>,
}

impl App {
    fn start(program: &Path, state: &Path, server: &str) -> Self {
        let mut process = Running::start(Command::new(program).arg(state).arg(server));
        let child = &mut process.0;
        let answers: ChildStdout = child.stdout.take().expect("piped");
        Self {
            prompts: child.stdin.take().expect("piped"),
            answers: lines(answers),
            told: lines(child.stderr.take().expect("piped")),
            process,
        }
    }

    fn answer(&mut self) -> String {
        writeln!(self.prompts, "{PROMPT}").expect("it reads");
        self.answers.recv_timeout(PATIENCE).expect("an answer")
    }

    /// Waits until it tells this.
    fn tells(&self, what: &str) {
        let mut all = String::new();
        while !all.contains(what) {
            let line = self.told.recv_timeout(PATIENCE);
            assert!(line.is_ok(), "no `{what}` in: {all}");
            all += &line.unwrap_or_default();
            all += "\n";
        }
    }

    /// Ends as prompts do.
    fn end(mut self) {
        drop(self.prompts);
        assert!(self.process.0.wait().expect("it ends").success());
    }
}

/// The same patch, for weights of another plan.
fn foreign(patch: &[u8]) -> Vec<u8> {
    let (mut bytes, digest) = (patch.to_vec(), patch.len() - 8);
    bytes[16] ^= 1;
    let sum = Checksum::of(&bytes[..digest]).to_le_bytes();
    bytes[digest..].copy_from_slice(&sum);
    bytes
}

fn damaged(patch: &[u8]) -> Vec<u8> {
    let mut bytes = patch.to_vec();
    bytes[patch.len() / 2] ^= 1;
    bytes
}

/// Puts a patch where the server looks, whole.
fn publish(folder: &Path, patch: &[u8]) {
    let beside = folder.join("law.new");
    fs::write(&beside, patch).expect("written");
    fs::rename(beside, folder.join("updates/law.gemp")).expect("moved");
}

/// Builds the example, and has its own tests pass, one of them with a patch. Gives the folder of its programs.
fn built(folder: &Path, example: &Path) -> PathBuf {
    // As `tests/apps` do, whose libraries serve here too.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("apps-target");
    let tests = [
        "test",
        "--quiet",
        "--offline",
        "--lib",
        "--bins",
        "--test",
        "between",
    ];
    let output = Command::new(env!("CARGO"))
        .args(tests)
        .args(["--", "--include-ignored"])
        .current_dir(example)
        .env("CARGO_TARGET_DIR", &target)
        .env("GEMC_CACHE", folder.join("cache"))
        .env("PATCHED_LAW", folder.join("1.gemp"))
        .output()
        .expect("cargo runs this test");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", told(&output));
    target.join("debug")
}

/// Plans the model, trains its module twice, and makes a patch of each: `1.gemp` for what was shipped, `2.gemp` for weights
/// that have the first.
fn patches(folder: &Path) {
    let (base, model) = (checkpoint(MODEL), folder.join("models/gem-lm"));
    trained(&base, &model, |_| None);
    let plan = "plan models/gem-lm --effort low --rounding feedback --keep-moments -o patched/plan.toml --json";
    done(folder, &plan.split(' ').collect::<Vec<_>>());
    let build = "build models/gem-lm --plan patched/plan.toml -o 0 --json";
    done(folder, &build.split(' ').collect::<Vec<_>>());
    trained(&base, &folder.join("new-1"), of_module(1));
    trained(&base, &folder.join("new-2"), |name| {
        of_module(1)(name).filter(|_| name.ends_with("b.weight"))
    });
    for (before, number) in [("0/model.gemw", 1), ("1.gemw", 2)] {
        let patch = format!(
            "patch {before} new-{number} --plan patched/plan.toml --module law -o {number}.gemp --json"
        );
        done(folder, &patch.split(' ').collect::<Vec<_>>());
        let apply = format!("apply {before} {number}.gemp -o {number}.gemw");
        done(folder, &apply.split(' ').collect::<Vec<_>>());
    }
}

#[test]
fn an_app_answers_while_its_module_is_replaced() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = root.path();
    let example = example(folder);
    patches(folder);
    let [first, second] = ["1.gemp", "2.gemp"].map(|file| weights(folder, file));
    let law = ["--patched", "law"];
    let shipped = answer(folder, "models/gem-lm", &[]);
    let newer = answer(folder, "new-1", &law);
    let newest = answer(folder, "new-2", &law);
    assert!(shipped != newer && newer != newest && newest != shipped);

    let programs = built(folder, &example);
    fs::create_dir(folder.join("updates")).expect("space");
    let serve = &mut Command::new(programs.join("serve"));
    let mut server = Running::start(serve.arg(folder.join("updates")).arg("127.0.0.1:0"));
    let serving = lines(server.0.stdout.take().expect("piped"));
    let serving = serving.recv_timeout(PATIENCE).expect("its address");
    let (_, address) = serving.rsplit_once(' ').expect("its address");
    let (program, state) = (programs.join("patched"), folder.join("state"));

    let mut app = App::start(&program, &state, address);
    app.tells("start: no patch is applied");
    assert_eq!(app.answer(), shipped);
    publish(folder, &damaged(&first));
    app.tells("update: refused: the patch");
    assert_eq!(app.answer(), shipped);
    publish(folder, &foreign(&first));
    app.tells("is for weights of another plan");
    assert_eq!(app.answer(), shipped);
    publish(folder, &second);
    app.tells("replaces another state of module `law`");
    assert_eq!(app.answer(), shipped);
    publish(folder, &first);
    app.tells("update: the patch of module `law` is applied");
    assert_eq!(app.answer(), newer);
    app.end();

    let mut app = App::start(&program, &state, address);
    app.tells("start: the patch of module `law` is applied");
    assert_eq!(app.answer(), newer);
    publish(folder, &second);
    app.tells("update: the patch of module `law` is applied");
    assert_eq!(app.answer(), newest);
    publish(folder, &first);
    app.tells("replaces another state of module `law`");
    assert_eq!(app.answer(), newest);
    app.end();
    assert_eq!(weights(&state, "model.gemw"), weights(folder, "2.gemw"));
}
