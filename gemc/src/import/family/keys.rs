//! The keys of `config.json` that decoders of all families have.

use serde_json::{Value, json};

use super::super::CONFIG;
use super::super::config::{SpecialTokens, labels, no_effect};
use super::super::error::Findings;
use super::super::keys::{KeyAccount, Keys, Unread};
use super::super::source::Source;
use super::sentence;
use crate::graph::{Activation, LabelScore, Task};

/// What the class of a family's configs says where `config.json` does not.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// `None`: as many as query heads.
    pub num_key_value_heads: Option<usize>,
    /// `None`: the hidden size over the heads.
    pub head_dim: Option<usize>,
    pub max_position_embeddings: usize,
    /// Key and value of what norms add.
    pub eps: (&'static str, f64),
    /// Key and value of the activation.
    pub act: (&'static str, Activation),
    pub rope_theta: f64,
    pub tie_word_embeddings: bool,
    pub bos_token_id: Option<u64>,
    pub eos_token_id: Option<u64>,
}

/// Sizes and settings of a decoder.
#[derive(Clone, Debug)]
pub struct Common {
    pub hidden: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
    pub positions: usize,
    pub act: Activation,
    pub eps: f32,
    /// Whether the head is the embedding, unless both are stored.
    pub tied: bool,
    pub special: SpecialTokens,
    pub task: Task,
    /// Of a classifier.
    pub labels: Vec<String>,
    pub score: LabelScore,
    /// Whether positions see later ones.
    pub both_ways: bool,
}

/// Reads a family's config with `values`; unknown keys pass unless they change what models compute.
pub fn read<T>(
    source: &Source<'_>,
    findings: &mut Findings,
    values: impl FnOnce(&mut Keys<'_>) -> Option<T>,
) -> (Option<T>, KeyAccount) {
    let keys = Keys::new(CONFIG, source.config).tells_null();
    let mut keys = keys
        .pooled(sentence::is_there(source))
        .scored(sentence::activation(source, findings));
    let read = values(&mut keys);
    let (account, found) = keys.finish_with(&unread);
    found.into_iter().for_each(|f| findings.push(f));
    (read, account)
}

/// Keys that change what some models compute, by their beginnings and ends.
const MEANING: &[(&str, &str)] = &[
    ("sliding_window", ""),
    ("rope_", ""),
    ("", "_multiplier"),
    ("", "_softcapping"),
    ("", "_softcap"),
    ("layer_types", ""),
    ("use_bidirectional_attention", ""),
    ("position_embedding_type", ""),
    ("moe_", ""),
    ("num_experts", ""),
    ("num_local_experts", ""),
    ("n_routed_experts", ""),
    ("n_shared_experts", ""),
    ("attn_", "gate"),
    ("attention_", "gate"),
    ("partial_rotary_factor", ""),
    ("query_pre_attn_scalar", ""),
    ("logits_scaling", ""),
    ("logit_scale", ""),
    ("kv_lora_rank", ""),
    ("q_lora_rank", ""),
    ("clip_qkv", ""),
    ("no_rope_layer", ""),
    ("qk_norm", ""),
    ("use_qk_norm", ""),
    ("attention_bias", ""),
    ("mlp_bias", ""),
    ("use_bias", ""),
    ("alibi", ""),
    ("parallel_attn", ""),
    ("use_parallel_residual", ""),
];

fn unread(key: &str, value: &Value) -> Unread {
    const OTHER: &str = "models of this family have no such key";
    if let Some(why) = no_effect(key) {
        return Unread::Ignored(why);
    }
    let changes = |(begin, end): &(&str, &str)| key.starts_with(begin) && key.ends_with(end);
    // Gemma 2 has its window under two names, of which transformers reads the other.
    if MEANING.iter().any(changes) && !means_nothing(value) && key != "sliding_window_size" {
        return Unread::Refused(
            "it changes what models compute, and those of this family do not read it",
        );
    }
    Unread::Ignored(OTHER)
}

/// Values that say that there is nothing special.
fn means_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty() || s == "absolute",
        Value::Array(items) => items.iter().all(|item| item == "full_attention"),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
    }
}

/// Keys that have one right value in every decoder that is read.
pub fn fixed(keys: &mut Keys<'_>, model_type: &str) {
    keys.only("model_type", &[json!(model_type)], "another family");
    keys.only(
        "is_encoder_decoder",
        &[json!(false)],
        "encoders are not built",
    );
    keys.only(
        "add_cross_attention",
        &[json!(false)],
        "encoders are not built",
    );
    keys.ignore("quantization_config", "weights are read as they are stored");
    keys.ignore("torch_dtype", "every tensor says its own type");
    keys.ignore("dtype", "every tensor says its own type");
    keys.ignore("chunk_size_feed_forward", "results do not depend on it");
}

/// Activations by the names of transformers.
pub const ACTS: &[(&str, Activation)] = &[
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("gelu", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("relu", Activation::Relu),
];

/// Reads what all decoders have.
pub fn common(keys: &mut Keys<'_>, defaults: &Defaults) -> Option<Common> {
    let task = task(keys);
    let labels = labels(keys, task, Some(2));
    let score = label_score(keys, task, labels.as_ref().map_or(0, Vec::len));
    let both_ways = both_ways(keys, task);
    let mut count = |key, range, default| keys.count(key, range, Some(default));
    let hidden = count("hidden_size", 1..=1 << 16, defaults.hidden_size);
    let intermediate = count("intermediate_size", 1..=1 << 20, defaults.intermediate_size);
    let layers = count("num_hidden_layers", 1..=1024, defaults.num_hidden_layers);
    let heads = count(
        "num_attention_heads",
        1..=4096,
        defaults.num_attention_heads,
    );
    let vocab = count("vocab_size", 1..=1 << 22, defaults.vocab_size);
    let positions = defaults.max_position_embeddings;
    let positions = count("max_position_embeddings", 1..=1 << 24, positions);
    let kv_heads = keys.count_or_none(
        "num_key_value_heads",
        1..=4096,
        defaults.num_key_value_heads,
    );
    let head_dim = keys.count_or_none("head_dim", 1..=4096, defaults.head_dim);
    let act = keys.choice(defaults.act.0, ACTS, Some(defaults.act.1));
    let number = |e: f64| (0.0..=1.0).contains(&e);
    let (key, default) = defaults.eps;
    let eps = keys.number(key, number, "a number in 0..=1", Some(default));
    let tied = keys.flag("tie_word_embeddings", Some(defaults.tie_word_embeddings));
    let special = special(keys, defaults);
    let (heads, kv_heads) = kv(keys, heads?, kv_heads?)?;
    let hidden = hidden?;
    Some(Common {
        hidden,
        intermediate: intermediate?,
        layers: layers?,
        heads,
        kv_heads,
        head_dim: width(keys, hidden, heads, head_dim?)?,
        vocab: vocab?,
        positions: positions?,
        act: act?,
        eps: eps? as f32,
        tied: tied?,
        special: special?,
        task: task?,
        labels: labels?,
        score: score?,
        both_ways: both_ways?,
    })
}

/// What a checkpoint is for: next tokens, the labels of a text, or its vector where files say how rows are pooled.
fn task(keys: &mut Keys<'_>) -> Option<Task> {
    const ALLOWED: &str = "one name that ends in \"ForCausalLM\" or \"ForSequenceClassification\", or in \"Model\" beside a \
                           modules.json of sentence-transformers";
    let pooled = keys.is_pooled();
    let Some(value) = keys.get("architectures") else {
        return Some(if pooled {
            Task::Embedding
        } else {
            Task::CausalLm
        });
    };
    let name = match value.as_array().map(Vec::as_slice) {
        Some([one]) => one.as_str().unwrap_or_default(),
        _ => "",
    };
    let is = |end: &str| name.ends_with(end);
    match pooled {
        _ if is("ForSequenceClassification") => Some(Task::SequenceClassification),
        true if is("Model") || is("ForCausalLM") => Some(Task::Embedding),
        false if is("ForCausalLM") => Some(Task::CausalLm),
        _ => {
            let what = format!("found {}", super::super::json::listed(value));
            keys.refuse("architectures", what, ALLOWED);
            None
        }
    }
}

/// What the scores of labels are: as a classifier's files say, else probabilities of one of several labels, or of one by itself.
pub fn label_score(keys: &mut Keys<'_>, task: Option<Task>, labels: usize) -> Option<LabelScore> {
    if task != Some(Task::SequenceClassification) {
        return Some(LabelScore::Softmax);
    }
    let usual = match labels {
        1 => LabelScore::Sigmoid,
        _ => LabelScore::Softmax,
    };
    let problems = [
        ("single_label_classification", usual),
        ("multi_label_classification", LabelScore::Sigmoid),
        ("regression", LabelScore::Identity),
    ];
    let usual = match keys.is_null("problem_type") {
        true => Some(usual),
        false => keys.choice("problem_type", &problems, Some(usual)),
    };
    // Of sentence-transformers' cross-encoders, in files of both ages.
    let newest = keys.score();
    let newer = keys.get("sentence_transformers");
    let newer = newer.and_then(|settings| settings.get("activation_fn"));
    let older = keys.get("sbert_ce_default_activation_function");
    let Some(named) = newest.as_ref().or(newer).or(older) else {
        return usual;
    };
    let class = named.as_str().and_then(|name| name.rsplit('.').next());
    match class {
        Some("Sigmoid") => Some(LabelScore::Sigmoid),
        Some("Identity") => Some(LabelScore::Identity),
        _ => {
            let found = format!("names the function {}", super::super::json::kind(named));
            let key = match (newest.is_some(), newer) {
                (false, None) => "sbert_ce_default_activation_function",
                _ => "sentence_transformers",
            };
            keys.refuse(key, found, "Sigmoid or Identity of PyTorch");
            None
        }
    }
}

/// `is_causal`: false where a decoder's layers see all of a text, which only a model of whole texts can.
fn both_ways(keys: &mut Keys<'_>, task: Option<Task>) -> Option<bool> {
    const KEY: &str = "is_causal";
    if task == Some(Task::CausalLm) {
        let why = "decoders that see later positions are not built";
        keys.only(KEY, &[json!(true)], why);
        return Some(false);
    }
    keys.flag(KEY, Some(true)).map(|causal| !causal)
}

fn kv(keys: &mut Keys<'_>, heads: usize, kv_heads: Option<usize>) -> Option<(usize, usize)> {
    let kv_heads = kv_heads.unwrap_or(heads);
    if !heads.is_multiple_of(kv_heads) {
        let allowed = format!("a divisor of `num_attention_heads` = {heads}");
        keys.refuse("num_key_value_heads", format!("is {kv_heads}"), allowed);
        return None;
    }
    Some((heads, kv_heads))
}

fn width(
    keys: &mut Keys<'_>,
    hidden: usize,
    heads: usize,
    head_dim: Option<usize>,
) -> Option<usize> {
    if let Some(width) = head_dim {
        return Some(width);
    }
    if !hidden.is_multiple_of(heads) {
        let allowed = format!("a divisor of `hidden_size` = {hidden}, or `head_dim` given as well");
        keys.refuse("num_attention_heads", format!("found {heads}"), allowed);
        return None;
    }
    Some(hidden / heads)
}

fn special(keys: &mut Keys<'_>, defaults: &Defaults) -> Option<SpecialTokens> {
    let default = |id: &Option<u64>| id.iter().copied().collect::<Vec<u64>>();
    let bos = keys.ids_or("bos_token_id", &default(&defaults.bos_token_id));
    let eos = keys.ids_or("eos_token_id", &default(&defaults.eos_token_id));
    Some(SpecialTokens {
        bos: bos?.first().copied(),
        eos: eos?,
    })
}
