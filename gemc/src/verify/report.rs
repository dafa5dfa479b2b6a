//! Token by token comparison -> figures, overall and per domain.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::graph::{Site, Task};
use crate::metrics::{
    Sample, argmax, divergence, macro_f1, negative_log_likelihood, perplexity, top2_gap,
};
use crate::reference::RoutingRecords;
use crate::sequences::{Origin, Sequence};

/// A difference of two tokens' logits above which the reference is sure.
pub const CLEAR_GAP: f32 = 0.2;

/// Figures of a set of tokens (decoders) or texts (classifiers). What does not apply is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Outputs compared.
    pub tokens: usize,
    /// Mean KL(reference || candidate) in nats.
    pub kl_mean: Option<f64>,
    /// Standard error of the mean KL, in nats per token.
    pub kl_stderr: Option<f64>,
    /// 99th percentile of the KL, in nats.
    pub kl_p99: Option<f64>,
    /// Mean KL of the outputs whose own routing agrees with the reference's at every site.
    pub kl_same_route: Option<f64>,
    /// Share of outputs with any other decision (fired, domain, cluster) at any site.
    pub flipped_tokens: Option<f64>,
    /// Share of outputs with the same most likely token or label.
    pub top1_agreement: Option<f64>,
    /// Share of outputs that disagree although the reference's two best logits lie more than 0.2 apart.
    pub clear_disagreement: Option<f64>,
    /// Perplexity of the reference.
    pub ppl_reference: Option<f64>,
    /// Perplexity of the candidate.
    pub ppl: Option<f64>,
    /// Macro-F1 of the reference.
    pub f1_reference: Option<f64>,
    /// Macro-F1 of the candidate.
    pub f1: Option<f64>,
    /// Mean over sites of the share of rows decided alike.
    pub routing_agreement: Option<f64>,
}

/// The comparison of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Figures over all domains.
    #[serde(flatten)]
    pub all: Figures,
    /// Code bits and block scales per quantised weight.
    pub bits_per_weight: Option<f64>,
    /// Bytes that kernels read.
    pub weight_bytes: Option<u64>,
    /// Figures by domain of the text.
    pub domains: BTreeMap<String, Figures>,
    /// Sums by document, in order of domains and of documents in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<DocumentFigures>,
    /// Routing agreement by routed site.
    pub layers: Vec<SiteAgreement>,
    /// Keys and values that f16 could not hold and that were cut to 65504, by site; empty where all of them fit.
    pub kv_saturated: BTreeMap<String, u64>,
}

/// Sums over what was compared of one document, from which means and intervals by document are made.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DocumentFigures {
    /// Its domain.
    pub domain: String,
    /// Its number among the documents of its domain, in the order of the file, from 0.
    pub document: usize,
    /// Bytes of those texts of it of which something was compared.
    pub bytes: usize,
    /// Tokens of it that were compared.
    pub tokens: usize,
    /// Outputs of it: logits of each token of a decoder, one output of a text of a classifier.
    pub outputs: usize,
    /// Tokens that were predicted: all but the first of each window. None of a classifier.
    pub predicted: usize,
    /// Nats of the predicted tokens by the reference.
    pub nats_reference: f64,
    /// Nats of the predicted tokens by the candidate.
    pub nats: f64,
    /// KL(reference || candidate) over all outputs, in nats.
    pub kl: f64,
    /// The text whose bytes were counted last; windows of a text follow one another.
    #[serde(skip)]
    text: Option<usize>,
}

impl DocumentFigures {
    /// Of the document of a sequence, before anything is compared.
    #[must_use]
    pub fn of(sequence: &Sequence) -> Self {
        Self {
            domain: sequence.domain.clone(),
            document: sequence.origin.document,
            ..Self::default()
        }
    }

    /// Counts a sequence of it.
    pub fn count(&mut self, sequence: &Sequence) {
        let Origin { text, bytes, .. } = sequence.origin;
        if self.text != Some(text) {
            self.bytes += bytes;
            self.text = Some(text);
        }
        self.tokens += sequence.ids.len();
    }

    /// Adds one output.
    pub fn push(&mut self, pair: Pair<'_>, task: Task) {
        self.outputs += 1;
        self.kl += divergence(task)(pair.reference, pair.candidate);
        if let (Some(truth), Task::CausalLm) = (pair.truth, task) {
            self.predicted += 1;
            self.nats_reference += negative_log_likelihood(pair.reference, truth);
            self.nats += negative_log_likelihood(pair.candidate, truth);
        }
    }
}

/// How often a site decides as the reference does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SiteAgreement {
    /// `layers.3` or `final`.
    pub site: String,
    /// Share of rows with the same fired modules, domain and cluster.
    pub agreement: f64,
}

/// One output of both.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The reference's logits.
    pub reference: &'a [f32],
    /// The candidate's logits, in the same order.
    pub candidate: &'a [f32],
    /// The token that follows, or the label.
    pub truth: Option<usize>,
    /// Whether the candidate's own routing is the reference's at every site.
    pub same_route: bool,
}

/// Collects outputs.
#[derive(Clone, Debug, Default)]
pub struct Collector {
    kl: Sample,
    kl_same: Sample,
    agree: Sample,
    unclear: Sample,
    flips: Sample,
    nll: [Sample; 2],
    truth: Vec<usize>,
    predicted: [Vec<usize>; 2],
}

impl Collector {
    /// Adds one output.
    pub fn push(&mut self, pair: Pair<'_>, task: Task) {
        let kl = divergence(task)(pair.reference, pair.candidate);
        self.kl.push(kl);
        if pair.same_route {
            self.kl_same.push(kl);
        }
        self.flips.push(share(!pair.same_route));
        let best = [argmax(pair.reference), argmax(pair.candidate)];
        self.agree.push(share(best[0] == best[1]));
        self.unclear.push(share(
            best[0] != best[1] && top2_gap(pair.reference) > CLEAR_GAP,
        ));
        let Some(truth) = pair.truth else { return };
        match task {
            Task::SequenceClassification => {
                self.truth.push(truth);
                self.predicted[0].push(best[0]);
                self.predicted[1].push(best[1]);
            }
            Task::CausalLm => {
                self.nll[0].push(negative_log_likelihood(pair.reference, truth));
                self.nll[1].push(negative_log_likelihood(pair.candidate, truth));
            }
            Task::TokenClassification | Task::Embedding => {}
        }
    }

    /// The figures; `classes` is the number of labels of a classifier.
    #[must_use]
    pub fn figures(&self, classes: Option<usize>) -> Figures {
        let f1 =
            |which: usize| classes.and_then(|n| macro_f1(&self.truth, &self.predicted[which], n));
        let ppl = |which: usize| self.nll[which].mean().map(perplexity);
        Figures {
            tokens: self.kl.len(),
            kl_mean: self.kl.mean(),
            kl_stderr: self.kl.standard_error(),
            kl_p99: self.kl.quantile(0.99),
            kl_same_route: self.kl_same.mean(),
            flipped_tokens: self.flips.mean(),
            top1_agreement: self.agree.mean(),
            clear_disagreement: self.unclear.mean(),
            ppl_reference: ppl(0),
            ppl: ppl(1),
            f1_reference: f1(0),
            f1: f1(1),
            routing_agreement: None,
        }
    }
}

fn share(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

/// Agreement of routing by site, row by row.
#[derive(Clone, Debug, Default)]
pub struct RoutingCollector {
    sites: BTreeMap<Site, Sample>,
}

impl RoutingCollector {
    /// Adds a sequence; gives for each of its `rows` whether every site agrees.
    pub fn push(
        &mut self,
        reference: &RoutingRecords,
        candidate: &RoutingRecords,
        rows: usize,
    ) -> Vec<bool> {
        let mut same = vec![true; rows];
        for (site, expected) in reference.iter() {
            let samples = self.sites.entry(site).or_default();
            let Some(found) = candidate.get(site) else {
                continue;
            };
            for (row, same) in same.iter_mut().enumerate() {
                let agrees = expected.agrees(found, row);
                samples.push(share(agrees));
                *same &= agrees;
            }
        }
        same
    }

    /// Agreement by site.
    #[must_use]
    pub fn sites(&self) -> Vec<SiteAgreement> {
        self.sites
            .iter()
            .filter_map(|(site, s)| {
                Some(SiteAgreement {
                    site: site.to_string(),
                    agreement: s.mean()?,
                })
            })
            .collect()
    }

    /// Mean over sites.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let sites = self.sites();
        (!sites.is_empty())
            .then(|| sites.iter().map(|s| s.agreement).sum::<f64>() / sites.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_a_plain_sort() {
        let mut collector = Collector::default();
        let mut plain = Vec::new();
        // 200 outputs, the further apart the later.
        for i in 0..200_u8 {
            let (reference, candidate) = ([0.0, 0.0], [0.0, f32::from(i) / 50.0]);
            plain.push(divergence(Task::CausalLm)(&reference, &candidate));
            let pair = Pair {
                reference: &reference,
                candidate: &candidate,
                truth: None,
                same_route: true,
            };
            collector.push(pair, Task::CausalLm);
        }
        plain.sort_by(f64::total_cmp);
        let figures = collector.figures(None);
        let p99 = figures.kl_p99.expect("there are outputs");
        assert!((plain[197]..=plain[198]).contains(&p99), "{p99}");
        assert!(p99 > figures.kl_mean.expect("there are outputs"));
    }
}
