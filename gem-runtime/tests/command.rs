//! The command as a process: exit codes, streams, and that no one's leaving makes it panic.
//!
//! The test program runs itself: with [`AS_PROGRAM`] set it is the command.

use std::ffi::OsString;
use std::fs;
use std::io::{BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use gem_runtime::Engine;
use gem_runtime::protocol::{Client, Peer as _};
use gem_runtime::storage::Weights;
use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "serving/script.rs"]
mod script;
#[allow(dead_code, reason = "each test program uses a part of it")]
mod toy;

#[cfg(target_os = "linux")]
#[path = "command/bundle.rs"]
mod bundle;

const AS_PROGRAM: &str = "GEM_RUNTIME_TEST_AS_PROGRAM";
/// As a value of it: the weights are a part of the file `pack` beside those that are named, from its second byte on.
const MISPLACED: &str = "misplaced";

/// The model of [`MISPLACED`].
fn packed(weights: Weights) -> gem_runtime::Result<Engine> {
    let pack = Path::new(weights.file().unwrap_or_default()).with_file_name("pack");
    let file = fs::File::open(pack).expect("a test put it there");
    script::opened(Weights::open_at(&file, 1, weights.file_bytes())?)
}

fn main() -> ExitCode {
    if let Ok(as_what) = std::env::var(AS_PROGRAM) {
        #[cfg(target_os = "linux")]
        if !bundle::before(&as_what) {
            return ExitCode::SUCCESS;
        }
        return match &*as_what {
            MISPLACED => gem_runtime::cli::main(&script::info(), packed),
            _ => gem_runtime::cli::main(&script::info(), script::opened),
        };
    }
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        })
    };
    let trials = vec![
        trial("help_is_written_and_all_is_well", help),
        trial("usage_errors_end_with_2", usage),
        trial("input_errors_end_with_1", input),
        trial("text_comes_out", text),
        trial("a_line_tells_how_fast_it_came", speed),
        trial("weights_that_had_to_be_read_are_told", misplaced),
        trial("who_stops_reading_stops_nothing", unread),
        trial("a_full_disk_is_an_error", full_disk),
        trial("requests_are_served", served),
        trial("a_check_reads_everything", check),
        #[cfg(target_os = "linux")]
        trial(
            "weights_that_go_away_end_the_program_in_words",
            lost_weights,
        ),
        #[cfg(target_os = "linux")]
        trial(
            "a_bundled_program_needs_no_other_file",
            bundle::runs_from_itself,
        ),
        #[cfg(target_os = "linux")]
        trial(
            "a_program_that_is_renamed_or_deleted_keeps_its_model",
            bundle::file_that_moves,
        ),
        #[cfg(target_os = "linux")]
        trial(
            "a_model_that_is_not_all_there_or_not_its_own_is_told",
            bundle::models_that_are_not_there,
        ),
        #[cfg(target_os = "linux")]
        trial(
            "what_strip_dropped_is_told_with_the_right_order",
            bundle::strip_drops_models,
        ),
        #[cfg(target_os = "linux")]
        trial(
            "a_program_that_may_not_be_read_says_so",
            bundle::unreadable_program,
        ),
        #[cfg(target_os = "linux")]
        trial(
            "bundled_weights_are_mapped_and_not_copied",
            bundle::nothing_is_copied,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A folder with a model; the tokenizer is beside the weights.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(TempDir::new().expect("a folder"));
        folder.write("model.gemw", &toy::weight_file());
        let files = [
            ("tokenizer.json", script::tokenizer_json()),
            ("tokenizer_config.json", script::tokenizer_config()),
        ];
        for (name, json) in files {
            folder.write(name, json.to_string().as_bytes());
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("space");
    }

    /// The command with this folder's weights.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.arg("--weights").arg(self.path("model.gemw"));
        command
    }
}

fn command(arguments: &[&str]) -> Command {
    let itself = std::env::current_exe().expect("a path");
    let mut command = Command::new(itself);
    command.env(AS_PROGRAM, "1").args(arguments);
    command
}

/// Runs a command to its end: exit code, output, errors.
fn ended(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output().expect("a process");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// Runs a command that must fail with a code and one report that names something.
fn refused(command: &mut Command, code: i32, named: &str) {
    let (found, output, errors) = ended(command);
    assert_eq!((found, &*output), (Some(code), ""), "{errors}");
    assert!(
        errors.contains(named) && !errors.contains("panicked"),
        "{errors}"
    );
}

fn help() {
    let (code, output, errors) = ended(&mut command(&["--chat", "--help"]));
    assert_eq!((code, &*errors), (Some(0), ""));
    assert!(output.contains("--prompt TEXT") && !output.contains("NAME"));
}

fn usage() {
    refused(&mut command(&[]), 2, "--prompt");
    refused(&mut command(&["--frobnicate"]), 2, "--frobnicate");
    refused(&mut command(&["--chat", "-n", "x"]), 2, "-n x");
    let folder = Folder::new();
    refused(
        &mut folder.command(&["--prompt", "a", "--temp", "nan"]),
        2,
        "--temp nan",
    );
    refused(
        &mut folder.command(&["--prompt", "a", "--threads", "0"]),
        2,
        "threads",
    );
    refused(
        &mut folder.command(&["--prompt", "a", "--context", "9999"]),
        2,
        "context",
    );
}

fn input() {
    let folder = Folder::new();
    refused(&mut folder.command(&["--prompt", ""]), 1, "no tokens");
    refused(&mut folder.command(&["--text", "a"]), 1, "classify");
    refused(&mut command(&["--chat"]), 1, "model.gemw");
    refused(
        &mut command(&["--chat", "--weights", "/nowhere/x"]),
        1,
        "/nowhere/x",
    );
    refused(&mut not_utf8(), 1, "UTF-8");
    folder.write("tokenizer.json", b"{");
    refused(&mut folder.command(&["--chat"]), 1, "tokenizer.json");
    fs::remove_file(folder.path("tokenizer.json")).expect("there");
    refused(&mut folder.command(&["--chat"]), 1, "no tokenizer");
    folder.write("model.gemw", b"GEMW");
    refused(&mut folder.command(&["--chat"]), 1, "weight file");
}

#[cfg(unix)]
fn not_utf8() -> Command {
    use std::os::unix::ffi::OsStringExt as _;
    let mut command = command(&["--prompt"]);
    command.arg(OsString::from_vec(vec![0xff, b'a']));
    command
}

#[cfg(not(unix))]
fn not_utf8() -> Command {
    use std::os::windows::ffi::OsStringExt as _;
    let mut command = command(&["--prompt"]);
    command.arg(OsString::from_wide(&[0xd800]));
    command
}

fn text() {
    let folder = Folder::new();
    let (code, output, errors) = ended(&mut folder.command(&["--prompt", "a", "--quiet"]));
    assert_eq!((code, &*output, &*errors), (Some(0), "h\u{e9}llo\n", ""));
}

/// The last line on standard error, whatever form the answer has; none where nothing was generated.
fn speed() {
    let folder = Folder::new();
    for more in [&["--prompt", "a"][..], &["--prompt", "a", "--json"]] {
        let (code, _, errors) = ended(&mut folder.command(more));
        assert_eq!((code, errors.lines().count()), (Some(0), 1), "{errors}");
        for words in [
            "prompt ",
            " tokens, ",
            " tokens/s; generated ",
            "first token after ",
            "MB weights",
        ] {
            assert!(errors.contains(words), "`{words}` in {errors}");
        }
    }
    let (code, output, errors) = ended(&mut folder.command(&["--prompt", "a", "-n", "0"]));
    assert_eq!((code, &*output, &*errors), (Some(0), "\n", ""));
}

fn misplaced() {
    let folder = Folder::new();
    folder.write("pack", &[&[0], &*toy::weight_file()].concat());
    let mut command = folder.command(&["--prompt", "a", "--quiet"]);
    let (code, output, errors) = ended(command.env(AS_PROGRAM, MISPLACED));
    assert_eq!((code, &*output), (Some(0), "h\u{e9}llo\n"), "{errors}");
    let said = "warning: the weights begin at byte 1 of a file, which is no multiple of 64";
    assert!(errors.starts_with(said), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

fn unread() {
    let folder = Folder::new();
    let mut child = folder
        .command(&["--prompt", "a"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

/// Where the system has a device that is always full.
fn full_disk() {
    let device = Path::new("/dev/full");
    if !device.exists() {
        return;
    }
    let full = || {
        fs::OpenOptions::new()
            .write(true)
            .open(device)
            .expect("a device")
    };
    let folder = Folder::new();
    for arguments in [&["--prompt", "a"][..], &["--help"]] {
        let output = folder
            .command(arguments)
            .stdout(full())
            .output()
            .expect("a process");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.contains("standard output") && !errors.contains("panicked"),
            "{errors}"
        );
    }
    // Nowhere to complain to, either.
    let status = command(&["--frobnicate"]).stderr(full()).status();
    assert_eq!(status.expect("a process").code(), Some(2));
}

fn served() {
    let folder = Folder::new();
    // Requests need no tokenizer.
    fs::remove_file(folder.path("tokenizer.json")).expect("there");
    let mut child = folder
        .command(&["--serve"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let from = BufReader::new(child.stdout.take().expect("piped"));
    let mut client = Client::new(from, child.stdin.take().expect("piped"));
    assert_eq!(client.info().expect("an answer").vocab_size, script::VOCAB);
    drop(client);
    assert_eq!(child.wait().expect("an end").code(), Some(0));
    let mut child = folder
        .command(&["--serve"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a process");
    let mut to = child.stdin.take().expect("piped");
    to.write_all(b"no frame at all").expect("a reader");
    drop(to);
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("protocol"));
}

fn check() {
    let folder = Folder::new();
    let weights = folder.path("model.gemw");
    let bytes = fs::read(&weights).expect("there");
    let (code, output, errors) = ended(&mut folder.command(&["--check"]));
    assert_eq!((code, &*errors), (Some(0), ""));
    let said = format!(
        "{}: {} bytes, intact, checked in ",
        weights.display(),
        bytes.len()
    );
    assert!(
        output.starts_with(&said) && output.ends_with(" s; tokenizer sound; kernels of portable\n"),
        "{output}"
    );
    assert_eq!(output.lines().count(), 1);
    let (code, output, errors) = ended(&mut folder.command(&["--check", "--json"]));
    assert_eq!((code, &*errors), (Some(0), ""));
    let found: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!(found["file"], weights.display().to_string());
    assert_eq!(
        (&found["bytes"], &found["intact"]),
        (&bytes.len().into(), &true.into())
    );
    refused(&mut folder.command(&["--check", "--chat"]), 2, "--check");
    // A weight and the padding behind it.
    for at in [bytes.len() - 64, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x80;
        folder.write("model.gemw", &damaged);
        refused(
            &mut folder.command(&["--check"]),
            1,
            "model.gemw is damaged",
        );
        // Without being asked, nobody reads all weights.
        assert_eq!(ended(&mut folder.command(&["--prompt", "a"])).0, Some(0));
    }
    folder.write("model.gemw", &bytes[..bytes.len() - 1]);
    refused(&mut folder.command(&["--check"]), 1, "model.gemw has");
    folder.write("model.gemw", &bytes);
    // A template that nobody can read takes nothing but conversations away, and a check tells of it.
    folder.write("chat_template.jinja", b"\n{% frobnicate %}");
    refused(
        &mut folder.command(&["--check"]),
        1,
        "chat_template.jinja: line 2: unknown tag `frobnicate`",
    );
    assert_eq!(ended(&mut folder.command(&["--prompt", "a"])).0, Some(0));
    fs::remove_file(folder.path("chat_template.jinja")).expect("there");
    folder.write("tokenizer.json", b"{");
    refused(&mut folder.command(&["--check"]), 1, "tokenizer.json");
    fs::remove_file(folder.path("tokenizer.json")).expect("there");
    let (code, output, _) = ended(&mut folder.command(&["--check"]));
    assert!(
        code == Some(0) && output.contains("no tokenizer"),
        "{output}"
    );
}

/// Cut short between two requests: to less than a page, so that what was mapped is gone.
#[cfg(target_os = "linux")]
fn lost_weights() {
    use std::os::unix::process::ExitStatusExt as _;
    let folder = Folder::new();
    let mut child = folder
        .command(&["--chat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut to = child.stdin.take().expect("piped");
    to.write_all(b"a\n").expect("a reader");
    let mut first = [0];
    let from = child.stdout.as_mut().expect("piped");
    from.read_exact(&mut first).expect("an answer");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(folder.path("model.gemw"));
    file.and_then(|file| file.set_len(100)).expect("ours");
    to.write_all(b"a\n").expect("a reader");
    drop(to);
    let output = child.wait_with_output().expect("an end");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), None, "{errors}");
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(
        errors.contains("model.gemw") && errors.contains("cut short"),
        "{errors}"
    );
}
