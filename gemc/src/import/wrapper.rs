//! A checkpoint of text and pictures or sound -> the part that reads text: its config, its tensors under the names that its
//! family knows, and what became of the rest.

use serde_json::{Map, Value, json};

use super::FRONT_ENDS;
use super::config::KeyUse;
use super::error::Finding;
use super::files::TensorFiles;
use super::keys::KeyAccount;

/// What the config of the text stands under.
const TEXT: &str = "text_config";

/// Where tensors of the text part stand: in older files, in newer ones.
const PREFIXES: &[(&str, &str)] = &[
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
    ("model.text_model.", "model."),
];

/// Keys of the whole that hold for the text as well, where its own config does not say them.
const SHARED: &[&str] = &[
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "tie_word_embeddings",
    "quantization_config",
];

const OTHER: &str = "of another part than the one that reads text";

/// The text part of a config, if that is one of a family which is read.
pub fn text(config: &Map<String, Value>) -> Option<Map<String, Value>> {
    let known = |config: &Map<String, Value>| {
        let name = config.get("model_type").and_then(Value::as_str);
        FRONT_ENDS
            .iter()
            .any(|front| name == Some(front.model_type))
    };
    let inner = config.get(TEXT)?.as_object()?;
    if known(config) || !known(inner) {
        return None;
    }
    let mut text = inner.clone();
    for key in SHARED {
        if let (Some(value), false) = (config.get(*key), inner.contains_key(*key)) {
            text.insert((*key).to_owned(), value.clone());
        }
    }
    // That of the whole ends in ForConditionalGeneration.
    text.insert("architectures".to_owned(), json!(["TextForCausalLM"]));
    Some(text)
}

/// Gives tensors of the text part the names that its family knows; gives those of other parts.
///
/// # Errors
/// When a tensor of the text is there under two names.
pub fn rename(files: &mut TensorFiles) -> Result<Vec<String>, Finding> {
    files.rename(|name| {
        let own = PREFIXES
            .iter()
            .find_map(|(stored, read)| Some(format!("{read}{}", name.strip_prefix(stored)?)));
        own.or_else(|| name.starts_with("lm_head.").then(|| name.to_owned()))
    })
}

/// Why tensors of other parts are left out.
pub const fn left_out() -> &'static str {
    OTHER
}

/// The account of the whole config, given that of the text part.
pub fn account(config: &Map<String, Value>, text: KeyAccount) -> KeyAccount {
    let inner = config.get(TEXT).and_then(Value::as_object);
    let mut account = KeyAccount::new();
    for (key, becomes) in text {
        if inner.is_some_and(|inner| inner.contains_key(&key)) {
            account.push((format!("{TEXT}.{key}"), becomes));
        } else if config.contains_key(&key) && key != "architectures" {
            account.push((key, becomes));
        }
    }
    for key in config.keys().filter(|key| *key != TEXT) {
        if !account.iter().any(|(known, _)| known == key) {
            let why = match key.as_str() {
                "model_type" | "architectures" => "the part that reads text has its own".to_owned(),
                _ => OTHER.to_owned(),
            };
            account.push((key.clone(), KeyUse::Ignored(why)));
        }
    }
    account
}
