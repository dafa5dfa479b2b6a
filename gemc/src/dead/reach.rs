//! Text in batches -> how many tokens of each batch reach each branch.

use super::is_always;
use crate::graph::{Branch, Guard, Task};
use crate::plan::dead::LEAST_TOKENS;
use crate::progress::Progress;
use crate::reference::{Batch, OutputRows, Reference, ReferenceError, RoutingRecords, RunOptions};
use crate::sequences::Sequence;

/// What of a batch reaches a branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    pub tokens: u64,
    /// Tokens of a decoder, else texts.
    pub outputs: u64,
}

/// By batch and branch.
#[derive(Debug)]
pub struct Reach(Vec<Vec<Reached>>);

impl Reach {
    /// Runs the model where it routes; elsewhere every token reaches everything.
    ///
    /// # Errors
    /// When a sequence does not fit the model.
    pub fn count(
        reference: &Reference,
        batches: &[Vec<&Sequence>],
        branches: &[Branch],
        progress: &dyn Progress,
    ) -> Result<Self, ReferenceError> {
        let decoder = reference.graph().facts().task == Task::CausalLm;
        let routed = branches.iter().any(|branch| !is_always(branch.guard));
        if routed {
            progress.start("counting what reaches each module", batches.len() as u64);
        }
        let mut reach = Vec::with_capacity(batches.len());
        for sequences in batches {
            let records = match routed {
                true => {
                    let options = RunOptions {
                        outputs: OutputRows::None,
                        ..RunOptions::default()
                    };
                    let run = reference.run(&batch(sequences), &options)?;
                    progress.advance(1);
                    run.routing
                }
                false => RoutingRecords::default(),
            };
            let of = |branch: &Branch| reached(sequences, &records, branch, decoder);
            reach.push(branches.iter().map(of).collect());
        }
        Ok(Self(reach))
    }

    pub fn of(&self, batch: usize, branch: usize) -> Reached {
        self.0[batch][branch]
    }

    /// Tokens of all text that reach a branch.
    pub fn total(&self, branch: usize) -> u64 {
        self.0.iter().map(|batch| batch[branch].tokens).sum()
    }

    /// The batches that a branch is measured on, those that use it most first; none where all are too few.
    pub fn chosen(&self, branch: usize) -> Vec<usize> {
        if self.total(branch) < LEAST_TOKENS {
            return Vec::new();
        }
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.sort_by_key(|batch| std::cmp::Reverse(self.of(*batch, branch).tokens));
        let mut tokens = 0;
        let enough = |batch: &usize| {
            let wanted = tokens < LEAST_TOKENS;
            tokens += self.of(*batch, branch).tokens;
            wanted
        };
        order.into_iter().take_while(enough).collect()
    }
}

/// Tokens of a batch.
pub fn tokens(sequences: &[&Sequence]) -> u64 {
    sequences.iter().map(|s| s.ids.len() as u64).sum()
}

/// The batch of sequences.
pub fn batch(sequences: &[&Sequence]) -> Batch {
    let ids: Vec<&[u32]> = sequences.iter().map(|s| &s.ids[..]).collect();
    Batch::of(&ids)
}

fn reached(
    sequences: &[&Sequence],
    records: &RoutingRecords,
    branch: &Branch,
    decoder: bool,
) -> Reached {
    let decisions = records.get(branch.site).map(|site| &site.decisions);
    let passes = |row: usize| match (branch.guard, decisions) {
        (Guard::Module { module, .. }, Some(decisions)) => {
            decisions.fired_row(row)[module as usize]
        }
        (Guard::Fallback { .. }, Some(decisions)) => !decisions.flag(row),
        _ => true,
    };
    let mut found = Reached::default();
    let mut start = 0;
    for sequence in sequences {
        let rows = start..start + sequence.ids.len();
        start = rows.end;
        let count = rows.filter(|row| passes(*row)).count() as u64;
        found.tokens += count;
        found.outputs += if decoder { count } else { count.min(1) };
    }
    found
}
