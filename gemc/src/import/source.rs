//! What a front end reads: a config, and the tensors of the files; with notes on what becomes of each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use gem_runtime::regular;
use serde_json::{Map, Value};

use super::checkpoint::TensorUse;
use super::error::{Finding, Findings};
use super::files::{StoredType, TensorFiles};
use super::gguf::Architecture;
use super::json;
use crate::graph::View;

/// Tensors of the largest model that is built.
const MOST_TENSORS: usize = 1 << 20;

/// A tensor that a config asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Path in the files.
    pub path: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
}

/// A config and, when a checkpoint is read, its tensor files.
#[derive(Debug)]
pub struct Source<'a> {
    /// The object of `config.json`.
    pub config: &'a Map<String, Value>,
    files: Option<&'a TensorFiles>,
    dir: Option<&'a Path>,
    differences: Option<&'static Architecture>,
    uses: BTreeMap<String, TensorUse>,
    wanted: Vec<Wanted>,
    beside: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl<'a> Source<'a> {
    /// Of a checkpoint.
    #[must_use]
    pub fn of_files(config: &'a Map<String, Value>, files: &'a TensorFiles) -> Self {
        Self {
            files: Some(files),
            ..Self::of_config(config)
        }
    }

    /// Of a config alone: every tensor that is asked for counts as being there, by the name that is asked for first.
    #[must_use]
    pub fn of_config(config: &'a Map<String, Value>) -> Self {
        Self {
            config,
            files: None,
            dir: None,
            differences: None,
            uses: BTreeMap::new(),
            wanted: Vec::new(),
            beside: RefCell::default(),
        }
    }

    /// Says where files beside the tensors are.
    #[must_use]
    pub fn with_folder(mut self, dir: &'a Path) -> Self {
        self.dir = Some(dir);
        self
    }

    /// Whether a file stands beside the tensors.
    #[must_use]
    pub fn has_file(&self, name: &str) -> bool {
        self.dir
            .is_some_and(|dir| regular::is_there(&dir.join(name)))
    }

    /// A small file beside the tensors, if it is there; notes a finding where it cannot be read.
    pub fn file(&self, name: &str, findings: &mut Findings) -> Option<Vec<u8>> {
        const LONGEST: u64 = 4 << 20;
        let path = self.dir?.join(name);
        if !regular::is_there(&path) {
            return None;
        }
        let read = json::read_bounded(&path, name, LONGEST);
        let bytes = read.map_err(|finding| findings.push(finding)).ok()?;
        self.beside
            .borrow_mut()
            .insert(name.to_owned(), bytes.clone());
        Some(bytes)
    }

    /// The files beside the tensors that were read so far, by name.
    #[must_use]
    pub fn beside(&self) -> BTreeMap<String, Vec<u8>> {
        self.beside.borrow().clone()
    }

    /// Says what is stored differently from transformers.
    #[must_use]
    pub fn with_differences(mut self, differences: Option<&'static Architecture>) -> Self {
        self.differences = differences;
        self
    }

    /// Whether rows of queries and keys stand in rotary pairs: (0, 1), (2, 3), …, not (0, half), (1, half + 1), ….
    #[must_use]
    pub fn has_pairs(&self) -> bool {
        self.differences.is_some_and(|d| d.pairs)
    }

    /// Whether weights of norms hold the one that their family adds to them.
    #[must_use]
    pub fn has_whole_norms(&self) -> bool {
        self.differences.is_some_and(|d| d.whole_norms)
    }

    /// What became of the tensors that were asked for or dropped, and those that were asked for, in that order.
    #[must_use]
    pub fn finish(self) -> (BTreeMap<String, TensorUse>, Vec<Wanted>) {
        (self.uses, self.wanted)
    }

    /// Whether the files hold a tensor; where there are none, nothing.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.files.is_some_and(|files| files.find(path).is_some())
    }

    /// How a tensor is stored; `None` where it is not, or in a way that is not read.
    #[must_use]
    pub fn stored_type(&self, path: &str) -> Option<StoredType> {
        let files = self.files?;
        let found = files.find(path)?;
        files.entry(found).stored.clone().ok()
    }

    /// Names in the files, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.files.into_iter().flat_map(TensorFiles::names)
    }

    /// Notes that a tensor of the file is left out.
    pub fn drop(&mut self, path: &str, why: &str) {
        self.uses
            .insert(path.to_owned(), TensorUse::Dropped(why.to_owned()));
    }

    /// All of a tensor that must be there with this shape; notes a finding where it is not, or cannot be read.
    pub fn expect(&mut self, path: &str, shape: &[usize], findings: &mut Findings) -> View {
        let view = View::whole(path, shape);
        let before = self.uses.insert(path.to_owned(), TensorUse::Used);
        // One that was left out before nobody has looked at.
        if before == Some(TensorUse::Used) {
            return view;
        }
        if self.wanted.len() == MOST_TENSORS {
            let finding = Finding::file(super::CONFIG, "asks for too many tensors");
            findings.push(finding.allowed(format!("at most {MOST_TENSORS}")));
        }
        self.wanted.push(Wanted {
            path: path.to_owned(),
            shape: shape.to_vec(),
        });
        let Some(files) = self.files else {
            return view;
        };
        let Some(found) = files.find(path) else {
            self.uses.remove(path);
            let what = format!("is missing; expected shape {shape:?}");
            findings.push(Finding::tensor(path, what));
            return view;
        };
        let entry = files.entry(found);
        if entry.shape != shape {
            let what = format!("has shape {:?}", entry.shape);
            findings.push(Finding::tensor(path, what).allowed(format!("{shape:?}")));
        }
        if let Err(name) = &entry.stored {
            let what = format!("has type {name}");
            findings.push(Finding::tensor(path, what).allowed(StoredType::ALLOWED));
        }
        view
    }

    /// Whether so many tensors were asked for that no graph is to be built of them.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.wanted.len() > MOST_TENSORS
    }

    /// Whether both tensors are there and hold the same bytes.
    #[must_use]
    pub fn same(&self, a: &str, b: &str) -> bool {
        let Some(files) = self.files else {
            return false;
        };
        match (files.find(a), files.find(b)) {
            (Some(a), Some(b)) => {
                let (x, y) = (files.entry(a), files.entry(b));
                x.stored == y.stored && x.shape == y.shape && files.bytes(a) == files.bytes(b)
            }
            _ => false,
        }
    }
}
