//! What is kept is found again, what is damaged is not, and what is old or too much goes.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use super::*;

fn cache() -> (tempfile::TempDir, Cache) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::at(&dir.path().join("a/b")).expect("made");
    (dir, cache)
}

fn store(cache: &Cache, key: Key, payload: &[u8]) {
    let stored = cache.store("kind", &key, |sink| sink.write_all(payload));
    stored.expect("space");
}

fn only_file(cache: &Cache) -> PathBuf {
    let mut items = fs::read_dir(cache.root().join("kind")).expect("listed");
    let path = items.next().expect("one").expect("listed").path();
    assert!(items.next().is_none());
    path
}

#[test]
fn what_was_stored_is_found() {
    let (_dir, cache) = cache();
    assert!(cache.find("kind", &[1; 32]).is_none());
    for payload in [&b""[..], b"1", &[7; 100_000]] {
        store(&cache, [1; 32], payload);
        assert_eq!(&cache.find("kind", &[1; 32]).expect("stored")[..], payload);
        assert!(cache.find("kind", &[2; 32]).is_none());
        assert!(cache.find("other", &[1; 32]).is_none());
    }
    only_file(&cache);
}

#[test]
fn what_is_damaged_cut_short_or_foreign_is_not_used() {
    let (_dir, cache) = cache();
    let payload: Vec<u8> = (0..200).collect();
    store(&cache, [1; 32], &payload);
    let path = only_file(&cache);
    let sound = fs::read(&path).expect("there");
    for at in (0..sound.len()).step_by(5) {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).expect("space");
        assert!(cache.find("kind", &[1; 32]).is_none(), "byte {at}");
        assert!(!path.exists(), "it is removed");
    }
    for length in [0, 1, 63, 64, 65, sound.len() - 1] {
        fs::write(&path, &sound[..length]).expect("space");
        assert!(cache.find("kind", &[1; 32]).is_none(), "{length} bytes");
    }
    let foreign = path.with_file_name(gem_runtime::hex(&[2; 32]));
    fs::write(foreign, &sound).expect("space");
    assert!(cache.find("kind", &[2; 32]).is_none(), "of another key");
    store(&cache, [1; 32], &payload);
    assert!(cache.find("kind", &[1; 32]).is_some(), "made anew");
}

#[test]
fn a_failed_writer_leaves_nothing() {
    let (_dir, cache) = cache();
    let failed = cache.store("kind", &[1; 32], |sink| {
        sink.write_all(b"half")?;
        Err(io::ErrorKind::StorageFull.into())
    });
    assert!(failed.is_err());
    assert!(cache.find("kind", &[1; 32]).is_none());
    assert_eq!(
        fs::read_dir(cache.root().join("kind"))
            .expect("listed")
            .count(),
        0
    );
}

#[test]
fn a_digest_follows_the_contents() {
    let (dir, cache) = cache();
    let path = dir.path().join("file");
    let write = |text: &str, age: u64| {
        fs::write(&path, text).expect("space");
        let file = fs::File::options().write(true).open(&path).expect("ours");
        file.set_modified(SystemTime::now() - Duration::from_secs(age))
            .expect("ours");
    };
    let remembered = || fs::read_dir(cache.root().join("digests")).map_or(0, Iterator::count);
    write("one", 0);
    let one = cache.digest(&path).expect("readable");
    assert_eq!(remembered(), 0, "it may change within the tick");
    write("one", 60);
    assert_eq!(cache.digest(&path).expect("readable"), one);
    assert_eq!(cache.digest(&path).expect("readable"), one);
    assert_eq!(remembered(), 1);
    write("two", 60);
    assert_ne!(cache.digest(&path).expect("readable"), one);
    assert!(cache.digest(&dir.path().join("absent")).is_err());
}

/// Makes a file or folder look unused for so many days.
fn age(path: &Path, days: u64) {
    if path.is_dir() {
        for item in fs::read_dir(path).expect("listed") {
            age(&item.expect("listed").path(), days);
        }
    }
    let then = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
    let file = fs::File::open(path).expect("ours");
    file.set_modified(then).expect("ours");
}

/// `kind/a` with as many letters as a key has; anything else as it is.
fn place(cache: &Cache, name: &str) -> PathBuf {
    let long = |letter: char| letter.to_string().repeat(64);
    match name.rsplit_once('/') {
        Some((kind, rest)) => {
            let rest = rest.trim_start_matches('.');
            let (dot, letter) = (&name[kind.len() + 1..name.len() - rest.len()], &rest[..1]);
            let key: String = letter.chars().map(long).collect();
            cache
                .root()
                .join(kind)
                .join(format!("{dot}{key}{}", &rest[1..]))
        }
        None => cache.root().join(name),
    }
}

fn folder(cache: &Cache, name: &str, days: u64) -> PathBuf {
    let path = place(cache, name);
    fs::create_dir_all(&path).expect("space");
    fs::write(path.join("file"), [0; 1000]).expect("space");
    age(&path, days);
    path
}

#[test]
fn what_nobody_used_for_long_goes() {
    let (_dir, cache) = cache();
    store(&cache, [1; 32], b"old");
    // Only what is known to be an entry is ever removed.
    fs::rename(cache.root().join("kind"), cache.root().join("matrices")).expect("renamed");
    let old = cache
        .root()
        .join("matrices")
        .join(gem_runtime::hex(&[1; 32]));
    age(&old, 31);
    let foreign = folder(&cache, "letters", 99);
    fs::create_dir(cache.root().join("target")).expect("space");
    fs::write(cache.root().join("target").join(CARGO_MARK), "").expect("space");
    let gone = ["weights/a", "programs/a", "crates/a", "target"].map(|f| folder(&cache, f, 31));
    let kept = ["weights/b", "programs/b", "runtime/b"].map(|f| folder(&cache, f, 29));
    let partial = folder(&cache, "weights/.c.gemc-partial", 2);
    let begun = folder(&cache, "weights/.d.gemc-partial", 0);
    cache.trim();
    assert!(gone.iter().all(|path| !path.exists()));
    assert!(kept.iter().all(|path| path.exists()));
    assert!(!old.exists() && !partial.exists() && begun.exists() && foreign.exists());
}

/// The root may be a folder with other things in it: a project's, with weights and a `target` of its own.
#[test]
fn only_entries_are_ever_removed() {
    let (_dir, cache) = cache();
    let mut foreign = Vec::new();
    for name in [
        "weights/mine",
        "weights/.mine.gemc-partial",
        "programs/x",
        "target",
    ] {
        let path = cache.root().join(name);
        fs::create_dir_all(&path).expect("space");
        fs::write(path.join("file"), "1").expect("space");
        foreign.push(path);
    }
    for name in [
        "matrices/notes",
        "matrices/.gitignore",
        "digests/0123",
        "plans/p.toml",
    ] {
        let path = cache.root().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("space");
        fs::write(&path, "1").expect("space");
        foreign.push(path);
    }
    let lock = cache.root().join(BUILD_LOCK);
    fs::write(&lock, "mine").expect("space");
    foreign.iter().for_each(|path| age(path, 99));
    cache.trim();
    cache.make_room();
    assert!(foreign.iter().all(|path| path.exists()));
    assert_eq!(fs::read(&lock).expect("there"), b"mine");
}

#[test]
fn a_full_disk_gets_back_what_can_be_spared() {
    let (_dir, cache) = cache();
    for (kind, key) in [("matrices", [1; 32]), ("digests", [2; 32])] {
        let stored = cache.store(kind, &key, |sink| sink.write_all(b"payload"));
        stored.expect("space");
    }
    let [old, new] = [("a", 1), ("b", 0)].map(|(n, d)| folder(&cache, &format!("weights/{n}"), d));
    let full = cache.store("matrices", &[3; 32], |sink| {
        sink.write_all(b"half")?;
        Err(io::ErrorKind::StorageFull.into())
    });
    assert!(full.is_err());
    assert!(
        fs::read_dir(cache.root().join("matrices"))
            .expect("listed")
            .next()
            .is_none()
    );
    assert!(!old.exists() && new.exists());
    assert!(cache.find("digests", &[2; 32]).is_some(), "just used");
    // Nothing more is taken, lest the disk fill up again.
    assert!(cache.clone().sink("matrices").is_err());
    let unrelated = Cache::at(cache.root()).expect("there");
    unrelated.failed(&io::ErrorKind::PermissionDenied.into());
    assert!(unrelated.sink("matrices").is_ok());
}

#[test]
fn a_kept_plan_is_whole_or_not_taken() {
    let (dir, cache) = cache();
    let (checkpoint, other) = (dir.path().join("model"), dir.path().join("other"));
    fs::create_dir(&checkpoint).expect("space");
    let keep = |text: &[u8]| {
        cache
            .keep_plan(&checkpoint, "host", text, &|to| to.write_all(b"codes"))
            .expect("space")
    };
    keep(b"one");
    let path = keep(b"two");
    let kept = |checkpoint: &Path, target: &str| cache.kept_plan(checkpoint, target);
    assert!(kept(&other, "host").is_ok_and(|plan| plan.is_none()));
    assert!(kept(&checkpoint, "v3").is_ok_and(|plan| plan.is_none()));
    assert_eq!(
        kept(&checkpoint, "host").expect("whole").as_ref(),
        Some(&path)
    );
    assert_eq!(fs::read(&path).expect("there"), b"two");
    let codes = path.with_extension("codes");
    let damages: [&dyn Fn(); 3] = [
        &|| fs::write(&path, "twp").expect("space"),
        &|| fs::write(&codes, "code").expect("space"),
        &|| fs::remove_file(&codes).expect("there"),
    ];
    for damage in damages {
        damage();
        let told = kept(&checkpoint, "host").expect_err("damaged").to_string();
        assert!(
            told.contains("plan.toml") && told.contains("gemc plan"),
            "{told}"
        );
        assert_eq!(keep(b"two"), path);
        assert!(kept(&checkpoint, "host").is_ok());
    }
}

#[test]
fn what_is_used_stays() {
    let (_dir, cache) = cache();
    store(&cache, [1; 32], b"payload");
    fs::rename(cache.root().join("kind"), cache.root().join("matrices")).expect("renamed");
    let old = cache
        .root()
        .join("matrices")
        .join(gem_runtime::hex(&[1; 32]));
    age(&old, 31);
    assert!(cache.find("matrices", &[1; 32]).is_some());
    cache.trim();
    assert!(old.exists(), "it was found, hence used");
}

#[test]
fn the_least_recently_used_go_beyond_the_size() {
    let (_dir, cache) = cache();
    let [a, b, c, d] = [("a", 4), ("b", 3), ("c", 2), ("d", 0)]
        .map(|(name, days)| folder(&cache, &format!("weights/{name}"), days));
    let bounds = |bytes| Bounds {
        bytes: Some(bytes),
        ..Bounds::default()
    };
    cache.clone().with_bounds(bounds(4000)).trim();
    assert!(a.exists());
    cache.clone().with_bounds(bounds(2999)).trim();
    assert!(!a.exists() && !b.exists() && c.exists() && d.exists());
    cache.with_bounds(bounds(0)).trim();
    assert!(!c.exists() && d.exists(), "what was just used stays");
}

#[test]
fn what_is_locked_stays() {
    let (_dir, cache) = cache();
    let weights = folder(&cache, "weights/a", 40);
    let program = folder(&cache, "programs/a", 40);
    let lock = |name: &str| {
        let file = fs::File::create(place(&cache, name)).expect("space");
        file.try_lock().expect("nobody has it");
        file
    };
    let locks = [lock("weights/.a.gemc-lock"), lock(BUILD_LOCK)];
    cache.trim();
    assert!(weights.exists() && program.exists());
    drop(locks);
    cache.trim();
    assert!(!weights.exists() && !program.exists());
}

#[test]
fn sizes_are_read_with_their_units() {
    let bytes = |text| Bounds::parse(Some(text)).ok().and_then(|b| b.bytes);
    assert_eq!(bytes("20G"), Some(20 << 30));
    assert_eq!(bytes("500m"), Some(500 << 20));
    assert_eq!(bytes("1000"), Some(1000));
    for wrong in ["", "G", "-1", "1.5G", "many", "99999999999G"] {
        let error = Bounds::parse(Some(wrong)).expect_err(wrong).to_string();
        assert!(error.contains("20G"), "{error}");
    }
    assert_eq!(Bounds::parse(None).expect("nothing").bytes, None);
}

#[test]
fn a_seal_holds_for_its_key_and_exactly_its_files() {
    let (_dir, cache) = cache();
    let dir = folder(&cache, "weights/a", 0);
    assert!(!is_sealed(&dir, "a"));
    seal(&dir, "a").expect("space");
    assert!(is_sealed(&dir, "a") && !is_sealed(&dir, "b"));
    let file = dir.join("file");
    let sound = fs::read(&file).expect("there");
    let changes: [&dyn Fn(); 4] = [
        &|| fs::write(&file, [1; 1000]).expect("space"),
        &|| fs::write(&file, [0; 999]).expect("space"),
        &|| fs::write(dir.join("more"), "").expect("space"),
        &|| fs::remove_file(&file).expect("there"),
    ];
    for change in changes {
        change();
        assert!(!is_sealed(&dir, "a"));
        let _ = fs::remove_file(dir.join("more"));
        fs::write(&file, &sound).expect("space");
        assert!(is_sealed(&dir, "a"));
    }
}
