//! `model.safetensors`, or an index and its shards -> one table of tensors over memory-mapped files.
//!
//! Index and shards must tell the same story: every tensor in exactly the shard that the index names.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use gem_runtime::regular;
use memmap2::Mmap;

use super::super::error::{Finding, Findings, ImportError, shown};
use super::super::json;
use super::gguf::{self, Gguf};
use super::safetensors::{self, Entry};
use super::scaled::{self, Blocks, Scales, Scheme};
use super::stored::StoredType;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const LONGEST_INDEX: u64 = 64 << 20;

/// Whether a folder has tensor files, whatever is in them.
#[must_use]
pub fn present(dir: &Path) -> bool {
    [SINGLE, INDEX]
        .iter()
        .any(|name| regular::is_there(&dir.join(name)))
}

/// One mapped file.
#[derive(Debug)]
struct Shard {
    name: String,
    map: Mmap,
    entries: Vec<Entry>,
}

/// Where a tensor is: shard and entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TensorPlace {
    shard: u32,
    entry: u32,
}

/// Every tensor of a checkpoint.
#[derive(Debug)]
pub struct TensorFiles {
    shards: Vec<Shard>,
    by_name: BTreeMap<String, TensorPlace>,
    scales: HashMap<TensorPlace, Scaling>,
}

/// Scales of a tensor's values.
#[derive(Clone, Copy, Debug)]
struct Scaling {
    blocks: Blocks,
    stored: Option<StoredType>,
    place: TensorPlace,
}

impl TensorFiles {
    /// Opens the tensor files of a checkpoint folder.
    ///
    /// # Errors
    /// A file that cannot be read or a broken header stops at once; all disagreements of index and shards are
    /// reported together.
    pub fn open(dir: &Path) -> Result<Self, ImportError> {
        let (single, index) = (dir.join(SINGLE), dir.join(INDEX));
        match (regular::is_there(&single), regular::is_there(&index)) {
            (true, true) => {
                let what = format!("stands beside {SINGLE}: which of them holds the model?");
                Err(Finding::file(INDEX, what).allowed("one of the two").into())
            }
            (false, false) => {
                let what = format!("holds neither {SINGLE} nor {INDEX}");
                Err(Finding::file(dir.display().to_string(), what).into())
            }
            (true, false) => Self::of(vec![open_shard(dir, SINGLE)?]),
            (false, true) => Self::sharded(dir),
        }
    }

    /// Adds the tensors of a folder below; their names begin with its own.
    ///
    /// # Errors
    /// As of [`TensorFiles::open`].
    pub fn with_folder(mut self, dir: &Path, folder: &str) -> Result<Self, ImportError> {
        let name = format!("{folder}/{SINGLE}");
        if !regular::is_there(&dir.join(&name)) {
            let what = format!("is missing; weights of other forms in {folder} are not read");
            return Err(Finding::file(name, what).into());
        }
        let mut shard = open_shard(dir, &name)?;
        for entry in &mut shard.entries {
            entry.name = format!("{folder}.{}", entry.name);
        }
        self.shards.push(shard);
        Self::of(self.shards)
    }

    fn sharded(dir: &Path) -> Result<Self, ImportError> {
        let bytes = json::read_bounded(&dir.join(INDEX), INDEX, LONGEST_INDEX)?;
        let index = parse_index(&bytes).map_err(|e| Finding::file(INDEX, e))?;
        let mut names: Vec<&String> = index.values().collect();
        names.sort_unstable();
        names.dedup();
        let mut shards = Vec::new();
        for name in names {
            shards.push(open_shard(dir, name)?);
        }
        let files = Self::of(shards)?;
        files.compare(&index)?;
        Ok(files)
    }

    fn of(shards: Vec<Shard>) -> Result<Self, ImportError> {
        let mut by_name = BTreeMap::new();
        let mut findings = Findings::default();
        for (s, shard) in shards.iter().enumerate() {
            for (e, entry) in shard.entries.iter().enumerate() {
                let found = TensorPlace {
                    shard: s as u32,
                    entry: e as u32,
                };
                if let Some(other) = by_name.insert(entry.name.clone(), found) {
                    let other = &shards[other.shard as usize].name;
                    let what = format!("is in {} and in {other}", shard.name);
                    findings.push(Finding::tensor(&entry.name, what).allowed("one of them"));
                }
            }
        }
        findings.into_result(Self {
            shards,
            by_name,
            scales: HashMap::new(),
        })
    }

    /// Makes one tensor of each pair of codes and scales. Codes without scales stay what they are, a type that is not read.
    ///
    /// # Errors
    /// When codes and scales do not go together.
    pub fn unite(mut self, scheme: Scheme) -> Result<Self, ImportError> {
        let mut findings = Findings::default();
        let places: Vec<TensorPlace> = self.by_name.values().copied().collect();
        for place in places {
            let entry = self.entry(place).clone();
            let Some((whole, partner)) = scaled::codes(scheme, &entry) else {
                continue;
            };
            let Some(scales) = self.find(&partner) else {
                continue;
            };
            let united = scaled::whole(scheme, &whole, &entry, self.entry(scales), &mut findings);
            let Some((united, blocks, stored)) = united else {
                continue;
            };
            self.by_name.remove(&entry.name);
            self.by_name.remove(&partner);
            self.by_name.insert(whole, place);
            self.shards[place.shard as usize].entries[place.entry as usize] = united;
            let scaling = Scaling {
                blocks,
                stored,
                place: scales,
            };
            self.scales.insert(place, scaling);
        }
        findings.into_result(self)
    }

    /// What a tensor's values are multiplied by.
    #[must_use]
    pub fn scales(&self, found: TensorPlace) -> Option<Scales<'_>> {
        let scaling = self.scales.get(&found)?;
        Some(Scales {
            blocks: scaling.blocks,
            stored: scaling.stored,
            bytes: self.bytes(scaling.place),
        })
    }

    /// Opens one safetensors file.
    ///
    /// # Errors
    /// When it cannot be read, and for a broken header.
    pub fn single(path: &Path) -> Result<Self, ImportError> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::of(vec![open_shard(folder, &name)?])
    }

    /// Maps a GGUF file and reads its header.
    ///
    /// # Errors
    /// With what is wrong with the file.
    pub fn map_gguf(path: &Path) -> Result<(Gguf, Mmap), String> {
        let map = map(path).map_err(|e| regular::why(&e))?;
        Ok((gguf::parse(&map)?, map))
    }

    /// Tensors of one mapped file, in the order of their bytes.
    ///
    /// # Errors
    /// When two have one name.
    pub fn of_gguf(name: String, map: Mmap, entries: Vec<Entry>) -> Result<Self, ImportError> {
        Self::of(vec![Shard { name, map, entries }])
    }

    /// Every tensor where the index says, and none besides.
    fn compare(&self, index: &BTreeMap<String, String>) -> Result<(), ImportError> {
        let mut findings = Findings::default();
        for (name, file) in index {
            match self.by_name.get(name).map(|f| self.file_of(*f)) {
                Some(found) if found == file => {}
                Some(found) => {
                    let what = format!("is in {found}, but {INDEX} says {file}");
                    findings.push(Finding::tensor(name, what));
                }
                None => {
                    let what = format!("is missing: {INDEX} says it is in {file}");
                    findings.push(Finding::tensor(name, what));
                }
            }
        }
        for (name, found) in &self.by_name {
            if !index.contains_key(name) {
                let what = format!(
                    "is in {}, but {INDEX} does not name it",
                    self.file_of(*found)
                );
                findings.push(Finding::tensor(name, what));
            }
        }
        findings.into_result(())
    }

    /// The tensor of this name, if a shard has one.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<TensorPlace> {
        self.by_name.get(name).copied()
    }

    /// Gives tensors other names; gives those that `name` has none for, which keep theirs.
    ///
    /// # Errors
    /// When two tensors would have one name.
    pub fn rename(
        &mut self,
        name: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<String>, Finding> {
        let mut left = Vec::new();
        let mut renamed = BTreeMap::new();
        for (old, place) in std::mem::take(&mut self.by_name) {
            let new = name(&old);
            if new.is_none() {
                left.push(old.clone());
            }
            let new = new.unwrap_or_else(|| old.clone());
            if renamed.insert(new.clone(), place).is_some() {
                let what = format!("is there twice, as {} as well", super::super::shown(&new));
                return Err(Finding::tensor(&old, what));
            }
        }
        self.by_name = renamed;
        Ok(left)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Its header entry.
    #[must_use]
    pub fn entry(&self, found: TensorPlace) -> &Entry {
        &self.shards[found.shard as usize].entries[found.entry as usize]
    }

    /// The tensor's bytes as the file holds them.
    #[must_use]
    pub fn bytes(&self, found: TensorPlace) -> &[u8] {
        &self.shards[found.shard as usize].map[self.entry(found).bytes.clone()]
    }

    /// The file it is in.
    #[must_use]
    pub fn file_of(&self, found: TensorPlace) -> &str {
        &self.shards[found.shard as usize].name
    }

    /// Names and sizes in bytes of the files.
    pub fn files(&self) -> impl Iterator<Item = (&str, usize)> {
        self.shards.iter().map(|s| (s.name.as_str(), s.map.len()))
    }
}

/// The `weight_map` of an index: tensor -> file, where a file is a plain name.
///
/// # Errors
/// With a sentence.
pub fn parse_index(bytes: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let index = json::parse_object(bytes)?;
    let map = index.get("weight_map").and_then(|m| m.as_object());
    let Some(map) = map.filter(|m| !m.is_empty()) else {
        return Err("holds no `weight_map` object with tensors".to_owned());
    };
    map.iter()
        .map(|(tensor, file)| match file.as_str().filter(|f| is_plain(f)) {
            Some(file) => Ok((tensor.clone(), file.to_owned())),
            None => Err(format!(
                "names {} for tensor `{}`; allowed: the name of a .safetensors file in the same folder",
                json::kind(file),
                shown(tensor)
            )),
        })
        .collect()
}

fn is_plain(file: &str) -> bool {
    file.ends_with(".safetensors")
        && file.len() <= 255
        && !file.contains(['/', '\\', ':'])
        && !file.chars().any(char::is_control)
}

fn open_shard(dir: &Path, name: &str) -> Result<Shard, Finding> {
    let map = map(&dir.join(name)).map_err(|e| Finding::file(name, regular::why(&e)))?;
    let entries = safetensors::parse(&map).map_err(|e| Finding::file(name, e))?;
    Ok(Shard {
        name: name.to_owned(),
        map,
        entries,
    })
}

/// Maps a file that is not empty.
fn map(path: &Path) -> std::io::Result<Mmap> {
    let file = regular::open(path)?;
    if file.metadata()?.len() == 0 {
        return Err(std::io::Error::other("is truncated: 0 bytes"));
    }
    // SAFETY: the mapping is private and read-only. Were the file changed meanwhile by another process, values would
    // change or the process be stopped, but no Rust value depends on their validity: any bytes are valid `u8`, and
    // offsets come from the header copied into `entries` before.
    unsafe { Mmap::map(&file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_files_of_the_same_folder_only() {
        for (text, words) in [
            ("{}", "no `weight_map`"),
            ("{\"weight_map\": {}}", "no `weight_map`"),
            ("{\"weight_map\": {\"a\": 3}}", "names 3 for tensor `a`"),
            (
                "{\"weight_map\": {\"a\": \"../x.safetensors\"}}",
                "same folder",
            ),
            ("{\"weight_map\": {\"a\": \"/etc/passwd\"}}", "same folder"),
            ("{\"weight_map\": {\"a\": \"x.bin\"}}", "same folder"),
            (
                "{\"weight_map\": {\"a\": \"x.safetensors\", \"a\": \"y.safetensors\"}}",
                "twice",
            ),
        ] {
            let message = parse_index(text.as_bytes()).expect_err(words);
            assert!(message.contains(words), "{message}");
        }
    }
}
