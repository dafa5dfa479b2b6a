//! A checkpoint's texts, or those of a folder -> documents as token ids.

use std::path::Path;

use gem_runtime::text::Text;

use crate::graph::Task;
use crate::import::{ImportError, Split, read_texts};
use crate::pipeline::Loaded;
use crate::verify::{Sequence, WINDOW};

/// Why there are no documents.
#[derive(Debug, thiserror::Error)]
pub enum TextsError {
    /// A file of texts, with every line that is wrong.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] gem_runtime::Error),
    /// Something is not there.
    #[error("{0}")]
    Missing(String),
}

/// All documents of the checkpoint's split, or of another folder; `what` they are needed for is said when there is none.
///
/// # Errors
/// Without a tokenizer, without text, and with every line that is wrong.
pub fn documents(
    loaded: &Loaded,
    split: Split,
    folder: Option<&Path>,
    what: &str,
) -> Result<Vec<Sequence>, TextsError> {
    let facts = loaded.graph.facts();
    let dir = loaded.checkpoint.dir();
    let text = Text::open(dir, facts.vocab_size as u32)?
        .ok_or_else(|| TextsError::Missing(format!("{}: no tokenizer.json", dir.display())))?;
    let classifies = facts.task == Task::SequenceClassification;
    let texts = match folder {
        Some(folder) if !folder.is_dir() => {
            let words = format!("{}: no folder of texts", folder.display());
            return Err(TextsError::Missing(words));
        }
        Some(folder) => read_texts(folder, &facts.labels)?,
        None => loaded.checkpoint.texts(split)?,
    };
    let mut documents = Vec::new();
    for (domain, records) in texts {
        for record in records {
            let ids = if classifies {
                text.tokenizer()
                    .encode_cut(&record.text, facts.max_positions)?
            } else {
                text.tokenizer().encode_plain(&record.text)?
            };
            if !ids.is_empty() {
                documents.push(Sequence {
                    domain: domain.clone(),
                    ids,
                    label: record.label.map(|label| label as usize),
                });
            }
        }
    }
    if documents.is_empty() {
        let own = dir.join(split.folder());
        let folder = folder.unwrap_or(&own).display();
        let words = format!(
            "{folder}: no text {what}; allowed: files <domain>.jsonl, each line {{\"text\": \"…\"}}"
        );
        return Err(TextsError::Missing(words));
    }
    Ok(documents)
}

/// Tokens of a sequence when documents are cut.
#[must_use]
pub fn window(loaded: &Loaded) -> usize {
    let facts = loaded.graph.facts();
    match facts.task {
        Task::SequenceClassification => facts.max_positions,
        Task::CausalLm => WINDOW.min(facts.max_positions),
    }
}
