//! `llama`, `gemma4` and `t5`: SentencePiece's pieces, in which `▁` is a space.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::super::Metadata;
use super::{Around, Vocabulary, bpe, file, merges};

const SPACE: &str = "\u{2581}";

/// BPE whose merges follow from the scores of what they make.
///
/// # Errors
/// With what is missing.
pub fn by_scores(metadata: &Metadata<'_>, vocabulary: &Vocabulary<'_>) -> Result<Json, String> {
    let merges = merges_of(vocabulary, &scores(metadata, vocabulary)?);
    pieces(metadata, vocabulary, &merges, true)
}

/// BPE with a list of merges, as newer Gemmas have it.
///
/// # Errors
/// With what is missing.
pub fn by_list(metadata: &Metadata<'_>, vocabulary: &Vocabulary<'_>) -> Result<Json, String> {
    pieces(metadata, vocabulary, &merges(metadata)?, false)
}

fn pieces(
    metadata: &Metadata<'_>,
    vocabulary: &Vocabulary<'_>,
    merges: &[[&str; 2]],
    prefix: bool,
) -> Result<Json, String> {
    let prefix = metadata
        .flag("tokenizer.ggml.add_space_prefix")?
        .unwrap_or(prefix);
    let mut normalizers = Vec::new();
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        normalizers.push(json!({"type": "Prepend", "prepend": SPACE}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    normalizers.push(json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE}));
    let steps = [
        json!({"type": "Sequence", "normalizers": normalizers}),
        Json::Null,
        Around::of(metadata, vocabulary, [true, false])?.post_processor(vocabulary),
        json!({"type": "Sequence", "decoders": decoders}),
    ];
    let unknown = vocabulary.token(metadata, "unknown")?;
    let fill = json!({"unk_token": unknown, "fuse_unk": true, "byte_fallback": true});
    let model = bpe(vocabulary.ids(), merges, fill);
    Ok(file(vocabulary, steps, model))
}

/// The most probable pieces.
///
/// # Errors
/// With what is missing.
pub fn unigram(metadata: &Metadata<'_>, vocabulary: &Vocabulary<'_>) -> Result<Json, String> {
    let scores = scores(metadata, vocabulary)?;
    let vocab: Vec<(&str, f64)> = vocabulary.tokens.iter().copied().zip(scores).collect();
    let unknown = metadata.count("tokenizer.ggml.unknown_token_id")?;
    let flag = |name: &str, default: bool| {
        let found = metadata.flag(&format!("tokenizer.ggml.{name}"))?;
        Ok::<_, String>(found.unwrap_or(default))
    };
    let scheme = match flag("add_space_prefix", true)? {
        true => "always",
        false => "never",
    };
    let spaces = json!({
        "type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": true
    });
    let pre_tokenizer = match flag("remove_extra_whitespaces", false)? {
        true => json!({
            "type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, spaces]
        }),
        false => spaces.clone(),
    };
    let steps = [
        charsmap(metadata)?,
        pre_tokenizer,
        Around::of(metadata, vocabulary, [false, true])?.post_processor(vocabulary),
        spaces,
    ];
    let model =
        json!({"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": false});
    Ok(file(vocabulary, steps, model))
}

/// The table by which SentencePiece normalises.
fn charsmap(metadata: &Metadata<'_>) -> Result<Json, String> {
    let Some(table) = metadata.integers("tokenizer.ggml.precompiled_charsmap")? else {
        return Ok(Json::Null);
    };
    // Signed bytes or unsigned ones.
    let byte = |n: &i64| u8::try_from(*n).or_else(|_| i8::try_from(*n).map(|n| n as u8));
    let bytes: Result<Vec<u8>, _> = table.iter().map(byte).collect();
    match bytes {
        Ok(bytes) => Ok(json!({"type": "Precompiled", "precompiled_charsmap": base64(&bytes)})),
        Err(_) => Err(
            "metadata: `tokenizer.ggml.precompiled_charsmap` has a number that is no byte"
                .to_owned(),
        ),
    }
}

/// RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let six = bits >> (18 - 6 * digit) & 63;
            let padded = digit > three.len();
            text.push(if padded {
                '='
            } else {
                DIGITS[six as usize].into()
            });
        }
    }
    text
}

fn scores(metadata: &Metadata<'_>, vocabulary: &Vocabulary<'_>) -> Result<Vec<f64>, String> {
    let scores = metadata.numbers("tokenizer.ggml.scores")?;
    let scores = scores.filter(|scores| scores.len() == vocabulary.tokens.len());
    scores
        .ok_or_else(|| "metadata: `tokenizer.ggml.scores` has no number for each token".to_owned())
}

/// Every pair of tokens that makes a token: by that one's score, then by the ids of the two.
fn merges_of<'a>(vocabulary: &Vocabulary<'a>, scores: &[f64]) -> Vec<[&'a str; 2]> {
    let ids: HashMap<&str, usize> = vocabulary
        .tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (*token, id))
        .collect();
    let mut found: Vec<(f64, usize, [&str; 2], [usize; 2])> = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        for (at, _) in token.char_indices().skip(1) {
            let (a, b) = token.split_at(at);
            if let (Some(&left), Some(&right)) = (ids.get(a), ids.get(b)) {
                found.push((scores[id], id, [a, b], [left, right]));
            }
        }
    }
    found.sort_by(|x, y| {
        let of_one = || x.1.cmp(&y.1).then(x.3.cmp(&y.3));
        y.0.total_cmp(&x.0).then_with(of_one)
    });
    found.into_iter().map(|(_, _, pair, _)| pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_its_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }
}
