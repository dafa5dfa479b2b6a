//! One safetensors file's bytes -> its tensors, each with a byte range that lies in the file and overlaps no other.
//!
//! The `safetensors` crate has the last word; the checks before it exist to say which tensor is at fault and why.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::super::error::{printable, shown};
use super::super::json;
use super::stored::StoredType;

/// Length of the little-endian header length.
const PREFIX: usize = 8;
/// The limit of the format's own library.
const LONGEST_HEADER: usize = 100_000_000;
const LONGEST_NAME: usize = 4096;
const MOST_DIMENSIONS: usize = 8;

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Path of the tensor in the checkpoint, such as `model.embed_tokens.weight`.
    pub name: String,
    /// How elements are stored, or the name of a type that is not read.
    pub stored: Result<StoredType, String>,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Where its bytes lie, from the start of the file.
    pub bytes: Range<usize>,
}

/// Parses and checks the header of a whole file; entries come in the order of their bytes.
///
/// # Errors
/// With one sentence about the first thing that is wrong: after it nothing in the file can be believed.
pub fn parse(file: &[u8]) -> Result<Vec<Entry>, String> {
    let (header, start) = header_bytes(file)?;
    let mut raw: RawHeader = json::parse(header).map_err(|e| format!("header {e}"))?;
    raw.tensors.sort_by_key(|(_, t)| t.data_offsets);
    check_names(&raw.tensors)?;
    check_ranges(&raw.tensors, file.len() - start)?;
    let entries = raw
        .tensors
        .iter()
        .map(|(name, t)| Entry {
            name: name.clone(),
            stored: StoredType::of(t.dtype).ok_or_else(|| format!("{:?}", t.dtype)),
            shape: t.shape.clone(),
            bytes: start + t.data_offsets.0..start + t.data_offsets.1,
        })
        .collect();
    Metadata::new(None, raw.tensors)
        .map_err(|e| format!("header: {}", printable(&e.to_string())))?;
    Ok(entries)
}

/// The JSON text and where the data starts.
fn header_bytes(file: &[u8]) -> Result<(&[u8], usize), String> {
    let Some((prefix, rest)) = file.split_first_chunk::<PREFIX>() else {
        let n = file.len();
        return Err(format!(
            "is truncated: {n} bytes, too few for a header length"
        ));
    };
    let length = u64::from_le_bytes(*prefix);
    let here = usize::try_from(length)
        .ok()
        .filter(|&n| n <= LONGEST_HEADER);
    let Some(n) = here else {
        return Err(format!(
            "is oversized, or not a safetensors file: the header says it is {length} bytes long; allowed: at most {LONGEST_HEADER}"
        ));
    };
    match rest.get(..n) {
        Some(header) => Ok((header, PREFIX + n)),
        None => Err(format!(
            "is truncated: the header is {n} bytes long, but only {} follow its length",
            rest.len()
        )),
    }
}

fn check_names(tensors: &[(String, TensorInfo)]) -> Result<(), String> {
    let mut seen = HashMap::with_capacity(tensors.len());
    for (name, info) in tensors {
        if name.is_empty() || name.len() > LONGEST_NAME {
            let n = name.len();
            return Err(format!(
                "header: a tensor's name is {n} bytes long; allowed: 1 to {LONGEST_NAME}"
            ));
        }
        if name.chars().any(char::is_control) {
            return Err(format!(
                "header: the name of tensor `{}` holds control characters",
                shown(name)
            ));
        }
        if info.shape.len() > MOST_DIMENSIONS {
            return Err(format!(
                "header: tensor `{}` has {} dimensions; allowed: at most {MOST_DIMENSIONS}",
                shown(name),
                info.shape.len()
            ));
        }
        if seen.insert(name.as_str(), ()).is_some() {
            return Err(format!("header: tensor `{}` appears twice", shown(name)));
        }
    }
    Ok(())
}

/// Tensors, sorted by offset, must fill the data exactly.
fn check_ranges(tensors: &[(String, TensorInfo)], data: usize) -> Result<(), String> {
    let mut end = 0;
    let mut before = "the header";
    for (name, info) in tensors {
        let (from, to) = info.data_offsets;
        let at = |what: String| Err(format!("header: tensor `{}` {what}", shown(name)));
        if to < from {
            return at(format!("has reversed offsets [{from}, {to}]"));
        }
        if to > data {
            return at(format!(
                "ends at byte {to}, out of the file's {data} bytes of data (truncated?)"
            ));
        }
        if from < end {
            return at(format!("overlaps tensor `{}`", shown(before)));
        }
        if from > end {
            return at(format!("leaves a hole of {} bytes before it", from - end));
        }
        let size = byte_size(info);
        if size != Some(to - from) {
            let size = size.map_or("more than 2^63".to_owned(), |s| s.to_string());
            return at(format!(
                "of shape {:?} and type {:?} needs {size} bytes, but its offsets span {}",
                info.shape,
                info.dtype,
                to - from
            ));
        }
        end = to;
        before = name;
    }
    if end != data {
        let surplus = data - end;
        return Err(format!(
            "is oversized: {surplus} bytes after the last tensor"
        ));
    }
    Ok(())
}

fn byte_size(info: &TensorInfo) -> Option<usize> {
    let elements = info
        .shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))?;
    let bits = elements.checked_mul(info.dtype.bitsize())?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// The header as written, duplicates included.
struct RawHeader {
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut tensors = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<de::IgnoredAny>()?;
                    } else {
                        tensors.push((name, map.next_value::<TensorInfo>()?));
                    }
                }
                Ok(RawHeader { tensors })
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    fn tensor(name: &str, shape: &str, from: u64, to: u64) -> String {
        format!(
            "\"{name}\":{{\"dtype\":\"BF16\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}"
        )
    }

    #[test]
    fn a_good_header_gives_ranges_in_the_file() {
        let header = format!(
            "{{{},{}}}",
            tensor("b", "[2]", 8, 12),
            tensor("a", "[2,2]", 0, 8)
        );
        let bytes = file(&header, 12);
        let entries = parse(&bytes).expect("good");
        let start = 8 + header.len();
        assert_eq!(entries[0].name, "a");
        assert_eq!(entries[0].bytes, start..start + 8);
        assert_eq!(entries[1].bytes, start + 8..bytes.len());
    }

    #[test]
    fn bad_headers_name_the_fault() {
        let one = |t: &str| format!("{{{t}}}");
        let two = |a: &str, b: &str| format!("{{{a},{b}}}");
        let a = tensor("a", "[4]", 0, 8);
        let cases: Vec<(Vec<u8>, &str)> = vec![
            (vec![], "truncated: 0 bytes"),
            (vec![1, 2, 3], "truncated: 3 bytes"),
            (u64::MAX.to_le_bytes().to_vec(), "oversized"),
            ((1u64 << 60).to_le_bytes().to_vec(), "oversized"),
            (
                1000u64.to_le_bytes().to_vec(),
                "truncated: the header is 1000",
            ),
            (file("{", 0), "not valid JSON"),
            (file("[]", 0), "not valid JSON"),
            (file(&"[".repeat(5000), 0), "not valid JSON"),
            (
                file(&format!("{{\"__metadata__\":{}", "[".repeat(5000)), 0),
                "not valid JSON",
            ),
            (file(&one(&a), 7), "`a` ends at byte 8, out of the file's 7"),
            (file(&one(&a), 9), "oversized: 1 bytes after"),
            (
                file(&one(&tensor("a", "[4]", 8, 0)), 8),
                "reversed offsets [8, 0]",
            ),
            (
                file(&two(&a, &tensor("b", "[4]", 4, 12)), 12),
                "`b` overlaps tensor `a`",
            ),
            (
                file(&two(&a, &tensor("b", "[4]", 10, 18)), 18),
                "hole of 2 bytes",
            ),
            (
                file(&two(&a, &tensor("a", "[4]", 8, 16)), 16),
                "`a` appears twice",
            ),
            (file(&one(&tensor("a", "[5]", 0, 8)), 8), "needs 10 bytes"),
            (
                file(&one(&tensor("a", "[4294967296,4294967296]", 0, 8)), 8),
                "more than 2^63",
            ),
            (
                file(&one(&tensor("a", "[1,1,1,1,1,1,1,1,4]", 0, 8)), 8),
                "9 dimensions",
            ),
            (
                file(&one(&tensor("a\\u0007b", "[4]", 0, 8)), 8),
                "`a\\u{7}b` holds control",
            ),
            (file(&one(&tensor("", "[4]", 0, 8)), 8), "0 bytes long"),
            (file(&one(&a.replace("BF16", "Q4_0")), 8), "Q4_0"),
            (file(&one(&a.replace("[4]", "[-4]")), 8), "not valid JSON"),
        ];
        for (bytes, words) in cases {
            let message = parse(&bytes).expect_err(words);
            assert!(message.contains(words), "{words}: {message}");
            assert!(!message.chars().any(char::is_control), "{message}");
        }
    }
}
