//! The front end of `model_type = "gem"`: config and tensor files -> graph and account.

#[cfg(test)]
mod doc_test;
mod graph;
mod tensors;

use std::ops::ControlFlow;

use super::error::{Finding, Findings};
use super::{ImportedModel, Source, config};

pub use graph::build as graph;
pub use tensors::{At, Dim, EMBEDDING, Group, HEAD, LAYER, MODULE, ROUTED, Row, for_each};

/// Reads config and tensors; `None` when something was found wrong.
pub fn front(source: &mut Source<'_>, findings: &mut Findings) -> Option<ImportedModel> {
    let (config, keys) = config::read(source.config, findings);
    let config = config?;
    let _ = for_each(&config, &mut |path, shape| {
        source.expect(path, shape, findings);
        match source.is_too_large() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    drop_known(&config, source, findings);
    // Only now is the number of nodes bounded by what the file holds.
    findings.is_empty().then(|| ImportedModel {
        graph: graph(&config),
        keys,
        special: config.special,
    })
}

/// Notes tensors that other tools leave in the file and that have no meaning here.
fn drop_known(config: &config::GemConfig, source: &mut Source<'_>, findings: &mut Findings) {
    const HEAD: &str = "lm_head.weight";
    const EMBEDDING: &str = "model.embed_tokens.weight";
    if config.tie_word_embeddings && source.has(HEAD) {
        if !source.same(HEAD, EMBEDDING) {
            let what = format!("differs from {EMBEDDING}, but `tie_word_embeddings` is true");
            let allowed = "the same values, or no such tensor";
            findings.push(Finding::tensor(HEAD, what).allowed(allowed));
        }
        source.drop(
            HEAD,
            "a copy of the embedding, which is the head (tie_word_embeddings)",
        );
    }
    for name in source
        .names()
        .filter(|n| n.ends_with("rotary_emb.inv_freq"))
    {
        let why = "frequencies are computed from `rope_theta` and `rope_scaling`";
        source.drop(name, why);
    }
}
