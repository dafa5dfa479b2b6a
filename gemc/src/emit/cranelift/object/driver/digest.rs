//! XXH64 of memory as Cranelift IR: the digests of a weight file, as `gem_runtime::file::Checksum` has them, for objects
//! that link nothing.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use cranelift_frontend::Variable;

use super::code::Code;

const PRIMES: [u64; 5] = [
    0x9e37_79b1_85eb_ca87,
    0xc2b2_ae3d_27d4_eb4f,
    0x1656_67b1_9e37_79f9,
    0x85eb_ca77_c2b2_ae63,
    0x27d4_eb2f_1656_67c5,
];

/// Bytes of a round of four lanes, as a power of two.
const STRIPE: u64 = 5;

/// `uint64_t digest(const void *start, uint64_t bytes)`; `start` is a multiple of 8.
pub(super) fn digest(c: &mut Code<'_>, params: &[Value]) {
    let &[start, bytes] = params else { return };
    let [p1, p2, _, _, p5] = PRIMES;
    let seeds = [p1.wrapping_add(p2), p2, 0, p1.wrapping_neg()];
    let lanes = seeds.map(|seed| {
        let seed = c.wide(seed);
        c.variable(I64, seed)
    });
    let stripes = shifted_right(c, bytes, STRIPE);
    let zero = c.wide(0);
    c.each(zero, stripes, |c, index| {
        let at = element(c, start, index, STRIPE);
        for (i, lane) in (0..).zip(lanes) {
            let word = c.load(I64, at, 8 * i);
            let held = c.get(lane);
            let next = round(c, held, word);
            c.set(lane, next);
        }
    });
    let long = merged(c, lanes);
    let short = c.wide(p5);
    let stripe = c.wide(1 << STRIPE);
    let is_long = c.is(bytes, IntCC::UnsignedGreaterThanOrEqual, stripe);
    let sum = c.ins().select(is_long, long, short);
    let sum = c.ins().iadd(sum, bytes);
    let sum = c.variable(I64, sum);
    tail(c, sum, [start, bytes]);
    let found = c.get(sum);
    let found = avalanche(c, found);
    c.ret(&[found]);
}

/// One step of a lane.
fn round(c: &mut Code<'_>, held: Value, word: Value) -> Value {
    let product = times(c, word, PRIMES[1]);
    let sum = c.ins().iadd(held, product);
    let turned = rotated(c, sum, 31);
    times(c, turned, PRIMES[0])
}

/// The lanes as one number.
fn merged(c: &mut Code<'_>, lanes: [Variable; 4]) -> Value {
    let lanes = lanes.map(|lane| c.get(lane));
    let mut sum = c.wide(0);
    for (lane, by) in lanes.into_iter().zip([1, 7, 12, 18]) {
        let turned = rotated(c, lane, by);
        sum = c.ins().iadd(sum, turned);
    }
    for lane in lanes {
        let nothing = c.wide(0);
        let mixed = round(c, nothing, lane);
        let both = c.ins().bxor(sum, mixed);
        let product = times(c, both, PRIMES[0]);
        sum = plus(c, product, PRIMES[3]);
    }
    sum
}

/// Adds what is behind the last whole stripe: words, then half a word, then bytes.
fn tail(c: &mut Code<'_>, sum: Variable, [start, bytes]: [Value; 2]) {
    let [p1, p2, p3, p4, p5] = PRIMES;
    let mut done = STRIPE;
    for (ty, size) in [(I64, 3), (I32, 2), (I8, 0)] {
        let [first, end] = [done, size].map(|size| shifted_right(c, bytes, size));
        let by = c.wide(done - size);
        let first = c.ins().ishl(first, by);
        done = size;
        c.each(first, end, |c, index| {
            let at = element(c, start, index, size);
            let word = loaded(c, ty, at);
            let (mixed, turn, factor, add) = match ty {
                I64 => {
                    let nothing = c.wide(0);
                    (round(c, nothing, word), 27, p1, p4)
                }
                I32 => (times(c, word, p1), 23, p2, p3),
                _ => (times(c, word, p5), 11, p1, 0),
            };
            let held = c.get(sum);
            let both = c.ins().bxor(held, mixed);
            let turned = rotated(c, both, turn);
            let product = times(c, turned, factor);
            let next = plus(c, product, add);
            c.set(sum, next);
        });
    }
}

/// Makes every bit depend on every other one.
fn avalanche(c: &mut Code<'_>, mut sum: Value) -> Value {
    for (by, factor) in [(33, PRIMES[1]), (29, PRIMES[2]), (32, 1)] {
        let high = shifted_right(c, sum, by);
        let mixed = c.ins().bxor(sum, high);
        sum = times(c, mixed, factor);
    }
    sum
}

fn times(c: &mut Code<'_>, value: Value, factor: u64) -> Value {
    let factor = c.wide(factor);
    c.ins().imul(value, factor)
}

fn plus(c: &mut Code<'_>, value: Value, more: u64) -> Value {
    let more = c.wide(more);
    c.ins().iadd(value, more)
}

fn rotated(c: &mut Code<'_>, value: Value, by: u64) -> Value {
    let by = c.wide(by);
    c.ins().rotl(value, by)
}

fn shifted_right(c: &mut Code<'_>, value: Value, by: u64) -> Value {
    let by = c.wide(by);
    c.ins().ushr(value, by)
}

/// Address of an element whose size is a power of two.
fn element(c: &mut Code<'_>, start: Value, index: Value, size: u64) -> Value {
    let size = c.wide(size);
    let offset = c.ins().ishl(index, size);
    c.ins().iadd(start, offset)
}

/// A number of any width, as 64 bits.
fn loaded(c: &mut Code<'_>, ty: Type, at: Value) -> Value {
    let word = c.load(ty, at, 0);
    match ty {
        I64 => word,
        _ => c.ins().uextend(I64, word),
    }
}
