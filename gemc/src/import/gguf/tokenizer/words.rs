//! `bert`: WordPiece. llama.cpp marks the pieces that begin a word, Hugging Face those that do not.

use serde_json::{Map, Value as Json, json};

use super::super::Metadata;
use super::{Around, CONTROL, Vocabulary, file};

const BEGINS: char = '\u{2581}';
const CONTINUES: &str = "##";

/// `tokenizer.json`.
///
/// # Errors
/// With what is missing.
pub fn tokenizer(metadata: &Metadata<'_>, vocabulary: &Vocabulary<'_>) -> Result<Json, String> {
    let pieces = vocabulary.tokens.iter().zip(&vocabulary.kinds);
    let pieces = pieces.map(|(token, kind)| piece(token, *kind));
    let ids: Map<String, Json> = pieces
        .enumerate()
        .map(|(id, piece)| (piece, json!(id)))
        .collect();
    let unknown = vocabulary.token(metadata, "unknown")?;
    let unknown = unknown.ok_or("metadata: `tokenizer.ggml.unknown_token_id` is missing")?;
    let lowercase = metadata.flag("tokenizer.ggml.normalizer.lowercase")?;
    // Older files do not say: a vocabulary without capitals is one of small letters.
    let lowercase = lowercase.unwrap_or_else(|| {
        let mut words = ids.keys().filter(|piece| !is_bracketed(piece));
        !words.any(|piece| piece.contains(|c: char| c.is_ascii_uppercase()))
    });
    let accents = metadata.flag("tokenizer.ggml.normalizer.strip_accents")?;
    let first = match vocabulary.token(metadata, "cls")? {
        None => vocabulary.token(metadata, "bos")?,
        found => found,
    };
    let around = Around {
        first,
        last: vocabulary.token(metadata, "seperator")?,
    };
    let steps = [
        json!({
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": accents, "lowercase": lowercase
        }),
        json!({"type": "BertPreTokenizer"}),
        around.post_processor(vocabulary),
        json!({"type": "WordPiece", "prefix": CONTINUES, "cleanup": true}),
    ];
    let model = json!({
        "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": CONTINUES,
        "max_input_chars_per_word": 100, "vocab": ids
    });
    Ok(file(vocabulary, steps, model))
}

/// A token as Hugging Face writes it.
fn piece(token: &str, kind: i64) -> String {
    match token.strip_prefix(BEGINS) {
        Some(word) if !word.is_empty() => word.to_owned(),
        _ if kind == CONTROL || is_bracketed(token) => token.to_owned(),
        _ => format!("{CONTINUES}{token}"),
    }
}

/// `[unused7]` is in vocabularies, and in no text.
fn is_bracketed(token: &str) -> bool {
    token.len() > 2 && token.starts_with('[') && token.ends_with(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_change_sides() {
        for (token, kind, expected) in [
            ("\u{2581}word", 1, "word"),
            ("ing", 1, "##ing"),
            ("\u{2581}", 1, "##\u{2581}"),
            ("\u{2581}\u{2581}", 1, "\u{2581}"),
            ("[CLS]", 3, "[CLS]"),
            ("[unused7]", 1, "[unused7]"),
            ("\u{2581}[", 1, "["),
            ("]", 1, "##]"),
        ] {
            assert_eq!(piece(token, kind), expected);
        }
    }
}
