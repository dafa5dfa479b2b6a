//! What a caller of the reference executor can get wrong, each with what is allowed.

use crate::graph::{NodeId, Site};

/// Why a run, or a change of weights, was refused. The model itself was checked at import.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The batch holds no sequence.
    #[error("a run needs at least one sequence")]
    NoSequence,
    /// A sequence holds no token.
    #[error("sequence {sequence} is empty: a run needs at least one token")]
    Empty {
        /// Index in the batch.
        sequence: usize,
    },
    /// A sequence is longer than the model's positions.
    #[error("sequence {sequence} has {length} tokens, the model's limit is {limit}")]
    TooLong {
        /// Index in the batch.
        sequence: usize,
        /// Number of its tokens.
        length: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// A token id outside the vocabulary.
    #[error("token id {id} at row {row}: ids must be below the vocabulary size {vocab}")]
    Token {
        /// The token id that was given.
        id: u32,
        /// Row of the batch.
        row: usize,
        /// Vocabulary size.
        vocab: usize,
    },
    /// An asked row that the batch does not have.
    #[error("logits of row {row} were asked for, the batch has {rows} rows")]
    OutputRow {
        /// The row whose logits were asked for.
        row: usize,
        /// Rows of the batch.
        rows: usize,
    },
    /// A logit is not a finite number, so that nothing can be measured with or against this run.
    #[error(
        "the f32 model's logit {output} after row {row} of a batch is {value}: its values overflow or its weights are damaged"
    )]
    NotFinite {
        /// Row of the batch.
        row: usize,
        /// Token or label whose logit it is.
        output: usize,
        /// NaN, inf or -inf.
        value: String,
    },
    /// Weights were to be replaced of a node that is not a unit.
    #[error("{node} ({origin}) has no replaceable weights: only Linear and Embed nodes have")]
    NotAUnit {
        /// The node whose weights or bias were to be replaced.
        node: NodeId,
        /// Path of the node in the checkpoint.
        origin: String,
    },
    /// A bias was to be replaced of a node that has none.
    #[error("{node} ({origin}) has no bias")]
    NoBias {
        /// The node whose weights or bias were to be replaced.
        node: NodeId,
        /// Path of the node in the checkpoint.
        origin: String,
    },
    /// Replacement weights of the wrong size.
    #[error("weights of {node} ({origin}): expected {expected} values, found {found}")]
    WeightCount {
        /// The node whose weights were to be replaced.
        node: NodeId,
        /// Path of the node in the checkpoint.
        origin: String,
        /// Rows times columns.
        expected: usize,
        /// Number of values that were given.
        found: usize,
    },
    /// A resumed run lacks one of the wires in `Reference::cut`.
    #[error("a run from {from} needs wire {missing}, which was not captured")]
    MissingWire {
        /// First node of the resumed run.
        from: NodeId,
        /// The wire that the run needs and was not given.
        missing: NodeId,
    },
    /// A captured wire belongs to another batch.
    #[error("wire {wire} holds {found} rows, the batch has {expected}")]
    WireRows {
        /// The captured wire.
        wire: NodeId,
        /// Rows of the batch.
        expected: usize,
        /// Rows of the wire.
        found: usize,
    },
    /// Forced routing that does not fit the model or the batch.
    #[error("forced routing of {site}: {what}")]
    Forced {
        /// The routed site.
        site: Site,
        /// How it does not fit, in words.
        what: String,
    },
}
