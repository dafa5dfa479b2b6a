//! `tokenizer.json`, `tokenizer_config.json` and `generation_config.json` -> what the model needs to know of them.
//!
//! The tokenizer itself is the runtime's; here its ids are compared with the vocabulary, without keeping it in memory.

use std::fmt;
use std::path::{Path, PathBuf};

use gem_runtime::regular;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::{Finding, Findings, Place};
use super::json;

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub(super) const GENERATION: &str = "generation_config.json";
const LONGEST_TOKENIZER: u64 = 256 << 20;
const LONGEST_CONFIG: u64 = 4 << 20;

/// What `tokenizer_config.json` says; everything else in it is the training tools' own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenizerConfig {
    /// Jinja template of a conversation; of several the one called `default`.
    pub chat_template: Option<String>,
    /// Text of the beginning-of-sequence token.
    pub bos_token: Option<String>,
    /// Text of the end-of-sequence token.
    pub eos_token: Option<String>,
}

/// What `generation_config.json` says about sampling.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    /// Ids that end a text; below the vocabulary size.
    pub eos_token_ids: Vec<u32>,
    /// Id that begins one.
    pub bos_token_id: Option<u32>,
    /// False: greedy.
    pub do_sample: Option<bool>,
    /// Above 0.
    pub temperature: Option<f32>,
    /// 0: off.
    pub top_k: Option<u32>,
    /// In 0..=1.
    pub top_p: Option<f32>,
    /// In 0..=1.
    pub min_p: Option<f32>,
    /// Above 0; 1: off.
    pub repetition_penalty: Option<f32>,
    /// Length of an answer.
    pub max_new_tokens: Option<u32>,
}

/// The tokenizer side of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Companions {
    /// `tokenizer.json`, when there is one.
    pub tokenizer: Option<PathBuf>,
    /// `tokenizer_config.json`, or defaults.
    pub tokenizer_config: TokenizerConfig,
    /// `generation_config.json`, or defaults.
    pub generation: GenerationConfig,
}

/// Reads the three files as far as they exist.
pub fn read(dir: &Path, vocab_size: usize, findings: &mut Findings) -> Companions {
    let mut companions = Companions::default();
    let path = dir.join(TOKENIZER);
    if regular::is_there(&path) {
        let ids = json::read_bounded(&path, TOKENIZER, LONGEST_TOKENIZER)
            .and_then(|bytes| highest_id(&bytes).map_err(|e| Finding::file(TOKENIZER, e)));
        match ids {
            Ok(Some((id, token))) if id >= vocab_size as u64 => findings.push(
                Finding::file(
                    TOKENIZER,
                    format!(
                        "gives token \"{}\" the id {id}",
                        super::error::shown(&token)
                    ),
                )
                .allowed(format!("ids below `vocab_size` = {vocab_size}")),
            ),
            Ok(_) => companions.tokenizer = Some(path),
            Err(finding) => findings.push(finding),
        }
    }
    if let Some(map) = object(dir, TOKENIZER_CONFIG, findings) {
        companions.tokenizer_config = tokenizer_config(&map, findings);
    }
    if let Some(map) = object(dir, GENERATION, findings) {
        companions.generation = generation(&map, vocab_size, findings);
    }
    companions
}

fn object(dir: &Path, name: &str, findings: &mut Findings) -> Option<Map<String, Value>> {
    let path = dir.join(name);
    if !regular::is_there(&path) {
        return None;
    }
    let read = json::read_bounded(&path, name, LONGEST_CONFIG)
        .and_then(|bytes| json::parse_object(&bytes).map_err(|e| Finding::file(name, e)));
    read.map_err(|finding| findings.push(finding)).ok()
}

fn wrong(file: &str, key: &str, value: &Value, allowed: &str, findings: &mut Findings) {
    let place = Place::Key {
        file: file.to_owned(),
        key: key.to_owned(),
    };
    findings.push(Finding::at(place, format!("found {}", json::kind(value))).allowed(allowed));
}

fn tokenizer_config(map: &Map<String, Value>, findings: &mut Findings) -> TokenizerConfig {
    let mut token = |key: &str| match map.get(key) {
        None | Some(Value::Null) => None,
        Some(Value::String(s)) => Some(s.clone()),
        Some(value) => {
            let content = value.get("content").and_then(Value::as_str);
            if content.is_none() {
                wrong(TOKENIZER_CONFIG, key, value, "a token", findings);
            }
            content.map(str::to_owned)
        }
    };
    let (bos_token, eos_token) = (token("bos_token"), token("eos_token"));
    let chat_template = match map.get("chat_template") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let text = template(value);
            if text.is_none() {
                let allowed =
                    "a template, or a list of {\"name\", \"template\"} with a \"default\"";
                wrong(TOKENIZER_CONFIG, "chat_template", value, allowed, findings);
            }
            text
        }
    };
    TokenizerConfig {
        chat_template,
        bos_token,
        eos_token,
    }
}

fn template(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let default = value
        .as_array()?
        .iter()
        .find(|t| t.get("name").and_then(Value::as_str) == Some("default"))?;
    default.get("template")?.as_str().map(str::to_owned)
}

fn generation(
    map: &Map<String, Value>,
    vocab_size: usize,
    findings: &mut Findings,
) -> GenerationConfig {
    let mut number = |key: &str, holds: fn(f64) -> bool, allowed: &str| {
        let value = map.get(key).filter(|v| !v.is_null())?;
        let found = value.as_f64().filter(|v| holds(*v));
        if found.is_none() {
            wrong(GENERATION, key, value, allowed, findings);
        }
        found
    };
    let positive = |v: f64| v > 0.0 && v <= 1e6;
    let unit = |v: f64| (0.0..=1.0).contains(&v);
    let count = |v: f64| v >= 0.0 && v.fract() == 0.0 && v <= 1e9;
    let (above, within, counted) = ("a number above 0", "a number in 0..=1", "a count");
    let temperature = number(
        "temperature",
        |v| (0.0..=1e6).contains(&v),
        "a number from 0",
    );
    let top_p = number("top_p", unit, within);
    let min_p = number("min_p", unit, within);
    let repetition_penalty = number("repetition_penalty", positive, above);
    let top_k = number("top_k", count, counted);
    let max_new_tokens = number("max_new_tokens", count, counted);
    let ids = |key: &str, findings: &mut Findings| ids(map, key, vocab_size, findings);
    GenerationConfig {
        eos_token_ids: ids("eos_token_id", findings),
        bos_token_id: ids("bos_token_id", findings).first().copied(),
        do_sample: map.get("do_sample").and_then(Value::as_bool),
        temperature: temperature.map(|v| v as f32),
        top_k: top_k.map(|v| v as u32),
        top_p: top_p.map(|v| v as f32),
        min_p: min_p.map(|v| v as f32),
        repetition_penalty: repetition_penalty.map(|v| v as f32),
        max_new_tokens: max_new_tokens.map(|v| v as u32),
    }
}

/// One id or a list of them.
fn ids(
    map: &Map<String, Value>,
    key: &str,
    vocab_size: usize,
    findings: &mut Findings,
) -> Vec<u32> {
    let one = |v: &Value| v.as_u64().filter(|&id| id < vocab_size as u64);
    let found: Option<Vec<u64>> = match map.get(key) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(one).collect(),
        Some(value) => one(value).map(|id| vec![id]),
    };
    if let (None, Some(value)) = (&found, map.get(key)) {
        let allowed = format!("ids below `vocab_size` = {vocab_size}");
        wrong(GENERATION, key, value, &allowed, findings);
    }
    found
        .unwrap_or_default()
        .into_iter()
        .map(|id| id as u32)
        .collect()
}

/// The highest id that a `tokenizer.json` gives to a token, and that token.
///
/// # Errors
/// With a sentence.
pub fn highest_id(bytes: &[u8]) -> Result<Option<(u64, String)>, String> {
    #[derive(serde::Deserialize)]
    struct File {
        model: Model,
        #[serde(default)]
        added_tokens: Vec<Added>,
    }
    #[derive(serde::Deserialize)]
    struct Model {
        vocab: Highest,
    }
    #[derive(serde::Deserialize)]
    struct Added {
        id: u64,
        content: String,
    }
    let file: File = json::parse(bytes)?;
    let added = file.added_tokens.into_iter().map(|t| (t.id, t.content));
    Ok(added.chain(file.model.vocab.0).max())
}

/// Of a vocabulary: an object token -> id, or a list of tokens (Unigram).
struct Highest(Option<(u64, String)>);

impl<'de> Deserialize<'de> for Highest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Vocab;
        impl<'de> Visitor<'de> for Vocab {
            type Value = Highest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Highest, A::Error> {
                let mut highest = None;
                while let Some((token, id)) = map.next_entry::<String, u64>()? {
                    if highest.as_ref().is_none_or(|(h, _)| id > *h) {
                        highest = Some((id, token));
                    }
                }
                Ok(Highest(highest))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Highest, A::Error> {
                let mut count = 0u64;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                let last = count.checked_sub(1);
                Ok(Highest(last.map(|id| (id, format!("number {id}")))))
            }
        }
        deserializer.deserialize_any(Vocab)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_id_is_found_in_either_part() {
        let text = |added: &str| {
            format!(
                "{{\"model\": {{\"type\": \"BPE\", \"vocab\": {{\"a\": 0, \"b\": 7, \"c\": 3}}, \"merges\": []}}{added}}}"
            )
        };
        let highest = |text: &str| highest_id(text.as_bytes()).expect("valid");
        assert_eq!(highest(&text("")), Some((7, "b".to_owned())));
        let added = ", \"added_tokens\": [{\"id\": 9, \"content\": \"<s>\", \"special\": true}]";
        assert_eq!(highest(&text(added)), Some((9, "<s>".to_owned())));
        let unigram = "{\"model\": {\"vocab\": [[\"a\", -1.5], [\"b\", -2.0]]}}";
        assert_eq!(highest(unigram).map(|h| h.0), Some(1));
        for bad in [
            "{}",
            "{\"model\": {}}",
            "{\"model\": {\"vocab\": 3}}",
            "{\"model\": {\"vocab\": {\"a\": -1}}}",
        ] {
            assert!(highest_id(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
