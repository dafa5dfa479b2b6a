//! A batch and its undisturbed run -> how far outputs move without a branch, and with its weights rounded.

use gemc_format::{Codec, Inputs, Rounding};

use super::reach::batch;
use crate::graph::{Branch, NodeId};
use crate::progress::Progress;
use crate::quantise::quantise;
use crate::reference::{Batch, Reference, ReferenceError, RoutingSource, Run, RunOptions};
use crate::routing::divergences;
use crate::sequences::Sequence;

/// The format that a branch's own rounding is measured in.
const EIGHT_BITS: Codec = Codec::B8;

/// The undisturbed run of a batch.
pub struct Trial {
    batch: Batch,
    run: Run,
}

impl Trial {
    /// Runs a batch, and keeps what runs need that resume from the branches' layers.
    pub fn new(
        reference: &Reference,
        sequences: &[&Sequence],
        branches: &[&Branch],
    ) -> Result<Self, ReferenceError> {
        let batch = batch(sequences);
        let starts = branches.iter().map(|branch| start(reference, branch));
        let run = reference.run_to_resume(&batch, starts)?;
        Ok(Self { batch, run })
    }

    /// Divergences of all outputs without a branch.
    pub fn without(&self, reference: &Reference, branch: &Branch) -> Result<f64, ReferenceError> {
        let mut candidate = reference.clone();
        candidate.silence(branch.last)?;
        self.divergence(&candidate, branch)
    }

    /// The same with its weights in 8 bits.
    pub fn rounded(&self, reference: &Reference, branch: &Branch) -> Result<f64, ReferenceError> {
        let units = reference.graph().units().clone();
        let mut candidate = reference.clone();
        for unit in branch.units.iter().map(|id| &units[*id]) {
            let Some(weights) = reference.unit(unit.nodes[0]) else {
                continue;
            };
            let inputs = Inputs::Unknown(Rounding::Search);
            let planes = quantise(&weights.all(), &unit.shape, EIGHT_BITS, inputs);
            for node in &unit.nodes {
                candidate.replace(*node, planes.weights())?;
            }
        }
        self.divergence(&candidate, branch)
    }

    fn divergence(&self, reference: &Reference, branch: &Branch) -> Result<f64, ReferenceError> {
        let options = RunOptions {
            routing: RoutingSource::Forced(&self.run.routing),
            ..RunOptions::default()
        };
        let from = start(reference, branch);
        let found = reference.run_from(&self.batch, from, &self.run.captured, &options)?;
        let task = reference.graph().facts().task;
        Ok(divergences(task, &self.run.logits, &found.logits)
            .iter()
            .sum())
    }
}

fn start(reference: &Reference, branch: &Branch) -> NodeId {
    reference.graph().start(branch.site)
}

/// Mean divergence of all outputs without several branches, every layer routing as it then does.
pub fn together(
    reference: &Reference,
    batches: &[Vec<&Sequence>],
    branches: &[&Branch],
    progress: &dyn Progress,
) -> Result<f64, ReferenceError> {
    let mut candidate = reference.clone();
    for branch in branches {
        candidate.silence(branch.last)?;
    }
    let task = reference.graph().facts().task;
    let (mut sum, mut outputs) = (0.0, 0);
    for sequences in batches {
        let trial = Trial::new(reference, sequences, &[])?;
        let found = candidate.run(&trial.batch, &RunOptions::default())?;
        let moved = divergences(task, &trial.run.logits, &found.logits);
        outputs += moved.len();
        sum += moved.iter().sum::<f64>();
        progress.advance(1);
    }
    Ok(sum / outputs.max(1) as f64)
}
