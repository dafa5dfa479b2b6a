//! See `gem_runtime::file::fuzz_weight_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gem_runtime::file::fuzz_weight_file(data));
