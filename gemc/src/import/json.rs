//! JSON files -> values, strictly: bounded size, limited depth, no key twice. Nothing here knows what a key means.

use std::fmt;
use std::path::Path;

use gem_runtime::regular;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::{Finding, printable, shown};

/// Reads a file that must not be longer than `most` bytes, without the byte order mark that it may begin with.
///
/// # Errors
/// When it cannot be read, is no regular file or is longer.
pub fn read_bounded(path: &Path, name: &str, most: u64) -> Result<Vec<u8>, Finding> {
    regular::read_text(path, most).map_err(|e| Finding::file(name, regular::why(&e)))
}

/// Parses one JSON object in which no key appears twice.
///
/// # Errors
/// With a sentence that holds line and column; too deep nesting is such an error.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    object(bytes, &line_and_column)
}

/// [`parse_object`] of a text that is one line, whose number whoever asks knows.
///
/// # Errors
/// With a sentence that holds the column.
pub fn parse_line(line: &[u8]) -> Result<Map<String, Value>, String> {
    object(line.trim_ascii_end(), &|e| format!("column {}", e.column()))
}

/// Says where an error is.
type Position<'a> = &'a dyn Fn(&serde_json::Error) -> String;

fn line_and_column(error: &serde_json::Error) -> String {
    format!("line {} column {}", error.line(), error.column())
}

fn object(bytes: &[u8], position: Position<'_>) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(map))) => Ok(map),
        Ok(Strict(other)) => Err(format!("holds {}, not an object", kind(&other))),
        Err(e) => Err(explain(bytes, &e, position)),
    }
}

/// Parses a value that derives `Deserialize`.
///
/// # Errors
/// With a sentence that holds line and column.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|e| explain(bytes, &e, &line_and_column))
}

/// What a value is, in words, for messages.
#[must_use]
pub fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => format!("\"{}\"", shown(s)),
        Value::Array(a) => format!("a list of {}", a.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A short list as it was written; anything else as [`kind`] says it.
#[must_use]
pub fn listed(value: &Value) -> String {
    const LONGEST: usize = 16;
    match value {
        Value::Array(items) if items.len() <= LONGEST => {
            let items: Vec<String> = items.iter().map(kind).collect();
            format!("[{}]", items.join(", "))
        }
        other => kind(other),
    }
}

/// What is wrong with the text, and where. Python writes NaN and Infinity into JSON files; it says so instead of "expected
/// value".
fn explain(bytes: &[u8], error: &serde_json::Error, position: Position<'_>) -> String {
    let line = bytes
        .split(|&b| b == b'\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let from = error.column().saturating_sub(2).min(line.len());
    let rest = &line[from..line.len().min(from + 10)];
    let not_a_number = [&b"NaN"[..], b"Infinity"]
        .iter()
        .any(|word| rest.windows(word.len().min(3)).any(|w| word.starts_with(w)));
    let hint = if error.is_syntax() && not_a_number {
        " (JSON has no NaN or Infinity)"
    } else {
        ""
    };
    // The position stays when what stands before it is cut.
    let text = error.to_string();
    let end = format!(" at line {} column {}", error.line(), error.column());
    let what = printable(text.strip_suffix(&end).unwrap_or(&text));
    format!("is not valid JSON: {what} at {}{hint}", position(error))
}

/// A value none of whose objects has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = access.next_entry::<String, Strict>()? {
            if map.contains_key(&key) {
                let key = shown(&key);
                return Err(de::Error::custom(format!("key \"{key}\" appears twice")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_json_is_explained() {
        let deep = "[".repeat(100_000);
        let long = format!("{{\"a\": 1, \"{}\": 2, \n", "b".repeat(10_000));
        for (text, words) in [
            (
                "{\"a\": 1, \"a\": 2}",
                "JSON: key \"a\" appears twice at line 1 column ",
            ),
            (
                "{\"a\\u001b\\\"\": 1, \"a\\u001b\\\"\": 2}",
                "key \"a\\u{1b}\\\"\" appears twice",
            ),
            ("{\"a\": NaN}", "JSON has no NaN"),
            ("{\"a\": Infinity}", "JSON has no NaN or Infinity"),
            ("{\"a\": -Infinity}", "JSON has no NaN or Infinity"),
            ("{\"a\": 1e999}", "number out of range"),
            ("[1]", "a list of 1, not an object"),
            ("{\"a\": nul}", "line 1 column"),
            ("", "EOF"),
            (deep.as_str(), "recursion limit"),
            (long.as_str(), "at line 2 column"),
        ] {
            let message = parse_object(text.as_bytes()).expect_err(words);
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn words_of_the_parser_are_not_escaped_twice() {
        let message = parse::<u32>(b"\"x\\u0007\"").expect_err("no number");
        assert!(message.contains("string \"x\\u{7}\""), "{message}");
        let twice = format!("{{\"{0}\": 1, \"{0}\": 2}}", "k".repeat(500));
        let message = parse_object(twice.as_bytes()).expect_err("twice");
        assert!(
            message.contains("k…\" appears twice at line 1 column "),
            "{message}"
        );
    }
}
