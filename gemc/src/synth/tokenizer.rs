//! A vocabulary size -> `tokenizer.json` of a byte-level BPE without merges: 256 bytes, an end of text, fillers.

use std::io::{self, Write};

use serde_json::{Value, json};

/// Ids that bytes need.
pub const BYTES: usize = 256;
const END: &str = "<|endoftext|>";

/// The printable stand-in of each byte, as GPT-2's encoder assigns them: printable Latin-1 stands for itself, the rest
/// follows from U+0100.
fn stand_ins() -> Vec<char> {
    let itself = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut spare = (0x100u32..).filter_map(char::from_u32);
    (0..=255u8)
        .map(|b| match itself(b) {
            true => char::from(b),
            false => spare.next().unwrap_or(char::REPLACEMENT_CHARACTER),
        })
        .collect()
}

/// Writes the file, entry by entry.
///
/// # Errors
/// When the writer fails.
pub fn write(w: &mut dyn Write, vocab_size: usize) -> io::Result<()> {
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
    });
    let added: Vec<Value> = (vocab_size > BYTES)
        .then(|| {
            json!({
                "id": BYTES, "content": END, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true
            })
        })
        .into_iter()
        .collect();
    write!(
        w,
        "{{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":{},\"normalizer\":null,\
         \"pre_tokenizer\":{byte_level},\"post_processor\":null,\"decoder\":{byte_level},\
         \"model\":{{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,\
         \"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,\"vocab\":{{",
        Value::Array(added)
    )?;
    for (id, c) in stand_ins().into_iter().enumerate() {
        let comma = if id == 0 { "" } else { "," };
        write!(w, "{comma}{}:{id}", Value::from(c.to_string()))?;
    }
    if vocab_size > BYTES {
        write!(w, ",{}:{BYTES}", Value::from(END))?;
    }
    for id in BYTES + 1..vocab_size {
        write!(w, ",\"<|filler_{id}|>\":{id}")?;
    }
    w.write_all(b"},\"merges\":[]}}\n")
}

/// `tokenizer_config.json`.
pub fn settings(vocab_size: usize) -> Value {
    let end = (vocab_size > BYTES).then_some(END);
    json!({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::highest_id;

    #[test]
    fn the_vocabulary_is_filled_exactly() {
        for size in [256, 257, 258, 4096] {
            let mut text = Vec::new();
            write(&mut text, size).expect("a vector takes everything");
            let (id, _) = highest_id(&text).expect("valid").expect("tokens");
            assert_eq!(id as usize, size - 1);
        }
        let mut distinct = stand_ins();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 256);
        assert_eq!(stand_ins()[32], 'Ġ');
    }
}
