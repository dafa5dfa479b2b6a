//! What one run shall compute, with which routing and which activations.

use super::{Batch, ReferenceError, RoutingRecords};
use crate::graph::NodeId;

/// Choices of one run; the default is a plain f32 run with the logits of every row.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions<'a> {
    /// Rows whose logits are wanted.
    pub outputs: OutputRows<'a>,
    /// Who decides the routing.
    pub routing: RoutingSource<'a>,
    /// Precision of the inputs of linear maps.
    pub activations: Activations,
    /// Wires to keep; see `Run::captured`.
    pub capture: &'a [NodeId],
    /// Whether the last product is of the last row alone, since that of all is most of the memory of a run with a large
    /// vocabulary: its input is seen by who observes, and whether it gives numbers.
    pub without_logits: bool,
}

/// Rows whose logits are wanted. A classifier gives one output per sequence for everything but `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputRows<'a> {
    /// Every row.
    #[default]
    All,
    /// The last n rows of each sequence (all of a shorter one).
    Last(usize),
    /// These rows of the batch, in this order.
    Rows(&'a [usize]),
    /// No logits: the head is not computed.
    None,
}

impl OutputRows<'_> {
    /// Row numbers in output order.
    pub(super) fn resolve(self, batch: &Batch, one: bool) -> Result<Vec<usize>, ReferenceError> {
        match self {
            Self::None => Ok(Vec::new()),
            _ if one => Ok(batch.sequences().map(|rows| rows.start).collect()),
            Self::All => Ok((0..batch.rows()).collect()),
            Self::Last(n) => Ok(batch
                .sequences()
                .flat_map(|rows| rows.end.saturating_sub(n).max(rows.start)..rows.end)
                .collect()),
            Self::Rows(rows) => match rows.iter().find(|row| **row >= batch.rows()) {
                Some(&row) => Err(ReferenceError::OutputRow {
                    row,
                    rows: batch.rows(),
                }),
                None => Ok(rows.to_vec()),
            },
        }
    }
}

/// Who decides the routing.
#[derive(Clone, Copy, Debug, Default)]
pub enum RoutingSource<'a> {
    /// The run's own routers and clusters.
    #[default]
    Own,
    /// The p (hence the gates), fired, domain and cluster of an earlier run over the same batch.
    Forced(&'a RoutingRecords),
}

/// Precision of the inputs of linear maps. Routers, clusters and norms always read f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activations {
    /// As computed.
    #[default]
    F32,
    /// As the kernels round them: int8, or the formats of `Reference::set_activations`.
    Rounded,
}
