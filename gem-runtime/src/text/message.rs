//! What a caller says of a conversation, in words or as JSON -> messages and variables of a chat template.

use serde_json::{Map, Value as Json};

use super::config::kind;
use super::jinja::{Fault, Value};
use crate::error::{Error, Result};

const ROLE: &str = "role";
const CONTENT: &str = "content";

/// Names under which templates look for what a model thought before it answered; the first is today's.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// One message of a conversation: a role, a content, and what else the model's template reads.
///
/// ```
/// use gem_runtime::text::Message;
///
/// assert_eq!(Message::user("Hello"), Message::new("user", "Hello"));
/// assert_eq!(Message::user("Hello").content(), "Hello");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// In the order in which they were given, which templates may print.
    fields: Map<String, Json>,
}

impl Message {
    /// A message of any role: `system`, `user`, `assistant`, `tool`, or what else the template knows.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        let fields = [(ROLE, role.into()), (CONTENT, content.into())];
        let fields = fields.map(|(name, text)| (name.to_owned(), Json::String(text)));
        Self {
            fields: fields.into_iter().collect(),
        }
    }

    /// A message of the one who asks.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// A message of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }

    /// What the model should keep to.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// A message as JSON, as chat interfaces write it: an object with a `role`. `content` is a text, null, or a list of parts;
    /// `tool_calls`, `tool_call_id`, `name`, `reasoning_content` and others are there as the template knows them.
    ///
    /// # Errors
    /// [`Error::Text`] when it is none.
    pub fn parse(json: &str) -> Result<Self> {
        let value = parsed(json).map_err(|why| Error::text("message", why))?;
        Self::of(value).map_err(|why| Error::text("message", why))
    }

    /// A conversation as JSON: a list of messages, each as for [`Message::parse`].
    ///
    /// # Errors
    /// [`Error::Text`], with the message that is none.
    pub fn parse_all(json: &str) -> Result<Vec<Self>> {
        let wrong = |why: String| Error::text("messages", why);
        let list = match parsed(json).map_err(wrong)? {
            Json::Array(list) => list,
            other => return Err(wrong(format!("found {}; allowed: a list", kind(&other)))),
        };
        let numbered = list.into_iter().enumerate();
        numbered
            .map(|(at, one)| Self::of(one).map_err(|why| wrong(format!("number {at}: {why}"))))
            .collect()
    }

    fn of(value: Json) -> Result<Self, String> {
        match value {
            Json::Object(fields) => match fields.get(ROLE) {
                Some(Json::String(_)) => Ok(Self { fields }),
                _ => Err("has no `role`; allowed: a text".to_owned()),
            },
            other => Err(format!("found {}; allowed: an object", kind(&other))),
        }
    }

    /// A message of a role, with a content where there is one, and the fields of a JSON object.
    #[cfg(feature = "c")]
    pub(crate) fn of_fields(role: &str, content: Option<&str>, json: &str) -> Result<Self> {
        let wrong = |why: String| Error::text("message", why);
        let mut message = Self::new(role, content.unwrap_or_default());
        if content.is_none() {
            message.fields.remove(CONTENT);
        }
        match parsed(json).map_err(wrong)? {
            Json::Object(fields) => message.fields.extend(fields),
            other => return Err(wrong(format!("found {}; allowed: an object", kind(&other)))),
        }
        Self::of(Json::Object(message.fields)).map_err(wrong)
    }

    /// Who wrote it.
    #[must_use]
    pub fn role(&self) -> &str {
        self.text(ROLE)
    }

    /// Text of the message; empty where its content is none, or parts.
    #[must_use]
    pub fn content(&self) -> &str {
        self.text(CONTENT)
    }

    fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Json::as_str).unwrap_or("")
    }

    /// Bytes of the message, as JSON.
    pub(super) fn length(&self) -> usize {
        length(&self.fields)
    }

    /// What a template sees. As in Hugging Face's `apply_chat_template`, fields that are null are not there, and thoughts are
    /// there under today's name and under the one that gpt-oss has.
    pub(super) fn value(&self) -> Result<Value, Fault> {
        let mut own = self.fields.clone();
        own.retain(|_, value| !value.is_null());
        let Some(name) = REASONING.iter().find(|name| own.contains_key(**name)) else {
            return object(&own);
        };
        let thoughts = own[*name].clone();
        let mut fields = Map::new();
        fields.insert("thinking".to_owned(), thoughts.clone());
        fields.extend(own);
        fields.insert(REASONING[0].to_owned(), thoughts);
        object(&fields)
    }
}

/// Variables of a chat template by their names, such as `tools`, `documents` or `enable_thinking`. They go before what the
/// runtime gives: `add_generation_prompt` (true), `tools` and `documents` (none), and special tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatVariables {
    named: Map<String, Json>,
}

impl ChatVariables {
    /// Gives a variable a value, as JSON.
    ///
    /// # Errors
    /// [`Error::Text`] when it is none; for `messages`, which are given apart.
    pub fn set(&mut self, name: impl Into<String>, json: &str) -> Result<()> {
        let name = name.into();
        let value = parsed(json).map_err(|why| Error::text(&name, why))?;
        self.insert(name, value)
    }

    /// Gives a variable the value that a text is as JSON, else the text itself: what people type.
    ///
    /// # Errors
    /// [`Error::Text`] for `messages`, which are given apart.
    pub fn set_typed(&mut self, name: impl Into<String>, text: &str) -> Result<()> {
        let value = parsed(text).unwrap_or_else(|_| Json::String(text.to_owned()));
        self.insert(name.into(), value)
    }

    /// Gives all variables of a JSON object their values.
    ///
    /// # Errors
    /// As of [`ChatVariables::set`].
    pub fn set_all(&mut self, json: &str) -> Result<()> {
        let wrong = |why: String| Error::text("chat variables", why);
        match parsed(json).map_err(wrong)? {
            Json::Object(named) => named
                .into_iter()
                .try_for_each(|(name, value)| self.insert(name, value)),
            other => Err(wrong(format!("found {}; allowed: an object", kind(&other)))),
        }
    }

    /// Whether a variable is there, and is not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.named.get(name).is_some_and(|value| !value.is_null())
    }

    fn insert(&mut self, name: String, value: Json) -> Result<()> {
        if name == "messages" {
            let why = "cannot be a chat variable: messages are given apart";
            return Err(Error::text(name, why));
        }
        self.named.insert(name, value);
        Ok(())
    }

    /// Bytes of all of them, as JSON.
    pub(super) fn length(&self) -> usize {
        length(&self.named)
    }

    /// Names and values, as templates see them.
    pub(super) fn values(&self) -> Result<Vec<(&str, Value)>, Fault> {
        let named = self.named.iter();
        named
            .map(|(name, value)| Ok((name.as_str(), of_json(value)?)))
            .collect()
    }
}

fn parsed(json: &str) -> Result<Json, String> {
    serde_json::from_str(json).map_err(|e| format!("is not valid JSON: {e}"))
}

fn length(map: &Map<String, Json>) -> usize {
    // Maps with texts as keys are always JSON.
    serde_json::to_string(map).map_or(0, |text| text.len())
}

/// JSON as Python reads it.
fn of_json(json: &Json) -> Result<Value, Fault> {
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(n), _) => Value::Int(n),
            (None, Some(n)) if number.is_f64() => Value::Float(n),
            _ => return Err(Fault::new(format!("the number {number} is too large"))),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::of_list(items.iter().map(of_json).collect::<Result<_, _>>()?)?,
        Json::Object(map) => object(map)?,
    })
}

fn object(map: &Map<String, Json>) -> Result<Value, Fault> {
    let pairs = map
        .iter()
        .map(|(name, value)| Ok((name.as_str(), of_json(value)?)));
    Value::of_dict(pairs.collect::<Result<_, _>>()?)
}
