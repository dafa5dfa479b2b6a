//! `calibration/*.jsonl` and `evaluation/*.jsonl` -> records per domain, labels as indices.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use serde_json::Value;

use super::error::{Finding, Findings, ImportError, Place, shown};
use super::json;

/// Which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// What plans are made from.
    Calibration,
    /// What they are judged by.
    Evaluation,
}

impl Split {
    /// The folder's name.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Calibration => "calibration",
            Self::Evaluation => "evaluation",
        }
    }
}

/// One line of a text file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextRecord {
    /// The text.
    pub text: String,
    /// Index of its label; classification only.
    pub label: Option<u32>,
}

const LONGEST_LINE: u64 = 16 << 20;

/// Reads a folder of `<domain>.jsonl` files, by name; an absent folder has none. `labels` is empty for a decoder, whose
/// records have no label.
///
/// # Errors
/// With every line that is wrong.
pub fn read(
    folder: &Path,
    labels: &[String],
) -> Result<Vec<(String, Vec<TextRecord>)>, ImportError> {
    let shown_folder = folder.display().to_string();
    let io = |e: std::io::Error| Finding::file(&shown_folder, format!("cannot be read: {e}"));
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for item in std::fs::read_dir(folder).map_err(io)? {
        let path = item.map_err(io)?.path();
        if path.extension().is_some_and(|e| e == "jsonl")
            && let Some(stem) = path.file_stem().and_then(|s| s.to_str())
        {
            files.push((stem.to_owned(), path));
        }
    }
    files.sort();
    let mut findings = Findings::default();
    let mut texts = Vec::with_capacity(files.len());
    for (domain, path) in files {
        texts.push((domain, records(&path, labels, &mut findings)?));
    }
    findings.into_result(texts)
}

fn records(
    path: &Path,
    labels: &[String],
    findings: &mut Findings,
) -> Result<Vec<TextRecord>, Finding> {
    let file = path.display().to_string();
    let io = |e: std::io::Error| Finding::file(&file, format!("cannot be read: {e}"));
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let mut records = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut limited = reader.by_ref().take(LONGEST_LINE + 1);
        if limited.read_until(b'\n', &mut line).map_err(io)? == 0 {
            break;
        }
        let at = |what: String| {
            let file = file.clone();
            Finding::at(Place::Line { file, line: number }, what)
        };
        if line.len() as u64 > LONGEST_LINE {
            return Err(at(format!("is longer than {LONGEST_LINE} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match parse_record(&line, labels) {
            Ok(record) => records.push(record),
            Err(what) => findings.push(at(what)),
        }
    }
    Ok(records)
}

/// Parses one line; `labels` as in [`read`].
///
/// # Errors
/// With a sentence.
pub fn parse_record(line: &[u8], labels: &[String]) -> Result<TextRecord, String> {
    let map = json::parse_object(line)?;
    let Some(text) = map.get("text").and_then(Value::as_str) else {
        return Err("has no \"text\" that is a string".to_owned());
    };
    let label = match map.get("label") {
        _ if labels.is_empty() => None,
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => match labels.iter().position(|l| l == name) {
            Some(i) => Some(i as u32),
            None => return Err(format!("has the unknown label \"{}\"", shown(name))),
        },
        Some(value) => match value.as_u64().filter(|&i| i < labels.len() as u64) {
            Some(i) => Some(i as u32),
            None => {
                let (found, n) = (json::kind(value), labels.len());
                return Err(format!(
                    "has the label {found}; allowed: a name, or an index below {n}"
                ));
            }
        },
    };
    Ok(TextRecord {
        text: text.to_owned(),
        label,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_names_or_indices() {
        let labels = ["games".to_owned(), "web".to_owned()];
        let label = |line: &str| parse_record(line.as_bytes(), &labels).map(|r| r.label);
        assert_eq!(label("{\"text\": \"a\", \"label\": \"web\"}"), Ok(Some(1)));
        assert_eq!(label("{\"text\": \"a\", \"label\": 0}"), Ok(Some(0)));
        assert_eq!(label("{\"text\": \"a\"}"), Ok(None));
        for bad in [
            "{\"text\": \"a\", \"label\": \"w\u{1b}eb\"}",
            "{\"text\": \"a\", \"label\": 2}",
            "{\"text\": 3}",
            "{}",
            "\"a\"",
        ] {
            assert!(label(bad).is_err(), "{bad}");
        }
        let decoder = parse_record(b"{\"text\": \"a\", \"label\": \"x\"}", &[]);
        assert_eq!(decoder.map(|r| r.label), Ok(None));
    }
}
