//! A program and files of models -> the program with its payload, streamed.

use std::io::{Read, Seek, SeekFrom, Write};

use super::index::{Entry, Head, check, encode, index_bytes, payload_at};
use super::{ALIGN, Fault, HEAD_BYTES, MOST_INDEX};
use crate::error::{Error, Result};
use crate::file::Checksum;
use crate::model::WEIGHTS;

/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;

/// What is written, as it is called in errors.
const OUTPUT: &str = "the bundle";

/// A file for the payload.
pub struct Part<'a> {
    /// The model it belongs to.
    pub model: &'a str,
    /// `model.gemw`, or the name of a file about text, as beside the weights.
    pub name: &'a str,
    /// How long it is.
    pub bytes: u64,
    /// Where it comes from.
    pub content: &'a mut dyn Read,
}

/// Appends models to a program whose bytes stand at the start of `to`, `program_bytes` of them; gives the bytes of the whole
/// file. The same parts give the same bytes.
///
/// # Errors
/// [`Error::Bundle`] with [`Fault::Impossible`] for names or sizes that a bundle cannot have, or a model without weights;
/// [`Error::Io`] when a part cannot be read, is not as long as it said, or `to` does not take it.
pub fn write<W: Write + Seek>(
    program_bytes: u64,
    parts: &mut [Part<'_>],
    mut to: W,
) -> Result<u64> {
    // Texts first: what is small stays together.
    parts.sort_by_key(|part| part.name == WEIGHTS);
    let (payload, mut head, mut entries) = placed(program_bytes, parts)?;
    check(&head, &entries).map_err(refused)?;
    for (part, entry) in parts.iter_mut().zip(&mut entries) {
        let start = SeekFrom::Start(payload + entry.offset);
        to.seek(start).map_err(|e| io(OUTPUT, e))?;
        entry.digest = copy(part, &mut to)?;
    }
    let index = encode(&entries);
    head.index_digest = Checksum::of(&index);
    let mut finish = || {
        to.seek(SeekFrom::Start(payload))?;
        to.write_all(&head.encode())?;
        to.write_all(&index)?;
        to.flush()
    };
    finish().map_err(|e| io(OUTPUT, e))?;
    Ok(payload + head.payload_bytes)
}

/// Where everything will be; digests are not known yet.
fn placed(program_bytes: u64, parts: &[Part<'_>]) -> Result<(u64, Head, Vec<Entry>)> {
    let too_large = || refused("they are too large".to_owned());
    let names = parts.iter().map(|part| (part.model, part.name));
    let index_bytes = index_bytes(names);
    if index_bytes > MOST_INDEX {
        return Err(refused("there are too many files".to_owned()));
    }
    let mut end = HEAD_BYTES as u64 + index_bytes;
    let mut entries = Vec::new();
    for part in parts {
        let offset = match part.name {
            WEIGHTS => end.checked_next_multiple_of(ALIGN).ok_or_else(too_large)?,
            _ => end,
        };
        end = offset.checked_add(part.bytes).ok_or_else(too_large)?;
        entries.push(Entry {
            model: part.model.to_owned(),
            name: part.name.to_owned(),
            offset,
            bytes: part.bytes,
            digest: 0,
        });
    }
    let payload = payload_at(program_bytes)
        .filter(|at| program_bytes > 0 && at.checked_add(end).is_some())
        .ok_or_else(too_large)?;
    let head = Head {
        records: entries.len() as u32,
        index_bytes,
        payload_bytes: end,
        program_bytes,
        index_digest: 0,
    };
    Ok((payload, head, entries))
}

/// Copies a part; its digest.
fn copy(part: &mut Part<'_>, to: &mut impl Write) -> Result<u64> {
    let mut sum = Checksum::default();
    let mut piece = vec![0; PIECE];
    let mut left = part.bytes;
    while left > 0 {
        let piece = &mut piece[..left.min(PIECE as u64) as usize];
        let read = part.content.read_exact(piece);
        read.map_err(|e| io(part.name, e))?;
        to.write_all(piece).map_err(|e| io(OUTPUT, e))?;
        sum.update(piece);
        left -= piece.len() as u64;
    }
    Ok(sum.finish())
}

fn io(path: &str, source: std::io::Error) -> Error {
    let path = path.to_owned();
    Error::Io { path, source }
}

fn refused(what: String) -> Error {
    let program = OUTPUT.to_owned();
    let fault = Fault::Impossible(what);
    Error::Bundle { program, fault }
}
