//! See `gem_runtime::bundle::fuzz_bundle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gem_runtime::bundle::fuzz_bundle(data));
