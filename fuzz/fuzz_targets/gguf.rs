//! See `gemc::fuzzing::fuzz_gguf`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gemc::fuzzing::fuzz_gguf(data));
