//! See `gem_runtime::patch::fuzz_patch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gem_runtime::patch::fuzz_patch(data));
