//! Keys or values in a slot's memory, `[head][position][padded width]` in any format: what is stored and loaded, 16 lanes at a
//! time.

use super::quantise::factors;
use super::vector::{LANES, for_chunks};
use crate::choices::KvFormat;
use crate::ir::Elem;
use crate::ir::build::{KernelBuilder, Operand, Region, Val};

/// What a memory of keys or values looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Format of the values.
    pub format: KvFormat,
    /// Number of heads.
    pub heads: usize,
    /// Elements of a head, a multiple of 16.
    pub padded: usize,
    /// Whether only so many positions are kept, a multiple of [`CHUNK`](super::attention::CHUNK): position p stands at
    /// `p % ring`, where the one before it is overwritten.
    pub ring: Option<usize>,
}

/// The regions of keys or values: their codes, and the scales of int8.
#[derive(Clone, Copy, Debug)]
pub struct CacheRegions<'k> {
    cache: Cache,
    values: Region<'k>,
    /// One a head and position.
    scales: Option<Region<'k>>,
}

/// One head at one position of a slot: row `head * positions + place` of the regions.
#[derive(Clone, Copy)]
pub struct CacheRow<'k> {
    format: KvFormat,
    values: Region<'k>,
    scale: Option<Region<'k>>,
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

    /// Positions there is room for.
    pub fn positions<'k>(&self, k: &'k KernelBuilder) -> Val<'k> {
        self.ring.map_or_else(|| k.context(), |ring| k.lit(ring))
    }

    /// Where a position stands among those.
    pub fn place<'k>(&self, position: Val<'k>) -> Val<'k> {
        self.ring.map_or(position, |ring| position % ring)
    }

    /// Declares the regions as parameters of a kernel; `mutable` for the one that stores rows.
    pub fn declare<'k>(&self, k: &'k KernelBuilder, name: &str, mutable: bool) -> CacheRegions<'k> {
        let elem = match self.format {
            KvFormat::F32 => Elem::F32,
            KvFormat::F16 => Elem::I16,
            KvFormat::Int8 => Elem::I8,
        };
        let memory = |name: &str, elem, len| match self.ring {
            None => k.memory(name, elem, len, mutable),
            Some(ring) => k.ring(name, elem, ring * len, mutable),
        };
        CacheRegions {
            cache: *self,
            values: memory(name, elem, self.heads * self.padded),
            scales: (self.format == KvFormat::Int8)
                .then(|| memory(&format!("{name}_scales"), Elem::F32, self.heads)),
        }
    }
}

impl<'k> CacheRegions<'k> {
    /// One row of a slot; rows are `width` elements.
    pub fn row(&self, slot: Val<'k>, row: Val<'k>, width: impl Operand<'k>) -> CacheRow<'k> {
        CacheRow {
            format: self.cache.format,
            values: self.values.of(slot).row(row, width),
            scale: self.scales.map(|scales| scales.of(slot).skip(row)),
        }
    }

    /// Stores a head from local memory, padding included, as a row of a slot.
    pub fn store(&self, k: &'k KernelBuilder, slot: Val<'k>, row: Val<'k>, head: Region<'k>) {
        let Cache { format, padded, .. } = self.cache;
        let inverse = self.scales.map(|scales| {
            let (inverse, scale) = factors(largest(k, head, padded));
            scales.of(slot).store(row, scale);
            inverse
        });
        let start = row * padded;
        for_chunks(k, padded / LANES, |at| {
            let value = head.lanes(at);
            let index = start + at;
            let value = match (format, inverse) {
                (KvFormat::F16, _) => within_half(k, value).float_to_half(),
                (_, Some(inverse)) => (value * inverse).to_int().narrow(),
                (_, None) => value,
            };
            self.values.of(slot).store(index, value);
        });
    }
}

impl<'k> CacheRow<'k> {
    /// 16 values from element `at` on, in units of the row's scale.
    pub fn lanes(self, at: impl Operand<'k>) -> Val<'k> {
        let stored = self.values.lanes(at);
        match self.format {
            KvFormat::F32 => stored,
            KvFormat::F16 => stored.half_to_float(),
            KvFormat::Int8 => stored.widen_s().to_float(),
        }
    }

    /// `value` times the scale.
    pub fn scaled(self, value: Val<'k>) -> Val<'k> {
        match self.scale {
            None => value,
            Some(scale) => value * scale.get(0),
        }
    }
}

/// Values that f16 holds: larger ones become the largest, 65504, which the runtime counts (`gem_runtime::abi::HalfTap`).
/// An infinity would make every later sum NaN. NaN stays: it is the second operand of both.
fn within_half<'k>(k: &'k KernelBuilder, value: Val<'k>) -> Val<'k> {
    let [most, least] = [65504.0, -65504.0].map(|limit| k.splat(limit));
    least.max(most.min(value))
}

/// The largest magnitude of a local head; its codes follow the rule of int8 activations.
fn largest<'k>(k: &'k KernelBuilder, head: Region<'k>, padded: usize) -> Val<'k> {
    let largest = k.var("largest", k.splat(0.0));
    for_chunks(k, padded / LANES, |at| {
        let magnitude = head.lanes(at).abs();
        largest.update(|largest| largest.max(magnitude));
    });
    largest.get().reduce_max()
}
