//! Round trip, every kind of damage, and a short fuzz of the parser.

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
        target: "portable".to_owned(),
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
    assert_eq!((file.target(), file.plan_hash()), ("portable", &[7; 32]));
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
fn damage_is_found_and_named() {
    let good = sample();
    assert!(complaint(&good[..50]).contains("fewer than a header"));
    assert!(complaint(&good[..good.len() - 1]).contains("where its header says"));
    let with = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        bad
    };
    assert!(complaint(&with(0, b'X')).contains("GEMW"));
    assert!(complaint(&with(4, 9)).contains("version 9"));
    assert!(complaint(&with(17, 1)).contains("no multiple"));
    assert!(complaint(&with(40, 1)).contains("checksum"));
    assert!(complaint(&with(130, 1)).contains("checksum"));
    assert!(complaint(&with(11, 0xff)).contains("record table"));
    let bad = with(good.len() - 70, 0xa5);
    let file = WeightFile::parse(&bad).expect("the header is intact");
    assert!(matches!(file.verify_body(), Err(Error::WeightFile(_))));
}

#[test]
fn a_writer_refuses_disorder() {
    let header = || Header {
        target: "portable".to_owned(),
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
}
