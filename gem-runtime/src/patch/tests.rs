//! Patches of a small weight file: two modules with a record each, whose router rows lie in one record beside a row of nobody.

use std::fs::{self, File};
use std::io::{self, Cursor, Write as _};
use std::ops::Range;
use std::path::Path;

use proptest::prelude::*;

use super::replace::{Disk, write};
use super::*;
use crate::error::Error;
use crate::file::{Checksum, Header, Record, WeightFile, Writer, name_hash};
use crate::storage::Weights;

const PLAN: [u8; 32] = [7; 32];
/// Bytes of the records: a norm, the router, the two modules.
const SIZES: [u64; 4] = [64, 96, 200, 320];

/// A weight file, with what its norm, module A and module B are made of; the last row of the router belongs to nobody.
fn file(plan: [u8; 32], [norm, a, b]: [u8; 3]) -> Vec<u8> {
    let (offsets, body_bytes) = crate::file::place(&SIZES).expect("small");
    let header = Header {
        plan_hash: plan,
        body_bytes,
    };
    let record = |(i, offset): (usize, &u64)| Record {
        name_hash: name_hash(&i.to_string()),
        codec: 0,
        layout: 0,
        offset: *offset,
        bytes: SIZES[i],
    };
    let records = offsets.iter().enumerate().map(record).collect();
    let mut writer = Writer::new(Cursor::new(Vec::new()), header, records).expect("valid");
    let router = [[a; 32], [b; 32], [norm; 32]].concat();
    let bodies = [vec![norm; 64], router, vec![a ^ 1; 200], vec![b ^ 1; 320]];
    for (i, body) in bodies.iter().enumerate() {
        writer.write(i, body).expect("in order");
    }
    writer.finish().expect("complete").into_inner()
}

/// The parts of both modules.
fn parts() -> [[Range<u64>; 2]; 2] {
    let offsets = crate::file::place(&SIZES).expect("small").0;
    let [router, a, b] = [1, 2, 3].map(|i| offsets[i]);
    let row = |module: u64| router + 32 * module..router + 32 * (module + 1);
    [[row(0), a..a + 200], [row(1), b..b + 320]]
}

/// The patch of module 0 or 1 from one file to another.
fn patch(module: usize, from: &[u8], to: &[u8]) -> Result<Patch, Error> {
    let mut all = parts().concat();
    all.sort_by_key(|part| part.start);
    let [from, to] = [from, to].map(|bytes| WeightFile::parse(bytes).expect("whole"));
    Patch::between(["a", "b"][module], &from, &to, &parts()[module], &all)
}

fn applied(patches: &[&Patch], to: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = to.to_vec();
    for patch in patches {
        patch.apply(&mut bytes)?;
    }
    Ok(bytes)
}

fn fault(result: Result<impl std::fmt::Debug, Error>) -> PatchFault {
    match result {
        Err(Error::Patch { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_patched_file_is_the_file_that_would_be_built() {
    let [base, new] = [[1, 2, 3], [1, 20, 3]].map(|model| file(PLAN, model));
    let patch = patch(0, &base, &new).expect("one module differs");
    assert_eq!(applied(&[&patch], &base).expect("fits"), new);
    assert_eq!((patch.module(), patch.replaced_bytes()), ("a", 232));
}

#[test]
fn patches_of_different_modules_apply_in_any_order() {
    let [base, a, b, both] =
        [[1, 2, 3], [1, 20, 3], [1, 2, 30], [1, 20, 30]].map(|model| file(PLAN, model));
    let [a, b] = [patch(0, &base, &a), patch(1, &base, &b)].map(|patch| patch.expect("fits"));
    assert_eq!(applied(&[&a, &b], &base).expect("fits"), both);
    assert_eq!(applied(&[&b, &a], &base).expect("fits"), both);
}

#[test]
fn what_is_taken_back_leaves_the_old_file() {
    let [base, new] = [[1, 2, 3], [1, 20, 3]].map(|model| file(PLAN, model));
    let patch = patch(0, &base, &new).expect("one module differs");
    let whole = WeightFile::parse(&base).expect("whole");
    let back = patch.reversed(&whole).expect("the base has the module");
    assert_eq!(applied(&[&patch, &back], &base).expect("fits"), base);
    let whole = WeightFile::parse(&new).expect("whole");
    let twice = PatchFault::Applied("a".to_owned());
    assert_eq!(fault(patch.reversed(&whole)), twice);
}

#[test]
fn a_patch_that_was_overtaken_is_refused() {
    let [first, second, third] =
        [[1, 2, 3], [1, 20, 3], [1, 200, 3]].map(|model| file(PLAN, model));
    let [older, newer] = [patch(0, &first, &second), patch(0, &second, &third)];
    let [older, newer] = [older, newer].map(|patch| patch.expect("fits"));
    assert_eq!(applied(&[&older, &newer], &first).expect("in order"), third);
    let module = || PatchFault::Module("a".to_owned());
    assert_eq!(fault(applied(&[&older], &third)), module());
    assert_eq!(fault(applied(&[&newer], &first)), module());
    let twice = PatchFault::Applied("a".to_owned());
    assert_eq!(fault(applied(&[&newer], &third)), twice);
}

#[test]
fn patches_of_other_weights_are_refused() {
    let [base, new] = [[1, 2, 3], [1, 20, 3]].map(|model| file(PLAN, model));
    let made = patch(0, &base, &new).expect("one module differs");
    let other_plan = file([8; 32], [1, 2, 3]);
    assert_eq!(fault(applied(&[&made], &other_plan)), PatchFault::Plan);
    // A norm, or a row of the router that belongs to nobody.
    let other = file(PLAN, [9, 2, 3]);
    assert_eq!(fault(applied(&[&made], &other)), PatchFault::Rest);
    assert_eq!(fault(patch(0, &base, &other)), PatchFault::Rest);
    assert_eq!(fault(patch(0, &base, &other_plan)), PatchFault::Plan);
    // Another module may be anything.
    let beside = file(PLAN, [1, 2, 77]);
    assert_eq!(
        applied(&[&made], &beside).expect("fits"),
        file(PLAN, [1, 20, 77])
    );
}

#[test]
fn no_bit_of_a_patch_may_change() {
    let [base, new] = [[1, 2, 3], [1, 20, 3]].map(|model| file(PLAN, model));
    let patch = patch(0, &base, &new).expect("one module differs");
    for at in 0..patch.as_bytes().len() {
        let mut bytes = patch.as_bytes().to_vec();
        bytes[at] ^= 0x10;
        assert!(Patch::parse(bytes).is_err(), "byte {at}");
    }
    for length in 0..patch.as_bytes().len() {
        let short = patch.as_bytes()[..length].to_vec();
        assert!(Patch::parse(short).is_err(), "{length} bytes");
    }
}

proptest! {
    /// Fields that are not what they were, under a digest that is right.
    #[test]
    fn nonsense_is_refused_or_does_no_harm(
        changes in prop::collection::vec((0_usize..400, any::<u8>()), 1..8),
    ) {
        let [base, new] = [[1, 2, 3], [1, 20, 3]].map(|model| file(PLAN, model));
        let patch = patch(0, &base, &new).expect("one module differs");
        let mut bytes = patch.as_bytes().to_vec();
        let end = bytes.len() - DIGEST_BYTES;
        for (at, byte) in changes {
            bytes[at % end] = byte;
        }
        let digest = Checksum::of(&bytes[..end]).to_le_bytes();
        bytes[end..].copy_from_slice(&digest);
        if let Ok(patch) = Patch::parse(bytes) {
            let mut file = base.clone();
            match patch.apply(&mut file) {
                Ok(()) => {
                    let whole = WeightFile::parse(&file).expect("a sound header");
                    whole.verify_body().expect("sound records");
                }
                Err(_) => prop_assert_eq!(file, base),
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        fuzz_patch(&[&MAGIC[..], &bytes].concat());
    }
}

#[test]
fn opened_with_a_patch_the_file_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gemw");
    let [base, new] = [[1, 2, 3], [1, 20, 3]].map(|model| file(PLAN, model));
    fs::write(&path, &base).expect("written");
    let patch = patch(0, &base, &new).expect("one module differs");
    let weights = Weights::open_patched(&path, std::slice::from_ref(&patch)).expect("fits");
    weights.verify().expect("sound records");
    assert_eq!(weights.file_contents(), new);
    assert_eq!(fs::read(&path).expect("there"), base);
    apply(&path, &[patch], &path).expect("fits");
    assert_eq!(fs::read(&path).expect("there"), new);
}

/// The system's files until so many calls were made; from then on every call fails, as after a power cut.
struct Failing {
    left: usize,
}

impl Failing {
    fn next(&mut self) -> io::Result<()> {
        self.left = (self.left.checked_sub(1)).ok_or_else(|| io::Error::other("no power"))?;
        Ok(())
    }
}

impl Disk for Failing {
    fn create(&mut self, path: &Path) -> io::Result<File> {
        self.next()?;
        // What the run before left stays in its place.
        File::create_new(path)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        // Byte by byte: any of them may be the last.
        for byte in bytes {
            self.next()?;
            file.write_all(&[*byte])?;
        }
        Ok(())
    }

    fn sync(&mut self, _: &File) -> io::Result<()> {
        self.next()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.next()?;
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) {
        if self.next().is_ok() {
            let _ = fs::remove_file(path);
        }
    }
}

#[test]
fn a_power_cut_at_any_byte_leaves_the_old_file_or_the_new_one() {
    let (old, new) = (vec![1; 300], vec![2; 400]);
    // Created, 400 bytes, on the disk, renamed, the folder on the disk.
    let calls = 1 + new.len() + 3;
    for left in 0..=calls {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.gemw");
        fs::write(&path, &old).expect("written");
        let written = write(&mut Failing { left }, &path, &new);
        assert_eq!(written.is_ok(), left == calls, "{left} calls");
        let found = fs::read(&path).expect("there");
        let expected = if left < calls - 1 { &old } else { &new };
        assert_eq!(&found, expected, "{left} calls");
        // What a process of the same number left is in nobody's way.
        write(&mut Failing { left: 2 * calls }, &path, &new).expect("written");
        assert_eq!(fs::read(&path).expect("there"), new, "{left} calls");
    }
}
