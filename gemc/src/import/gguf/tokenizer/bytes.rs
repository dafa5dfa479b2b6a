//! `gpt2`: BPE over bytes.

use serde_json::{Value as Json, json};

use super::super::Metadata;
use super::{Around, Vocabulary, bpe, file, merges, splits};

/// `tokenizer.json`.
///
/// # Errors
/// With what is missing, or cuts words in an unknown way.
pub fn tokenizer(metadata: &Metadata<'_>, vocabulary: &Vocabulary<'_>) -> Result<Json, String> {
    let pre = metadata.text("tokenizer.ggml.pre")?.unwrap_or("gpt-2");
    let splits = splits::of(pre)?;
    let bytes = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false
    });
    let mut steps = splits.steps;
    steps.push(bytes.clone());
    let normalizer = match splits.composed {
        true => json!({"type": "NFC"}),
        false => Json::Null,
    };
    let around = Around::of(metadata, vocabulary, [splits.begins, false])?;
    let steps = [
        normalizer,
        json!({"type": "Sequence", "pretokenizers": steps}),
        around.post_processor(vocabulary),
        bytes,
    ];
    let fill = json!({"ignore_merges": splits.whole_words});
    let model = bpe(vocabulary.ids(), &merges(metadata)?, fill);
    Ok(file(vocabulary, steps, model))
}
