//! The hub's cache as Hugging Face's library lays it out, `models--org--name/{refs,snapshots,blobs}` -> the place of a model
//! in it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use gem_runtime::regular;

use super::{HubName, Located, MAIN};

/// Bytes of a reference at most: it holds the hash of a commit.
const LONGEST_REFERENCE: u64 = 256;

/// The folder that models of the hub are kept in, whoever fetched them.
#[derive(Clone, Debug)]
pub struct HubCache {
    root: PathBuf,
}

impl HubCache {
    /// The user's: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in `huggingface` of the user's caches. `None` where
    /// nothing says where those are.
    #[must_use]
    pub fn of_process() -> Option<Self> {
        Self::of(&|name| std::env::var_os(name))
    }

    /// As the variables say.
    fn of(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<Self> {
        let folder = |name: &str| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            Some(at_home(PathBuf::from(value), variable))
        };
        let root = folder("HF_HUB_CACHE").or_else(|| Some(home(&folder)?.join("hub")))?;
        Some(Self { root })
    }

    /// In this folder.
    #[must_use]
    pub const fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The snapshot of a model, or the file in it that is named.
    #[must_use]
    pub fn find(&self, name: &HubName) -> Option<Located> {
        let folder = self.root.join(name.folder());
        let revision = name.revision().unwrap_or(MAIN);
        let snapshots = folder.join("snapshots");
        let reference = folder.join("refs").join(revision);
        let (snapshot, reference) = match commit(&reference) {
            Some(commit) => (snapshots.join(commit), Some(reference)),
            None => (snapshots.join(revision), None),
        };
        let path = match name.file() {
            Some(file) => snapshot.join(file),
            None => snapshot,
        };
        path.exists().then_some(Located { path, reference })
    }
}

/// The folder of what Hugging Face's programs keep: token and cache.
#[cfg(feature = "hub")]
pub fn home_of_process() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name);
    home(&|name| {
        let value = variable(name).filter(|value| !value.is_empty())?;
        Some(at_home(PathBuf::from(value), &variable))
    })
}

fn home(folder: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let caches = || folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    folder("HF_HOME").or_else(|| Some(caches()?.join("huggingface")))
}

/// A path whose `~` is the user's home.
fn at_home(path: PathBuf, variable: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
    match (path.strip_prefix("~"), variable("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path,
    }
}

/// The commit that a reference names.
fn commit(reference: &Path) -> Option<String> {
    let bytes = regular::read_text(reference, LONGEST_REFERENCE).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let commit = text.trim();
    commit
        .chars()
        .all(|c| c.is_ascii_alphanumeric())
        .then(|| commit.to_owned())
        .filter(|commit| !commit.is_empty())
}

/// What the folder of a snapshot is a snapshot of: the model's name.
pub(crate) fn model_of_snapshot(folder: &Path) -> Option<String> {
    let snapshots = folder.parent()?;
    let model = snapshots.parent()?.file_name()?.to_str()?;
    let inside = snapshots.file_name()? == "snapshots" && fs::metadata(folder).ok()?.is_dir();
    let (_, name) = model.strip_prefix("models--")?.split_once("--")?;
    inside.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_say_where_the_cache_is() {
        let root = |variables: &[(&str, &str)]| {
            let value = |name: &str| {
                let found = variables.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| OsString::from(value))
            };
            HubCache::of(&value).map(|cache| cache.root)
        };
        let home = ("HOME", "/home/u");
        for (variables, place) in [
            (&[home][..], "/home/u/.cache/huggingface/hub"),
            (&[home, ("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub"),
            (&[home, ("HF_HOME", "/h")], "/h/hub"),
            (&[home, ("HF_HOME", "~/h")], "/home/u/h/hub"),
            (&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/b")], "/b"),
            (
                &[home, ("HF_HOME", ""), ("HF_HUB_CACHE", "")],
                "/home/u/.cache/huggingface/hub",
            ),
        ] {
            assert_eq!(root(variables).as_deref(), Some(Path::new(place)));
        }
        assert_eq!(root(&[]), None);
    }

    #[test]
    fn revisions_are_found_by_reference_and_by_commit() {
        let root = tempfile::tempdir().expect("a folder");
        let put = |path: &str, text: &str| {
            let path = root.path().join("models--org--name").join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("space");
            fs::write(path, text).expect("space");
        };
        put("snapshots/c0ffee/config.json", "{}");
        put("snapshots/beef/x.gguf", "");
        put("refs/main", "c0ffee");
        put("refs/refs/pr/1", "beef\n");
        put("refs/gone", "dead");
        put("refs/bad", "../../..");
        let cache = HubCache::at(root.path().to_owned());
        let find = |text: &str| {
            let name = HubName::parse(Path::new(text)).expect("a name");
            let found = cache.find(&name)?;
            let end = found.path.strip_prefix(root.path()).expect("below");
            Some((end.to_str()?.to_owned(), found.reference.is_some()))
        };
        let at = |end: &str, by_reference: bool| {
            Some((format!("models--org--name/snapshots/{end}"), by_reference))
        };
        assert_eq!(find("org/name"), at("c0ffee", true));
        assert_eq!(find("org/name@c0ffee"), at("c0ffee", false));
        assert_eq!(find("org/name@refs/pr/1"), at("beef", true));
        assert_eq!(find("org/name@refs/pr/1/x.gguf"), at("beef/x.gguf", true));
        for none in [
            "org/name@gone",
            "org/name@bad",
            "org/name@v1",
            "org/name/x.gguf",
            "org/other",
        ] {
            assert_eq!(find(none), None, "{none}");
        }
        let snapshot = root.path().join("models--org--name/snapshots/beef");
        assert_eq!(model_of_snapshot(&snapshot).as_deref(), Some("name"));
        assert_eq!(model_of_snapshot(root.path()), None);
    }
}
