//! Text as token ids: what models are measured on, and its windows.

use std::collections::BTreeMap;

/// Tokens of a window of running text; each starts a fresh sequence.
pub const WINDOW: usize = 256;

/// What a sequence is of. Numbers are of its domain, in the order of the file, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The document, of which there may be several texts one after the other.
    pub document: usize,
    /// The text: a line of the file.
    pub text: usize,
    /// Bytes of the text in UTF-8.
    pub bytes: usize,
}

/// A sequence to compare on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Where the text comes from.
    pub domain: String,
    /// Which text of it, and of what document.
    pub origin: Origin,
    /// Token ids, in order.
    pub ids: Vec<u32>,
    /// Index of the label, for classifiers.
    pub label: Option<usize>,
}

/// Cuts documents to windows and takes them domain by domain in turn, until `tokens` are reached.
#[must_use]
pub fn windows(documents: &[Sequence], window: usize, tokens: usize) -> Vec<Sequence> {
    let mut by_domain: BTreeMap<&str, Vec<Sequence>> = BTreeMap::new();
    for document in documents {
        let windows = by_domain.entry(&document.domain).or_default();
        windows.extend(document.ids.chunks(window).map(|ids| Sequence {
            ids: ids.to_vec(),
            ..document.clone()
        }));
    }
    let mut queues: Vec<_> = by_domain.into_values().map(Vec::into_iter).collect();
    let mut taken = Vec::new();
    let mut count = 0;
    while count < tokens {
        let before = count;
        for queue in &mut queues {
            if let Some(next) = queue.next()
                && count < tokens
            {
                count += next.ids.len();
                taken.push(next);
            }
        }
        if count == before {
            break;
        }
    }
    taken
}
