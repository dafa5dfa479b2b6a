//! Values <-> little-endian bytes, and frames <-> streams.
//!
//! Invariant: [`Take`] never reads past its bytes and never reserves more than they could fill.

use std::io::{ErrorKind, Read, Write};

use super::LONGEST_FRAME;
use crate::error::{Error, Result};

/// An error about what came over the wire.
pub(super) fn broken(what: &str) -> Error {
    Error::Protocol(what.to_owned())
}

/// An error of the stream itself.
pub(super) fn io(source: std::io::Error) -> Error {
    Error::Io {
        path: "stream between gemc and a model's program".to_owned(),
        source,
    }
}

/// Reads one frame's bytes; false at the end of the stream.
pub(super) fn read_frame(from: &mut impl Read, frame: &mut Vec<u8>) -> Result<bool> {
    let mut length = [0; 4];
    let mut have = 0;
    while have < length.len() {
        match from.read(&mut length[have..]) {
            Ok(0) if have == 0 => return Ok(false),
            Ok(0) => return Err(broken("the stream ends inside a frame")),
            Ok(n) => have += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(io(e)),
        }
    }
    let length = u32::from_le_bytes(length);
    if length > LONGEST_FRAME {
        let what = format!("a frame of {length} bytes; allowed are {LONGEST_FRAME}");
        return Err(Error::Protocol(what));
    }
    frame.clear();
    // Grows as bytes arrive, whatever the length claims.
    let read = from
        .take(u64::from(length))
        .read_to_end(frame)
        .map_err(io)?;
    if read as u64 != u64::from(length) {
        return Err(broken("the stream ends inside a frame"));
    }
    Ok(true)
}

/// Writes one frame.
pub(super) fn write_frame(to: &mut impl Write, frame: &[u8]) -> Result<()> {
    let length = u32::try_from(frame.len()).ok();
    let Some(length) = length.filter(|n| *n <= LONGEST_FRAME) else {
        let what = format!(
            "a frame of {} bytes; allowed are {LONGEST_FRAME}",
            frame.len()
        );
        return Err(Error::Protocol(what));
    };
    to.write_all(&length.to_le_bytes()).map_err(io)?;
    to.write_all(frame).map_err(io)
}

/// Appends values to a frame.
#[derive(Debug, Default)]
pub(super) struct Put(pub Vec<u8>);

impl Put {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn f64(&mut self, value: f64) {
        self.u64(value.to_bits());
    }

    /// The length of a list. More than 2^32 elements cannot be in a frame, which is refused for its size then.
    pub(super) fn len(&mut self, len: usize) {
        self.u32(u32::try_from(len).unwrap_or(u32::MAX));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.len(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn optional<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }

    pub(super) fn list<T: Copy>(&mut self, list: &[T], mut put: impl FnMut(&mut Self, T)) {
        self.len(list.len());
        for item in list {
            put(self, *item);
        }
    }

    pub(super) fn floats(&mut self, list: &[f32]) {
        self.0.reserve(list.len() * 4 + 4);
        self.list(list, |put, value| put.u32(value.to_bits()));
    }

    pub(super) fn ints(&mut self, list: &[i32]) {
        self.list(list, |put, value| put.u32(value.cast_unsigned()));
    }

    pub(super) fn words(&mut self, list: &[u32]) {
        self.list(list, Self::u32);
    }
}

/// Takes values from the start of a frame.
#[derive(Debug)]
pub(super) struct Take<'a>(pub &'a [u8]);

impl<'a> Take<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((bytes, rest)) = self.0.split_at_checked(count) else {
            return Err(broken("a frame ends too early"));
        };
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn f64(&mut self) -> Result<f64> {
        self.u64().map(f64::from_bits)
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(broken("a flag is neither 0 nor 1")),
        }
    }

    pub(super) fn text(&mut self) -> Result<String> {
        let length = self.u32()? as usize;
        let text = core::str::from_utf8(self.bytes(length)?);
        Ok(text.map_err(|_| broken("a text is not UTF-8"))?.to_owned())
    }

    pub(super) fn optional<T>(
        &mut self,
        take: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        self.flag()?.then(|| take(self)).transpose()
    }

    /// A list of items that each take at least one byte, so that a count beyond the frame ends at its end.
    pub(super) fn list<T>(
        &mut self,
        mut take: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let count = self.u32()?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(take(self)?);
        }
        Ok(list)
    }

    /// A list of 32-bit elements.
    pub(super) fn quads<T>(&mut self, from: impl Fn([u8; 4]) -> T) -> Result<Vec<T>> {
        let count = self.u32()? as usize;
        let too_long = || broken("a list is longer than its frame");
        let bytes = self.bytes(count.checked_mul(4).ok_or_else(too_long)?)?;
        let (quads, _) = bytes.as_chunks::<4>();
        Ok(quads.iter().map(|quad| from(*quad)).collect())
    }

    pub(super) fn floats(&mut self) -> Result<Vec<f32>> {
        self.quads(f32::from_le_bytes)
    }

    pub(super) fn ints(&mut self) -> Result<Vec<i32>> {
        self.quads(i32::from_le_bytes)
    }

    pub(super) fn words(&mut self) -> Result<Vec<u32>> {
        self.quads(u32::from_le_bytes)
    }

    /// Checks that nothing is left.
    pub(super) fn end(&self) -> Result<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(broken("a frame has bytes after its end"))
        }
    }
}
