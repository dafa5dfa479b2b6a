//! The function under construction: instructions by segment, literals where they are used.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::Ieee32;
use cranelift_codegen::ir::{Block, Endianness, InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_frontend::{FuncInstBuilder, FunctionBuilder};
use gemc_kernels::ir::{Cmp, Ty};

use super::isa::Features;
use super::literal::Literal;
use super::segments::{Segments, shape};

/// A function of Cranelift IR being written.
pub(super) struct Emitter<'c> {
    pub(super) b: FunctionBuilder<'c>,
    pub(super) features: Features,
    /// Literals of the current block. They are not shared between blocks: a literal is cheaper than a register.
    literals: HashMap<(Type, [u8; 16]), Value>,
}

impl<'c> Emitter<'c> {
    pub(super) fn new(b: FunctionBuilder<'c>, features: Features) -> Self {
        Self {
            b,
            features,
            literals: HashMap::new(),
        }
    }

    /// The next instruction.
    pub(super) fn ins(&mut self) -> FuncInstBuilder<'_, 'c> {
        self.b.ins()
    }

    /// Continues in another block.
    pub(super) fn enter(&mut self, block: Block) {
        self.literals.clear();
        self.b.switch_to_block(block);
    }

    /// Computes every segment alone; equal ones (of splats, say) once.
    pub(super) fn zip<const N: usize>(
        &mut self,
        operands: [Segments; N],
        f: impl Fn(&mut Self, [Value; N]) -> Value,
    ) -> Segments {
        let count = operands.iter().map(Segments::count).max().unwrap_or(1);
        let at = |i: usize| operands.map(|o| o.at(i));
        let first = f(self, at(0));
        let mut results = [first; 4];
        for i in 1..count {
            results[i] = match (0..i).find(|&j| at(j) == at(i)) {
                Some(j) => results[j],
                None => f(self, at(i)),
            };
        }
        match count {
            1 => Segments::one(first),
            2 => Segments::of([results[0], results[1]]),
            _ => Segments::of(results),
        }
    }

    /// An i32 literal.
    pub(super) fn int(&mut self, n: i32) -> Value {
        self.ins().iconst(types::I32, i64::from(n as u32))
    }

    /// Segment `i` of a literal of the IR.
    pub(super) fn literal(&mut self, ty: Ty, literal: &Literal, i: usize) -> Value {
        match literal {
            Literal::Word(bits) if ty == Ty::F32 => self.ins().f32const(Ieee32::with_bits(*bits)),
            Literal::Word(bits) => self.int(*bits as i32),
            Literal::Bytes(bytes) => self.bytes(shape(ty).0, bytes[i]),
        }
    }

    /// A literal segment.
    pub(super) fn bytes(&mut self, ty: Type, bytes: [u8; 16]) -> Value {
        if let Some(&value) = self.literals.get(&(ty, bytes)) {
            return value;
        }
        let constant = self.b.func.dfg.constants.insert(bytes.as_slice().into());
        let value = self.ins().vconst(ty, constant);
        self.literals.insert((ty, bytes), value);
        value
    }

    /// The same word in every lane of an i32x4.
    pub(super) fn words(&mut self, word: u32) -> Value {
        self.bytes(types::I32X4, pattern(word.to_le_bytes()))
    }

    /// The same 16 bits in every lane of an i16x8.
    pub(super) fn halves(&mut self, half: u16) -> Value {
        self.bytes(types::I16X8, pattern(half.to_le_bytes()))
    }

    /// The same bits as another type of the same size; nothing where it has the type.
    pub(super) fn cast(&mut self, ty: Type, value: Value) -> Value {
        if self.b.func.dfg.value_type(value) == ty {
            return value;
        }
        let little = MemFlagsData::new().with_endianness(Endianness::Little);
        self.ins().bitcast(ty, little, value)
    }

    /// `condition ? a : b` by bits; the condition's lanes are all ones or zero.
    pub(super) fn choose(&mut self, condition: Value, a: Value, b: Value) -> Value {
        let ty = self.b.func.dfg.value_type(a);
        let condition = self.cast(ty, condition);
        self.ins().bitselect(condition, a, b)
    }

    /// A comparison of lanes or scalars.
    pub(super) fn compare(&mut self, cmp: Cmp, a: Value, b: Value) -> Value {
        if self.b.func.dfg.value_type(a).lane_type().is_float() {
            self.ins().fcmp(float_condition(cmp), a, b)
        } else {
            self.ins().icmp(int_condition(cmp), a, b)
        }
    }
}

/// A pattern over 16 bytes.
fn pattern<const N: usize>(bytes: [u8; N]) -> [u8; 16] {
    std::array::from_fn(|i| bytes[i % N])
}

/// Ordered, so false with a NaN; but `NotEqual` is true.
const fn float_condition(cmp: Cmp) -> FloatCC {
    match cmp {
        Cmp::Eq => FloatCC::Equal,
        Cmp::Ne => FloatCC::NotEqual,
        Cmp::Lt => FloatCC::LessThan,
        Cmp::Le => FloatCC::LessThanOrEqual,
        Cmp::Gt => FloatCC::GreaterThan,
        Cmp::Ge => FloatCC::GreaterThanOrEqual,
    }
}

const fn int_condition(cmp: Cmp) -> IntCC {
    match cmp {
        Cmp::Eq => IntCC::Equal,
        Cmp::Ne => IntCC::NotEqual,
        Cmp::Lt => IntCC::SignedLessThan,
        Cmp::Le => IntCC::SignedLessThanOrEqual,
        Cmp::Gt => IntCC::SignedGreaterThan,
        Cmp::Ge => IntCC::SignedGreaterThanOrEqual,
    }
}
