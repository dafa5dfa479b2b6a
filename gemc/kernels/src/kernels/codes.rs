//! The codes of one block of one tile: from the stored chunks ([`gemc_format::Plane`]) to vectors of 16 rows x 4
//! columns of bytes that a dot strategy multiplies.
//!
//! How follows from what the codec's spec says (planes, table, offset), never from which codec it is: one function per
//! way of coding. What comes out is exact: a code's value plus [`offset`], which the dot takes off through the sum of
//! activation codes.

use std::ops::Range;

use gemc_format::{CodecSpec, GROUPS, Plane};

use crate::ir::build::{KernelBuilder, Region, Val};
use crate::ir::{Count, Ty};

/// Sign of the bytes that a strategy multiplies with activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 0..=255.
    Unsigned,
    /// -128..=127.
    Signed,
    /// The same, and values of tables around zero, so that as many products as possible fit a word of 16 bits.
    Centred,
    /// Bytes that are values once an addend is added, the same for all of a row or for all rows.
    Values,
}

/// What unpacked bytes are larger by than values, shifts not counted.
#[must_use]
pub fn offset(spec: &CodecSpec, form: Form) -> i32 {
    let signed_codes = spec.codes.0 < 0;
    match (spec.table, form) {
        (Some(table), Form::Unsigned) => -i32::from(table[0]),
        (None, Form::Unsigned) if signed_codes => 128,
        (Some(_), Form::Signed | Form::Values) => 0,
        (Some(table), Form::Centred) => -centre(table),
        // Codes are unsigned and small: bytes of either form.
        (None, _) => i32::from(spec.codes.0) - spec.values.0,
    }
}

/// The middle of what a table holds, rounded down.
fn centre(table: &[i8]) -> i32 {
    let values = || table.iter().map(|&value| i32::from(value));
    let (least, most) = (values().min(), values().max());
    (least.unwrap_or(0) + most.unwrap_or(0) + 1).div_euclid(2)
}

/// The largest unsigned byte that comes out.
#[must_use]
pub fn largest(spec: &CodecSpec) -> i32 {
    spec.values.1 - spec.shift + offset(spec, Form::Unsigned)
}

/// How many products of bytes of a form and activation codes fit a word of 16 bits: a power of two, at most one of each
/// group.
#[must_use]
pub fn products_in_16_bits(spec: &CodecSpec, form: Form) -> usize {
    let ends = match form {
        Form::Values => [spec.values.0, spec.values.1],
        _ => [spec.values.0, spec.values.1 - spec.shift].map(|value| value + offset(spec, form)),
    };
    let most = ends.map(i32::abs).into_iter().max().unwrap_or(1);
    let fit = i32::from(i16::MAX) / (127 * most.max(1));
    (1 << fit.max(1).ilog2()).min(GROUPS)
}

/// `2^(byte - bias)` of 16 scale bytes, 0 of byte 0.
#[must_use]
pub fn powers_of_two(bytes: Val<'_>, bias: i32) -> Val<'_> {
    // Bits of a float stand for exponents with a bias of 127.
    (bytes << 23).bits(Ty::F32x16) * f32::from_bits(((254 - bias) as u32) << 23)
}

/// The codes of one block of one tile in memory.
pub struct Block<'a, 'k> {
    /// What their codec says of planes and scales.
    pub spec: &'a CodecSpec,
    /// Chunks of 64 bytes, from the block's first one on.
    pub chunks: Region<'k>,
}

impl<'k> Block<'_, 'k> {
    /// Unpacks the block: calls `each(group, codes)` with each group of 4 columns, by its index and its 64 bytes, and
    /// `end` where a turn of the repetition over chunks ends.
    pub fn unpack(
        &self,
        k: &'k KernelBuilder,
        form: Form,
        mut each: impl FnMut(Val<'k>, Val<'k>),
        end: impl Fn(),
    ) {
        match (self.spec.planes, self.spec.table) {
            ([plane], None) => self.bundles(
                k,
                plane,
                |chunk, whole| {
                    for bit in (0..8).step_by(plane.cell as usize) {
                        each(
                            chunk + plane.group(0, bit),
                            self.even(form, plane, whole, bit),
                        );
                    }
                },
                end,
            ),
            ([plane], Some(table)) => self.bundles(
                k,
                plane,
                |chunk, whole| {
                    for nibble in [0, 4] {
                        let index = cell(whole, nibble, 4).named("index");
                        for bit in (0..4).step_by(plane.cell as usize) {
                            let values =
                                table16(|i| value(table, i >> bit, offset(self.spec, form)));
                            let values = k.i8_lanes(values).named("values").lookup(index);
                            each(
                                chunk + plane.group(0, nibble + bit),
                                values.named("weights"),
                            );
                        }
                    }
                },
                end,
            ),
            ([low, top], Some(table)) => self.split(k, form, [low, top], table, each, end),
            _ => unreachable!("a codec has one plane, or two and a table"),
        }
    }

    /// Some of the block's groups, by their index and their 64 bytes, written out one by one as they are asked for: of all in
    /// the order of their chunks those in `places`, which are all of some chunks.
    pub fn groups(
        &self,
        k: &'k KernelBuilder,
        form: Form,
        places: Range<usize>,
    ) -> impl Iterator<Item = (usize, Val<'k>)> + Clone {
        let plane = &self.spec.planes[0];
        let each = GROUPS / plane.chunks();
        debug_assert!(
            [places.start, places.end]
                .iter()
                .all(|at| at.is_multiple_of(each))
        );
        let chunks = turns(plane).skip(places.start / each);
        let groups = chunks.take(places.len() / each).flat_map(move |chunk| {
            let load = |chunk: usize| self.load(k.lit(chunk + plane.chunk)).named("bytes");
            let whole = whole(plane, chunk, |v, mask| v & mask, load);
            let bits = (0..8).step_by(plane.cell as usize);
            bits.map(move |bit| (plane.group(chunk, bit), bit, whole))
        });
        let decode = move |(group, bit, whole)| {
            let weights = match (self.spec.planes, self.spec.table) {
                ([plane], None) => self.even(form, plane, whole, bit),
                ([plane], Some(table)) => {
                    // Two cells or one in a nibble, which the lookup takes whole.
                    let index = cell(whole, bit & 4, 4).named("index");
                    let bit = bit % 4;
                    debug_assert!(bit % plane.cell == 0);
                    let offset = offset(self.spec, form);
                    let values = table16(|i| value(table, i >> bit, offset));
                    k.i8_lanes(values).named("values").lookup(index)
                }
                ([_, top], Some(table)) => {
                    debug_assert_eq!(top.cell, 1, "group g's top bit is bit g");
                    let tops = self.load(k.lit(top.chunk)).named("tops");
                    let (offset, group) = (offset(self.spec, form), group as u32);
                    match form {
                        Form::Unsigned => {
                            let masks = k.i8_lanes(table16(|i| -((i & 1) as i8))).named("masks");
                            let top = masks.lookup(cell(tops, group, 4).named("top"));
                            let index = cell(whole, bit, 4).named("index");
                            halves(k, table, offset, index, top)
                        }
                        // Arm looks up in two registers at once.
                        Form::Signed | Form::Centred | Form::Values => {
                            of_32(k, table, offset, cell(whole, bit, 4), (tops, group))
                        }
                    }
                }
                _ => unreachable!("a codec has one plane, or two and a table"),
            };
            (group, weights.named("weights"))
        };
        groups.map(decode)
    }

    /// A code that is a value but for a constant.
    fn even(&self, form: Form, plane: &Plane, whole: Val<'k>, bit: u32) -> Val<'k> {
        let code = cell(whole, bit, plane.bits);
        if self.spec.codes.0 < 0 && form == Form::Unsigned {
            code ^ 0x80u8
        } else {
            code
        }
    }

    /// 32 values: the lower half of the table by nibbles, and what turns it into the upper half where the top bit is set.
    /// Chunk by chunk the top bits move down, so that the one in question is the lowest of its nibble.
    fn split(
        &self,
        k: &'k KernelBuilder,
        form: Form,
        [low, top]: [&Plane; 2],
        table: &[i8],
        mut each: impl FnMut(Val<'k>, Val<'k>),
        end: impl Fn(),
    ) {
        debug_assert_eq!((top.cell, low.cell), (1, 4), "group g's top bit is bit g");
        let offset = offset(self.spec, form);
        let masks = k.i8_lanes(table16(|i| -((i & 1) as i8))).named("masks");
        let tops = self.load(k.lit(top.chunk)).named("tops");
        let [first, second] = [0, 4].map(|nibble| cell(tops, nibble, 4));
        let tops = k.array("top_bits", &Count::of(2), first);
        tops.set(1, second);
        self.bundles(
            k,
            low,
            |chunk, whole| {
                for (half, nibble) in [0, 4].into_iter().enumerate() {
                    let index = cell(whole, nibble, 4).named("index");
                    let top = tops.get(half);
                    let weights =
                        halves(k, table, offset, index, masks.lookup(top)).named("weights");
                    each(chunk + low.group(0, nibble), weights);
                    tops.set(half, top.shr_u(1));
                }
            },
            end,
        );
    }

    /// Calls `each` with the chunks of a plane, by their index and their bytes, in which cells may have spare bits above
    /// their codes. A missing chunk comes with those that hold its bits.
    fn bundles(
        &self,
        k: &'k KernelBuilder,
        plane: &Plane,
        mut each: impl FnMut(Val<'k>, Val<'k>),
        end: impl Fn(),
    ) {
        let missing = plane.chunks() - plane.stored();
        let (count, sources) = match missing {
            0 => (plane.stored(), 1),
            _ => (missing, plane.stored() / missing),
        };
        k.repeat(&Count::of(count), "chunk", |turn| {
            let loaded: Vec<Val<'k>> = (0..sources)
                .map(|i| {
                    let chunk = turn * sources + i;
                    let bytes = self.load(chunk + plane.chunk).named("bytes");
                    each(chunk, bytes);
                    bytes
                })
                .collect();
            if missing > 0 {
                // Every missing chunk lies in its sources as the first one does.
                let load = |chunk: usize| loaded[chunk];
                let whole = whole(plane, plane.stored(), |v, mask| v & mask, load);
                each(turn + plane.stored(), whole.named("spare"));
            }
            end();
        });
    }

    fn load(&self, chunk: Val<'k>) -> Val<'k> {
        let at = chunk * 64;
        match self.spec.code_bits {
            8 => {
                let (lo, hi) = self.spec.codes;
                self.chunks.load_in(Ty::I8x64, at, lo.into()..=hi.into())
            }
            _ => self.chunks.load(Ty::I8x64, at),
        }
    }
}

/// A chunk of a plane, stored or put together from spare bits of those that are: vectors or single words, of which
/// `masked` keeps some bits of every byte.
pub fn whole<'k>(
    plane: &Plane,
    chunk: usize,
    masked: impl Fn(Val<'k>, u8) -> Val<'k>,
    load: impl Fn(usize) -> Val<'k>,
) -> Val<'k> {
    let pieces = plane.spills(chunk).map(|spill| {
        let moved = load(spill.chunk).shr_u(spill.from - spill.to);
        masked(moved, plane.mask(spill.to, spill.bits))
    });
    pieces
        .reduce(|before, bits| before | bits)
        .unwrap_or_else(|| load(chunk))
}

/// The chunks of a plane, each missing one behind those that hold its bits.
fn turns(plane: &Plane) -> impl Iterator<Item = usize> + Clone + use<> {
    let (stored, missing) = (plane.stored(), plane.chunks() - plane.stored());
    let sources = stored / missing.max(1);
    (0..missing.max(1)).flat_map(move |turn| {
        let own = turn * sources..(turn + 1) * sources;
        own.chain((missing > 0).then_some(stored + turn))
    })
}

/// Bits `bit..bit + bits` of every byte, at its bottom.
fn cell(whole: Val<'_>, bit: u32, bits: u32) -> Val<'_> {
    let shifted = if bit == 0 { whole } else { whole.shr_u(bit) };
    // The shift filled with zeros.
    if bit + bits >= 8 {
        return shifted;
    }
    shifted & ((1u32 << bits) - 1) as u8
}

/// Values plus `offset` from a table of 32: of its lower half by `index`, or of the upper half where `mask` is set.
pub fn halves<'k>(
    k: &'k KernelBuilder,
    table: &[i8],
    offset: i32,
    index: Val<'k>,
    mask: Val<'k>,
) -> Val<'k> {
    let lower = table16(|i| value(table, i, offset));
    let change = table16(|i| value(table, i, offset) ^ value(table, i + 16, offset));
    let lower = k.i8_lanes(lower).named("lower").lookup(index);
    let change = k.i8_lanes(change).named("change").lookup(index);
    lower ^ (change & mask)
}

/// Values plus `offset` from a table of 32, by four bits and a fifth, which is that of a number in every byte.
fn of_32<'k>(
    k: &'k KernelBuilder,
    table: &[i8],
    offset: i32,
    low: Val<'k>,
    (tops, bit): (Val<'k>, u32),
) -> Val<'k> {
    let moved = match bit {
        // What comes from other bytes is masked.
        0..4 => (tops.bits(Ty::I32x16) << (4 - bit)).bits(Ty::I8x64),
        4 => tops,
        _ => tops.shr_u(bit - 4),
    };
    let index = (low | (moved & 16u8)).named("index");
    let half = |from: usize| k.i8_lanes(table16(|i| value(table, from + i, offset)));
    let (lower, upper) = (half(0).named("lower"), half(16).named("upper"));
    lower.lookup32(upper, index)
}

/// 16 bytes by index.
pub fn table16(f: impl Fn(usize) -> i8) -> [i8; 16] {
    std::array::from_fn(f)
}

/// The value of a code, whose length is a power of two, plus `offset`; the code's higher bits do not count.
pub fn value(table: &[i8], code: usize, offset: i32) -> i8 {
    (i32::from(table[code & (table.len() - 1)]) + offset) as i8
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
                for form in [Form::Unsigned, Form::Signed, Form::Centred, Form::Values] {
                    let offset = offset(&spec, form);
                    let byte = match spec.table {
                        Some(table) => value(table, code as usize, offset),
                        None if spec.codes.0 < 0 => code.wrapping_add(offset as u8 as i8),
                        None => code,
                    };
                    let byte = match form {
                        Form::Unsigned => i32::from(byte as u8),
                        Form::Signed | Form::Centred | Form::Values => i32::from(byte),
                    };
                    assert_eq!(byte - offset, codec.value(code, 0), "{codec:?} {form:?}");
                }
            }
        }
    }
}
