//! What encoders of all families share: tasks, prefixes of paths, and how a text's vector is made.

use super::super::keys::Keys;
use super::super::source::Source;
use super::blocks::Blocks;
use super::sentence::Sentence;
use crate::graph::{Conventions, Graph, LabelScore, ModelFacts, NodeId, Task, Untyped};

/// Facts of an encoder.
pub struct Facts<'s> {
    pub task: Task,
    pub hidden: usize,
    pub vocab: usize,
    pub positions: usize,
    /// What follows the layers of an encoder of sentences.
    pub sentence: Option<&'s Sentence>,
    pub labels: Vec<String>,
    /// What the scores of labels are.
    pub score: LabelScore,
    /// Types of tokens that its table knows.
    pub types: usize,
}

impl Facts<'_> {
    /// As the graph has them.
    pub fn model(self) -> ModelFacts {
        let longest = self.sentence.and_then(|sentence| sentence.longest);
        ModelFacts {
            task: self.task,
            hidden_size: self.hidden,
            vocab_size: self.vocab,
            max_positions: longest.map_or(self.positions, |n| n.min(self.positions)),
            domains: Vec::new(),
            labels: self.labels,
            embedding: self.sentence.map_or(0, |s| s.width(self.hidden)),
            conventions: Conventions {
                // Pairs of texts are there for classifiers.
                token_types: match self.task {
                    Task::SequenceClassification => self.types.clamp(1, 2) as u32,
                    _ => 1,
                },
                score: self.score,
                pools_prompt: self.sentence.is_none_or(|s| s.pools_prompt),
            },
        }
    }
}

/// What a checkpoint is for: a classifier by its name, else an encoder of sentences when `there` are files that say how its rows are
/// pooled.
pub fn task(keys: &mut Keys<'_>) -> Option<Task> {
    let there = keys.is_pooled();
    const ALLOWED: &str = "one name that ends in \"ForSequenceClassification\" or \"ForTokenClassification\", or an encoder beside a modules.json of sentence-transformers";
    let value = keys.get("architectures");
    let name = value.and_then(|value| match value.as_array().map(Vec::as_slice) {
        Some([one]) => one.as_str(),
        _ => None,
    });
    let encodes = |name: &str| name.ends_with("Model") || name.ends_with("ForMaskedLM");
    match name {
        Some(name) if name.ends_with("ForSequenceClassification") => {
            Some(Task::SequenceClassification)
        }
        Some(name) if name.ends_with("ForTokenClassification") => Some(Task::TokenClassification),
        Some(name) if encodes(name) && there => Some(Task::Embedding),
        None if value.is_none() && there => Some(Task::Embedding),
        _ => {
            let found = value.map_or("is missing".to_owned(), |value| {
                format!("found {}", super::super::json::listed(value))
            });
            keys.refuse("architectures", found, ALLOWED);
            None
        }
    }
}

/// The first prefix with which the files have a tensor.
pub fn prefix(source: &Source<'_>, prefixes: &[&str], path: &str) -> String {
    let has = |prefix: &&&str| source.has(&format!("{prefix}{path}"));
    let found = prefixes.iter().find(has).or(prefixes.first());
    found.map_or(String::new(), |prefix| (*prefix).to_owned())
}

/// Leaves out tensors whose paths begin so.
pub fn drop_unused(source: &mut Source<'_>, prefix: &str, unused: &[String]) {
    for name in source.names() {
        if unused.iter().any(|begin| name.starts_with(begin.as_str())) {
            source.drop(name, "this task does not use it");
        } else if name.ends_with("rotary_emb.inv_freq") && name.starts_with(prefix) {
            source.drop(name, "frequencies are computed from the config");
        }
    }
}

/// A text's vector.
pub fn embedding(mut b: Blocks<'_, '_>, sentence: &Sentence, x: NodeId) -> Graph<Untyped> {
    let mut x = b.pool(&sentence.pooling, x);
    for dense in &sentence.dense {
        let path = format!("{}.linear", dense.folder);
        let map = b.map(&path, [dense.output, dense.input], dense.bias);
        x = b.linear(&path, [map], x);
        if let Some(act) = dense.act {
            x = b.activate(&format!("{}.act", dense.folder), act, x);
        }
    }
    if sentence.normalize {
        x = b.normalize(x);
    }
    b.close(x)
}
