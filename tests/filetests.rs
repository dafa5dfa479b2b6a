//! Every `.gemk` file under `filetests/`: kernel IR in text form, commands, and what they must print.
//!
//! `GEM_BLESS=1` writes what the commands print into the files; see `docs/kernel-ir.md` for the commands.

use gem_tests::gemk::{Outcome, blessed, files, outcome};
use libtest_mimic::{Arguments, Failed, Trial};
use std::fs;
use std::path::Path;

fn main() {
    let arguments = Arguments::from_args();
    let files = files().expect("the folder of filetests is part of the repository");
    assert!(!files.is_empty(), "no filetests");
    let trials = files
        .into_iter()
        .map(|(name, path)| Trial::test(name.clone(), move || check(&path, &name)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
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
