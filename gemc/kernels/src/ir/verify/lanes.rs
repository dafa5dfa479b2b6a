//! Ranges of vector lanes: which bytes, words and integers a vector can hold.
//!
//! Bytes have two readings. A range up to 127 may be negative and is signed; one beyond 127 is unsigned; `-128..=127`
//! stands for any byte.

use super::range::{Range, hull};
use crate::ir::{Op, Ty, ValueDef};

/// Any byte.
pub(super) const ANY_BYTE: Range = Range::new(-128, 127);
/// Any word of 16 bits.
pub(super) const ANY_WORD: Range = Range::new(-32768, 32767);

/// What any value of a type holds; `None` for types whose lanes are no integers.
pub(super) const fn any(ty: Ty) -> Option<Range> {
    match ty {
        Ty::I32 | Ty::I32x16 | Ty::I32x8 => Some(Range::ANY),
        Ty::I8x16 | Ty::I8x64 | Ty::I8x32 => Some(ANY_BYTE),
        Ty::I16x32 | Ty::I16x16 => Some(ANY_WORD),
        Ty::Bool | Ty::F32 | Ty::F32x16 | Ty::F32x8 => None,
    }
}

/// A byte range read as unsigned.
pub(super) const fn unsigned(r: Range) -> Range {
    if r.lo >= 0 { r } else { Range::new(0, 255) }
}

/// A byte range read as signed.
pub(super) const fn signed(r: Range) -> Range {
    if r.hi <= 127 {
        r
    } else if r.lo > 127 {
        Range::new(r.lo - 256, r.hi - 256)
    } else {
        ANY_BYTE
    }
}

/// The low bytes of integers in `r`.
pub(super) const fn low_bytes(r: Range) -> Range {
    if r.within(-128, 127) || r.within(0, 255) {
        r
    } else {
        ANY_BYTE
    }
}

/// `acc + n` products of lanes in `a` and `b`.
pub(super) fn products(n: i64, a: Range, b: Range) -> Range {
    let (lo, hi) = hull(&[a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi]);
    Range::new(n * lo, n * hi)
}

/// Lanes of a vector's bits as another type.
pub(super) fn bits(to: Ty, source: &ValueDef, range: Option<Range>) -> Option<Range> {
    if to == source.ty {
        return range;
    }
    let pattern = match (&source.op, range) {
        (Op::I32Lanes(lanes), _) => Some(lanes.to_vec()),
        (_, Some(r)) if source.ty == Ty::I32x16 && r.lo == r.hi => Some(vec![r.lo as i32]),
        _ => None,
    };
    let Some(pattern) = pattern else {
        return any(to);
    };
    match to {
        Ty::I8x64 => of_bytes(pattern.iter().flat_map(|n| n.to_le_bytes())),
        Ty::I16x32 => of_lanes(
            pattern
                .iter()
                .flat_map(|n| [i64::from(*n as i16), i64::from(n >> 16)]),
        ),
        _ => any(to),
    }
}

/// The range of literal bytes: unsigned where that is exact for all of them, else signed.
fn of_bytes(bytes: impl Iterator<Item = u8> + Clone) -> Option<Range> {
    let signed = of_lanes(bytes.clone().map(|b| i64::from(b as i8)))?;
    let unsigned = of_lanes(bytes.map(i64::from))?;
    Some(if signed.hi - signed.lo < unsigned.hi - unsigned.lo {
        signed
    } else {
        unsigned
    })
}

/// The range of literal lanes.
pub(super) fn of_lanes(lanes: impl Iterator<Item = i64> + Clone) -> Option<Range> {
    Some(Range::new(lanes.clone().min()?, lanes.max()?))
}
