//! Values -> text, as `str` and `repr` of Python write them.

use std::sync::Arc;

use super::JinjaResult;
use super::meter::{Meter, Text};
use super::value::Value;

/// What Python's `str` gives; texts are themselves.
pub(super) fn text_of(value: &Value, meter: &Meter) -> JinjaResult<Arc<str>> {
    if let Value::Text(text) = value {
        return Ok(Arc::clone(text));
    }
    let mut text = Text::new(meter);
    write_text(value, &mut text)?;
    Ok(text.finish().into())
}

/// Writes what Python's `str` gives.
pub(super) fn write_text(value: &Value, to: &mut Text<'_>) -> JinjaResult<()> {
    match value {
        Value::Text(text) => to.push(text),
        Value::Undefined(_) => Ok(()),
        other => write_repr(other, to),
    }
}

/// Writes what Python's `repr` gives.
pub(super) fn write_repr(value: &Value, to: &mut Text<'_>) -> JinjaResult<()> {
    to.meter().step()?;
    match value {
        Value::Undefined(_) => to.push("Undefined"),
        Value::None => to.push("None"),
        Value::Bool(true) => to.push("True"),
        Value::Bool(false) => to.push("False"),
        Value::Int(n) => to.push(&n.to_string()),
        Value::Float(n) => to.push(&float(*n)),
        Value::Text(text) => quoted(text, to),
        Value::List(list) => {
            let (open, close) = match (list.tuple, list.items.len()) {
                (false, _) => ("[", "]"),
                (true, 1) => ("(", ",)"),
                (true, _) => ("(", ")"),
            };
            to.push(open)?;
            for (index, item) in list.items.iter().enumerate() {
                to.push(if index > 0 { ", " } else { "" })?;
                write_repr(item, to)?;
            }
            to.push(close)
        }
        Value::Dict(dict) => {
            to.push("{")?;
            for (index, (key, value)) in dict.pairs.iter().enumerate() {
                to.push(if index > 0 { ", " } else { "" })?;
                write_repr(key, to)?;
                to.push(": ")?;
                write_repr(value, to)?;
            }
            to.push("}")
        }
        other => {
            to.push("<")?;
            to.push(other.kind())?;
            to.push(">")
        }
    }
}

/// Quotes as Python chooses them, and escapes.
fn quoted(text: &str, to: &mut Text<'_>) -> JinjaResult<()> {
    to.meter().scan(text.len())?;
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::new();
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if printable(c) => out.push(c),
            c if u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
        if out.len() >= 4096 {
            to.push(&out)?;
            out.clear();
        }
    }
    out.push(quote);
    to.push(&out)
}

/// Nearly what Python calls printable: no controls, no separators but the space, no lone formatting marks.
fn printable(c: char) -> bool {
    !(c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}'))
}

/// A float as Python's `repr` writes it.
pub(super) fn float(n: f64) -> String {
    if n.is_nan() {
        return "nan".to_owned();
    }
    if n.is_infinite() {
        return if n > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{n:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{n}");
        return if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
