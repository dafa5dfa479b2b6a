//! Folding of I32 arithmetic while a kernel is built: literals meet literals, and operations that change nothing vanish.
//!
//! Only wrapping 32-bit identities are used, so a folded kernel computes the same bits.

use super::{Op, ValueDef, ValueId};

/// What an operation became.
pub(super) enum FoldResult {
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
pub(super) fn fold(values: &[ValueDef], op: Op) -> FoldResult {
    let literal = |v: ValueId| match values[v.index()].op {
        Op::I32(n) => Some(n),
        _ => None,
    };
    match op {
        Op::Add(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => FoldResult::Literal(x.wrapping_add(y)),
            (Some(0), _) => FoldResult::Value(b),
            (_, Some(0)) => FoldResult::Value(a),
            (Some(_), None) => FoldResult::Op(Op::Add(b, a)),
            (None, Some(y)) => match values[a.index()].op {
                Op::Add(inner, x) if literal(x).is_some() => {
                    FoldResult::Plus(inner, literal(x).map_or(y, |x| x.wrapping_add(y)))
                }
                _ => FoldResult::Op(op),
            },
            _ => FoldResult::Op(op),
        },
        Op::Sub(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => FoldResult::Literal(x.wrapping_sub(y)),
            (_, Some(0)) => FoldResult::Value(a),
            _ => FoldResult::Op(op),
        },
        Op::Mul(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => FoldResult::Literal(x.wrapping_mul(y)),
            (Some(0), _) | (_, Some(0)) => FoldResult::Literal(0),
            (Some(1), _) => FoldResult::Value(b),
            (_, Some(1)) => FoldResult::Value(a),
            _ => FoldResult::Op(op),
        },
        Op::Div(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) if x >= 0 && y > 0 => FoldResult::Literal(x / y),
            (_, Some(1)) => FoldResult::Value(a),
            _ => FoldResult::Op(op),
        },
        Op::Rem(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) if x >= 0 && y > 0 => FoldResult::Literal(x % y),
            (_, Some(1)) => FoldResult::Literal(0),
            _ => FoldResult::Op(op),
        },
        Op::Min(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => FoldResult::Literal(x.min(y)),
            _ if a == b => FoldResult::Value(a),
            _ => FoldResult::Op(op),
        },
        Op::Max(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => FoldResult::Literal(x.max(y)),
            _ if a == b => FoldResult::Value(a),
            _ => FoldResult::Op(op),
        },
        Op::And(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => FoldResult::Literal(x & y),
            _ => FoldResult::Op(op),
        },
        Op::Or(a, b) => match (literal(a), literal(b)) {
            (Some(x), Some(y)) => FoldResult::Literal(x | y),
            _ => FoldResult::Op(op),
        },
        Op::Shl(a, by) => match literal(a) {
            Some(x) => FoldResult::Literal(x.wrapping_shl(by)),
            None if by == 0 => FoldResult::Value(a),
            None => FoldResult::Op(op),
        },
        Op::ShrS(a, by) => match literal(a) {
            Some(x) => FoldResult::Literal(x.wrapping_shr(by)),
            None if by == 0 => FoldResult::Value(a),
            None => FoldResult::Op(op),
        },
        Op::ShrU(a, by) => match literal(a) {
            Some(x) => FoldResult::Literal((x as u32).wrapping_shr(by) as i32),
            None if by == 0 => FoldResult::Value(a),
            None => FoldResult::Op(op),
        },
        op => FoldResult::Op(op),
    }
}
