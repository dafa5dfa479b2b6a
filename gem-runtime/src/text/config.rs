//! `tokenizer_config.json` and `generation_config.json` -> the few things in them that matter at run time.
//!
//! Other keys are the training tools' own and are not looked at. A key that matters and has a value of another type is
//! an error, never ignored.

use serde_json::{Map, Value};

use super::{GENERATION_CONFIG, TOKENIZER_CONFIG};
use crate::error::{Error, Result};
use crate::sample::Sampling;

/// What `tokenizer_config.json` says.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Begins a text.
    pub bos: Option<String>,
    /// Ends a text.
    pub eos: Option<String>,
    /// Jinja template of a conversation.
    #[cfg_attr(not(feature = "chat"), expect(dead_code, reason = "read by chat only"))]
    pub chat_template: Option<String>,
}

/// What `generation_config.json` says.
#[derive(Debug, Default)]
pub(super) struct Generation {
    /// Ids that end a text.
    pub eos: Vec<u32>,
    /// Sampling.
    pub sampling: Sampling,
}

pub(super) fn tokens(bytes: Option<&[u8]>) -> Result<Tokens> {
    let keys = Keys::parse(TOKENIZER_CONFIG, bytes)?;
    Ok(Tokens {
        bos: keys.token("bos_token")?,
        eos: keys.token("eos_token")?,
        chat_template: keys.template()?,
    })
}

pub(super) fn generation(bytes: Option<&[u8]>) -> Result<Generation> {
    let keys = Keys::parse(GENERATION_CONFIG, bytes)?;
    let default = Sampling::default();
    // Without `do_sample` the makers want the most probable token, whatever the other keys say.
    let samples = keys.bool("do_sample")?.unwrap_or(false);
    let temperature = keys.f32("temperature")?.unwrap_or(1.0);
    let sampling = Sampling {
        temperature: if samples { temperature } else { 0.0 },
        top_k: keys.u32("top_k")?.unwrap_or(default.top_k),
        top_p: keys.f32("top_p")?.unwrap_or(default.top_p),
        min_p: keys.f32("min_p")?.unwrap_or(default.min_p),
        repetition_penalty: keys
            .f32("repetition_penalty")?
            .unwrap_or(default.repetition_penalty),
        max_tokens: keys.u32("max_new_tokens")?.unwrap_or(default.max_tokens),
        ..default
    };
    sampling
        .check()
        .map_err(|e| Error::text(GENERATION_CONFIG, e))?;
    Ok(Generation {
        eos: keys.ids("eos_token_id")?,
        sampling,
    })
}

/// The object in a file.
struct Keys {
    file: &'static str,
    map: Map<String, Value>,
}

impl Keys {
    /// A missing file is an empty object.
    fn parse(file: &'static str, bytes: Option<&[u8]>) -> Result<Self> {
        let map = match bytes {
            None => Map::new(),
            Some(bytes) => serde_json::from_slice(bytes).map_err(|e| Error::text(file, e))?,
        };
        Ok(Self { file, map })
    }

    /// The value of a key as `read` finds it; `None` when the key is missing or null.
    fn get<'a, T>(
        &'a self,
        key: &str,
        allowed: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.map.get(key).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        match read(value) {
            Some(found) => Ok(Some(found)),
            None => Err(Error::text(
                self.file,
                format_args!("`{key}` must be {allowed}"),
            )),
        }
    }

    fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "true or false", Value::as_bool)
    }

    fn f32(&self, key: &str) -> Result<Option<f32>> {
        self.get(key, "a number", |v| v.as_f64().map(|number| number as f32))
    }

    fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.get(key, "a whole number", small)
    }

    fn ids(&self, key: &str) -> Result<Vec<u32>> {
        let read = |value: &Value| match value {
            Value::Array(ids) => ids.iter().map(small).collect(),
            one => small(one).map(|id| vec![id]),
        };
        let ids = self.get(key, "a token id or a list of them", read)?;
        Ok(ids.unwrap_or_default())
    }

    /// A token is its text, or an object with its text as `content`.
    fn token(&self, key: &str) -> Result<Option<String>> {
        self.get(key, "a token", |value| {
            let text = value.as_str().or_else(|| value.get("content")?.as_str());
            text.map(str::to_owned)
        })
    }

    /// A template is a text; of several, `[{"name", "template"}]`, the one named `default` counts.
    fn template(&self) -> Result<Option<String>> {
        let named = |value: &Value| {
            let one = value
                .as_array()?
                .iter()
                .find(|one| one.get("name").and_then(Value::as_str) == Some("default"))?;
            Some(one.get("template")?.as_str()?.to_owned())
        };
        let allowed = "a template, or a list of {\"name\", \"template\"} with a \"default\"";
        self.get("chat_template", allowed, |value| {
            value.as_str().map(str::to_owned).or_else(|| named(value))
        })
    }
}

fn small(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|n| u32::try_from(n).ok())
}
