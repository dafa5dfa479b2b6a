//! See `gem_runtime::text::fuzz_text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gem_runtime::text::fuzz_text(data));
