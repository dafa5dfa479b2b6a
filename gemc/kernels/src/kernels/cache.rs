//! Keys or values in a slot's memory, `[head][position][padded width]` in any format: what is stored and loaded, 16 lanes at a
//! time.

use super::quantise::factors;
use super::vector::LANES;
use crate::choices::KvFormat;
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::affine;
use crate::ir::{Elem, Extent, ParamId, Space, Ty, ValueId};

/// What a memory of keys or values looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Format of the values.
    pub format: KvFormat,
    /// Heads.
    pub heads: usize,
    /// Elements of a head, a multiple of 16.
    pub padded: usize,
}

/// Its regions.
#[derive(Clone, Copy, Debug)]
pub struct CacheRegions {
    format: KvFormat,
    values: ParamId,
    /// One a head and position.
    scales: Option<ParamId>,
}

impl Cache {
    /// Bytes per position of each of its regions, in the order of arguments.
    #[must_use]
    pub fn bytes(&self) -> Vec<usize> {
        let values = self.heads * self.padded;
        match self.format {
            KvFormat::F32 => vec![4 * values],
            KvFormat::F16 => vec![2 * values],
            KvFormat::Int8 => vec![values, 4 * self.heads],
        }
    }

    /// Declares the regions.
    pub fn declare(&self, b: &mut KernelBuilder, name: &str, mutable: bool) -> CacheRegions {
        let elem = match self.format {
            KvFormat::F32 => Elem::F32,
            KvFormat::F16 => Elem::I16,
            KvFormat::Int8 => Elem::I8,
        };
        let values = Extent::per_context((self.heads * self.padded) as i64);
        let values = b.region(name, Space::Kv, elem, values, mutable);
        let scales = (self.format == KvFormat::Int8).then(|| {
            let scales = Extent::per_context(self.heads as i64);
            b.region(
                &format!("{name}_scales"),
                Space::Kv,
                Elem::F32,
                scales,
                mutable,
            )
        });
        CacheRegions {
            format: self.format,
            values,
            scales,
        }
    }
}

impl CacheRegions {
    /// Stores a head from local memory, padding included, as row `row` (`head * context + position`).
    pub fn store(
        &self,
        b: &mut KernelBuilder,
        slot: ValueId,
        row: ValueId,
        local: ParamId,
        padded: usize,
    ) {
        let inverse = self.scales.map(|scales| {
            let (inverse, scale) = factors_of(b, local, padded);
            b.store_kv(scales, slot, row, scale);
            inverse
        });
        let to = affine(b, row, padded, 0);
        b.for_n((padded / LANES) as i32, |b, chunk| {
            let index = affine(b, chunk, LANES, 0);
            let value = b.load(Ty::F32x16, local, index);
            let index = b.add(to, index);
            let value = match (self.format, inverse) {
                (KvFormat::F16, _) => {
                    let value = within_half(b, value);
                    b.float_to_half(value)
                }
                (_, Some(inverse)) => {
                    let scaled = b.mul(value, inverse);
                    let code = b.to_int(scaled);
                    b.narrow(code)
                }
                (_, None) => value,
            };
            b.store_kv(self.values, slot, index, value);
        });
    }

    /// 16 values from element `index` on, in units of the row's scale.
    pub fn load(&self, b: &mut KernelBuilder, slot: ValueId, index: ValueId) -> ValueId {
        match self.format {
            KvFormat::F32 => b.load_kv(Ty::F32x16, self.values, slot, index),
            KvFormat::F16 => {
                let halves = b.load_kv(Ty::I16x16, self.values, slot, index);
                b.half_to_float(halves)
            }
            KvFormat::Int8 => {
                let codes = b.load_kv(Ty::I8x16, self.values, slot, index);
                let codes = b.widen_s(codes);
                b.to_float(codes)
            }
        }
    }

    /// `value` times the scale of a row.
    pub fn scaled(
        &self,
        b: &mut KernelBuilder,
        slot: ValueId,
        row: ValueId,
        value: ValueId,
    ) -> ValueId {
        match self.scales {
            None => value,
            Some(scales) => {
                let scale = b.load_kv(Ty::F32, scales, slot, row);
                b.mul(value, scale)
            }
        }
    }
}

/// Values that f16 holds: larger ones become the largest, 65504, which the runtime counts (`gem_runtime::abi::HalfTap`).
/// An infinity would make every later sum NaN. NaN stays: it is the second operand of both.
fn within_half(b: &mut KernelBuilder, value: ValueId) -> ValueId {
    let [most, least] = [65504.0, -65504.0].map(|limit| {
        let limit = b.f32(limit);
        b.splat(limit)
    });
    let value = b.min(most, value);
    b.max(least, value)
}

/// What codes of a local head are multiplied with, and what one stands for: the rule of int8 activations.
fn factors_of(b: &mut KernelBuilder, local: ParamId, padded: usize) -> (ValueId, ValueId) {
    let zero = b.f32(0.0);
    let zeros = b.splat(zero);
    let most = b.named_var("largest", zeros);
    b.for_n((padded / LANES) as i32, |b, chunk| {
        let index = affine(b, chunk, LANES, 0);
        let value = b.load(Ty::F32x16, local, index);
        let magnitude = b.abs(value);
        let before = b.get(most);
        let larger = b.max(before, magnitude);
        b.set(most, larger);
    });
    let most = b.get(most);
    let largest = b.reduce_max(most);
    b.now(|k| {
        let (inverse, scale) = factors(k.val(largest));
        (inverse.id(), scale.id())
    })
}
