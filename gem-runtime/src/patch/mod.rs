//! A module of a model that is replaced without the rest: what `gemc patch` makes -> weights with that module instead of theirs.
//!
//! A patch is for one plan, one layout, weights that are the same but for their modules, and one state of the module: what it
//! replaces. So patches of different modules apply in any order, and one that was overtaken by a later one does not apply any
//! more. `docs/patch.md` is normative for its bytes:
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `GEMP` |
//! | 4 | version, u32 |
//! | 8 | bytes of the module's name, u32 |
//! | 12 | number of pieces, u32 |
//! | 16 | plan hash, 32 bytes |
//! | 48 | digest of the layout, u64 |
//! | 56 | digest of the rest, u64 |
//! | 64 | digest of the module's part before, u64 |
//! | 72 | digest of the module's part after, u64 |
//! | 80 | number of modules' parts, u32 |
//! | 84 | zero, u32 |
//! | 88 | the name, and zeros up to a multiple of 8 |
//! | | pieces, then modules' parts: offset in the body u64, bytes u64 |
//! | | the bytes of the pieces, one after the other |
//! | end - 8 | digest of everything before it, u64 |
//!
//! The rest is all that belongs to no module. Its digest is that of, record by record, the digest of one that no module has a part
//! of, else the bytes that belong to none: little has to be read to know it.

mod apply;
mod encode;
mod fault;
mod parse;
mod replace;
#[cfg(test)]
mod tests;

pub use apply::State;
pub use fault::PatchFault;
pub use parse::Patch;
pub use replace::apply;

/// Parses whatever is given, and applies it to whatever follows its first 4 KiB; for fuzzing.
pub fn fuzz_patch(bytes: &[u8]) {
    let (patch, file) = bytes.split_at(bytes.len().min(4096));
    if let Ok(patch) = Patch::parse(patch.to_vec()) {
        let mut file = file.to_vec();
        let before = file.clone();
        match patch.apply(&mut file) {
            Ok(()) => assert!(crate::file::WeightFile::parse(&file).is_ok()),
            Err(_) => assert_eq!(file, before),
        }
    }
}

/// The first bytes of a patch.
pub const MAGIC: [u8; 4] = *b"GEMP";

/// Version of the format.
pub const VERSION: u32 = 1;

/// Bytes before the name.
const FIXED_BYTES: usize = 88;

/// Bytes of a piece in the table.
const PIECE_BYTES: usize = 16;

/// Bytes of the digest that ends a patch.
const DIGEST_BYTES: usize = 8;

/// Where fields of the fixed part stand.
mod at {
    pub(super) const VERSION: usize = 4;
    pub(super) const NAME_BYTES: usize = 8;
    pub(super) const PIECES: usize = 12;
    pub(super) const PLAN_HASH: usize = 16;
    pub(super) const LAYOUT: usize = 48;
    pub(super) const REST: usize = 56;
    pub(super) const BEFORE: usize = 64;
    pub(super) const AFTER: usize = 72;
    pub(super) const PARTS: usize = 80;
}
