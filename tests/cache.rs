//! Weights through the cache: the same bytes as without, whatever its files have become.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use gem_runtime::{Model as _, SessionOptions};
use gem_tests::needs::repository;
use gemc::backend;
use gemc::cache::{Cache, SEAL};
use gemc::model::Model;
use gemc::package::WEIGHTS;
use gemc::pipeline::{self, LoadedCheckpoint};
use gemc::plan::BitPlan;
use gemc::prepared::PreparedModel;
use gemc::progress::Silent;
use gemc::target::Target;
use gemc_format::{Codec, Rounding};

struct Case {
    loaded: LoadedCheckpoint,
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
        work: impl FnOnce(&PreparedModel) -> T,
    ) -> T {
        let plan = BitPlan::uniform(&self.loaded.graph, codec);
        let loaded = pipeline::load(self.loaded.checkpoint.dir()).expect("a good checkpoint");
        let model = PreparedModel::new(loaded, plan, self.target.clone(), rounding, cache.cloned());
        work(&model.expect("it compiles"))
    }
}

fn packed(model: &PreparedModel) -> Vec<u8> {
    let file = model.write_weights(Cursor::new(Vec::new()), &mut |_| {});
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

/// Every file of a folder and what it holds.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).expect("a file");
        (path, bytes)
    };
    files(dir).into_iter().map(read).collect()
}

/// Another version, another plan, another key, damage: a run takes none of it, and puts it right.
#[test]
fn machine_code_runs_on_no_damaged_or_foreign_weights() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::at(dir.path()).expect("made");
    let checkpoint = repository("examples/checkpoints/lm-all-8mlp-top3-always-domainscar");
    let logits = |bits: &str| -> Vec<u32> {
        let options = Model::options().rounding(Rounding::Plain).bits(bits);
        let model = options
            .cache(cache.clone())
            .open(&checkpoint)
            .expect("it runs");
        let mut session = model.session(SessionOptions::default()).expect("small");
        let logits = session.forward(&[1, 5, 9]).expect("ids of the model");
        logits.iter().map(|x| x.to_bits()).collect()
    };
    let expected = logits("l4");
    let folder = files(&dir.path().join("weights")).remove(0);
    let sound = contents(&folder);
    let file = folder.join(WEIGHTS);
    assert_ne!(logits("8.25"), expected);
    let all = files(&dir.path().join("weights"));
    let other = all.into_iter().find(|path| *path != folder).expect("two");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(&file).expect("there");
        change(&mut bytes);
        fs::write(&file, bytes).expect("space");
    };
    let copied = |names: &[&str]| {
        for name in names {
            fs::copy(other.join(name), folder.join(name)).expect("space");
        }
    };
    let strangers: [(&str, &dyn Fn()); 7] = [
        ("a damaged weight", &|| {
            changed(&|b| *b.last_mut().expect("not empty") ^= 1)
        }),
        ("another version of the file", &|| changed(&|b| b[4] += 1)),
        ("a cut file", &|| changed(&|b| b.truncate(1000))),
        ("the file of another plan", &|| copied(&[WEIGHTS])),
        ("the folder of another key", &|| copied(&[WEIGHTS, SEAL])),
        ("another tokenizer", &|| {
            fs::write(folder.join("tokenizer.json"), "{}").expect("space")
        }),
        ("no seal, as of earlier versions", &|| {
            fs::remove_file(folder.join(SEAL)).expect("there")
        }),
    ];
    for (what, change) in strangers {
        change();
        assert!(contents(&folder) != sound, "{what}");
        assert_eq!(logits("l4"), expected, "{what}");
        assert!(contents(&folder) == sound, "{what} is put right");
    }
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
