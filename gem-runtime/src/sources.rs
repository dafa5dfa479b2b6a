//! The text of this crate, for what writes crates that need no other copy of it.

/// Files of `src`: path, text. Sorted; without tests.
pub const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// `Cargo.toml`.
pub const MANIFEST: &str = include_str!("../Cargo.toml");

/// `gem.h`: what object files of models export.
pub const HEADER: &str = include_str!("../include/gem.h");

/// `gem_text.h`: text, conversations and threads for C.
pub const TEXT_HEADER: &str = include_str!("../include/gem_text.h");
