//! A graph and names of its branches -> the typed graph without them.

use std::collections::{BTreeMap, BTreeSet};

use super::{TypingError, infer};
use crate::graph::{Graph, Needed, NodeId, Typed, Untyped};

/// Why a branch cannot be left out.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// There is none of this name.
    #[error(
        "{0}: the model has no such branch; `gemc inspect CKPT --calib` names those that may go"
    )]
    Unknown(String),
    /// Something cannot do without it.
    #[error(transparent)]
    Needed(#[from] Needed),
    /// What is left does not fit together.
    #[error(transparent)]
    Typing(#[from] TypingError),
}

/// The graph without branches, which [`Graph::branches`] names.
///
/// # Errors
/// When there is no branch of a name, or something needs it.
pub fn without(graph: &Graph<Untyped>, names: &[String]) -> Result<Graph<Typed>, DropError> {
    let branches = infer(graph.clone())?.branches();
    let known: BTreeMap<&str, NodeId> = branches.iter().map(|b| (&*b.name, b.last)).collect();
    let last = |name: &String| {
        known
            .get(name.as_str())
            .copied()
            .ok_or_else(|| name.clone())
    };
    let zero: Result<BTreeSet<NodeId>, String> = names.iter().map(last).collect();
    let zero = zero.map_err(DropError::Unknown)?;
    Ok(infer(graph.without(&zero)?)?)
}
