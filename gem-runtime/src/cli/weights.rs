//! `--weights`, the program's own file, or where it is -> the weights it is to use: those of the file that is named, a model
//! that was bundled with it, or the weight file beside it or in the folder above.
//!
//! Linux tells a program its own path through `/proc`. In a container or chroot without it, the first argument says where
//! the program was called, and what that does not find is looked for in the current folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::bundle::{Bundle, Fault};
use crate::error::{Error, Result};
use crate::model::{Engine, WEIGHTS};
use crate::regular;
use crate::storage::Weights;
use crate::text::{Text, TextFolder};

/// Where a model's files are.
#[derive(Debug)]
pub(super) enum Source {
    /// Beside this weight file.
    Folder(PathBuf),
    /// In the program, under this name.
    Bundle(Bundle, String),
}

impl Source {
    /// What `--weights` names, else a bundled model for a program that calls its own one `model`, else what lies beside the
    /// program; `note` hears when the program's own path is not known.
    pub(super) fn find(named: Option<&Path>, model: &str, note: impl FnOnce(&str)) -> Result<Self> {
        if let Some(path) = named {
            return Ok(Self::Folder(path.to_owned()));
        }
        let absent = match Bundle::of_this_program() {
            Ok(bundle) => {
                let model = bundle.model(model)?.to_owned();
                return Ok(Self::Bundle(bundle, model));
            }
            Err(Error::Bundle {
                program,
                fault: fault @ (Fault::Absent | Fault::Unreadable(_)),
            }) => format!("{program} {fault}"),
            Err(error) => return Err(error),
        };
        match find(note) {
            Err(Error::Text(what)) => Err(Error::Text(format!("{what}; {absent}"))),
            found => found.map(Self::Folder),
        }
    }

    /// What it is called when it is lost.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            Self::Bundle(..) => "its own file".to_owned(),
        }
    }

    pub(super) fn weights(&self) -> Result<Weights> {
        match self {
            Self::Folder(path) => Weights::open(path),
            Self::Bundle(bundle, model) => bundle.weights(model),
        }
    }

    /// Adds the tokenizer beside the weights to an engine that has none.
    pub(super) fn with_text(&self, engine: Engine) -> Result<Engine> {
        if engine.text().is_ok() {
            return Ok(engine);
        }
        let vocab = engine.info().vocab_size;
        let text = match self {
            Self::Folder(path) => Text::open(path.parent().unwrap_or(Path::new("")), vocab)?,
            Self::Bundle(bundle, model) => {
                let files: TextFolder = bundle.text_folder(model)?;
                Text::of_folder(&files, vocab)?
            }
        };
        Ok(engine.with_text(text))
    }
}

/// The weight file; `note` hears when the program's own path is not known.
fn find(note: impl FnOnce(&str)) -> Result<PathBuf> {
    let program = std::env::current_exe();
    if program.is_err() {
        note(
            "the system does not say where the program is (no /proc); looking for model.gemw by the name it was called \
             with, then in the current folder",
        );
    }
    first(&places(program.ok(), std::env::args_os().next()))
}

/// Where the weight file may be: of a program at `own`, or where that is not known, called as `called`.
fn places(own: Option<PathBuf>, called: Option<OsString>) -> Vec<PathBuf> {
    let beside = |program: &Path| -> Vec<PathBuf> {
        let folders = program.ancestors().skip(1).take(2);
        folders.map(|folder| folder.join(WEIGHTS)).collect()
    };
    if let Some(own) = own {
        return beside(&own);
    }
    let called = PathBuf::from(called.unwrap_or_default());
    let here = called
        .parent()
        .is_none_or(|folder| folder.as_os_str().is_empty());
    // A bare name was looked up in a list of folders, which says nothing of this one.
    let mut places = if here { Vec::new() } else { beside(&called) };
    places.push(WEIGHTS.into());
    places
}

/// The first place with something there.
fn first(places: &[PathBuf]) -> Result<PathBuf> {
    let found = places.iter().find(|path| regular::is_there(path));
    found.cloned().ok_or_else(|| {
        let places: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
        let why = format!(
            "not beside the program nor in the folder above it (looked for {}); give its path with --weights",
            places.join(", ")
        );
        Error::text(WEIGHTS, why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(own: Option<&str>, called: Option<&str>) -> Vec<String> {
        let places = places(own.map(PathBuf::from), called.map(OsString::from));
        places.iter().map(|p| p.display().to_string()).collect()
    }

    #[test]
    fn a_program_that_knows_its_path_looks_nowhere_else() {
        let known = ["/opt/m/bin/model.gemw", "/opt/m/model.gemw"];
        assert_eq!(of(Some("/opt/m/bin/m"), Some("m")), known);
        assert_eq!(of(Some("/m"), Some("x/y")), ["/model.gemw"]);
    }

    #[test]
    fn a_program_without_proc_goes_by_its_name_and_the_folder_it_is_in() {
        let chroot = ["/model.gemw", "model.gemw"];
        assert_eq!(of(None, Some("/prog")), chroot);
        let relative = ["./bin/model.gemw", "./model.gemw", "model.gemw"];
        assert_eq!(of(None, Some("./bin/m")), relative);
        assert_eq!(of(None, Some("m")), ["model.gemw"], "found by PATH");
        assert_eq!(of(None, None), ["model.gemw"]);
    }

    #[test]
    fn what_is_not_found_says_where_it_was_looked_for() {
        let error = first(&["no/such/model.gemw".into()]).expect_err("none");
        let error = error.to_string();
        assert!(
            error.contains("no/such/model.gemw") && error.contains("--weights"),
            "{error}"
        );
    }
}
