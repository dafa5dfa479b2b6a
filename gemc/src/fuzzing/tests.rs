//! A short, seeded run of every fuzz function: truncations, flipped bytes and spliced tokens of valid inputs.

use std::time::{Duration, Instant};

use super::*;
use crate::import::tests::{base, family_configs, small_gguf};

/// A small generator of its own, so that a failing seed can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

fn mutate(valid: &[u8], random: &mut Random) -> Vec<u8> {
    const TOKENS: [&[u8]; 12] = [
        b"[[[[",
        b"{",
        b"}",
        b"\"",
        b"null",
        b"-1",
        b"1e999",
        b"18446744073709551615",
        b"\\u0000",
        b"\xff\xfe",
        b"0",
        b",",
    ];
    let mut bytes = valid.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied())),
            3 => {
                let end = (at + random.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let from = random.below(bytes.len());
                let piece = bytes[from..(from + 24).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

fn run(fuzz: fn(&[u8]), valid: &[&[u8]]) {
    let begin = Instant::now();
    let mut random = Random(1);
    valid.iter().for_each(|v| fuzz(v));
    for round in 0..2000 {
        fuzz(&mutate(valid[round % valid.len()], &mut random));
        if begin.elapsed() > Duration::from_millis(150) {
            break;
        }
    }
}

fn safetensors() -> Vec<u8> {
    let header = "{\"a\":{\"dtype\":\"BF16\",\"shape\":[2,2],\"data_offsets\":[0,8]},\
                   \"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}";
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0; 12]);
    bytes
}

/// A second of random programs through both executions; the seed makes a failure repeatable.
#[cfg(feature = "jit")]
#[test]
fn machine_code_equals_the_interpreter() {
    let begin = Instant::now();
    let mut programs = 0;
    for seed in 0.. {
        let size = 100 + 40 * (seed as usize % 16);
        fuzz_machine_code(&gemc_kernels::ir::testing::Bytes::random(seed, size));
        programs += 1;
        if begin.elapsed() > Duration::from_secs(1) && programs >= 16 {
            break;
        }
    }
}

#[test]
fn parsers_return_whatever_they_are_fed() {
    run(fuzz_safetensors, &[&safetensors()]);
    run(
        fuzz_index,
        &[b"{\"metadata\":{},\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\"}}"],
    );
    let configs: Vec<String> = family_configs().iter().map(Value::to_string).collect();
    let mut configs: Vec<&[u8]> = configs.iter().map(|config| config.as_bytes()).collect();
    let own = base().to_string();
    configs.push(own.as_bytes());
    run(fuzz_config, &configs);
    run(fuzz_gguf, &[&small_gguf()]);
    let kernels = [1, 2].map(|seed| {
        use gemc_kernels::ir::testing::{Bytes, valid_program};
        gemc_kernels::ir::text::print(&valid_program(&Bytes::random(seed, 300)))
    });
    run(fuzz_kernel_text, &kernels.each_ref().map(|k| k.as_bytes()));
    run(fuzz_tokenizer, &[b"{\"added_tokens\":[{\"id\":3,\"content\":\"x\"}],\"model\":{\"vocab\":{\"a\":0,\"b\":1}}}"]);
    run(
        fuzz_text_record,
        &[
            b"{\"text\":\"one\",\"label\":\"a\"}",
            b"{\"text\":\"two\",\"label\":1}",
        ],
    );
}
