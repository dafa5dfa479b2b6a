//! XXH64 of contents, whole or in pieces; FNV-1a of names.
//!
//! XXH64 (seed 0) is defined at <https://github.com/Cyan4973/xxHash>; `xxhsum -H1` computes it. Four independent lanes
//! make it about as fast as memory on small cores, too. It finds damage, not malice: whatever bytes change by accident, the
//! chance that the digest stays the same is about 2^-64.

use core::hash::Hasher as _;

use twox_hash::XxHash64;

/// What FNV-1a is of nothing.
pub const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
/// The factor of a step of FNV-1a.
pub const PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a of a record's name.
#[must_use]
pub fn name_hash(name: &str) -> u64 {
    name.bytes().fold(BASIS, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

/// Running XXH64 of a stream of bytes, whatever pieces they come in.
///
/// ```
/// use gem_runtime::file::Checksum;
///
/// let mut pieces = Checksum::default();
/// pieces.update(b"a ");
/// pieces.update(b"text");
/// assert_eq!(pieces.finish(), Checksum::of(b"a text"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Checksum(XxHash64);

impl Checksum {
    /// Checksum of all these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> u64 {
        XxHash64::oneshot(0, bytes)
    }

    /// Adds the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The checksum of everything added.
    #[must_use]
    pub fn finish(self) -> u64 {
        self.0.finish()
    }
}
