//! `Checkpoint` -> what a person wants to know before compiling it: shapes, parameters, routing, and what became of
//! every tensor and key.

mod footprint;
mod model;
mod text;

pub use text::requantised;

use std::collections::BTreeMap;

pub use footprint::Footprint;
use gem_runtime::text::{DEFAULT_TEMPLATE, GENERATION_CONFIG};
use serde::Serialize;

use crate::graph::Task;
use crate::import::config::KeyUse;
use crate::import::{
    Checkpoint, Findings, ImportError, Split, TensorUse, for_each_record, text_files,
};

/// The sizes of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(
    missing_docs,
    reason = "the keys of config.json, under their own names"
)]
pub struct Sizes {
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub intermediate_size: usize,
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
}

/// SCAR at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScarReport {
    /// `cluster_or_flag` or `cluster_or_domain`.
    pub mask: &'static str,
    /// Heads over the hidden size.
    pub heads: u32,
    /// Centroids; 0: no cluster ids.
    pub clusters: usize,
    /// Whether x is added back.
    pub residual: bool,
}

/// One routed place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RoutedReport {
    /// `layers.0` … or `final`.
    pub site: String,
    /// `softmax` or `sigmoid`.
    pub score: &'static str,
    /// At most so many modules fire.
    pub top_k: u32,
    /// A module fires when p is above.
    pub threshold: f32,
    /// Whether gates sum to one.
    pub renormalize: bool,
    /// What a module is, such as `mlp 256` or `lora 16`.
    pub modules: String,
    /// `always`, `fallback`, `none`; for placement `final` the input itself.
    pub general_path: &'static str,
    /// SCAR, where there is any.
    pub scar: Option<ScarReport>,
}

/// Something that has no effect, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unused {
    /// Tensor path or config key.
    pub name: String,
    /// Why it is dropped or ignored.
    pub reason: String,
}

/// A chat template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TemplateReport {
    /// Its name; `default` for the usual one.
    pub name: String,
    /// The file it stands in.
    pub file: String,
    /// What keeps it from being used.
    pub problem: Option<String>,
}

/// How a text begins and ends, and how its tokens are chosen where a run says nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GenerationReport {
    /// Ids that end a text: those of generation_config.json, config.json and the tokenizer.
    pub eos_token_ids: Vec<u32>,
    /// Id that begins one.
    pub bos_token_id: Option<u32>,
    /// 0: always the most probable token.
    pub temperature: f32,
    /// 0: all.
    pub top_k: u32,
    /// 1: all.
    pub top_p: f32,
    /// 0: all.
    pub min_p: f32,
    /// 1: off.
    pub repetition_penalty: f32,
    /// Tokens of an answer at most.
    pub max_tokens: u32,
    /// Texts that end an answer.
    pub stop: Vec<String>,
}

/// Number of records per domain of one split.
pub type Counts = Vec<(String, usize)>;

/// The report of `gemc inspect`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The `model_type` by which it was read.
    pub family: &'static str,
    /// `causal_lm` or `sequence_classification`.
    pub task: &'static str,
    /// Widths, heads, layers and vocabulary.
    pub sizes: Sizes,
    /// Norm and positions in words.
    pub structure: String,
    /// Names of the domains.
    pub domains: Vec<String>,
    /// Names of the labels.
    pub labels: Vec<String>,
    /// Values in used tensors.
    pub parameters: u64,
    /// The same by kind of tensor.
    pub parameters_by_kind: BTreeMap<&'static str, u64>,
    /// What it takes when it runs.
    pub footprint: Footprint,
    /// Bytes of the used tensors as stored.
    pub stored_bytes: u64,
    /// Bits per weight of those that are quantised already; none of others.
    pub source_bits: Option<f64>,
    /// Whether all values were looked at, and are finite; those of a large checkpoint are when asked to.
    pub values_read: bool,
    /// Values by stored type.
    pub stored_types: BTreeMap<String, u64>,
    /// Routed places in order.
    pub routing: Vec<RoutedReport>,
    /// Number of used tensors.
    pub tensors_used: usize,
    /// Tensors that are left out.
    pub tensors_dropped: Vec<Unused>,
    /// Keys that shape the model.
    pub keys_used: Vec<String>,
    /// Keys accepted without effect.
    pub keys_ignored: Vec<Unused>,
    /// Whether there is a tokenizer.
    pub tokenizer: bool,
    /// Whether there is a chat template that can be used without naming it.
    pub chat_template: bool,
    /// All chat templates.
    pub chat_templates: Vec<TemplateReport>,
    /// How texts are generated; none where the task is another.
    pub generation: Option<GenerationReport>,
    /// What keeps the sampling of generation_config.json from being used; options of a run may override it.
    pub sampling_problem: Option<String>,
    /// Records of calibration text.
    pub calibration: Counts,
    /// Records of evaluation text.
    pub evaluation: Counts,
}

/// Describes a checkpoint.
///
/// # Errors
/// When its texts cannot be read.
pub fn report(checkpoint: &Checkpoint) -> Result<Inspection, ImportError> {
    let graph = checkpoint.graph();
    let facts = graph.facts();
    let mut by_kind = BTreeMap::new();
    let mut stored_types = BTreeMap::new();
    let mut stored_bytes = 0;
    for ((id, tensor), role) in graph.tensors().zip(graph.roles()) {
        let values: u64 = tensor.shape().iter().map(|&d| d as u64).product();
        *by_kind.entry(role.name()).or_insert(0) += values;
        let stored = checkpoint.weights().stored(id);
        *stored_types.entry(stored.to_string()).or_insert(0) += values;
        stored_bytes += stored.bytes(values as usize) as u64;
    }
    let (keys_used, keys_ignored) = keys(checkpoint);
    let chat_templates = templates(checkpoint);
    let usable = |t: &TemplateReport| t.name == DEFAULT_TEMPLATE && t.problem.is_none();
    let sampling = &checkpoint.generation_config().sampling;
    Ok(Inspection {
        family: checkpoint.family(),
        task: match facts.task {
            Task::CausalLm => "causal_lm",
            Task::SequenceClassification => "sequence_classification",
            Task::TokenClassification => "token_classification",
            Task::Embedding => "embedding",
        },
        sizes: model::sizes(graph),
        structure: model::structure(graph),
        domains: facts.domains.clone(),
        labels: facts.labels.clone(),
        parameters: by_kind.values().sum(),
        parameters_by_kind: by_kind,
        footprint: footprint::of(graph),
        stored_bytes,
        source_bits: checkpoint.source_bits(),
        stored_types,
        values_read: checkpoint.values_read(),
        routing: model::routing(graph),
        tensors_used: graph.tensors().count(),
        tensors_dropped: dropped(checkpoint),
        keys_used,
        keys_ignored,
        tokenizer: checkpoint.has_tokenizer(),
        chat_template: chat_templates.iter().any(usable),
        chat_templates,
        generation: (facts.task == Task::CausalLm).then(|| generation(checkpoint)),
        sampling_problem: sampling.check().err().map(|e| e.to_string()),
        calibration: records(checkpoint, Split::Calibration)?,
        evaluation: records(checkpoint, Split::Evaluation)?,
    })
}

fn generation(checkpoint: &Checkpoint) -> GenerationReport {
    let config = checkpoint.generation_config();
    let sampling = &config.sampling;
    GenerationReport {
        eos_token_ids: checkpoint.eos_token_ids(),
        bos_token_id: config.bos_token_id,
        temperature: sampling.temperature,
        top_k: sampling.top_k,
        top_p: sampling.top_p,
        min_p: sampling.min_p,
        repetition_penalty: sampling.repetition_penalty,
        max_tokens: sampling.max_tokens,
        stop: sampling.stop.clone(),
    }
}

fn dropped(checkpoint: &Checkpoint) -> Vec<Unused> {
    let tensors = checkpoint.account().tensors.iter();
    tensors
        .filter_map(|(name, what)| match what {
            TensorUse::Used => None,
            TensorUse::Dropped(reason) => Some(Unused {
                name: name.clone(),
                reason: reason.clone(),
            }),
        })
        .collect()
}

fn keys(checkpoint: &Checkpoint) -> (Vec<String>, Vec<Unused>) {
    let (mut used, mut ignored) = (Vec::new(), Vec::new());
    for (name, what) in &checkpoint.account().keys {
        match what {
            KeyUse::Used => used.push(name.clone()),
            KeyUse::Ignored(reason) => ignored.push(Unused {
                name: name.clone(),
                reason: reason.clone(),
            }),
        }
    }
    let generation = checkpoint.generation_config().ignored.iter();
    ignored.extend(generation.map(|(key, reason)| Unused {
        name: format!("{GENERATION_CONFIG}: {key}"),
        reason: reason.clone(),
    }));
    (used, ignored)
}

fn templates(checkpoint: &Checkpoint) -> Vec<TemplateReport> {
    let templates = checkpoint.chat_templates().into_iter();
    templates
        .map(|(source, problem)| TemplateReport {
            name: source.name.clone(),
            file: source.file.clone(),
            problem,
        })
        .collect()
}

/// Counts records without keeping them.
fn records(checkpoint: &Checkpoint, split: Split) -> Result<Counts, ImportError> {
    let mut findings = Findings::default();
    let mut counts = Counts::new();
    for (domain, path) in text_files(&checkpoint.dir().join(split.folder()))? {
        let mut count = 0;
        for_each_record(
            &path,
            &checkpoint.graph().facts().labels,
            &mut findings,
            |_| {
                count += 1;
                true
            },
        );
        counts.push((domain, count));
    }
    findings.into_result(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{self, tests::base};
    use crate::progress::Silent;

    #[test]
    fn the_report_accounts_for_every_parameter() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (from, to) = (root.path().join("config.json"), root.path().join("ckpt"));
        std::fs::write(&from, base().to_string()).expect("written");
        let made = crate::synth::synth(&from, &to, 1, &Silent).expect("a good config");
        let checkpoint = import::checkpoint(&to).expect("good");
        let report = report(&checkpoint).expect("no texts");
        assert_eq!(report.parameters, made.parameters);
        assert_eq!(report.stored_bytes, 2 * made.parameters);
        // Three modules of gate, up and down between 24 and 12, without biases, in one layer.
        assert_eq!(report.parameters_by_kind["modules"], 3 * 3 * 24 * 12);
        assert_eq!(report.routing.len(), 1);
        let text = report.to_string();
        let words = [
            "layers.1  softmax top 2 above 0.3, modules mlp 12",
            "SCAR cluster_or_domain, 3 heads, 5 clusters, residual",
        ];
        for word in words
            .iter()
            .chain(&["attention_dropout", "law, games, web"])
        {
            assert!(text.contains(word), "{word}: {text}");
        }
        let json = serde_json::to_value(&report).expect("serialises");
        assert_eq!(json["sizes"]["head_dim"], 6);
        assert_eq!(json["routing"][0]["scar"]["clusters"], 5);
    }
}
