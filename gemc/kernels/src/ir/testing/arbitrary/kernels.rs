//! Kernels of valid random programs: control flow, memory and calls around random values.

use super::values::{Pool, clamp_float};
use crate::ir::build::{FunctionRef, KernelBuilder};
use crate::ir::testing::Bytes;
use crate::ir::{Elem, Extent, Kernel, Space, Ty};

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
        let negate = || acc.update(|x| -x);
        k.if_(flag, negate, || acc.set(pool.pick(b, Ty::F32x16)));
        pool.add(acc.get());
        let own = out.row(k.item(), UNIT_WORDS);
        k.comment("what every item leaves");
        for at in (0..UNIT_WORDS).step_by(16) {
            let ty = b.pick(&[
                Ty::F32x16,
                Ty::I32x16,
                Ty::I8x64,
                Ty::I16x32,
                Ty::I32,
                Ty::I16x16,
            ]);
            own.store(at, pool.pick(b, ty));
        }
    })
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

/// Writes 16 bytes and a word of each row's position, and reads the slot's first position.
pub(super) fn kv_rows() -> Kernel {
    KernelBuilder::build("kv_rows", "kv of each row", 8, |k| {
        let rows = k.region("rows", Space::Rows, Elem::I32, Extent::fixed(32), false);
        let memory = |name: &str, elem, per_position| {
            k.region(
                name,
                Space::Kv,
                elem,
                Extent::per_context(per_position),
                true,
            )
        };
        let codes = memory("codes", Elem::I8, 4);
        let lanes = memory("lanes", Elem::F32, 19);
        let row = rows.row(k.item(), 4);
        let [token, slot, position] = [0, 1, 2].map(|field| row.get(field));
        let position = position.bounded(k.context());
        codes.of(slot).row(position, 4).store(0, token);
        let own = lanes.of(slot).row(position, 19);
        own.store(0, token.to_float().splat());
        own.store(16, own.lanes(0).reduce_add());
    })
}
