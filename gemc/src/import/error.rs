//! What is wrong with a checkpoint, as a list of located findings, so that a person fixes it once and not once per
//! mistake. Names from files are escaped and shortened here, and nowhere else.

use std::fmt;

/// How many findings are kept; the rest is counted.
const MOST: usize = 64;

/// Where a finding lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file or folder of the checkpoint.
    File(String),
    /// A line of a text file, counted from 1.
    Line {
        /// Name of the file in the checkpoint's folder.
        file: String,
        /// Line, counted from 1.
        line: usize,
    },
    /// A key of `config.json` (or of the file named), nested ones as `router.top_k`.
    Key {
        /// Name of the file in the checkpoint's folder.
        file: String,
        /// The key, with a dot before each nested one.
        key: String,
    },
    /// A tensor, by its path in the checkpoint.
    Tensor(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.write_str(file),
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::Key { file, key } => write!(f, "{file}: key `{}`", shown(key)),
            Self::Tensor(path) => write!(f, "tensor `{}`", shown(path)),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, line, key or tensor that it is about.
    pub place: Place,
    /// What is wrong there, in words.
    pub what: String,
    /// What would be right, where there is more to say than "not this".
    pub allowed: Option<String>,
}

impl Finding {
    /// A finding about a file.
    pub fn file(file: impl Into<String>, what: impl Into<String>) -> Self {
        Self::at(Place::File(file.into()), what)
    }

    /// A finding about a tensor.
    pub fn tensor(path: &str, what: impl Into<String>) -> Self {
        Self::at(Place::Tensor(path.to_owned()), what)
    }

    /// A finding at a place.
    pub fn at(place: Place, what: impl Into<String>) -> Self {
        Self {
            place,
            what: what.into(),
            allowed: None,
        }
    }

    /// Says what would be right.
    #[must_use]
    pub fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = Some(allowed.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        match &self.allowed {
            Some(allowed) => write!(f, "; allowed: {allowed}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with one checkpoint, one finding a line; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ImportError {
    findings: Vec<Finding>,
    omitted: usize,
}

impl ImportError {
    /// The findings, in the order in which they were made; at most 64.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many more there were.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl From<Finding> for ImportError {
    fn from(finding: Finding) -> Self {
        Self {
            findings: vec![finding],
            omitted: 0,
        }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.findings.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{finding}")?;
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

/// Collects findings.
#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<Finding>,
    omitted: usize,
}

impl Findings {
    /// Adds a finding; all are reported together.
    pub fn push(&mut self, finding: Finding) {
        if self.list.len() < MOST {
            self.list.push(finding);
        } else {
            self.omitted += 1;
        }
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The findings, without the count of those beyond the cap.
    #[must_use]
    pub fn into_list(self) -> Vec<Finding> {
        self.list
    }

    /// Passes `value` on when nothing is wrong.
    ///
    /// # Errors
    /// With everything that was noted.
    pub fn into_result<T>(self, value: T) -> Result<T, ImportError> {
        if self.is_empty() {
            return Ok(value);
        }
        Err(ImportError {
            findings: self.list,
            omitted: self.omitted,
        })
    }
}

/// A name from a file as it may be printed: control characters and quotes escaped, long ones cut.
#[must_use]
pub fn shown(name: &str) -> String {
    cut(name, 160, |c| c.escape_debug().collect())
}

/// A message that may hold names from a file: control characters escaped, long ones cut. Quotes are its own.
#[must_use]
pub fn printable(message: &str) -> String {
    cut(message, 400, |c| match c.is_control() {
        true => c.escape_debug().collect(),
        false => c.to_string(),
    })
}

/// A number of things, by the word for one of them: "1 label", "2 labels".
#[must_use]
pub fn counted(n: usize, one: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {one}{plural}")
}

fn cut(text: &str, longest: usize, escape: impl Fn(char) -> String) -> String {
    let mut out: String = text.chars().take(longest).map(escape).collect();
    if text.chars().nth(longest).is_some() {
        out.push('…');
    }
    out
}

/// The nearest of `known` to `name`, when it is near enough to be a slip of the pen.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    known
        .into_iter()
        .map(|k| (edits(name, k), k))
        .min()
        .filter(|(distance, k)| *distance <= 1 + k.len().max(name.len()) / 3)
        .map(|(_, k)| k)
}

/// Levenshtein distance in characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_cut() {
        assert_eq!(shown("a\u{1b}[31m\n"), "a\\u{1b}[31m\\n");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), 161);
        assert_eq!(printable("key \"a\\b\" \u{1b}"), "key \"a\\b\" \\u{1b}");
    }

    #[test]
    fn the_nearest_key_is_named_only_when_near() {
        let known = ["hidden_size", "hidden_act", "qk_norm"];
        assert_eq!(nearest("hiden_size", known), Some("hidden_size"));
        assert_eq!(nearest("qk_nrom", known), Some("qk_norm"));
        assert_eq!(nearest("sliding_window_pattern", known), None);
    }

    #[test]
    fn findings_beyond_the_cap_are_counted() {
        let mut findings = Findings::default();
        for i in 0..100 {
            findings.push(Finding::file("f", i.to_string()));
        }
        let error = findings.into_result(()).expect_err("there are findings");
        assert_eq!((error.findings().len(), error.omitted()), (64, 36));
        assert!(error.to_string().ends_with("and 36 more"));
    }
}
