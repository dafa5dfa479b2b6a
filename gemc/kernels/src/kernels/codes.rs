//! The codes of one block of one tile: from the stored chunks ([`gemc_format::Plane`]) to vectors of 16 rows x 4
//! columns of bytes that a dot strategy multiplies.
//!
//! How follows from what the codec's spec says (planes, table, offset), never from which codec it is: one function per
//! way of coding. What comes out is exact: a code's value plus [`offset`], which the dot takes off through the sum of
//! activation codes.

use gemc_format::{CodecSpec, Plane};

use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::{ParamId, Ty, ValueId};

/// Sign of the bytes that a strategy multiplies with activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 0..=255.
    Unsigned,
    /// -128..=127.
    Signed,
}

/// What unpacked bytes are larger by than values, shifts not counted.
#[must_use]
pub fn offset(spec: &CodecSpec, form: Form) -> i32 {
    let signed_codes = spec.codes.0 < 0;
    match (spec.table, form) {
        (Some(table), Form::Unsigned) => -i32::from(table[0]),
        (None, Form::Unsigned) if signed_codes => 128,
        (Some(_), Form::Signed) => 0,
        // Codes are unsigned and small: bytes of either form.
        (None, _) => i32::from(spec.codes.0) - spec.values.0,
    }
}

/// The largest unsigned byte that comes out.
#[must_use]
pub fn largest(spec: &CodecSpec) -> i32 {
    spec.values.1 - spec.shift + offset(spec, Form::Unsigned)
}

/// The codes of one block of one tile in memory.
pub struct Block<'a> {
    /// Of their codec.
    pub spec: &'a CodecSpec,
    /// Region of bytes.
    pub region: ParamId,
    /// First byte.
    pub start: ValueId,
}

impl Block<'_> {
    /// Unpacks the block and hands on each group of 4 columns: its index and 64 bytes.
    pub fn unpack(
        &self,
        b: &mut KernelBuilder,
        form: Form,
        mut each: impl FnMut(&mut KernelBuilder, usize, ValueId),
    ) {
        match (self.spec.planes, self.spec.table) {
            ([plane], None) => self.even(b, form, plane, &mut each),
            ([plane], Some(table)) => self.looked_up(b, form, plane, table, &mut each),
            ([low, top], Some(table)) => self.split(b, form, [low, top], table, &mut each),
            _ => unreachable!("a codec has one plane, or two and a table"),
        }
    }

    /// Codes that are values but for a constant.
    fn even(
        &self,
        b: &mut KernelBuilder,
        form: Form,
        plane: &Plane,
        each: &mut impl FnMut(&mut KernelBuilder, usize, ValueId),
    ) {
        let mut chunks = Chunks::new(self, plane);
        for chunk in 0..plane.chunks() {
            let whole = chunks.whole(b, chunk);
            for bit in (0..8).step_by(plane.cell as usize) {
                let code = cell(b, whole, bit, plane.bits);
                let code = if self.spec.codes.0 < 0 && form == Form::Unsigned {
                    let flip = bytes(b, 0x80);
                    b.xor(code, flip)
                } else {
                    code
                };
                each(b, plane.group(chunk, bit), code);
            }
        }
    }

    /// A lookup per group. An index is a whole nibble, and the tables ignore the bits that are not the code's: so cells
    /// of 2 bits need no shifts of their own, and spare bits no mask.
    fn looked_up(
        &self,
        b: &mut KernelBuilder,
        form: Form,
        plane: &Plane,
        table: &[i8],
        each: &mut impl FnMut(&mut KernelBuilder, usize, ValueId),
    ) {
        let offset = offset(self.spec, form);
        let mut chunks = Chunks::new(self, plane);
        for chunk in 0..plane.chunks() {
            let whole = chunks.whole(b, chunk);
            for nibble in [0, 4] {
                let index = cell(b, whole, nibble, 4);
                for bit in (0..4).step_by(plane.cell as usize) {
                    let values = table16(|i| value(table, i >> bit, offset));
                    let values = b.i8_lanes(values);
                    let value = b.lookup(values, index);
                    each(b, plane.group(chunk, nibble + bit), value);
                }
            }
        }
    }

    /// 32 values: the lower half of the table by nibbles, and what turns it into the upper half where the top bit is set.
    fn split(
        &self,
        b: &mut KernelBuilder,
        form: Form,
        [low, top]: [&Plane; 2],
        table: &[i8],
        each: &mut impl FnMut(&mut KernelBuilder, usize, ValueId),
    ) {
        let offset = offset(self.spec, form);
        let top_bits = Chunks::new(self, top).whole(b, 0);
        let tops = [0, 4].map(|nibble| cell(b, top_bits, nibble, 4));
        let mut chunks = Chunks::new(self, low);
        for chunk in 0..low.chunks() {
            let whole = chunks.whole(b, chunk);
            for (half, nibble) in [0, 4].into_iter().enumerate() {
                let group = low.group(chunk, nibble);
                let (_, bit) = top.place(group);
                let index = cell(b, whole, nibble, 4);
                let masks = b.i8_lanes(table16(|i| -((i >> (bit % 4) & 1) as i8)));
                let mask = b.lookup(masks, tops[half]);
                let value = halves(b, table, offset, index, mask);
                each(b, group, value);
            }
        }
    }
}

/// Chunks of a plane, each loaded once.
struct Chunks<'a> {
    block: &'a Block<'a>,
    plane: &'a Plane,
    stored: Vec<Option<ValueId>>,
}

impl<'a> Chunks<'a> {
    fn new(block: &'a Block<'a>, plane: &'a Plane) -> Self {
        Self {
            block,
            plane,
            stored: vec![None; plane.stored()],
        }
    }

    /// A chunk with the cells of its groups, and perhaps spare bits above them.
    fn whole(&mut self, b: &mut KernelBuilder, chunk: usize) -> ValueId {
        let plane = *self.plane;
        whole(b, &plane, chunk, bytes, |b, chunk| self.load(b, chunk))
    }

    fn load(&mut self, b: &mut KernelBuilder, chunk: usize) -> ValueId {
        if let Some(loaded) = self.stored[chunk] {
            return loaded;
        }
        let Block {
            spec,
            region,
            start,
        } = *self.block;
        let at = b.i32(64 * (self.plane.chunk + chunk) as i32);
        let index = b.add(start, at);
        let loaded = if spec.code_bits == 8 {
            let (lo, hi) = spec.codes;
            b.load_range(Ty::I8x64, region, index, lo.into(), hi.into())
        } else {
            b.load(Ty::I8x64, region, index)
        };
        self.stored[chunk] = Some(loaded);
        loaded
    }
}

/// A chunk of a plane, stored or put together from spare bits of those that are: vectors or single words, as `load`
/// gives them and `mask` makes constants of a repeated byte.
pub fn whole(
    b: &mut KernelBuilder,
    plane: &Plane,
    chunk: usize,
    mask: impl Fn(&mut KernelBuilder, u8) -> ValueId,
    mut load: impl FnMut(&mut KernelBuilder, usize) -> ValueId,
) -> ValueId {
    let mut found = None;
    for spill in plane.spills(chunk) {
        let stored = load(b, spill.chunk);
        let moved = b.shr_u(stored, spill.from - spill.to);
        let mask = mask(b, plane.mask(spill.to, spill.bits));
        let bits = b.and(moved, mask);
        found = Some(match found {
            Some(before) => b.or(before, bits),
            None => bits,
        });
    }
    found.unwrap_or_else(|| load(b, chunk))
}

/// Bits `bit..bit + bits` of every byte, at its bottom.
fn cell(b: &mut KernelBuilder, whole: ValueId, bit: u32, bits: u32) -> ValueId {
    let shifted = if bit == 0 { whole } else { b.shr_u(whole, bit) };
    // The shift filled with zeros.
    if bit + bits == 8 {
        return shifted;
    }
    let mask = bytes(b, ((1u32 << bits) - 1) as u8);
    b.and(shifted, mask)
}

/// Values plus `offset` from a table of 32: of its lower half by `index`, or of the upper half where `mask` is set.
pub fn halves(
    b: &mut KernelBuilder,
    table: &[i8],
    offset: i32,
    index: ValueId,
    mask: ValueId,
) -> ValueId {
    let lower = table16(|i| value(table, i, offset));
    let change = table16(|i| value(table, i, offset) ^ value(table, i + 16, offset));
    let lower = b.i8_lanes(lower);
    let change = b.i8_lanes(change);
    let lower = b.lookup(lower, index);
    let change = b.lookup(change, index);
    let change = b.and(change, mask);
    b.xor(lower, change)
}

/// 16 bytes by index.
pub fn table16(f: impl Fn(usize) -> i8) -> [i8; 16] {
    std::array::from_fn(f)
}

/// The value of a code, whose length is a power of two, plus `offset`; the code's higher bits do not count.
pub fn value(table: &[i8], code: usize, offset: i32) -> i8 {
    (i32::from(table[code & (table.len() - 1)]) + offset) as i8
}

/// The same byte 64 times.
pub fn bytes(b: &mut KernelBuilder, byte: u8) -> ValueId {
    let word = b.i32(i32::from_le_bytes([byte; 4]));
    let words = b.splat(word);
    b.bits(Ty::I8x64, words)
}

#[cfg(test)]
mod tests {
    use gemc_format::Codec;

    use super::*;

    #[test]
    fn two_products_of_every_codec_fit_16_bits_and_bytes_their_form() {
        for codec in Codec::ALL {
            let spec = codec.spec();
            let most = largest(&spec);
            if spec.codes.0 >= 0 {
                assert!(2 * most * 127 <= i32::from(i16::MAX), "{codec:?}: {most}");
                // So both forms are possible.
                assert!((1..=127).contains(&most), "{codec:?}: {most}");
            } else {
                assert!(most <= 255, "{codec:?}: {most}");
            }
        }
    }

    #[test]
    fn unpacked_bytes_less_the_offset_are_values() {
        for codec in Codec::ALL {
            let spec = codec.spec();
            for code in spec.codes.0..=spec.codes.1 {
                for form in [Form::Unsigned, Form::Signed] {
                    let offset = offset(&spec, form);
                    let byte = match spec.table {
                        Some(table) => value(table, code as usize, offset),
                        None if spec.codes.0 < 0 => code.wrapping_add(offset as u8 as i8),
                        None => code,
                    };
                    let byte = match form {
                        Form::Unsigned => i32::from(byte as u8),
                        Form::Signed => i32::from(byte),
                    };
                    assert_eq!(byte - offset, codec.value(code, 0), "{codec:?} {form:?}");
                }
            }
        }
    }
}
