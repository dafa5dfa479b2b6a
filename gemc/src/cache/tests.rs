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
