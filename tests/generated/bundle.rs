//! A program of generated crates with all its models behind it: each finds its own by name, computes what it does with
//! weights from a folder, and has the licence texts of its checkpoint.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use gem_runtime::License;
use gem_tests::needs::repository;
use gemc::output::OutputFile;
use gemc::package::{BUNDLE, bundle};
use gemc::target::Target;
use gemc_format::Codec;

use super::workspace::{BUNDLED, Case, Workspace};

/// Whatever is in it, it is the same at run time.
const LICENSE: &str = "Free \"as\"\r\nit is.\n";

#[test]
fn generated_models_open_from_their_own_program() {
    let portable = || Target::find("portable").expect("it is embedded");
    let licensed = tempfile::tempdir().expect("a folder");
    let checkpoint = repository("examples/checkpoints/lm-dense-pre-rope");
    for item in fs::read_dir(checkpoint).expect("committed") {
        let path = item.expect("listed").path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, licensed.path().join(name)).expect("space");
        }
    }
    fs::write(licensed.path().join("LICENSE.txt"), LICENSE).expect("space");
    let cases = [
        Case::of(licensed.path(), "licensed", Codec::B8, portable()),
        Case::new("cls-final-2mlp-top1-fallback", Codec::N4, portable()),
    ];
    let workspace = Workspace::new("bundled", &cases);
    let names = &workspace.names;
    let lines = |name: &String| format!("{name} 2 1 1,5,3\n{name} license 1 1\n");
    let input: String = names.iter().map(lines).collect();
    let expected = workspace.run(input.clone());
    let license = License::new("LICENSE.txt", LICENSE);
    assert_eq!(expected[1], format!("{:?}", [license]));
    assert_eq!(expected[3], "[]");

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("one");
    let models: Vec<_> = names
        .iter()
        .map(|name| (None, workspace.folder(name)))
        .collect();
    let to = OutputFile::attempt(&path, BUNDLE).expect("nothing is there");
    let bundled = bundle(&workspace.program(), &models, &to).expect("a program and models");
    assert_eq!(bundled.models.len(), 2);
    let mut child = Command::new(&path)
        .env(BUNDLED, "1")
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut to = child.stdin.take().expect("piped");
    to.write_all(input.as_bytes()).expect("it reads");
    drop(to);
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8(output.stdout).expect("digits");
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}
