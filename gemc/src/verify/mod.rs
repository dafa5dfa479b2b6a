//! Generated programs against the f32 reference: KL, perplexity, labels, routing agreement, on the checkpoint's own
//! evaluation text.

pub mod candidate;
pub mod records;
pub mod report;

use std::collections::BTreeMap;

use candidate::{Candidate, CandidateError, Executor};
use report::{Collector, DocumentFigures, Pair, Report, RoutingCollector};

use crate::graph::Task;
use crate::progress::Progress;
use crate::sequences::Sequence;

/// Compares a candidate with the reference. With `forced`, the candidate follows the reference's routing; its own
/// decisions are compared all the same.
///
/// # Errors
/// When a sequence does not fit the model, or logits of either are not finite numbers.
pub fn compare(
    mut expected: Executor<'_>,
    candidate: &mut dyn Candidate,
    sequences: &[Sequence],
    forced: bool,
    progress: &dyn Progress,
) -> Result<Report, CandidateError> {
    let facts = expected.reference.graph().facts();
    let classifies = facts.task == Task::SequenceClassification;
    let classes = classifies.then_some(facts.labels.len());
    let mut all = Collector::default();
    let mut domains: BTreeMap<&str, Collector> = BTreeMap::new();
    let mut documents: BTreeMap<(&str, usize), DocumentFigures> = BTreeMap::new();
    let mut routing = RoutingCollector::default();
    let mut saturated = BTreeMap::new();
    progress.start(
        "comparing with the reference",
        sequences.iter().map(|s| s.ids.len() as u64).sum(),
    );
    for sequence in sequences {
        let truth = expected.run(&sequence.ids, None)?;
        let found = candidate.run(&sequence.ids, forced.then_some(&truth.routing))?;
        for (site, values) in found.saturated {
            *saturated.entry(site).or_default() += values;
        }
        let document = documents
            .entry((&sequence.domain, sequence.origin.document))
            .or_insert_with(|| DocumentFigures::of(sequence));
        document.count(sequence);
        let same = routing.push(&truth.routing, &found.routing, sequence.ids.len());
        for (i, (reference, candidate)) in truth.logits.iter().zip(&found.logits).enumerate() {
            let (truth, same_route) = match facts.task {
                Task::SequenceClassification | Task::Embedding => {
                    (sequence.label, same.iter().all(|s| *s))
                }
                Task::TokenClassification => (None, same[i]),
                Task::CausalLm => (sequence.ids.get(i + 1).map(|&id| id as usize), same[i]),
            };
            let pair = Pair {
                reference,
                candidate,
                truth,
                same_route,
            };
            document.push(pair, facts.task);
            all.push(pair, facts.task);
            domains
                .entry(&sequence.domain)
                .or_default()
                .push(pair, facts.task);
        }
        progress.advance(sequence.ids.len() as u64);
    }
    let mut report = Report {
        all: all.figures(classes),
        domains: domains
            .iter()
            .map(|(name, c)| ((*name).to_owned(), c.figures(classes)))
            .collect(),
        documents: documents.into_values().collect(),
        layers: routing.sites(),
        kv_saturated: saturated,
        ..Report::default()
    };
    report.all.routing_agreement = routing.mean();
    Ok(report)
}
