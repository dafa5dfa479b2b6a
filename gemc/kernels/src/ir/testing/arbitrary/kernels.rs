//! Kernels of valid random programs: control flow, memory and calls around random values.

use super::values::{Pool, clamp_float};
use crate::ir::build::FunctionRef;
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::testing::Bytes;
use crate::ir::{Elem, Extent, Kernel, Space, Ty};

/// Words of input at the start of the arena.
pub(super) const IN_WORDS: usize = 1024;
/// Items of a mixed kernel at most.
pub(super) const UNITS: u32 = 16;
/// Words that an item writes.
const UNIT_WORDS: i32 = 64;
/// Words that a phase writes.
pub(super) const OUT_WORDS: usize = UNITS as usize * UNIT_WORDS as usize;
/// Size of the weights.
pub(super) const WEIGHT_BYTES: u64 = 4096;

/// Random operations on weights, inputs and the previous phase's output.
pub(super) fn mixed(b: &mut Bytes, name: &str, functions: &[FunctionRef]) -> Kernel {
    let mut k = KernelBuilder::new(name, "random operations", UNITS);
    let weights = Extent::fixed(WEIGHT_BYTES as i64);
    let weights = k.region("weights", Space::Weights, Elem::I8, weights, false);
    let words = Extent::fixed(OUT_WORDS.min(IN_WORDS) as i64);
    let input = k.region("input", Space::Arena, Elem::F32, words, false);
    let out = Extent::fixed(OUT_WORDS as i64);
    let out = k.region("out", Space::Arena, Elem::F32, out, true);
    let scratch = k.local("scratch", Elem::I32, 64);
    let shift = k.scalar("shift", 63);
    let mut pool = Pool::new(&mut k, shift);
    pool.loads(&mut k, b, weights, input);
    for _ in 0..4 + b.below(24) {
        pool.grow(&mut k, b, functions);
    }
    // A local array and a local carried through a loop.
    let start = pool.pick(b, Ty::F32x16);
    let acc = k.named_var("acc", start);
    let count = pool.small(&mut k, b, 4);
    let zero = k.i32(0);
    k.for_(zero, count, |k, i| {
        let old = k.get(acc);
        let mut inner = pool.clone();
        inner.add(k, old);
        inner.add(k, i);
        for _ in 0..b.below(6) {
            inner.grow(k, b, functions);
        }
        let new = inner.pick(b, Ty::F32x16);
        let sum = k.add(old, new);
        let sum = clamp_float(k, sum);
        k.set(acc, sum);
        let at = k.mul_const(i, 16);
        k.store(scratch, at, sum);
    });
    let flag = pool.pick(b, Ty::Bool);
    let at = k.i32(b.below(49) as i32);
    let kept = k.load(Ty::I32x16, scratch, at);
    pool.add(&k, kept);
    k.if_(
        flag,
        |k| {
            let x = k.get(acc);
            let y = k.neg(x);
            k.set(acc, y);
        },
        |k| {
            let x = pool.pick(b, Ty::F32x16);
            k.set(acc, x);
        },
    );
    let last = k.get(acc);
    pool.add(&k, last);
    let item = k.item();
    let base = k.mul_const(item, UNIT_WORDS);
    k.comment("what every item leaves");
    for slot in 0..UNIT_WORDS / 16 {
        let ty = b.pick(&[
            Ty::F32x16,
            Ty::I32x16,
            Ty::I8x64,
            Ty::I16x32,
            Ty::I32,
            Ty::I16x16,
        ]);
        let v = pool.pick(b, ty);
        let at = k.add_const(base, slot * 16);
        k.store(out, at, v);
    }
    k.finish()
}

/// Called through a table: scales words of its item by a number.
pub(super) fn scale() -> Kernel {
    let mut k = KernelBuilder::new("scale", "four words of an item, times a number", UNITS);
    let out = Extent::fixed(OUT_WORDS as i64);
    let out = k.region("out", Space::Arena, Elem::I32, out, true);
    let by = k.scalar("by", 9);
    let item = k.item();
    let zero = k.i32(0);
    let four = k.i32(4);
    k.for_(zero, four, |k, i| {
        let at = k.at(item, UNIT_WORDS, i);
        let x = k.load(Ty::I32, out, at);
        let x = k.add(x, item);
        let y = k.mul(x, by);
        k.store(out, at, y);
    });
    k.finish()
}

/// Calls an entry that depends on the item, for a range of items of its own.
pub(super) fn caller() -> Kernel {
    let mut k = KernelBuilder::new("caller", "items 4u..4u+4 of entry u mod 2", 4);
    let table = k.table("scales", 2);
    let item = k.item();
    let entry = k.rem_const(item, 2);
    let begin = k.mul_const(item, 4);
    let end = k.add_const(begin, 4);
    k.call_table(table, entry, begin, end);
    k.finish()
}

/// Writes 16 bytes and a word of each row's position, and reads the slot's first position.
pub(super) fn kv_rows() -> Kernel {
    let mut k = KernelBuilder::new("kv_rows", "kv of each row", 8);
    let rows = k.region("rows", Space::Rows, Elem::I32, Extent::fixed(32), false);
    let codes = k.region("codes", Space::Kv, Elem::I8, Extent::per_context(4), true);
    let lanes = k.region("lanes", Space::Kv, Elem::F32, Extent::per_context(19), true);
    let item = k.item();
    let row = k.mul_const(item, 4);
    let [token, slot, position] = [0, 1, 2].map(|field| {
        let at = k.add_const(row, field);
        k.load(Ty::I32, rows, at)
    });
    let context = k.context();
    let position = k.bounded(position, context);
    let at = k.mul_const(position, 4);
    k.store_kv(codes, slot, at, token);
    let at = k.mul_const(position, 19);
    let x = k.to_float(token);
    let x = k.splat(x);
    k.store_kv(lanes, slot, at, x);
    let again = k.load_kv(Ty::F32x16, lanes, slot, at);
    let sum = k.reduce_add(again);
    let at = k.add_const(at, 16);
    k.store_kv(lanes, slot, at, sum);
    k.finish()
}
