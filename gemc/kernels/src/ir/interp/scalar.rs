//! Scalar operations on 32 bits.

use super::code::{S1, S2};
use super::fault::Fault;
use crate::ir::Cmp;

/// Largest magnitude that `to_int` accepts.
const ROUNDABLE: f32 = (1u32 << 30) as f32;

#[inline(always)]
pub(super) fn min(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline(always)]
pub(super) fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
pub(super) fn compare<T: PartialOrd>(cmp: Cmp, a: T, b: T) -> bool {
    match cmp {
        Cmp::Eq => a == b,
        Cmp::Ne => a != b,
        Cmp::Lt => a < b,
        Cmp::Le => a <= b,
        Cmp::Gt => a > b,
        Cmp::Ge => a >= b,
    }
}

#[inline(always)]
pub(super) fn to_int(x: f32) -> Result<i32, Fault> {
    // What NaN becomes is the machine's choice: a model whose values overflow is no fault of its kernels.
    if x.abs() <= ROUNDABLE || x.is_nan() {
        Ok(x.round_ties_even() as i32)
    } else {
        Err(Fault::ToInt(x))
    }
}

#[inline(always)]
pub(super) fn one(op: S1, a: u32) -> Result<u32, Fault> {
    let (f, i) = (f32::from_bits(a), a as i32);
    Ok(match op {
        S1::Abs => a & 0x7fff_ffff,
        S1::Neg => a ^ 0x8000_0000,
        S1::Sqrt => f.sqrt().to_bits(),
        S1::Not => a ^ 1,
        S1::Shl(by) => a << by,
        S1::ShrS(by) => (i >> by) as u32,
        S1::ShrU(by) => a >> by,
        S1::ToFloat => (i as f32).to_bits(),
        S1::ToInt => to_int(f)? as u32,
    })
}

#[inline(always)]
pub(super) fn two(op: S2, a: u32, b: u32) -> Result<u32, Fault> {
    let (x, y) = (f32::from_bits(a), f32::from_bits(b));
    let (i, j) = (a as i32, b as i32);
    Ok(match op {
        S2::Add => a.wrapping_add(b),
        S2::Sub => a.wrapping_sub(b),
        S2::Mul => a.wrapping_mul(b),
        S2::Div | S2::Rem if i < 0 || j <= 0 => return Err(Fault::Divide(i, j)),
        S2::Div => a / b,
        S2::Rem => a % b,
        S2::Min => i.min(j) as u32,
        S2::Max => i.max(j) as u32,
        S2::And => a & b,
        S2::Or => a | b,
        S2::Xor => a ^ b,
        // As unsigned: a negative index is beyond every bound.
        S2::Bounded if j <= 0 || a >= b => return Err(Fault::Clamped { index: i, n: j }),
        S2::Bounded => a,
        S2::AddF => (x + y).to_bits(),
        S2::SubF => (x - y).to_bits(),
        S2::MulF => (x * y).to_bits(),
        S2::DivF => (x / y).to_bits(),
        S2::MinF => min(x, y).to_bits(),
        S2::MaxF => max(x, y).to_bits(),
        S2::Cmp(cmp) => compare(cmp, i, j).into(),
        S2::CmpF(cmp) => compare(cmp, x, y).into(),
    })
}
