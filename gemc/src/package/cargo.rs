//! Name and features of a generated crate -> its `Cargo.toml`.

use super::{Package, Runtime, names};

/// A crate name for a model's name: lower-case letters, digits and `-`, beginning with a letter.
pub fn crate_name(model: &str) -> String {
    let mut name = String::new();
    for c in model.chars().take(64) {
        match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => name.push(c),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
    }
    let name = name.trim_end_matches('-');
    let usable = name.starts_with(|c: char| c.is_ascii_lowercase()) && !names::is_taken(name);
    match (usable, name.is_empty()) {
        (true, _) => name.to_owned(),
        (false, true) => "model".to_owned(),
        (false, false) => format!("model-{name}"),
    }
}

/// The text of `Cargo.toml`.
pub fn manifest(package: &Package) -> String {
    let name = package.crate_name();
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let runtime = dependency(&package.runtime);
    format!(
        r#"# For target `{target}`.
[package]
name = "{name}"
version = "0.1.0"
edition = "2024"
rust-version = "{rust}"
publish = false

[features]
default = ["std", "threads", "mmap", "tokenizer", "chat"]
# `Model::open`; without it the crate is `no_std` and needs an allocator.
std = ["gem-runtime/std"]
# Steps run on several threads.
threads = ["std", "gem-runtime/threads"]
# Weights are mapped instead of read.
mmap = ["std", "gem-runtime/mmap"]
# Text in and out.
tokenizer = ["std", "gem-runtime/tokenizer"]
# Conversations by the model's template.
chat = ["tokenizer", "gem-runtime/chat"]
# `Model::embedded`: the weights become part of the program.
embed = []
# The program in `src/main.rs`.
cli = ["std", "threads", "mmap", "tokenizer", "chat", "gem-runtime/cli"]

[dependencies]
gem-runtime = {{ {runtime}, default-features = false, features = ["alloc"] }}

[[bin]]
name = "{name}"
path = "src/main.rs"
required-features = ["cli"]

[profile.release]
strip = true
"#,
        target = one_line(&package.info.target),
    )
}

/// Where the runtime is, as fields of a dependency.
pub fn dependency(runtime: &Runtime) -> String {
    match runtime {
        Runtime::Embedded => r#"path = "gem-runtime""#.to_owned(),
        Runtime::Version(version) => format!("version = {}", quoted(version)),
        Runtime::Path(path) => format!("path = {}", quoted(path)),
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Text for a comment, also for one that rustdoc reads: on one line, with no code in it, and written in the direction it
/// is read in, which rustc insists on.
pub fn one_line(text: &str) -> String {
    let turns = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let kept = text.chars().filter(|c| !c.is_control() && !turns(*c));
    kept.map(|c| if c == '`' { '\'' } else { c }).collect()
}
