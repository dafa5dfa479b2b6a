//! FNV-1a: of names byte by byte, of file contents in 64-bit little-endian words.
//!
//! Each step (exclusive or, multiplication by an odd number) is a bijection of the state, so that two contents which
//! differ in one word never collide. It finds damage, not malice.

/// What a hash is of nothing.
pub const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
/// The factor of a step.
pub const PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a of a record's name.
#[must_use]
pub fn name_hash(name: &str) -> u64 {
    name.bytes()
        .fold(BASIS, |hash, byte| step(hash, u64::from(byte)))
}

const fn step(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(PRIME)
}

/// Running checksum of a stream of bytes; the last word is padded with zeros.
#[derive(Clone, Copy, Debug)]
pub struct Checksum {
    hash: u64,
    partial: u64,
    /// Bytes in `partial`, below 8.
    held: u32,
}

impl Default for Checksum {
    fn default() -> Self {
        Self {
            hash: BASIS,
            partial: 0,
            held: 0,
        }
    }
}

impl Checksum {
    /// Checksum of all these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> u64 {
        let mut sum = Self::default();
        sum.update(bytes);
        sum.finish()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let missing = if self.held == 0 {
            0
        } else {
            8 - self.held as usize
        };
        let (head, rest) = bytes.split_at(missing.min(bytes.len()));
        self.update_slowly(head);
        let (words, tail) = rest.as_chunks::<8>();
        for word in words {
            self.hash = step(self.hash, u64::from_le_bytes(*word));
        }
        self.update_slowly(tail);
    }

    fn update_slowly(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.partial |= u64::from(byte) << (8 * self.held);
            self.held += 1;
            if self.held == 8 {
                self.hash = step(self.hash, self.partial);
                (self.partial, self.held) = (0, 0);
            }
        }
    }

    /// The checksum of everything added.
    #[must_use]
    pub const fn finish(self) -> u64 {
        if self.held == 0 {
            self.hash
        } else {
            step(self.hash, self.partial)
        }
    }
}
