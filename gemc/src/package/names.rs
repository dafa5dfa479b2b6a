//! A name -> whether a generated crate could be called so: compiled as edition 2024, with its library and program beside
//! each other, locked together with the runtime's dependencies, and checked out on any system.

use super::lock;

/// Keywords of edition 2024: strict, reserved, and those that are keywords in some places only.
const KEYWORDS: &[&str] = &[
    "abstract",
    "as",
    "async",
    "auto",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "crate",
    "default",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "macro-rules",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "pub",
    "raw",
    "ref",
    "return",
    "safe",
    "self",
    "static",
    "struct",
    "super",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// What the compiler brings along: crates, primitive types, tools that attributes name.
const BUILT_IN: &[&str] = &[
    "alloc",
    "bool",
    "char",
    "clippy",
    "compiler-builtins",
    "core",
    "diagnostic",
    "f128",
    "f16",
    "f32",
    "f64",
    "i128",
    "i16",
    "i32",
    "i64",
    "i8",
    "isize",
    "miri",
    "never",
    "proc-macro",
    "profiler-builtins",
    "rust-analyzer",
    "rustc",
    "rustdoc",
    "rustfmt",
    "std",
    "str",
    "test",
    "u128",
    "u16",
    "u32",
    "u64",
    "u8",
    "usize",
];

/// Folders that cargo keeps where programs are put.
const FOLDERS: &[&str] = &["build", "deps", "examples", "incremental"];

/// Devices, which no file on Windows can be called; `com1` to `lpt9` besides.
const DEVICES: &[&str] = &["aux", "con", "conin", "conout", "nul", "prn"];

/// Whether a name of lower-case letters, digits and `-` is taken.
pub fn is_taken(name: &str) -> bool {
    let listed = [KEYWORDS, BUILT_IN, FOLDERS, DEVICES].concat();
    let port = name
        .strip_prefix("com")
        .or_else(|| name.strip_prefix("lpt"))
        .is_some_and(|number| number.len() == 1);
    // Cargo and rustc take `-` and `_` for the same.
    port || listed.contains(&name)
        || lock::packages().any(|package| package.replace('_', "-") == name)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::cargo::crate_name;
    use super::*;

    #[test]
    fn taken_names_are_changed_in_the_same_way_always() {
        let packages: Vec<&str> = lock::packages().collect();
        assert!(packages.len() > 80 && packages.contains(&"serde_json"));
        let all = [KEYWORDS, BUILT_IN, FOLDERS, DEVICES, &["com1", "lpt9"]].concat();
        for name in all.iter().chain(&packages) {
            let expected = format!("model-{}", name.replace('_', "-"));
            let spellings = [
                (*name).to_owned(),
                name.to_uppercase(),
                name.replace('-', "_"),
                name.replace('_', "-"),
                format!(" {name}!"),
            ];
            for spelling in spellings {
                assert_eq!(crate_name(&spelling), expected, "{spelling}");
            }
            assert!(!is_taken(&expected));
        }
        for free in [
            "gem-lm",
            "logs",
            "generator",
            "com",
            "comma",
            "com10",
            "tests",
        ] {
            assert_eq!(crate_name(free), free);
        }
    }

    /// All keywords that `syn` knows are in the list.
    #[test]
    fn no_name_is_a_keyword_for_syn() {
        let words = "Self abstract as async await become box break const continue crate do dyn else enum extern false \
                     final fn for if impl in let loop macro match mod move mut override priv pub ref return self \
                     static struct super trait true try type typeof unsafe unsized use virtual where while yield";
        for word in words.split_whitespace() {
            assert!(syn::parse_str::<syn::Ident>(word).is_err(), "{word}");
            assert!(is_taken(&word.to_lowercase()), "{word}");
        }
    }

    /// What the compiler itself takes for a name of a module, in edition 2024.
    #[test]
    fn the_compiler_takes_the_names_that_are_given() {
        let mut text = String::new();
        for name in KEYWORDS
            .iter()
            .chain(BUILT_IN)
            .copied()
            .chain(lock::packages())
        {
            let name = crate_name(name).replace('-', "_");
            text += &format!("pub mod {name} {{ pub struct Model; }}\n");
        }
        // Names that differ in nothing but `-` and `_` give one crate name.
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("names.rs");
        std::fs::write(&file, lines.join("\n")).expect("space");
        let rustc = Command::new("rustc")
            .args([
                "--edition",
                "2024",
                "--crate-type",
                "lib",
                "--emit",
                "metadata",
            ])
            .arg("--out-dir")
            .arg(dir.path())
            .arg(&file)
            .output();
        let rustc = rustc.expect("tests are compiled by it");
        assert!(
            rustc.status.success(),
            "{}",
            String::from_utf8_lossy(&rustc.stderr)
        );
    }
}
