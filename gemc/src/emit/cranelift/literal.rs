//! Values that are literals, however they are written: they are not computed where they stand but wherever they are used.

use gemc_kernels::ir::{Op, Ty, ValueDef, ValueId};

/// The bits of a literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    /// An i32 or f32.
    Word(u32),
    /// A vector by segments; one of 16 bytes has four equal ones.
    Bytes([[u8; 16]; 4]),
}

/// The literal that a value is, if it is one.
pub(super) fn literal(values: &[ValueDef], v: ValueId) -> Option<Literal> {
    match &values[v.index()].op {
        Op::I32(n) => Some(Literal::Word(*n as u32)),
        Op::F32(bits) => Some(Literal::Word(*bits)),
        Op::I8Lanes(lanes) => Some(Literal::Bytes([lanes.map(|b| b as u8); 4])),
        Op::I32Lanes(lanes) => Some(bytes(|i| lanes[i] as u32)),
        Op::Splat(a) => match literal(values, *a)? {
            Literal::Word(word) => Some(bytes(|_| word)),
            Literal::Bytes(_) => None,
        },
        Op::Bits(_, a) => literal(values, *a),
        _ => None,
    }
}

/// Whether it is the i32 literal.
pub(super) fn int(values: &[ValueDef], v: ValueId) -> Option<i32> {
    match literal(values, v) {
        Some(Literal::Word(word)) if values[v.index()].ty == Ty::I32 => Some(word as i32),
        _ => None,
    }
}

fn bytes(lane: impl Fn(usize) -> u32) -> Literal {
    Literal::Bytes(std::array::from_fn(|segment| {
        let mut bytes = [0; 16];
        for (i, word) in bytes.chunks_exact_mut(4).enumerate() {
            word.copy_from_slice(&lane(4 * segment + i).to_le_bytes());
        }
        bytes
    }))
}
