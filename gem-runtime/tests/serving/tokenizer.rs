//! Tokenizers: what they make of texts, and which files of theirs are refused.

use gem_runtime::text::Tokenizer;
use serde_json::{Value, json};

use crate::script::{self, BOS, END, VOCAB};

fn tokenizer() -> Tokenizer {
    Tokenizer::new(script::tokenizer_json().to_string().as_bytes(), VOCAB).expect("own file")
}

fn refusal(json: &Value, vocab: u32) -> String {
    Tokenizer::new(json.to_string().as_bytes(), vocab)
        .expect_err("refused")
        .to_string()
}

#[test]
fn text_becomes_ids_with_and_without_what_belongs_around_it() {
    let tokenizer = tokenizer();
    assert_eq!(tokenizer.encode("ab").expect("text"), [BOS, 97, 98]);
    assert_eq!(tokenizer.encode_plain("ab").expect("text"), [97, 98]);
    assert!(tokenizer.encode_plain("").expect("text").is_empty());
    assert_eq!(tokenizer.encode_plain("a<|end|>").expect("text"), [97, END]);
    assert_eq!(tokenizer.id("<|end|>"), Some(END));
    assert_eq!(tokenizer.token(END).as_deref(), Some("<|end|>"));
    // The file asks for truncation to 3 and padding to 20.
    assert_eq!(tokenizer.encode("abcdef").expect("text").len(), 7);
}

#[test]
fn any_text_comes_back() {
    let tokenizer = tokenizer();
    for text in [
        "",
        "caf\u{e9} \u{1f600}\u{200d}",
        "\0\u{7f}\r\n\t ",
        "\u{fffd}\u{feff}e\u{301}",
    ] {
        let ids = tokenizer.encode(text).expect("text");
        assert_eq!(tokenizer.decode(&ids).expect("ids"), text);
    }
    assert_eq!(tokenizer.decode(&[97, 299, 98]).expect("ids"), "ab");
}

#[test]
fn texts_are_cut_on_the_right_inside_what_belongs_around_them() {
    let mut json = script::tokenizer_json();
    json["post_processor"]["single"] = json!([
        {"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "<s>", "type_id": 0}},
    ]);
    let tokenizer = Tokenizer::new(json.to_string().as_bytes(), VOCAB).expect("sound");
    let cut = |limit| tokenizer.encode_cut("abcd", limit);
    assert_eq!(cut(9).expect("room"), [BOS, 97, 98, 99, 100, BOS]);
    assert_eq!(cut(6).expect("room"), [BOS, 97, 98, 99, 100, BOS]);
    assert_eq!(cut(5).expect("room"), [BOS, 97, 98, 99, BOS]);
    assert_eq!(cut(2).expect("room"), [BOS, BOS]);
    let message = cut(1).expect_err("no room").to_string();
    assert!(
        message.contains("2 tokens") && message.contains("limit is 1"),
        "{message}"
    );
}

#[test]
fn ids_outside_the_vocabulary_are_named() {
    let json = script::tokenizer_json();
    assert!(Tokenizer::new(json.to_string().as_bytes(), 262).is_ok());
    let message = refusal(&json, 261);
    assert!(
        message.contains("id 261") && message.contains("below 261"),
        "{message}"
    );
    let message = refusal(&json, 257);
    assert!(message.contains("tokenizer.json"), "{message}");
    let mut template = json;
    template["post_processor"]["special_tokens"]["<s>"]["ids"] = json!([4000]);
    let message = refusal(&template, VOCAB);
    assert!(message.contains("id 4000"), "{message}");
}

#[test]
fn what_is_no_tokenizer_is_refused() {
    for json in [
        json!({}),
        json!([]),
        json!({"version": "1.0", "model": {"type": "BPE"}}),
    ] {
        let message = refusal(&json, VOCAB);
        assert!(message.starts_with("tokenizer.json: "), "{message}");
    }
    let whole = script::tokenizer_json().to_string();
    assert!(Tokenizer::new(&whole.as_bytes()[..whole.len() / 2], VOCAB).is_err());
    assert!(Tokenizer::new("[".repeat(100_000).as_bytes(), VOCAB).is_err());
    assert!(Tokenizer::new(&[0xff], VOCAB).is_err());
}

#[test]
fn what_the_library_panics_at_is_refused() {
    let mut json = script::tokenizer_json();
    json["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"});
    refusal(&json, VOCAB);
    json["normalizer"] = json!({"type": "Replace", "pattern": {"Regex": "("}, "content": ""});
    refusal(&json, VOCAB);
}

/// Steps that multiply a text, one after the other.
#[test]
fn texts_do_not_grow_without_bound() {
    let replace =
        |from: Value, to: &str| json!({"type": "Replace", "pattern": from, "content": to});
    let refused = |change: &dyn Fn(&mut Value), text: &str, named: &str| {
        let mut json = script::tokenizer_json();
        change(&mut json);
        let tokenizer = Tokenizer::new(json.to_string().as_bytes(), VOCAB);
        let message = tokenizer
            .and_then(|tokenizer| {
                let ids = tokenizer.encode_plain(text)?;
                Ok(tokenizer.decode(&ids)?.len())
            })
            .expect_err("too much")
            .to_string();
        assert!(
            message.contains("tokenizer.json") && message.contains(named),
            "{message}"
        );
    };
    let tens = |kind: &str, n: usize| {
        let step = replace(json!({"String": "a"}), &"a".repeat(10));
        json!({"type": "Sequence", kind: vec![step; n]})
    };
    refused(
        &|json| json["normalizer"] = tens("normalizers", 9),
        "a",
        "normalisers",
    );
    let nested = json!({"type": "Sequence", "normalizers": vec![tens("normalizers", 2); 5]});
    refused(
        &|json| json["normalizer"] = nested.clone(),
        "a",
        "normalisers",
    );
    // A piece of its own between any two special tokens.
    let pieces = "a<|end|>".repeat(9);
    refused(
        &|json| json["normalizer"] = tens("normalizers", 5),
        &pieces.repeat(20),
        "normalisers",
    );
    let long = "a".repeat(1 << 20);
    let single = replace(json!({"Regex": "[b]"}), &long);
    refused(
        &|json| json["normalizer"] = single.clone(),
        &"b".repeat(9),
        "normalisers",
    );
    let bytes = json!({"type": "Sequence", "normalizers": vec![json!({"type": "ByteLevel"}); 40]});
    refused(
        &|json| json["normalizer"] = bytes.clone(),
        " ",
        "normalisers",
    );
    refused(
        &|json| json["decoder"] = tens("decoders", 9),
        "a",
        "decoders",
    );
    let level = script::tokenizer_json()["pre_tokenizer"].clone();
    let levels = json!({"type": "Sequence", "pretokenizers": vec![level; 40]});
    refused(
        &|json| json["pre_tokenizer"] = levels.clone(),
        "a",
        "rewrite a text 40 times",
    );
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let many = |json: &mut Value| json["post_processor"]["single"] = json!(vec![text.clone(); 9]);
    refused(&many, "a", "repeats a text 9 times");
    // What real tokenizers do is no growth: a space of three bytes, a text of spaces, a long text.
    let mut json = script::tokenizer_json();
    json["normalizer"] = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u{2581}"}, replace(json!({"String": " "}), "\u{2581}"), {"type": "NFKC"},
    ]});
    let tokenizer = Tokenizer::new(json.to_string().as_bytes(), VOCAB).expect("sound");
    assert!(tokenizer.encode_plain(&" ".repeat(300_000)).is_ok());
    assert!(tokenizer.encode_plain("\u{fdfa}").is_ok());
}
