//! Methods of texts, dicts and lists, as far as the sandbox of Hugging Face allows them: none that changes a value.

use super::arguments::{Arguments, int, is_on, needed, size, text};
use super::meter::{Meter, Text};
use super::value::Value;
use super::{Fault, JinjaResult, format, words};

const OF_TEXTS: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "islower",
    "isnumeric",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];
const OF_DICTS: &[&str] = &["copy", "get", "items", "keys", "values"];
const OF_LISTS: &[&str] = &["copy", "count", "index"];

/// Whether a value has such a method.
pub(super) fn has(value: &Value, name: &str) -> bool {
    let names = match value {
        Value::Text(_) => OF_TEXTS,
        Value::Dict(_) => OF_DICTS,
        Value::List(_) => OF_LISTS,
        _ => return false,
    };
    names.contains(&name)
}

/// Calls a method that the value has.
pub(super) fn call(
    value: &Value,
    name: &str,
    arguments: Arguments,
    meter: &Meter,
) -> JinjaResult<Value> {
    match value {
        Value::Text(text) => of_text(text, name, arguments, meter),
        Value::Dict(dict) => match name {
            "get" => {
                let [key, default] = arguments.bind("get", ["key", "default"])?;
                let key = needed(key, "get", "key")?;
                let found = value.of_key(&key, meter)?.or(default);
                Ok(found.unwrap_or(Value::None))
            }
            "items" => items(&dict.pairs, meter),
            "values" => {
                let values = dict.pairs.iter().map(|(_, value)| value.clone());
                Value::list(values.collect(), meter)
            }
            "keys" => Value::list(value.items(meter)?, meter),
            _ => Ok(value.clone()),
        },
        Value::List(list) => {
            if name == "copy" {
                return Ok(value.clone());
            }
            let [wanted] = arguments.bind(name, ["value"])?;
            let wanted = needed(wanted, name, "value")?;
            let mut places = Vec::new();
            for (at, item) in list.items.iter().enumerate() {
                if item.equals(&wanted, meter)? {
                    places.push(at);
                }
            }
            match (name, places.first()) {
                ("count", _) => Ok(Value::Int(places.len() as i64)),
                (_, Some(at)) => Ok(Value::Int(*at as i64)),
                (_, None) => Err(Fault::new("a list does not have the value")),
            }
        }
        other => Err(Fault::new(format!("a {} has no `{name}`", other.kind()))),
    }
}

/// Keys and values of a dict, as tuples.
pub(super) fn items(pairs: &[(Value, Value)], meter: &Meter) -> JinjaResult<Value> {
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        items.push(Value::tuple(vec![key.clone(), value.clone()], meter)?);
    }
    Value::list(items, meter)
}

fn of_text(value: &str, name: &str, arguments: Arguments, meter: &Meter) -> JinjaResult<Value> {
    meter.scan(value.len())?;
    match name {
        "format" => Ok(format::str_format(value, &arguments, meter)?.into()),
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = arguments.bind(name, ["chars"])?;
            let chars = optional_text(chars, name)?;
            // Every character is compared with all of these.
            meter.scan(
                value
                    .len()
                    .saturating_mul(chars.as_ref().map_or(1, |c| c.len())),
            )?;
            let (left, right) = (name != "rstrip", name != "lstrip");
            Value::text(words::stripped(value, chars.as_deref(), left, right), meter)
        }
        "split" | "rsplit" => {
            let [separator, most] = arguments.bind(name, ["sep", "maxsplit"])?;
            let separator = optional_text(separator, name)?;
            if separator.as_deref() == Some("") {
                return Err(Fault::new("a separator is empty"));
            }
            let most = usize::try_from(int(most, -1, name)?).ok();
            let cut = if name == "split" {
                words::split
            } else {
                words::rsplit
            };
            texts(cut(value, separator.as_deref(), most, meter)?, meter)
        }
        "splitlines" => {
            let [ends] = arguments.bind(name, ["keepends"])?;
            texts(words::lines(value, is_on(ends), meter)?, meter)
        }
        "partition" | "rpartition" => partition(value, name, arguments, meter),
        "join" => {
            let [items] = arguments.bind(name, ["iterable"])?;
            let items = needed(items, name, "iterable")?.items(meter)?;
            join(&items, value, meter)
        }
        "replace" => {
            let [old, new, count] = arguments.bind(name, ["old", "new", "count"])?;
            let old = text(&needed(old, name, "old")?, name)?;
            let new = text(&needed(new, name, "new")?, name)?;
            let count = usize::try_from(int(count, -1, name)?).ok();
            replace(value, &old, &new, count, meter)
        }
        "startswith" | "endswith" => begins_or_ends(value, name, arguments, meter),
        "removeprefix" | "removesuffix" => {
            let [part] = arguments.bind(name, ["part"])?;
            let part = text(&needed(part, name, "part")?, name)?;
            let rest = match name {
                "removeprefix" => value.strip_prefix(&*part),
                _ => value.strip_suffix(&*part),
            };
            Value::text(rest.unwrap_or(value), meter)
        }
        "find" | "rfind" | "index" | "rindex" | "count" => find(value, name, arguments, meter),
        "center" | "ljust" | "rjust" | "zfill" => padded(value, name, arguments, meter),
        "expandtabs" => {
            let [tab] = arguments.bind(name, ["tabsize"])?;
            expand_tabs(value, size(tab, 8, name)?, meter)
        }
        _ => {
            let [] = arguments.bind(name, [])?;
            without_arguments(value, name, meter)
        }
    }
}

fn without_arguments(value: &str, name: &str, meter: &Meter) -> JinjaResult<Value> {
    if name.starts_with("is") {
        return Ok(Value::Bool(is(value, name)));
    }
    // Letters become at most three, of at most three times the size.
    meter.bytes(3 * value.len())?;
    let made = match name {
        "lower" | "casefold" => value.to_lowercase(),
        "upper" => value.to_uppercase(),
        "capitalize" => words::capitalised(value),
        "title" => words::titled(value, |c| !c.is_alphabetic()),
        _ => value
            .chars()
            .flat_map(|c| -> Vec<char> {
                if c.is_uppercase() {
                    c.to_lowercase().collect()
                } else {
                    c.to_uppercase().collect()
                }
            })
            .collect(),
    };
    Ok(made.into())
}

/// The questions that a text answers.
fn is(value: &str, name: &str) -> bool {
    let all = |holds: fn(char) -> bool| !value.is_empty() && value.chars().all(holds);
    let cased = |wanted: fn(char) -> bool, other: fn(char) -> bool| {
        value.chars().any(wanted) && !value.chars().any(other)
    };
    match name {
        "isascii" => value.is_ascii(),
        "isalnum" => all(char::is_alphanumeric),
        "isalpha" => all(char::is_alphabetic),
        "isspace" => all(words::is_space),
        "isdecimal" | "isdigit" | "isnumeric" => all(char::is_numeric),
        "islower" => cased(char::is_lowercase, char::is_uppercase),
        "isupper" => cased(char::is_uppercase, char::is_lowercase),
        _ => {
            value.chars().any(char::is_alphabetic)
                && words::titled(value, |c| !c.is_alphabetic()) == value
        }
    }
}

fn optional_text(value: Option<Value>, what: &str) -> JinjaResult<Option<std::sync::Arc<str>>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(value) => text(&value, what).map(Some),
    }
}

/// A list of texts.
fn texts(pieces: Vec<&str>, meter: &Meter) -> JinjaResult<Value> {
    let items = pieces.into_iter().map(|piece| Value::text(piece, meter));
    Value::list(items.collect::<JinjaResult<_>>()?, meter)
}

/// Texts with a text between them.
fn join(items: &[Value], separator: &str, meter: &Meter) -> JinjaResult<Value> {
    let mut out = Text::new(meter);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(separator)?;
        }
        out.push(&text(item, "join")?)?;
    }
    Ok(out.finish().into())
}

/// `text.replace(old, new, count)`.
pub(super) fn replace(
    value: &str,
    old: &str,
    new: &str,
    count: Option<usize>,
    meter: &Meter,
) -> JinjaResult<Value> {
    let count = count.unwrap_or(usize::MAX);
    let mut out = Text::new(meter);
    if old.is_empty() {
        let mut left = count;
        for c in value.chars() {
            if left > 0 {
                out.push(new)?;
                left -= 1;
            }
            out.push(c.encode_utf8(&mut [0; 4]))?;
        }
        out.push(if left > 0 { new } else { "" })?;
        return Ok(out.finish().into());
    }
    let mut rest = value;
    for (at, found) in value.match_indices(old).take(count) {
        let done = value.len() - rest.len();
        out.push(&value[done..at])?;
        out.push(new)?;
        rest = &value[at + found.len()..];
    }
    out.push(rest)?;
    Ok(out.finish().into())
}

fn begins_or_ends(
    value: &str,
    name: &str,
    arguments: Arguments,
    meter: &Meter,
) -> JinjaResult<Value> {
    let [parts] = arguments.bind(name, ["part"])?;
    let parts = match needed(parts, name, "part")? {
        Value::List(list) => {
            meter.items(list.items.len())?;
            list.items.clone()
        }
        one => vec![one],
    };
    for part in parts {
        let part = text(&part, name)?;
        meter.scan(part.len().min(value.len()))?;
        let found = match name {
            "startswith" => value.starts_with(&*part),
            _ => value.ends_with(&*part),
        };
        if found {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn find(value: &str, name: &str, arguments: Arguments, meter: &Meter) -> JinjaResult<Value> {
    let [part, begin, end] = arguments.bind(name, ["sub", "start", "end"])?;
    let part = text(&needed(part, name, "sub")?, name)?;
    let length = value.chars().count() as i64;
    let bound = |given: i64| (if given < 0 { given + length } else { given }).clamp(0, length);
    let begin = bound(int(begin, 0, name)?) as usize;
    let end = bound(int(end, length, name)?) as usize;
    meter.bytes(value.len())?;
    let inside: String = value
        .chars()
        .skip(begin)
        .take(end.saturating_sub(begin))
        .collect();
    if name == "count" {
        let count = match part.is_empty() {
            true => inside.chars().count() + 1,
            false => inside.matches(&*part).count(),
        };
        return Ok(Value::Int(count as i64));
    }
    let found = match name {
        "find" | "index" => inside.find(&*part),
        _ => inside.rfind(&*part),
    };
    match found {
        Some(at) => Ok(Value::Int((begin + inside[..at].chars().count()) as i64)),
        None if name.ends_with("find") => Ok(Value::Int(-1)),
        None => Err(Fault::new("a text does not have the part")),
    }
}

fn partition(value: &str, name: &str, arguments: Arguments, meter: &Meter) -> JinjaResult<Value> {
    let [separator] = arguments.bind(name, ["sep"])?;
    let separator = text(&needed(separator, name, "sep")?, name)?;
    if separator.is_empty() {
        return Err(Fault::new("a separator is empty"));
    }
    let cut = match name {
        "partition" => value.split_once(&*separator),
        _ => value.rsplit_once(&*separator),
    };
    let parts = match (cut, name) {
        (Some((before, behind)), _) => [before, &separator, behind],
        (None, "partition") => [value, "", ""],
        (None, _) => ["", "", value],
    };
    let items = parts.map(|part| Value::text(part, meter)).into_iter();
    Value::tuple(items.collect::<JinjaResult<_>>()?, meter)
}

fn padded(value: &str, name: &str, arguments: Arguments, meter: &Meter) -> JinjaResult<Value> {
    let [width, fill] = arguments.bind(name, ["width", "fillchar"])?;
    let width = size(Some(needed(width, name, "width")?), 0, name)?;
    let fill = match fill {
        Some(fill) => text(&fill, name)?,
        None => " ".into(),
    };
    if fill.chars().count() != 1 {
        return Err(Fault::new("a fill is one character"));
    }
    let missing = width.saturating_sub(value.chars().count());
    let mut out = Text::new(meter);
    match name {
        "ljust" => {
            out.push(value)?;
            out.repeat(&fill, missing)?;
        }
        "rjust" => {
            out.repeat(&fill, missing)?;
            out.push(value)?;
        }
        "center" => {
            // Python puts the odd one to the left when the width is odd.
            let left = missing / 2 + (missing & width & 1);
            out.repeat(&fill, left)?;
            out.push(value)?;
            out.repeat(&fill, missing - left)?;
        }
        _ => {
            let digits = value.strip_prefix(['+', '-']).unwrap_or(value);
            out.push(&value[..value.len() - digits.len()])?;
            out.repeat("0", missing)?;
            out.push(digits)?;
        }
    }
    Ok(out.finish().into())
}

fn expand_tabs(value: &str, tab: usize, meter: &Meter) -> JinjaResult<Value> {
    let mut out = Text::new(meter);
    let mut column = 0;
    for c in value.chars() {
        match c {
            '\t' => {
                let spaces = if tab > 0 { tab - column % tab } else { 0 };
                out.repeat(" ", spaces)?;
                column += spaces;
            }
            c => {
                out.push(c.encode_utf8(&mut [0; 4]))?;
                column = if matches!(c, '\n' | '\r') {
                    0
                } else {
                    column + 1
                };
            }
        }
    }
    Ok(out.finish().into())
}
