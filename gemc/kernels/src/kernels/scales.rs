//! Scales of a block of 16 weight rows, and what codes that are not values are too large by.

use gemc_format::{CodecSpec, Scales};

use super::codes::{self, Form};
use super::planes::PlaneRegions;
use crate::choices::DotStrategy;
use crate::ir::Ty;
use crate::ir::build::{KernelBuilder, Val};

/// A scalar in every lane of a vector like another one, or like a half of one.
pub(super) fn in_lanes<'k>(scalar: Val<'k>, like: Val<'k>) -> Val<'k> {
    match like.ty() {
        Ty::I32x8 | Ty::F32x8 => scalar.splat().low(),
        _ => scalar.splat(),
    }
}

/// A sum of activation codes, which fits 16 bits, in every word that counts.
fn in_words(sum: Val<'_>) -> Val<'_> {
    sum.splat().bits(Ty::I16x32)
}

/// What bytes of [`Form::Values`] are too small by, given the scales of 16 rows, whose lowest bits say which rows are shifted.
fn addend<'k>(k: &'k KernelBuilder, spec: &CodecSpec, byte: Val<'k>) -> Option<Val<'k>> {
    let bytes = |n: i32| k.splat(i32::from_le_bytes([n as u8; 4])).bits(Ty::I8x64);
    let (fixed, shift) = (-codes::offset(spec, Form::Values), spec.shift);
    debug_assert!(fixed == 0 || shift == 0, "tables hold values themselves");
    let addend = match (fixed, shift) {
        (0, 0) => return None,
        (fixed, 0) => bytes(fixed),
        (_, shift) => (k.splat(0) - (byte & 1)).bits(Ty::I8x64) & (shift as u8),
    };
    Some(addend.named("addend"))
}

/// Block scales of 16 rows, and what unsigned codes are too large by.
pub(super) struct BlockScale<'k> {
    pub factor: Val<'k>,
    /// I8x64: what bytes of [`Form::Values`] are too small by, where they are.
    pub addend: Option<Val<'k>>,
    offset: Offset<'k>,
}

enum Offset<'k> {
    /// Codes are this much too large.
    Fixed(i32),
    /// This vector times the sum of activation codes is to be added.
    PerRow(Val<'k>),
    /// This vector of zeros and ones times this often the sum of activation codes is to be added.
    PerBit(Val<'k>, i32),
    /// As [`Offset::PerRow`], as words of 16 bits of which every other one is 0.
    PerRowInWords(Val<'k>),
    /// As [`Offset::PerRow`], as floats, to be added to sums that are floats already.
    PerRowInFloats(Val<'k>),
}

impl<'k> BlockScale<'k> {
    /// Those of the block with this number, whose codes come in a form.
    pub fn load(
        k: &'k KernelBuilder,
        planes: &PlaneRegions<'k>,
        (dot, form): (DotStrategy, Form),
        at: Val<'k>,
    ) -> Self {
        let spec = planes.size.codec.spec();
        let bytes = planes.scales(at).lanes(0).named("scale_bytes");
        let byte = if spec.unsigned_scale {
            bytes.widen_u()
        } else {
            bytes.widen_s()
        };
        let byte = byte.named("scale");
        let offset = match form {
            Form::Values => 0,
            _ => codes::offset(&spec, form),
        };
        let addend = (form == Form::Values)
            .then(|| addend(k, &spec, byte))
            .flatten();
        if spec.shift == 0 {
            return Self {
                addend,
                factor: match spec.scales {
                    Scales::Integers { .. } => byte,
                    Scales::PowersOfTwo { bias } => codes::powers_of_two(byte, bias).named("power"),
                },
                offset: Offset::Fixed(offset),
            };
        }
        let factor = (byte | 1).named("factor");
        if form == Form::Values {
            let offset = Offset::Fixed(0);
            return Self {
                addend,
                factor,
                offset,
            };
        }
        let bit = byte & 1;
        let shift = (bit * spec.shift - k.splat(offset)).named("shift");
        Self {
            addend,
            factor,
            offset: match dot {
                // A row's number is multiplied rather than those of 16 rows, where that is more than a shift.
                DotStrategy::SignedBytes4
                    if offset == 0 && !spec.shift.unsigned_abs().is_power_of_two() =>
                {
                    Offset::PerBit(bit.named("shifted"), spec.shift)
                }
                // Both it and sums fit 16 bits, whose products cost less; the upper words are 0.
                DotStrategy::Pairs => {
                    let words = (shift & 0xffff).bits(Ty::I16x32);
                    Offset::PerRowInWords(words.named("shift_words"))
                }
                DotStrategy::Bytes4 | DotStrategy::SignedBytes4 | DotStrategy::Lanes16 => {
                    Offset::PerRow(shift)
                }
            },
        }
    }

    /// Those of some of the rows, which `cut` takes out of vectors of all.
    pub fn of_rows(&self, cut: impl Fn(Val<'k>) -> Val<'k>) -> Self {
        Self {
            addend: self.addend,
            factor: cut(self.factor),
            offset: match self.offset {
                Offset::Fixed(offset) => Offset::Fixed(offset),
                Offset::PerRow(factor) => Offset::PerRow(cut(factor)),
                Offset::PerBit(bit, times) => Offset::PerBit(cut(bit), times),
                Offset::PerRowInWords(words) => Offset::PerRowInWords(cut(words)),
                Offset::PerRowInFloats(floats) => Offset::PerRowInFloats(cut(floats)),
            },
        }
    }

    /// Bytes of codes, as large as their values where they come in [`Form::Values`].
    pub fn values(&self, codes: Val<'k>) -> Val<'k> {
        self.addend.map_or(codes, |addend| codes + addend)
    }

    /// The same with factors as floats, for sums of one block that become floats.
    pub fn float_factors(self) -> Self {
        Self {
            factor: self.factor.to_float().named("float_factor"),
            ..self
        }
    }

    /// The same with offsets as floats, where they are vectors: many rows add them by a fused multiplication, which costs the
    /// cores without dot products less than one of integers. All of these integers are below 2^24, so bits are the same.
    pub fn float_offsets(self, dot: DotStrategy) -> Self {
        let offset = match self.offset {
            Offset::PerRow(shift) if dot == DotStrategy::Lanes16 => {
                Offset::PerRowInFloats(shift.to_float().named("float_shift"))
            }
            offset => offset,
        };
        Self { offset, ..self }
    }

    /// A block's sum as floats, with what [`BlockScale::correction`] has not added to it.
    pub fn to_float(&self, sum: Val<'k>, activations: impl FnOnce() -> Val<'k>) -> Val<'k> {
        match self.offset {
            Offset::PerRowInFloats(shift) => {
                let activations = in_lanes(activations().to_float(), shift);
                shift.mul_add(activations, sum.to_float())
            }
            _ => sum.to_float(),
        }
    }

    /// Sums with the offset of the codes taken off through the block's sum of activation codes.
    pub fn corrected(&self, sums: Val<'k>, activations: impl FnOnce() -> Val<'k>) -> Val<'k> {
        match self.offset {
            Offset::Fixed(0) => sums,
            Offset::Fixed(offset) => sums + (activations() * -offset).splat(),
            Offset::PerRow(factor) => sums + factor * activations().splat(),
            Offset::PerBit(bit, times) => sums + bit * (activations() * times).splat(),
            Offset::PerRowInWords(words) => sums + words.dot_words(in_words(activations())),
            Offset::PerRowInFloats(_) => unreachable!("sums are integers here"),
        }
    }

    /// What sums with the offset taken off begin with, where there is one, through the block's sum of activation codes.
    pub fn correction(&self, activations: impl FnOnce() -> Val<'k>) -> Option<Val<'k>> {
        match self.offset {
            Offset::Fixed(0) | Offset::PerRowInFloats(_) => None,
            Offset::Fixed(offset) => Some(in_lanes(activations() * -offset, self.factor)),
            Offset::PerRow(factor) => Some(factor * in_lanes(activations(), factor)),
            Offset::PerBit(bit, times) => Some(bit * in_lanes(activations() * times, bit)),
            Offset::PerRowInWords(words) => {
                let sums = in_words(activations());
                let sums = match words.ty() {
                    Ty::I16x16 => sums.low(),
                    _ => sums,
                };
                Some(words.dot_words(sums))
            }
        }
    }
}
