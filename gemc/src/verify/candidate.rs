//! What is compared with the reference: anything that gives logits and routing for a sequence.

use gem_runtime::Error;
use gem_runtime::protocol::{LogitsRequest, Peer, Setup};

use super::records;
use crate::graph::{Graph, Typed};
pub use crate::reference::Activations;
use crate::reference::{
    Batch, Reference, ReferenceError, RoutingRecords, RoutingSource, RunOptions,
};

/// Logits of every position (or of the labels) and the routing of one sequence.
#[derive(Clone, Debug)]
pub struct Output {
    /// One row per position; a single row for a classifier.
    pub logits: Vec<Vec<f32>>,
    /// What was decided before anything was forced.
    pub routing: RoutingRecords,
    /// Keys and values that f16 could not hold, by site.
    pub saturated: Vec<(String, u64)>,
}

/// What can go wrong in a comparison.
#[derive(Debug, thiserror::Error)]
pub enum CandidateError {
    /// In a compiled or interpreted program.
    #[error(transparent)]
    Engine(#[from] Error),
    /// The executor cannot run the model.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// Gives logits and routing for a sequence.
pub trait Candidate {
    /// Runs one sequence from its beginning.
    ///
    /// # Errors
    /// When the ids do not fit the model.
    fn run(
        &mut self,
        ids: &[u32],
        forced: Option<&RoutingRecords>,
    ) -> Result<Output, CandidateError>;
}

/// A program: in this process, or at the other end of a pipe.
pub struct ProgramCandidate<'a> {
    /// The program that answers for it.
    pub peer: &'a mut dyn Peer,
    /// Graph of the model that it was compiled from.
    pub graph: &'a Graph<Typed>,
    /// Threads and context of its session.
    pub setup: Setup,
}

impl Candidate for ProgramCandidate<'_> {
    fn run(
        &mut self,
        ids: &[u32],
        forced: Option<&RoutingRecords>,
    ) -> Result<Output, CandidateError> {
        let request = LogitsRequest {
            ids: ids.to_vec(),
            forced: forced
                .map(|records| records::to_program(records, self.graph))
                .unwrap_or_default(),
            routing: true,
            setup: self.setup,
            ..LogitsRequest::default()
        };
        let mut logits = Vec::new();
        let result = self
            .peer
            .logits(&request, &mut |_, row| logits.push(row.to_vec()))?;
        Ok(Output {
            logits,
            routing: records::from_program(self.graph, result.routing),
            saturated: result.saturated,
        })
    }
}

/// The f32 executor, with whatever weights it holds.
#[derive(Debug)]
pub struct Executor<'a> {
    /// Original or fake-quantised.
    pub reference: &'a Reference,
    /// Precision of the inputs of linear maps.
    pub activations: Activations,
}

impl Candidate for Executor<'_> {
    fn run(
        &mut self,
        ids: &[u32],
        forced: Option<&RoutingRecords>,
    ) -> Result<Output, CandidateError> {
        let routing = forced.map_or(RoutingSource::Own, RoutingSource::Forced);
        let options = RunOptions {
            routing,
            activations: self.activations,
            ..RunOptions::default()
        };
        let run = self.reference.run(&Batch::one(ids), &options)?;
        let logits = (0..run.output_rows.len())
            .map(|row| run.logits.row(row).to_vec())
            .collect();
        Ok(Output {
            logits,
            routing: run.routing,
            saturated: Vec::new(),
        })
    }
}
