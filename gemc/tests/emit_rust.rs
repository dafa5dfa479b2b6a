//! The emitted Rust of the hand-built program, held against `tests/expected/`, where it is also compiled and run.
//! `GEM_BLESS=1` writes what is emitted now.

#[path = "../../tests/programs.rs"]
mod programs;

use std::path::{Path, PathBuf};

use gem_runtime::simd::Level;
use gemc::target::DotStrategy;
use gemc_kernels::ir::verify::verify;
use gemc_kernels::rust;

fn folder(level: Level) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/expected/src/small")
        .join(level.name())
}

fn emit(level: Level) -> Vec<(String, String)> {
    let dot = match level {
        Level::X86V3 => DotStrategy::Pairs,
        Level::Neon => DotStrategy::Lanes16,
        Level::NeonDotprod => DotStrategy::SignedBytes4,
        Level::Portable | Level::X86V3Vnni | Level::X86V4Vnni => DotStrategy::Bytes4,
    };
    let verified = verify(programs::small(dot)).unwrap_or_else(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        unreachable!("{}", lines.join("\n"))
    });
    rust::program(&verified, level)
}

#[test]
fn emitted_rust_is_as_expected() {
    let bless = std::env::var_os("GEM_BLESS").is_some();
    let mut wrong = Vec::new();
    for level in Level::ALL {
        for (path, text) in emit(level) {
            let path = folder(level).join(path.trim_start_matches("src/"));
            if bless {
                std::fs::create_dir_all(folder(level)).expect("a writable source tree");
                std::fs::write(&path, &text).expect("a writable source tree");
            } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
                wrong.push(difference(&path, &text));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nbless with: GEM_BLESS=1 cargo test -p gemc --test emit_rust",
        wrong.join("\n")
    );
}

/// The first line that differs.
fn difference(path: &Path, text: &str) -> String {
    let old = std::fs::read_to_string(path).unwrap_or_default();
    let (mut a, mut b) = (old.lines(), text.lines());
    let mut number = 1;
    loop {
        match (a.next(), b.next()) {
            (Some(x), Some(y)) if x == y => number += 1,
            (x, y) => {
                return format!(
                    "{}:{number}\n- {}\n+ {}",
                    path.display(),
                    x.unwrap_or(""),
                    y.unwrap_or("")
                );
            }
        }
    }
}

#[test]
fn the_same_program_gives_the_same_text() {
    assert_eq!(emit(Level::X86V3), emit(Level::X86V3));
}
