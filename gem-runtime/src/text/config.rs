//! `tokenizer_config.json` and `generation_config.json` -> what of them matters at run time.
//!
//! The compiler and the programs it makes read these files here, so that what one accepts all accept. Other keys of the
//! tokenizer's are the training tools' own and are not looked at; those of generation that have no effect are listed. A
//! key that matters and has a value of another type is an error, never ignored; a number out of range is one only where
//! it is used, since who runs the model may give another.

use serde_json::{Map, Value};

use super::files::{GENERATION_CONFIG, SENTENCE_CONFIG, TOKENIZER_CONFIG, TextFiles, Wrong};
use super::prompts::Prompts;
use super::templates::{self, TemplateSource};
use crate::regular;
use crate::sample::Sampling;

/// Attributes of a tokenizer that Hugging Face passes to chat templates, one token each.
const SPECIAL_TOKENS: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// The tokens beside them.
const MORE_TOKENS: &str = "additional_special_tokens";

/// Tokens that newer files give names to.
const EXTRA_TOKENS: &str = "extra_special_tokens";

/// What `tokenizer_config.json` says of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenizerConfig {
    /// Special tokens by their names, such as `bos_token`; only those that are given and not empty.
    pub special_tokens: Vec<(String, String)>,
    /// Those without names of their own.
    pub additional_special_tokens: Vec<String>,
}

impl TokenizerConfig {
    /// Text of a special token.
    #[must_use]
    pub fn special_token(&self, name: &str) -> Option<&str> {
        let found = self.special_tokens.iter().find(|(known, _)| known == name);
        found.map(|(_, token)| token.as_str())
    }
}

/// What `generation_config.json` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    /// Ids that end a text; below the vocabulary size.
    pub eos_token_ids: Vec<u32>,
    /// Id that begins one.
    pub bos_token_id: Option<u32>,
    /// How the model's makers want tokens chosen. Numbers may be out of range: [`Sampling::check`].
    pub sampling: Sampling,
    /// Keys without effect, and why.
    pub ignored: Vec<(String, String)>,
}

/// What the files say beside the tokenizer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextConfig {
    /// Tokens.
    pub tokens: TokenizerConfig,
    /// Sampling.
    pub generation: GenerationConfig,
    /// Chat templates; one that cannot be used is told when a chat asks for it.
    pub templates: Vec<TemplateSource>,
    /// Prompts of an encoder.
    pub prompts: Prompts,
}

impl TextConfig {
    /// Reads the files' contents, for a model with so many token ids.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn new(files: &TextFiles<'_>, vocab_size: u32) -> Result<Self, Vec<Wrong>> {
        let mut wrong = Vec::new();
        let tokens = Keys::parse(TOKENIZER_CONFIG, files.tokenizer_config, &mut wrong);
        let generation = Keys::parse(GENERATION_CONFIG, files.generation_config, &mut wrong);
        let sentence = Keys::parse(SENTENCE_CONFIG, files.sentence_config, &mut wrong);
        let config = Self {
            tokens: special_tokens(&tokens, &mut wrong),
            generation: read_generation(&generation, vocab_size, &mut wrong),
            templates: templates::sources(tokens.map.get("chat_template"), files.chat_templates),
            prompts: read_prompts(&sentence, &mut wrong),
        };
        if wrong.is_empty() {
            Ok(config)
        } else {
            Err(wrong)
        }
    }
}

fn special_tokens(keys: &Keys, wrong: &mut Vec<Wrong>) -> TokenizerConfig {
    let mut config = TokenizerConfig::default();
    let mut take = |name: &str, token: Option<String>| {
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            config.special_tokens.push((name.to_owned(), token));
        }
    };
    for name in SPECIAL_TOKENS {
        take(name, keys.get(name, "a token", token, wrong));
    }
    let named = keys.get(EXTRA_TOKENS, "tokens by their names", extra, wrong);
    for (name, text) in named.unwrap_or_default() {
        take(&name, Some(text));
    }
    let more = keys.get(MORE_TOKENS, "a list of tokens", tokens, wrong);
    config.additional_special_tokens = more.unwrap_or_default();
    config
}

fn read_prompts(keys: &Keys, wrong: &mut Vec<Wrong>) -> Prompts {
    let named = keys.get("prompts", "texts by their names", prompts, wrong);
    let named = named.unwrap_or_default();
    let known = |name: &str| named.iter().any(|(n, _)| n == name);
    let name = |value: &Value| value.as_str().filter(|n| known(n)).map(str::to_owned);
    let default = keys.get("default_prompt_name", "a name of `prompts`", name, wrong);
    Prompts { named, default }
}

fn prompts(value: &Value) -> Option<Vec<(String, String)>> {
    let named = value.as_object()?.iter();
    // Null is no prompt.
    let text = |value: &Value| match value {
        Value::Null => Some(String::new()),
        other => other.as_str().map(str::to_owned),
    };
    named
        .map(|(name, value)| Some((name.clone(), text(value)?)))
        .collect()
}

/// A token is its text, or an object with its text as `content`.
fn token(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("content")?.as_str());
    text.map(str::to_owned)
}

fn tokens(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(token).collect()
}

/// Tokens by names; a list, as the newest files have, gives none.
fn extra(value: &Value) -> Option<Vec<(String, String)>> {
    match value {
        Value::Array(_) => Some(Vec::new()),
        other => {
            let named = other.as_object()?.iter();
            named
                .map(|(name, value)| Some((name.clone(), token(value)?)))
                .collect()
        }
    }
}

/// Keys that something is made of, or that say nothing about generation.
const READ: [&str; 13] = [
    "eos_token_id",
    "bos_token_id",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "max_new_tokens",
    "stop_strings",
    "transformers_version",
    "_from_model_config",
    "pad_token_id",
];

fn read_generation(keys: &Keys, vocab_size: u32, wrong: &mut Vec<Wrong>) -> GenerationConfig {
    let default = Sampling::default();
    // Without `do_sample` the makers want the most probable token, whatever the other keys say.
    let samples = keys.get("do_sample", "true or false", truth, wrong);
    let temperature = keys.number("temperature", wrong).unwrap_or(1.0);
    // One token remains of a share of nothing.
    let top_p = keys
        .number("top_p", wrong)
        .map(|p| if p == 0.0 { f32::MIN_POSITIVE } else { p });
    let sampling = Sampling {
        temperature: if samples == Some(true) {
            temperature
        } else {
            0.0
        },
        top_k: keys.count("top_k", wrong).unwrap_or(default.top_k),
        top_p: top_p.unwrap_or(default.top_p),
        min_p: keys.number("min_p", wrong).unwrap_or(default.min_p),
        repetition_penalty: keys
            .number("repetition_penalty", wrong)
            .unwrap_or(default.repetition_penalty),
        max_tokens: keys
            .count("max_new_tokens", wrong)
            .unwrap_or(default.max_tokens),
        stop: keys
            .get("stop_strings", "a text or a list of texts", texts, wrong)
            .unwrap_or_default(),
        ..default
    };
    let mut ignored = Vec::new();
    let eos_token_ids = keys.ids("eos_token_id", vocab_size, &mut ignored, wrong);
    let bos_token_id = keys.ids("bos_token_id", vocab_size, &mut ignored, wrong);
    let others = keys
        .map
        .iter()
        .filter(|(key, value)| !READ.contains(&key.as_str()) && !value.is_null());
    ignored.extend(others.map(|(key, _)| {
        let why = match key.as_str() {
            "max_length" => "it counts the prompt, too; max_new_tokens counts",
            _ => "generation does not have it",
        };
        (key.clone(), why.to_owned())
    }));
    GenerationConfig {
        eos_token_ids,
        bos_token_id: bos_token_id.first().copied(),
        sampling,
        ignored,
    }
}

/// A truth value, also as the texts and numbers that Python takes for one.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::Number(n) => Some(n.as_f64()? != 0.0),
        Value::String(text) => match text.to_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Texts that end an answer; an empty one would end every answer, and counts as none.
fn texts(value: &Value) -> Option<Vec<String>> {
    let all = match value {
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect(),
        one => one.as_str().map(|text| vec![text.to_owned()]),
    };
    all.map(|texts: Vec<String>| texts.into_iter().filter(|text| !text.is_empty()).collect())
}

/// The object in a file.
struct Keys {
    file: &'static str,
    map: Map<String, Value>,
}

impl Keys {
    /// A missing file is an empty object.
    fn parse(file: &'static str, bytes: Option<&[u8]>, wrong: &mut Vec<Wrong>) -> Self {
        let mut map = Map::new();
        match bytes.map(object) {
            None => {}
            Some(Ok(found)) => map = found,
            Some(Err(why)) => wrong.push(Wrong::file(file, why)),
        }
        Self { file, map }
    }

    /// The value of a key as `read` finds it; `None` when the key is missing or null.
    fn get<T>(
        &self,
        key: &str,
        allowed: &str,
        read: impl FnOnce(&Value) -> Option<T>,
        wrong: &mut Vec<Wrong>,
    ) -> Option<T> {
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        let found = read(value);
        if found.is_none() {
            wrong.push(Wrong {
                file: self.file.to_owned(),
                key: Some(key.to_owned()),
                what: format!("found {}", kind(value)),
                allowed: Some(allowed.to_owned()),
            });
        }
        found
    }

    fn number(&self, key: &str, wrong: &mut Vec<Wrong>) -> Option<f32> {
        let read = |value: &Value| value.as_f64().map(|number| number as f32);
        self.get(key, "a number", read, wrong)
    }

    /// A whole number, also one that is written as a float.
    fn count(&self, key: &str, wrong: &mut Vec<Wrong>) -> Option<u32> {
        self.get(key, "a whole number from 0", whole, wrong)
    }

    /// One id or a list of them. A negative one stands for none, as trainers write it.
    fn ids(
        &self,
        key: &str,
        vocab_size: u32,
        ignored: &mut Vec<(String, String)>,
        wrong: &mut Vec<Wrong>,
    ) -> Vec<u32> {
        let one = |value: &Value| match value.as_f64() {
            Some(n) if n < 0.0 => Some(None),
            _ => whole(value).filter(|id| *id < vocab_size).map(Some),
        };
        let read = |value: &Value| match value {
            Value::Array(ids) => ids.iter().map(one).collect::<Option<Vec<_>>>(),
            value => one(value).map(|id| vec![id]),
        };
        let allowed = format!("ids below `vocab_size` = {vocab_size}, one or a list");
        let ids = self.get(key, &allowed, read, wrong).unwrap_or_default();
        if ids.contains(&None) {
            ignored.push((
                key.to_owned(),
                "a negative id stands for no token".to_owned(),
            ));
        }
        ids.into_iter().flatten().collect()
    }
}

/// The object that a file must be.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(regular::unmarked(bytes)) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(format!("holds {}, not an object", kind(&other))),
        Err(e) => Err(format!("is not valid JSON: {e}")),
    }
}

fn whole(value: &Value) -> Option<u32> {
    let number = value.as_f64()?;
    let fits = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    fits.then_some(number as u32)
}

/// What a value is, in words, for messages.
pub(super) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => {
            let shown: String = text.chars().take(80).collect();
            format!("{shown:?}")
        }
        Value::Array(items) => match items.as_slice() {
            few @ [_, ..] if few.len() <= 8 && few.iter().all(|item| item.is_number()) => {
                let few: Vec<String> = few.iter().map(kind).collect();
                format!("[{}]", few.join(", "))
            }
            items => format!("a list of {}", items.len()),
        },
        Value::Object(_) => "an object".to_owned(),
    }
}
