//! Random operations whose preconditions hold by construction: operands are masked, clamped or loaded in range first.

use crate::ir::build::FunctionRef;
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::testing::Bytes;
use crate::ir::{ALL_TYPES, Cmp, Op, ParamId, Ty, ValueId};

/// Largest magnitude of floats between operations.
const LARGE: f32 = 1e6;

/// Values in scope, of every type.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    values: Vec<ValueId>,
    types: Vec<Ty>,
}

/// Clamps a float, or vector of floats, to a finite range; NaN becomes the upper bound.
pub(super) fn clamp_float(k: &mut KernelBuilder, x: ValueId) -> ValueId {
    let vector = k.ty(x) == Ty::F32x16;
    let mut bound = |x: f32| if vector { k.splat_f32(x) } else { k.f32(x) };
    let (hi, lo) = (bound(LARGE), bound(-LARGE));
    let x = k.min(x, hi);
    k.max(x, lo)
}

impl Pool {
    /// The item, a scalar parameter, and a literal of every type.
    pub(super) fn new(k: &mut KernelBuilder, scalar: ValueId) -> Self {
        let mut pool = Self {
            values: Vec::new(),
            types: Vec::new(),
        };
        let x = k.f32(-0.0);
        let mut lanes = [0; 16];
        let mut bytes = [0; 16];
        for i in 0..16 {
            lanes[i] = (i as i32 - 7) * 0x0123_4567;
            bytes[i] = (i as i8 - 8) * 15;
        }
        let ints = k.i32_lanes(lanes);
        let table = k.i8_lanes(bytes);
        let floats = k.to_float(ints);
        let floats = clamp_float(k, floats);
        let halves = k.float_to_half(floats);
        let wide = k.bits(Ty::I8x64, ints);
        let words = k.bits(Ty::I16x32, ints);
        let item = k.item();
        let flag = k.lt(item, scalar);
        let rows = k.row_count();
        let outputs = k.output_count();
        let context = k.context();
        for v in [
            flag, item, scalar, x, table, wide, halves, words, ints, floats, rows, outputs, context,
        ] {
            pool.add(k, v);
        }
        pool
    }

    /// Values from memory, whatever lies there.
    pub(super) fn loads(
        &mut self,
        k: &mut KernelBuilder,
        b: &mut Bytes,
        weights: ParamId,
        input: ParamId,
    ) {
        for ty in [
            Ty::I8x64,
            Ty::I8x16,
            Ty::I16x32,
            Ty::I16x16,
            Ty::I32x16,
            Ty::I32,
        ] {
            let at = k.item();
            let at = k.at(at, 64, at);
            let at = k.add_const(at, b.below(2048) as i32);
            let v = k.load(ty, weights, at);
            self.add(k, v);
        }
        let at = k.item();
        let at = k.mul_const(at, 16);
        let x = k.load(Ty::F32x16, input, at);
        let x = clamp_float(k, x);
        self.add(k, x);
    }

    pub(super) fn add(&mut self, k: &KernelBuilder, v: ValueId) {
        self.values.push(v);
        self.types.push(k.ty(v));
    }

    /// A value of a type; recent ones as likely as old ones.
    pub(super) fn pick(&self, b: &mut Bytes, ty: Ty) -> ValueId {
        let of_type: Vec<ValueId> = self
            .values
            .iter()
            .zip(&self.types)
            .filter(|(_, t)| **t == ty)
            .map(|(v, _)| *v)
            .collect();
        b.pick(&of_type)
    }

    /// A number in `0..=n - 1`, n a power of two.
    pub(super) fn small(&self, k: &mut KernelBuilder, b: &mut Bytes, n: i32) -> ValueId {
        let x = self.pick(b, Ty::I32);
        let mask = k.i32(n - 1);
        k.and(x, mask)
    }

    /// Adds a value that a random operation gives.
    pub(super) fn grow(&mut self, k: &mut KernelBuilder, b: &mut Bytes, functions: &[FunctionRef]) {
        let ty = b.pick(&ALL_TYPES);
        let v = match ty {
            Ty::Bool => self.bool(k, b),
            Ty::I32 => self.int(k, b),
            Ty::I32x16 if b.below(2) == 0 => self.int_lanes(k, b),
            Ty::I32x16 => self.wide_int(k, b),
            Ty::F32 => self.float(k, b, functions),
            Ty::F32x16 => self.float_lanes(k, b, functions),
            Ty::I8x16 => {
                let x = self.pick(b, Ty::I32x16);
                k.narrow(x)
            }
            Ty::I8x64 => self.bytes(k, b),
            Ty::I16x16 => {
                let x = self.pick(b, Ty::F32x16);
                k.float_to_half(x)
            }
            Ty::I16x32 => self.words(k, b),
        };
        self.add(k, v);
    }

    fn cmp(&self, k: &mut KernelBuilder, b: &mut Bytes, ty: Ty) -> ValueId {
        let (x, y) = (self.pick(b, ty), self.pick(b, ty));
        let cmp = b.pick(&Cmp::ALL);
        k.cmp(cmp, x, y)
    }

    fn bool(&self, k: &mut KernelBuilder, b: &mut Bytes) -> ValueId {
        let (x, y) = (self.pick(b, Ty::Bool), self.pick(b, Ty::Bool));
        match b.below(5) {
            0 => k.and(x, y),
            1 => k.or(x, y),
            2 => k.not(x),
            3 => self.cmp(k, b, Ty::F32),
            _ => self.cmp(k, b, Ty::I32),
        }
    }

    fn int(&self, k: &mut KernelBuilder, b: &mut Bytes) -> ValueId {
        match b.below(8) {
            0 => self.divide(k, b),
            1 => {
                let i = self.small(k, b, 16);
                k.bounded_const(i, 16)
            }
            2 => {
                let x = self.pick(b, Ty::F32);
                k.to_int(x)
            }
            3 => {
                let x = self.pick(b, Ty::F32);
                k.bits(Ty::I32, x)
            }
            4 => {
                let x = self.pick(b, Ty::I32x16);
                k.reduce_add(x)
            }
            5 => {
                let n = b.word() as i32;
                k.i32(n)
            }
            6 => self.scalar_select(k, b, Ty::I32),
            _ => self.integer(k, b, Ty::I32),
        }
    }

    fn divide(&self, k: &mut KernelBuilder, b: &mut Bytes) -> ValueId {
        let x = self.small(k, b, 1 << 16);
        let y = self.small(k, b, 16);
        let y = k.add_const(y, 1);
        if b.below(2) == 0 {
            k.div(x, y)
        } else {
            k.rem(x, y)
        }
    }

    /// Operations of I32 and I32x16 that take any operands.
    fn integer(&self, k: &mut KernelBuilder, b: &mut Bytes, ty: Ty) -> ValueId {
        let (x, y) = (self.pick(b, ty), self.pick(b, ty));
        let by = b.below(32) as u32;
        let op = match b.below(11) {
            0 => Op::Add(x, y),
            1 => Op::Sub(x, y),
            2 => Op::Mul(x, y),
            3 => Op::Min(x, y),
            4 => Op::Max(x, y),
            5 => Op::And(x, y),
            6 => Op::Or(x, y),
            7 => Op::Xor(x, y),
            8 => Op::Shl(x, by),
            9 => Op::ShrS(x, by),
            _ => Op::ShrU(x, by),
        };
        k.op(op, ty)
    }

    fn scalar_select(&self, k: &mut KernelBuilder, b: &mut Bytes, ty: Ty) -> ValueId {
        let c = self.pick(b, Ty::Bool);
        let (x, y) = (self.pick(b, ty), self.pick(b, ty));
        k.select(c, x, y)
    }

    fn mask_select(&self, k: &mut KernelBuilder, b: &mut Bytes, ty: Ty) -> ValueId {
        let of = b.pick(&[Ty::F32x16, Ty::I32x16]);
        let mask = self.cmp(k, b, of);
        let (x, y) = (self.pick(b, ty), self.pick(b, ty));
        k.select(mask, x, y)
    }

    fn int_lanes(&self, k: &mut KernelBuilder, b: &mut Bytes) -> ValueId {
        match b.below(5) {
            0 => self.cmp(k, b, Ty::F32x16),
            1 => self.mask_select(k, b, Ty::I32x16),
            2 => self.scalar_select(k, b, Ty::I32x16),
            3 => {
                let x = self.pick(b, Ty::I32);
                k.splat(x)
            }
            _ => self.integer(k, b, Ty::I32x16),
        }
    }

    /// Integer lanes from other vectors.
    fn wide_int(&self, k: &mut KernelBuilder, b: &mut Bytes) -> ValueId {
        match b.below(7) {
            0 => {
                let x = self.pick(b, Ty::F32x16);
                k.to_int(x)
            }
            1 => {
                let x = self.pick(b, Ty::I8x16);
                k.widen_s(x)
            }
            2 => {
                let x = self.pick(b, Ty::I8x16);
                k.widen_u(x)
            }
            3 => {
                let ty = b.pick(&[Ty::F32x16, Ty::I8x64, Ty::I16x32]);
                let x = self.pick(b, ty);
                k.bits(Ty::I32x16, x)
            }
            4 => {
                let acc = self.pick(b, Ty::I32x16);
                let (x, y) = (self.pick(b, Ty::I8x64), self.pick(b, Ty::I8x64));
                k.dot4_u(acc, x, y)
            }
            5 => {
                let acc = self.pick(b, Ty::I32x16);
                let (x, y) = (self.pick(b, Ty::I8x64), self.pick(b, Ty::I8x64));
                k.dot4_s(acc, x, y)
            }
            _ => {
                let (x, y) = (self.pick(b, Ty::I16x32), self.pick(b, Ty::I16x32));
                k.dot_words(x, y)
            }
        }
    }

    fn bytes(&self, k: &mut KernelBuilder, b: &mut Bytes) -> ValueId {
        let (x, y) = (self.pick(b, Ty::I8x64), self.pick(b, Ty::I8x64));
        match b.below(7) {
            0 => k.and(x, y),
            1 => k.or(x, y),
            2 => k.xor(x, y),
            3 => k.shr_u(x, b.below(8) as u32),
            4 => {
                let ty = b.pick(&[Ty::F32x16, Ty::I32x16, Ty::I16x32]);
                let x = self.pick(b, ty);
                k.bits(Ty::I8x64, x)
            }
            5 => self.scalar_select(k, b, Ty::I8x64),
            _ => {
                let table = self.pick(b, Ty::I8x16);
                let index = masked(k, x, 15);
                k.lookup(table, index)
            }
        }
    }

    fn words(&self, k: &mut KernelBuilder, b: &mut Bytes) -> ValueId {
        let (x, y) = (self.pick(b, Ty::I8x64), self.pick(b, Ty::I8x64));
        match b.below(4) {
            0 => {
                let x = masked(k, x, 63);
                k.dot2_u(x, y)
            }
            1 => {
                let (x, y) = (masked(k, x, 127), masked(k, y, 127));
                k.dot2_s(x, y)
            }
            2 => {
                let small = masked(k, x, 15);
                let (p, q) = (k.dot2_u(small, y), k.dot2_u(small, x));
                k.add(p, q)
            }
            _ => {
                let ty = b.pick(&[Ty::F32x16, Ty::I8x64, Ty::I32x16]);
                let x = self.pick(b, ty);
                k.bits(Ty::I16x32, x)
            }
        }
    }

    fn float(&self, k: &mut KernelBuilder, b: &mut Bytes, functions: &[FunctionRef]) -> ValueId {
        let x = match b.below(8) {
            0 => {
                let x = self.pick(b, Ty::I32);
                k.to_float(x)
            }
            1 => {
                let x = self.pick(b, Ty::I32);
                k.bits(Ty::F32, x)
            }
            2 => {
                let x = self.pick(b, Ty::F32x16);
                k.reduce_add(x)
            }
            3 => {
                let x = self.pick(b, Ty::F32x16);
                k.reduce_max(x)
            }
            4 => {
                let x = self.pick(b, Ty::F32);
                k.call_fn(&functions[0], &[x])
            }
            5 => self.scalar_select(k, b, Ty::F32),
            _ => self.arithmetic(k, b, Ty::F32),
        };
        clamp_float(k, x)
    }

    fn float_lanes(
        &self,
        k: &mut KernelBuilder,
        b: &mut Bytes,
        functions: &[FunctionRef],
    ) -> ValueId {
        let x = match b.below(9) {
            0 => {
                let x = self.pick(b, Ty::I32x16);
                k.to_float(x)
            }
            1 => {
                let ty = b.pick(&[Ty::I32x16, Ty::I8x64, Ty::I16x32]);
                let x = self.pick(b, ty);
                k.bits(Ty::F32x16, x)
            }
            2 => {
                let x = self.pick(b, Ty::F32);
                k.splat(x)
            }
            3 => {
                let x = self.pick(b, Ty::I16x16);
                k.half_to_float(x)
            }
            4 => {
                let (x, s) = (self.pick(b, Ty::F32x16), self.pick(b, Ty::F32));
                k.call_fn(&functions[1], &[x, s])
            }
            5 => self.mask_select(k, b, Ty::F32x16),
            6 => self.scalar_select(k, b, Ty::F32x16),
            _ => self.arithmetic(k, b, Ty::F32x16),
        };
        clamp_float(k, x)
    }

    fn arithmetic(&self, k: &mut KernelBuilder, b: &mut Bytes, ty: Ty) -> ValueId {
        let (x, y) = (self.pick(b, ty), self.pick(b, ty));
        let op = match b.below(10) {
            0 => Op::Add(x, y),
            1 => Op::Sub(x, y),
            2 => Op::Mul(x, y),
            3 => Op::Div(x, y),
            4 => Op::Min(x, y),
            5 => Op::Max(x, y),
            6 => Op::Abs(x),
            7 => Op::Neg(x),
            8 => Op::Sqrt(x),
            _ => Op::Fma(x, y, self.pick(b, ty)),
        };
        k.op(op, ty)
    }
}

/// Bytes and-ed with a literal.
fn masked(k: &mut KernelBuilder, x: ValueId, mask: i32) -> ValueId {
    let mask = k.splat_i32(mask * 0x0101_0101);
    let mask = k.bits(Ty::I8x64, mask);
    k.and(x, mask)
}
