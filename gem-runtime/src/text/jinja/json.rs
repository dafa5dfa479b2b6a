//! Values -> JSON, as Python's `json.dumps` writes it.

use std::borrow::Cow;

use super::meter::{Meter, Text};
use super::print::float;
use super::value::Value;
use super::{Fault, JinjaResult};

/// How JSON is written.
pub(super) struct Style {
    /// What a level is indented by; `None`: all on one line.
    pub indent: Option<String>,
    /// Between items.
    pub item: String,
    /// Between a key and its value.
    pub key: String,
    /// Other characters as escapes.
    pub ascii: bool,
    /// Keys in order.
    pub sorted: bool,
}

/// The JSON of a value.
pub(super) fn dumps(value: &Value, style: &Style, meter: &Meter) -> JinjaResult<String> {
    let mut text = Text::new(meter);
    write(value, style, 0, &mut text)?;
    Ok(text.finish())
}

fn write(value: &Value, style: &Style, depth: usize, to: &mut Text<'_>) -> JinjaResult<()> {
    to.meter().step()?;
    match value {
        Value::None => to.push("null"),
        Value::Text(text) => quoted(text, style, to),
        Value::List(list) => {
            to.push("[")?;
            for (index, item) in list.items.iter().enumerate() {
                begin(index, style, depth + 1, to)?;
                write(item, style, depth + 1, to)?;
            }
            end(list.items.len(), style, depth, to)?;
            to.push("]")
        }
        Value::Dict(dict) => {
            let mut pairs: Vec<&(Value, Value)> = dict.pairs.iter().collect();
            if style.sorted {
                sort(&mut pairs)?;
            }
            to.push("{")?;
            for (index, (key, item)) in pairs.iter().enumerate() {
                begin(index, style, depth + 1, to)?;
                write_key(key, style, to)?;
                to.push(&style.key)?;
                write(item, style, depth + 1, to)?;
            }
            end(pairs.len(), style, depth, to)?;
            to.push("}")
        }
        other => match plain(other) {
            Some(text) => to.push(&text),
            None => {
                let kind = other.kind();
                Err(Fault::new(format!("a {kind} cannot be written as JSON")))
            }
        },
    }
}

/// Numbers and truth values.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Bool(b) => Some(b.to_string()),
        Value::Int(n) => Some(n.to_string()),
        Value::Float(n) if n.is_nan() => Some("NaN".to_owned()),
        Value::Float(n) if n.is_infinite() => {
            Some(if *n > 0.0 { "Infinity" } else { "-Infinity" }.to_owned())
        }
        Value::Float(n) => Some(float(*n)),
        _ => None,
    }
}

fn write_key(key: &Value, style: &Style, to: &mut Text<'_>) -> JinjaResult<()> {
    match key {
        Value::Text(text) => quoted(text, style, to),
        Value::None => to.push("\"null\""),
        other => match plain(other) {
            Some(text) => quoted(&text, style, to),
            None => {
                let kind = other.kind();
                Err(Fault::new(format!("a {kind} cannot be a key of JSON")))
            }
        },
    }
}

/// Keys that are texts, in order; Python refuses to sort others among them.
fn sort(pairs: &mut [&(Value, Value)]) -> JinjaResult<()> {
    if pairs.iter().all(|(key, _)| key.as_text().is_some()) {
        pairs.sort_by(|(a, _), (b, _)| a.as_text().cmp(&b.as_text()));
        return Ok(());
    }
    if pairs.iter().all(|(key, _)| key.as_int().is_some()) {
        pairs.sort_by_key(|(key, _)| key.as_int());
        return Ok(());
    }
    Err(Fault::new("keys of several types cannot be sorted"))
}

fn begin(index: usize, style: &Style, depth: usize, to: &mut Text<'_>) -> JinjaResult<()> {
    if index > 0 {
        to.push(&style.item)?;
    }
    line(style, depth, to)
}

fn end(count: usize, style: &Style, depth: usize, to: &mut Text<'_>) -> JinjaResult<()> {
    if count == 0 {
        return Ok(());
    }
    line(style, depth, to)
}

fn line(style: &Style, depth: usize, to: &mut Text<'_>) -> JinjaResult<()> {
    let Some(indent) = &style.indent else {
        return Ok(());
    };
    to.push("\n")?;
    to.repeat(indent, depth)
}

fn quoted(text: &str, style: &Style, to: &mut Text<'_>) -> JinjaResult<()> {
    to.push("\"")?;
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let escaped: Cow<'_, str> = match c {
            '"' => "\\\"".into(),
            '\\' => "\\\\".into(),
            '\n' => "\\n".into(),
            '\r' => "\\r".into(),
            '\t' => "\\t".into(),
            '\u{8}' => "\\b".into(),
            '\u{c}' => "\\f".into(),
            c if u32::from(c) < 0x20 || (style.ascii && !matches!(c, ' '..='~')) => {
                let mut units = [0; 2];
                let units = c.encode_utf16(&mut units).iter();
                units.map(|unit| format!("\\u{unit:04x}")).collect()
            }
            _ => continue,
        };
        to.push(&text[plain..at])?;
        to.push(&escaped)?;
        plain = at + c.len_utf8();
    }
    to.push(&text[plain..])?;
    to.push("\"")
}
