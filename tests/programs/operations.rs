//! A kernel with every operation, its results one after the other.

use gemc_kernels::ir::build::{KernelBuilder, Region, Val};
use gemc_kernels::ir::{Cmp, Elem, Kernel, Ty};

/// Stores results one after the other.
struct Results<'k> {
    region: Region<'k>,
    count: usize,
}

impl<'k> Results<'k> {
    fn put(&mut self, values: impl IntoIterator<Item = Val<'k>>) {
        for value in values {
            self.region.store(16 * self.count, value);
            self.count += 1;
        }
    }
}

/// A kernel with every operation.
pub(super) fn operations() -> Kernel {
    let doc = "Every operation of the kernel IR, one result after the other";
    KernelBuilder::build("operations", doc, 1, |k| {
        let floats = k.input("floats", Elem::F32, 48);
        let ints = k.input("ints", Elem::I32, 48);
        let bytes = k.input("bytes", Elem::I8, 192);
        let region = k.output("results", Elem::I32, 16 * 128);
        let mut out = Results { region, count: 0 };
        k.comment("Floats, 16 lanes");
        float_vectors(floats, &mut out);
        k.comment("Integers, 16 lanes");
        int_vectors(k, ints, &mut out);
        k.comment("Bytes and words");
        byte_vectors(k, bytes, &mut out);
        k.comment("Scalars");
        scalars(floats, ints, &mut out);
    })
}

/// The three vectors of a region.
fn loads<'k>(region: Region<'k>, names: [&str; 3]) -> [Val<'k>; 3] {
    [0, 1, 2].map(|i| region.lanes(16 * i).named(names[i]))
}

fn float_vectors<'k>(region: Region<'k>, out: &mut Results<'k>) {
    let [x, y, z] = loads(region, ["x", "y", "z"]);
    let size = x.abs();
    out.put([
        x + y,
        x - y,
        x * y,
        x / y,
        x.mul_add(y, z),
        x.min(y),
        x.max(y),
        size,
        -x,
        size.sqrt(),
        x.to_int(),
        x.float_to_half(),
        x.reduce_add(),
        x.reduce_max(),
        x.bits(Ty::I32x16),
        x.bits(Ty::I8x64),
        x.bits(Ty::I16x32),
    ]);
    for cmp in Cmp::ALL {
        out.put([x.cmp(cmp, y).select(z, x)]);
    }
    out.put([y.float_to_half().half_to_float()]);
}

fn int_vectors<'k>(k: &'k KernelBuilder, region: Region<'k>, out: &mut Results<'k>) {
    let [x, y, z] = loads(region, ["i", "j", "l"]);
    let lanes = k.i32_lanes([
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
    let narrow = x.narrow();
    out.put([
        x + lanes,
        x - y,
        x * y,
        x.min(y),
        x.max(y),
        x & y,
        x | y,
        x ^ y,
        x << 5,
        x.shr_s(5),
        x.shr_u(5),
        x.to_float(),
        x.reduce_add(),
        narrow,
        narrow.widen_s(),
        narrow.widen_u(),
        x.bits(Ty::F32x16),
    ]);
    for cmp in Cmp::ALL {
        out.put([x.cmp(cmp, y).select(x, z)]);
    }
}

fn byte_vectors<'k>(k: &'k KernelBuilder, region: Region<'k>, out: &mut Results<'k>) {
    let p = region.load_in(Ty::I8x64, 0, 0..=63);
    let [q, r] = [64, 128].map(|at| region.load_in(Ty::I8x64, at, -127..=127));
    let index = p & 15u8;
    let table = k.i8_lanes([
        -63, -52, -42, -33, -25, -18, -11, -5, 1, 7, 13, 19, 27, 35, 45, 57,
    ]);
    let looked_up = table.lookup(index);
    let acc = k.splat(1000);
    let pairs = p.dot2_u(q);
    let sum = pairs + index.dot2_s(r);
    let ones = k.lit(1i16);
    out.put([
        index,
        p | q,
        p ^ q,
        q.shr_u(3),
        looked_up,
        acc.dot4_u(p, q),
        acc.dot4_s(q, r),
        pairs,
        q.dot2_s(r),
        sum,
        sum.dot_words(ones),
        q.bits(Ty::I32x16),
        q.bits(Ty::I16x32),
    ]);
}

fn scalars<'k>(floats: Region<'k>, ints: Region<'k>, out: &mut Results<'k>) {
    let [x, y, z] = [3, 17, 40].map(|at| floats.get(at));
    let [i, j] = [3, 17].map(|at| ints.get(at));
    let size = x.abs();
    let sum = x + y;
    let scaled = sum * 0.1;
    let (less, more) = (x.lt(y), y.gt(z));
    let both = less & more;
    let neither = !(less | more);
    let chosen = both.select(x, y);
    let picked = neither.select(i, j);
    let mixed = (i - j) * i;
    out.put([
        scaled,
        x - y,
        x / y,
        x.mul_add(y, z),
        x.min(y),
        x.max(f32::NEG_INFINITY),
        -x,
        size.sqrt(),
        x.to_int(),
        i.to_float(),
        x.bits(Ty::I32),
        i.bits(Ty::F32),
        chosen,
        picked,
        mixed,
        i + j,
        i.min(j),
        i.max(j),
        i & j,
        i | j,
        i ^ j,
        i << 3,
        i.shr_s(3),
        i.shr_u(3),
    ]);
    out.put([sum.splat()]);
}
