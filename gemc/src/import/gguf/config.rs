//! The metadata of a GGUF file -> `config.json` as transformers would write it.

use serde_json::{Map, Value as Json, json};

use super::super::files::{Entry, StoredType, to_f32};
use super::{Metadata, names};

/// The config of a model of an architecture. Names of tensors are still those of the file.
///
/// # Errors
/// With what is missing or wrong.
pub fn of(
    architecture: &str,
    metadata: &Metadata<'_>,
    tensors: &[Entry],
    file: &[u8],
) -> Result<Map<String, Json>, String> {
    let key = |name: &str| format!("{architecture}.{name}");
    let count = |name: &str| metadata.count(&key(name));
    let need = |name: &str| {
        let missing = || format!("metadata: `{}` is missing", key(name));
        count(name)?.ok_or_else(missing)
    };
    let has = |name: &str| tensors.iter().any(|tensor| tensor.name == name);
    let vocab = tensors
        .iter()
        .find(|tensor| tensor.name == "token_embd.weight");
    let vocab = vocab.and_then(|tensor| tensor.shape.first().copied());
    let vocab = vocab.ok_or("tensor `token_embd.weight` is missing")?;
    // Said by the tensor.
    count("vocab_size")?;
    let (hidden, heads) = (need("embedding_length")?, need("attention.head_count")?);
    let eps = metadata.number(&key("attention.layer_norm_rms_epsilon"))?;
    let eps = eps.ok_or_else(|| {
        let key = key("attention.layer_norm_rms_epsilon");
        format!("metadata: `{key}` is missing")
    })?;
    let mut config = json!({
        "model_type": architecture,
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": need("feed_forward_length")?,
        "num_hidden_layers": need("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": count("attention.head_count_kv")?.unwrap_or(heads),
        "max_position_embeddings": need("context_length")?,
        "rms_norm_eps": eps,
        "tie_word_embeddings": !has("output.weight"),
        "bos_token_id": metadata.count("tokenizer.ggml.bos_token_id")?,
        "eos_token_id": ends(metadata)?,
    });
    let width = head_dim(architecture, metadata)?.unwrap_or(hidden / heads.max(1));
    config["head_dim"] = json!(width);
    if architecture != "qwen2" {
        config["attention_bias"] = json!(has("blk.0.attn_q.bias"));
    }
    if architecture == "llama" {
        config["mlp_bias"] = json!(has("blk.0.ffn_gate.bias"));
    }
    config["rope_parameters"] = rope(architecture, metadata, tensors, file)?;
    match config {
        Json::Object(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

/// Tokens that end a text.
fn ends(metadata: &Metadata<'_>) -> Result<Vec<u64>, String> {
    let mut ids = Vec::new();
    for key in ["eos", "eot", "eom"] {
        ids.extend(metadata.count(&format!("tokenizer.ggml.{key}_token_id"))?);
    }
    ids.dedup();
    Ok(ids)
}

fn head_dim(architecture: &str, metadata: &Metadata<'_>) -> Result<Option<u64>, String> {
    let of = |name: &str| metadata.count(&format!("{architecture}.{name}"));
    let (key, value) = (of("attention.key_length")?, of("attention.value_length")?);
    let rotated = of("rope.dimension_count")?;
    let width = key.or(value).or(rotated);
    let same = [key, value, rotated]
        .into_iter()
        .flatten()
        .all(|n| Some(n) == width);
    match same {
        true => Ok(width),
        false => Err(format!(
            "metadata: keys are {key:?} wide, values {value:?}, and {rotated:?} columns are rotated; allowed: one number"
        )),
    }
}

fn rope(
    architecture: &str,
    metadata: &Metadata<'_>,
    tensors: &[Entry],
    file: &[u8],
) -> Result<Json, String> {
    let key = |name: &str| format!("{architecture}.rope.{name}");
    let theta = metadata.number(&key("freq_base"))?.unwrap_or(10_000.0);
    let mut rope = json!({"rope_theta": theta, "rope_type": "default"});
    let kind = metadata.text(&key("scaling.type"))?.unwrap_or("none");
    let factor = metadata.number(&key("scaling.factor"))?;
    let original = metadata.count(&key("scaling.original_context_length"))?;
    match kind {
        "none" => {}
        "linear" => {
            rope["rope_type"] = json!("linear");
            rope["factor"] = json!(factor.unwrap_or(1.0));
        }
        "yarn" => {
            rope["rope_type"] = json!("yarn");
            rope["factor"] = json!(factor.unwrap_or(1.0));
            if let Some(original) = original {
                rope["original_max_position_embeddings"] = json!(original);
            }
        }
        other => {
            let other = super::super::error::shown(other);
            return Err(format!(
                "metadata: `{}` is \"{other}\"; allowed: none, linear, yarn",
                key("scaling.type")
            ));
        }
    }
    if let Some(divisors) = tensors
        .iter()
        .find(|tensor| tensor.name == names::FREQUENCIES)
    {
        if divisors.stored != Ok(StoredType::F32) || kind != "none" {
            return Err(format!(
                "tensor `{}` is of another kind",
                names::FREQUENCIES
            ));
        }
        let mut values = vec![0f32; divisors.bytes.len() / 4];
        to_f32(StoredType::F32, &file[divisors.bytes.clone()], &mut values);
        rope["rope_type"] = json!("divisors");
        rope["divisors"] = json!(values);
    }
    Ok(rope)
}
