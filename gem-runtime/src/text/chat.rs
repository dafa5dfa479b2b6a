//! Messages -> the text of a conversation, as the model's own Jinja template writes it.
//!
//! Templates are written for Python's Jinja as Hugging Face sets it up; the same settings, functions and methods are
//! there. A template is data from a checkpoint: it is bounded in work, and has no clock.

use std::fmt::Write as _;

use minijinja::value::Kwargs;
use minijinja::{Environment, ErrorKind, Value, context};
use serde::Serialize;

use super::TOKENIZER_CONFIG;
use crate::error::{Error, Result};

/// Steps of a template at most; real ones take some dozens per message.
const FUEL: u64 = 10_000_000;

const NAME: &str = "chat_template";

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who wrote it: `system`, `user` or `assistant`, or what else the template knows.
    pub role: String,
    /// What it says.
    pub content: String,
}

impl Message {
    /// A message of any role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
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
}

/// A chat template that parses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    source: String,
}

impl ChatTemplate {
    /// Checks that a template parses.
    ///
    /// # Errors
    /// [`Error::Text`] with the line.
    pub fn new(source: String) -> Result<Self> {
        environment()
            .template_from_named_str(NAME, &source)
            .map_err(wrong)?;
        Ok(Self { source })
    }

    /// The template's text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Writes a conversation up to where the model's answer begins.
    ///
    /// # Errors
    /// [`Error::Text`] when the template fails or refuses the messages.
    pub fn render(&self, messages: &[Message], bos: &str, eos: &str) -> Result<String> {
        let environment = environment();
        let template = environment
            .template_from_named_str(NAME, &self.source)
            .map_err(wrong)?;
        template
            .render(context! {
                messages,
                bos_token => bos,
                eos_token => eos,
                add_generation_prompt => true,
            })
            .map_err(wrong)
    }
}

fn wrong(error: minijinja::Error) -> Error {
    let line = error.line().map(|line| format!(", line {line}"));
    let what = format!("{TOKENIZER_CONFIG}: {NAME}{}", line.unwrap_or_default());
    let why = error.detail().map_or_else(
        || error.kind().to_string(),
        |detail| format!("{}: {detail}", error.kind()),
    );
    Error::text(what, why)
}

/// Jinja as Hugging Face sets it up.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment
}

fn raise_exception(message: String) -> core::result::Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(_format: String) -> core::result::Result<Value, minijinja::Error> {
    let why =
        "`strftime_now` is not available: what a conversation becomes must not depend on a clock";
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, why))
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`.
fn to_json(value: Value, options: Kwargs) -> core::result::Result<Value, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    let json = serde_json::to_value(&value).map_err(|e| {
        minijinja::Error::new(ErrorKind::BadSerialization, "not expressible as JSON").with_source(e)
    })?;
    let mut text = String::new();
    write_json(&json, indent, 0, &mut text);
    Ok(Value::from_safe_string(text))
}

fn write_json(value: &serde_json::Value, indent: Option<usize>, depth: usize, to: &mut String) {
    use serde_json::Value as Json;
    let (open, close, len) = match value {
        Json::Array(items) => ('[', ']', items.len()),
        Json::Object(map) => ('{', '}', map.len()),
        plain => {
            // Writing to a string cannot fail.
            let _ = write!(to, "{plain}");
            return;
        }
    };
    let line = |depth: usize, to: &mut String| {
        if let Some(indent) = indent.filter(|_| len > 0) {
            to.push('\n');
            to.extend(std::iter::repeat_n(' ', indent.min(16) * depth));
        }
    };
    to.push(open);
    let separator = if indent.is_some() { "," } else { ", " };
    let begin = |index: usize, to: &mut String| {
        to.push_str(if index > 0 { separator } else { "" });
        line(depth + 1, to);
    };
    match value {
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                begin(index, to);
                write_json(item, indent, depth + 1, to);
            }
        }
        Json::Object(map) => {
            for (index, (key, item)) in map.iter().enumerate() {
                begin(index, to);
                let _ = write!(to, "{}: ", Json::String(key.clone()));
                write_json(item, indent, depth + 1, to);
            }
        }
        _ => {}
    }
    line(depth, to);
    to.push(close);
}
