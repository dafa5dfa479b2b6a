//! What decoders of all families share: prefixes of paths, embedding and head, the loop over layers.

use super::super::error::Findings;
use super::super::source::Source;
use super::blocks::Blocks;
use super::keys::Common;
use crate::graph::{Graph, ModelFacts, NodeId, Site, Task, Untyped, View};

/// Builds a decoder; `layer` is given its number, the prefix of its tensors and its input.
pub fn build(
    common: &Common,
    source: &mut Source<'_>,
    findings: &mut Findings,
    mut layer: impl FnMut(&mut Blocks<'_, '_>, usize, &str, NodeId) -> NodeId,
) -> Option<Graph<Untyped>> {
    drop_known(source, common.layers);
    let facts = ModelFacts {
        task: Task::CausalLm,
        hidden_size: common.hidden,
        vocab_size: common.vocab,
        max_positions: common.positions,
        domains: Vec::new(),
        labels: Vec::new(),
    };
    let head = head(common, source, findings);
    let mut blocks = Blocks::new(source, findings, facts);
    let mut x = blocks.embed("model.embed_tokens", head.embedding);
    for l in 0..common.layers {
        blocks.at(Site::Layer(l as u32));
        x = layer(&mut blocks, l, &format!("model.layers.{l}"), x);
        if blocks.gives_up() {
            return None;
        }
    }
    blocks.at(Site::Final);
    let weight = blocks.stored("model.norm.weight", &[common.hidden]);
    let x = blocks.rms_norm("model.norm", weight, common.eps, x);
    let graph = blocks.finish(head.weight, x);
    findings.is_empty().then_some(graph)
}

/// The two uses of the vocabulary.
struct Head {
    embedding: View,
    weight: View,
}

/// Tied checkpoints may hold one of the two, or both: equal ones are one, different ones are both kept, as in transformers 5.
fn head(common: &Common, source: &mut Source<'_>, findings: &mut Findings) -> Head {
    const EMBEDDING: &str = "model.embed_tokens.weight";
    const HEAD: &str = "lm_head.weight";
    let shape = [common.vocab, common.hidden];
    let has = [EMBEDDING, HEAD].map(|path| source.has(path));
    if !common.tied || (has == [true, true] && !source.same(EMBEDDING, HEAD)) {
        return Head {
            embedding: source.expect(EMBEDDING, &shape, findings),
            weight: source.expect(HEAD, &shape, findings),
        };
    }
    let one = if has == [false, true] {
        HEAD
    } else {
        EMBEDDING
    };
    let view = source.expect(one, &shape, findings);
    if has == [true, true] {
        source.drop(
            HEAD,
            "a copy of the embedding, which is the head (tie_word_embeddings)",
        );
    }
    Head {
        embedding: view.clone(),
        weight: view,
    }
}

/// Tensors that other tools leave in files and that no decoder reads.
fn drop_known(source: &mut Source<'_>, layers: usize) {
    for name in source.names() {
        if name.ends_with("rotary_emb.inv_freq") {
            source.drop(name, "frequencies are computed from the config");
        } else if beyond(name, layers) {
            source.drop(name, "a layer behind the last: it predicts further tokens");
        }
    }
}

/// Whether a path is of a layer for multi-token prediction, which stand behind the last.
fn beyond(name: &str, layers: usize) -> bool {
    if name.starts_with("mtp.") {
        return true;
    }
    let number = name
        .strip_prefix("model.layers.")
        .and_then(|rest| rest.split('.').next());
    number
        .and_then(|n| n.parse::<usize>().ok())
        .is_some_and(|n| n >= layers)
}
