//! Values of a function or kernel, computed segment by segment when something asks for them.
//!
//! Most operations compute a segment of a vector from the same segment of their operands. So a vector is not computed
//! where it is defined but where it is used, and where possible only the segment that is used: code then works on one
//! segment from its loads to its sum before it turns to the next, and needs a quarter of the registers. Whoever changes
//! memory or leaves a block computes first what is still missing.

use std::collections::HashMap;

use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};
use gemc_kernels::ir::{FuncId, Function, Op, Ty, ValueDef, ValueId};

use super::emitter::Emitter;
use super::literal::{Literal, int, literal};
use super::segments::{Segments, shape};

/// Where a vector is loaded from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) address: Value,
    pub(super) offset: i32,
    pub(super) flags: MemFlagsData,
}

/// Values and their definitions.
pub(super) struct Scope<'p> {
    pub(super) defs: &'p [ValueDef],
    functions: &'p [Function],
    /// What is computed so far.
    computed: Vec<[Option<Value>; 4]>,
    /// Whether all segments are the same, where that was asked.
    uniform: Vec<Option<bool>>,
    places: HashMap<ValueId, Place>,
}

impl<'p> Scope<'p> {
    pub(super) fn new(defs: &'p [ValueDef], functions: &'p [Function]) -> Self {
        Self {
            defs,
            functions,
            computed: vec![[None; 4]; defs.len()],
            uniform: vec![None; defs.len()],
            places: HashMap::new(),
        }
    }

    pub(super) fn ty(&self, v: ValueId) -> Ty {
        self.defs[v.index()].ty
    }

    /// Notes what a value is.
    pub(super) fn set(&mut self, v: ValueId, segments: Segments) {
        for (i, &segment) in segments.values().iter().enumerate() {
            self.computed[v.index()][i] = Some(segment);
        }
    }

    /// Notes where a value is loaded from, when it is needed; memory there must not change before.
    pub(super) fn set_place(&mut self, v: ValueId, place: Place) {
        self.places.insert(v, place);
    }

    /// Whether the value is loaded when it is needed.
    pub(super) fn has_place(&self, v: ValueId) -> bool {
        self.places.contains_key(&v)
    }

    /// The literal that a value is.
    pub(super) fn literal(&self, v: ValueId) -> Option<Literal> {
        literal(self.defs, v)
    }

    /// The i32 literal that a value is.
    pub(super) fn int(&self, v: ValueId) -> Option<i32> {
        int(self.defs, v)
    }

    /// A value that is used here, with all its segments.
    pub(super) fn value(&mut self, e: &mut Emitter<'_>, v: ValueId) -> Segments {
        let (_, count) = shape(self.ty(v));
        let mut at = |i| self.segment(e, v, i);
        match count {
            1 => Segments::one(at(0)),
            2 => Segments::of([0, 1].map(at)),
            _ => Segments::of([0, 1, 2, 3].map(at)),
        }
    }

    /// A segment of a value that is used here; that of a scalar, whatever `i` is.
    pub(super) fn segment(&mut self, e: &mut Emitter<'_>, v: ValueId, i: usize) -> Value {
        let (ty, count) = shape(self.ty(v));
        let i = if count == 1 || self.is_uniform(v) {
            0
        } else {
            i
        };
        if let Some(literal) = self.literal(v) {
            return e.literal(self.ty(v), &literal, i);
        }
        if let Some(known) = self.computed[v.index()][i] {
            return known;
        }
        let computed = if let Some(place) = self.places.get(&v).copied() {
            e.ins()
                .load(ty, place.flags, place.address, place.offset + 16 * i as i32)
        } else if by_segment(&self.defs[v.index()]) {
            self.compute(e, v, Some(i)).first()
        } else {
            let all = self.compute(e, v, None);
            self.set(v, all);
            all.at(i)
        };
        self.computed[v.index()][i] = Some(computed);
        computed
    }

    /// Computes one segment, or all.
    fn compute(&mut self, e: &mut Emitter<'_>, v: ValueId, segment: Option<usize>) -> Segments {
        let defs = self.defs;
        let def = &defs[v.index()];
        let mut ids = Vec::new();
        def.op.for_each_operand(|operand| ids.push(operand));
        let operand = |&id: &ValueId| match segment {
            Some(i) => Segments::one(self.segment(e, id, i)),
            None => self.value(e, id),
        };
        let operands: Vec<Segments> = ids.iter().map(operand).collect();
        match def.op {
            Op::Call(f, _) => self.call(e, f, &operands),
            Op::Item | Op::Index | Op::Param(_) | Op::Get(_) | Op::Load { .. } => unreachable!(
                "{v} is used before `{}`, which the verifier refuses",
                def.op.mnemonic()
            ),
            _ => {
                let first = ids.first().map_or(def.ty, |&id| self.ty(id));
                e.operation(&def.op, def.ty, first, &operands)
            }
        }
    }

    /// Translates a function's body in place: no vectors are passed through calls.
    fn call(&self, e: &mut Emitter<'_>, f: FuncId, arguments: &[Segments]) -> Segments {
        let function = &self.functions[f.index()];
        let mut inner = Scope::new(&function.values, self.functions);
        for (i, &argument) in arguments.iter().enumerate() {
            inner.set(ValueId::from_index(i), argument);
        }
        inner.value(e, function.result)
    }

    /// Whether all segments are known to be the same, as those of a splat are.
    fn is_uniform(&mut self, v: ValueId) -> bool {
        if let Some(known) = self.uniform[v.index()] {
            return known;
        }
        let defs = self.defs;
        let def = &defs[v.index()];
        let uniform = match (&def.op, self.literal(v)) {
            (_, Some(Literal::Word(_))) | (Op::Splat(_), _) => true,
            (_, Some(Literal::Bytes(bytes))) => bytes.iter().all(|b| *b == bytes[0]),
            (Op::Param(_), _) => {
                let segments = self.computed[v.index()];
                segments.iter().all(|s| *s == segments[0])
            }
            _ if !def.ty.is_vector() => true,
            _ if by_segment(def) => {
                let mut ids = Vec::new();
                def.op.for_each_operand(|operand| ids.push(operand));
                ids.iter().all(|&id| self.is_uniform(id))
            }
            _ => false,
        };
        self.uniform[v.index()] = Some(uniform);
        uniform
    }
}

/// Whether each segment is computed from the same segment of the operands, or from scalars and vectors of one segment.
fn by_segment(def: &ValueDef) -> bool {
    def.ty.is_vector()
        && matches!(
            def.op,
            Op::Add(..)
                | Op::Sub(..)
                | Op::Mul(..)
                | Op::Div(..)
                | Op::Fma(..)
                | Op::Min(..)
                | Op::Max(..)
                | Op::Abs(_)
                | Op::Neg(_)
                | Op::Sqrt(_)
                | Op::And(..)
                | Op::Or(..)
                | Op::Xor(..)
                | Op::Shl(..)
                | Op::ShrS(..)
                | Op::ShrU(..)
                | Op::Cmp(..)
                | Op::Select(..)
                | Op::ToFloat(_)
                | Op::ToInt(_)
                | Op::Bits(..)
                | Op::Lookup(..)
                | Op::Lookup32(..)
                | Op::Dot4U(..)
                | Op::Dot4S(..)
                | Op::Dot2U(..)
                | Op::Dot2S(..)
                | Op::DotWords(..)
        )
}
