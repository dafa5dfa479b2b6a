//! See `gemc::fuzzing::fuzz_config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gemc::fuzzing::fuzz_config(data));
