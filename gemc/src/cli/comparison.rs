//! A comparison with the reference -> what a person reads of it: the figures that its kind of model has, in a table, and
//! what they mean.

use std::fmt;

use serde::Serialize;

use crate::graph::Task;
use crate::import::shown;
use crate::metrics::perplexity;
use crate::verify::report::{CLEAR_GAP, DocumentFigures, Figures, Report};

const SAME_TOKEN: &str = "same top-1";
const SAME_LABEL: &str = "same label";
const WORST: &str = "worst 1 %";

/// A report for people; as JSON it is the report itself.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Comparison {
    report: Report,
    #[serde(skip)]
    task: Task,
}

impl Comparison {
    /// Of a model of this kind.
    pub const fn new(report: Report, task: Task) -> Self {
        Self { report, task }
    }

    /// Whether there are places where tokens are routed.
    fn routed(&self) -> bool {
        !self.report.layers.is_empty()
    }

    /// Names of the rows, the first for all, with their figures.
    fn rows(&self) -> Vec<(String, &Figures)> {
        let all = std::iter::once(("all".to_owned(), &self.report.all));
        let domains = self.report.domains.iter();
        all.chain(domains.map(|(name, figures)| (shown(name), figures)))
            .collect()
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let names = rows.iter().map(|(name, _)| name.chars().count());
        let width = names.max().unwrap_or(0);
        let (outputs, same) = match self.task {
            Task::CausalLm => ("tokens", SAME_TOKEN),
            Task::SequenceClassification => ("texts", SAME_LABEL),
            Task::TokenClassification => ("tokens", SAME_LABEL),
            Task::Embedding => ("texts", WORST),
        };
        write!(
            f,
            "{:width$}  {outputs:>7}  {:<19}  {same}",
            "",
            match self.task {
                Task::Embedding => "cosine error",
                Task::CausalLm | Task::SequenceClassification | Task::TokenClassification =>
                    "KL in nats",
            }
        )?;
        writeln!(f, "{}", if self.routed() { "  other route" } else { "" })?;
        for (name, figures) in rows {
            let kl = match (figures.kl_mean, figures.kl_stderr) {
                (Some(kl), Some(error)) => format!("{kl:.6} ± {error:.6}"),
                (kl, _) => number(kl, 6),
            };
            let top1 = match self.task {
                Task::Embedding => number(figures.kl_p99, 6),
                Task::CausalLm | Task::SequenceClassification | Task::TokenClassification => {
                    share(figures.top1_agreement)
                }
            };
            write!(
                f,
                "{name:width$}  {:>7}  {kl:<19}  {top1:>10}",
                figures.tokens
            )?;
            if self.routed() {
                write!(f, "  {:>11}", share(figures.flipped_tokens))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    /// What is known of the texts' own tokens or labels.
    fn truth(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = &self.report.all;
        let (what, found, reference) = match self.task {
            Task::CausalLm => ("perplexity", all.ppl, all.ppl_reference),
            Task::SequenceClassification => ("macro-F1", all.f1, all.f1_reference),
            Task::TokenClassification | Task::Embedding => return Ok(()),
        };
        match (found, reference) {
            (Some(found), Some(reference)) => {
                writeln!(f, "{what} {found:.4}; the reference's is {reference:.4}")
            }
            _ => writeln!(f, "{what}: unknown, the texts do not determine it"),
        }
    }

    fn routes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = &self.report.all;
        if let Some(kl) = all.kl_same_route {
            writeln!(f, "KL {kl:.6} where the route is the reference's")?;
        }
        writeln!(f, "routing decisions that are the reference's, by place")?;
        let width = self
            .report
            .layers
            .iter()
            .map(|place| place.site.len())
            .max();
        for place in &self.report.layers {
            let width = width.unwrap_or(0);
            let agreement = share(Some(place.agreement));
            writeln!(f, "  {:width$}  {agreement:>9}", place.site)?;
        }
        Ok(())
    }

    /// Every document, where they were asked for.
    fn documents(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let documents = &self.report.documents;
        if documents.is_empty() {
            return Ok(());
        }
        let name = |of: &DocumentFigures| format!("{}:{}", shown(&of.domain), of.document);
        let width = documents.iter().map(|of| name(of).chars().count()).max();
        let width = width.unwrap_or(0).max(8);
        let what = match self.task {
            Task::Embedding => "cosine error",
            Task::CausalLm | Task::SequenceClassification | Task::TokenClassification => "KL",
        };
        writeln!(
            f,
            "{:width$}  {:>9}  {:>7}  {what:<12}  perplexity, the reference's",
            "document", "bytes", "tokens"
        )?;
        for of in documents {
            let mean = |sum: f64, count: usize| (count > 0).then(|| sum / count as f64);
            let perplexity = |nats: f64| mean(nats, of.predicted).map(perplexity);
            writeln!(
                f,
                "{:width$}  {:>9}  {:>7}  {:<12}  {:>10}  {:>15}",
                name(of),
                of.bytes,
                of.tokens,
                number(mean(of.kl, of.outputs), 6),
                number(perplexity(of.nats), 4),
                number(perplexity(of.nats_reference), 4)
            )?;
        }
        Ok(())
    }

    /// What the columns mean.
    fn legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (of, same, choice) = match self.task {
            Task::CausalLm => ("tokens", SAME_TOKEN, "next token"),
            Task::SequenceClassification => ("texts", SAME_LABEL, "label"),
            Task::TokenClassification => ("tokens", SAME_LABEL, "label"),
            Task::Embedding => {
                return write!(
                    f,
                    "cosine error: 1 less the cosine of a text's vector and the reference's; {WORST}: below it lie 99 % of texts"
                );
            }
        };
        writeln!(
            f,
            "KL: mean divergence from the reference, 0 where both agree"
        )?;
        write!(
            f,
            "{same}: share of {of} with the reference's most probable {choice}"
        )?;
        if self.routed() {
            let for_whom = match self.task {
                Task::CausalLm | Task::TokenClassification => "for which",
                Task::SequenceClassification | Task::Embedding => "in which for some token",
            };
            write!(
                f,
                "\nother route: share of {of} {for_whom} a routing decision differs from the reference's"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            all,
            bits_per_weight,
            weight_bytes,
            kv_saturated,
            ..
        } = &self.report;
        self.table(f)?;
        self.truth(f)?;
        if let Some(clear) = all.clear_disagreement {
            let clear = share(Some(clear));
            writeln!(
                f,
                "{clear} choose differently although the reference's best logit is more than {CLEAR_GAP} above its second"
            )?;
        }
        if self.routed() {
            self.routes(f)?;
        }
        for (site, values) in kv_saturated {
            writeln!(
                f,
                "{values} keys and values of {site} are too large for f16 and were cut to 65504"
            )?;
        }
        if let (Some(bits), Some(bytes)) = (bits_per_weight, weight_bytes) {
            writeln!(
                f,
                "{bits:.4} bits per weight, {bytes} bytes read by kernels"
            )?;
        }
        self.documents(f)?;
        self.legend(f)
    }
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{:.2} %", 100.0 * v))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::report::SiteAgreement;

    fn report() -> Report {
        let all = Figures {
            tokens: 22,
            kl_mean: Some(0.25),
            kl_stderr: Some(0.125),
            kl_same_route: Some(0.2),
            flipped_tokens: Some(0.5),
            top1_agreement: Some(1.0),
            clear_disagreement: Some(0.0),
            ..Figures::default()
        };
        Report {
            domains: [("a\u{1b}w".to_owned(), all.clone())].into(),
            all,
            layers: vec![SiteAgreement {
                site: "final".to_owned(),
                agreement: 0.9,
            }],
            ..Report::default()
        }
    }

    #[test]
    fn a_classifier_has_labels_and_no_perplexity() {
        let mut report = report();
        report.all.f1 = Some(0.5);
        report.all.f1_reference = Some(0.75);
        let text = Comparison::new(report, Task::SequenceClassification).to_string();
        for words in [
            "texts  KL in nats",
            "same label  other route\n",
            "22  0.250000 ± 0.125000    100.00 %      50.00 %\n",
            "macro-F1 0.5000; the reference's is 0.7500",
            "a\\u{1b}w",
            "  final    90.00 %\n",
            "in which for some token a routing decision differs",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        for word in ["perplexity", "top-1", "flipped", " - "] {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn a_dense_decoder_has_no_routes_and_no_labels() {
        let mut report = report();
        report.layers.clear();
        report.all.ppl = Some(32.0);
        report.all.ppl_reference = Some(31.0);
        let text = Comparison::new(report, Task::CausalLm).to_string();
        assert!(
            text.contains("perplexity 32.0000; the reference's is 31.0000"),
            "{text}"
        );
        assert!(text.contains("tokens  KL in nats"), "{text}");
        for word in ["route", "macro-F1", "label"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn the_json_is_the_report() {
        let shown = serde_json::to_string(&Comparison::new(report(), Task::CausalLm));
        let plain = serde_json::to_string(&report());
        assert_eq!(shown.expect("it serialises"), plain.expect("it serialises"));
    }
}
