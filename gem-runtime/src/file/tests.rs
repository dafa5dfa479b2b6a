//! Round trip, every kind of damage to header and body, and a short fuzz of both.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::error::Error;

const NAMES: [&str; 3] = ["embed", "layers.0.q", "norm"];
const SIZES: [u64; 3] = [100, LARGE_RECORD, 1];

fn sample() -> Vec<u8> {
    let (offsets, body_bytes) = place(&SIZES).expect("small");
    let records: Vec<Record> = (0..3)
        .map(|i| Record {
            name_hash: name_hash(NAMES[i]),
            codec: i as u8,
            layout: 1,
            offset: offsets[i],
            bytes: SIZES[i],
        })
        .collect();
    let header = Header {
        plan_hash: [7; 32],
        body_bytes,
    };
    let mut writer = Writer::new(Cursor::new(Vec::new()), header, records).expect("valid");
    for (i, size) in SIZES.iter().enumerate() {
        let bytes: Vec<u8> = (0..*size)
            .map(|b| (b as u8).wrapping_add(i as u8))
            .collect();
        let (first, second) = bytes.split_at(bytes.len() / 3);
        writer.write(i, first).expect("in order");
        writer.write(i, second).expect("in order");
    }
    writer.finish().expect("complete").into_inner()
}

fn complaint(bytes: &[u8]) -> String {
    match WeightFile::parse(bytes) {
        Err(Error::WeightFile(what)) => what,
        other => panic!("expected an error, got {other:?}"),
    }
}

#[test]
fn what_is_written_is_read_back() {
    let bytes = sample();
    let file = WeightFile::parse(&bytes).expect("own file");
    assert_eq!(file.plan_hash(), &[7; 32]);
    assert_eq!(file.layout(), layout_digest(file.records()));
    file.verify_body().expect("intact");
    assert_eq!(file.body_range().start as u64 % BODY_ALIGN, 0);
    for (i, name) in NAMES.iter().enumerate() {
        let record = file.find(name).expect("written");
        assert_eq!(record.codec, i as u8);
        assert_eq!(record.offset % record_align(record.bytes), 0);
        let held = file.record_bytes(&record).expect("in the body");
        assert_eq!(held.len() as u64, SIZES[i]);
        assert_eq!(held[0], i as u8);
    }
    assert!(file.find("absent").is_none());
}

#[test]
fn damage_of_the_header_is_found_and_named() {
    let good = sample();
    assert!(complaint(&[]).contains("has 0 bytes, fewer than a header"));
    assert!(complaint(&good[..50]).contains("fewer than a header"));
    assert!(complaint(&good[..good.len() - 1]).contains("where its header says"));
    let with = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        bad
    };
    assert!(complaint(&with(0, b'X')).contains("GEMW"));
    assert!(complaint(&with(17, 1)).contains("not a multiple"));
    assert!(complaint(&with(40, 1)).contains("checksum"));
    assert!(complaint(&with(130, 1)).contains("checksum"));
    assert!(complaint(&with(BODY_ALIGN as usize - 1, 1)).contains("checksum"));
    assert!(complaint(&with(11, 0xff)).contains("record table"));
    // The last count that would overlap the digest, and the first that would not.
    let most = (BODY_ALIGN as usize - FIXED_BYTES - HEAD_DIGEST_BYTES) / RECORD_BYTES;
    let counted = |count: usize| {
        let mut bad = good.clone();
        bad[8..12].copy_from_slice(&(count as u32).to_le_bytes());
        complaint(&bad)
    };
    assert!(counted(most + 1).contains("record table"));
    assert!(counted(most).contains("checksum"));
}

#[test]
fn another_version_is_told_with_both_numbers_and_what_to_do() {
    for version in [0_u8, 1, 2, 9] {
        let mut other = sample();
        other[4] = version;
        let what = complaint(&other);
        for words in [
            &*format!("version {version},"),
            "version 3",
            "build both again",
        ] {
            assert!(what.contains(words), "{what}");
        }
    }
}

#[test]
fn a_layout_is_what_records_say_but_their_contents() {
    let good = sample();
    let file = WeightFile::parse(&good).expect("own file");
    let records: Vec<Record> = file.records().collect();
    type Change = fn(&mut Vec<Record>);
    let of = |change: Change| {
        let mut changed = records.clone();
        change(&mut changed);
        layout_digest(changed)
    };
    assert_eq!(of(|_| ()), file.layout());
    let others: [Change; 7] = [
        |r| r[0].name_hash ^= 1,
        |r| r[0].codec ^= 1,
        |r| r[2].layout ^= 1,
        |r| r[1].offset += LARGE_RECORD_ALIGN,
        |r| r[2].bytes += 1,
        |r| r.swap(0, 2),
        |r| r.truncate(2),
    ];
    for other in others {
        assert_ne!(of(other), file.layout());
    }
    // A header that contradicts its records, with a digest of its own.
    let mut bad = good;
    bad[at::LAYOUT] ^= 1;
    let covered = BODY_ALIGN as usize - HEAD_DIGEST_BYTES;
    let digest = Checksum::of(&bad[..covered]).to_le_bytes();
    bad[covered..BODY_ALIGN as usize].copy_from_slice(&digest);
    assert!(complaint(&bad).contains("a layout that does not match its records"));
}

/// What is damaged in a file whose header is intact.
fn damage(bytes: &[u8]) -> Vec<Damage> {
    WeightFile::parse(bytes).expect("an intact header").damage()
}

#[test]
fn damage_of_the_body_is_found_wherever_it_is_and_named() {
    let good = sample();
    let (body, large) = (BODY_ALIGN as usize, LARGE_RECORD_ALIGN as usize);
    assert_eq!(damage(&good), []);
    // First and last bytes of records and of what lies between them.
    let end = body + large + SIZES[1] as usize;
    let places = [
        (body, Some(0)),
        (body + 99, Some(0)),
        (body + 100, None),
        (body + large - 1, None),
        (body + large, Some(1)),
        (end - 1, Some(1)),
        (end, Some(2)),
        (end + 1, None),
        (good.len() - 1, None),
    ];
    for (at, record) in places {
        for bit in [0, 7] {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            let found = damage(&bad);
            assert_eq!(found.len(), 1, "byte {at}");
            assert_eq!(found[0].record.map(|(i, _)| i), record, "byte {at}");
            assert!(found[0].range.contains(&(at as u64)), "byte {at}");
        }
    }
    let mut bad = good;
    bad[body + 7] ^= 1;
    bad[end] ^= 1;
    let file = WeightFile::parse(&bad).expect("an intact header");
    let Err(Error::WeightFile(what)) = file.verify_body() else {
        panic!("two records are damaged");
    };
    let first = format!(
        "is damaged: record 0 (name hash {:016x})",
        name_hash(NAMES[0])
    );
    let place = format!("at bytes {body} to {} of the file, and 1 more", body + 100);
    assert!(what.starts_with(&first) && what.contains(&place), "{what}");
}

/// A product of words moves differences upwards only, so that those of two top bits could cancel each other.
#[test]
fn the_same_bit_of_several_words_is_found() {
    let good = sample();
    let start = BODY_ALIGN as usize;
    for bit in 0..8 {
        for distance in [8, 16, 32, 64] {
            let mut bad = good.clone();
            for at in [start + 7, start + 7 + distance] {
                bad[at] ^= 1 << bit;
            }
            assert_eq!(damage(&bad).len(), 1, "bit {bit}, {distance} bytes apart");
            let mut bad = good.clone();
            for at in [39, 39 + distance] {
                bad[at] ^= 1 << bit;
            }
            assert!(WeightFile::parse(&bad).is_err(), "bit {bit} of the header");
        }
    }
}

#[test]
fn lost_and_exchanged_pages_are_found() {
    let good = sample();
    let page = BODY_ALIGN as usize + LARGE_RECORD_ALIGN as usize..;
    let mut zeroed = good.clone();
    zeroed[page.clone()][..4096].fill(0);
    assert_eq!(damage(&zeroed).len(), 1);
    let mut exchanged = good;
    // The record counts its bytes in a cycle of 256, so that only unequal pages can be told apart.
    exchanged[page.clone()][..4096].rotate_left(1);
    let (first, second) = exchanged[page].split_at_mut(4096);
    first.swap_with_slice(&mut second[..4096]);
    assert_eq!(damage(&exchanged).len(), 1);
}

#[test]
fn records_without_bytes_are_records() {
    let header = Header {
        plan_hash: [7; 32],
        body_bytes: 64,
    };
    let records = ["a", "b", "c", "d"].map(|name| Record {
        name_hash: name_hash(name),
        codec: 0,
        layout: 0,
        offset: 0,
        bytes: if name == "c" { 8 } else { 0 },
    });
    let mut records = records.to_vec();
    records[3].offset = 64;
    let mut writer = Writer::new(Cursor::new(Vec::new()), header, records).expect("valid");
    writer.write(2, &[1; 8]).expect("the others are complete");
    let bytes = writer.finish().expect("complete").into_inner();
    assert_eq!(damage(&bytes), []);
    let file = WeightFile::parse(&bytes).expect("own file");
    let [empty, full] = [&[][..], &[1; 8]].map(|bytes| Some(Checksum::of(bytes)));
    let digests: Vec<_> = (0..5).map(|i| file.digest(i)).collect();
    assert_eq!(digests, [empty, empty, full, empty, None]);
}

#[test]
fn a_writer_refuses_disorder() {
    let header = || Header {
        plan_hash: [0; 32],
        body_bytes: 192,
    };
    let record = |name: &str, offset, bytes| Record {
        name_hash: name_hash(name),
        codec: 0,
        layout: 0,
        offset,
        bytes,
    };
    let start = |records| Writer::new(Cursor::new(Vec::new()), header(), records);
    assert!(start(vec![record("a", 1, 8)]).is_err(), "unaligned");
    assert!(start(vec![record("a", 128, 65)]).is_err(), "past the end");
    assert!(
        start(vec![record("a", 0, 8), record("a", 64, 8)]).is_err(),
        "names"
    );
    assert!(
        start(vec![record("a", 0, 65), record("b", 64, 8)]).is_err(),
        "overlap"
    );
    let two = || start(vec![record("a", 0, 8), record("b", 64, 8)]).expect("valid");
    assert!(two().write(1, &[0; 8]).is_err(), "the first is missing");
    assert!(two().write(0, &[0; 9]).is_err(), "too long");
    assert!(two().write(2, &[0; 9]).is_err(), "no such record");
    assert!(two().finish().is_err(), "incomplete");
}

/// Values of the reference implementation.
#[test]
fn checksums_are_xxh64() {
    for (text, sum) in [
        ("", 0xef46_db37_51d8_e999_u64),
        ("a", 0xd24e_c4f1_a98c_6e5b),
        ("abc", 0x44bc_2cf5_ad77_0999),
    ] {
        assert_eq!(Checksum::of(text.as_bytes()), sum, "{text:?}");
    }
}

#[test]
fn checksums_do_not_depend_on_the_pieces() {
    let bytes: Vec<u8> = (0..100_u8).collect();
    for cut in 0..bytes.len() {
        let mut sum = Checksum::default();
        sum.update(&bytes[..cut]);
        sum.update(&bytes[cut..]);
        assert_eq!(sum.finish(), Checksum::of(&bytes), "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn no_header_makes_the_parser_panic(
        changes in prop::collection::vec((0_usize..256, any::<u8>()), 0..8),
        length in 0_usize..40_000,
        patch in any::<bool>(),
    ) {
        let mut bytes = sample();
        bytes.truncate(length);
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        if patch && bytes.len() >= 32 {
            let length = bytes.len() as u64;
            bytes[16..24].copy_from_slice(&BODY_ALIGN.to_le_bytes());
            bytes[24..32].copy_from_slice(&length.wrapping_sub(BODY_ALIGN).to_le_bytes());
        }
        fuzz_weight_file(&bytes);
    }

    #[test]
    fn no_change_goes_unnoticed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
    ) {
        let mut bytes = sample();
        let length = bytes.len();
        let mut changed = std::collections::BTreeSet::new();
        for (at, bits) in changes {
            let at = at.index(length);
            if changed.insert(at) {
                bytes[at] ^= bits;
            }
        }
        let sound = WeightFile::parse(&bytes).and_then(|file| file.verify_body());
        prop_assert!(sound.is_err(), "{changed:?}");
    }
}
