//! A cache -> what is kept in it, by kind, for people and for tests that ask whether something was made anew; and an empty
//! one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Cache;
use super::trim::{ABANDONED, CARGO, CRATE, Entry, GRACE, MATRICES, MEASURED, remove};

/// Kinds of entries by the names of their folders, and what each is. Those of earlier versions stand last.
const KINDS: &[(&str, &str)] = &[
    ("digests", "digests of input files"),
    (MATRICES, "quantised matrices"),
    (MEASURED, "what was measured for plans"),
    ("weights", "weight files, with the texts beside them"),
    (super::plans::KIND, "the plan made last for a checkpoint"),
    ("programs", "programs compiled by rustc"),
    ("libraries", "libgem_runtime.a"),
    (CRATE, "sources that cargo builds from"),
    (CARGO, "cargo's own folder"),
    ("crates", "of an earlier gemc"),
    ("plans", "of an earlier gemc"),
    ("runtime", "of an earlier gemc"),
];

/// What a cache holds. Times are microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contents {
    /// Where it is.
    pub folder: String,
    /// All entries.
    pub entries: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// Bytes that it keeps to; none without `$GEMC_CACHE_LIMIT`.
    pub limit: Option<u64>,
    /// Entries unused for so many days go.
    pub unused_days: u64,
    /// By the name of a kind; every kind of this version is there, those of earlier ones where there are entries.
    pub kinds: BTreeMap<&'static str, KindContents>,
}

/// Entries of a kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KindContents {
    /// What they are.
    pub what: &'static str,
    /// How many.
    pub entries: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// When the entry that was not used for longest was used; half an hour may be missing.
    pub oldest_use: Option<u64>,
    /// Each, in the order of their keys.
    pub kept: Vec<Kept>,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Kept {
    /// Its name in the folder of its kind: of what is named by what it was made from, that digest.
    pub key: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// When it was made, where the file system knows: an entry that was made anew has another time.
    pub made: Option<u64>,
    /// When it was used last; none of what a killed process left.
    pub used: Option<u64>,
}

/// What emptying a cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cleared {
    /// Entries that are gone.
    pub removed: usize,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Entries that stay: other processes of gemc may be using them.
    pub in_use: usize,
    /// Their bytes.
    pub in_use_bytes: u64,
}

impl Cache {
    /// What is kept. Nothing counts as used by that.
    #[must_use]
    pub fn contents(&self) -> Contents {
        let mut kinds: BTreeMap<_, _> = KINDS
            .iter()
            .map(|(name, what)| {
                let empty = KindContents {
                    what,
                    ..KindContents::default()
                };
                (*name, empty)
            })
            .collect();
        for entry in self.entries(ABANDONED) {
            if let Some(kind) = kinds.get_mut(kind(self.root(), &entry.path)) {
                kind.add(&entry);
            }
        }
        for kind in kinds.values_mut() {
            kind.kept.sort_by(|a, b| a.key.cmp(&b.key));
        }
        kinds.retain(|_, kind| !kind.kept.is_empty() || kind.what != "of an earlier gemc");
        Contents {
            folder: self.root().display().to_string(),
            entries: kinds.values().map(|kind| kind.entries).sum(),
            bytes: kinds.values().map(|kind| kind.bytes).sum(),
            limit: self.bounds.bytes,
            unused_days: self.bounds.unused.as_secs() / (24 * 60 * 60),
            kinds,
        }
    }

    /// Removes every entry. While other processes use the cache, what was used within the last hour stays, and so does
    /// what somebody is making.
    pub fn clear(&self) -> Cleared {
        self.user.perhaps_alone(|alone| self.clear_as(alone))
    }

    fn clear_as(&self, alone: bool) -> Cleared {
        // Nobody who is not here finishes what is begun.
        let abandoned = if alone { Duration::ZERO } else { ABANDONED };
        let mut cleared = Cleared::default();
        let (entries, _lock) = self.removable(abandoned);
        for entry in entries {
            if (alone || entry.unused > GRACE) && remove(&entry) {
                cleared.removed += 1;
                cleared.removed_bytes += entry.bytes;
            }
        }
        for entry in self.entries(abandoned) {
            cleared.in_use += 1;
            cleared.in_use_bytes += entry.bytes;
        }
        cleared
    }
}

/// The kind of the entry at a path: the first part of it in the cache's folder.
fn kind<'a>(root: &Path, path: &'a Path) -> &'a str {
    let inside = path.strip_prefix(root).ok();
    let first = inside.and_then(|inside| inside.iter().next());
    first.and_then(|name| name.to_str()).unwrap_or_default()
}

impl KindContents {
    fn add(&mut self, entry: &Entry) {
        let used = SystemTime::now().checked_sub(entry.unused).and_then(micros);
        let name = entry.path.file_name().unwrap_or_default();
        let made = fs::metadata(&entry.path).and_then(|meta| meta.created());
        self.entries += 1;
        self.bytes += entry.bytes;
        self.oldest_use = [self.oldest_use, used].into_iter().flatten().min();
        self.kept.push(Kept {
            key: name.to_string_lossy().into_owned(),
            bytes: entry.bytes,
            made: made.ok().and_then(micros),
            used,
        });
    }
}

/// Microseconds since 1970.
fn micros(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::at(dir.path()).expect("made");
        (dir, cache)
    }

    fn store(cache: &Cache, kind: &str, key: u8, payload: &[u8]) {
        let stored = cache.store(kind, &[key; 32], |sink| sink.write_all(payload));
        stored.expect("space");
    }

    fn folder(cache: &Cache, name: &str) {
        let path = cache.root().join(name);
        fs::create_dir_all(&path).expect("space");
        fs::write(path.join("file"), [0; 1000]).expect("space");
    }

    /// The name of an entry.
    fn key(key: u8) -> String {
        gem_runtime::hex(&[key; 32])
    }

    #[test]
    fn what_is_kept_is_told_by_kind() {
        let (_dir, cache) = cache();
        let empty = cache.contents();
        assert_eq!((empty.entries, empty.bytes, empty.limit), (0, 0, None));
        assert_eq!(empty.unused_days, 30);
        assert!(empty.kinds.contains_key("matrices") && !empty.kinds.contains_key("plans"));
        store(&cache, "matrices", 2, b"22");
        store(&cache, "matrices", 1, b"1");
        folder(&cache, &format!("weights/{}", key(3)));
        folder(&cache, &format!("crates/{}", key(3)));
        folder(&cache, "weights/letters");
        let contents = cache.contents();
        assert_eq!(contents.entries, 4);
        let matrices = &contents.kinds["matrices"];
        let keys: Vec<&str> = matrices.kept.iter().map(|kept| &*kept.key).collect();
        assert_eq!(keys, [key(1), key(2)]);
        assert_eq!((matrices.entries, matrices.bytes), (2, 64 + 1 + 64 + 2));
        let now = micros(SystemTime::now()).expect("after 1970");
        let oldest = matrices.oldest_use.expect("there are entries");
        assert!(oldest <= now && now - oldest < 60_000_000);
        assert_eq!(contents.kinds["weights"].bytes, 1000);
        assert_eq!(contents.kinds["crates"].entries, 1);
        assert_eq!(contents.bytes, 131 + 2000);
        let json = serde_json::to_value(&contents).expect("a value");
        assert_eq!(json["kinds"]["matrices"]["kept"][0]["key"], key(1));
    }

    /// A test can tell from it whether something was made again.
    #[test]
    fn what_is_made_anew_has_another_time() {
        let (_dir, cache) = cache();
        let made = || cache.contents().kinds["matrices"].kept[0].made;
        store(&cache, "matrices", 1, b"1");
        let first = made();
        assert!(cache.find("matrices", &[1; 32]).is_some());
        assert_eq!(made(), first, "it was used, not made");
        std::thread::sleep(Duration::from_millis(20));
        store(&cache, "matrices", 1, b"1");
        if first.is_some() {
            assert_ne!(made(), first);
        }
    }

    #[test]
    fn who_is_alone_removes_everything_that_is_an_entry() {
        let (_dir, cache) = cache();
        store(&cache, "matrices", 1, b"1");
        let own = cache.root().join("target");
        fs::create_dir(&own).expect("space");
        fs::write(cache.root().join("lock"), "").expect("space");
        for name in ["weights/letters", "gemc-crate", "letters"] {
            folder(&cache, name);
        }
        for name in ["weights/", "weights/.", "programs/"] {
            let end = if name.ends_with('.') {
                ".gemc-partial"
            } else {
                ""
            };
            folder(&cache, &format!("{name}{}{end}", key(7)));
        }
        fs::write(cache.root().join("matrices/.tmpabc"), "half").expect("space");
        let cleared = cache.clear();
        assert_eq!((cleared.removed, cleared.in_use), (6, 0));
        assert_eq!(cleared.removed_bytes, 65 + 4 + 4 * 1000);
        assert_eq!(cache.contents().entries, 0);
        for name in ["weights/letters/file", "letters/file", "lock", "target"] {
            assert!(cache.root().join(name).exists(), "{name} is no entry");
        }
        // It goes on being one of the users.
        store(&cache, "matrices", 1, b"1");
        let other = Cache::at(cache.root()).expect("there");
        assert_eq!(other.clear().in_use, 1);
    }

    #[test]
    fn nothing_goes_that_another_process_may_be_using() {
        let (_dir, cache) = cache();
        store(&cache, "matrices", 1, b"new");
        store(&cache, "digests", 2, b"old");
        let old = cache.root().join("digests").join(key(2));
        let then = SystemTime::now() - Duration::from_secs(2 * 3600);
        let file = fs::File::open(&old).expect("ours");
        file.set_modified(then).expect("ours");
        let other = Cache::at(cache.root()).expect("there");
        let cleared = cache.clear();
        assert_eq!((cleared.removed, cleared.in_use), (1, 1));
        assert!(!old.exists() && cache.find("matrices", &[1; 32]).is_some());
        drop(other);
        // A program that is being built is locked besides.
        folder(&cache, &format!("programs/{}", key(3)));
        let lock = cache.build_lock().expect("space");
        lock.try_lock().expect("nobody has it");
        assert_eq!(cache.clear().in_use, 1);
        drop(lock);
        assert_eq!((cache.clear().in_use, cache.contents().entries), (0, 0));
    }
}
