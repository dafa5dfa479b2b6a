//! The folder of a checkpoint -> the licence texts in it, which go wherever its weights go.
//!
//! Invariant: what looks like a licence is taken whole or is an error. A folder of that name is none.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use gem_runtime::regular;
use gem_runtime::text::Wrong;

/// How names of such files begin, in capitals or not.
const BEGINNINGS: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// Bytes of all of them together at most.
const MOST: u64 = 1 << 20;

/// Where the licence of a checkpoint from a model hub may be named.
const README: &str = "README.md";

/// Bytes of a README that are looked at.
const FRONT_MATTER: u64 = 64 << 10;

/// The names of a folder's licence files, in order.
///
/// # Errors
/// [`Wrong`] when the folder cannot be listed, or a name is not UTF-8.
pub fn license_files(dir: &Path) -> Result<Vec<String>, Wrong> {
    let failed = |e| wrong(".", format!("cannot be read: {e}"));
    let mut names = Vec::new();
    for item in fs::read_dir(dir).map_err(failed)? {
        let name = item.map_err(failed)?.file_name();
        let shown = name.to_string_lossy();
        if !is_license(&shown) || dir.join(&name).is_dir() {
            continue;
        }
        if name.to_str().is_none() || shown.chars().any(char::is_control) {
            let what = "has a name that is not UTF-8 without control characters";
            return Err(wrong(&shown.escape_debug().to_string(), what));
        }
        names.push(shown.into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// The licence texts of a folder: name of the file, what it says. Bytes that are no UTF-8 are replaced. Last comes the
/// licence that the front matter of `README.md` names, where it does so in one line.
///
/// # Errors
/// [`Wrong`] for a file that is none, cannot be read, or makes all of them too long.
pub fn licenses(dir: &Path) -> Result<Vec<(String, String)>, Wrong> {
    let mut texts = Vec::new();
    let mut left = MOST;
    for name in license_files(dir)? {
        let bytes = read(&dir.join(&name), left).map_err(|what| wrong(&name, what))?;
        left -= bytes.len() as u64;
        texts.push((name, String::from_utf8_lossy(&bytes).into_owned()));
    }
    texts.extend(named_in_readme(dir).map(|line| (README.to_owned(), line)));
    Ok(texts)
}

fn wrong(file: &str, what: impl Into<String>) -> Wrong {
    Wrong {
        file: file.to_owned(),
        key: None,
        what: what.into(),
        allowed: None,
    }
}

/// Whether a file of this name is taken for a licence.
pub(crate) fn is_license(name: &str) -> bool {
    BEGINNINGS.iter().any(|beginning| {
        let start = name.as_bytes().get(..beginning.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(beginning.as_bytes()))
    })
}

/// All of a file, of no more than `left` bytes.
fn read(path: &Path, left: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = regular::open(path).map_err(|e| regular::why(&e))?;
    let read = file.take(left + 1).read_to_end(&mut bytes);
    read.map_err(|e| regular::why(&e))?;
    if bytes.len() as u64 > left {
        return Err(format!(
            "makes the licence texts longer than {MOST} bytes, the most that a model carries"
        ));
    }
    Ok(bytes)
}

/// A README is no licence file: one that cannot be read names none.
fn named_in_readme(dir: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = regular::open(&dir.join(README)).ok()?;
    file.take(FRONT_MATTER).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(regular::unmarked(&bytes)).into_owned();
    let license = front_matter(&text)?;
    Some(format!("license: {license}\n"))
}

/// The value of `license` in the lines between two `---`, where it is one plain word.
fn front_matter(readme: &str) -> Option<&str> {
    const FENCE: &str = "---";
    let mut lines = readme.lines();
    if lines.next()?.trim_end() != FENCE {
        return None;
    }
    let mut within = lines.take_while(|line| line.trim_end() != FENCE);
    let value = within.find_map(|line| line.strip_prefix("license:"))?;
    let value = value.trim().trim_matches(['"', '\'']);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    (!value.is_empty() && value.chars().all(plain)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).expect("space");
        }
        dir
    }

    fn found(dir: &tempfile::TempDir) -> Vec<(String, String)> {
        licenses(dir.path()).expect("sound")
    }

    #[test]
    fn licence_files_are_found_by_their_names_in_order() {
        let dir = folder(&[
            ("NOTICE", b"made by\xff"),
            ("License.txt", b"MIT"),
            ("LICENCE-de", b"EUPL"),
            ("copying", b"GPL"),
            ("config.json", b"{}"),
            ("UNLICENSE", b"no"),
            (".LICENSE.swp", b"no"),
            ("LIC", b"no"),
        ]);
        fs::create_dir(dir.path().join("LICENSES")).expect("space");
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let all = [
            pair("LICENCE-de", "EUPL"),
            pair("License.txt", "MIT"),
            pair("NOTICE", "made by\u{fffd}"),
            pair("copying", "GPL"),
        ];
        assert_eq!(found(&dir), all);
        assert!(found(&folder(&[])).is_empty());
    }

    #[test]
    fn together_they_are_bounded_and_each_is_a_file() {
        let half = vec![b'a'; 1 << 19];
        let dir = folder(&[("LICENSE", &half), ("NOTICE", &half)]);
        assert_eq!(found(&dir).len(), 2, "a MiB is allowed");
        fs::write(dir.path().join("NOTICE.more"), "a").expect("space");
        let error = licenses(dir.path()).expect_err("too long").to_string();
        assert!(
            error.contains("NOTICE.more") && error.contains("1048576"),
            "{error}"
        );
        let dir = folder(&[]);
        std::os::unix::fs::symlink("nowhere", dir.path().join("LICENSE")).expect("a link");
        let error = licenses(dir.path())
            .expect_err("a link to nothing")
            .to_string();
        assert!(error.contains("LICENSE: is a link to nowhere"), "{error}");
    }

    #[test]
    fn a_readme_names_a_licence_in_one_plain_line_of_its_front_matter() {
        let of = |readme: &str| front_matter(readme).map(str::to_owned);
        let named = Some("apache-2.0".to_owned());
        assert_eq!(
            of("---\ntags: [a]\nlicense: apache-2.0\n---\n# Model\n"),
            named
        );
        assert_eq!(of("---\r\nlicense: \"apache-2.0\"\r\n---\r\n"), named);
        for none in [
            "# Model\nlicense: mit\n",
            "---\ntags: a\n---\nlicense: mit\n",
            "---\nlicense:\n  - mit\n---\n",
            "---\nlicense: [mit]\n---\n",
            "---\nmodel:\n  license: mit\n---\n",
            "",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
        let dir = folder(&[("README.md", b"---\nlicense: mit\n---\n")]);
        assert_eq!(
            found(&dir),
            [("README.md".to_owned(), "license: mit\n".to_owned())]
        );
        // A README is not what was asked for: whatever it is, there is a model.
        let dir = folder(&[]);
        fs::create_dir(dir.path().join("README.md")).expect("space");
        assert!(found(&dir).is_empty());
    }
}
