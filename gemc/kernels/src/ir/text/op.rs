//! Parser of operations.

use super::parse::{Parser, Result};
use crate::ir::{ALL_TYPES, Cmp, FuncId, Op, ParamId, Ty, ValueDef, ValueId, VarId};

/// Operations of values alone, by number of operands.
const UNARY: [fn(ValueId) -> Op; 17] = [
    Op::Abs,
    Op::Neg,
    Op::Sqrt,
    Op::Not,
    Op::ToFloat,
    Op::ToInt,
    Op::Splat,
    Op::WidenS,
    Op::WidenU,
    Op::Narrow,
    Op::HalfToFloat,
    Op::FloatToHalf,
    Op::Low,
    Op::High,
    Op::FoldPairs,
    Op::ReduceAdd,
    Op::ReduceMax,
];
const BINARY: [fn(ValueId, ValueId) -> Op; 17] = [
    Op::Add,
    Op::Sub,
    Op::Mul,
    Op::Div,
    Op::Rem,
    Op::Min,
    Op::Max,
    Op::And,
    Op::Or,
    Op::Xor,
    Op::Bounded,
    Op::Lookup,
    Op::Dot2U,
    Op::Dot2S,
    Op::DotWords,
    Op::AddPairs,
    Op::Join,
];
const TERNARY: [fn(ValueId, ValueId, ValueId) -> Op; 5] =
    [Op::Fma, Op::Select, Op::Lookup32, Op::Dot4U, Op::Dot4S];
const SHIFTS: [fn(ValueId, u32) -> Op; 3] = [Op::Shl, Op::ShrS, Op::ShrU];
const NULLARY: [Op; 5] = [
    Op::Item,
    Op::Index,
    Op::RowCount,
    Op::OutputCount,
    Op::Context,
];

impl Parser {
    pub(super) fn value(&mut self) -> Result<ValueId> {
        Ok(ValueId(self.id("v")?))
    }

    pub(super) fn ty(&mut self) -> Result<Ty> {
        self.choice(&ALL_TYPES, Ty::name)
    }

    /// ` name: type = operation`, after the id.
    pub(super) fn definition(&mut self) -> Result<ValueDef> {
        let name = self.hint(":")?;
        self.mark(":")?;
        let ty = self.ty()?;
        self.mark("=")?;
        let op = self.op()?;
        Ok(ValueDef { op, ty, name })
    }

    /// A name, unless the mark that follows it stands here already.
    pub(super) fn hint(&mut self, mark: &str) -> Result<Option<String>> {
        if self.at_mark(mark) {
            return Ok(None);
        }
        self.name().map(Some)
    }

    pub(super) fn op(&mut self) -> Result<Op> {
        let v = ValueId(0);
        if let Some(op) = NULLARY.iter().find(|op| self.at_word(op.mnemonic())) {
            self.keyword(op.mnemonic())?;
            return Ok(op.clone());
        }
        if let Some(make) = UNARY.iter().find(|f| self.at_word(f(v).mnemonic())) {
            self.keyword(make(v).mnemonic())?;
            return Ok(make(self.value()?));
        }
        if let Some(make) = BINARY.iter().find(|f| self.at_word(f(v, v).mnemonic())) {
            self.keyword(make(v, v).mnemonic())?;
            return Ok(make(self.value()?, self.after_comma()?));
        }
        if let Some(make) = TERNARY.iter().find(|f| self.at_word(f(v, v, v).mnemonic())) {
            self.keyword(make(v, v, v).mnemonic())?;
            return Ok(make(
                self.value()?,
                self.after_comma()?,
                self.after_comma()?,
            ));
        }
        if let Some(make) = SHIFTS.iter().find(|f| self.at_word(f(v, 0).mnemonic())) {
            self.keyword(make(v, 0).mnemonic())?;
            let a = self.value()?;
            self.mark(",")?;
            return Ok(make(a, self.u32()?));
        }
        self.special()
    }

    fn after_comma(&mut self) -> Result<ValueId> {
        self.mark(",")?;
        self.value()
    }

    /// Operations with literals, ids of other kinds, or memory.
    fn special(&mut self) -> Result<Op> {
        if self.eat_word("param") {
            Ok(Op::Param(self.u32()?))
        } else if self.eat_word("i32") {
            Ok(Op::I32(self.i32()?))
        } else if self.eat_word("f32") {
            Ok(Op::F32(self.float()?))
        } else if self.eat_word("i32_lanes") {
            Ok(Op::I32Lanes(self.lanes("a number of 32 bits")?))
        } else if self.eat_word("i8_lanes") {
            Ok(Op::I8Lanes(self.lanes("a number in -128..=127")?))
        } else if self.eat_word("scalar") {
            Ok(Op::Scalar(ParamId(self.id("p")?)))
        } else if self.eat_word("get") {
            Ok(Op::Get(VarId(self.id("m")?)))
        } else if self.eat_word("element") {
            let m = VarId(self.id("m")?);
            match self.element()? {
                Some(at) => Ok(Op::Element(m, at)),
                None => self.fail("`[`"),
            }
        } else if self.eat_word("cmp") {
            let cmp = self.choice(&Cmp::ALL, Cmp::name)?;
            Ok(Op::Cmp(cmp, self.value()?, self.after_comma()?))
        } else if self.eat_word("dot4_s_by") {
            let operands = [self.value()?, self.after_comma()?, self.after_comma()?];
            let [acc, a, b] = operands;
            self.mark(",")?;
            Ok(Op::Dot4SBy(acc, a, b, self.u32()?))
        } else if self.eat_word("mac_s_by") {
            let operands = [self.value()?, self.after_comma()?, self.after_comma()?];
            let [acc, a, b] = operands;
            self.mark(",")?;
            Ok(Op::MacSBy(acc, a, b, self.u32()?))
        } else if self.eat_word("mul_s_by") {
            let [a, b] = [self.value()?, self.after_comma()?];
            self.mark(",")?;
            Ok(Op::MulSBy(a, b, self.u32()?))
        } else if self.eat_word("bits") {
            Ok(Op::Bits(self.ty()?, self.value()?))
        } else if self.eat_word("load") {
            self.load()
        } else if self.eat_word("call") {
            self.call()
        } else {
            self.fail("an operation such as add, load or f32")
        }
    }

    fn i32(&mut self) -> Result<i32> {
        self.integer("a number of 32 bits")
    }

    fn lanes<T: TryFrom<i128> + Copy + Default>(&mut self, expected: &str) -> Result<[T; 16]> {
        let mut lanes = [T::default(); 16];
        for (i, lane) in lanes.iter_mut().enumerate() {
            if i > 0 {
                self.mark(",")?;
            }
            *lane = self.integer(expected)?;
        }
        Ok(lanes)
    }

    /// `p0[slot v1, v2]` or `p0[v2]`.
    pub(super) fn place(&mut self) -> Result<(ParamId, Option<ValueId>, ValueId)> {
        let region = ParamId(self.id("p")?);
        self.mark("[")?;
        let slot = if self.eat_word("slot") {
            let slot = self.value()?;
            self.mark(",")?;
            Some(slot)
        } else {
            None
        };
        let index = self.value()?;
        self.mark("]")?;
        Ok((region, slot, index))
    }

    fn load(&mut self) -> Result<Op> {
        let (region, slot, index) = self.place()?;
        let range = if self.eat_word("in") {
            let lo = self.i32()?;
            self.mark("..=")?;
            Some((lo, self.i32()?))
        } else {
            None
        };
        Ok(Op::Load {
            region,
            slot,
            index,
            range,
        })
    }

    fn call(&mut self) -> Result<Op> {
        let function = FuncId(self.id("f")?);
        self.mark("(")?;
        let mut args = Vec::new();
        while !self.eat(")") {
            if !args.is_empty() {
                self.mark(",")?;
            }
            args.push(self.value()?);
        }
        Ok(Op::Call(function, args))
    }
}
