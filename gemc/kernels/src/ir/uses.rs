//! Which values and assignments of a body are needed, and which values are written where they are used instead of being
//! named.
//!
//! A value is inlined when it has one use, in the loop where it is defined, and reads no memory. Vectors are inlined only
//! where they cost no readability: into a statement, or when they are a splat, a cast or a literal.

use std::collections::{BTreeSet, HashMap};

use super::liveness::{Fate, fates, handed_over};
use super::places::{Place, Places};
use crate::ir::{Block, Op, Stmt, ValueDef, ValueId, VarId};

/// What the printer needs to know about every value and mutable local.
#[derive(Debug)]
pub struct Uses {
    values: Vec<ValueUse>,
    vars: Vec<VarUse>,
    /// By assignment in order of the text; empty as long as all may be read.
    fates: Vec<Fate>,
    /// What indices of accesses are written as.
    places: Places,
}

#[derive(Clone, Debug, Default)]
struct ValueUse {
    /// Uses by needed values and statements.
    count: u32,
    /// Innermost loop of the definition.
    defined_in: u32,
    /// Innermost loop of the last use.
    used_in: u32,
    /// Whether the last use is a statement's operand.
    by_statement: bool,
    inline: bool,
}

#[derive(Clone, Debug, Default)]
struct VarUse {
    read: bool,
    /// What is assigned, and in which loop.
    inputs: Vec<(ValueId, u32)>,
}

impl Uses {
    /// Uses in a kernel's body.
    pub fn of_block(values: &[ValueDef], vars: usize, block: &Block, places: &Places) -> Self {
        let mut known = Vec::new();
        // A round drops at least one assignment, or is the last.
        for _ in 0..=values.len() {
            let uses = Self::with_fates(values, vars, block, (known, places));
            // What only a dropped assignment needed is not needed, and may have kept others alive.
            known = fates(values, block, |v| uses.needed(v));
            if known == uses.fates {
                return uses;
            }
        }
        // Printing everything is always right; at worst rustc warns.
        Self::with_fates(values, vars, block, (Vec::new(), places))
    }

    /// Uses in the body of an outline, behind which these locals are read.
    pub fn of_outline(
        values: &[ValueDef],
        vars: usize,
        body: &Block,
        (read, places): (&[VarId], Places),
    ) -> Self {
        let mut finder = Finder::new(values, vars, Vec::new(), places);
        let loop_ = finder.new_loop();
        finder.block(body, loop_);
        finder.read.extend(read);
        finder.finish()
    }

    fn with_fates(
        values: &[ValueDef],
        vars: usize,
        block: &Block,
        (fates, places): (Vec<Fate>, &Places),
    ) -> Self {
        let mut finder = Finder::new(values, vars, fates, places.clone());
        let loop_ = finder.new_loop();
        finder.block(block, loop_);
        finder.finish()
    }

    /// Uses in a function: every value is defined, the result is used.
    pub fn of_function(values: &[ValueDef], result: ValueId) -> Self {
        let mut finder = Finder::new(values, 0, Vec::new(), Places::default());
        finder.roots.push((result, 0));
        finder.finish()
    }

    /// Whether the value is needed at all.
    pub fn needed(&self, v: ValueId) -> bool {
        self.values[v.index()].count > 0
    }

    /// Whether the value is written where it is used.
    pub fn inline(&self, v: ValueId) -> bool {
        self.values[v.index()].inline
    }

    /// What the index of an access is written as.
    pub fn place(&self, index: ValueId) -> Place {
        self.places.of_index(index)
    }

    /// The operands of an operation as it is written.
    pub fn operands(&self, op: &Op) -> Vec<ValueId> {
        let mut operands = Vec::new();
        op.for_each_operand(|operand| operands.push(operand));
        if let Op::Load { index, .. } = op {
            let at = operands.iter_mut().rfind(|operand| *operand == index);
            *at.expect("an operand of a load") = self.place(*index).base;
        }
        operands
    }

    /// What becomes of assignment `number`, in order of the text.
    pub fn fate(&self, number: usize) -> Fate {
        self.fates.get(number).copied().unwrap_or(Fate::Read)
    }

    /// Whether the local is read at all.
    pub fn read(&self, m: VarId) -> bool {
        self.vars[m.index()].read
    }

    /// Assignments of the local that are printed, its declaration included.
    pub fn assignments(&self, m: VarId) -> usize {
        self.vars[m.index()].inputs.len()
    }
}

struct Finder<'a> {
    defs: &'a [ValueDef],
    uses: Uses,
    loops: u32,
    assignments: usize,
    /// Operands of statements that are needed whatever else is.
    roots: Vec<(ValueId, u32)>,
    /// Locals that are read whatever is needed.
    read: BTreeSet<VarId>,
    /// For inputs of outlines: the value outside, and the loop it is read in.
    inputs: HashMap<ValueId, (ValueId, u32)>,
}

impl<'a> Finder<'a> {
    fn new(defs: &'a [ValueDef], vars: usize, fates: Vec<Fate>, places: Places) -> Self {
        let uses = Uses {
            values: vec![ValueUse::default(); defs.len()],
            vars: vec![VarUse::default(); vars],
            fates,
            places,
        };
        Self {
            defs,
            uses,
            loops: 0,
            assignments: 0,
            roots: Vec::new(),
            read: BTreeSet::new(),
            inputs: HashMap::new(),
        }
    }

    fn new_loop(&mut self) -> u32 {
        self.loops += 1;
        self.loops
    }

    fn block(&mut self, block: &Block, loop_: u32) {
        for stmt in block {
            self.stmt(stmt, loop_);
        }
    }

    fn stmt(&mut self, stmt: &Stmt, loop_: u32) {
        match stmt {
            Stmt::Let(v) => self.uses.values[v.index()].defined_in = loop_,
            Stmt::Var(m, v) | Stmt::Set(m, v) => {
                if self.uses.fate(self.assignments) != Fate::Dropped {
                    self.uses.vars[m.index()].inputs.push((*v, loop_));
                }
                self.assignments += 1;
            }
            Stmt::SetElement(m, at, v) => {
                let inputs = [(*at, loop_), (*v, loop_)];
                self.uses.vars[m.index()].inputs.extend(inputs);
            }
            Stmt::Strips {
                first,
                size,
                end,
                body,
                ..
            } => {
                self.roots.push((*end, loop_));
                let inner = self.new_loop();
                for index in [first, size] {
                    self.uses.values[index.index()].defined_in = inner;
                }
                self.block(body, inner);
            }
            Stmt::Repeat { index, body, .. } => {
                let inner = self.new_loop();
                self.uses.values[index.index()].defined_in = inner;
                self.block(body, inner);
            }
            Stmt::Store {
                slot, index, value, ..
            } => {
                let index = self.uses.place(*index).base;
                let operands = slot.iter().chain([&index, value]);
                self.roots.extend(operands.map(|v| (*v, loop_)));
            }
            Stmt::For {
                index,
                start,
                end,
                body,
            } => {
                self.roots.extend([(*start, loop_), (*end, loop_)]);
                let inner = self.new_loop();
                self.uses.values[index.index()].defined_in = inner;
                self.block(body, inner);
            }
            Stmt::Outline { inputs, body, .. } => {
                for (inner, outer) in inputs {
                    self.inputs.insert(*inner, (*outer, loop_));
                    self.uses.values[inner.index()].defined_in = loop_;
                }
                self.read.extend(handed_over(self.defs, body));
                self.block(body, loop_);
            }
            Stmt::If {
                cond,
                then,
                otherwise,
            } => {
                self.roots.push((*cond, loop_));
                self.block(then, loop_);
                self.block(otherwise, loop_);
            }
            Stmt::Call {
                entry, begin, end, ..
            } => {
                self.roots.extend([entry, begin, end].map(|v| (*v, loop_)));
            }
            Stmt::Comment(_) => {}
        }
    }

    /// Follows needed values to what they need, then decides what is inlined.
    fn finish(mut self) -> Uses {
        let mut reached: Vec<ValueId> = Vec::new();
        for m in std::mem::take(&mut self.read) {
            let local = &mut self.uses.vars[m.index()];
            local.read = true;
            self.roots.extend(local.inputs.iter().copied());
        }
        for (v, loop_) in std::mem::take(&mut self.roots) {
            self.use_(v, loop_, true, &mut reached);
        }
        while let Some(v) = reached.pop() {
            if let Some(&(outer, loop_)) = self.inputs.get(&v) {
                self.use_(outer, loop_, true, &mut reached);
            }
            let loop_ = self.uses.values[v.index()].defined_in;
            for operand in self.uses.operands(&self.defs[v.index()].op) {
                self.use_(operand, loop_, false, &mut reached);
            }
            if let Op::Get(m) | Op::Element(m, _) = self.defs[v.index()].op
                && !std::mem::replace(&mut self.uses.vars[m.index()].read, true)
            {
                for (input, loop_) in self.uses.vars[m.index()].inputs.clone() {
                    self.use_(input, loop_, true, &mut reached);
                }
            }
        }
        for (value, def) in self.uses.values.iter_mut().zip(self.defs) {
            value.inline = inlined(value, def);
        }
        self.uses
    }

    fn use_(&mut self, v: ValueId, loop_: u32, by_statement: bool, reached: &mut Vec<ValueId>) {
        let value = &mut self.uses.values[v.index()];
        value.count += 1;
        value.used_in = loop_;
        value.by_statement = by_statement;
        if value.count == 1 {
            reached.push(v);
        }
    }
}

fn inlined(value: &ValueUse, def: &ValueDef) -> bool {
    if is_name_or_literal(&def.op) {
        return true;
    }
    let movable = value.count == 1
        && value.used_in == value.defined_in
        && !matches!(def.op, Op::Load { .. } | Op::Index | Op::Param(_));
    let light = matches!(
        def.op,
        Op::Get(_)
            | Op::Element(..)
            | Op::Splat(_)
            | Op::Bits(..)
            | Op::I32Lanes(_)
            | Op::I8Lanes(_)
    );
    movable && (!def.ty.is_vector() || light || value.by_statement)
}

/// Operations that print as a name or a number.
fn is_name_or_literal(op: &Op) -> bool {
    matches!(
        op,
        Op::I32(_)
            | Op::F32(_)
            | Op::Scalar(_)
            | Op::RowCount
            | Op::OutputCount
            | Op::Context
            | Op::Item
    )
}
