//! Lines of a comparison -> a JUnit XML file, written whole or not at all: one test case a figure, which build pipelines show.
//!
//! What parsers agree on is little: GitLab takes no message from an attribute and tells cases apart by their names, Jenkins
//! wants sums at the suite. So a message is also the text of its element, and a name says what it is of.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::limits::Line;
use crate::output::{Kind, OutputError, OutputFile, place_all};

/// How the text of a file begins.
const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"gemc verify\"";

const KIND: Kind = Kind {
    name: "a JUnit file of `gemc verify`",
    is: |bytes| bytes.starts_with(HEAD.as_bytes()),
};

/// A file that may be written.
#[derive(Debug)]
pub struct Junit(OutputFile);

impl Junit {
    /// Tries a path, before the work.
    ///
    /// # Errors
    /// When something else is there, or it cannot be written.
    pub fn attempt(path: &Path) -> Result<Self, OutputError> {
        OutputFile::attempt(path, KIND).map(Self)
    }

    /// Writes the lines of a model's comparison that took so long.
    ///
    /// # Errors
    /// When it cannot be written; what was there stays.
    pub fn write(&self, suite: &Suite<'_>) -> Result<(), OutputError> {
        place_all([self.0.write(suite.text().as_bytes())?])
    }
}

/// What was compared.
#[derive(Clone, Copy, Debug)]
pub struct Suite<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The target's.
    pub target: &'a str,
    /// Every figure.
    pub lines: &'a [Line],
    /// What the comparison took. All figures come from it: the first case has the time.
    pub took: Duration,
}

impl Suite<'_> {
    fn text(&self) -> String {
        let cases: String = self
            .lines
            .iter()
            .enumerate()
            .map(|(i, line)| self.case(i, line))
            .collect();
        let failures = self.lines.iter().filter(|line| line.broken().is_some());
        let sums = format!(
            "tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"0\" time=\"{:.3}\"",
            self.lines.len(),
            failures.count(),
            self.took.as_secs_f64()
        );
        let name = escape(&format!("{} for {}", self.model, self.target));
        format!(
            "{HEAD} {sums}>\n  <testsuite name=\"{name}\" {sums}>\n{cases}  </testsuite>\n</testsuites>\n"
        )
    }

    fn case(&self, index: usize, line: &Line) -> String {
        let seconds = if index == 0 {
            self.took
        } else {
            Duration::ZERO
        };
        let class = escape(&format!("{}.{}", self.model, line.part));
        let name = escape(&format!("{}: {}", line.part, line.measure));
        let mut text = format!(
            "    <testcase classname=\"{class}\" name=\"{name}\" time=\"{:.3}\">\n",
            seconds.as_secs_f64()
        );
        // Writing to a string cannot fail.
        if let Some(words) = line.broken() {
            let words = escape(&words);
            let _ = writeln!(
                text,
                "      <failure type=\"bound\" message=\"{words}\">{words}</failure>"
            );
        }
        if let Some(figure) = line.figure() {
            let limit = line
                .limit
                .map_or_else(String::new, |limit| format!(", {limit}"));
            let _ = writeln!(text, "      <system-out>{figure}{limit}</system-out>");
        }
        text + "    </testcase>\n"
    }
}

/// A text that stands between tags or quotes; what XML has no way to say becomes a mark.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push(char::REPLACEMENT_CHARACTER),
            c if c.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::limits::{Limit, Part};

    fn line(part: Part, found: f64, limit: Option<Limit>) -> Line {
        Line {
            part,
            measure: "mean KL",
            found: Some(found),
            limit,
            remark: None,
        }
    }

    #[test]
    fn a_parser_finds_cases_times_and_failures() {
        let lines = [
            line(Part::All, 0.5, Some(Limit::AtMost(1.0))),
            line(Part::Domain("a<b>&\"c\"\u{1}".to_owned()), 0.25, None),
            line(Part::Budget, 0.5, Some(Limit::AtMost(0.25))),
        ];
        let suite = Suite {
            model: "toy & co",
            target: "portable",
            lines: &lines,
            took: Duration::from_millis(1500),
        };
        let text = suite.text();
        assert!((KIND.is)(text.as_bytes()));
        let tree = roxmltree::Document::parse(&text).expect("XML");
        let root = tree.root_element();
        let suite = root.first_element_child().expect("a suite");
        assert_eq!(
            (root.tag_name().name(), suite.tag_name().name()),
            ("testsuites", "testsuite")
        );
        assert_eq!(suite.attribute("name"), Some("toy & co for portable"));
        for element in [root, suite] {
            let sums = ["tests", "failures", "errors", "time"].map(|name| element.attribute(name));
            assert_eq!(sums, [Some("3"), Some("1"), Some("0"), Some("1.500")]);
        }
        let cases: Vec<_> = suite
            .children()
            .filter(|c| c.has_tag_name("testcase"))
            .collect();
        let names: Vec<_> = cases
            .iter()
            .filter_map(|case| case.attribute("name"))
            .collect();
        assert_eq!(names[0], "all: mean KL");
        assert!(names[1].starts_with("a<b>&") && names[2] == "budget: mean KL");
        let times: Vec<_> = cases
            .iter()
            .filter_map(|case| case.attribute("time"))
            .collect();
        assert_eq!(times, ["1.500", "0.000", "0.000"]);
        let failures: Vec<_> = suite
            .descendants()
            .filter(|c| c.has_tag_name("failure"))
            .collect();
        let words = "budget: mean KL is 0.500000, bound 0.25";
        assert_eq!(failures.len(), 1);
        assert_eq!(
            (failures[0].attribute("message"), failures[0].text()),
            (Some(words), Some(words))
        );
    }
}
