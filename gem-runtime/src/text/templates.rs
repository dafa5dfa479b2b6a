//! Where chat templates stand -> their names and texts, as Hugging Face looks for them.
//!
//! Files of templates win over `chat_template` in `tokenizer_config.json`, which does not count then. Whatever is
//! wrong with a template is kept with it: a model without a usable template still continues texts.

use serde_json::Value;

use super::config::{kind, object};
use super::files::{CHAT_TEMPLATE, CHAT_TEMPLATE_JSON, TOKENIZER_CONFIG, template_name};
use crate::regular;

/// Name of the template that is used unless another is asked for.
pub const DEFAULT_TEMPLATE: &str = "default";

/// One chat template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSource {
    /// Its name; [`DEFAULT_TEMPLATE`] for the usual one.
    pub name: String,
    /// The file it stands in.
    pub file: String,
    /// Its text, or why there is none.
    pub text: Result<String, String>,
}

impl TemplateSource {
    fn new(name: &str, file: &str, text: Result<String, String>) -> Self {
        Self {
            name: name.to_owned(),
            file: file.to_owned(),
            text,
        }
    }
}

/// All templates: `key` is that of `tokenizer_config.json`, `files` are name and contents.
pub(super) fn sources(key: Option<&Value>, files: &[(&str, &[u8])]) -> Vec<TemplateSource> {
    let find = |wanted: &str| files.iter().find(|(name, _)| *name == wanted);
    let mut found = Vec::new();
    if let Some((file, bytes)) = find(CHAT_TEMPLATE) {
        found.push(TemplateSource::new(DEFAULT_TEMPLATE, file, jinja(bytes)));
    } else if let Some((file, bytes)) = find(CHAT_TEMPLATE_JSON) {
        match object(bytes) {
            Ok(map) => found.extend(of_value(map.get("chat_template"), file)),
            Err(why) => found.push(TemplateSource::new(DEFAULT_TEMPLATE, file, Err(why))),
        }
    }
    for (file, bytes) in files {
        if let Some(name) = template_name(file) {
            found.push(TemplateSource::new(name, file, jinja(bytes)));
        }
    }
    if found.is_empty() {
        found = of_value(key, TOKENIZER_CONFIG);
    }
    // Of several with one name the last counts, as in a Python dict.
    let mut last: Vec<TemplateSource> = Vec::new();
    for source in found {
        match last.iter_mut().find(|known| known.name == source.name) {
            Some(known) => *known = source,
            None => last.push(source),
        }
    }
    last
}

/// The text of a file.
fn jinja(bytes: &[u8]) -> Result<String, String> {
    // A byte order mark is the editor's; it would be the first token of every conversation.
    let text =
        std::str::from_utf8(regular::unmarked(bytes)).map_err(|e| format!("is not UTF-8: {e}"))?;
    Ok(text.to_owned())
}

/// A template is a text; several are a list of `{"name", "template"}` or an object from name to text.
fn of_value(value: Option<&Value>, file: &str) -> Vec<TemplateSource> {
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("found {}, not a template", kind(other))),
        None => Err("has no template".to_owned()),
    };
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => {
            let named = list.iter().enumerate().map(|(index, one)| {
                match one.get("name").and_then(Value::as_str) {
                    Some(name) => TemplateSource::new(name, file, text(one.get("template"))),
                    None => {
                        let name = format!("number {index}");
                        TemplateSource::new(&name, file, Err("has no name".to_owned()))
                    }
                }
            });
            named.collect()
        }
        Some(Value::Object(map)) => {
            let named = map.iter();
            named
                .map(|(name, value)| TemplateSource::new(name, file, text(Some(value))))
                .collect()
        }
        one => vec![TemplateSource::new(DEFAULT_TEMPLATE, file, text(one))],
    }
}
