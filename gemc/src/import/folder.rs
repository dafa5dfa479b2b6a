//! A path that was given for a checkpoint -> nothing, when a checkpoint may be there; else what is there instead, and what
//! would help.

use std::fs;
use std::path::{Path, PathBuf};

use gem_runtime::regular;

use super::error::{Finding, nearest, printable};
use super::hub::{HubCache, HubName, model_of_snapshot};
use super::{CONFIG, files};

/// What a checkpoint is, for messages.
const HOLDS: &str = "a folder with config.json, model.safetensors (or model.safetensors.index.json and its shards) and, \
     to take text, tokenizer.json; docs/checkpoint.md defines it";

/// The name a model gets from its folder.
pub(crate) fn name(dir: &Path) -> String {
    let real = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let own = || Some(real.file_name()?.to_string_lossy().into_owned());
    model_of_snapshot(&real)
        .or_else(own)
        .unwrap_or_else(|| "model".to_owned())
}

/// Looks whether a path is a folder with a `config.json`.
///
/// # Errors
/// With what it is instead.
pub(super) fn check(dir: &Path) -> Result<(), Finding> {
    let wrong = |what: String| Err(Finding::file(printed(dir), what).allowed(HOLDS));
    match fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => {}
        Ok(meta) if meta.is_file() => return wrong(file(dir)),
        Ok(_) => return wrong("is not a folder".to_owned()),
        Err(_) if regular::is_there(dir) => {
            let why = regular::open(dir).map_or_else(|e| regular::why(&e), |_| String::new());
            return wrong(format!("is not a folder: {why}"));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return wrong(absent(dir)),
        Err(e) => return wrong(format!("cannot be read: {e}")),
    }
    if regular::is_there(&dir.join(CONFIG)) {
        return Ok(());
    }
    let below = below(dir).map(|sub| format!(", but {} does: is that meant?", printed(&sub)));
    let foreign = below.or_else(|| foreign(dir)).unwrap_or_default();
    wrong(format!("holds no {CONFIG}{foreign}"))
}

fn printed(path: &Path) -> String {
    printable(&path.display().to_string())
}

/// Where a path leads to a file.
fn file(path: &Path) -> String {
    let parent = path.parent().filter(|p| p.join(CONFIG).is_file());
    match parent {
        Some(parent) => {
            let parent = match parent.as_os_str().is_empty() {
                true => ".".to_owned(),
                false => printed(parent),
            };
            format!("is not a folder but a file of one: {parent} is the checkpoint")
        }
        _ => "is not a folder but a file".to_owned(),
    }
}

/// The GGUF file that a path means: itself, or the only one in a folder without a `config.json`.
pub(super) fn gguf(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return is_gguf(path).then(|| path.to_owned());
    }
    if regular::is_there(&path.join(CONFIG)) {
        return None;
    }
    let items = fs::read_dir(path).ok()?.flatten();
    let mut files = items
        .map(|item| item.path())
        .filter(|file| has_extension(file, "gguf"));
    let only = files.next()?;
    files.next().is_none().then_some(only)
}

fn is_gguf(path: &Path) -> bool {
    use std::io::Read as _;
    let mut magic = [0; 4];
    let read = regular::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"GGUF" || has_extension(path, "gguf")
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

/// Where a path leads nowhere: a slip of the pen, or the name of a model on a hub.
fn absent(path: &Path) -> String {
    let parent = path
        .parent()
        .map(|parent| match parent.as_os_str().is_empty() {
            true => Path::new("."),
            false => parent,
        });
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    if let (Some(parent), Some(name)) = (parent, &name) {
        let folders = folders(parent);
        let names = folders.iter().filter_map(|f| f.file_name()?.to_str());
        if let Some(near) = nearest(name, names) {
            let near = path.with_file_name(near);
            return format!("does not exist: did you mean {}?", printed(&near));
        }
    }
    let in_folder = path.parent().is_some_and(Path::exists);
    match HubName::parse(path).filter(|_| !in_folder) {
        Some(name) => not_fetched(&name),
        None => "is not a folder: it does not exist".to_owned(),
    }
}

/// Where a path may be the name of a model that the hub's cache does not hold.
fn not_fetched(name: &HubName) -> String {
    let cache = HubCache::of_process()
        .map(|cache| format!(", nor in the Hugging Face cache {}", printed(cache.root())))
        .unwrap_or_default();
    format!(
        "is not a folder here{cache}; if it is a model of the hub, fetch it first: gemc pull {name}"
    )
}

/// The folders of a folder, by name.
fn folders(dir: &Path) -> Vec<PathBuf> {
    let items = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = items.map(|i| i.path()).filter(|p| p.is_dir()).collect();
    found.sort();
    found
}

/// The first folder below with a config, where the hub's own cache keeps one as well.
fn below(dir: &Path) -> Option<PathBuf> {
    let own = folders(dir);
    let snapshots = folders(&dir.join("snapshots"));
    let mut all = own.into_iter().chain(snapshots);
    all.find(|folder| folder.join(CONFIG).is_file())
}

/// A model in a form that is not read.
fn foreign(dir: &Path) -> Option<String> {
    let items = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> = items.map(|item| item.file_name().into()).collect();
    names.sort();
    let first = |extension: &str| names.iter().find(|n| has_extension(n, extension));
    let is = |name: &PathBuf, what: &str| {
        let name = printed(name);
        format!("; {name} is {what}, which gemc does not read")
    };
    if let Some(name) = first("gguf") {
        let name = printed(name);
        return Some(format!(
            "; {name} is one of several GGUF files: name one of them"
        ));
    }
    if files::present(dir) {
        return None;
    }
    let pickled = first("bin")
        .or_else(|| first("pt"))
        .or_else(|| first("pth"));
    pickled.map(|name| is(name, "a file of PyTorch (save as safetensors)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_checkpoint_is_told_apart() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| root.path().join(name);
        let put = |name: &str, bytes: &str| {
            let path = at(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("space");
            fs::write(path, bytes).expect("space");
        };
        put("good/config.json", "{}");
        put("good/model.safetensors", "");
        put("hub/snapshots/abc/config.json", "{}");
        put("quantised/Model-Q4.gguf", "GGUF");
        put("quantised/Model-Q8.gguf", "GGUF");
        put("old/pytorch_model.bin", "");
        put("empty/notes.txt", "");
        assert_eq!(check(&at("good")), Ok(()));
        put("one/Model-Q4.gguf", "GGUF");
        let one = at("one/Model-Q4.gguf");
        assert_eq!(gguf(&at("one")), Some(one.clone()));
        assert_eq!(gguf(&one), Some(one));
        assert_eq!(gguf(&at("quantised")), None);
        assert_eq!(gguf(&at("good")), None);
        for (path, words) in [
            ("goood", "does not exist: did you mean "),
            ("nothing/of/the/kind", "is not a folder: it does not exist"),
            ("good/config.json", "is not a folder but a file of one"),
            ("good/model.safetensors", "good is the checkpoint"),
            ("quantised", "Model-Q4.gguf is one of several GGUF files"),
            ("old", "pytorch_model.bin is a file of PyTorch"),
            ("hub", "snapshots/abc does: is that meant?"),
            ("empty", "holds no config.json; allowed: a folder with"),
            ("empty/notes.txt", "is not a folder but a file; allowed"),
        ] {
            let told = check(&at(path)).expect_err(words).to_string();
            assert!(told.contains(words), "{path}: {told}");
            assert!(told.contains("tokenizer.json"), "{told}");
        }
        let hub = check(Path::new("no-such-org/Model-7B.v1")).expect_err("no folder");
        let told = hub.to_string();
        let command = "fetch it first: gemc pull no-such-org/Model-7B.v1";
        assert!(told.contains(command), "{told}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_is_named() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let link = root.path().join("link");
        std::os::unix::fs::symlink("gone", &link).expect("a link");
        let told = check(&link).expect_err("nothing there").to_string();
        assert!(
            told.contains("is a link to gone, which does not exist"),
            "{told}"
        );
    }
}
