//! Entry points for fuzzers: each takes any bytes and must return. libFuzzer targets in `fuzz/` and a short run inside
//! the tests call the same functions.

use crate::import::config::{self, GemConfig};
use crate::import::files::{parse_header, parse_index};
use crate::import::{Findings, gem, highest_id, json, parse_record};
use crate::typing;
pub use gemc_kernels::ir::text::fuzz_kernel_text;

/// The random program that the bytes choose, interpreted and as machine code: both leave the same memory.
///
/// # Panics
/// When they do not, or when a program that is valid by construction is refused: the defects that fuzzing looks for.
#[cfg(feature = "jit")]
pub fn fuzz_machine_code(data: &[u8]) {
    use crate::executions::check_machine_code;
    use gemc_kernels::ir::testing::{Memory, interpret, valid_program};
    use gemc_kernels::ir::text::print;
    use gemc_kernels::ir::verify::verify;

    let seed = data
        .iter()
        .fold(1u64, |seed, b| seed.wrapping_mul(31) ^ u64::from(*b));
    let program = valid_program(data);
    let text = print(&program);
    let verified = match verify(program) {
        Ok(verified) => verified,
        Err(errors) => unreachable!("a valid program is refused: {errors:#?}\n{text}"),
    };
    let shape = verified.program().shape;
    let mut memory = Memory::random(shape, seed);
    if let Err(trap) = interpret(&verified, &mut memory) {
        unreachable!("a valid program traps: {trap}\n{text}");
    }
    let start = || Memory::random(shape, seed);
    if let Err(error) = check_machine_code(&verified, &memory.image(), start) {
        unreachable!("{error}\n{text}");
    }
}

/// A whole safetensors file: whatever is accepted lies in the file and does not overlap.
pub fn fuzz_safetensors(data: &[u8]) {
    if let Ok(entries) = parse_header(data) {
        let mut end = 8;
        for entry in entries {
            assert!(entry.bytes.start >= end && entry.bytes.end <= data.len());
            end = entry.bytes.end;
        }
    }
}

/// `model.safetensors.index.json`.
pub fn fuzz_index(data: &[u8]) {
    if let Ok(index) = parse_index(data) {
        assert!(index.values().all(|file| !file.contains('/')));
    }
}

/// `config.json`: an accepted one that is small enough to build has a graph whose wires all have types.
pub fn fuzz_config(data: &[u8]) {
    let Ok(map) = json::parse_object(data) else {
        return;
    };
    let mut findings = Findings::default();
    let (config, _) = config::read(&map, &mut findings);
    let Some(config) = config.filter(is_small) else {
        return;
    };
    if findings.is_empty() {
        let typed = typing::infer(gem::graph(&config));
        assert!(typed.is_ok(), "{:?}", typed.err());
    }
}

fn is_small(config: &GemConfig) -> bool {
    config.num_hidden_layers * (1 + config.domains.len()) <= 256
}

/// `tokenizer.json`.
pub fn fuzz_tokenizer(data: &[u8]) {
    let _ = highest_id(data);
}

/// One line of a `.jsonl` text, with and without labels.
pub fn fuzz_text_record(data: &[u8]) {
    let _ = parse_record(data, &[]);
    let labels = ["a".to_owned(), "b".to_owned()];
    if let Ok(record) = parse_record(data, &labels) {
        assert!(record.label.is_none_or(|l| l < 2));
    }
}

#[cfg(test)]
mod tests;
