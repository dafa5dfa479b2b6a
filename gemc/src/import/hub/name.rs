//! Text -> the name of a model on the hub: `org/name`, `org/name@revision`, and either with the path of a GGUF file behind it.

use std::fmt;
use std::path::Path;

/// The revision that is meant where none is named.
pub const MAIN: &str = "main";

/// Characters of each part of a name at most, as the hub has it.
const LONGEST: usize = 96;

/// A model of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubName {
    owner: String,
    name: String,
    revision: Option<String>,
    file: Option<String>,
}

impl HubName {
    /// Reads a name; `None` for what can only be a path.
    #[must_use]
    pub fn parse(given: &Path) -> Option<Self> {
        let text = given.to_str()?;
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (text, None),
        };
        let (owner, rest) = repository.split_once('/')?;
        let (name, file) = match (rest.split_once('/'), revision) {
            (Some((name, file)), None) => (name, Some(file)),
            (Some(_), Some(_)) => return None,
            (None, _) => (rest, None),
        };
        let (revision, file) = match revision.map(|r| (r, r.rsplit_once('/'))) {
            Some((_, Some((revision, last)))) if is_gguf(last) => (Some(revision), Some(last)),
            Some((revision, _)) => (Some(revision), None),
            None => (None, file),
        };
        let fits = is_name(owner)
            && is_name(name)
            && revision.is_none_or(is_relative)
            && file.is_none_or(|file| is_gguf(file) && is_relative(file));
        fits.then(|| Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision: revision.map(str::to_owned),
            file: file.map(str::to_owned),
        })
    }

    /// The same model in another revision; `None` when no revision is called so.
    #[must_use]
    pub fn at(self, revision: &str) -> Option<Self> {
        is_relative(revision).then(|| Self {
            revision: Some(revision.to_owned()),
            ..self
        })
    }

    /// `org/name`.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The folder of the hub's cache that everything of it is in.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("models--{}--{}", self.owner, self.name)
    }

    /// The revision that is named.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The file that is named.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository())?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        match &self.file {
            Some(file) => write!(f, "/{file}"),
            None => Ok(()),
        }
    }
}

fn is_gguf(file: &str) -> bool {
    Path::new(file)
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("gguf"))
}

/// Whether an owner or a model can be called so. Two hyphens side by side part the names of folders in the cache.
fn is_name(part: &str) -> bool {
    is_plain(part) && part.len() <= LONGEST && !part.contains("--")
}

/// Whether this is a path that stays below where it begins, of names without special characters.
fn is_relative(path: &str) -> bool {
    path.split('/').all(is_plain)
}

fn is_plain(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && !part.contains("..")
        && part
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<HubName> {
        HubName::parse(Path::new(text))
    }

    #[test]
    fn names_have_two_parts_and_may_have_a_revision_and_a_file() {
        for (text, revision, file) in [
            ("Qwen/Qwen3-0.6B", None, None),
            ("Qwen/Qwen3-0.6B@main", Some("main"), None),
            ("Qwen/Qwen3-0.6B@refs/pr/7", Some("refs/pr/7"), None),
            ("org/name/Q4_K_M.gguf", None, Some("Q4_K_M.gguf")),
            ("org/name/q4/x.gguf", None, Some("q4/x.gguf")),
            ("org/name@v1/x.GGUF", Some("v1"), Some("x.GGUF")),
        ] {
            let name = parse(text).expect(text);
            assert_eq!((name.revision(), name.file()), (revision, file), "{text}");
            assert_eq!(name.to_string(), text);
        }
        let name = parse("Qwen/Qwen3-0.6B").expect("a name");
        assert_eq!(name.folder(), "models--Qwen--Qwen3-0.6B");
        assert_eq!(name.clone().at("v2").expect("fits").revision(), Some("v2"));
        assert_eq!(name.at("../v2"), None);
    }

    #[test]
    fn paths_are_none() {
        for text in [
            "",
            "name",
            "/org/name",
            "./name",
            "../org/name",
            "org/name/",
            "org/name/config.json",
            "org/na me",
            "org/na--me",
            "org/name@",
            "org/name@../..",
            "org/name@a//b",
            "org/name/../x.gguf",
            "org/name/x/y@main",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
