//! See `gemc::fuzzing::fuzz_machine_code`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gemc::fuzzing::fuzz_machine_code(data));
