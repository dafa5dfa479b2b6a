//! The keys of `config.json` -> [`GemConfig`]: one line per key with its default and its range.

use serde_json::{Map, Value};

use super::super::error::{Findings, counted};
use super::super::json::{kind, listed};
use super::super::keys::{KeyAccount, Keys, is_name};
use super::{
    GemConfig, GeneralPath, Modules, NormPosition, Positions, SpecialTokens, rope, routing,
};
use crate::graph::{Activation, NormKind, Task};

const FILE: &str = "config.json";
const MOST_LABELS: usize = 1 << 16;

const TRAINING: &str = "only training uses it";
const ASKED_FOR: &str = "outputs are chosen when the model is run";

/// Keys that are accepted without effect, and why; so are `*_token_id` and `*dropout*`.
const NO_EFFECT: [(&str, &str); 15] = [
    (
        "transformers_version",
        "a note of the library that wrote it",
    ),
    ("_name_or_path", "a note of where the model came from"),
    ("use_cache", "keys and values are always kept"),
    ("initializer_range", TRAINING),
    ("label2id", "`id2label` names the labels"),
    ("problem_type", "scores are the softmax of the logits"),
    ("finetuning_task", TRAINING),
    ("gradient_checkpointing", TRAINING),
    ("output_attentions", ASKED_FOR),
    ("output_hidden_states", ASKED_FOR),
    ("output_router_logits", ASKED_FOR),
    ("pretraining_tp", TRAINING),
    ("return_dict", "a setting of a Python library"),
    ("router_aux_loss_coef", TRAINING),
    ("auto_map", "it names Python code, which is not run"),
];

/// Why a key is accepted without effect; `None` for any other.
#[must_use]
pub fn no_effect(key: &str) -> Option<&'static str> {
    let listed = NO_EFFECT.iter().find(|(name, _)| *name == key);
    match listed {
        Some((_, why)) => Some(why),
        None if key == "pad_token_id" => Some("texts are not padded"),
        None if key.ends_with("_token_id") => {
            Some("tokenizer.json says where special tokens stand")
        }
        None if key.contains("dropout") => Some(TRAINING),
        None => None,
    }
}

/// Reads a GEM config. Findings go to `findings`; the config comes back when every value could be read, even if an
/// unknown key was found, so that tensors can be checked against it and reported together.
pub fn read(map: &Map<String, Value>, findings: &mut Findings) -> (Option<GemConfig>, KeyAccount) {
    let empty = Map::new();
    let mut keys = Keys::new(FILE, map);
    let config = values(&mut keys, &empty);
    let (account, found) = keys.finish(no_effect);
    found.into_iter().for_each(|f| findings.push(f));
    (config, account)
}

/// Widths of the attention.
struct Sizes {
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    /// Whether the file says it, or it follows from the others.
    head_dim_written: bool,
}

fn values<'a>(keys: &mut Keys<'a>, empty: &'a Map<String, Value>) -> Option<GemConfig> {
    const ACTS: [(&str, Activation); 4] = [
        ("silu", Activation::Silu),
        ("gelu", Activation::Gelu),
        ("gelu_pytorch_tanh", Activation::GeluTanh),
        ("relu", Activation::Relu),
    ];
    const NORMS: [(&str, NormKind); 2] =
        [("rmsnorm", NormKind::Rms), ("layernorm", NormKind::Layer)];
    const PLACES: [(&str, NormPosition); 2] =
        [("pre", NormPosition::Pre), ("post", NormPosition::Post)];
    keys.choice("model_type", &[("gem", ())], None);
    keys.count("gem_version", 1..=1, None);
    dtype(keys);
    let task = task(keys);
    let hidden_size = keys.count("hidden_size", 1..=1 << 16, None);
    let num_hidden_layers = keys.count("num_hidden_layers", 1..=1024, None);
    let sizes = sizes(keys, hidden_size);
    let intermediate_size = keys.count("intermediate_size", 1..=1 << 20, None);
    let vocab_size = keys.count("vocab_size", 1..=1 << 22, None);
    let max_position_embeddings = keys.count("max_position_embeddings", 1..=1 << 24, None);
    let hidden_act = keys.choice("hidden_act", &ACTS, None);
    let mlp_gated = keys.flag("mlp_gated", None);
    let norm = keys.choice("norm", &NORMS, None);
    let eps = |e: f64| (0.0..=1.0).contains(&e);
    let norm_eps = keys.number("norm_eps", eps, "a number in 0..=1", None);
    let norm_position = keys.choice("norm_position", &PLACES, None);
    let positions = positions(keys, empty, sizes.as_ref());
    let type_vocab_size = keys.count("type_vocab_size", 0..=1 << 16, Some(0));
    let attention_bias = keys.flag("attention_bias", Some(false));
    let mlp_bias = keys.flag("mlp_bias", Some(false));
    let qk_norm = keys.flag("qk_norm", Some(false));
    let tie = keys.flag("tie_word_embeddings", Some(false));
    let routing = routing::read(keys, empty, num_hidden_layers, hidden_size);
    let labels = labels(keys, task, None);
    let special = special(keys);
    if task == Some(Task::SequenceClassification) {
        keys.ignore("tie_word_embeddings", "a classifier has no word head");
    }
    let (sizes, routing) = (sizes?, routing?);
    let config = GemConfig {
        task: task?,
        hidden_size: sizes.hidden,
        num_hidden_layers: num_hidden_layers?,
        num_attention_heads: sizes.heads,
        num_key_value_heads: sizes.kv_heads,
        head_dim: sizes.head_dim,
        intermediate_size: intermediate_size?,
        vocab_size: vocab_size?,
        max_position_embeddings: max_position_embeddings?,
        hidden_act: hidden_act?,
        mlp_gated: mlp_gated?,
        norm: norm?,
        norm_eps: norm_eps? as f32,
        norm_position: norm_position?,
        positions: positions?,
        type_vocab_size: type_vocab_size?,
        attention_bias: attention_bias?,
        mlp_bias: mlp_bias?,
        qk_norm: qk_norm?,
        tie_word_embeddings: tie? && task == Some(Task::CausalLm),
        domains: routing.domains,
        router: routing.router,
        scar: routing.scar,
        modules: routing.modules,
        general_path: routing.general_path,
        labels: labels?,
        special: special?,
    };
    unused_mlp(keys, &config);
    Some(config)
}

/// Keys of the general path, or of every MLP, in a model without.
fn unused_mlp(keys: &mut Keys<'_>, config: &GemConfig) {
    let mut layers = 0..config.num_hidden_layers;
    let general = layers.any(|l| config.general_path != GeneralPath::None || !config.is_routed(l));
    if general {
        return;
    }
    keys.ignore("intermediate_size", "no layer has a general path");
    if !matches!(config.modules, Modules::Mlp { .. }) {
        for key in ["hidden_act", "mlp_gated", "mlp_bias"] {
            keys.ignore(key, "no layer has an MLP");
        }
    }
}

/// Tokens that begin and end a text; they count where no `generation_config.json` names others.
fn special(keys: &mut Keys<'_>) -> Option<SpecialTokens> {
    let (bos, eos) = (keys.ids("bos_token_id"), keys.ids("eos_token_id"));
    Some(SpecialTokens {
        bos: bos?.first().copied(),
        eos: eos?,
    })
}

/// `torch_dtype` and `dtype`: the type at saving time. Each tensor says its own, so neither has an effect.
fn dtype(keys: &mut Keys<'_>) {
    const TYPES: [(&str, u8); 3] = [("float32", 0), ("float16", 1), ("bfloat16", 2)];
    let old = keys.choice("torch_dtype", &TYPES, Some(u8::MAX));
    let new = keys.choice("dtype", &TYPES, Some(u8::MAX));
    let both = keys.written("torch_dtype") && keys.written("dtype");
    // One that was refused has no value to compare.
    if both && old.zip(new).is_some_and(|(old, new)| old != new) {
        let allowed = "one of the two spellings, or the same value in both";
        keys.refuse("dtype", "disagrees with `torch_dtype`", allowed);
    }
    keys.ignore("torch_dtype", "every tensor says its own type");
    keys.ignore("dtype", "every tensor says its own type");
}

fn task(keys: &mut Keys<'_>) -> Option<Task> {
    const TASKS: [(&str, Task); 2] = [
        ("GemForCausalLM", Task::CausalLm),
        ("GemForSequenceClassification", Task::SequenceClassification),
    ];
    let allowed = "[\"GemForCausalLM\"] or [\"GemForSequenceClassification\"]";
    let Some(value) = keys.get("architectures") else {
        keys.refuse("architectures", "is missing", allowed);
        return None;
    };
    let name = match value.as_array().map(Vec::as_slice) {
        Some([one]) => one.as_str(),
        _ => None,
    };
    let found = TASKS.iter().find(|(n, _)| name == Some(n));
    if found.is_none() {
        keys.refuse("architectures", format!("found {}", listed(value)), allowed);
    }
    found.map(|(_, t)| *t)
}

fn sizes(keys: &mut Keys<'_>, hidden: Option<usize>) -> Option<Sizes> {
    let heads = keys.count("num_attention_heads", 1..=4096, None);
    let kv_heads = keys.count("num_key_value_heads", 1..=4096, heads.or(Some(1)));
    let written = keys.get("head_dim").is_some();
    let given = keys.count("head_dim", 1..=4096, Some(1));
    let (hidden, heads, kv_heads) = (hidden?, heads?, kv_heads?);
    if heads % kv_heads != 0 {
        let allowed = format!("a divisor of `num_attention_heads` = {heads}");
        keys.refuse("num_key_value_heads", format!("found {kv_heads}"), allowed);
        return None;
    }
    if !written && hidden % heads != 0 {
        let what = format!("found {heads}");
        let allowed = format!("a divisor of `hidden_size` = {hidden}, or `head_dim` given as well");
        keys.refuse("num_attention_heads", what, allowed);
        return None;
    }
    Some(Sizes {
        hidden,
        heads,
        kv_heads,
        head_dim: if written { given? } else { hidden / heads },
        head_dim_written: written,
    })
}

fn positions<'a>(
    keys: &mut Keys<'a>,
    empty: &'a Map<String, Value>,
    sizes: Option<&Sizes>,
) -> Option<Positions> {
    const KINDS: [(&str, u8); 3] = [("rope", 0), ("learned", 1), ("none", 2)];
    let which = keys.choice("position_embedding", &KINDS, None);
    let rope = rope::read(keys, empty);
    match which? {
        0 => {
            if let Some(odd) = sizes.filter(|s| s.head_dim % 2 != 0) {
                odd_heads(keys, odd);
                return None;
            }
            Some(Positions::Rope(rope?))
        }
        other => {
            let scaled = rope?.scaling != super::super::rope::RopeScaling::None;
            if scaled {
                let what = "is set, but `position_embedding` is not \"rope\"";
                keys.refuse("rope_scaling", what, "null");
            }
            for key in ["rope_theta", "rope_scaling", "rope_parameters"] {
                keys.ignore(key, "`position_embedding` is not \"rope\"");
            }
            Some(if other == 1 {
                Positions::Learned
            } else {
                Positions::None
            })
        }
    }
}

/// Rotation takes columns of a head in pairs.
fn odd_heads(keys: &mut Keys<'_>, sizes: &Sizes) {
    const EVEN: &str = "an even number, since `position_embedding` is \"rope\"";
    let d = sizes.head_dim;
    if sizes.head_dim_written {
        return keys.refuse("head_dim", format!("is {d}"), EVEN);
    }
    let what = format!(
        "makes heads of `hidden_size` / {} = {d} columns",
        sizes.heads
    );
    keys.refuse("num_attention_heads", what, EVEN);
}

/// Label names by index, from `id2label` or made up from `num_labels`.
/// Without either there are `default`, or it is missing.
pub fn labels(
    keys: &mut Keys<'_>,
    task: Option<Task>,
    default: Option<usize>,
) -> Option<Vec<String>> {
    if matches!(task, Some(Task::CausalLm | Task::Embedding)) {
        keys.ignore("num_labels", "only a classifier has labels");
        keys.ignore("id2label", "only a classifier has labels");
        return Some(Vec::new());
    }
    let names = match keys.get("id2label").map(label_names).transpose() {
        Ok(names) => names,
        Err(what) => {
            let allowed = "an object that names each of \"0\", \"1\", ... once";
            keys.refuse("id2label", what, allowed);
            // How many there are is not known from it; what is said of it elsewhere can be wrong by itself.
            keys.count("num_labels", 1..=MOST_LABELS, Some(1));
            return None;
        }
    };
    let Some(names) = names else {
        // Whether labels are needed at all is not known without a task.
        let default = default.or(task.is_none().then_some(1));
        let count = keys.count("num_labels", 1..=MOST_LABELS, default)?;
        return Some((0..count).map(|i| format!("LABEL_{i}")).collect());
    };
    let count = keys.count("num_labels", 1..=MOST_LABELS, Some(names.len()))?;
    if names.len() != count {
        let what = format!("names {}", counted(names.len(), "label"));
        let allowed = format!("as many as `num_labels` = {count} says, or no `num_labels`");
        keys.refuse("id2label", what, allowed);
        return None;
    }
    Some(names)
}

/// The names in order, or what is wrong.
fn label_names(value: &Value) -> Result<Vec<String>, String> {
    let map = value
        .as_object()
        .ok_or_else(|| format!("found {}", kind(value)))?;
    if map.is_empty() || map.len() > MOST_LABELS {
        return Err(format!("names {}", counted(map.len(), "label")));
    }
    let name = |i: usize| match map.get(&i.to_string()) {
        None => Err(format!(
            "names {}, but none is \"{i}\"",
            counted(map.len(), "label")
        )),
        Some(Value::String(name)) if is_name(name) => Ok(name.clone()),
        Some(other) => Err(format!("names label \"{i}\" {}", kind(other))),
    };
    (0..map.len()).map(name).collect()
}
