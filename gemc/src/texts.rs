//! A checkpoint's texts, or others -> documents as token ids.

mod packaged;
mod plain;
mod source;

use std::path::{Path, PathBuf};

pub use source::TextSource;

use crate::graph::Task;
pub use crate::import::Split;
use crate::import::{Findings, ImportError, TextRecord, for_each_record, text_files};
use crate::pipeline::LoadedCheckpoint;
use crate::planner::Parts;
use crate::sequences::{Origin, Sequence, WINDOW};

/// Why there are no documents.
#[derive(Debug, thiserror::Error)]
pub enum TextsError {
    /// A file of texts, with every line that is wrong.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The tokenizer cannot be read, or refuses a text.
    #[error(transparent)]
    Tokenizer(#[from] gem_runtime::Error),
    /// Something is not there.
    #[error("{0}")]
    Missing(String),
}

/// How much text of each domain is read and made ids of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All documents of every domain.
    All,
    /// Documents until they have so many tokens: [`crate::sequences::windows`] takes no more of a domain.
    Tokens(usize),
    /// Documents until both parts that [`crate::planner::Texts::divide`] makes have what a plan of any effort takes of them.
    Plan,
}

impl Extent {
    /// Whether what was taken of a domain is enough.
    const fn reached(self, taken: Parts) -> bool {
        match self {
            Self::All => false,
            Self::Tokens(most) => taken.fit + taken.search >= most,
            Self::Plan => taken.suffice(),
        }
    }
}

/// Documents of the checkpoint's split, or of what is given in its place ([`TextSource::find`]); `what` they are needed for is
/// said when there is none. They are read as far as they are needed, in the order of the files.
///
/// # Errors
/// Without a tokenizer, without text, and with every line read that is wrong.
pub fn documents(
    loaded: &LoadedCheckpoint,
    split: Split,
    given: Option<&Path>,
    what: &str,
    extent: Extent,
) -> Result<Vec<Sequence>, TextsError> {
    let source = TextSource::find(loaded.checkpoint.dir(), split, given)?;
    read(loaded, &source, what, extent)
}

/// As [`documents`], of a source.
///
/// # Errors
/// As [`documents`].
pub fn read(
    loaded: &LoadedCheckpoint,
    source: &TextSource,
    what: &str,
    extent: Extent,
) -> Result<Vec<Sequence>, TextsError> {
    let facts = loaded.graph.facts();
    let dir = loaded.checkpoint.dir();
    let text = loaded.checkpoint.text();
    let text =
        text.ok_or_else(|| TextsError::Missing(format!("{}: no tokenizer.json", dir.display())))?;
    let tokenizer = text.tokenizer();
    let ids = |record: &TextRecord| match facts.task {
        Task::SequenceClassification | Task::TokenClassification | Task::Embedding => {
            tokenizer.encode_cut(&record.text, facts.max_positions)
        }
        Task::CausalLm => tokenizer.encode_plain(&record.text),
    };
    let mut documents = Vec::new();
    let mut findings = Findings::default();
    for (domain, records) in domains(source)? {
        let mut read = Domain::new(&domain, &ids, extent);
        match records {
            Records::File(path) => {
                for_each_record(&path, &facts.labels, &mut findings, |record| {
                    read.take(record)
                });
            }
            Records::Texts(texts) => {
                let mut records = texts.into_iter().map(|text| TextRecord {
                    text,
                    label: None,
                    document: None,
                });
                while records.next().is_some_and(|record| read.take(record)) {}
            }
        }
        documents.extend(read.finish()?);
    }
    findings.into_result(())?;
    if documents.is_empty() {
        let words = format!(
            "{}: no text {what}; allowed: files <domain>.jsonl, each line {{\"text\": \"…\"}}, or a plain text",
            source.shown()
        );
        return Err(TextsError::Missing(words));
    }
    Ok(documents)
}

/// The texts of a domain.
enum Records {
    /// Lines of a file.
    File(PathBuf),
    /// Whole documents.
    Texts(Vec<String>),
}

/// The domains of a source, by name.
fn domains(source: &TextSource) -> Result<Vec<(String, Records)>, TextsError> {
    let file = |(domain, path)| (domain, Records::File(path));
    match source {
        TextSource::Own(folder) | TextSource::Folder(folder) => {
            Ok(text_files(folder)?.into_iter().map(file).collect())
        }
        TextSource::File(path) => {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let domain = stem.escape_debug().to_string();
            let lines = path.extension().is_some_and(|ending| ending == "jsonl");
            Ok(vec![match lines {
                true => file((domain, path.clone())),
                false => {
                    let text = source::plain(path)?;
                    (domain, Records::Texts(plain::documents(&text)))
                }
            }])
        }
        TextSource::Packaged(split) => {
            let domains = packaged::documents(*split).into_iter();
            Ok(domains
                .map(|(domain, texts)| (domain, Records::Texts(texts)))
                .collect())
        }
    }
}

/// The documents of one domain, in the making.
struct Domain<'a> {
    name: &'a str,
    ids: &'a dyn Fn(&TextRecord) -> gem_runtime::Result<Vec<u32>>,
    extent: Extent,
    taken: Parts,
    /// Texts and documents so far, those without a token included, and the name of the last document.
    counted: (usize, usize),
    last: Option<String>,
    documents: gem_runtime::Result<Vec<Sequence>>,
}

impl<'a> Domain<'a> {
    fn new(
        name: &'a str,
        ids: &'a dyn Fn(&TextRecord) -> gem_runtime::Result<Vec<u32>>,
        extent: Extent,
    ) -> Self {
        Self {
            name,
            ids,
            extent,
            taken: Parts::default(),
            counted: (0, 0),
            last: None,
            documents: Ok(Vec::new()),
        }
    }

    /// Makes a document of a record; whether more are wanted.
    fn take(&mut self, record: TextRecord) -> bool {
        let Ok(documents) = &mut self.documents else {
            return false;
        };
        let (text, before) = self.counted;
        let continues = text > 0 && record.document.is_some() && record.document == self.last;
        let document = if continues { before - 1 } else { before };
        self.counted = (text + 1, document + 1);
        self.last.clone_from(&record.document);
        let origin = Origin {
            document,
            text,
            bytes: record.text.len(),
        };
        match (self.ids)(&record) {
            Ok(ids) if ids.is_empty() => true,
            Ok(ids) => {
                self.taken.push(ids.len());
                documents.push(Sequence {
                    domain: self.name.to_owned(),
                    origin,
                    ids,
                    label: record.label.map(|label| label as usize),
                });
                !self.extent.reached(self.taken)
            }
            Err(error) => {
                self.documents = Err(error);
                false
            }
        }
    }

    fn finish(self) -> gem_runtime::Result<Vec<Sequence>> {
        self.documents
    }
}

/// Tokens of a sequence when documents are cut.
#[must_use]
pub fn window(loaded: &LoadedCheckpoint) -> usize {
    let facts = loaded.graph.facts();
    match facts.task {
        Task::SequenceClassification | Task::TokenClassification | Task::Embedding => {
            facts.max_positions
        }
        Task::CausalLm => WINDOW.min(facts.max_positions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::Texts;
    use crate::sequences::windows;

    #[test]
    fn no_more_text_is_made_ids_of_than_is_taken() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/gem-lm");
        let loaded = crate::pipeline::load(Path::new(dir)).expect("committed");
        let read = |extent| {
            let split = Split::Evaluation;
            documents(&loaded, split, None, "to test with", extent).expect("committed")
        };
        let all = read(Extent::All);
        let window = window(&loaded);
        for most in [1, 300, 4096] {
            let some = read(Extent::Tokens(most));
            assert!(some.len() < all.len());
            assert!(windows(&some, window, most) == windows(&all, window, most));
        }
        // Committed texts are within what plans take: what was planned from them stays as it is.
        assert!(read(Extent::Plan) == all);
    }

    #[test]
    fn a_plan_takes_what_the_highest_effort_wants_of_both_parts() {
        let mut taken = Parts::default();
        let mut documents = Vec::new();
        while !Extent::Plan.reached(taken) {
            taken.push(1000);
            documents.push(Sequence {
                domain: "law".to_owned(),
                ids: vec![1; 1000],
                label: None,
                origin: Origin::default(),
            });
        }
        let texts = Texts::divide(&documents, 256);
        let tokens = |part: &[Sequence]| part.iter().map(|s| s.ids.len()).sum::<usize>();
        assert_eq!(
            (tokens(&texts.fit), tokens(&texts.search)),
            (taken.fit, taken.search)
        );
        assert!(taken.fit >= 131_072 && taken.search >= 24_576);
        assert!(documents.len() < 200);
    }
}
