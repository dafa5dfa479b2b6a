//! `calibration/*.jsonl` and `evaluation/*.jsonl` -> records per domain, line by line, labels as indices.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use gem_runtime::regular;
use serde_json::Value;

use super::error::{Finding, Findings, ImportError, Place, nearest, shown};
use super::json;

/// Text to calibrate with, or to evaluate on.
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
    /// Text of the document.
    pub text: String,
    /// Index of its label; classification only.
    pub label: Option<u32>,
    /// What it is a piece of, where the line names a `document`: lines of one name that follow one another are pieces of one.
    pub document: Option<String>,
}

const LONGEST_LINE: u64 = 16 << 20;
const LINE: &str = "one object a line, {\"text\": \"…\"}";
const LABELLED: &str = "one object a line, {\"text\": \"…\", \"label\": \"…\"}";

/// The files `<domain>.jsonl` of a folder with their domains, by name; hidden ones are none, and an absent folder has none.
///
/// # Errors
/// When the folder cannot be read, or a file's name cannot be that of a domain.
pub fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, ImportError> {
    let shown_folder = folder.display().to_string();
    let wrong = |e: io::Error| Finding::file(&shown_folder, regular::why(&e));
    if !regular::is_there(folder) {
        return Ok(Vec::new());
    }
    if !folder.exists() {
        // A link that leads nowhere, which opening it names.
        regular::open(folder).map_err(wrong)?;
    }
    let mut files = Vec::new();
    let mut findings = Findings::default();
    for item in std::fs::read_dir(folder).map_err(wrong)? {
        let path = item.map_err(wrong)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|e| e != "jsonl") {
            continue;
        }
        match path.file_stem().and_then(|s| s.to_str()) {
            Some(stem) if !stem.chars().any(char::is_control) => {
                files.push((stem.to_owned(), path))
            }
            _ => {
                let name = path.display().to_string().escape_debug().to_string();
                let what = "has a name that no domain can have";
                let allowed = "UTF-8 without control characters";
                findings.push(Finding::file(name, what).allowed(allowed));
            }
        }
    }
    files.sort();
    findings.into_result(files)
}

/// Reads all of a folder of `<domain>.jsonl` files, by name; an absent folder has none. `labels` is empty for a decoder,
/// whose records have no label.
///
/// # Errors
/// With every line that is wrong.
pub fn read(
    folder: &Path,
    labels: &[String],
) -> Result<Vec<(String, Vec<TextRecord>)>, ImportError> {
    let mut findings = Findings::default();
    let mut texts = Vec::new();
    for (domain, path) in files(folder)? {
        let mut records = Vec::new();
        for_each(&path, labels, &mut findings, |record| {
            records.push(record);
            true
        });
        texts.push((domain, records));
    }
    findings.into_result(texts)
}

/// Gives `take` the records of a file until it wants no more; what is wrong with the lines before goes to the findings.
pub fn for_each(
    path: &Path,
    labels: &[String],
    findings: &mut Findings,
    mut take: impl FnMut(TextRecord) -> bool,
) {
    let records = match Records::open(path, labels) {
        Ok(records) => records,
        Err(finding) => return findings.push(finding),
    };
    for record in records {
        match record {
            Ok(record) => {
                if !take(record) {
                    return;
                }
            }
            Err(finding) => findings.push(finding),
        }
    }
}

/// The records of a file, read when they are asked for. A line that is wrong is told, and the next one is read; after one
/// that is too long, or that cannot be read, nothing is.
#[derive(Debug)]
struct Records<'a> {
    labels: &'a [String],
    file: String,
    reader: BufReader<File>,
    line: Vec<u8>,
    number: usize,
    ended: bool,
}

impl<'a> Records<'a> {
    /// Opens a file; `labels` as in [`read`].
    ///
    /// # Errors
    /// When it cannot be opened.
    fn open(path: &Path, labels: &'a [String]) -> Result<Self, Finding> {
        let name = path.display().to_string();
        let file = regular::open(path).map_err(|e| Finding::file(&name, regular::why(&e)))?;
        Ok(Self {
            labels,
            file: name,
            reader: BufReader::new(file),
            line: Vec::new(),
            number: 0,
            ended: false,
        })
    }

    fn at(&self, what: String) -> Finding {
        let place = Place::Line {
            file: self.file.clone(),
            line: self.number,
        };
        Finding::at(place, what)
    }

    /// The next line that is not blank, into `line`; false at the end.
    fn advance(&mut self) -> Result<bool, Finding> {
        loop {
            self.number += 1;
            self.line.clear();
            let mut limited = self.reader.by_ref().take(LONGEST_LINE + 1);
            let read = limited.read_until(b'\n', &mut self.line);
            let read = read.map_err(|e| self.at(regular::why(&e)))?;
            if read as u64 > LONGEST_LINE {
                let what = format!("is longer than {LONGEST_LINE} bytes");
                return Err(self
                    .at(what)
                    .allowed("shorter lines; long texts in several"));
            }
            if self.number == 1 {
                self.check_first()?;
            }
            if read == 0 || !self.line.trim_ascii().is_empty() {
                return Ok(read > 0);
            }
        }
    }

    /// What a file begins with when it is no such text at all.
    fn check_first(&mut self) -> Result<(), Finding> {
        let what = match &self.line[..] {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "is UTF-16 text",
            [0x1f, 0x8b, ..] => "is compressed by gzip",
            [b'P', b'A', b'R', b'1', ..] => "is a Parquet file",
            line => {
                let marked = line.len() - regular::unmarked(line).len();
                self.line.drain(..marked);
                return Ok(());
            }
        };
        let finding = Finding::file(&self.file, what);
        Err(finding.allowed(format!("UTF-8 text with {}", self.form())))
    }

    const fn form(&self) -> &'static str {
        match self.labels {
            [] => LINE,
            _ => LABELLED,
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<TextRecord, Finding>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.advance() {
            Ok(true) => {
                let record = parse_record(&self.line, self.labels);
                Some(record.map_err(|what| self.at(what)))
            }
            Ok(false) => {
                self.ended = true;
                None
            }
            Err(finding) => {
                self.ended = true;
                Some(Err(finding))
            }
        }
    }
}

/// Parses one line; `labels` as in [`read`].
///
/// # Errors
/// With a sentence that says what is allowed.
pub fn parse_record(line: &[u8], labels: &[String]) -> Result<TextRecord, String> {
    let form = if labels.is_empty() { LINE } else { LABELLED };
    let map = json::parse_line(line).map_err(|what| format!("{what}; allowed: {form}"))?;
    let text = match map.get("text") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => {
            let found = json::kind(other);
            return Err(format!("has the \"text\" {found}; allowed: a string"));
        }
        None => return Err(format!("has no \"text\"; allowed: {form}")),
    };
    let label = match map.get("label") {
        _ if labels.is_empty() => None,
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => match labels.iter().position(|l| l == name) {
            Some(i) => Some(i as u32),
            None => return Err(unknown(name, labels)),
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
    let document = map.get("document").and_then(Value::as_str);
    Ok(TextRecord {
        text,
        label,
        document: document.map(str::to_owned),
    })
}

fn unknown(name: &str, labels: &[String]) -> String {
    const MOST: usize = 32;
    let found = format!("has the unknown label \"{}\"", shown(name));
    if let Some(near) = nearest(name, labels.iter().map(String::as_str)) {
        return format!("{found}: did you mean \"{}\"?", shown(near));
    }
    let mut known: Vec<String> = labels.iter().take(MOST).map(|l| shown(l)).collect();
    if labels.len() > MOST {
        known.push("…".to_owned());
    }
    format!("{found}; allowed: {}", known.join(", "))
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

    /// What is wrong in a folder of one file.
    fn told(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("law.jsonl"), bytes).expect("space");
        match read(folder.path(), &[]) {
            Ok(texts) => format!("{} records", texts[0].1.len()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn lines_that_are_wrong_are_told_with_what_is_allowed() {
        let good = "{\"text\": \"a\"}";
        for (bytes, words) in [
            (format!("{good}\r\n{good}\r\n"), "2 records"),
            (format!("\u{feff}{good}\n\n  \n{good}"), "2 records"),
            (String::new(), "0 records"),
            (
                format!("{good}\nplain text\n"),
                "law.jsonl:2: is not valid JSON: expected value at column 1; allowed: one object a line",
            ),
            (
                format!("[\n{good}\n]"),
                "law.jsonl:1: is not valid JSON: EOF",
            ),
            (
                "[1]".to_owned(),
                "law.jsonl:1: holds a list of 1, not an object; allowed: one",
            ),
            (
                "{\"text\": \"a\", \"text\": \"b\"}".to_owned(),
                "key \"text\" appears twice at column",
            ),
            (
                "{\"text\": 3}".to_owned(),
                "has the \"text\" 3; allowed: a string",
            ),
            (
                "{\"txt\": 3}".to_owned(),
                "has no \"text\"; allowed: one object",
            ),
            (format!("{good}{good}"), "trailing characters at column 14"),
        ] {
            let told = told(bytes.as_bytes());
            assert!(told.contains(words), "{told}");
            assert!(
                !told.contains("line 1 column") && !told.contains("\\\""),
                "{told}"
            );
        }
        assert!(told(b"\xff\xfe{\0").contains("law.jsonl: is UTF-16 text; allowed: UTF-8"));
        assert!(told(b"\x1f\x8b\x08").contains("compressed by gzip"));
        assert!(told(b"{\"text\": \"\xff\"}").contains("law.jsonl:1: is not valid JSON"));
        assert!(
            told(b"version https://git-lfs.github.com/spec/v1\noid x").contains("git lfs pull")
        );
        let long = [b"nonsense\n".to_vec(), vec![b' '; (16 << 20) + 1]].concat();
        let told = told(&long);
        assert!(told.contains("law.jsonl:1: is not valid JSON"), "{told}");
        assert!(
            told.contains("law.jsonl:2: is longer than 16777216 bytes"),
            "{told}"
        );
        let labels = ["games".to_owned(), "web".to_owned()];
        let label = |line: &[u8]| parse_record(line, &labels).expect_err("a bad label");
        let near = label(b"{\"text\": \"a\", \"label\": \"gamse\"}");
        assert!(near.contains("did you mean \"games\"?"), "{near}");
        let far = label(b"{\"text\": \"a\", \"label\": \"positive\"}");
        assert!(far.ends_with("; allowed: games, web"), "{far}");
    }

    #[test]
    fn domains_are_the_files_that_are_meant_to_be_seen() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        for name in [
            "law.jsonl",
            ".law.jsonl",
            "._law.jsonl",
            ".jsonl",
            "law.txt",
            "law.jsonl~",
        ] {
            std::fs::write(at(name), "{\"text\": \"a\"}").expect("space");
        }
        let found = files(folder.path()).expect("readable");
        assert_eq!(found, [("law".to_owned(), at("law.jsonl"))]);
        assert_eq!(files(&at("absent")), Ok(Vec::new()));
        std::fs::create_dir(at("web.jsonl")).expect("space");
        let error = read(folder.path(), &[]).expect_err("a folder");
        assert!(
            error.to_string().contains("web.jsonl: is a folder"),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_somewhere_and_names_are_plain() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().expect("a temporary folder");
        symlink("gone", folder.path().join("calibration")).expect("a link");
        symlink("gone.jsonl", folder.path().join("law.jsonl")).expect("a link");
        let told = |path: &Path| read(path, &[]).expect_err("wrong").to_string();
        let nowhere = told(&folder.path().join("calibration"));
        assert!(
            nowhere.contains("is a link to gone, which does not exist"),
            "{nowhere}"
        );
        let nowhere = told(folder.path());
        assert!(
            nowhere.contains("law.jsonl: is a link to gone.jsonl"),
            "{nowhere}"
        );
        let odd = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(odd.path().join("a\u{1b}[31mb.jsonl"), "").expect("space");
        let refused = told(odd.path());
        assert!(
            refused.contains("\\u{1b}[31mb.jsonl: has a name"),
            "{refused}"
        );
    }
}
