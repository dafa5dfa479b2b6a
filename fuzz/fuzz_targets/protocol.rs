//! See `gem_runtime::protocol::fuzz_protocol`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gem_runtime::protocol::fuzz_protocol(data));
