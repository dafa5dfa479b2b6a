//! Head and index of a bundle <-> bytes, and every check that needs no pass over the files.
//!
//! Invariant: nothing is reserved by a number that was read; lists grow as their elements are found.

use std::collections::BTreeSet;
use std::str;

use super::{ALIGN, Fault, HEAD_BYTES, LONGEST_NAME, MAGIC, MOST_INDEX, RECORD_BYTES, VERSION};
use crate::file::Checksum;
use crate::model::WEIGHTS;

/// What the head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub records: u32,
    pub index_bytes: u64,
    pub payload_bytes: u64,
    pub program_bytes: u64,
    pub index_digest: u64,
}

/// A file in the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub model: String,
    pub name: String,
    /// From the payload's start.
    pub offset: u64,
    pub bytes: u64,
    pub digest: u64,
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
    field.map_or(0, |field| u64::from_le_bytes(*field))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
    field.map_or(0, |field| u32::from_le_bytes(*field))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
    field.map_or(0, |field| u16::from_le_bytes(*field))
}

impl Head {
    /// Reads what stands at byte `at` of a program; `None` where no payload begins. The magic alone is not enough: it is a
    /// constant of every program that can read bundles.
    pub fn decode(bytes: &[u8; HEAD_BYTES], at: u64) -> Option<Result<Self, Fault>> {
        let program_bytes = u64_at(bytes, 40);
        let begins = bytes.starts_with(&MAGIC) && payload_at(program_bytes) == Some(at);
        begins.then(|| Self::checked(bytes, program_bytes))
    }

    fn checked(bytes: &[u8; HEAD_BYTES], program_bytes: u64) -> Result<Self, Fault> {
        let (covered, digest) = bytes.split_at(HEAD_BYTES - 8);
        if Checksum::of(covered) != u64_at(digest, 0) {
            return Err(Fault::damaged("their head differs from its checksum"));
        }
        match u32_at(bytes, 16) {
            VERSION => {}
            other => return Err(Fault::Version(other)),
        }
        let head = Self {
            records: u32_at(bytes, 20),
            index_bytes: u64_at(bytes, 24),
            payload_bytes: u64_at(bytes, 32),
            program_bytes,
            index_digest: u64_at(bytes, 48),
        };
        let fits = head.index_bytes <= MOST_INDEX
            && HEAD_BYTES as u64 + head.index_bytes <= head.payload_bytes;
        match fits {
            true => Ok(head),
            false => Err(Fault::damaged("their index is longer than allowed")),
        }
    }

    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..16].copy_from_slice(&MAGIC);
        bytes[16..20].copy_from_slice(&VERSION.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.records.to_le_bytes());
        for (at, field) in [
            (24, self.index_bytes),
            (32, self.payload_bytes),
            (40, self.program_bytes),
            (48, self.index_digest),
        ] {
            bytes[at..at + 8].copy_from_slice(&field.to_le_bytes());
        }
        let digest = Checksum::of(&bytes[..HEAD_BYTES - 8]);
        bytes[HEAD_BYTES - 8..].copy_from_slice(&digest.to_le_bytes());
        bytes
    }
}

/// Where the payload of a program of so many bytes begins.
pub(super) fn payload_at(program_bytes: u64) -> Option<u64> {
    program_bytes.checked_next_multiple_of(ALIGN)
}

/// The index of these files.
pub(super) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        for field in [entry.offset, entry.bytes, entry.digest] {
            bytes.extend(field.to_le_bytes());
        }
        for name in [&entry.model, &entry.name] {
            bytes.extend((name.len() as u16).to_le_bytes());
        }
        bytes.extend([0; 4]);
        bytes.extend(entry.model.as_bytes());
        bytes.extend(entry.name.as_bytes());
    }
    bytes
}

/// Bytes of the index of files with these names.
pub(super) fn index_bytes<'a>(names: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    let record = |(model, name): (&str, &str)| (RECORD_BYTES + model.len() + name.len()) as u64;
    names.map(record).sum()
}

/// Reads an index whose digest was compared.
pub(super) fn decode(head: &Head, mut bytes: &[u8]) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (entry, rest) =
            record(bytes).ok_or_else(|| Fault::damaged("a record of their index is none"))?;
        entries.push(entry);
        bytes = rest;
    }
    if entries.len() as u64 != u64::from(head.records) {
        return Err(Fault::damaged("their index has another number of records"));
    }
    check(head, &entries).map_err(Fault::damaged)?;
    Ok(entries)
}

/// The first record, and what follows it.
fn record(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (fixed, rest) = bytes.split_at_checked(RECORD_BYTES)?;
    let (model, rest) = rest.split_at_checked(usize::from(u16_at(fixed, 24)))?;
    let (name, rest) = rest.split_at_checked(usize::from(u16_at(fixed, 26)))?;
    let text = |bytes| str::from_utf8(bytes).ok().map(str::to_owned);
    let entry = Entry {
        model: text(model)?,
        name: text(name)?,
        offset: u64_at(fixed, 0),
        bytes: u64_at(fixed, 8),
        digest: u64_at(fixed, 16),
    };
    (u32_at(fixed, 28) == 0).then_some((entry, rest))
}

/// Whether files lie in the payload, one behind the other, and each model has its weights.
pub(super) fn check(head: &Head, entries: &[Entry]) -> Result<(), String> {
    let mut begin = HEAD_BYTES as u64 + head.index_bytes;
    let (mut files, mut models) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries {
        let Entry { model, name, .. } = entry;
        if ![model, name].into_iter().all(|name| is_name(name)) {
            return Err(format!(
                "model `{}`, file `{}`: names have 1 to {LONGEST_NAME} bytes and no control characters",
                model.escape_debug(),
                name.escape_debug()
            ));
        }
        if !files.insert((model, name)) {
            return Err(format!("model `{model}` has two files `{name}`"));
        }
        let end = entry.offset.checked_add(entry.bytes);
        let end = end.filter(|end| entry.offset >= begin && *end <= head.payload_bytes);
        begin = end.ok_or_else(|| format!("`{name}` of model `{model}` lies outside its place"))?;
        if name == WEIGHTS {
            models.insert(model);
            if !entry.offset.is_multiple_of(ALIGN) {
                return Err(format!("the weights of model `{model}` are not aligned"));
            }
        }
    }
    match files.iter().find(|(model, _)| !models.contains(model)) {
        Some((model, _)) => Err(format!("model `{model}` has no weights")),
        None if models.is_empty() => Err("there is no model".to_owned()),
        None => Ok(()),
    }
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}
