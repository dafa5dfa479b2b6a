//! Every `.gemk` file under `filetests/`: kernel IR in text form, commands, and what they must print.
//!
//! `GEM_BLESS=1` writes what the commands print into the files; see `docs/kernel-ir.md` for the commands.

use gem_tests::filetest::{Outcome, blessed, outcome};
use gem_tests::needs;
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::{Path, PathBuf};
use std::{fs, io};

fn main() {
    let arguments = Arguments::from_args();
    let root = needs::repository("tests/filetests");
    let mut files = Vec::new();
    collect(&root, &mut files).expect("the folder of filetests is part of the repository");
    files.sort();
    assert!(!files.is_empty(), "no filetests in {}", root.display());
    let trials = files
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(&root)
                .unwrap_or(&path)
                .display()
                .to_string();
            Trial::test(name.clone(), move || check(&path, &name))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "gemk") {
            files.push(path);
        }
    }
    Ok(())
}

fn check(path: &Path, name: &str) -> Result<(), Failed> {
    let text = fs::read_to_string(path)?;
    match outcome(&text)? {
        Outcome::Same => Ok(()),
        Outcome::Differs { new, .. } if blessed() => Ok(fs::write(path, new)?),
        Outcome::Differs { diff, .. } => Err(format!(
            "{diff}\nIf this is right: GEM_BLESS=1 cargo test --profile ci -p gem-tests --test filetests -- {name}"
        )
        .into()),
    }
}
