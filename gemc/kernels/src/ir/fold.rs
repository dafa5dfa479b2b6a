//! Folding of I32 arithmetic while a kernel is built: literals meet literals, and operations that change nothing vanish.
//!
//! Only wrapping 32-bit identities are used, so a folded kernel computes the same bits.

use super::{Op, ValueDef, ValueId};

/// What an operation became.
pub(super) enum Folded {
    /// Nothing better was found.
    Op(Op),
    /// An existing value.
    Value(ValueId),
    /// A literal.
    Literal(i32),
    /// A value plus a literal, not yet folded itself.
    Plus(ValueId, i32),
}

/// Simplifies an operation over `values`.
pub(super) fn fold(values: &[ValueDef], op: Op) -> Folded {
    let literal = |v: ValueId| match values[v.index()].op {
        Op::I32(n) => Some(n),
        _ => None,
    };
    match op {
        Op::Add(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => Folded::Literal(x.wrapping_add(y)),
            (Some(0), _) => Folded::Value(b),
            (_, Some(0)) => Folded::Value(a),
            (Some(_), None) => Folded::Op(Op::Add(b, a)),
            (None, Some(y)) => match values[a.index()].op {
                Op::Add(inner, x) if literal(x).is_some() => {
                    Folded::Plus(inner, literal(x).map_or(y, |x| x.wrapping_add(y)))
                }
                _ => Folded::Op(op),
            },
            _ => Folded::Op(op),
        },
        Op::Sub(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => Folded::Literal(x.wrapping_sub(y)),
            (_, Some(0)) => Folded::Value(a),
            _ => Folded::Op(op),
        },
        Op::Mul(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => Folded::Literal(x.wrapping_mul(y)),
            (Some(0), _) | (_, Some(0)) => Folded::Literal(0),
            (Some(1), _) => Folded::Value(b),
            (_, Some(1)) => Folded::Value(a),
            _ => Folded::Op(op),
        },
        Op::Div(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) if x >= 0 && y > 0 => Folded::Literal(x / y),
            (_, Some(1)) => Folded::Value(a),
            _ => Folded::Op(op),
        },
        Op::Rem(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) if x >= 0 && y > 0 => Folded::Literal(x % y),
            (_, Some(1)) => Folded::Literal(0),
            _ => Folded::Op(op),
        },
        Op::Min(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => Folded::Literal(x.min(y)),
            _ if a == b => Folded::Value(a),
            _ => Folded::Op(op),
        },
        Op::Max(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => Folded::Literal(x.max(y)),
            _ if a == b => Folded::Value(a),
            _ => Folded::Op(op),
        },
        Op::And(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => Folded::Literal(x & y),
            _ => Folded::Op(op),
        },
        Op::Or(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => Folded::Literal(x | y),
            _ => Folded::Op(op),
        },
        Op::Shl(a, by) => match literal(a) {
            Some(x) => Folded::Literal(x.wrapping_shl(by)),
            None if by == 0 => Folded::Value(a),
            None => Folded::Op(op),
        },
        Op::ShrS(a, by) => match literal(a) {
            Some(x) => Folded::Literal(x.wrapping_shr(by)),
            None if by == 0 => Folded::Value(a),
            None => Folded::Op(op),
        },
        Op::ShrU(a, by) => match literal(a) {
            Some(x) => Folded::Literal((x as u32).wrapping_shr(by) as i32),
            None if by == 0 => Folded::Value(a),
            None => Folded::Op(op),
        },
        op => Folded::Op(op),
    }
}
