//! The format: what is written is read, and whatever is cut, flipped or made up is an error that says so.

use std::fs::File;
use std::io::{Cursor, Write as _};

use tempfile::NamedTempFile;

use super::index::{Head, decode, encode};
use super::*;
use crate::error::{Error, Result};
use crate::file::{Checksum, Header, Record, Writer, name_hash};

const PROGRAM: &[u8] = b"\x7fELF and the rest of a program";

fn weight_file(fill: u8) -> Vec<u8> {
    let header = Header {
        plan_hash: [fill; 32],
        body_bytes: 64,
    };
    let record = Record {
        name_hash: name_hash("a"),
        codec: 0,
        layout: 0,
        offset: 0,
        bytes: 64,
    };
    let to = Cursor::new(Vec::new());
    let mut writer = Writer::new(to, header, vec![record]).expect("a record");
    writer.write(0, &[fill; 64]).expect("in order");
    writer.finish().expect("complete").into_inner()
}

/// A program with these files: model, name, contents.
fn bundled(files: &[(&str, &str, &[u8])]) -> Result<Vec<u8>> {
    let mut contents: Vec<&[u8]> = files.iter().map(|(_, _, bytes)| *bytes).collect();
    let parts = files.iter().zip(&mut contents);
    let mut parts: Vec<Part<'_>> = parts
        .map(|((model, name, bytes), content)| Part {
            model,
            name,
            bytes: bytes.len() as u64,
            content,
        })
        .collect();
    let mut to = Cursor::new(PROGRAM.to_vec());
    let bytes = write(PROGRAM.len() as u64, &mut parts, &mut to)?;
    let file = to.into_inner();
    assert_eq!(file.len() as u64, bytes);
    Ok(file)
}

fn two() -> Vec<u8> {
    let (a, b) = (weight_file(1), weight_file(2));
    bundled(&[
        ("chat", "model.gemw", &a),
        ("chat", "tokenizer.json", b"{}"),
        ("mood", "model.gemw", &b),
        ("mood", "additional_chat_templates/x.jinja", b"x"),
        ("mood", "tokenizer.json", b""),
    ])
    .expect("sound")
}

fn on_disk(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a folder");
    file.write_all(bytes).expect("space");
    file
}

fn fault(bytes: &[u8]) -> Fault {
    match Bundle::open(on_disk(bytes).path()) {
        Err(Error::Bundle { fault, .. }) => fault,
        other => panic!("expected a fault, got {other:?}"),
    }
}

#[test]
fn what_was_bundled_is_found_by_name() {
    let whole = two();
    assert!(whole.starts_with(PROGRAM));
    let file = on_disk(&whole);
    let bundle = Bundle::open(file.path()).expect("sound");
    assert_eq!(bundle.models().collect::<Vec<_>>(), ["chat", "mood"]);
    assert_eq!(bundle.program_bytes(), PROGRAM.len() as u64);
    assert_eq!(bundle.payload(), ALIGN);
    bundle.verify().expect("undamaged");
    for (model, fill) in [("chat", 1), ("mood", 2)] {
        let weights = bundle.weights(model).expect("there");
        assert_eq!(weights.body(), [fill; 64]);
        assert_eq!(weights.warning(), None);
        assert!(weights.file().is_some_and(|file| file.contains(model)));
        weights.verify().expect("undamaged");
    }
    let texts = bundle.texts("mood").expect("there");
    let names: Vec<_> = texts.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        names,
        ["additional_chat_templates/x.jinja", "tokenizer.json"]
    );
    assert_eq!(bundle.texts("chat").expect("there")[0].1, b"{}");
    // Several models are told apart by name; a single one needs none.
    assert_eq!(bundle.model("mood").expect("there"), "mood");
    let error = bundle.model("other").expect_err("none").to_string();
    assert!(
        error.contains("no model `other`") && error.contains("chat, mood"),
        "{error}"
    );
    let single = bundled(&[("chat", "model.gemw", &weight_file(1))]).expect("sound");
    let single = Bundle::open(on_disk(&single).path()).expect("sound");
    assert_eq!(single.model("other").expect("the only one"), "chat");
    assert!(single.texts("chat").expect("there").is_empty());
    assert!(matches!(
        single.weights("other"),
        Err(Error::Bundle {
            fault: Fault::Model { .. },
            ..
        })
    ));
}

#[test]
fn the_same_parts_give_the_same_bytes_and_nothing_behind_them_matters() {
    let whole = two();
    assert!(whole == two());
    assert!(is_bundle(&whole) && is_bundle(&whole[..ALIGN as usize + HEAD_BYTES]));
    assert!(!is_bundle(PROGRAM) && !is_bundle(&[]));
    let signed = [&whole[..], &[0x30; 5000]].concat();
    let bundle = Bundle::open(on_disk(&signed).path()).expect("as before");
    bundle.verify().expect("undamaged");
}

#[test]
fn every_truncation_is_told() {
    let whole = two();
    let file = on_disk(&whole);
    let cut = |length: u64| {
        let copy = on_disk(&whole);
        copy.as_file().set_len(length).expect("ours");
        match Bundle::open(copy.path()) {
            Err(Error::Bundle { fault, .. }) => fault,
            other => panic!("cut to {length}: {other:?}"),
        }
    };
    drop(file);
    let head = ALIGN + HEAD_BYTES as u64;
    let length = whole.len() as u64;
    // Byte by byte where the structure is and at the end, in larger steps over the padding.
    let structure = (0..length).filter(|n| (ALIGN - 2..head + 400).contains(n) || n + 80 > length);
    for n in structure.chain((0..length).step_by(8191)) {
        match cut(n) {
            Fault::Absent => assert!(n < head, "cut to {n}"),
            Fault::Truncated { needed, found } => {
                assert_eq!((needed, found), (length - ALIGN, n - ALIGN));
            }
            other => panic!("cut to {n}: {other:?}"),
        }
    }
}

#[test]
fn every_flipped_bit_of_head_and_index_is_told() {
    let whole = two();
    let head = head_of(&whole);
    let begin = ALIGN as usize;
    for at in begin..begin + HEAD_BYTES + head.index_bytes as usize {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            let fault = fault(&damaged);
            // Magic and place are how it is found; a program of another length below 64 KiB has the same place.
            let found = at - begin >= 16 && !(42..48).contains(&(at - begin));
            assert_eq!(matches!(fault, Fault::Damaged(_)), found, "{at}: {fault:?}");
            assert_eq!(matches!(fault, Fault::Absent), !found, "{at}: {fault:?}");
        }
    }
    // Of the files: by the digests.
    let tokenizer = begin + HEAD_BYTES + head.index_bytes as usize;
    for at in [tokenizer, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        let bundle = Bundle::open(on_disk(&damaged).path()).expect("opened without a look at it");
        let error = bundle.verify().expect_err("damaged").to_string();
        assert!(error.contains("differs from its checksum"), "{error}");
        assert_eq!(bundle.texts("chat").is_err(), at == tokenizer);
    }
}

fn head_of(whole: &[u8]) -> Head {
    let bytes = whole[ALIGN as usize..].first_chunk().expect("a head");
    Head::decode(bytes, ALIGN).expect("found").expect("sound")
}

/// With its digests made right, a head or an index says whatever it likes: no panic, no memory by its numbers.
#[test]
fn made_up_heads_and_indices_are_judged_by_what_they_say() {
    let whole = two();
    let head = head_of(&whole);
    let begin = ALIGN as usize + HEAD_BYTES;
    let index = &whole[begin..begin + head.index_bytes as usize];
    let sound = decode(&head, index).expect("sound");
    assert_eq!(encode(&sound), index);
    let mut still_sound = 0;
    for at in 0..index.len() {
        for bit in 0..8 {
            let mut other = index.to_vec();
            other[at] ^= 1 << bit;
            // Digests are free; names and, within the room that is left, sizes and offsets of texts.
            still_sound += usize::from(decode(&head, &other).is_ok());
        }
        let _ = decode(&head, &index[..at]).expect_err("cut");
    }
    assert!(still_sound < index.len() * 8 / 2);
    let with = |change: &dyn Fn(&mut Head)| {
        let mut head = head;
        change(&mut head);
        let mut other = whole.clone();
        other[ALIGN as usize..begin].copy_from_slice(&head.encode());
        fault(&other)
    };
    let damaged = |fault: Fault| assert!(matches!(fault, Fault::Damaged(_)), "{fault:?}");
    damaged(with(&|head| head.index_bytes = u64::MAX));
    damaged(with(&|head| head.index_bytes = MOST_INDEX + 1));
    damaged(with(&|head| head.index_bytes -= 1));
    damaged(with(&|head| head.records = u32::MAX));
    damaged(with(&|head| head.payload_bytes = 0));
    let huge = with(&|head| head.payload_bytes = u64::MAX);
    assert!(
        matches!(
            huge,
            Fault::Truncated {
                needed: u64::MAX,
                ..
            }
        ),
        "{huge:?}"
    );
    let mut newer = head.encode();
    newer[16] = 9;
    let digest = Checksum::of(&newer[..HEAD_BYTES - 8]);
    newer[HEAD_BYTES - 8..].copy_from_slice(&digest.to_le_bytes());
    let mut other = whole;
    other[ALIGN as usize..begin].copy_from_slice(&newer);
    assert!(matches!(fault(&other), Fault::Version(9)));
}

#[test]
fn the_magic_alone_makes_no_payload() {
    // As a constant of a program may lie.
    let mut program = vec![0; 3 * ALIGN as usize];
    program[ALIGN as usize..][..16].copy_from_slice(&MAGIC);
    assert!(matches!(fault(&program), Fault::Absent));
    let words = fault(&program).to_string();
    assert!(words.contains("strip, `gemc bundle`, sign"), "{words}");
}

#[test]
fn what_cannot_be_bundled_is_refused_before_anything_is_written() {
    let weights = weight_file(1);
    let refused = |files: &[(&str, &str, &[u8])], words: &str| {
        let error = bundled(files).expect_err("refused").to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(&[], "no model");
    refused(&[("a", "tokenizer.json", b"{}")], "has no weights");
    refused(&[("", "model.gemw", &weights)], "names have");
    refused(&[("a\n", "model.gemw", &weights)], "names have");
    refused(&[(&"a".repeat(256), "model.gemw", &weights)], "names have");
    let twice: (&str, &str, &[u8]) = ("a", "model.gemw", &weights);
    refused(&[twice, twice], "two files");
    // A part that is shorter than it says.
    let mut content = &weights[..10];
    let mut parts = [Part {
        model: "a",
        name: "model.gemw",
        bytes: weights.len() as u64,
        content: &mut content,
    }];
    let error = write(1, &mut parts, Cursor::new(Vec::new())).expect_err("short");
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn what_is_no_readable_file_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(matches!(
        Bundle::open(folder.path()),
        Err(Error::Bundle {
            fault: Fault::Unreadable(_),
            ..
        })
    ));
    assert!(matches!(
        Bundle::open(&folder.path().join("none")),
        Err(Error::Bundle {
            fault: Fault::Unreadable(_),
            ..
        })
    ));
    // The program of this test has none.
    assert!(matches!(
        Bundle::of_this_program(),
        Err(Error::Bundle {
            fault: Fault::Absent,
            ..
        })
    ));
    File::create(folder.path().join("empty")).expect("space");
    let empty = Bundle::open(&folder.path().join("empty"));
    assert!(matches!(
        empty,
        Err(Error::Bundle {
            fault: Fault::Absent,
            ..
        })
    ));
}
