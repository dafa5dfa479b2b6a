//! Where the bits of codes lie: how codes of fewer than 8 bits share bytes. Packing and kernels both follow this.
//!
//! The 32 columns of a (tile, block) are 8 *groups* of 4; a group of byte codes is a 64-byte *chunk*: row `r`'s four codes
//! at `4 r`. A [`Plane`] divides every byte of a chunk into *cells* of 1, 2, 4 or 8 bits, so that 8 groups take as many
//! chunks as a cell has bits: group `g` lies in chunk `g % cell`, at bit `g / cell * cell` of each byte.
//!
//! A plane may hold fewer bits than its cells have room for; then only as many chunks are stored as it holds bits, and the
//! spare bits at the top of their cells hold the others, cut up: bit `b` of missing chunk `m` has number
//! `n = m * bits + b`; it lies in chunk `n / spare`, at bit `bits + n % spare` of the same cell. So every plane of n bits
//! takes exactly n chunks, and a code is found with shifts and masks of whole chunks, never a gather.
//!
//! ```text
//! bits  planes (cell: bits)   a byte of a chunk, from its top bit          missing chunks
//! 8     8: 8                  gggggggg
//! 6     8: 6                  ssgggggg                                     2, each in the spare bits of three
//! 5     4: 4, then 1: 1       hhhhgggg, then 8 groups' top bits
//! 4     4: 4                  hhhhgggg
//! 3     4: 3                  shhhsggg                                     1, in the spare bits of the three
//! 2     2: 2                  jjiihhgg
//! ```

/// Groups of 4 columns in a block.
pub const GROUPS: usize = 8;

/// Some bits of every code of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Bits of a cell: 1, 2, 4 or 8.
    pub cell: u32,
    /// Bits that a cell holds; also the number of chunks that are stored.
    pub bits: u32,
    /// The first of these bits in the code.
    pub low: u32,
    /// First chunk in the block.
    pub chunk: usize,
}

/// Bits of a missing chunk: `bits` of them, from bit `to` of its cells, lie in chunk `chunk` of the plane from bit `from`
/// of the cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spill {
    /// Stored chunk of the plane.
    pub chunk: usize,
    /// First bit there; not below `to`.
    pub from: u32,
    /// First bit in the missing chunk.
    pub to: u32,
    /// Number of bits that lie there.
    pub bits: u32,
}

/// The planes of codes of a width, in the order of their chunks.
///
/// # Panics
/// For a width that no codec has; codecs ask at compile time.
#[must_use]
pub const fn planes(code_bits: u32) -> &'static [Plane] {
    const fn plane(cell: u32, bits: u32) -> Plane {
        Plane {
            cell,
            bits,
            low: 0,
            chunk: 0,
        }
    }
    match code_bits {
        8 => const { &[plane(8, 8)] },
        6 => const { &[plane(8, 6)] },
        5 => {
            const {
                &[
                    plane(4, 4),
                    Plane {
                        low: 4,
                        chunk: 4,
                        ..plane(1, 1)
                    },
                ]
            }
        }
        4 => const { &[plane(4, 4)] },
        3 => const { &[plane(4, 3)] },
        2 => const { &[plane(2, 2)] },
        _ => unreachable!(),
    }
}

impl Plane {
    /// Chunks of all groups, missing ones last.
    #[must_use]
    pub const fn chunks(&self) -> usize {
        self.cell as usize
    }

    /// Chunks that are stored.
    #[must_use]
    pub const fn stored(&self) -> usize {
        self.bits as usize
    }

    /// The chunk of a group, and the first bit of its cells there.
    #[must_use]
    pub const fn place(&self, group: usize) -> (usize, u32) {
        let cell = self.cell as usize;
        (group % cell, (group / cell * cell) as u32)
    }

    /// The group whose cells begin at a bit of a chunk's bytes.
    #[must_use]
    pub const fn group(&self, chunk: usize, bit: u32) -> usize {
        chunk + bit as usize
    }

    /// The bits of a cell from `low` on, `bits` of them, in each cell of a byte.
    #[must_use]
    pub const fn mask(&self, low: u32, bits: u32) -> u8 {
        let (mut mask, mut at) = (0u32, 0);
        while at < 8 {
            mask |= ((1 << bits) - 1) << (at + low);
            at += self.cell;
        }
        mask as u8
    }

    /// Where the bits of a missing chunk lie, in order; nothing for chunks that are stored.
    pub fn spills(&self, chunk: usize) -> impl Iterator<Item = Spill> + use<> {
        let (bits, spare) = (self.bits, self.cell - self.bits);
        let start = (chunk.saturating_sub(self.stored())) as u32 * bits;
        let end = if chunk < self.stored() {
            start
        } else {
            start + bits
        };
        let mut next = start;
        std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            let at = next % spare;
            let run = (spare - at).min(end - next);
            let spill = Spill {
                chunk: (next / spare) as usize,
                from: bits + at,
                to: next - start,
                bits: run,
            };
            next += run;
            Some(spill)
        })
    }

    /// A row's words of the plane's chunks, the stored ones first, of its codes: one word of four per group.
    pub(super) fn put(&self, codes: &[u32; GROUPS]) -> [u32; GROUPS] {
        let mut all = [0; GROUPS];
        let mask = word(((1u32 << self.bits) - 1) as u8);
        for (group, code) in codes.iter().enumerate() {
            let (chunk, bit) = self.place(group);
            all[chunk] |= (code >> self.low & mask) << bit;
        }
        for chunk in self.stored()..self.chunks() {
            for spill in self.spills(chunk) {
                let bits = all[chunk] & word(self.mask(spill.to, spill.bits));
                all[spill.chunk] |= bits << (spill.from - spill.to);
            }
        }
        all
    }

    /// The inverse of [`put`](Self::put), of the stored chunks alone: adds the plane's bits to `codes`.
    pub(super) fn get(&self, chunks: &[u32; GROUPS], codes: &mut [u32; GROUPS]) {
        let mut all = *chunks;
        for chunk in self.stored()..self.chunks() {
            all[chunk] = self.spills(chunk).fold(0, |bits, spill| {
                let moved = all[spill.chunk] >> (spill.from - spill.to);
                bits | moved & word(self.mask(spill.to, spill.bits))
            });
        }
        let mask = word(((1u32 << self.bits) - 1) as u8);
        for (group, code) in codes.iter_mut().enumerate() {
            let (chunk, bit) = self.place(group);
            *code |= (all[chunk] >> bit & mask) << self.low;
        }
    }
}

/// The byte four times.
const fn word(byte: u8) -> u32 {
    u32::from_ne_bytes([byte; 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTHS: [u32; 6] = [2, 3, 4, 5, 6, 8];

    #[test]
    fn planes_hold_every_bit_once_and_chunks_follow_each_other() {
        for width in WIDTHS {
            let (mut low, mut chunk) = (0, 0);
            for plane in planes(width) {
                assert_eq!((plane.low, plane.chunk), (low, chunk));
                low += plane.bits;
                chunk += plane.stored();
            }
            assert_eq!((low, chunk), (width, width as usize));
        }
    }

    #[test]
    fn every_bit_of_stored_chunks_is_used_once() {
        for plane in WIDTHS.iter().flat_map(|&width| planes(width)) {
            let mut used = [0u8; GROUPS];
            let mut take = |chunk: usize, mask: u8| {
                assert_eq!(used[chunk] & mask, 0, "{plane:?}");
                used[chunk] |= mask;
            };
            for chunk in 0..plane.chunks() {
                if chunk < plane.stored() {
                    take(chunk, plane.mask(0, plane.bits));
                }
                for spill in plane.spills(chunk) {
                    assert!(spill.from >= spill.to);
                    take(spill.chunk, plane.mask(spill.from, spill.bits));
                }
            }
            let stored = plane.stored();
            assert!(used[..stored].iter().all(|u| *u == 0xff), "{plane:?}");
            assert!(used[stored..].iter().all(|u| *u == 0), "{plane:?}");
        }
    }

    #[test]
    fn groups_and_places_are_inverse() {
        for plane in WIDTHS.iter().flat_map(|&width| planes(width)) {
            for group in 0..GROUPS {
                let (chunk, bit) = plane.place(group);
                assert_eq!(plane.group(chunk, bit), group);
            }
        }
    }

    #[test]
    fn codes_come_back_and_fill_no_more_than_the_stored_chunks() {
        for width in WIDTHS {
            let mask = word(((1u32 << width) - 1) as u8);
            let codes: [u32; GROUPS] =
                std::array::from_fn(|g| 0x9e37_79b9u32.wrapping_mul(g as u32 * 2 + 1) & mask);
            let mut back = [0; GROUPS];
            for plane in planes(width) {
                let mut chunks = plane.put(&codes);
                chunks[plane.stored()..].fill(!0);
                plane.get(&chunks, &mut back);
            }
            assert_eq!(back, codes, "{width} bits");
        }
    }

    #[test]
    fn the_spare_bits_of_three_nibbles_are_the_fourth() {
        let spills: std::vec::Vec<Spill> = planes(3)[0].spills(3).collect();
        let bit = |n: u32| Spill {
            chunk: n as usize,
            from: 3,
            to: n,
            bits: 1,
        };
        assert_eq!(spills, [bit(0), bit(1), bit(2)]);
    }
}
