//! A kernel with every operation, its results one after the other.

use gemc_kernels::ir::build::old::{KernelBuilder, Ops};
use gemc_kernels::ir::{Cmp, Elem, Kernel, ParamId, Space, Ty, ValueId};

use super::fixed;

/// Stores results one after the other.
struct Results {
    region: ParamId,
    count: i32,
}

impl Results {
    fn put(&mut self, b: &mut KernelBuilder, value: ValueId) {
        let at = b.i32(16 * self.count);
        b.store(self.region, at, value);
        self.count += 1;
    }
}

/// A kernel with every operation.
pub(super) fn operations() -> Kernel {
    let mut b = KernelBuilder::new(
        "operations",
        "Every operation of the kernel IR, one result after the other",
        1,
    );
    let floats = b.region("floats", Space::Arena, Elem::F32, fixed(48), false);
    let ints = b.region("ints", Space::Arena, Elem::I32, fixed(48), false);
    let bytes = b.region("bytes", Space::Arena, Elem::I8, fixed(192), false);
    let region = b.region("results", Space::Arena, Elem::I32, fixed(16 * 128), true);
    let mut out = Results { region, count: 0 };
    b.comment("Floats, 16 lanes");
    float_vectors(&mut b, floats, &mut out);
    b.comment("Integers, 16 lanes");
    int_vectors(&mut b, ints, &mut out);
    b.comment("Bytes and words");
    byte_vectors(&mut b, bytes, &mut out);
    b.comment("Scalars");
    scalars(&mut b, floats, ints, &mut out);
    b.finish()
}

fn loads(b: &mut KernelBuilder, region: ParamId, ty: Ty, names: [&str; 3]) -> [ValueId; 3] {
    let mut at = 0;
    names.map(|name| {
        let index = b.i32(at);
        at += 16;
        let v = b.load(ty, region, index);
        b.name(v, name)
    })
}

fn float_vectors(b: &mut KernelBuilder, region: ParamId, out: &mut Results) {
    let [x, y, z] = loads(b, region, Ty::F32x16, ["x", "y", "z"]);
    let size = b.abs(x);
    let values = [
        b.add(x, y),
        b.sub(x, y),
        b.mul(x, y),
        b.div(x, y),
        b.fma(x, y, z),
        b.min(x, y),
        b.max(x, y),
        size,
        b.neg(x),
        b.sqrt(size),
        b.to_int(x),
        b.float_to_half(x),
        b.reduce_add(x),
        b.reduce_max(x),
        b.bits(Ty::I32x16, x),
        b.bits(Ty::I8x64, x),
        b.bits(Ty::I16x32, x),
    ];
    for value in values {
        out.put(b, value);
    }
    for cmp in Cmp::ALL {
        let mask = b.cmp(cmp, x, y);
        let chosen = b.select(mask, z, x);
        out.put(b, chosen);
    }
    let half = b.float_to_half(y);
    let back = b.half_to_float(half);
    out.put(b, back);
}

fn int_vectors(b: &mut KernelBuilder, region: ParamId, out: &mut Results) {
    let [x, y, z] = loads(b, region, Ty::I32x16, ["i", "j", "l"]);
    let lanes = b.i32_lanes([
        0,
        1,
        -2,
        3,
        4,
        5,
        6,
        7,
        8,
        i32::MIN,
        i32::MAX,
        11,
        12,
        13,
        14,
        15,
    ]);
    let narrow = b.narrow(x);
    let values = [
        b.add(x, lanes),
        b.sub(x, y),
        b.mul(x, y),
        b.min(x, y),
        b.max(x, y),
        b.and(x, y),
        b.or(x, y),
        b.xor(x, y),
        b.shl(x, 5),
        b.shr_s(x, 5),
        b.shr_u(x, 5),
        b.to_float(x),
        b.reduce_add(x),
        narrow,
        b.widen_s(narrow),
        b.widen_u(narrow),
        b.bits(Ty::F32x16, x),
    ];
    for value in values {
        out.put(b, value);
    }
    for cmp in Cmp::ALL {
        let mask = b.cmp(cmp, x, y);
        let chosen = b.select(mask, x, z);
        out.put(b, chosen);
    }
}

fn byte_vectors(b: &mut KernelBuilder, region: ParamId, out: &mut Results) {
    let [first, second, third] = [0, 64, 128].map(|at| b.i32(at));
    let p = b.load_range(Ty::I8x64, region, first, 0, 63);
    let q = b.load_range(Ty::I8x64, region, second, -127, 127);
    let r = b.load_range(Ty::I8x64, region, third, -127, 127);
    let nibbles = b.splat_i32(0x0f0f_0f0f);
    let nibbles = b.bits(Ty::I8x64, nibbles);
    let index = b.and(p, nibbles);
    let table = b.i8_lanes([
        -63, -52, -42, -33, -25, -18, -11, -5, 1, 7, 13, 19, 27, 35, 45, 57,
    ]);
    let looked_up = b.lookup(table, index);
    let acc = b.splat_i32(1000);
    let pairs = b.dot2_u(p, q);
    let signed = b.dot2_s(index, r);
    let sum = b.add(pairs, signed);
    let ones = b.splat_i32(0x0001_0001);
    let ones = b.bits(Ty::I16x32, ones);
    let values = [
        index,
        b.or(p, q),
        b.xor(p, q),
        b.shr_u(q, 3),
        looked_up,
        b.dot4_u(acc, p, q),
        b.dot4_s(acc, q, r),
        pairs,
        b.dot2_s(q, r),
        sum,
        b.dot_words(sum, ones),
        b.bits(Ty::I32x16, q),
        b.bits(Ty::I16x32, q),
    ];
    for value in values {
        out.put(b, value);
    }
}

fn scalars(b: &mut KernelBuilder, floats: ParamId, ints: ParamId, out: &mut Results) {
    let [at0, at1, at2] = [3, 17, 40].map(|at| b.i32(at));
    let [x, y, z] = [at0, at1, at2].map(|at| b.load(Ty::F32, floats, at));
    let [i, j] = [at0, at1].map(|at| b.load(Ty::I32, ints, at));
    let size = b.abs(x);
    let sum = b.add(x, y);
    let scaled = b.f32(0.1);
    let scaled = b.mul(sum, scaled);
    let less = b.lt(x, y);
    let more = b.gt(y, z);
    let both = b.and(less, more);
    let either = b.or(less, more);
    let neither = b.not(either);
    let chosen = b.select(both, x, y);
    let picked = b.select(neither, i, j);
    let infinite = b.f32(f32::NEG_INFINITY);
    let mixed = b.sub(i, j);
    let mixed = b.mul(mixed, i);
    let values = [
        scaled,
        b.sub(x, y),
        b.div(x, y),
        b.fma(x, y, z),
        b.min(x, y),
        b.max(x, infinite),
        b.neg(x),
        b.sqrt(size),
        b.to_int(x),
        b.to_float(i),
        b.bits(Ty::I32, x),
        b.bits(Ty::F32, i),
        chosen,
        picked,
        mixed,
        b.add(i, j),
        b.min(i, j),
        b.max(i, j),
        b.and(i, j),
        b.or(i, j),
        b.xor(i, j),
        b.shl(i, 3),
        b.shr_s(i, 3),
        b.shr_u(i, 3),
    ];
    for value in values {
        out.put(b, value);
    }
    let sum = b.splat(sum);
    out.put(b, sum);
}
