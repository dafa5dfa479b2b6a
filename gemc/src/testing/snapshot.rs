//! A text and a committed file -> nothing, or the first region in which they differ.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs, io};

use similar::TextDiff;

/// Lines shown around what differs.
const AROUND: usize = 3;

/// Lines of a region that are shown at most.
const SHOWN: usize = 60;

/// Looking for a short difference of long texts ends after this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// The variable that has files written.
const BLESS: &str = "GEM_BLESS";

/// What a committed file is unlike.
#[derive(Debug)]
pub enum Difference {
    /// It is not there.
    Missing(PathBuf),
    /// It cannot be read, or written.
    Io(PathBuf, io::Error),
    /// It says something else: the first region, as a unified diff, and how many there are besides.
    Text {
        /// Which file.
        path: PathBuf,
        /// `-` is what was committed, `+` what is now.
        region: String,
        /// More regions.
        more: usize,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => {
                write!(f, "{}: is not there; {BLESS}=1 writes it", path.display())
            }
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Text { path, region, more } => {
                writeln!(f, "{}: is not what is generated now", path.display())?;
                write!(f, "{region}")?;
                if *more > 0 {
                    writeln!(f, "and {more} more regions")?;
                }
                write!(f, "if that is meant, {BLESS}=1 writes the file anew")
            }
        }
    }
}

impl std::error::Error for Difference {}

/// Compares a text with a committed file, relative to the folder of the package that is tested; with `GEM_BLESS=1` in the
/// environment the file is written instead. Ends of lines count as the same on all systems.
///
/// # Errors
/// [`Difference`], which reads as a unified diff.
pub fn compare(path: impl AsRef<Path>, text: &str) -> Result<(), Difference> {
    let bless = std::env::var_os(BLESS).is_some_and(|bless| bless == "1");
    compare_or_write(path.as_ref(), text, bless)
}

/// [`compare`], for tests.
///
/// # Panics
/// When they differ; the message is a unified diff of the first region.
#[track_caller]
#[allow(clippy::panic, reason = "an assertion")]
pub fn assert_snapshot(path: impl AsRef<Path>, text: &str) {
    if let Err(difference) = compare(path, text) {
        panic!("{difference}");
    }
}

fn compare_or_write(path: &Path, text: &str, bless: bool) -> Result<(), Difference> {
    let failed = |error| Difference::Io(path.to_owned(), error);
    let committed = match fs::read_to_string(path) {
        Ok(committed) => Some(committed.replace("\r\n", "\n")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(failed(e)),
    };
    if committed.as_deref() == Some(text) {
        return Ok(());
    }
    if bless {
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        return folder.and_then(|()| fs::write(path, text)).map_err(failed);
    }
    match committed {
        Some(committed) => Err(first_region(path, &committed, text)),
        None => Err(Difference::Missing(path.to_owned())),
    }
}

fn first_region(path: &Path, committed: &str, text: &str) -> Difference {
    let mut lines = TextDiff::configure();
    let lines = lines.timeout(PATIENCE).diff_lines(committed, text);
    let mut diff = lines.unified_diff();
    let mut regions = diff.context_radius(AROUND).iter_hunks();
    let first = regions.next().map(|region| region.to_string());
    let first = first.unwrap_or_default();
    let shown: Vec<&str> = first.lines().take(SHOWN).collect();
    let mut region = format!("--- committed\n+++ now\n{}\n", shown.join("\n"));
    let left = first.lines().count().saturating_sub(SHOWN);
    if left > 0 {
        region += &format!("... and {left} more lines\n");
    }
    Difference::Text {
        path: path.to_owned(),
        region,
        more: regions.count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of numbers.
    fn text(changed: &[usize]) -> String {
        let line = |n: usize| match changed.contains(&n) {
            true => format!("line {n} is another\n"),
            false => format!("line {n}\n"),
        };
        (0..40).map(line).collect()
    }

    #[test]
    fn the_first_region_is_shown() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("snapshots/model.outline");
        let told = |text: &str| {
            let difference = compare_or_write(&path, text, false);
            difference.expect_err("they differ").to_string()
        };
        let missing = told(&text(&[]));
        assert!(
            missing.contains("GEM_BLESS=1") && missing.contains("model.outline"),
            "{missing}"
        );
        compare_or_write(&path, &text(&[]), true).expect("space");
        assert!(compare_or_write(&path, &text(&[]), false).is_ok());
        let difference = told(&text(&[10, 30]));
        let region = "--- committed\n+++ now\n@@ -8,7 +8,7 @@\n line 7\n line 8\n line 9\n-line 10\n+line 10 is another\n line 11\n";
        assert!(difference.contains(region), "{difference}");
        assert!(!difference.contains("line 30"), "{difference}");
        assert!(difference.contains("and 1 more regions"), "{difference}");
        let windows = text(&[]).replace('\n', "\r\n");
        fs::write(&path, windows).expect("space");
        assert!(compare_or_write(&path, &text(&[]), false).is_ok());
        let all: Vec<usize> = (0..40).collect();
        let long = told(&text(&all));
        assert!(
            long.lines().count() < SHOWN + 8 && long.contains("more lines"),
            "{long}"
        );
    }

    #[test]
    fn an_assertion_that_holds_is_silent() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("model.outline");
        fs::write(&path, "same").expect("space");
        assert_snapshot(&path, "same");
        let unread = compare(dir.path(), "").expect_err("a folder");
        assert!(matches!(unread, Difference::Io(..)), "{unread}");
    }
}
