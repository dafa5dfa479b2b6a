//! Random operations whose preconditions hold by construction: operands are masked, clamped or loaded in range first.

use crate::ir::build::{FunctionRef, KernelBuilder, Operand, Region, Val};
use crate::ir::testing::Bytes;
use crate::ir::{ALL_TYPES, Cmp, Ty};

/// Largest magnitude of floats between operations.
const LARGE: f32 = 1e6;

/// Values in scope, of every type.
#[derive(Clone, Debug)]
pub(super) struct Pool<'k> {
    k: &'k KernelBuilder,
    functions: &'k [FunctionRef],
    values: Vec<Val<'k>>,
}

/// Clamps a float, or vector of floats, to a finite range; NaN becomes the upper bound.
pub(super) fn clamp_float(x: Val<'_>) -> Val<'_> {
    let (high, low) = (LARGE.beside(x), (-LARGE).beside(x));
    x.min(high).max(low)
}

impl<'k> Pool<'k> {
    /// The item, a scalar parameter, and a literal of every type.
    pub(super) fn new(k: &'k KernelBuilder, functions: &'k [FunctionRef], scalar: Val<'k>) -> Self {
        let x = k.lit(-0.0);
        let ints = k.i32_lanes(std::array::from_fn(|i| (i as i32 - 7) * 0x0123_4567));
        let table = k.i8_lanes(std::array::from_fn(|i| (i as i8 - 8) * 15));
        let floats = clamp_float(ints.to_float());
        let halves = floats.float_to_half();
        let (wide, words) = (ints.bits(Ty::I8x64), ints.bits(Ty::I16x32));
        let item = k.item();
        let flag = item.lt(scalar);
        let (rows, outputs, context) = (k.row_count(), k.output_count(), k.context());
        let (low_bytes, low_ints, low_floats) = (wide.low(), ints.low(), floats.high());
        let values = vec![
            flag, item, scalar, x, table, wide, halves, words, ints, floats, rows, outputs,
            context, low_bytes, low_ints, low_floats,
        ];
        Self {
            k,
            functions,
            values,
        }
    }

    /// Values from memory, whatever lies there.
    pub(super) fn loads(&mut self, b: &mut Bytes, weights: Region<'k>, input: Region<'k>) {
        let item = self.k.item();
        for ty in [
            Ty::I8x64,
            Ty::I8x16,
            Ty::I16x32,
            Ty::I16x16,
            Ty::I32x16,
            Ty::I32,
            Ty::I8x32,
            Ty::I32x8,
        ] {
            let at = item * 64 + item + b.below(2048);
            self.add(weights.load(ty, at));
        }
        self.add(clamp_float(input.lanes(item * 16)));
    }

    pub(super) fn add(&mut self, v: Val<'k>) {
        self.values.push(v);
    }

    /// A value of a type; recent ones as likely as old ones.
    pub(super) fn pick(&self, b: &mut Bytes, ty: Ty) -> Val<'k> {
        let values = self.values.iter().copied();
        b.pick(&values.filter(|v| v.ty() == ty).collect::<Vec<_>>())
    }

    /// Two values of a type.
    fn two(&self, b: &mut Bytes, ty: Ty) -> [Val<'k>; 2] {
        [(); 2].map(|()| self.pick(b, ty))
    }

    /// A value of one of some types.
    fn any_of(&self, b: &mut Bytes, types: &[Ty]) -> Val<'k> {
        let ty = b.pick(types);
        self.pick(b, ty)
    }

    /// A number in `0..=n - 1`, n a power of two.
    pub(super) fn small(&self, b: &mut Bytes, n: i32) -> Val<'k> {
        self.pick(b, Ty::I32) & (n - 1)
    }

    /// Adds a value that a random operation gives.
    pub(super) fn grow(&mut self, b: &mut Bytes) {
        let v = match b.pick(&ALL_TYPES) {
            Ty::Bool => self.bool(b),
            Ty::I32 => self.int(b),
            Ty::I32x16 if b.below(2) == 0 => self.int_lanes(b),
            Ty::I32x16 => self.wide_int(b),
            Ty::F32 => self.float(b),
            Ty::F32x16 => self.float_lanes(b),
            Ty::I8x16 => self.pick(b, Ty::I32x16).narrow(),
            Ty::I8x64 => self.bytes(b),
            Ty::I16x16 if b.below(2) == 0 => self.pick(b, Ty::F32x16).float_to_half(),
            Ty::I16x16 => self.half_words(b),
            Ty::I16x32 => self.words(b),
            Ty::I8x32 => self.half_of(b, Ty::I8x64),
            Ty::I32x8 => self.half_ints(b),
            Ty::F32x8 => self.half_floats(b),
        };
        self.add(v);
    }

    fn cmp(&self, b: &mut Bytes, ty: Ty) -> Val<'k> {
        let [x, y] = self.two(b, ty);
        x.cmp(b.pick(&Cmp::ALL), y)
    }

    fn bool(&self, b: &mut Bytes) -> Val<'k> {
        let [x, y] = self.two(b, Ty::Bool);
        match b.below(5) {
            0 => x & y,
            1 => x | y,
            2 => !x,
            3 => self.cmp(b, Ty::F32),
            _ => self.cmp(b, Ty::I32),
        }
    }

    fn int(&self, b: &mut Bytes) -> Val<'k> {
        match b.below(8) {
            0 => self.divide(b),
            1 => self.small(b, 16).bounded(16),
            2 => self.pick(b, Ty::F32).to_int(),
            3 => self.pick(b, Ty::F32).bits(Ty::I32),
            4 => self.pick(b, Ty::I32x16).reduce_add(),
            5 => self.k.lit(b.word() as i32),
            6 => self.scalar_select(b, Ty::I32),
            _ => self.integer(b, Ty::I32),
        }
    }

    fn divide(&self, b: &mut Bytes) -> Val<'k> {
        let x = self.small(b, 1 << 16);
        let y = self.small(b, 16) + 1;
        match b.below(2) {
            0 => x / y,
            _ => x % y,
        }
    }

    /// Operations of I32 and I32x16 that take any operands.
    fn integer(&self, b: &mut Bytes, ty: Ty) -> Val<'k> {
        let [x, y] = self.two(b, ty);
        let by = b.below(32) as u32;
        match b.below(11) {
            0 => x + y,
            1 => x - y,
            2 => x * y,
            3 => x.min(y),
            4 => x.max(y),
            5 => x & y,
            6 => x | y,
            7 => x ^ y,
            8 => x << by,
            9 => x.shr_s(by),
            _ => x.shr_u(by),
        }
    }

    fn scalar_select(&self, b: &mut Bytes, ty: Ty) -> Val<'k> {
        let cond = self.pick(b, Ty::Bool);
        let [x, y] = self.two(b, ty);
        cond.select(x, y)
    }

    fn mask_select(&self, b: &mut Bytes, ty: Ty) -> Val<'k> {
        let of = b.pick(&[Ty::F32x16, Ty::I32x16]);
        let mask = self.cmp(b, of);
        let [x, y] = self.two(b, ty);
        mask.select(x, y)
    }

    fn int_lanes(&self, b: &mut Bytes) -> Val<'k> {
        match b.below(5) {
            0 => self.cmp(b, Ty::F32x16),
            1 => self.mask_select(b, Ty::I32x16),
            2 => self.scalar_select(b, Ty::I32x16),
            3 => self.pick(b, Ty::I32).splat(),
            _ => self.integer(b, Ty::I32x16),
        }
    }

    /// Integer lanes from other vectors.
    fn wide_int(&self, b: &mut Bytes) -> Val<'k> {
        match b.below(9) {
            0 => self.pick(b, Ty::F32x16).to_int(),
            7 => self.pick(b, Ty::I32x16).add_pairs(self.pick(b, Ty::I16x32)),
            8 => {
                let [low, high] = self.two(b, Ty::I32x8);
                low.join(high)
            }
            1 => self.pick(b, Ty::I8x16).widen_s(),
            2 => self.pick(b, Ty::I8x16).widen_u(),
            3 => {
                let x = self.any_of(b, &[Ty::F32x16, Ty::I8x64, Ty::I16x32]);
                x.bits(Ty::I32x16)
            }
            4 => {
                let sum = self.pick(b, Ty::I32x16);
                let [x, y] = self.two(b, Ty::I8x64);
                sum.dot4_u(x, y)
            }
            5 => {
                let sum = self.pick(b, Ty::I32x16);
                let [x, y] = self.two(b, Ty::I8x64);
                match b.below(3) {
                    0 => sum.dot4_s(x, y & 127u8),
                    1 => sum.dot4_s_by(x & 127u8, self.pick(b, Ty::I8x16), b.below(4)),
                    _ => sum.dot4_s(x & 127u8, y),
                }
            }
            _ => {
                let [x, y] = self.two(b, Ty::I16x32);
                x.dot_words(y)
            }
        }
    }

    fn bytes(&self, b: &mut Bytes) -> Val<'k> {
        let [x, y] = self.two(b, Ty::I8x64);
        match b.below(10) {
            9 => x + y,
            8 => {
                let [low, high] = self.two(b, Ty::I8x16);
                low.lookup32(high, x & 31u8)
            }
            7 => {
                let [low, high] = self.two(b, Ty::I8x32);
                low.join(high)
            }
            0 => x & y,
            1 => x | y,
            2 => x ^ y,
            3 => x.shr_u(b.below(8) as u32),
            4 => {
                let x = self.any_of(b, &[Ty::F32x16, Ty::I32x16, Ty::I16x32]);
                x.bits(Ty::I8x64)
            }
            5 => self.scalar_select(b, Ty::I8x64),
            _ => self.pick(b, Ty::I8x16).lookup(x & 15u8),
        }
    }

    fn words(&self, b: &mut Bytes) -> Val<'k> {
        let [x, y] = self.two(b, Ty::I8x64);
        match b.below(7) {
            4 => {
                let [low, high] = self.two(b, Ty::I16x16);
                low.join(high)
            }
            5 => {
                let by = self.pick(b, Ty::I8x16);
                self.pick(b, Ty::I8x32).mul_s_by(by, b.below(4))
            }
            6 => {
                // One such product, and another of small bytes.
                let by = self.pick(b, Ty::I8x16);
                let first = self.pick(b, Ty::I8x32).mul_s_by(by, b.below(4));
                first.mac_s_by(self.small_bytes(b, 127), by, b.below(4))
            }
            0 => (x & 63u8).dot2_u(y),
            1 => (x & 127u8).dot2_s(y & 127u8),
            2 => {
                let small = x & 15u8;
                small.dot2_u(y) + small.dot2_u(x)
            }
            _ => {
                let x = self.any_of(b, &[Ty::F32x16, Ty::I8x64, Ty::I32x16]);
                x.bits(Ty::I16x32)
            }
        }
    }

    /// A half of a vector of a type.
    fn half_of(&self, b: &mut Bytes, ty: Ty) -> Val<'k> {
        let whole = self.pick(b, ty);
        match b.below(2) {
            0 => whole.low(),
            _ => whole.high(),
        }
    }

    /// 32 bytes in `0..=most`.
    fn small_bytes(&self, b: &mut Bytes, most: u8) -> Val<'k> {
        let small = self.pick(b, Ty::I8x64) & most;
        match b.below(2) {
            0 => small.low(),
            _ => small.high(),
        }
    }

    fn half_words(&self, b: &mut Bytes) -> Val<'k> {
        match b.below(4) {
            0 => self.half_of(b, Ty::I16x32),
            1 => self.small_bytes(b, 63).dot2_u(self.pick(b, Ty::I8x32)),
            2 => self.small_bytes(b, 127).dot2_s(self.small_bytes(b, 127)),
            _ => {
                let [x, y] = self.two(b, Ty::I8x32);
                let small = self.small_bytes(b, 15);
                small.dot2_u(x) + small.dot2_u(y)
            }
        }
    }

    fn half_ints(&self, b: &mut Bytes) -> Val<'k> {
        let [x, y] = self.two(b, Ty::I32x8);
        let bytes = self.pick(b, Ty::I8x32);
        match b.below(9) {
            0 => self.half_of(b, Ty::I32x16),
            8 => self.pick(b, Ty::I32x16).fold_pairs(),
            6 => {
                let small = self.small_bytes(b, 127);
                x.dot4_s_by(small, self.pick(b, Ty::I8x16), b.below(4))
            }
            1 => x + y,
            2 => x * y,
            3 => x.dot4_u(bytes, self.pick(b, Ty::I8x32)),
            4 => x.dot4_s(bytes, self.small_bytes(b, 127)),
            5 => x.dot4_s(self.small_bytes(b, 127), bytes),
            _ => {
                let [x, y] = self.two(b, Ty::I16x16);
                x.dot_words(y)
            }
        }
    }

    /// Halves of what is clamped, small enough that one step stays finite.
    fn half_floats(&self, b: &mut Bytes) -> Val<'k> {
        let [x, y, z] = [(); 3].map(|()| self.half_of(b, Ty::F32x16));
        match b.below(5) {
            0 => self.pick(b, Ty::I32x8).to_float(),
            1 => x + y,
            2 => x * y,
            3 => x.mul_add(y, z),
            _ => x,
        }
    }

    fn float(&self, b: &mut Bytes) -> Val<'k> {
        clamp_float(match b.below(8) {
            0 => self.pick(b, Ty::I32).to_float(),
            1 => self.pick(b, Ty::I32).bits(Ty::F32),
            2 => self.pick(b, Ty::F32x16).reduce_add(),
            3 => self.pick(b, Ty::F32x16).reduce_max(),
            4 => self.functions[0].call(&[self.pick(b, Ty::F32)]),
            5 => self.scalar_select(b, Ty::F32),
            _ => self.arithmetic(b, Ty::F32),
        })
    }

    fn float_lanes(&self, b: &mut Bytes) -> Val<'k> {
        clamp_float(match b.below(9) {
            0 => self.pick(b, Ty::I32x16).to_float(),
            1 => {
                let x = self.any_of(b, &[Ty::I32x16, Ty::I8x64, Ty::I16x32]);
                x.bits(Ty::F32x16)
            }
            2 => self.pick(b, Ty::F32).splat(),
            3 => self.pick(b, Ty::I16x16).half_to_float(),
            4 => {
                let arguments = [self.pick(b, Ty::F32x16), self.pick(b, Ty::F32)];
                self.functions[1].call(&arguments)
            }
            5 => self.mask_select(b, Ty::F32x16),
            6 => self.scalar_select(b, Ty::F32x16),
            _ => self.arithmetic(b, Ty::F32x16),
        })
    }

    fn arithmetic(&self, b: &mut Bytes, ty: Ty) -> Val<'k> {
        let [x, y] = self.two(b, ty);
        match b.below(10) {
            0 => x + y,
            1 => x - y,
            2 => x * y,
            3 => x / y,
            4 => x.min(y),
            5 => x.max(y),
            6 => x.abs(),
            7 => -x,
            8 => x.sqrt(),
            _ => x.mul_add(y, self.pick(b, ty)),
        }
    }
}
