//! JSON files -> values, strictly: bounded size, limited depth, no key twice. Nothing here knows what a key means.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::{Finding, shown};

/// Reads a file that must not be longer than `most` bytes.
///
/// # Errors
/// When it cannot be read, is no regular file or is longer.
pub fn read_bounded(path: &Path, name: &str, most: u64) -> Result<Vec<u8>, Finding> {
    let io = |e: std::io::Error| Finding::file(name, format!("cannot be read: {e}"));
    let file = std::fs::File::open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(Finding::file(name, "is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > most {
        return Err(Finding::file(name, "is too long").allowed(format!("at most {most} bytes")));
    }
    Ok(bytes)
}

/// Parses one JSON object in which no key appears twice.
///
/// # Errors
/// With a sentence that holds line and column; too deep nesting is such an error.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(map))) => Ok(map),
        Ok(Strict(other)) => Err(format!("holds {}, not an object", kind(&other))),
        Err(e) => Err(explain(bytes, &e)),
    }
}

/// Parses a value that derives `Deserialize`.
///
/// # Errors
/// With a sentence that holds line and column.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|e| explain(bytes, &e))
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

/// Python writes NaN and Infinity into JSON files; say so instead of "expected value".
fn explain(bytes: &[u8], error: &serde_json::Error) -> String {
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
    format!("is not valid JSON: {}{hint}", shown(&error.to_string()))
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
        for (text, words) in [
            ("{\"a\": 1, \"a\": 2}", "appears twice"),
            ("{\"a\": NaN}", "JSON has no NaN"),
            ("{\"a\": Infinity}", "JSON has no NaN or Infinity"),
            ("{\"a\": -Infinity}", "JSON has no NaN or Infinity"),
            ("{\"a\": 1e999}", "number out of range"),
            ("[1]", "a list of 1, not an object"),
            ("{\"a\": nul}", "line 1 column"),
            ("", "EOF"),
            (deep.as_str(), "recursion limit"),
        ] {
            let message = parse_object(text.as_bytes()).expect_err(words);
            assert!(message.contains(words), "{message}");
        }
    }
}
