//! Streaming detokenisers: whole characters only, and in the end everything.

use gem_runtime::text::{Detokenizer, Tokenizer};
use proptest::prelude::*;
use serde_json::json;

use crate::script::{self, BOS, END, VOCAB};

fn byte_level() -> Tokenizer {
    Tokenizer::new(script::tokenizer_json().to_string().as_bytes(), VOCAB).expect("own file")
}

/// A tokenizer in the manner of SentencePiece: `▁` for spaces, `<0x..>` for bytes.
fn sentence_piece() -> Tokenizer {
    let mut vocab: serde_json::Map<String, serde_json::Value> = (0..256)
        .map(|b| (format!("<0x{b:02X}>"), b.into()))
        .collect();
    for (id, token) in (256..).zip(["\u{2581}Hello", "\u{2581}world", "!", "\u{fffd}"]) {
        vocab.insert(token.to_owned(), id.into());
    }
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "vocab": vocab, "merges": [], "byte_fallback": true},
    });
    Tokenizer::new(json.to_string().as_bytes(), VOCAB).expect("own file")
}

fn pieces(tokenizer: &Tokenizer, before: &[u32], ids: &[u32]) -> Vec<String> {
    let mut stream = Detokenizer::new(tokenizer, before);
    ids.iter()
        .map(|id| stream.push(*id).expect("ids"))
        .collect()
}

#[test]
fn characters_come_out_whole() {
    let tokenizer = byte_level();
    let stream = |bytes: &[u32]| pieces(&tokenizer, &[], bytes);
    assert_eq!(stream(&[97, 0xc3, 0xa9]), ["a", "", "\u{e9}"]);
    assert_eq!(stream(&[0xf0, 0x9f, 0x98, 0x80]), ["", "", "", "\u{1f600}"]);
    // Token 261 ends one character and begins the next.
    assert_eq!(stream(&[0xc3, 261, 0xa9]), ["", "\u{e9}", "\u{e9}"]);
    // What can no longer become a character is shown as such, once that is certain.
    assert_eq!(stream(&[0xc3, 97]), ["", "\u{fffd}a"]);
    assert_eq!(stream(&[0xff; 5]).concat(), "\u{fffd}\u{fffd}");
    assert_eq!(
        stream(&[0xff, 0xff, 0xff, 0xff, 97]).concat(),
        "\u{fffd}\u{fffd}\u{fffd}\u{fffd}a"
    );
    // A replacement character that is meant.
    assert_eq!(stream(&[0xef, 0xbf, 0xbd, 97]).concat(), "\u{fffd}a");
}

#[test]
fn special_and_unknown_tokens_have_no_text() {
    let tokenizer = byte_level();
    assert_eq!(
        pieces(&tokenizer, &[], &[BOS, 97, END, 299, 98]),
        ["", "a", "", "", "b"]
    );
    assert_eq!(
        pieces(&tokenizer, &[], &[0xc3, END, 0xa9]).concat(),
        "\u{e9}"
    );
}

/// Tokens that no text shows do not make the next word the first one.
#[test]
fn what_shows_nothing_is_passed_over() {
    let json = r#"{"version":"1.0","model":{"type":"WordLevel","vocab":{"?":0,"red":1,"fox":2,"<s>":3},"unk_token":"?"},
        "pre_tokenizer":{"type":"Whitespace"},
        "added_tokens":[{"id":3,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}]}"#;
    let tokenizer = Tokenizer::new(json.as_bytes(), 4).expect("sound");
    for hidden in [1, 7, 8, 9, 30] {
        let ids: Vec<u32> = [1].into_iter().chain(vec![3; hidden]).chain([2]).collect();
        assert_eq!(
            pieces(&tokenizer, &[], &ids).concat(),
            "red fox",
            "{hidden}"
        );
    }
}

#[test]
fn spaces_depend_on_what_is_before() {
    let tokenizer = sentence_piece();
    assert_eq!(
        pieces(&tokenizer, &[], &[256, 257, 258]),
        ["Hello", " world", "!"]
    );
    // The one space that a text loses at its beginning is the first token's.
    assert_eq!(
        pieces(&tokenizer, &[], &[0x20, 256, 257]),
        ["", " Hello", " world"]
    );
    assert_eq!(
        pieces(&tokenizer, &[256], &[257, 257]),
        [" world", " world"]
    );
    // A window of the text before that begins inside a character.
    let before: Vec<u32> = [0xe2, 0x82, 0xac].into_iter().cycle().take(20).collect();
    assert_eq!(
        pieces(&tokenizer, &before, &[0xac, 258])
            .concat()
            .chars()
            .last(),
        Some('!')
    );
}

#[test]
fn byte_tokens_that_spoil_what_came_before_change_nothing_given_out() {
    let tokenizer = sentence_piece();
    let stream = |ids: &[u32]| pieces(&tokenizer, &[], ids);
    assert_eq!(stream(&[0xe2, 0x82, 0xac]), ["", "", "\u{20ac}"]);
    // Read as a whole, these bytes are four errors; the first three are out already.
    assert_eq!(
        stream(&[0xe2, 0x82, 0xac, 0xff, 258]),
        ["", "", "\u{20ac}", "", "\u{fffd}!"]
    );
}

proptest! {
    /// The pieces, joined, are the text of all tokens, but for what may still become a character.
    #[test]
    fn pieces_make_the_whole(
        before in proptest::collection::vec(0_u32..128, 0..12),
        ids in proptest::collection::vec(prop_oneof![0_u32..128, 128_u32..262, Just(0xc3), Just(0xa9)], 0..40),
    ) {
        let tokenizer = byte_level();
        let whole = tokenizer.decode(&ids).expect("ids");
        let given = pieces(&tokenizer, &before, &ids).concat();
        prop_assert!(whole.starts_with(&given));
        let rest = &whole[given.len()..];
        prop_assert!(rest.chars().all(|c| c == '\u{fffd}') && rest.chars().count() <= 3, "{:?}", rest);
    }

    /// Text that is valid comes out at the token that completes each character.
    #[test]
    fn valid_text_is_never_late(text in "\\PC{0,20}") {
        let tokenizer = byte_level();
        let mut stream = Detokenizer::new(&tokenizer, &[]);
        for c in text.chars().filter(|c| *c != '\u{fffd}') {
            let mut bytes = [0; 4];
            let mut given = String::new();
            for byte in c.encode_utf8(&mut bytes).bytes() {
                prop_assert!(given.is_empty());
                given = stream.push(u32::from(byte)).expect("ids");
            }
            prop_assert_eq!(given, c.to_string());
        }
    }

    /// Any tokens of a tokenizer with byte tokens: no error, and only whole characters that were meant.
    #[test]
    fn byte_tokens_never_fail(ids in proptest::collection::vec(prop_oneof![0_u32..260, 0xe0_u32..0xf5], 0..40)) {
        let tokenizer = sentence_piece();
        let _ = pieces(&tokenizer, &[], &ids);
    }
}
