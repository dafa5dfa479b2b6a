//! Programs with their model in their own file: wherever they are, whatever became of the file since they started, and
//! what they say when the model is not there. The program is this test program.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gem_runtime::bundle::{Bundle, Part, write};
use gem_runtime::file::{Header, Record, Writer, name_hash};
use tempfile::TempDir;

use super::{AS_PROGRAM, ended, refused, script, toy};

/// The program is the command at once.
const COMMAND: &str = "1";
/// The program waits for a line before it looks for its model.
const WAITS: &str = "waits";
/// The program maps its weights, reads all of them, and tells what memory it holds.
const TELLS_MEMORY: &str = "memory";
/// Bytes of weights in the test of memory, instead of a few.
const BYTES: &str = "GEM_BUNDLE_BYTES";

const ANSWER: &str = "h\u{e9}llo\n";
const ORDER: &str = "strip, `gemc bundle`, sign";

/// What the program does before it is the command.
pub fn before(as_what: &str) -> bool {
    match as_what {
        WAITS => {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).expect("a line");
            true
        }
        TELLS_MEMORY => {
            memory();
            false
        }
        _ => true,
    }
}

fn memory() {
    let bundle = Bundle::of_this_program().expect("bundled");
    let model = bundle.models().next().expect("one").to_owned();
    let weights = bundle.weights(&model).expect("sound");
    weights.verify().expect("undamaged");
    let status = fs::read_to_string("/proc/self/status").expect("there");
    status
        .lines()
        .filter(|line| line.starts_with("Rss"))
        .for_each(|line| println!("{line}"));
}

/// A folder with a bundle in it and nothing else.
struct Bundled {
    folder: TempDir,
    path: PathBuf,
}

impl Bundled {
    fn new() -> Self {
        Self::with(&toy::weight_file())
    }

    fn with(weights: &[u8]) -> Self {
        let tokenizer = script::tokenizer_json().to_string();
        let config = script::tokenizer_config().to_string();
        let files = [
            ("model.gemw", weights),
            ("tokenizer.json", tokenizer.as_bytes()),
            ("tokenizer_config.json", config.as_bytes()),
        ];
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("program");
        let itself = std::env::current_exe().expect("a path");
        let bytes = fs::copy(itself, &path).expect("space");
        let mut contents = files.map(|(_, bytes)| bytes);
        let parts = files
            .iter()
            .zip(&mut contents)
            .map(|((name, bytes), content)| Part {
                model: "any",
                name,
                bytes: bytes.len() as u64,
                content,
            });
        let mut parts: Vec<Part<'_>> = parts.collect();
        let file = fs::OpenOptions::new().write(true).open(&path);
        write(bytes, &mut parts, file.expect("ours")).expect("space");
        settled(&path);
        Self { folder, path }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn answers(&self) {
        let (code, output, errors) = ended(&mut asked(&self.path));
        assert_eq!((code, &*output, &*errors), (Some(0), ANSWER, ""));
    }
}

fn program(path: &Path, as_what: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.env(AS_PROGRAM, as_what).args(arguments);
    command
}

fn asked(path: &Path) -> Command {
    program(path, COMMAND, &["--prompt", "a", "--quiet"])
}

/// A program that runs and has not looked for its model yet.
fn started(path: &Path) -> Child {
    let mut command = program(path, WAITS, &["--prompt", "a"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("it starts")
}

/// Waits until a program that was just written can be started: a test beside this one may have forked while it was open for
/// writing, and holds it so until its own child has started.
fn settled(path: &Path) {
    let mut command = program(path, COMMAND, &["--help"]);
    command.stdout(Stdio::null());
    while command
        .status()
        .is_err_and(|e| e.kind() == std::io::ErrorKind::ExecutableFileBusy)
    {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lets it go on; what it says.
fn goes_on(mut child: Child) -> String {
    let mut to = child.stdin.take().expect("piped");
    to.write_all(b"\n").expect("it waits");
    drop(to);
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).expect("UTF-8")
}

pub fn runs_from_itself() {
    let bundled = Bundled::new();
    bundled.answers();
    let (code, output, _) = ended(&mut program(&bundled.path, COMMAND, &["--check"]));
    assert_eq!(code, Some(0));
    assert!(
        output.starts_with("this program (model `any`): ") && output.contains("tokenizer sound"),
        "{output}"
    );
    let engine = script::bundled(&Bundle::open(&bundled.path).expect("sound"));
    assert!(engine.expect("its own").text().is_ok());
    let link = bundled.at("link");
    symlink(&bundled.path, &link).expect("a link");
    let (code, output, _) = ended(&mut asked(&link));
    assert_eq!((code, &*output), (Some(0), ANSWER));
    // What is named comes first.
    let named = program(
        &bundled.path,
        COMMAND,
        &["--prompt", "a", "--weights", "/nowhere/x"],
    );
    refused(&mut { named }, 1, "/nowhere/x");
}

pub fn file_that_moves() {
    let bundled = Bundled::new();
    let child = started(&bundled.path);
    fs::rename(&bundled.path, bundled.at("renamed")).expect("ours");
    fs::write(&bundled.path, "another file").expect("space");
    assert_eq!(goes_on(child), ANSWER, "renamed, and its name taken");
    let child = started(&bundled.at("renamed"));
    fs::remove_file(bundled.at("renamed")).expect("ours");
    assert_eq!(goes_on(child), ANSWER, "deleted");
}

pub fn models_that_are_not_there() {
    // Truncated, as a copy that was interrupted.
    let bundled = Bundled::new();
    let length = fs::metadata(&bundled.path).expect("there").len();
    let file = fs::OpenOptions::new().write(true).open(&bundled.path);
    file.and_then(|file| file.set_len(length - 1))
        .expect("ours");
    settled(&bundled.path);
    refused(&mut asked(&bundled.path), 1, "it was cut short");
    // Of another program.
    let record = Record {
        name_hash: name_hash("other"),
        codec: 0,
        layout: 0,
        offset: 0,
        bytes: 44,
    };
    let bundled = Bundled::with(&weights(record, [3; 32], &[0; 44]));
    refused(
        &mut asked(&bundled.path),
        1,
        "is for another program: layout is",
    );
    // Damaged text.
    let bundled = Bundled::new();
    let mut bytes = fs::read(&bundled.path).expect("there");
    let at = Bundle::open(&bundled.path).expect("sound").payload() as usize + 1000;
    bytes[at] ^= 1;
    fs::write(&bundled.path, &bytes).expect("space");
    settled(&bundled.path);
    refused(
        &mut asked(&bundled.path),
        1,
        "`tokenizer.json` of model `any` differs",
    );
}

fn weights(record: Record, plan_hash: [u8; 32], bytes: &[u8]) -> Vec<u8> {
    let header = Header {
        plan_hash,
        body_bytes: (bytes.len() as u64).next_multiple_of(64),
    };
    let to = std::io::Cursor::new(Vec::new());
    let mut writer = Writer::new(to, header, vec![record]).expect("one record");
    writer.write(0, bytes).expect("in order");
    writer.finish().expect("complete").into_inner()
}

pub fn strip_drops_models() {
    for tool in ["strip", "llvm-strip", "objcopy"] {
        let bundled = Bundled::new();
        let status = Command::new(tool).arg(&bundled.path).status();
        if !status.is_ok_and(|status| status.success()) {
            println!("SKIPPED: needs {tool}");
            continue;
        }
        refused(&mut asked(&bundled.path), 1, ORDER);
        assert!(Bundle::open(&bundled.path).is_err(), "{tool}");
    }
}

/// Who may run a program may not always read it. Root may, so it becomes somebody else.
pub fn unreadable_program() {
    let bundled = Bundled::new();
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    };
    set(&bundled.path, 0o111);
    set(bundled.folder.path(), 0o755);
    let mut command = asked(&bundled.path);
    if fs::File::open(&bundled.path).is_ok() {
        const NOBODY: u32 = 65_534;
        command.uid(NOBODY).gid(NOBODY);
    }
    refused(
        &mut command,
        1,
        "this program cannot be read (Permission denied",
    );
    set(&bundled.path, 0o755);
    bundled.answers();
}

/// Weights of some MB, or of as many as [`BYTES`] says, are mapped: what they take is the file's memory.
pub fn nothing_is_copied() {
    let asked = std::env::var(BYTES)
        .ok()
        .and_then(|bytes| bytes.parse().ok());
    let bytes: u64 = asked.unwrap_or(48 << 20);
    let record = Record {
        name_hash: name_hash("all"),
        codec: 0,
        layout: 0,
        offset: 0,
        bytes,
    };
    let bundled = Bundled::with(&weights(record, [3; 32], &vec![7; bytes as usize]));
    let mut child = program(&bundled.path, TELLS_MEMORY, &[])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let told: Vec<String> = lines.map(|line| line.expect("text")).collect();
    assert!(child.wait().expect("an end").success());
    println!("{bytes} bytes of weights: {told:?}");
    let kilobytes = |name: &str| -> u64 {
        let line = told
            .iter()
            .find(|line| line.starts_with(name))
            .expect("told");
        let number = line.split_whitespace().nth(1).expect("a number");
        number.parse().expect("a number")
    };
    assert!(kilobytes("RssFile:") * 1024 > bytes, "{told:?}");
    assert!(kilobytes("RssAnon:") < 8 << 10, "{told:?}");
}
