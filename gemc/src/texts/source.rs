//! What a user gives and what a checkpoint has -> where texts are read from: one rule for all verbs.

use std::path::{Path, PathBuf};

use gem_runtime::regular;

use super::{TextsError, packaged};
use crate::import::{Split, text_files};

/// Bytes of a plain text at most.
const LONGEST: u64 = 256 << 20;

/// Where texts are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextSource {
    /// The checkpoint's own folder.
    Own(PathBuf),
    /// A folder of `<domain>.jsonl` that was given.
    Folder(PathBuf),
    /// One file that was given: `<domain>.jsonl`, or plain text.
    File(PathBuf),
    /// Those that gemc has.
    Packaged(Split),
}

impl TextSource {
    /// What is given, else what the checkpoint's folder has, else what gemc has.
    ///
    /// # Errors
    /// When nothing is where texts were said to be, or the checkpoint's folder cannot be read.
    pub fn find(checkpoint: &Path, split: Split, given: Option<&Path>) -> Result<Self, TextsError> {
        let Some(path) = given else {
            let own = checkpoint.join(split.folder());
            return Ok(match text_files(&own)?.is_empty() {
                true => Self::Packaged(split),
                false => Self::Own(own),
            });
        };
        match path {
            path if path.is_dir() => Ok(Self::Folder(path.to_owned())),
            path if regular::is_there(path) => Ok(Self::File(path.to_owned())),
            path => Err(TextsError::Missing(format!(
                "{}: no folder or file of texts",
                path.display()
            ))),
        }
    }

    /// What plans and reports call it; nothing of a checkpoint's own.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Own(_) => None,
            Self::Folder(path) | Self::File(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                Some(format!("{}, given", name.to_string_lossy().escape_debug()))
            }
            Self::Packaged(split) => Some(format!(
                "{}, SHA-256 {}",
                packaged::NAME,
                packaged::digest(*split)
            )),
        }
    }

    /// Where it is, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Own(path) | Self::Folder(path) | Self::File(path) => path.display().to_string(),
            Self::Packaged(_) => packaged::NAME.to_owned(),
        }
    }
}

/// The text of a plain file.
pub(super) fn plain(path: &Path) -> Result<String, TextsError> {
    let missing = |what: String| TextsError::Missing(format!("{}: {what}", path.display()));
    let bytes = regular::read_text(path, LONGEST).map_err(|e| missing(regular::why(&e)))?;
    String::from_utf8(bytes).map_err(|e| {
        missing(format!(
            "is not UTF-8 ({e}); allowed: a plain text, a file <domain>.jsonl, or a folder of those"
        ))
    })
}
