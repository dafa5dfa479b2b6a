//! A GGUF file's bytes -> its metadata, and its tensors, each with a byte range that lies in the file and overlaps no other.
//!
//! The format is ggml's `docs/gguf.md`, version 3. Every count, length and offset is compared with what is left of the file
//! before anything is allocated by it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::super::error::shown;
use super::blocks::BlockType;
use super::safetensors::Entry;
use super::stored::StoredType;

const MAGIC: &[u8; 4] = b"GGUF";
const VERSION: u32 = 3;
const MOST_DIMENSIONS: u32 = 4;
const LONGEST_NAME: usize = 4096;
/// Values of lists: a vocabulary of a million tokens has some four million, with scores, kinds and merges.
const MOST_VALUES: usize = 1 << 23;
const ALIGNMENT: &str = "general.alignment";

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number of any width.
    Integer(i128),
    /// A number of 32 or 64 bits.
    Float(f64),
    /// A flag.
    Bool(bool),
    /// UTF-8.
    Text(String),
    /// Values of one type, none of them lists.
    List(Vec<Value>),
}

/// A parsed file.
#[derive(Clone, Debug)]
pub struct Gguf {
    /// By key.
    pub metadata: BTreeMap<String, Value>,
    /// In the order of their bytes; shapes row-major, as PyTorch has them.
    pub tensors: Vec<Entry>,
}

/// Whether a file begins as GGUF files do.
#[must_use]
pub fn is_gguf(file: &[u8]) -> bool {
    file.starts_with(MAGIC)
}

/// Parses and checks a whole file.
///
/// # Errors
/// With one sentence about the first thing that is wrong: after it nothing in the file can be believed.
pub fn parse(file: &[u8]) -> Result<Gguf, String> {
    let mut at = Reader {
        file,
        at: 0,
        values: 0,
    };
    if at.take(4)? != MAGIC {
        return Err("is no GGUF file".to_owned());
    }
    let version = at.u32()?;
    if version != VERSION {
        return Err(format!("has version {version}; allowed: {VERSION}"));
    }
    // A tensor takes 24 bytes at least, an entry of the metadata 13.
    let tensors = at.count("tensors", 24)?;
    let entries = at.count("entries of metadata", 13)?;
    let mut metadata = BTreeMap::new();
    for _ in 0..entries {
        let key = at.text("a key")?;
        let kind = at.u32()?;
        let value = at.value(kind, &key, 0)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(format!("metadata: `{}` appears twice", shown(&key)));
        }
    }
    let infos = (0..tensors)
        .map(|_| at.tensor())
        .collect::<Result<Vec<_>, _>>()?;
    let alignment = alignment(&metadata)?;
    let start = at.at.checked_next_multiple_of(alignment);
    let start = start.filter(|start| *start <= file.len() || infos.is_empty());
    let start = start.ok_or("is truncated: no tensors follow the header")?;
    let tensors = placed(infos, start, alignment, file.len())?;
    Ok(Gguf { metadata, tensors })
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<usize, String> {
    match metadata.get(ALIGNMENT) {
        None => Ok(32),
        Some(Value::Integer(n)) if *n > 0 && *n <= 1 << 20 && *n % 8 == 0 => Ok(*n as usize),
        Some(other) => Err(format!(
            "metadata: `{ALIGNMENT}` is {other:?}; allowed: a multiple of 8 up to 1048576"
        )),
    }
}

/// A tensor as the header tells of it.
struct Info {
    name: String,
    shape: Vec<usize>,
    kind: u32,
    offset: usize,
}

/// Entries in the order of their bytes.
fn placed(
    mut infos: Vec<Info>,
    start: usize,
    alignment: usize,
    length: usize,
) -> Result<Vec<Entry>, String> {
    infos.sort_by_key(|info| info.offset);
    let mut names = HashSet::new();
    let mut entries: Vec<Entry> = Vec::with_capacity(infos.len());
    let mut end = start;
    for info in infos {
        let at = |what: String| Err(format!("tensor `{}` {what}", shown(&info.name)));
        if !names.insert(info.name.clone()) {
            return at("appears twice".to_owned());
        }
        if !info.offset.is_multiple_of(alignment) {
            return at(format!(
                "begins at {}, no multiple of {alignment}",
                info.offset
            ));
        }
        let stored = stored(info.kind);
        let bytes = match byte_range(&info, stored.as_ref().ok(), start, length) {
            Ok(bytes) => bytes,
            Err(what) => return at(what),
        };
        if bytes.start < end {
            return at("overlaps the one before it".to_owned());
        }
        end = bytes.end;
        entries.push(Entry {
            name: info.name,
            stored,
            shape: info.shape,
            bytes,
        });
    }
    Ok(entries)
}

/// Where a tensor's bytes lie; of a type that is not read, only where they begin.
fn byte_range(
    info: &Info,
    stored: Option<&StoredType>,
    start: usize,
    length: usize,
) -> Result<Range<usize>, String> {
    let from = start
        .checked_add(info.offset)
        .filter(|from| *from <= length);
    let from = from.ok_or("begins behind the end of the file (truncated?)")?;
    let Some(stored) = stored else {
        return Ok(from..from);
    };
    let (values, bytes) = stored.block();
    let columns = info.shape.last().copied().unwrap_or(1);
    if !columns.is_multiple_of(values) {
        return Err(format!(
            "has rows of {columns} values; {stored:?} has blocks of {values}"
        ));
    }
    let count = info.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let size = count.and_then(|count| (count / values).checked_mul(bytes));
    let to = size.and_then(|size| from.checked_add(size));
    match to.filter(|to| *to <= length) {
        Some(to) => Ok(from..to),
        None => Err(format!(
            "of shape {:?} ends behind the end of the file (truncated?)",
            info.shape
        )),
    }
}

/// ggml's number of a type -> how elements are stored, or the type's name.
fn stored(kind: u32) -> Result<StoredType, String> {
    const NAMES: &[(u32, &str)] = &[
        (9, "Q8_1"),
        (10, "Q2_K"),
        (11, "Q3_K"),
        (15, "Q8_K"),
        (16, "IQ2_XXS"),
        (17, "IQ2_XS"),
        (18, "IQ3_XXS"),
        (19, "IQ1_S"),
        (20, "IQ4_NL"),
        (21, "IQ3_S"),
        (22, "IQ2_S"),
        (23, "IQ4_XS"),
        (24, "I8"),
        (25, "I16"),
        (26, "I32"),
        (27, "I64"),
        (28, "F64"),
        (29, "IQ1_M"),
        (34, "TQ1_0"),
        (35, "TQ2_0"),
    ];
    Ok(match kind {
        0 => StoredType::F32,
        1 => StoredType::F16,
        2 => StoredType::Block(BlockType::Q4_0),
        3 => StoredType::Block(BlockType::Q4_1),
        6 => StoredType::Block(BlockType::Q5_0),
        7 => StoredType::Block(BlockType::Q5_1),
        8 => StoredType::Block(BlockType::Q8_0),
        12 => StoredType::Block(BlockType::Q4K),
        13 => StoredType::Block(BlockType::Q5K),
        14 => StoredType::Block(BlockType::Q6K),
        30 => StoredType::BF16,
        39 => StoredType::Block(BlockType::Mxfp4),
        other => {
            let named = NAMES.iter().find(|(number, _)| *number == other);
            return Err(named.map_or(format!("number {other}"), |(_, name)| (*name).to_owned()));
        }
    })
}

/// Reads from the front of a file.
struct Reader<'a> {
    file: &'a [u8],
    at: usize,
    /// Values of lists so far, each of which takes more memory than it may in the file.
    values: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.file.len());
        let Some(end) = end else {
            let left = self.file.len() - self.at;
            return Err(format!(
                "is truncated: {count} bytes are needed at byte {}, {left} are left",
                self.at
            ));
        };
        let taken = &self.file[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number of things that take so many bytes each at least.
    fn count(&mut self, what: &str, least: usize) -> Result<usize, String> {
        let count = self.u64()?;
        let left = (self.file.len() - self.at) / least;
        match usize::try_from(count).ok().filter(|n| *n <= left) {
            Some(n) => Ok(n),
            None => Err(format!(
                "tells of {count} {what}, for which the file is too short"
            )),
        }
    }

    fn text(&mut self, what: &str) -> Result<String, String> {
        let length = self.count(&format!("bytes of {what}"), 1)?;
        let bytes = self.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(format!("has {what} that is not UTF-8")),
        }
    }

    fn value(&mut self, kind: u32, key: &str, depth: usize) -> Result<Value, String> {
        const LIST: u32 = 9;
        Ok(match kind {
            0 => Value::Integer(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Integer(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Integer(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Integer(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Integer(self.u32()?.into()),
            5 => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Bool(self.array::<1>()? != [0]),
            8 => Value::Text(self.text(&format!("a value of `{}`", shown(key)))?),
            LIST if depth == 0 => {
                let kind = self.u32()?;
                // Strings take 8 bytes at least, other values one.
                let least = if kind == 8 { 8 } else { 1 };
                let count = self.count(&format!("values of `{}`", shown(key)), least)?;
                self.values = self.values.saturating_add(count);
                if self.values > MOST_VALUES {
                    return Err(format!("has lists of more than {MOST_VALUES} values"));
                }
                let values = (0..count).map(|_| self.value(kind, key, 1));
                Value::List(values.collect::<Result<_, _>>()?)
            }
            LIST => return Err(format!("metadata: `{}` holds lists of lists", shown(key))),
            10 => Value::Integer(self.u64()?.into()),
            11 => Value::Integer(i64::from_le_bytes(self.array()?).into()),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(format!("metadata: `{}` has type {other}", shown(key))),
        })
    }

    fn tensor(&mut self) -> Result<Info, String> {
        let name = self.text("a tensor's name")?;
        if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(format!("has a tensor called `{}`", shown(&name)));
        }
        let dimensions = self.u32()?;
        if dimensions > MOST_DIMENSIONS {
            return Err(format!(
                "tensor `{}` has {dimensions} dimensions",
                shown(&name)
            ));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = usize::try_from(self.u64()?);
            shape.push(size.map_err(|_| format!("tensor `{}` is too large", shown(&name)))?);
        }
        shape.reverse();
        let kind = self.u32()?;
        let offset = usize::try_from(self.u64()?);
        Ok(Info {
            offset: offset.map_err(|_| format!("tensor `{}` begins too far", shown(&name)))?,
            name,
            shape,
            kind,
        })
    }
}
