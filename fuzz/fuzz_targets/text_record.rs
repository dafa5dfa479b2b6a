//! See `gemc::fuzzing::fuzz_text_record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gemc::fuzzing::fuzz_text_record(data));
