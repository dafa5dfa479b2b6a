//! A folder -> the contents of the files beside a model's weights that are about text.
//!
//! Invariant: what is there is read or is an error. Only a name that does not exist counts as absent: a link to nothing,
//! a folder, a pipe and a pointer of Git LFS under one of the names are told as what they are, and never waited for.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::regular;

/// Name of the tokenizer's file.
pub const TOKENIZER: &str = "tokenizer.json";
/// Name of the file with special tokens and, in older checkpoints, the chat template.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Name of the file with sampling defaults.
pub const GENERATION_CONFIG: &str = "generation_config.json";
/// Name of the file with the prompts of an encoder of sentences.
pub const SENTENCE_CONFIG: &str = "config_sentence_transformers.json";
/// Name of the file with the chat template.
pub const CHAT_TEMPLATE: &str = "chat_template.jinja";
/// Name of its older form, a JSON object.
pub(super) const CHAT_TEMPLATE_JSON: &str = "chat_template.json";
/// Folder of chat templates with names.
pub const MORE_CHAT_TEMPLATES: &str = "additional_chat_templates";

/// Bytes of a tokenizer at most.
const LONGEST_TOKENIZER: u64 = 256 << 20;
/// Bytes of one of the other files at most.
const LONGEST_CONFIG: u64 = 4 << 20;

/// What is wrong with one of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The file, as its path in the folder.
    pub file: String,
    /// The key, where it is about one.
    pub key: Option<String>,
    /// What is wrong there, in words.
    pub what: String,
    /// What would be right, where there is more to say than "not this".
    pub allowed: Option<String>,
}

impl Wrong {
    pub(super) fn file(file: &str, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            key: None,
            what: what.into(),
            allowed: None,
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file)?;
        if let Some(key) = &self.key {
            write!(f, "key `{key}`: ")?;
        }
        f.write_str(&self.what)?;
        match &self.allowed {
            Some(allowed) => write!(f, "; allowed: {allowed}"),
            None => Ok(()),
        }
    }
}

impl From<Wrong> for Error {
    fn from(wrong: Wrong) -> Self {
        Self::Text(wrong.to_string())
    }
}

/// Contents of the files; all but the first may be missing.
///
/// ```
/// use gem_runtime::text::TextFiles;
///
/// let files = TextFiles { tokenizer: b"{}", ..TextFiles::default() };
/// assert!(files.chat_templates.is_empty());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TextFiles<'a> {
    /// `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<&'a [u8]>,
    /// `generation_config.json`.
    pub generation_config: Option<&'a [u8]>,
    /// `config_sentence_transformers.json`.
    pub sentence_config: Option<&'a [u8]>,
    /// `chat_template.jinja`, `chat_template.json` and `additional_chat_templates/*.jinja`: name, contents.
    pub chat_templates: &'a [(&'a str, &'a [u8])],
}

/// The files of a folder: name, contents. Names of files in a folder below have a `/`.
///
/// ```
/// use gem_runtime::text::TextFolder;
///
/// let files = TextFolder::of(vec![("tokenizer.json".to_owned(), b"{}".to_vec())]);
/// assert_eq!(files.get("tokenizer.json"), Some(&b"{}"[..]));
/// assert_eq!(files.get("generation_config.json"), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextFolder {
    files: Vec<(String, Vec<u8>)>,
}

impl TextFolder {
    /// Files from anywhere: name as in a folder, contents.
    #[must_use]
    pub const fn of(files: Vec<(String, Vec<u8>)>) -> Self {
        Self { files }
    }

    /// Names of the files that are there, in the order of their weight.
    ///
    /// # Errors
    /// [`Wrong`] when the folder of chat templates cannot be listed.
    pub fn names(dir: &Path) -> Result<Vec<String>, Wrong> {
        let single = [
            TOKENIZER,
            TOKENIZER_CONFIG,
            GENERATION_CONFIG,
            SENTENCE_CONFIG,
            CHAT_TEMPLATE,
            CHAT_TEMPLATE_JSON,
        ];
        // A link to nothing is there, and is told when it is read.
        let is_there = |name: &&str| regular::is_there(&dir.join(name));
        let mut names: Vec<String> = single
            .into_iter()
            .filter(is_there)
            .map(str::to_owned)
            .collect();
        names.extend(more_templates(dir)?);
        Ok(names)
    }

    /// Reads the files of a folder.
    ///
    /// # Errors
    /// [`Wrong`] for one that is none, is too long or cannot be read.
    pub fn read(dir: &Path) -> Result<Self, Wrong> {
        let names = Self::names(dir)?.into_iter();
        let read = |name: String| {
            let longest = match name.as_str() {
                TOKENIZER => LONGEST_TOKENIZER,
                _ => LONGEST_CONFIG,
            };
            match regular::read_text(&dir.join(&name), longest) {
                Ok(bytes) => Ok((name, bytes)),
                Err(error) => Err(Wrong::file(&name, regular::why(&error))),
            }
        };
        Ok(Self {
            files: names.map(read).collect::<Result<_, _>>()?,
        })
    }

    /// Gives a file that is there other contents.
    pub fn replace(&mut self, name: &str, contents: Vec<u8>) {
        if let Some((_, old)) = self.files.iter_mut().find(|(known, _)| known == name) {
            *old = contents;
        }
    }

    /// All of them: name, contents.
    #[must_use]
    pub fn into_files(self) -> Vec<(String, Vec<u8>)> {
        self.files
    }

    /// The contents of one of them.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.files.iter().find(|(known, _)| known == name);
        found.map(|(_, bytes)| &**bytes)
    }

    /// The chat templates among them: name, contents.
    #[must_use]
    pub fn chat_templates(&self) -> Vec<(&str, &[u8])> {
        let files = self.files.iter();
        let all = files.map(|(name, bytes)| (name.as_str(), &**bytes));
        all.filter(|(name, _)| is_chat_template(name)).collect()
    }
}

/// Whether a file of this name holds chat templates alone.
#[must_use]
pub fn is_chat_template(name: &str) -> bool {
    [CHAT_TEMPLATE, CHAT_TEMPLATE_JSON].contains(&name) || template_name(name).is_some()
}

/// The name of a template in the folder of templates.
pub(super) fn template_name(file: &str) -> Option<&str> {
    let file = file.strip_prefix(MORE_CHAT_TEMPLATES)?.strip_prefix('/')?;
    file.strip_suffix(".jinja").filter(|name| !name.is_empty())
}

/// Files of the folder of templates, by name.
fn more_templates(dir: &Path) -> Result<Vec<String>, Wrong> {
    let folder = dir.join(MORE_CHAT_TEMPLATES);
    if !regular::is_there(&folder) {
        return Ok(Vec::new());
    }
    if !folder.is_dir() {
        return Err(Wrong::file(MORE_CHAT_TEMPLATES, "is not a folder"));
    }
    let io = |e| Wrong::file(MORE_CHAT_TEMPLATES, format!("cannot be read: {e}"));
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let name = name
            .to_str()
            .map(|name| format!("{MORE_CHAT_TEMPLATES}/{name}"));
        names.extend(name.filter(|name| template_name(name).is_some_and(|n| !n.starts_with('.'))));
    }
    names.sort_unstable();
    Ok(names)
}
