//! Token sequences in, the rows of one run out: sequences follow each other, each at positions 0, 1, ....

use std::ops::Range;

use super::ReferenceError;
use crate::graph::ModelFacts;

/// Independent sequences that are run together; row r is a token of exactly one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    ids: Vec<u32>,
    /// Row of the first token of each sequence, then the number of rows.
    starts: Vec<usize>,
}

impl Batch {
    /// A single sequence.
    #[must_use]
    pub fn one(ids: &[u32]) -> Self {
        Self::of(&[ids])
    }

    /// Several sequences; they share no attention, SCAR or position.
    #[must_use]
    pub fn of<S: AsRef<[u32]>>(sequences: &[S]) -> Self {
        let mut batch = Self {
            ids: Vec::new(),
            starts: vec![0],
        };
        for sequence in sequences {
            batch.ids.extend_from_slice(sequence.as_ref());
            batch.starts.push(batch.ids.len());
        }
        batch
    }

    /// Token ids by row.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Number of rows = tokens.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Rows of each sequence.
    pub fn sequences(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        self.starts.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// Tokens of the longest sequence.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.sequences().map(|rows| rows.len()).max().unwrap_or(0)
    }

    /// Everything the executor takes for granted afterwards.
    pub(super) fn check(&self, facts: &ModelFacts) -> Result<(), ReferenceError> {
        if self.sequences().len() == 0 {
            return Err(ReferenceError::NoSequence);
        }
        for (sequence, rows) in self.sequences().enumerate() {
            if rows.is_empty() {
                return Err(ReferenceError::Empty { sequence });
            }
            if rows.len() > facts.max_positions {
                return Err(ReferenceError::TooLong {
                    sequence,
                    length: rows.len(),
                    limit: facts.max_positions,
                });
            }
        }
        let outside = |id: &u32| *id as usize >= facts.ids();
        match self.ids.iter().position(outside) {
            Some(row) => Err(ReferenceError::Token {
                id: self.ids[row],
                row,
                vocab: facts.ids(),
            }),
            None => Ok(()),
        }
    }
}
