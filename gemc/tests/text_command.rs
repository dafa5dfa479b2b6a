//! The command and the text files of a checkpoint: templates, tokenizers and sampling defaults that are odd, hostile, or
//! not where they used to be.
#![cfg(unix)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/checkpoints/lm-dense-pre-rope"
);

/// A copy of a checkpoint, and a cache of its own.
struct Checkpoint {
    root: TempDir,
}

impl Checkpoint {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let copy = root.path().join("model");
        fs::create_dir(&copy).expect("space");
        for item in fs::read_dir(CHECKPOINT).expect("the repository has it") {
            let from = item.expect("listed").path();
            fs::copy(&from, copy.join(from.file_name().expect("a name"))).expect("space");
        }
        Self { root }
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("model")
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("space");
        fs::write(path, text).expect("space");
    }

    fn json(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let path = self.path().join(name);
        let mut value = serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
        change(&mut value);
        fs::write(path, value.to_string()).expect("space");
    }

    fn template(&self, text: &str) {
        self.json("tokenizer_config.json", |config| {
            config["chat_template"] = json!(text)
        });
    }

    /// Runs the command in three gigabytes of address space; the checkpoint comes after the verb.
    fn gemc(&self, verb: &str, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new("sh")
            .args([
                "-c",
                "ulimit -v 3000000; exec \"$@\"",
                "sh",
                env!("CARGO_BIN_EXE_gemc"),
                verb,
            ])
            .arg(self.path())
            .args(arguments)
            .env("GEMC_CACHE", self.root.path().join("cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut to = child.stdin.take().expect("piped");
        // Who fails before it reads is told by its exit code.
        let _ = to.write_all(input.as_bytes());
        drop(to);
        child.wait_with_output().expect("an end")
    }

    fn runs(&self, arguments: &[&str], input: &str) -> String {
        let output = self.gemc("run", arguments, input);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn fails(&self, arguments: &[&str], input: &str, named: &[&str]) {
        let output = self.gemc("run", arguments, input);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(named.iter().all(|name| told.contains(name)), "{told}");
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const CHAT: &[&str] = &["--chat", "-n", "2", "--threads", "1"];
const PROMPT: &[&str] = &["--prompt", "x", "-n", "2", "--threads", "1"];

#[test]
fn a_template_that_cannot_be_read_takes_only_conversations() {
    let checkpoint = Checkpoint::new();
    checkpoint.template("a\n{% frobnicate %}");
    checkpoint.runs(PROMPT, "");
    let named = ["tokenizer_config.json", "line 2", "frobnicate"];
    checkpoint.fails(CHAT, "hi\n", &named);
    let inspected = checkpoint.gemc("inspect", &[], "");
    assert!(inspected.status.success(), "{}", told(&inspected));
    let text = String::from_utf8_lossy(&inspected.stdout).into_owned();
    assert!(text.contains("chat template no"), "{text}");
    assert!(named.iter().all(|name| text.contains(name)), "{text}");
    // What Hugging Face takes for nothing is nothing.
    checkpoint.template(
        "{% for m in messages %}{%- generation -%}{{ m.content }}{% endgeneration %}{% endfor %}",
    );
    checkpoint.runs(CHAT, "hi\n");
    checkpoint.template("{{ strftime_now('%d %b %Y') }}{{ messages[0].content }}");
    checkpoint.runs(CHAT, "hi\n");
}

#[test]
fn templates_with_names_can_be_chosen() {
    let checkpoint = Checkpoint::new();
    let named = |name: &str, text: &str| json!({"name": name, "template": text});
    let list = json!([
        named("tool_use", "{{ messages[0].content }}"),
        named("rag", "{{ raise_exception('no') }}")
    ]);
    checkpoint.json("tokenizer_config.json", |config| {
        config["chat_template"] = list
    });
    checkpoint.runs(PROMPT, "");
    checkpoint.fails(CHAT, "hi\n", &["\"default\"", "\"tool_use\", \"rag\""]);
    let choose = |name| [CHAT, &["--chat-template", name]].concat();
    checkpoint.runs(&choose("tool_use"), "hi\n");
    checkpoint.fails(&choose("rag"), "hi\n", &["rag", "no"]);
    checkpoint.write("chat_template.jinja", "{{ messages[0].content }}");
    checkpoint.runs(CHAT, "hi\n");
    checkpoint.fails(&choose("tool_use"), "hi\n", &["it has \"default\""]);
}

/// What a conversation is besides what is typed goes to the program.
#[test]
fn conversations_have_tools_documents_and_variables() {
    let checkpoint = Checkpoint::new();
    checkpoint.template(
        "{% if ask %}{{ raise_exception(messages[0].content ~ tools ~ documents ~ ask) }}{% endif %}{{ messages[0].content }}",
    );
    let file = |name: &str, text: &str| {
        checkpoint.write(name, text);
        checkpoint.path().join(name).display().to_string()
    };
    let (messages, list) = (
        file(
            "messages.json",
            "[{\"role\": \"user\", \"content\": \"hi\"}]",
        ),
        file("list.json", "[7]"),
    );
    let given = [
        "--messages",
        &messages,
        "--tools",
        &list,
        "--documents",
        &list,
        "-n",
        "2",
        "--threads",
        "1",
    ];
    checkpoint.runs(&given, "");
    let asked = [&given[..], &["--chat-var", "ask=true"]].concat();
    checkpoint.fails(&asked, "", &["hi[7][7]True"]);
}

/// Where memory is asked for without end, the command still ends in its own way.
#[test]
fn bombs_end_with_an_exit_code() {
    let checkpoint = Checkpoint::new();
    let looped = |what: &str| {
        format!(
            "{{% set ns = namespace(s='ab', l=[1, 2]) %}}{{% for i in range(60) %}}{{% set {what} %}}{{% endfor %}}{{{{ ns.l }}}}"
        )
    };
    let bombs = [
        looped("ns.s = ns.s ~ ns.s"),
        looped("ns.l = ns.l + ns.l"),
        looped("ns.s = ns.s.replace('a', ns.s)"),
        looped("ns.s = ns.s.join([ns.s, ns.s])"),
        "{{ 'x' * 10 ** 15 }}".to_owned(),
        format!(
            "{{% for i in range(99999) %}}{{% for j in range(99999) %}}{}{{% endfor %}}{{% endfor %}}",
            "x".repeat(1 << 20)
        ),
    ];
    for bomb in bombs {
        checkpoint.template(&bomb);
        checkpoint.fails(CHAT, "hi\n", &["chat_template"]);
    }
    let ten = json!({"type": "Replace", "pattern": {"String": "x"}, "content": "x".repeat(10)});
    checkpoint.json("tokenizer.json", |config| {
        config["normalizer"] = json!({"type": "Sequence", "normalizers": vec![ten; 12]});
    });
    checkpoint.fails(PROMPT, "", &["tokenizer.json", "normalisers"]);
}

/// `inspect` and `build` accept what a run accepts.
#[test]
fn all_verbs_read_alike() {
    let verbs = |checkpoint: &Checkpoint| {
        let out = checkpoint.root.path().join("out");
        let output = out.to_str().expect("a plain path");
        let build = ["-o", output, "--target", "portable"];
        [
            checkpoint.gemc("inspect", &[], ""),
            checkpoint.gemc("build", &build, ""),
            checkpoint.gemc("run", PROMPT, ""),
        ]
    };
    let loose = Checkpoint::new();
    loose.json("generation_config.json", |config| {
        let keys = json!({"do_sample": "true", "top_k": 50.0, "top_p": 0, "bos_token_id": -1, "stop_strings": "###",
            "suppress_tokens": [3], "bad_words_ids": [[3]], "max_length": 20});
        for (key, value) in keys.as_object().expect("an object") {
            config[key] = value.clone();
        }
    });
    let outputs = verbs(&loose);
    for output in &outputs {
        assert_eq!(output.status.code(), Some(0), "{}", told(output));
    }
    let inspected = String::from_utf8_lossy(&outputs[0].stdout).into_owned();
    for key in [
        "suppress_tokens",
        "bad_words_ids",
        "max_length",
        "bos_token_id",
    ] {
        let line = format!("generation_config.json: {key}");
        assert!(inspected.contains(&line), "{inspected}");
    }
    type Damage = fn(&Checkpoint);
    let damages: [(&str, Damage); 6] = [
        ("top_k", |c| {
            c.json("generation_config.json", |config| {
                config["top_k"] = json!("many")
            })
        }),
        ("eos_token_id", |c| {
            c.json("generation_config.json", |config| {
                config["eos_token_id"] = json!(999_999)
            })
        }),
        ("tokenizer.json", |c| {
            c.json("tokenizer.json", |config| {
                config["normalizer"] =
                    json!({"type": "Replace", "pattern": {"Regex": "("}, "content": ""});
            });
        }),
        ("pad_token", |c| {
            c.json("tokenizer_config.json", |config| {
                config["pad_token"] = json!(3)
            })
        }),
        ("git-LFS pointer", |c| {
            let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
            c.write("generation_config.json", pointer)
        }),
        ("a link to nowhere", |c| {
            let link = c.path().join("generation_config.json");
            fs::remove_file(&link).expect("there");
            std::os::unix::fs::symlink("nowhere", link).expect("space");
        }),
    ];
    for (named, damage) in damages {
        let checkpoint = Checkpoint::new();
        damage(&checkpoint);
        for output in verbs(&checkpoint) {
            let told = told(&output);
            assert_eq!(output.status.code(), Some(1), "{named}: {told}");
            assert!(told.contains(named), "{named}: {told}");
        }
    }
}

#[test]
fn defaults_out_of_range_can_be_overridden() {
    let checkpoint = Checkpoint::new();
    checkpoint.json("generation_config.json", |config| {
        config["top_p"] = json!(7)
    });
    checkpoint.fails(PROMPT, "", &["generation_config.json", "top-p is 7"]);
    checkpoint.runs(&[PROMPT, &["--top-p", "0.9"]].concat(), "");
    let inspected = checkpoint.gemc("inspect", &[], "");
    let text = String::from_utf8_lossy(&inspected.stdout).into_owned();
    assert!(
        inspected.status.success() && text.contains("top-p is 7"),
        "{text}"
    );
}

/// What a package carries, and its manifest; `Model::embedded` has it, too.
#[test]
fn templates_are_shipped() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("chat_template.jinja", "{{ messages[0].content }}");
    checkpoint.write("additional_chat_templates/tool_use.jinja", "t");
    let shipped = [
        "chat_template.jinja",
        "additional_chat_templates/tool_use.jinja",
    ];
    for format in ["crate", "obj"] {
        let out = checkpoint.root.path().join(format);
        let arguments = [
            "--format",
            format,
            "--target",
            "x86-64-v3",
            "-o",
            out.to_str().expect("plain"),
        ];
        let output = checkpoint.gemc("build", &arguments, "");
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        let manifest: Value = read_json(&out.join("manifest.json"));
        for name in shipped {
            assert!(out.join(name).is_file(), "{format}: {name}");
            assert!(manifest["outputs"][name].is_string() && manifest["inputs"][name].is_string());
        }
        if format == "crate" {
            let library = fs::read_to_string(out.join("src/lib.rs")).expect("a source");
            let library: String = library.split_whitespace().collect();
            let embedded = shipped.map(|name| format!("&include_bytes!(\"../{name}\")[..]"));
            assert!(
                embedded.iter().all(|code| library.contains(code)),
                "{library}"
            );
        }
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

/// A conversation longer than the 64 positions goes on, and says what it forgets.
#[test]
fn a_conversation_outgrows_its_context() {
    let checkpoint = Checkpoint::new();
    let lines = "hello there\n".repeat(12);
    let output = checkpoint.gemc("run", &[CHAT, &["--context", "48"]].concat(), &lines);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(told(&output).contains("are forgotten"), "{}", told(&output));
    let long = format!("{}\nhello\n", "x".repeat(200));
    let output = checkpoint.gemc("run", &[CHAT, &["--context", "48"]].concat(), &long);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("do not fit"), "{}", told(&output));
    assert_eq!(
        output.stdout.iter().filter(|byte| **byte == b'\n').count(),
        1,
        "the second line has an answer"
    );
}
