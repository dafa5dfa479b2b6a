//! What `gemc logits` prints: token ids in, rows of logits out.

use std::fmt;

use serde::Serialize;

use super::{Batch, OutputRows, Reference, ReferenceError, RunOptions};

/// `{"logits": [[...], ...]}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Logits {
    /// By asked row, the logits of the vocabulary or of the labels.
    pub logits: Vec<Vec<f32>>,
}

impl fmt::Display for Logits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.logits.iter().try_for_each(|row| {
            let values: Vec<String> = row.iter().map(f32::to_string).collect();
            writeln!(f, "{}", values.join(" "))
        })
    }
}

/// Logits of the last `last` positions (all without it) of one sequence; of a classifier the one row there is.
///
/// # Errors
/// When the ids do not fit the model.
pub fn logits(
    reference: &Reference,
    ids: &[u32],
    last: Option<usize>,
) -> Result<Logits, ReferenceError> {
    let options = RunOptions {
        outputs: last.map_or(OutputRows::All, OutputRows::Last),
        ..RunOptions::default()
    };
    let run = reference.run(&Batch::one(ids), &options)?;
    let rows = (0..run.logits.rows()).map(|row| run.logits.row(row).to_vec());
    Ok(Logits {
        logits: rows.collect(),
    })
}
