//! A model's facts -> the rows and outputs that a step of its program has room for.

use crate::graph::{ModelFacts, Task};

/// Rows of a step of a decoder, unless its context is shorter.
pub const MAX_ROWS: usize = 128;

/// Outputs of one run of the head.
pub const MAX_OUTPUTS: usize = 8;

/// Rows and outputs of a step.
#[must_use]
pub fn most(facts: &ModelFacts) -> (usize, usize) {
    match facts.task {
        Task::CausalLm => (MAX_ROWS.min(facts.max_positions), MAX_OUTPUTS),
        Task::SequenceClassification | Task::Embedding => (facts.max_positions, 1),
        Task::TokenClassification => (facts.max_positions, MAX_OUTPUTS),
    }
}
