//! See `gemc::fuzzing::fuzz_kernel_text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gemc::fuzzing::fuzz_kernel_text(data));
