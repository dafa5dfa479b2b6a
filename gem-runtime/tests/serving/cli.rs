//! The command: its options, what it writes, and how it ends.

use std::ffi::OsString;
use std::io::{self, Write};

use gem_runtime::cli::{Failure, Mode, Options, Parsed, Usage, run};
use gem_runtime::text::{ChatOptions, Message};
use gem_runtime::{Engine, Error, Model as _, Sampling, SessionOptions};
use serde_json::{Value, json};

use crate::script;

fn parse(arguments: &[&str]) -> Result<Parsed, Usage> {
    Options::parse(arguments.iter().map(OsString::from))
}

fn options(arguments: &[&str]) -> Options {
    match parse(arguments).expect("sound") {
        Parsed::Run(options) => *options,
        Parsed::Help => unreachable!("no help was asked for"),
    }
}

fn output(engine: &Engine, arguments: &[&str], input: &[u8]) -> Result<String, Failure> {
    let mut written = Vec::new();
    let arguments = [arguments, &["--threads", "1"]].concat();
    run(engine, &options(&arguments), input, &mut written)?;
    Ok(String::from_utf8(written).expect("UTF-8"))
}

fn json_output(engine: &Engine, arguments: &[&str]) -> Value {
    let text = output(engine, arguments, &[]).expect("sound");
    assert_eq!(text.matches('\n').count(), 1);
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn options_are_read() {
    let options = options(&[
        "--prompt",
        "-x",
        "-n",
        "5",
        "--temp=0.5",
        "--top-k",
        "4",
        "--top-p",
        "0.9",
        "--min-p",
        "0.1",
        "--repeat",
        "1.2",
        "--seed",
        "7",
        "--stop",
        "---",
        "--stop",
        "b",
        "--threads",
        "2",
        "--context",
        "99",
        "--weights",
        "w",
        "--json",
    ]);
    assert_eq!(options.mode, Mode::Prompt("-x".to_owned()));
    let expected = Sampling {
        temperature: 0.5,
        top_k: 4,
        top_p: 0.9,
        min_p: 0.1,
        repetition_penalty: 1.2,
        seed: 7,
        max_tokens: 5,
        stop: vec!["---".to_owned(), "b".to_owned()],
    };
    assert_eq!(options.sampling.over(&Sampling::default()), expected);
    assert_eq!(
        (options.threads, options.context, options.json),
        (Some(2), Some(99), true)
    );
    assert_eq!(options.weights.as_deref(), Some("w".as_ref()));
    let none = self::options(&["--chat"]);
    assert_eq!(none.sampling.over(&expected), expected);
    assert_eq!(parse(&["--chat", "--help"]), Ok(Parsed::Help));
    assert_eq!(self::options(&["--serve"]).mode, Mode::Serve);
}

#[test]
fn wrong_usage_is_told() {
    let refused = |arguments: &[&str], named: &str| {
        let usage = parse(arguments).expect_err("refused");
        assert!(
            usage.message.contains(named) && usage.code == 2,
            "{usage:?}"
        );
    };
    refused(&[], "--prompt");
    refused(&["--chat", "--prompt", "x"], "exactly one");
    refused(&["--prompt"], "--prompt");
    refused(&["--frobnicate"], "--frobnicate");
    refused(&["stray"], "stray");
    refused(&["-x"], "-x");
    refused(&["--chat", "-n", "many"], "-n many");
    refused(&["--chat", "-n", "-1"], "-n -1");
    for (option, allowed, values) in [
        ("-n", "0 to 4294967295", &["-1", "4294967296", "1.5"][..]),
        ("--temp", "0 and above", &["-1", "-inf", "nan", "1e39", ""]),
        ("--top-k", "0 to 4294967295", &["-1", "nan"]),
        ("--top-p", "above 0 up to 1", &["0", "-0.5", "1.1", "nan"]),
        ("--min-p", "0 to 1", &["-0.1", "2", "nan", "inf"]),
        ("--repeat", "above 0", &["0", "-1", "inf", "nan"]),
        (
            "--seed",
            "18446744073709551615",
            &["-1", "18446744073709551616"],
        ),
        (
            "--threads",
            "1 to 1024",
            &["0", "-1", "1025", "18446744073709551616"],
        ),
        ("--context", "1 to 4294967295", &["0", "-1", "x"]),
        ("--stop", "not empty", &[""]),
    ] {
        for value in values {
            refused(&["--prompt", "a", option, value], allowed);
            refused(&["--prompt", "a", option, value], option);
            refused(&["--prompt", "a", option, value], value);
        }
    }
    refused(&["--chat", "--top-k", "1e3"], "--top-k");
    refused(&["--chat=yes"], "chat");
    refused(&["--chat", "--json"], "--json");
    refused(&["--check", "--prompt", "x"], "--check");
    for option in ["--chat-template", "--chat-var", "--tools", "--documents"] {
        refused(&["--prompt", "x", option, "y=z"], option);
    }
    refused(&["--chat", "--chat-var", "y"], "NAME=VALUE");
    refused(&["--chat", "--messages", "y"], "exactly one");
}

#[cfg(unix)]
#[test]
fn arguments_that_are_not_utf8_are_the_inputs_fault() {
    use std::os::unix::ffi::OsStringExt as _;
    let bad = OsString::from_vec(vec![b'a', 0xff]);
    for name in ["--prompt", "--text", "--stop"] {
        let usage = Options::parse([name.into(), bad.clone()]).expect_err("refused");
        assert!(
            usage.code == 1 && usage.message.contains("UTF-8"),
            "{usage:?}"
        );
    }
    // A path may be anything.
    assert!(Options::parse(["--chat".into(), "--weights".into(), bad]).is_ok());
}

#[test]
fn prompts_are_continued() {
    let engine = script::writes(3, "h\u{e9} you");
    assert_eq!(
        output(&engine, &["--prompt", "ab"], &[]).expect("sound"),
        "h\u{e9} you\n"
    );
    let cut = ["--prompt", "ab", "--stop", " y"];
    assert_eq!(output(&engine, &cut, &[]).expect("sound"), "h\u{e9}\n");
    let answer = json_output(&engine, &["--prompt", "ab", "-n", "2", "--json"]);
    assert_eq!(answer["text"], "h");
    assert_eq!(answer["tokens"], json!([104, 0xc3]));
    assert_eq!(answer["finish"], "length");
    assert!(answer["logprobs"][1].as_f64().is_some_and(|p| p < 0.0));
}

#[test]
fn texts_are_classified() {
    let engine = script::classifier();
    let text = output(&engine, &["--text", "abcdefgh"], &[]).expect("sound");
    assert_eq!(text.lines().count(), 3);
    assert!(text.starts_with("0.9") && text.lines().next().is_some_and(|l| l.ends_with("long")));
    let labels = json_output(&engine, &["--text", "abcdefgh", "--json"]);
    assert_eq!(labels["labels"][0]["label"], "long");
}

#[test]
fn conversations_go_line_by_line() {
    // <s><|user|>hi<|end|><|assistant|>
    let engine = script::writes(6, "ok");
    let said = output(&engine, &["--chat", "-n", "3"], b"hi\r\n\nhi\n").expect("sound");
    assert_eq!(said.lines().next(), Some("ok"));
    assert_eq!(said.lines().count(), 2);
    assert_eq!(output(&engine, &["--chat"], b"").expect("sound"), "");
    assert_eq!(output(&engine, &["--chat"], b"hi").expect("sound"), "ok\n");
}

/// What the command writes, and whether it ended as if all was well.
fn talk(engine: &Engine, arguments: &[&str], input: &[u8]) -> (String, bool) {
    let mut written = Vec::new();
    let arguments = [arguments, &["--threads", "1"]].concat();
    let ended = run(engine, &options(&arguments), input, &mut written);
    assert!(matches!(ended, Ok(()) | Err(Failure::Told)), "{ended:?}");
    (String::from_utf8(written).expect("UTF-8"), ended.is_ok())
}

#[test]
fn a_bad_line_does_not_end_a_conversation() {
    let engine = script::writes(6, "ok");
    let long = [&[b'x'; 100][..], b"\n"].concat();
    for bad in [&b"\xff\n"[..], &long] {
        let (said, well) = talk(&engine, &["--chat"], &[bad, b"hi\n"].concat());
        assert_eq!((said.as_str(), well), ("ok\n", false));
    }
    let template = "{{ bos_token }}{% for m in messages %}{% if m.content == 'no' %}\
                    {{ raise_exception('never') }}{% endif %}<|user|>{{ m.content }}<|end|>{% endfor %}<|assistant|>";
    let engine = script::with_template(script::writes(6, "ok"), template);
    let (said, well) = talk(&engine, &["--chat"], b"no\nhi\n");
    assert_eq!((said.as_str(), well), ("ok\n", false));
    assert!(talk(&engine, &["--chat"], b"hi\n").1);
    let endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    let engine = script::with_template(script::writes(6, "ok"), endless);
    assert!(!talk(&engine, &["--chat"], b"hi\n").1);
}

#[test]
fn a_template_that_cannot_be_read_ends_a_conversation_before_it_begins() {
    let engine = script::with_template(script::writes(2, "ok"), "{% if %}");
    match output(&engine, &["--chat"], b"hi\n") {
        Err(Failure::Error(Error::Text(why))) => assert!(why.contains("line 1"), "{why}"),
        other => panic!("unexpected {other:?}"),
    }
    assert_eq!(
        output(&engine, &["--prompt", "a"], &[]).expect("no chat"),
        "ok\n"
    );
    let unknown = output(&engine, &["--chat", "--chat-template", "x"], b"hi\n");
    assert!(
        matches!(unknown, Err(Failure::Error(Error::Text(_)))),
        "{unknown:?}"
    );
}

#[test]
fn conversations_tools_and_documents_are_files() {
    let template = "{% if deep %}{{ raise_exception(messages[0].content[0].text ~ tools[0].name ~ documents | length ~ deep) }}\
                    {% endif %}<s><|user|>{{ messages | length }}<|assistant|>";
    let engine = script::with_template(script::writes(4, "ok"), template);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("space");
        path.to_str().expect("a plain name").to_owned()
    };
    let messages = file(
        "m",
        r#"[{"role": "user", "content": [{"type": "text", "text": "parts "}]}]"#,
    );
    let (tools, documents) = (file("t", r#"[{"name": "clock "}]"#), file("d", "[1, 2]"));
    let answer = |more: &[&str]| {
        let arguments = [
            &[
                "--messages",
                &messages,
                "--tools",
                &tools,
                "--documents",
                &documents,
            ],
            more,
        ]
        .concat();
        output(&engine, &arguments, b"").map_err(|e| format!("{e:?}"))
    };
    assert_eq!(answer(&[]).expect("sound"), "ok\n");
    assert!(
        answer(&["--json"])
            .expect("sound")
            .contains("\"text\":\"ok\"")
    );
    let told = answer(&["--chat-var", "deep= yes"]).expect_err("the template's words");
    assert!(told.contains("parts clock 2 yes"), "{told}");
    let wrong = file("w", "[");
    for arguments in [
        ["--messages", &wrong, "--tools", &tools],
        ["--messages", &messages, "--tools", &wrong],
    ] {
        let told = output(&engine, &arguments, b"").map_err(|e| format!("{e:?}"));
        let told = told.expect_err("no JSON");
        assert!(
            told.contains("is not valid JSON") && told.contains(&wrong),
            "{told}"
        );
    }
    let told = output(&engine, &["--messages", "no such file"], b"");
    assert!(
        matches!(told, Err(Failure::Error(Error::Text(_)))),
        "{told:?}"
    );
}

/// The command gives today's date.
#[test]
fn templates_may_ask_for_the_date() {
    let template = "<s><|user|>{{ strftime_now('%Y')|length }}<|assistant|>";
    let engine = script::with_template(script::writes(4, "ok"), template);
    assert_eq!(
        output(&engine, &["--chat"], b"hi\n").expect("a date"),
        "ok\n"
    );
}

/// 64 tokens hold some turns; the oldest are forgotten, the system's message and the newest are not.
#[test]
fn a_conversation_outgrows_its_context() {
    let engine = script::writes(6, "ok");
    let lines = b"hi\n".repeat(30);
    let (said, well) = talk(&engine, &["--chat", "-n", "3"], &lines);
    assert!(well);
    assert_eq!(said.lines().count(), 30);
    let mut session = engine.session(SessionOptions::default()).expect("small");
    let turn = [Message::user("hi"), Message::assistant("ok")];
    let mut messages = vec![Message::system("s")];
    messages.extend(turn.iter().cycle().take(40).cloned());
    messages.push(Message::user("last"));
    let options = ChatOptions::default();
    let dropped = session
        .fit_chat(&messages, &options, 8)
        .expect("the last turn fits");
    assert!(
        dropped.start == 1 && dropped.end % 2 == 1 && dropped.end > 10,
        "{dropped:?}"
    );
    let fits = |messages: &[Message]| {
        session
            .engine()
            .text()
            .expect("there")
            .encode_chat(messages, &options)
    };
    let mut kept = messages.clone();
    kept.drain(dropped.clone());
    assert_eq!((kept[0].role(), kept[1].role()), ("system", "user"));
    assert_eq!(kept.last(), messages.last());
    let length = fits(&kept).expect("a conversation").len();
    let mut more = messages.clone();
    more.drain(1..dropped.end - 2);
    let longer = fits(&more).expect("a conversation").len();
    assert!(
        length + 7 <= 64 && longer + 7 > 64,
        "as few as will do: {length} {longer}"
    );
    let answer = session.chat(
        &kept,
        Sampling {
            max_tokens: 8,
            ..Sampling::default()
        },
    );
    assert!(answer.into_iter().all(|piece| piece.is_ok()));
    // An answer that is longer than what is left is no reason to drop the last turn.
    assert!(
        session
            .fit_chat(&kept[..2], &options, 999)
            .expect("it fits")
            .is_empty()
    );
    let long = [Message::user("x".repeat(100))];
    let full = session.fit_chat(&long, &options, 1);
    assert!(matches!(full, Err(Error::Context { .. })), "{full:?}");
}

/// What the makers want out of range can be overridden, and is blamed on their file otherwise.
#[test]
fn bad_defaults_can_be_overridden() {
    let files = [
        script::tokenizer_json().to_string(),
        json!({"top_p": 7, "eos_token_id": 258}).to_string(),
    ];
    let text = gem_runtime::text::Text::new(
        &gem_runtime::text::TextFiles {
            tokenizer: files[0].as_bytes(),
            generation_config: Some(files[1].as_bytes()),
            ..Default::default()
        },
        script::VOCAB,
    );
    let engine = script::writes(2, "ok").with_text(Some(text.expect("read")));
    match output(&engine, &["--prompt", "a"], &[]) {
        Err(Failure::Error(Error::Text(why))) => {
            assert!(
                why.contains("generation_config.json") && why.contains("top-p is 7"),
                "{why}"
            );
        }
        other => panic!("unexpected {other:?}"),
    }
    let given = output(&engine, &["--prompt", "a", "--top-p", "0.9"], &[]);
    assert_eq!(given.expect("overridden"), "ok\n");
}

#[test]
fn mistakes_are_errors() {
    let engine = script::writes(2, "x");
    let fails = |arguments: &[&str]| match output(&engine, arguments, &[]) {
        Err(Failure::Error(e)) => e,
        other => panic!("unexpected {other:?}"),
    };
    assert!(matches!(fails(&["--prompt", ""]), Error::Empty));
    assert!(matches!(fails(&["--text", "a"]), Error::Task { .. }));
    assert!(matches!(
        fails(&["--prompt", "a", "--context", "65"]),
        Error::Options(_)
    ));
}

/// Takes so many bytes, then fails.
struct Full(usize, io::ErrorKind);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.min(bytes.len()) {
            0 => Err(self.1.into()),
            n => {
                self.0 -= n;
                Ok(n)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_leaves_is_no_error_and_a_full_disk_is_one() {
    let engine = script::writes(2, "many words");
    let arguments = options(&["--prompt", "a", "--threads", "1"]);
    for bytes in [0, 1, 10] {
        let left = run(
            &engine,
            &arguments,
            &[][..],
            Full(bytes, io::ErrorKind::BrokenPipe),
        );
        assert!(matches!(left, Err(Failure::Unread)));
        let full = run(
            &engine,
            &arguments,
            &[][..],
            Full(bytes, io::ErrorKind::StorageFull),
        );
        assert!(matches!(full, Err(Failure::Output(_))));
    }
}

#[test]
fn pieces_are_flushed_one_by_one() {
    struct Flushes(Vec<u8>, Vec<String>);
    impl Write for Flushes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            let text = String::from_utf8(std::mem::take(&mut self.0)).expect("whole characters");
            self.1.push(text);
            Ok(())
        }
    }
    let engine = script::writes(2, "a\u{e9}b");
    let mut to = Flushes(Vec::new(), Vec::new());
    let arguments = options(&["--prompt", "x", "--threads", "1"]);
    run(&engine, &arguments, &[][..], &mut to).expect("sound");
    assert_eq!(to.1, ["a", "\u{e9}", "b", "\n"]);
}
