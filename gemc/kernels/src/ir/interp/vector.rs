//! Vector operations, lane by lane. The loops are over arrays of fixed size, for the compiler to vectorise.

use super::code::{Reduce, V1, V2, V3, Vector};
use super::fault::Fault;
use super::scalar::{compare, max, min, to_int};
use crate::ir::Ty;
use half::f16;
use std::array::from_fn;

impl Vector {
    #[inline(always)]
    pub(super) fn f32s(self) -> [f32; 16] {
        bytemuck::cast(self.0)
    }

    #[inline(always)]
    pub(super) fn i32s(self) -> [i32; 16] {
        bytemuck::cast(self.0)
    }

    #[inline(always)]
    pub(super) fn u32s(self) -> [u32; 16] {
        bytemuck::cast(self.0)
    }

    #[inline(always)]
    pub(super) fn i16s(self) -> [i16; 32] {
        bytemuck::cast(self.0)
    }

    #[inline(always)]
    pub(super) fn i8s(self) -> [i8; 64] {
        bytemuck::cast(self.0)
    }

    #[inline(always)]
    pub(super) fn u8s(self) -> [u8; 64] {
        bytemuck::cast(self.0)
    }

    #[inline(always)]
    pub(super) fn of<A: bytemuck::Pod>(lanes: A) -> Self {
        Self(bytemuck::cast(lanes))
    }

    /// A vector whose first bytes are those of `lanes`, zero beyond.
    #[inline(always)]
    pub(super) fn narrow(lanes: &[u8]) -> Self {
        let mut bytes = [0u8; 64];
        bytes[..lanes.len()].copy_from_slice(lanes);
        Self::of(bytes)
    }

    /// The lanes of an integer vector; bytes as signed.
    pub(super) fn lanes(self, ty: Ty) -> Vec<i64> {
        match ty {
            Ty::I8x16 => self.i8s()[..16].iter().map(|&x| x.into()).collect(),
            Ty::I8x64 => self.i8s().map(i64::from).to_vec(),
            Ty::I8x32 => self.i8s()[..32].iter().map(|&x| x.into()).collect(),
            Ty::I16x32 => self.i16s().map(i64::from).to_vec(),
            Ty::I16x16 => self.i16s()[..16].iter().map(|&x| x.into()).collect(),
            Ty::I32x8 => self.i32s()[..8].iter().map(|&x| x.into()).collect(),
            _ => self.i32s().map(i64::from).to_vec(),
        }
    }

    #[inline(always)]
    fn map_f(self, f: impl Fn(f32) -> f32) -> Self {
        let a = self.f32s();
        Self::of::<[f32; 16]>(from_fn(|i| f(a[i])))
    }

    #[inline(always)]
    fn map_u(self, f: impl Fn(u32) -> u32) -> Self {
        let a = self.u32s();
        Self::of::<[u32; 16]>(from_fn(|i| f(a[i])))
    }

    #[inline(always)]
    fn zip_f(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let (a, b) = (self.f32s(), other.f32s());
        Self::of::<[f32; 16]>(from_fn(|i| f(a[i], b[i])))
    }

    #[inline(always)]
    fn zip_i(self, other: Self, f: impl Fn(i32, i32) -> i32) -> Self {
        let (a, b) = (self.i32s(), other.i32s());
        Self::of::<[i32; 16]>(from_fn(|i| f(a[i], b[i])))
    }
}

#[inline(always)]
fn mask(b: bool) -> i32 {
    -i32::from(b)
}

#[inline(always)]
pub(super) fn one(op: V1, a: &Vector) -> Result<Vector, Fault> {
    Ok(match op {
        V1::Abs => a.map_u(|x| x & 0x7fff_ffff),
        V1::Neg => a.map_u(|x| x ^ 0x8000_0000),
        V1::Sqrt => a.map_f(f32::sqrt),
        V1::Shl(by) => a.map_u(|x| x << by),
        V1::ShrS(by) => a.map_u(|x| ((x as i32) >> by) as u32),
        V1::ShrU(by) => a.map_u(|x| x >> by),
        V1::ShrBytes(by) => {
            let a = a.u8s();
            Vector::of::<[u8; 64]>(from_fn(|i| a[i] >> by))
        }
        V1::ToFloat => {
            let a = a.i32s();
            Vector::of::<[f32; 16]>(from_fn(|i| a[i] as f32))
        }
        V1::ToInt => {
            let a = a.f32s();
            let mut out = [0i32; 16];
            for (out, x) in out.iter_mut().zip(a) {
                *out = to_int(x)?;
            }
            Vector::of(out)
        }
        V1::WidenS => {
            let a = a.i8s();
            Vector::of::<[i32; 16]>(from_fn(|i| a[i].into()))
        }
        V1::WidenU => {
            let a = a.u8s();
            Vector::of::<[i32; 16]>(from_fn(|i| a[i].into()))
        }
        V1::Narrow => {
            let a = a.u32s();
            let bytes: [u8; 16] = from_fn(|i| a[i] as u8);
            Vector::narrow(&bytes)
        }
        V1::HalfToFloat => {
            let a = a.i16s();
            Vector::of::<[f32; 16]>(from_fn(|i| f16::from_bits(a[i] as u16).to_f32()))
        }
        V1::FloatToHalf => {
            let a = a.f32s();
            let words: [u16; 16] = from_fn(|i| f16::from_f32(a[i]).to_bits());
            Vector::narrow(bytemuck::bytes_of(&words))
        }
        V1::Low => Vector::narrow(&a.u8s()[..32]),
        V1::High => Vector::narrow(&a.u8s()[32..]),
        V1::FoldPairs => {
            let a = a.i32s();
            let sums: [i32; 8] = from_fn(|i| a[2 * i].wrapping_add(a[2 * i + 1]));
            Vector::narrow(bytemuck::bytes_of(&sums))
        }
    })
}

#[inline(always)]
pub(super) fn two(op: V2, a: &Vector, b: &Vector) -> Result<Vector, Fault> {
    let (a, b) = (*a, *b);
    Ok(match op {
        V2::Add => a.zip_i(b, i32::wrapping_add),
        V2::Sub => a.zip_i(b, i32::wrapping_sub),
        V2::Mul => a.zip_i(b, i32::wrapping_mul),
        V2::Min => a.zip_i(b, i32::min),
        V2::Max => a.zip_i(b, i32::max),
        V2::And => a.zip_i(b, |x, y| x & y),
        V2::Or => a.zip_i(b, |x, y| x | y),
        V2::Xor => a.zip_i(b, |x, y| x ^ y),
        V2::AddF => a.zip_f(b, |x, y| x + y),
        V2::SubF => a.zip_f(b, |x, y| x - y),
        V2::MulF => a.zip_f(b, |x, y| x * y),
        V2::DivF => a.zip_f(b, |x, y| x / y),
        V2::MinF => a.zip_f(b, min),
        V2::MaxF => a.zip_f(b, max),
        V2::Cmp(cmp) => a.zip_i(b, |x, y| mask(compare(cmp, x, y))),
        V2::CmpF(cmp) => {
            let (a, b) = (a.f32s(), b.f32s());
            Vector::of::<[i32; 16]>(from_fn(|i| mask(compare(cmp, a[i], b[i]))))
        }
        V2::AddBytes => {
            let (a, b) = (a.i8s(), b.i8s());
            Vector::of::<[i8; 64]>(from_fn(|i| a[i].wrapping_add(b[i])))
        }
        V2::AddWords => {
            let (a, b) = (a.i16s(), b.i16s());
            words(from_fn(|i| i32::from(a[i]) + i32::from(b[i])))?
        }
        V2::Lookup => lookup(a, b)?,
        V2::Dot2U => {
            let (a, b) = (a.u8s(), b.i8s());
            let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
            words(from_fn(|i| product(2 * i) + product(2 * i + 1)))?
        }
        V2::Dot2S => {
            let (a, b) = (a.i8s(), b.i8s());
            if a.contains(&-128) || b.contains(&-128) {
                return Err(Fault::Minus128("dot2_s"));
            }
            let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
            words(from_fn(|i| product(2 * i) + product(2 * i + 1)))?
        }
        V2::DotWords => {
            let (a, b) = (a.i16s(), b.i16s());
            let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
            Vector::of::<[i32; 16]>(from_fn(|i| product(2 * i).wrapping_add(product(2 * i + 1))))
        }
        V2::MulSBy(n) => {
            let products = products_by(a, b, n);
            words(products)?
        }
        V2::AddPairs => {
            let (a, b) = (a.i32s(), b.i16s());
            let pair = |i: usize| i32::from(b[2 * i]) + i32::from(b[2 * i + 1]);
            Vector::of::<[i32; 16]>(from_fn(|i| a[i].wrapping_add(pair(i))))
        }
        V2::Join => {
            let (a, b) = (a.u8s(), b.u8s());
            Vector::of::<[u8; 64]>(from_fn(|i| if i < 32 { a[i] } else { b[i - 32] }))
        }
    })
}

/// Products of 32 bytes by four over and over.
#[inline(always)]
fn products_by(a: Vector, b: Vector, n: u8) -> [i32; 32] {
    let (a, b) = (a.i8s(), b.i8s());
    let from = 4 * usize::from(n);
    from_fn(|i| i32::from(a[i]) * i32::from(b[from + i % 4]))
}

/// 32 sums as words, if they fit.
#[inline(always)]
fn words(sums: [i32; 32]) -> Result<Vector, Fault> {
    let out: [i16; 32] = from_fn(|i| sums[i] as i16);
    let fits = (0..32).fold(true, |ok, i| ok & (i32::from(out[i]) == sums[i]));
    if fits {
        return Ok(Vector::of(out));
    }
    let first = (0..32).find(|&i| i32::from(out[i]) != sums[i]);
    Err(Fault::Word(first.map_or(0, |i| sums[i])))
}

#[inline(always)]
fn lookup(table: Vector, index: Vector) -> Result<Vector, Fault> {
    let (table, index) = (table.0[0], index.u8s());
    if let Some(&bad) = index.iter().find(|&&i| i > 15) {
        return Err(Fault::Lookup(bad));
    }
    Ok(Vector::of::<[u8; 64]>(from_fn(|i| {
        table[usize::from(index[i] & 15)]
    })))
}

#[inline(always)]
fn lookup32(low: Vector, high: Vector, index: Vector) -> Result<Vector, Fault> {
    let (low, high, index) = (low.0[0], high.0[0], index.u8s());
    if let Some(&bad) = index.iter().find(|&&i| i > 31) {
        return Err(Fault::Lookup32(bad));
    }
    Ok(Vector::of::<[u8; 64]>(from_fn(|i| {
        let table = if index[i] < 16 { low } else { high };
        table[usize::from(index[i] & 15)]
    })))
}

#[inline(always)]
pub(super) fn three(op: V3, a: &Vector, b: &Vector, c: &Vector) -> Result<Vector, Fault> {
    Ok(match op {
        V3::Fma => {
            let (a, b, c) = (a.f32s(), b.f32s(), c.f32s());
            Vector::of::<[f32; 16]>(from_fn(|i| a[i].mul_add(b[i], c[i])))
        }
        V3::Select => {
            let (m, a, b) = (a.u32s(), b.u32s(), c.u32s());
            if let Some(&bad) = m.iter().find(|&&m| m != 0 && m != u32::MAX) {
                return Err(Fault::Mask(bad));
            }
            Vector::of::<[u32; 16]>(from_fn(|i| (m[i] & a[i]) | (!m[i] & b[i])))
        }
        V3::Lookup32 => lookup32(*a, *b, *c)?,
        V3::Dot4U => {
            let (acc, u, s) = (a.i32s(), b.u8s(), c.i8s());
            let product = |i: usize| i32::from(u[i]) * i32::from(s[i]);
            Vector::of::<[i32; 16]>(from_fn(|i| {
                let dot: i32 = (4 * i..4 * i + 4).map(product).sum();
                acc[i].wrapping_add(dot)
            }))
        }
        V3::Dot4SBy(n) => {
            let word = c.i32s()[usize::from(n)];
            return three(V3::Dot4S, a, b, &Vector::of([word; 16]));
        }
        V3::MacSBy(n) => {
            let (acc, products) = (a.i16s(), products_by(*b, *c, n));
            words(from_fn(|i| i32::from(acc[i]) + products[i]))?
        }
        V3::Dot4S => {
            let (acc, x, y) = (a.i32s(), b.i8s(), c.i8s());
            if x.contains(&-128) && y.contains(&-128) {
                return Err(Fault::Minus128("dot4_s"));
            }
            let product = |i: usize| i32::from(x[i]) * i32::from(y[i]);
            Vector::of::<[i32; 16]>(from_fn(|i| {
                let dot: i32 = (4 * i..4 * i + 4).map(product).sum();
                acc[i].wrapping_add(dot)
            }))
        }
    })
}

/// By halves: lanes i and i + 8, then 4, 2, 1.
#[inline(always)]
pub(super) fn reduce(op: Reduce, a: &Vector) -> u32 {
    #[inline(always)]
    fn halves<T: Copy>(mut lanes: [T; 16], f: impl Fn(T, T) -> T) -> T {
        for n in [8, 4, 2, 1] {
            for i in 0..n {
                lanes[i] = f(lanes[i], lanes[i + n]);
            }
        }
        lanes[0]
    }
    match op {
        Reduce::Add => halves(a.i32s(), i32::wrapping_add) as u32,
        Reduce::AddF => halves(a.f32s(), |x, y| x + y).to_bits(),
        Reduce::MaxF => halves(a.f32s(), max).to_bits(),
    }
}
