//! Entry points for fuzzers: each takes any bytes and must return. libFuzzer targets in `fuzz/` and a short run inside
//! the tests call the same functions.

use serde_json::{Map, Value};

use crate::import::files::{gguf, parse_header, parse_index};
use crate::import::{Findings, Source, front_end, highest_id, json, parse_record};
use crate::lower;
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

/// `config.json` of any family: an accepted one that is small enough to build has a graph whose wires all have types, and that
/// is lowered or refused in words.
pub fn fuzz_config(data: &[u8]) {
    let Ok(map) = json::parse_object(data) else {
        return;
    };
    let Ok(front) = front_end(&map) else {
        return;
    };
    if !is_small(&map) {
        return;
    }
    let mut findings = Findings::default();
    let mut source = Source::of_config(&map);
    let built = (front.build)(&mut source, &mut findings);
    let Some(model) = built.filter(|_| findings.is_empty()) else {
        return;
    };
    match typing::infer(model.graph) {
        Ok(typed) => drop(lower::check::check(&typed).map(|checked| lower::fits(&checked))),
        Err(error) => unreachable!("an accepted config has no types: {error:?}"),
    }
}

/// Whether a config says itself that it is of a small model.
fn is_small(map: &Map<String, Value>) -> bool {
    let below = |key: &&str| {
        map.get(*key)
            .and_then(Value::as_u64)
            .is_some_and(|n| n <= 8)
    };
    let layers = ["num_hidden_layers", "n_layers"].iter().any(&below);
    let experts = ["num_experts", "num_local_experts"];
    let written = experts.iter().filter(|key| map.contains_key(**key));
    let domains = map
        .get("domains")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    let moe = map
        .get("model_type")
        .and_then(Value::as_str)
        .is_some_and(|name| name.contains('m'));
    layers
        && domains <= 16
        && written.clone().all(below)
        && (!moe || written.count() > 0 || domains > 0)
}

/// A GGUF file: whatever is accepted lies in the file, and what is made of its metadata is made in words.
pub fn fuzz_gguf(data: &[u8]) {
    if let Ok(parsed) = gguf::parse(data) {
        for entry in &parsed.tensors {
            assert!(entry.bytes.start <= entry.bytes.end && entry.bytes.end <= data.len());
        }
        let _ = crate::import::understood(&parsed, data);
    }
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
