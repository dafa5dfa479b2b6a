//! Tokenizers and the files beside them: what is read, what is refused.

use gem_runtime::text::{Message, Text, TextFiles, Tokenizer, fuzz_text};
use proptest::prelude::*;
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

fn with_configs(tokens: &Value, generation: &Value) -> gem_runtime::Result<Text> {
    let json = [&script::tokenizer_json(), tokens, generation].map(Value::to_string);
    let files = TextFiles {
        tokenizer: json[0].as_bytes(),
        tokenizer_config: Some(json[1].as_bytes()),
        generation_config: Some(json[2].as_bytes()),
    };
    Text::new(&files, VOCAB)
}

#[test]
fn sampling_defaults_are_the_makers() {
    let generation = json!({
        "do_sample": true, "temperature": 0.7, "top_k": 50, "top_p": 0.9, "min_p": null,
        "repetition_penalty": 1.1, "max_new_tokens": 7, "eos_token_id": 5, "transformers_version": "x",
    });
    let text = with_configs(&script::tokenizer_config(), &generation).expect("sound");
    let sampling = text.sampling();
    assert_eq!((sampling.temperature, sampling.top_k), (0.7, 50));
    assert_eq!((sampling.top_p, sampling.min_p), (0.9, 0.0));
    assert_eq!((sampling.repetition_penalty, sampling.max_tokens), (1.1, 7));
    assert_eq!(text.eos(), [5, END]);
    assert_eq!(
        (text.bos_token(), text.eos_token()),
        (Some("<s>"), Some("<|end|>"))
    );
    let greedy = with_configs(&json!({}), &json!({"temperature": 0.7})).expect("sound");
    assert_eq!(greedy.sampling().temperature, 0.0);
    assert!(greedy.eos().is_empty());
}

#[test]
fn wrong_values_are_named_with_their_file() {
    let refused = |tokens: Value, generation: Value, named: [&str; 2]| {
        let message = with_configs(&tokens, &generation)
            .expect_err("refused")
            .to_string();
        assert!(named.iter().all(|name| message.contains(name)), "{message}");
    };
    let none = || json!({});
    refused(
        none(),
        json!({"eos_token_id": 300}),
        ["generation_config.json", "300"],
    );
    refused(
        none(),
        json!({"eos_token_id": -1}),
        ["generation_config.json", "eos_token_id"],
    );
    refused(none(), json!({"top_k": 1.5}), ["top_k", "whole"]);
    refused(
        none(),
        json!({"do_sample": true, "temperature": -1}),
        ["generation_config.json", "temperature"],
    );
    refused(none(), json!([1]), ["generation_config.json", "map"]);
    refused(
        json!({"bos_token": 3}),
        none(),
        ["tokenizer_config.json", "bos_token"],
    );
    refused(
        json!({"chat_template": "{% for %}"}),
        none(),
        ["chat_template", "line 1"],
    );
    refused(
        json!({"chat_template": [{"name": "x"}]}),
        none(),
        ["chat_template", "default"],
    );
}

#[test]
fn a_folder_is_read_as_far_as_it_goes() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(
        Text::open(dir.path(), VOCAB)
            .expect("nothing there")
            .is_none()
    );
    let write =
        |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("space");
    write("tokenizer.json", &script::tokenizer_json().to_string());
    let text = Text::open(dir.path(), VOCAB)
        .expect("sound")
        .expect("there");
    assert!(text.chat_template().is_none() && text.eos().is_empty());
    write(
        "tokenizer_config.json",
        &script::tokenizer_config().to_string(),
    );
    let text = Text::open(dir.path(), VOCAB)
        .expect("sound")
        .expect("there");
    assert!(text.chat_template().is_some());
    write("generation_config.json", "{");
    assert!(Text::open(dir.path(), VOCAB).is_err());
}

/// The texts of the checkpoints that other crates' tests run; this crate may also stand alone.
#[test]
fn example_checkpoints_can_be_read() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let folders = ["checkpoints", "models"]
        .iter()
        .filter_map(|kind| std::fs::read_dir(examples.join(kind)).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    let (mut found, mut exact) = (0, 0);
    for folder in folders {
        let Ok(config) = std::fs::read(folder.join("config.json")) else {
            continue;
        };
        let config: Value = serde_json::from_slice(&config).expect("JSON");
        let vocab = config["vocab_size"].as_u64().expect("a number") as u32;
        let text = Text::open(&folder, vocab).expect("sound");
        let Some(text) = text else { continue };
        let said = "h\u{e9} \u{1f600} 12";
        let ids = text.tokenizer().encode(said).expect("text");
        assert!(ids.iter().all(|id| *id < vocab));
        // Other tokenizers than byte-level ones may fold case or spaces.
        if text.tokenizer().decode(&ids).expect("ids") == said {
            exact += 1;
        }
        if text.chat_template().is_some() {
            let ids = text
                .encode_chat(&[Message::user(said)])
                .expect("a conversation");
            assert!(text.tokenizer().decode(&ids).expect("ids").contains(said));
        }
        found += 1;
    }
    assert!(exact > 0 || found == 0, "no tokenizer gives the text back");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A tokenizer with a few bytes changed, or cut off: read or refused, never a panic.
    #[test]
    fn damaged_files_do_no_harm(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = script::tokenizer_json().to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        fuzz_text(&bytes);
    }

    #[test]
    fn anything_can_be_a_file(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz_text(&bytes);
    }

    /// What templates are made of, in any order.
    #[test]
    fn anything_can_be_a_template(parts in proptest::collection::vec(
        prop::sample::select(vec!["{{", "}}", "{%", "%}", " for m in messages ", " endfor ", "m.content", "[", "]",
            "'a'", "|tojson(indent=2)", "-", "if ", " endif ", "raise_exception('x')", "messages[0]", ".strip()",
            "range(100000)", " set x = ", "x", "*", "~", "bos_token", " macro f() ", " endmacro ", "f()"]), 0..20)) {
        fuzz_text(parts.concat().as_bytes());
    }
}
