//! Kernels of valid random programs: control flow, memory and calls around random values.

use super::values::{Pool, clamp_float};
use crate::ir::build::{FunctionRef, KernelBuilder, Region, Val};
use crate::ir::testing::Bytes;
use crate::ir::{Count, Elem, Extent, Kernel, Space, Ty};

/// Words of input at the start of the arena.
pub(super) const IN_WORDS: usize = 1024;
/// Items of a mixed kernel at most.
pub(super) const UNITS: u32 = 16;
/// Words that an item writes.
const UNIT_WORDS: usize = 64;
/// Words that a phase writes.
pub(super) const OUT_WORDS: usize = UNITS as usize * UNIT_WORDS;
/// Size of the weights.
pub(super) const WEIGHT_BYTES: u64 = 4096;

/// Random operations on weights, inputs and the previous phase's output.
pub(super) fn mixed(b: &mut Bytes, name: &str, functions: &[FunctionRef]) -> Kernel {
    KernelBuilder::build(name, "random operations", UNITS, |k| {
        let weights = k.weights("weights", Elem::I8, WEIGHT_BYTES as usize);
        let input = k.input("input", Elem::F32, OUT_WORDS.min(IN_WORDS));
        let out = k.output("out", Elem::F32, OUT_WORDS);
        let scratch = k.local("scratch", Elem::I32, 64);
        let lonely = k.local("lonely", Elem::F32, 16);
        let mut pool = Pool::new(k, functions, k.scalar("shift", 63));
        pool.loads(b, weights, input);
        for _ in 0..4 + b.below(24) {
            pool.grow(b);
        }
        // A local array and a local carried through a loop.
        let acc = k.var("acc", pool.pick(b, Ty::F32x16));
        k.for_n(pool.small(b, 4), |i| {
            let old = acc.get();
            let mut inner = pool.clone();
            inner.add(old);
            inner.add(i);
            for _ in 0..b.below(6) {
                inner.grow(b);
            }
            let sum = clamp_float(old + inner.pick(b, Ty::F32x16));
            acc.set(sum);
            scratch.store(i * 16, sum);
        });
        let flag = pool.pick(b, Ty::Bool);
        pool.add(scratch.lanes(b.below(49)));
        // Only this branch uses it: there it must be zero, whatever items before have left.
        let negate = || {
            acc.update(|x| lonely.lanes(0) - x);
            lonely.store(0, acc.get());
        };
        k.if_(flag, negate, || acc.set(pool.pick(b, Ty::F32x16)));
        pool.add(acc.get());
        let array = repeated(k, b, &pool, input);
        pool.add(array);
        let own = out.row(k.item(), UNIT_WORDS);
        k.comment("what every item leaves");
        // What comes of the array is needed, whatever else is.
        own.store(0, array);
        for at in (16..UNIT_WORDS).step_by(16) {
            let ty = b.pick(&[
                Ty::F32x16,
                Ty::I32x16,
                Ty::I8x64,
                Ty::I16x32,
                Ty::I32,
                Ty::I16x16,
                Ty::I8x32,
                Ty::I32x8,
                Ty::F32x8,
            ]);
            own.store(at, pool.pick(b, ty));
        }
    })
}

/// An array that repetitions change, in a loop, in an outline and by themselves, and strips over a number of
/// its elements; gives what comes of it.
fn repeated<'k>(
    k: &'k KernelBuilder,
    b: &mut Bytes,
    pool: &Pool<'k>,
    input: Region<'k>,
) -> Val<'k> {
    let n = 1 + b.below(4);
    let count = match b.below(2) {
        0 => Count::of(n),
        _ => Count::named(n, "rows"),
    };
    let array = k.array("array", &count, pool.pick(b, Ty::F32x16));
    let starts = k.array("starts", &count, 0);
    k.repeat(&count, "row", |row| starts.set(row, k.item() + row * 3));
    let mut step = |inner: &Pool<'k>, row: Val<'k>| {
        let mut inner = inner.clone();
        inner.add(row);
        inner.add(array.get(row));
        for _ in 0..b.below(4) {
            inner.grow(b);
        }
        let sum = clamp_float(array.get(row) + inner.pick(b, Ty::F32x16));
        array.set(row, sum);
    };
    k.repeat(&count, "row", |row| step(pool, row));
    k.for_n(3, |i| {
        let mut inner = pool.clone();
        inner.add(i);
        k.repeat(&count, "row", |row| step(&inner, row));
    });
    k.outline("part", &[("times", k.lit(2))], |inputs| {
        k.for_n(inputs[0], |at| {
            let read = clamp_float(input.lanes(at * 16));
            k.repeat(&count, "row", |row| {
                let more = starts.get(row).to_float().splat();
                array.update(row, |x| clamp_float(x * 0.5 + more + read));
            });
        });
    });
    let strip = Count::named(1 + b.below(4), "strip");
    let total = k.var("total", array.get(b.below(n)));
    k.strips(pool.small(b, 9), &strip, |first, size| {
        let parts = k.array("parts", &strip, total.get());
        k.repeat(&strip, "row", |row| {
            let more = ((first + row) * 8 + size).to_float().splat();
            parts.update(row, |x| clamp_float(x * 0.5 + more));
        });
        k.repeat(&strip, "row", |row| {
            total.update(|total| clamp_float(total - parts.get(row)));
        });
    });
    total.get()
}

/// Called through a table: scales words of its item by a number.
pub(super) fn scale() -> Kernel {
    let doc = "four words of an item, times a number";
    KernelBuilder::build("scale", doc, UNITS, |k| {
        let out = k.output("out", Elem::I32, OUT_WORDS);
        let by = k.scalar("by", 9);
        let item = k.item();
        k.for_n(4, |i| {
            let at = item * UNIT_WORDS + i;
            out.store(at, (out.get(at) + item) * by);
        });
    })
}

/// Calls an entry that depends on the item, for a range of items of its own.
pub(super) fn caller() -> Kernel {
    KernelBuilder::build("caller", "items 4u..4u+4 of entry u mod 2", 4, |k| {
        let table = k.table("scales", 2);
        let (entry, begin) = (k.item() % 2, k.item() * 4);
        k.call_table(table, entry, begin, begin + 4);
    })
}

/// Elements of the ring that [`kv_rows`] has.
pub(super) const RING: usize = 5;

/// Writes 16 bytes and a word of each row's position, and reads the slot's first position.
pub(super) fn kv_rows() -> Kernel {
    KernelBuilder::build("kv_rows", "kv of each row", 8, |k| {
        let rows = k.region("rows", Space::Rows, Elem::I32, Extent::fixed(32), false);
        let codes = k.memory("codes", Elem::I8, 4, true);
        let lanes = k.memory("lanes", Elem::F32, 19, true);
        let ring = k.ring("ring", Elem::F32, RING, true);
        let row = rows.row(k.item(), 4);
        let [token, slot, position] = [0, 1, 2].map(|field| row.get(field));
        let position = position.bounded(k.context());
        codes.of(slot).row(position, 4).store(0, token);
        let own = lanes.of(slot).row(position, 19);
        own.store(0, token.to_float().splat());
        own.store(16, own.lanes(0).reduce_add());
        // Rows of one slot have different positions.
        ring.of(slot).store(position % RING, own.get(16));
    })
}
