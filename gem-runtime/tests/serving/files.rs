//! The files beside a tokenizer: what is read of them, and what is said of those that cannot be used.

use gem_runtime::text::{ChatOptions, Message, Text, TextFiles, fuzz_text};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::script::{self, BOS, END, VOCAB};

/// What the template of this name makes of one message.
fn asked(text: &Text, template: Option<&str>) -> Result<String, String> {
    let options = ChatOptions {
        template: template.map(str::to_owned),
        ..ChatOptions::default()
    };
    let ids = text.encode_chat(&[Message::user("a")], &options);
    ids.map(|ids| text.tokenizer().decode(&ids).expect("ids"))
        .map_err(|e| e.to_string())
}

fn with_configs(tokens: &Value, generation: &Value) -> gem_runtime::Result<Text> {
    let json = [&script::tokenizer_json(), tokens, generation].map(Value::to_string);
    let files = TextFiles {
        tokenizer: json[0].as_bytes(),
        tokenizer_config: Some(json[1].as_bytes()),
        generation_config: Some(json[2].as_bytes()),
        ..TextFiles::default()
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
    refused(none(), json!({"top_k": 1.5}), ["top_k", "whole"]);
    refused(
        none(),
        json!({"top_k": "many"}),
        ["top_k", "found \"many\""],
    );
    refused(
        none(),
        json!({"do_sample": "maybe"}),
        ["do_sample", "true or false"],
    );
    refused(
        none(),
        json!({"stop_strings": [1]}),
        ["stop_strings", "texts"],
    );
    refused(
        none(),
        json!([1]),
        ["generation_config.json", "[1], not an object"],
    );
    refused(
        json!({"bos_token": 3}),
        none(),
        ["tokenizer_config.json", "bos_token"],
    );
    refused(
        json!({"pad_token": []}),
        none(),
        ["tokenizer_config.json", "pad_token"],
    );
}

/// As Hugging Face and Python's JSON have them.
#[test]
fn values_may_be_written_as_python_writes_them() {
    let sampling = |generation: Value| {
        let text = with_configs(&json!({}), &generation).expect("sound");
        (text.sampling().clone(), text.eos().to_vec())
    };
    let (loose, eos) = sampling(json!({
        "do_sample": "true", "top_k": 50.0, "top_p": 0, "max_new_tokens": 7.0, "eos_token_id": [5.0, -1],
        "stop_strings": ["###", ""], "bos_token_id": -1, "suppress_tokens": [1], "bad_words_ids": [[1]],
        "max_length": 20, "temperature": null,
    }));
    assert_eq!(
        (loose.temperature, loose.top_k, loose.max_tokens),
        (1.0, 50, 7)
    );
    assert!(loose.check().is_ok() && loose.top_p > 0.0 && loose.top_p < 1e-30);
    assert_eq!((loose.stop, eos), (vec!["###".to_owned()], vec![5]));
    let (one, _) = sampling(json!({"stop_strings": "END", "do_sample": "False", "temperature": 2}));
    assert_eq!((one.stop, one.temperature), (vec!["END".to_owned()], 0.0));
    // What is out of range is an error where it is used.
    let (wrong, _) = sampling(json!({"top_p": 7, "do_sample": true, "temperature": -1}));
    assert_eq!((wrong.top_p, wrong.temperature), (7.0, -1.0));
    assert!(wrong.check().is_err());
}

/// A template that cannot be used takes away conversations, and nothing else.
#[test]
fn templates_are_read_when_they_are_used() {
    let chat = |template: Value, name: Option<&str>| {
        let settings = json!({"bos_token": "<s>", "chat_template": template});
        let text = with_configs(&settings, &json!({})).expect("the tokenizer is good");
        assert_eq!(text.tokenizer().encode("a").expect("text"), [BOS, 97]);
        asked(&text, name)
    };
    let refused = |template: Value, named: &[&str]| {
        let message = chat(template, None).expect_err("refused");
        assert!(named.iter().all(|name| message.contains(name)), "{message}");
    };
    refused(
        json!("a\n{% for %}"),
        &["tokenizer_config.json: chat_template", "line 2"],
    );
    refused(
        json!(3),
        &["tokenizer_config.json: chat_template", "found 3"],
    );
    refused(
        json!([{"name": "x", "template": "y"}]),
        &["\"default\"", "it has \"x\""],
    );
    refused(json!(null), &["the model has none"]);
    refused(json!([{"name": "default"}]), &["no template"]);
    let list = json!([{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]);
    assert_eq!(chat(list.clone(), None), Ok("d".to_owned()));
    assert_eq!(chat(list.clone(), Some("tool_use")), Ok("t".to_owned()));
    let unknown = chat(list, Some("rag")).expect_err("there is none");
    assert!(
        unknown.contains("\"rag\"") && unknown.contains("\"default\", \"tool_use\""),
        "{unknown}"
    );
    let object = json!({"default": "o", "x": 1});
    assert_eq!(chat(object, None), Ok("o".to_owned()));
    let generation = json!("{% generation %}{{ messages[0].content }}{%- endgeneration -%} b");
    assert_eq!(chat(generation, None), Ok("ab".to_owned()));
}

#[test]
fn templates_of_files_win() {
    let dir = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("space");
    let said = |name: Option<&str>| {
        let text = Text::open(dir.path(), VOCAB)
            .expect("sound")
            .expect("there");
        asked(&text, name)
    };
    write("tokenizer.json", &script::tokenizer_json().to_string());
    write("tokenizer_config.json", r#"{"chat_template": "config"}"#);
    assert_eq!(said(None), Ok("config".to_owned()));
    write("chat_template.json", r#"{"chat_template": "json"}"#);
    assert_eq!(said(None), Ok("json".to_owned()));
    write("chat_template.jinja", "\u{feff}jinja");
    assert_eq!(said(None), Ok("jinja".to_owned()));
    std::fs::create_dir(dir.path().join("additional_chat_templates")).expect("space");
    write("additional_chat_templates/tool_use.jinja", "tools");
    write("additional_chat_templates/notes.txt", "none");
    assert_eq!(said(Some("tool_use")), Ok("tools".to_owned()));
    assert_eq!(said(None), Ok("jinja".to_owned()));
    write("chat_template.jinja", "{% if %}");
    let broken = said(None).expect_err("it cannot be read");
    assert!(
        broken.starts_with("chat_template.jinja: line 1"),
        "{broken}"
    );
    assert_eq!(said(Some("tool_use")), Ok("tools".to_owned()));
    std::fs::write(dir.path().join("chat_template.jinja"), [0xff]).expect("space");
    let broken = said(None).expect_err("no text");
    assert!(broken.contains("not UTF-8"), "{broken}");
}

/// What stands under the name of a file is the file, or told as what it is; nothing is waited for.
#[test]
fn odd_files_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let refused = |named: &str| {
        let message = Text::open(dir.path(), VOCAB)
            .expect_err("refused")
            .to_string();
        assert!(message.contains(named), "{message}");
    };
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    std::fs::write(path("tokenizer.json"), pointer).expect("space");
    refused("git-LFS pointer");
    let good = script::tokenizer_json().to_string();
    std::fs::write(path("tokenizer.json"), format!("\u{feff}{good}")).expect("space");
    assert!(
        Text::open(dir.path(), VOCAB).is_ok(),
        "a byte order mark is skipped"
    );
    std::fs::write(path("tokenizer.json"), good).expect("space");
    for name in ["generation_config.json", "tokenizer_config.json"] {
        std::fs::write(path(name), "\u{feff}{}").expect("space");
        assert!(Text::open(dir.path(), VOCAB).is_ok(), "{name}");
        std::fs::write(path(name), pointer).expect("space");
        refused("git-LFS pointer");
        std::fs::remove_file(path(name)).expect("there");
        std::fs::create_dir(path(name)).expect("space");
        refused("is a folder");
        std::fs::remove_dir(path(name)).expect("there");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("nowhere", path(name)).expect("space");
            refused("is a link to nowhere, which does not exist");
            std::fs::remove_file(path(name)).expect("there");
            let made = std::process::Command::new("mkfifo")
                .arg(path(name))
                .status();
            if made.is_ok_and(|status| status.success()) {
                refused("is a pipe");
                std::fs::remove_file(path(name)).expect("there");
            }
        }
    }
    assert!(Text::open(dir.path(), VOCAB).is_ok());
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
    assert!(text.chat_templates().is_empty() && text.eos().is_empty());
    write(
        "tokenizer_config.json",
        &script::tokenizer_config().to_string(),
    );
    let text = Text::open(dir.path(), VOCAB)
        .expect("sound")
        .expect("there");
    assert!(text.chat_template(None).is_ok());
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
        if text.chat_template(None).is_ok() {
            let ids = text
                .encode_chat(&[Message::user(said)], &ChatOptions::default())
                .expect("a conversation");
            assert!(text.tokenizer().decode(&ids).expect("ids").contains(said));
        }
        found += 1;
    }
    assert!(exact > 0 || found == 0, "no tokenizer gives the text back");
}

/// Of templates with one name the last counts; what a template says of itself cannot write to a terminal or fill it.
#[test]
fn the_last_of_one_name_counts_and_complaints_are_tame() {
    let said = |config: &Value| {
        let files = [script::tokenizer_json().to_string(), config.to_string()];
        let files = TextFiles {
            tokenizer: files[0].as_bytes(),
            tokenizer_config: Some(files[1].as_bytes()),
            ..Default::default()
        };
        let text = Text::new(&files, VOCAB).expect("templates are read when they are used");
        asked(&text, None)
    };
    let named = |template: &str| json!({"name": "default", "template": template});
    let twice = json!({"chat_template": [named("first"), named("second")]});
    assert_eq!(said(&twice), Ok("second".to_owned()));
    let loud = "{{ raise_exception('\\x1b[31m\\nerror: ' ~ 'x' * 100000) }}";
    let complaint = said(&json!({ "chat_template": loud })).expect_err("it refuses");
    assert!(!complaint.chars().any(char::is_control), "{complaint:?}");
    assert!(
        complaint.len() < 1200 && complaint.contains("xxx"),
        "{complaint}"
    );
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
