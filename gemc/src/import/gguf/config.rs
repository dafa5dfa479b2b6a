//! The metadata of a GGUF file -> `config.json` as transformers would write it.

use serde_json::{Map, Value as Json, json};

use super::super::files::gguf::Value;
use super::super::files::{Entry, StoredType, to_f32};
use super::{Architecture, Metadata, names, tokenizer};

/// Layers of a model at most.
const MOST_LAYERS: u64 = 1024;

/// The config of a model of an architecture. Names of tensors are still those of the file.
///
/// # Errors
/// With what is missing or wrong.
pub fn of(
    architecture: &Architecture,
    metadata: &Metadata<'_>,
    tensors: &[Entry],
    file: &[u8],
) -> Result<Map<String, Json>, String> {
    let own = Own {
        architecture,
        metadata,
    };
    let has = |name: &str| tensors.iter().any(|tensor| tensor.name == name);
    let vocab = tensors
        .iter()
        .find(|tensor| tensor.name == "token_embd.weight");
    let vocab = vocab.and_then(|tensor| tensor.shape.first().copied());
    let vocab = vocab.ok_or("tensor `token_embd.weight` is missing")?;
    // Said by the tensor.
    own.count("vocab_size")?;
    let (hidden, heads) = (
        own.need("embedding_length")?,
        own.need("attention.head_count")?,
    );
    let layers = own.need("block_count")?;
    if layers > MOST_LAYERS {
        let key = own.key("block_count");
        return Err(format!(
            "metadata: `{key}` is {layers}; allowed: at most {MOST_LAYERS}"
        ));
    }
    let experts = own.count("expert_count")?.unwrap_or(0);
    let [dense, routed] = architecture.model_type;
    let mut config = json!({
        "model_type": if experts > 0 { routed } else { dense },
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": own.need("feed_forward_length")?,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": own.need("context_length")?,
        "tie_word_embeddings": !has("output.weight"),
        "bos_token_id": metadata.count("tokenizer.ggml.bos_token_id")?,
        "eos_token_id": tokenizer::ends(metadata)?,
    });
    let width = head_dim(&own)?.unwrap_or(hidden / heads.max(1));
    config["head_dim"] = json!(width);
    let eps = own.need_number("attention.layer_norm_rms_epsilon")?;
    config["rope_parameters"] = rope(&own, tensors, file)?;
    if experts > 0 {
        config["num_experts"] = json!(experts);
        config["num_experts_per_tok"] = json!(own.need("expert_used_count")?);
    }
    let convolves = architecture.name.starts_with("lfm2");
    config[if convolves {
        "norm_eps"
    } else {
        "rms_norm_eps"
    }] = json!(eps);
    if !convolves {
        let kv = own.count("attention.head_count_kv")?;
        config["num_key_value_heads"] = json!(kv.unwrap_or(heads));
    }
    match architecture.name {
        "llama" | "granite" | "granitemoe" => {
            config["attention_bias"] = json!(has("blk.0.attn_q.bias"));
            config["mlp_bias"] = json!(has("blk.0.ffn_gate.bias"));
            if architecture.name != "llama" {
                granite(&own, &mut config, width)?;
            }
        }
        "qwen3" | "qwen3moe" | "olmoe" | "gpt-oss" => {
            config["attention_bias"] = json!(has("blk.0.attn_q.bias"));
        }
        "gemma2" | "gemma3" => gemma(&own, &mut config, width)?,
        "lfm2" | "lfm2moe" => lfm2(&own, &mut config, heads)?,
        _ => {}
    }
    match architecture.name {
        "qwen2moe" | "qwen3moe" => {
            // llama.cpp renormalises the gates of the one and not of the other, whatever the first config said.
            config["norm_topk_prob"] = json!(architecture.name == "qwen3moe");
            config["moe_intermediate_size"] = json!(own.need("expert_feed_forward_length")?);
        }
        "olmoe" => config["norm_topk_prob"] = json!(false),
        "gpt-oss" => {
            config["sliding_window"] = json!(own.need("attention.sliding_window")?);
            config["intermediate_size"] = json!(own.need("expert_feed_forward_length")?);
            // The corrections of yarn are not rounded to whole columns in this family.
            if config["rope_parameters"]["rope_type"] == "yarn" {
                config["rope_parameters"]["truncate"] = json!(false);
            }
        }
        _ => {}
    }
    if architecture.name == "qwen2moe" {
        let shared = own.need("expert_shared_feed_forward_length")?;
        config["shared_expert_intermediate_size"] = json!(shared);
    }
    match config {
        Json::Object(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

/// Entries of the metadata that begin with the architecture's name.
struct Own<'m> {
    architecture: &'m Architecture,
    metadata: &'m Metadata<'m>,
}

impl Own<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture.name)
    }

    fn count(&self, name: &str) -> Result<Option<u64>, String> {
        self.metadata.count(&self.key(name))
    }

    fn number(&self, name: &str) -> Result<Option<f64>, String> {
        self.metadata.number(&self.key(name))
    }

    fn missing(&self, name: &str) -> String {
        format!("metadata: `{}` is missing", self.key(name))
    }

    fn need(&self, name: &str) -> Result<u64, String> {
        self.count(name)?.ok_or_else(|| self.missing(name))
    }

    fn need_number(&self, name: &str) -> Result<f64, String> {
        self.number(name)?.ok_or_else(|| self.missing(name))
    }
}

/// Factors, which files may leave out, and positions, which need not be rotated.
fn granite(own: &Own<'_>, config: &mut Json, head: u64) -> Result<(), String> {
    let usual = 1.0 / (head.max(1) as f64).sqrt();
    for (key, name, default) in [
        ("attention_multiplier", "attention.scale", usual),
        ("embedding_multiplier", "embedding_scale", 1.0),
        ("residual_multiplier", "residual_scale", 1.0),
    ] {
        // llama.cpp takes zero for not being there.
        let given = own.number(name)?.filter(|factor| *factor != 0.0);
        config[key] = json!(given.unwrap_or(default));
    }
    config["logits_scaling"] = json!(own.need_number("logit_scale")?);
    let rotates = own.metadata.flag(&own.key("rope.scaling.finetuned"))?;
    if rotates == Some(false) {
        config["position_embedding_type"] = json!("nope");
    }
    if own.architecture.name == "granitemoe" {
        let shared = own.count("expert_shared_feed_forward_length")?;
        config["shared_intermediate_size"] = json!(shared.unwrap_or(0));
    }
    Ok(())
}

/// Caps, windows, and a base for the layers that slide.
fn gemma(own: &Own<'_>, config: &mut Json, head: u64) -> Result<(), String> {
    let third = own.architecture.name == "gemma3";
    let layers = config["num_hidden_layers"].as_u64().unwrap_or(0);
    // The largest of either scales by something else, which no entry says.
    let scaled = match (own.architecture.name, layers) {
        ("gemma3", 62) | ("gemma2", 46) => {
            let [hidden, heads] =
                ["hidden_size", "num_attention_heads"].map(|key| config[key].as_u64().unwrap_or(0));
            hidden / heads.max(1)
        }
        _ => head,
    };
    config["query_pre_attn_scalar"] = json!(scaled);
    // What llama.cpp takes where a file of the second does not say it.
    let or = |found: Option<f64>, usual: f64| found.or((!third).then_some(usual));
    let logits = own.number("final_logit_softcapping")?;
    config["final_logit_softcapping"] = json!(or(logits, 30.0));
    if !third {
        let scores = own.number("attn_logit_softcapping")?;
        config["attn_logit_softcapping"] = json!(or(scores, 50.0));
    }
    let window = own.count("attention.sliding_window")?;
    let window = window
        .or((!third).then_some(4096))
        .filter(|window| *window > 0);
    config["sliding_window"] = json!(window);
    let pattern = own.key("attention.sliding_window_pattern");
    let slides = match own.metadata.entry(&pattern) {
        Some(Value::List(_)) => own.metadata.flags(&pattern)?.unwrap_or_default(),
        _ => {
            let every = own.metadata.count(&pattern)?;
            let every = every.unwrap_or(if third { 6 } else { 2 }).max(1);
            (0..layers).map(|l| (l + 1) % every != 0).collect()
        }
    };
    let kind = |slides: &bool| match slides {
        true if window.is_some() => "sliding_attention",
        _ => "full_attention",
    };
    config["layer_types"] = slides.iter().map(kind).collect();
    if third {
        let base = own.number("rope.freq_base_swa")?.unwrap_or(10_000.0);
        config["rope_parameters"] = json!({
            "full_attention": config["rope_parameters"],
            "sliding_attention": {"rope_theta": base, "rope_type": "default"},
        });
    }
    Ok(())
}

/// Layers without heads of keys convolve.
fn lfm2(own: &Own<'_>, config: &mut Json, heads: u64) -> Result<(), String> {
    let layers = config["num_hidden_layers"].as_u64().unwrap_or(0);
    let key = own.key("attention.head_count_kv");
    let kv = match own.metadata.entry(&key) {
        Some(Value::List(_)) => own.metadata.integers(&key)?.unwrap_or_default(),
        _ => {
            let all = own.metadata.count(&key)?.unwrap_or(heads);
            vec![i64::try_from(all).unwrap_or(i64::MAX); layers as usize]
        }
    };
    let most = kv.iter().copied().max().unwrap_or(0);
    if most < 1 || kv.iter().any(|n| *n != 0 && *n != most) {
        return Err(format!(
            "metadata: `{key}` has other numbers than 0 and {most}"
        ));
    }
    config["num_key_value_heads"] = json!(most);
    let kind = |n: &i64| if *n == 0 { "conv" } else { "full_attention" };
    config["layer_types"] = kv.iter().map(kind).collect();
    config["conv_L_cache"] = json!(own.need("shortconv.l_cache")?);
    if own.architecture.name == "lfm2" {
        config["block_auto_adjust_ff_dim"] = json!(false);
        return Ok(());
    }
    let scores = own.need("expert_gating_func")?;
    if scores != 2 {
        let key = own.key("expert_gating_func");
        return Err(format!(
            "metadata: `{key}` is {scores}; allowed: 2, sigmoid"
        ));
    }
    config["moe_intermediate_size"] = json!(own.need("expert_feed_forward_length")?);
    config["num_dense_layers"] = json!(own.count("leading_dense_block_count")?.unwrap_or(0));
    config["routed_scaling_factor"] = json!(own.number("expert_weights_scale")?.unwrap_or(1.0));
    Ok(())
}

fn head_dim(own: &Own<'_>) -> Result<Option<u64>, String> {
    let (key, value) = (
        own.count("attention.key_length")?,
        own.count("attention.value_length")?,
    );
    let rotated = own.count("rope.dimension_count")?;
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

fn rope(own: &Own<'_>, tensors: &[Entry], file: &[u8]) -> Result<Json, String> {
    let metadata = own.metadata;
    let key = |name: &str| own.key(&format!("rope.{name}"));
    let theta = metadata.number(&key("freq_base"))?.unwrap_or(10_000.0);
    let mut rope = json!({"rope_theta": theta, "rope_type": "default"});
    let kind = metadata.text(&key("scaling.type"))?.unwrap_or("none");
    let factor = metadata.number(&key("scaling.factor"))?;
    let original = metadata.count(&key("scaling.original_context_length"))?;
    // Says how a model was trained; granite alone computes by it.
    metadata.flag(&key("scaling.finetuned"))?;
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
            for name in ["beta_fast", "beta_slow"] {
                if let Some(beta) = metadata.number(&key(&format!("scaling.yarn_{name}")))? {
                    rope[name] = json!(beta);
                }
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
