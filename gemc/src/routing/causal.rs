//! A model and text -> what each module is worth: the KL that switching it off costs, beside how often it is used.
//!
//! A module is off when the weights and biases of its last map are zero, so that it adds nothing while everything around
//! it stays. Runs resume from the start of the module's layer.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::graph::{Graph, ModelFacts, NodeId, Op, Site, Task, Typed};
use crate::metrics;
use crate::progress::Progress;
use crate::reference::{
    Batch, Matrix, Reference, ReferenceError, RoutingSource, Run, RunOptions, Wires,
};
use crate::sequences::Sequence;

/// Values of the logits of one batch: what a run keeps beside the model is a small multiple of it.
const BATCH_LOGITS: usize = 1 << 22;
/// Rows of one batch.
const BATCH_ROWS: usize = 1024;

/// Choices of [`causal`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CausalOptions {
    /// Whether later layers may route anew as well; doubles the runs.
    pub free_routing: bool,
}

/// The causal cost of every module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Causal {
    /// Tokens of the texts.
    pub tokens: u64,
    /// Outputs compared: tokens of a decoder, texts of a classifier.
    pub outputs: u64,
    /// By site in evaluation order, then by module.
    pub modules: Vec<ModuleCost>,
}

/// What one module is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModuleCost {
    /// `layers.3` or `final`.
    pub site: String,
    /// Index of the module among the site's.
    pub module: usize,
    /// Domain that the module serves.
    pub name: String,
    /// Tokens on which it fires.
    pub tokens: u64,
    /// Mean KL in nats over all outputs when it is off, every decision being that of the undisturbed run.
    pub kl: f64,
    /// `kl` by domain of the text.
    pub domains: BTreeMap<String, f64>,
    /// The same as `kl` with later layers routing anew; absent when that was not asked for.
    pub kl_free: Option<f64>,
}

/// A module, where its runs start, and what its outputs are called.
struct Subject {
    site: Site,
    module: usize,
    /// Last map of the module.
    last: NodeId,
    /// First node of its layer.
    start: NodeId,
}

/// Sums of one module.
#[derive(Clone, Default)]
struct Sums {
    tokens: u64,
    forced: BTreeMap<String, f64>,
    free: f64,
}

/// Measures every module of every routed site.
///
/// A batch costs one run, and one resumed run (two with free routing) for each module that fires in it: about half a
/// forward each. A module that never fires costs exactly 0 and no run.
///
/// # Errors
/// When a sequence does not fit the model.
pub fn causal(
    reference: &Reference,
    sequences: &[Sequence],
    options: CausalOptions,
    progress: &dyn Progress,
) -> Result<Causal, ReferenceError> {
    let graph = reference.graph().clone();
    let subjects = subjects(&graph);
    let batches = batches(sequences, graph.facts());
    progress.start(
        "switching modules off",
        (batches.len() * subjects.len()) as u64,
    );
    let mut sums = vec![Sums::default(); subjects.len()];
    let mut outputs: BTreeMap<String, u64> = BTreeMap::new();
    for sequences in &batches {
        let trial = Trial::new(reference, sequences, &subjects)?;
        for domain in &trial.domains {
            *outputs.entry((*domain).to_owned()).or_default() += 1;
        }
        for (subject, sums) in subjects.iter().zip(&mut sums) {
            trial.measure(reference, subject, options, sums)?;
            progress.advance(1);
        }
    }
    let modules = subjects.iter().zip(sums);
    Ok(Causal {
        tokens: sequences.iter().map(|s| s.ids.len() as u64).sum(),
        outputs: outputs.values().sum(),
        modules: modules
            .map(|(subject, sums)| sums.cost(subject, &graph, &outputs, options))
            .collect(),
    })
}

/// Every module that has a map of its own.
fn subjects(graph: &Graph<Typed>) -> Vec<Subject> {
    let mut found = Vec::new();
    for (router, site) in graph.routers() {
        for module in 0..graph.facts().domains.len() {
            let nodes = graph.module_nodes(router, module as u32);
            let linear = |id: &&NodeId| matches!(graph.node(**id).op, Op::Linear { .. });
            if let Some(&last) = nodes.iter().rev().find(linear) {
                found.push(Subject {
                    site,
                    module,
                    last,
                    start: graph.start(site),
                });
            }
        }
    }
    found
}

/// Consecutive sequences, as many as fit, at least one; empty ones are left out.
pub(crate) fn batches<'s>(sequences: &'s [Sequence], facts: &ModelFacts) -> Vec<Vec<&'s Sequence>> {
    let logits = match facts.task {
        Task::CausalLm => facts.vocab_size.max(1),
        Task::TokenClassification => facts.labels.len().max(1),
        // Of a text, not of every row.
        Task::SequenceClassification | Task::Embedding => 1,
    };
    let limit = (BATCH_LOGITS / logits).min(BATCH_ROWS);
    let mut batches: Vec<Vec<&Sequence>> = Vec::new();
    let mut rows = 0;
    for sequence in sequences.iter().filter(|s| !s.ids.is_empty()) {
        rows += sequence.ids.len();
        match batches.last_mut() {
            Some(batch) if rows <= limit => batch.push(sequence),
            _ => {
                rows = sequence.ids.len();
                batches.push(vec![sequence]);
            }
        }
    }
    batches
}

/// The undisturbed run of one batch.
struct Trial<'s> {
    batch: Batch,
    run: Run,
    /// Domain of the text of every output.
    domains: Vec<&'s str>,
}

impl<'s> Trial<'s> {
    fn new(
        reference: &Reference,
        sequences: &[&'s Sequence],
        subjects: &[Subject],
    ) -> Result<Self, ReferenceError> {
        let ids: Vec<&[u32]> = sequences.iter().map(|s| &s.ids[..]).collect();
        let batch = Batch::of(&ids);
        let run = reference.run_to_resume(&batch, subjects.iter().map(|s| s.start))?;
        let of_rows: Vec<&str> = sequences
            .iter()
            .flat_map(|s| std::iter::repeat_n(s.domain.as_str(), s.ids.len()))
            .collect();
        let domains = run.output_rows.iter().map(|row| of_rows[*row]).collect();
        Ok(Self {
            batch,
            run,
            domains,
        })
    }

    /// Adds what switching a module off does to this batch.
    fn measure(
        &self,
        reference: &Reference,
        subject: &Subject,
        options: CausalOptions,
        sums: &mut Sums,
    ) -> Result<(), ReferenceError> {
        let tokens = self.tokens(subject);
        if tokens == 0 {
            return Ok(());
        }
        sums.tokens += tokens;
        let forced = RoutingSource::Forced(&self.run.routing);
        let free = options.free_routing.then_some(RoutingSource::Own);
        let mut candidate = reference.clone();
        candidate.silence(subject.last)?;
        let forced = self.divergences(&candidate, subject.start, forced)?;
        let free = free.map(|own| self.divergences(&candidate, subject.start, own));
        let free = free.transpose()?;
        for (domain, kl) in self.domains.iter().zip(forced) {
            *sums.forced.entry((*domain).to_owned()).or_default() += kl;
        }
        sums.free = free.iter().flatten().fold(sums.free, |sum, kl| sum + kl);
        Ok(())
    }

    fn tokens(&self, subject: &Subject) -> u64 {
        let Some(routing) = self.run.routing.get(subject.site) else {
            return 0;
        };
        let fires = |row: &usize| routing.decisions.fired_row(*row)[subject.module];
        (0..self.batch.rows()).filter(fires).count() as u64
    }

    /// KL of every output of the model as it is now.
    fn divergences(
        &self,
        reference: &Reference,
        start: NodeId,
        routing: RoutingSource<'_>,
    ) -> Result<Vec<f64>, ReferenceError> {
        let options = RunOptions {
            routing,
            ..RunOptions::default()
        };
        let wires: &Wires = &self.run.captured;
        let found = reference.run_from(&self.batch, start, wires, &options)?;
        let task = reference.graph().facts().task;
        Ok(divergences(task, &self.run.logits, &found.logits))
    }
}

/// How far every row is from the reference's. Rows that did not change cost nothing, and most rows of a rare module's batch do not.
pub(crate) fn divergences(task: Task, expected: &Matrix, found: &Matrix) -> Vec<f64> {
    let divergence = metrics::divergence(task);
    let rows = 0..expected.rows();
    rows.into_par_iter()
        .map(|row| match (expected.row(row), found.row(row)) {
            (a, b) if a == b => 0.0,
            (a, b) => divergence(a, b),
        })
        .collect()
}

impl Sums {
    fn cost(
        self,
        subject: &Subject,
        graph: &Graph<Typed>,
        outputs: &BTreeMap<String, u64>,
        options: CausalOptions,
    ) -> ModuleCost {
        let mean = |sum: f64, count: u64| sum / count.max(1) as f64;
        let count = outputs.values().sum();
        let domains = outputs.iter().map(|(name, count)| {
            let sum = self.forced.get(name).copied().unwrap_or(0.0);
            (name.clone(), mean(sum, *count))
        });
        ModuleCost {
            site: subject.site.to_string(),
            module: subject.module,
            name: graph.facts().domains[subject.module].clone(),
            tokens: self.tokens,
            kl: mean(self.forced.values().fold(0.0, |sum, kl| sum + kl), count),
            domains: domains.collect(),
            kl_free: options.free_routing.then(|| mean(self.free, count)),
        }
    }
}
