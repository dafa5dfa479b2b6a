//! A GGUF file -> what a folder would hold: a config as transformers writes it, tensors by their names there, and the files of
//! the tokenizer.
//!
//! So the front ends of families read both containers. What differs is told in three places: [`config`] has the keys, [`names`] the
//! tensors, and `Source::has_pairs` and `Source::has_whole_norms` say what weights are stored differently.

mod config;
mod names;
mod tokenizer;

use std::collections::BTreeSet;
use std::path::Path;

use gem_runtime::text::TextFolder;
use serde_json::{Map, Value as Json};

use super::error::{Finding, ImportError};
use super::files::TensorFiles;
use super::files::gguf::{Gguf, Value};
use super::keys::{KeyAccount, KeyUse};
pub use names::Architecture;

/// A model in one file.
pub struct GgufModel {
    /// What `config.json` would say.
    pub config: Map<String, Json>,
    /// Tensors by the names that transformers gives them.
    pub files: TensorFiles,
    /// What became of every entry of the metadata.
    pub keys: KeyAccount,
    /// What is stored differently.
    pub architecture: &'static Architecture,
    /// The tokenizer and what belongs to it.
    pub texts: TextFolder,
}

/// Opens a file.
///
/// # Errors
/// When it is no GGUF file, or of a model that is not read.
pub fn open(path: &Path) -> Result<GgufModel, ImportError> {
    let name = path.file_name().unwrap_or(path.as_os_str());
    let name = name.to_string_lossy().into_owned();
    let wrong = |what: String| Finding::file(&name, what);
    let (mut gguf, map) = TensorFiles::map_gguf(path).map_err(wrong)?;
    let Understood {
        config,
        keys,
        architecture,
        texts,
    } = understood(&gguf, &map).map_err(wrong)?;
    for tensor in &mut gguf.tensors {
        if let Some(path) = architecture.transformers(&tensor.name) {
            tensor.shape = names::shape(&path, std::mem::take(&mut tensor.shape));
            tensor.name = path;
        }
    }
    gguf.tensors
        .retain(|tensor| tensor.name != names::FREQUENCIES);
    Ok(GgufModel {
        config,
        files: TensorFiles::of_gguf(name, map, gguf.tensors)?,
        keys,
        architecture,
        texts,
    })
}

/// The tokenizer in a file and what belongs to it, whatever model the file is of.
///
/// # Errors
/// When it is no GGUF file, or has a tokenizer that is not rebuilt.
pub fn texts(path: &Path) -> Result<TextFolder, ImportError> {
    let name = path.file_name().unwrap_or(path.as_os_str());
    let wrong = |what: String| Finding::file(name.to_string_lossy(), what);
    let (gguf, _) = TensorFiles::map_gguf(path).map_err(wrong)?;
    Ok(tokenizer::files(&Metadata::new(&gguf.metadata)).map_err(wrong)?)
}

/// What the metadata of a file says.
pub struct Understood {
    config: Map<String, Json>,
    keys: KeyAccount,
    architecture: &'static Architecture,
    texts: TextFolder,
}

/// Reads the metadata of a parsed file.
///
/// # Errors
/// With what is missing or wrong.
pub fn understood(gguf: &Gguf, file: &[u8]) -> Result<Understood, String> {
    let metadata = Metadata::new(&gguf.metadata);
    let architecture = metadata.architecture()?;
    Ok(Understood {
        config: config::of(architecture, &metadata, &gguf.tensors, file)?,
        texts: tokenizer::files(&metadata)?,
        keys: metadata.account(architecture.name)?,
        architecture,
    })
}

/// Entries of the metadata, and which of them were read.
pub struct Metadata<'a> {
    entries: &'a std::collections::BTreeMap<String, Value>,
    read: std::cell::RefCell<BTreeSet<String>>,
}

impl<'a> Metadata<'a> {
    fn new(entries: &'a std::collections::BTreeMap<String, Value>) -> Self {
        Self {
            entries,
            read: Default::default(),
        }
    }

    /// A value, if there is one.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.entries.get(key)
    }

    fn wrong<T>(&self, key: &str, allowed: &str) -> Result<Option<T>, String> {
        match self.entries.get(key) {
            None => Ok(None),
            Some(value) => Err(format!(
                "metadata: `{key}` is {}; allowed: {allowed}",
                super::error::shown(&format!("{value:?}"))
            )),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        match self.get(key) {
            Some(Value::Text(text)) => Ok(Some(text)),
            _ => self.wrong(key, "a string"),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        match self.get(key) {
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            _ => self.wrong(key, "a flag"),
        }
    }

    fn count(&self, key: &str) -> Result<Option<u64>, String> {
        let found = match self.get(key) {
            Some(Value::Integer(n)) => u64::try_from(*n).ok(),
            _ => None,
        };
        found.map_or_else(|| self.wrong(key, "a whole number"), |n| Ok(Some(n)))
    }

    fn number(&self, key: &str) -> Result<Option<f64>, String> {
        match self.get(key) {
            Some(Value::Float(x)) => Ok(Some(*x)),
            Some(Value::Integer(n)) => Ok(Some(*n as f64)),
            _ => self.wrong(key, "a number"),
        }
    }

    fn list<T>(
        &self,
        key: &str,
        allowed: &str,
        item: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, String> {
        let items = match self.get(key) {
            Some(Value::List(items)) => items.iter().map(item).collect(),
            _ => None,
        };
        items.map_or_else(|| self.wrong(key, allowed), |items| Ok(Some(items)))
    }

    /// An entry, before it is read.
    fn entry(&self, key: &str) -> Option<&'a Value> {
        self.entries.get(key)
    }

    fn flags(&self, key: &str) -> Result<Option<Vec<bool>>, String> {
        self.list(key, "a list of flags", |item| match item {
            Value::Bool(flag) => Some(*flag),
            Value::Integer(n) => Some(*n != 0),
            _ => None,
        })
    }

    fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>, String> {
        self.list(key, "a list of strings", |item| match item {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, String> {
        self.list(key, "a list of whole numbers", |item| match item {
            Value::Integer(n) => i64::try_from(*n).ok(),
            _ => None,
        })
    }

    fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, String> {
        self.list(key, "a list of numbers", |item| match item {
            Value::Float(x) => Some(*x),
            _ => None,
        })
    }

    fn architecture(&self) -> Result<&'static Architecture, String> {
        let name = self.text("general.architecture")?;
        let name = name.ok_or("metadata: `general.architecture` is missing")?;
        Architecture::find(name).ok_or_else(|| {
            let known: Vec<&str> = names::ARCHITECTURES.iter().map(|a| a.name).collect();
            format!(
                "holds a model of architecture \"{}\"; allowed: {}",
                super::error::shown(name),
                known.join(", ")
            )
        })
    }

    /// What became of every entry. Those of the architecture that nobody read may change what is computed.
    fn account(&self, architecture: &str) -> Result<KeyAccount, String> {
        let read = self.read.borrow();
        let own = format!("{architecture}.");
        let mut account = KeyAccount::new();
        for key in self.entries.keys() {
            if read.contains(key) {
                account.push((key.clone(), KeyUse::Used));
            } else if key.starts_with(&own) {
                return Err(format!(
                    "metadata: `{}` is not read",
                    super::error::shown(key)
                ));
            } else {
                let why = "it says nothing of what is computed";
                account.push((key.clone(), KeyUse::Ignored(why.to_owned())));
            }
        }
        Ok(account)
    }
}
