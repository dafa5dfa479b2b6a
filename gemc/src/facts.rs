//! What the runtime is told about a model, from checkpoint, plan, target and layout.

use std::borrow::Cow;

use gem_runtime::{ModelInfo, Name};

use crate::graph::Task;
use crate::pack;
use crate::pack::layout::Layout;
use crate::pipeline::LoadedCheckpoint;
use crate::plan::BitPlan;
use crate::target::Target;

/// Facts about a compiled model called `name`.
#[must_use]
pub fn model_info(
    name: &str,
    loaded: &LoadedCheckpoint,
    plan: &BitPlan,
    target: &Target,
    layout: &Layout,
) -> ModelInfo {
    let facts = loaded.graph.facts();
    let generation = loaded.checkpoint.generation_config();
    let names = |list: &[String]| Cow::Owned(list.iter().map(|s| Name::Owned(s.clone())).collect());
    ModelInfo {
        name: Cow::Owned(name.to_owned()),
        task: match facts.task {
            Task::CausalLm => gem_runtime::Task::CausalLm,
            Task::SequenceClassification => gem_runtime::Task::SequenceClassification,
            Task::TokenClassification => gem_runtime::Task::TokenClassification,
            Task::Embedding => gem_runtime::Task::Embedding,
        },
        target: Cow::Owned(target.name.clone()),
        level: target.level,
        vocab_size: facts.vocab_size as u32,
        hidden_size: facts.hidden_size as u32,
        max_positions: facts.max_positions as u32,
        domains: names(&facts.domains),
        labels: names(&facts.labels),
        embedding: facts.embedding as u32,
        conventions: facts.conventions,
        bits_per_weight: layout.bits_per_weight(),
        weight_bytes: layout.weight_bytes(),
        plan_hash: plan.hash(),
        layout: pack::layout_digest(layout, &loaded.graph),
        bos: generation.bos_token_id,
        eos: Cow::Owned(generation.eos_token_ids.clone()),
    }
}
