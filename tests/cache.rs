//! Weights through the cache: the same bytes as without, whatever its files have become.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use gem_runtime::format::{Codec, Rounding};
use gem_tests::needs::repository;
use gemc::backend;
use gemc::cache::Cache;
use gemc::package::Parts;
use gemc::pipeline::{self, Compiled, Loaded};
use gemc::plan::BitPlan;
use gemc::progress::Silent;
use gemc::target::Target;

struct Case {
    loaded: Loaded,
    target: Target,
}

impl Case {
    fn new() -> Self {
        let dir = repository("examples/checkpoints/lm-all-8mlp-top3-always-domainscar");
        Self {
            loaded: pipeline::load(&dir).expect("a good checkpoint"),
            target: Target::find("portable").expect("embedded"),
        }
    }

    fn with<T>(
        &self,
        codec: Codec,
        rounding: Rounding,
        cache: Option<&Cache>,
        work: impl FnOnce(&Parts<'_>) -> T,
    ) -> T {
        let plan = BitPlan::uniform(&self.loaded.graph, codec);
        let compiled: Compiled =
            pipeline::compile(&self.loaded.graph, &plan, &self.target).expect("it compiles");
        work(&Parts {
            name: "tiny",
            loaded: &self.loaded,
            compiled: &compiled,
            plan: &plan,
            target: &self.target,
            rounding,
            cache,
        })
    }
}

fn packed(parts: &Parts<'_>) -> Vec<u8> {
    let file = parts.write_weights(Cursor::new(Vec::new()), &mut |_| {});
    file.expect("memory").into_inner()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .expect("a folder")
        .map(|item| item.expect("listed").path())
        .collect();
    files.sort();
    files
}

#[test]
fn matrices_from_the_cache_are_those_made_anew() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::at(dir.path()).expect("made");
    let matrices = dir.path().join("matrices");
    let case = Case::new();
    let made = |codec, rounding, cache| case.with(codec, rounding, cache, packed);
    let mut kept = 0;
    for (codec, rounding) in [
        (Codec::N4, Rounding::Plain),
        (Codec::N4, Rounding::Search),
        (Codec::B8, Rounding::Plain),
    ] {
        let fresh = made(codec, rounding, None);
        assert!(made(codec, rounding, Some(&cache)) == fresh, "first time");
        let entries = files(&matrices).len();
        assert!(entries > kept, "formats and roundings do not share entries");
        kept = entries;
        assert!(made(codec, rounding, Some(&cache)) == fresh, "second time");
        assert_eq!(files(&matrices).len(), kept, "nothing new");
    }
    let fresh = made(Codec::N4, Rounding::Plain, None);
    for (i, path) in files(&matrices).iter().enumerate() {
        let mut bytes = fs::read(path).expect("there");
        let at = i * 31 % bytes.len();
        match i % 3 {
            0 => bytes[at] ^= 1,
            1 => bytes.truncate(at),
            _ => bytes.fill(0),
        }
        fs::write(path, bytes).expect("space");
    }
    assert!(
        made(Codec::N4, Rounding::Plain, Some(&cache)) == fresh,
        "damaged"
    );
}

#[test]
fn a_weight_file_is_made_once_and_anew_when_damaged() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::at(dir.path()).expect("made");
    let case = Case::new();
    let file = || {
        case.with(Codec::L4, Rounding::Plain, Some(&cache), |parts| {
            backend::weights(parts, &cache, &Silent).expect("space")
        })
    };
    let path = file();
    let sound = fs::read(&path).expect("there");
    let fresh = case.with(Codec::L4, Rounding::Plain, None, packed);
    assert!(sound == fresh);
    let written = || {
        fs::metadata(&path)
            .and_then(|m| m.modified())
            .expect("there")
    };
    let first = written();
    assert_eq!(file(), path);
    assert_eq!(written(), first, "it was good");
    let damages: [fn(&mut Vec<u8>); 3] = [
        |bytes| *bytes.last_mut().expect("not empty") ^= 1,
        |bytes| bytes.truncate(100),
        Vec::clear,
    ];
    for damage in damages {
        let mut bytes = sound.clone();
        damage(&mut bytes);
        fs::write(&path, bytes).expect("space");
        assert_eq!(file(), path);
        assert!(fs::read(&path).expect("there") == sound);
    }
    let others = case.with(Codec::N4, Rounding::Plain, Some(&cache), |parts| {
        backend::weights(parts, &cache, &Silent).expect("space")
    });
    assert_ne!(others, path);
}
