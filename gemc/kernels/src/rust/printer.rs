//! The values of one body as expressions: inlined ones wait until they are used, the others get a name and a `let`.
//!
//! An inlined expression that reads a mutable local is written out before anything assigns that local, so evaluation
//! keeps the order of the IR.

use std::collections::{BTreeSet, HashMap, HashSet};

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::code::{Code, Prec, int};
use super::names::Names;
use super::ops::{self, OpTypes};
use crate::ir::places::Place;
use crate::ir::uses::Uses;
use crate::ir::verify::Range;
use crate::ir::{Function, Op, Ty, ValueDef, ValueId, VarId};

/// Operations in one inlined expression at most, for readability.
const MAX_SIZE: usize = 10;

/// Prints the operations that only a kernel has: parameters and memory.
pub(super) trait Leaves {
    /// A name for a value that has none.
    fn hint(&self, _: &Op) -> Option<String> {
        None
    }

    /// The expression of a parameter, a size of the step, the item or a load, given its type and the place of an index.
    fn leaf(
        &mut self,
        op: &Op,
        ty: Ty,
        place: &dyn Fn(ValueId) -> Place,
        operand: &mut dyn FnMut(ValueId) -> Code,
    ) -> Option<Code>;
}

/// The values of a kernel or function.
pub(super) struct Printer<'a> {
    defs: &'a [ValueDef],
    functions: &'a [Function],
    /// What the verifier knows, where it looked.
    ranges: &'a [Option<Range>],
    pub(super) uses: Uses,
    pub(super) names: Names,
    named: Vec<Option<Ident>>,
    vars: Vec<Option<Ident>>,
    waiting: Vec<Waiting>,
    /// Indices that are of type `usize`.
    counters: HashSet<ValueId>,
    /// Indices that are one number.
    fixed: HashMap<ValueId, i32>,
}

/// An expression that will be written where it is used.
struct Waiting {
    value: ValueId,
    code: Code,
    reads: BTreeSet<VarId>,
    size: usize,
}

impl<'a> Printer<'a> {
    pub(super) fn new(
        defs: &'a [ValueDef],
        functions: &'a [Function],
        ranges: &'a [Option<Range>],
        uses: Uses,
        vars: usize,
    ) -> Self {
        Self {
            defs,
            functions,
            ranges,
            uses,
            names: Names::default(),
            named: vec![None; defs.len()],
            vars: vec![None; vars],
            waiting: Vec::new(),
            counters: HashSet::new(),
            fixed: HashMap::new(),
        }
    }

    /// Makes an index one of type `usize`.
    pub(super) fn count_by(&mut self, index: ValueId) {
        self.counters.insert(index);
    }

    /// Makes an index a constant of type `usize`.
    pub(super) fn call(&mut self, index: ValueId, constant: Ident) {
        self.named[index.index()] = Some(constant);
        self.counters.insert(index);
    }

    /// Makes an index a number.
    pub(super) fn fix(&mut self, index: ValueId, n: i32) {
        self.fixed.insert(index, n);
    }

    /// What names an element of an array, as a `usize`: literals and indices, multiplied and added.
    pub(super) fn subscript(&self, at: ValueId) -> TokenStream {
        self.number(at).alone()
    }

    fn number(&self, v: ValueId) -> Code {
        if let Some(n) = self.fixed.get(&v) {
            return int(*n);
        }
        if let Some(name) = &self.named[v.index()] {
            let name = Code::atom(quote!(#name));
            return match self.counters.contains(&v) {
                true => name,
                false => Code::cast(&name, quote!(usize)),
            };
        }
        match self.defs[v.index()].op {
            Op::I32(n) => int(n),
            Op::Add(a, b) if self.fixed.get(&b) == Some(&0) => self.number(a),
            Op::Add(a, b) => Code::binary(&self.number(a), quote!(+), &self.number(b), Prec::Sum),
            Op::Mul(a, b) => {
                Code::binary(&self.number(a), quote!(*), &self.number(b), Prec::Product)
            }
            ref op => unreachable!("`{}` names no element", op.mnemonic()),
        }
    }

    /// Names a value that is bound elsewhere: a parameter, the item, a loop index.
    pub(super) fn bind(&mut self, v: ValueId) -> Ident {
        let def = &self.defs[v.index()];
        let name = self.names.fresh(def.name.as_deref(), usual_name(&def.op));
        self.named[v.index()] = Some(name.clone());
        name
    }

    /// Names a mutable local.
    pub(super) fn bind_var(&mut self, m: VarId, hint: Option<&str>) -> Ident {
        let name = self.names.fresh(hint, "local");
        self.vars[m.index()] = Some(name.clone());
        name
    }

    /// A declared mutable local.
    pub(super) fn var(&self, m: VarId) -> Ident {
        self.vars[m.index()]
            .clone()
            .unwrap_or_else(|| format_ident!("{}", m.to_string()))
    }

    /// The expression of a needed value that was computed before; an inlined one can be asked for once.
    pub(super) fn value(&mut self, leaves: &mut impl Leaves, v: ValueId) -> Code {
        self.operand(leaves, v, &mut BTreeSet::new(), &mut 0)
    }

    /// Computes a value where it stands: nothing for one that waits or is not needed, else a `let`.
    pub(super) fn define(&mut self, leaves: &mut impl Leaves, v: ValueId) -> TokenStream {
        if !self.uses.needed(v) || is_everywhere(&self.defs[v.index()].op) {
            return TokenStream::new();
        }
        let (mut reads, mut size) = (BTreeSet::new(), 1);
        let code = self.compute(leaves, v, &mut reads, &mut size);
        if self.uses.inline(v) && size <= MAX_SIZE {
            self.waiting.push(Waiting {
                value: v,
                code,
                reads,
                size,
            });
            TokenStream::new()
        } else {
            if let Some(hint) = leaves.hint(&self.defs[v.index()].op) {
                self.named[v.index()] = self.defs[v.index()]
                    .name
                    .is_none()
                    .then(|| self.names.fresh(Some(&hint), "loaded"));
            }
            self.let_(v, &code)
        }
    }

    /// Writes out everything that waits and reads one of these locals.
    pub(super) fn settle(&mut self, assigned: &BTreeSet<VarId>) -> TokenStream {
        let (due, kept) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|w: &Waiting| !w.reads.is_disjoint(assigned));
        self.waiting = kept;
        let due: Vec<Waiting> = due;
        due.iter().map(|w| self.let_(w.value, &w.code)).collect()
    }

    fn let_(&mut self, v: ValueId, code: &Code) -> TokenStream {
        let name = match &self.named[v.index()] {
            Some(name) => name.clone(),
            None => self.bind(v),
        };
        let code = code.alone();
        quote!(let #name = #code;)
    }

    fn operand(
        &mut self,
        leaves: &mut impl Leaves,
        v: ValueId,
        reads: &mut BTreeSet<VarId>,
        size: &mut usize,
    ) -> Code {
        if let Some(n) = self.fixed.get(&v) {
            return int(*n);
        }
        if let Some(name) = &self.named[v.index()] {
            let name = Code::atom(quote!(#name));
            return match self.counters.contains(&v) {
                true => Code::cast(&name, quote!(i32)),
                false => name,
            };
        }
        if let Some(at) = self.waiting.iter().position(|w| w.value == v) {
            let waiting = self.waiting.remove(at);
            reads.extend(waiting.reads);
            *size += waiting.size;
            return waiting.code;
        }
        self.compute(leaves, v, reads, size)
    }

    fn compute(
        &mut self,
        leaves: &mut impl Leaves,
        v: ValueId,
        reads: &mut BTreeSet<VarId>,
        size: &mut usize,
    ) -> Code {
        let defs = self.defs;
        let def = &defs[v.index()];
        if let Op::Get(m) = def.op {
            reads.insert(m);
            let name = self.var(m);
            return Code::atom(quote!(#name));
        }
        if let Op::Element(m, at) = def.op {
            reads.insert(m);
            let (name, at) = (self.var(m), self.subscript(at));
            return Code::atom(quote!(#name[#at]));
        }
        // An index that is zero leaves nothing to add.
        if let Op::Add(a, b) = def.op
            && self.fixed.get(&b) == Some(&0)
        {
            return self.operand(leaves, a, reads, size);
        }
        let operands = self.uses.operands(&def.op);
        let codes: Vec<Code> = operands
            .iter()
            .map(|&o| self.operand(leaves, o, reads, size))
            .collect();
        let mut in_order = codes.iter().cloned();
        let mut next = |_: ValueId| in_order.next().unwrap_or_else(|| Code::atom(quote!(())));
        let place = |index| self.uses.place(index);
        if let Some(code) = leaves.leaf(&def.op, def.ty, &place, &mut next) {
            return code;
        }
        if let Op::Call(f, _) = def.op {
            let function = format_ident!("{}", self.functions[f.index()].name);
            let args = codes.iter().map(Code::alone);
            return Code::atom(quote!(#function(#(#args),*)));
        }
        ops::operation(&def.op, self.types(v, &operands), &codes)
    }

    fn types(&self, v: ValueId, operands: &[ValueId]) -> OpTypes {
        let def = &self.defs[v.index()];
        let range = |i: usize| -> Option<Range> {
            let id = *operands.get(i)?;
            match self.defs[id.index()].op {
                Op::I32(n) => Some(Range::exactly(i64::from(n))),
                _ => *self.ranges.get(id.index())?,
            }
        };
        OpTypes {
            ty: def.ty,
            operand: operands.first().map_or(def.ty, |o| self.defs[o.index()].ty),
            exact: is_exact(&def.op, range(0), range(1)),
            non_negative: range(0).is_some_and(|r| r.lo >= 0),
        }
    }
}

/// What a value is called that nobody named.
fn usual_name(op: &Op) -> &'static str {
    match op {
        Op::Item => "item",
        Op::Index => "index",
        Op::Param(_) => "x",
        Op::Add(..) | Op::Fma(..) => "sum",
        Op::Sub(..) => "difference",
        Op::Mul(..) => "product",
        Op::Div(..) => "quotient",
        Op::Rem(..) => "remainder",
        Op::Min(..) => "least",
        Op::Max(..) | Op::ReduceMax(_) => "most",
        Op::Abs(_) => "size",
        Op::Neg(_) => "negated",
        Op::Sqrt(_) => "root",
        Op::And(..) | Op::Or(..) | Op::Xor(..) | Op::Not(_) | Op::Bits(..) => "bits",
        Op::Shl(..) | Op::ShrS(..) | Op::ShrU(..) => "shifted",
        Op::Cmp(..) => "holds",
        Op::Select(..) => "chosen",
        Op::Bounded(..) => "bounded",
        Op::ToFloat(_) => "float",
        Op::ToInt(_) => "whole",
        Op::Splat(_) | Op::I32Lanes(_) => "lanes",
        Op::WidenS(_) | Op::WidenU(_) | Op::HalfToFloat(_) => "wide",
        Op::Narrow(_) | Op::FloatToHalf(_) => "narrow",
        Op::Low(_) | Op::High(_) => "half",
        Op::Join(..) => "whole",
        Op::ReduceAdd(_) => "total",
        Op::I8Lanes(_) => "table",
        Op::Lookup(..) | Op::Lookup32(..) => "found",
        Op::Dot4U(..)
        | Op::Dot4S(..)
        | Op::Dot4SBy(..)
        | Op::Dot2U(..)
        | Op::Dot2S(..)
        | Op::DotWords(..)
        | Op::MulSBy(..)
        | Op::MacSBy(..) => "products",
        Op::AddPairs(..) | Op::FoldPairs(_) => "sums",
        Op::Call(..) => "result",
        Op::Load { .. } => "loaded",
        Op::Get(_) | Op::Element(..) => "before",
        Op::I32(_) | Op::F32(_) | Op::Scalar(_) => "number",
        Op::RowCount | Op::OutputCount | Op::Context => "count",
    }
}

/// Whether the result of an integer operation fits 32 bits whatever its operands are.
fn is_exact(op: &Op, a: Option<Range>, b: Option<Range>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return false;
    };
    let ends = match op {
        Op::Add(..) => [a.lo + b.lo, a.hi + b.hi, 0, 0],
        Op::Sub(..) => [a.lo - b.hi, a.hi - b.lo, 0, 0],
        // Both are 32-bit numbers, so products fit 64 bits.
        Op::Mul(..) => [a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi],
        _ => return false,
    };
    ends.iter().all(|&end| i32::try_from(end).is_ok())
}

/// Operations that print as a number or as a name bound at the top, wherever they stand.
fn is_everywhere(op: &Op) -> bool {
    matches!(
        op,
        Op::I32(_)
            | Op::F32(_)
            | Op::Scalar(_)
            | Op::RowCount
            | Op::OutputCount
            | Op::Context
            | Op::Item
            | Op::Index
            | Op::Param(_)
    )
}
