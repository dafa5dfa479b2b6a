//! Checks that need no ranges: types, single assignment, scopes, and what statements may name.

use std::collections::HashSet;

use super::error::Problem;
use super::{Errors, MAX_COUNT, MAX_DEPTH};
use crate::ir::typing::{KernelTypes, TypeEnv, check_store, result_type};
use crate::ir::{Block, Count, Kernel, Op, Param, ParamId, Program, Stmt, Ty, ValueId, VarId};

/// Whether a string is a lower- or upper-case identifier.
pub(super) fn is_identifier(s: &str) -> bool {
    let mut bytes = s.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Checks a doc or comment.
pub(super) fn check_text(what: &'static str, text: &str, errors: &mut Errors) {
    if text.chars().any(char::is_control) {
        errors.push(Problem::Text { what });
    }
}

/// Checks a name hint of a value.
pub(super) fn check_hint(v: ValueId, name: Option<&str>, errors: &mut Errors) {
    if let Some(name) = name.filter(|name| !is_identifier(name)) {
        errors.push_at(Some(v), bad_name(name));
    }
}

fn bad_name(name: &str) -> Problem {
    Problem::Name {
        name: name.to_owned(),
        rule: "is not an identifier",
    }
}

/// Checks a kernel's values and statements.
pub(super) fn check(program: &Program, kernel: &Kernel, errors: &mut Errors) {
    check_text("doc", &kernel.doc, errors);
    let mut walk = Walk {
        kernel,
        types: KernelTypes {
            kernel,
            functions: &program.functions,
        },
        errors,
        values: vec![State::Never; kernel.values.len()],
        vars: vec![State::Never; kernel.vars.len()],
        turns: vec![false; kernel.values.len()],
    };
    walk.definitions();
    walk.block(&kernel.body, 1);
}

/// Where a value or local stands during the walk.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Not defined yet.
    Never,
    /// Visible.
    Open,
    /// Its block has ended.
    Closed,
}

struct Walk<'a> {
    kernel: &'a Kernel,
    types: KernelTypes<'a>,
    errors: &'a mut Errors,
    values: Vec<State>,
    vars: Vec<State>,
    /// Whether a value is the index of a repetition.
    turns: Vec<bool>,
}

/// What a block defined, to be closed with it.
#[derive(Default)]
struct Defined {
    values: Vec<ValueId>,
    vars: Vec<VarId>,
}

impl Walk<'_> {
    /// Types of all definitions, whether or not they are placed.
    fn definitions(&mut self) {
        for (i, def) in self.kernel.values.iter().enumerate() {
            let v = ValueId::from_index(i);
            check_hint(v, def.name.as_deref(), self.errors);
            match result_type(&self.types, &def.op, def.ty) {
                Ok(found) if found == def.ty => {}
                Ok(found) => self.errors.push_at(
                    Some(v),
                    Problem::Declared {
                        declared: def.ty,
                        found,
                    },
                ),
                Err(error) => self.errors.push_at(Some(v), error),
            }
        }
        for local in &self.kernel.vars {
            if let Some(name) = local.name.as_deref().filter(|name| !is_identifier(name)) {
                self.errors.push(bad_name(name));
            }
            if let Some(count) = &local.count {
                self.count(count);
            }
        }
        match self.kernel.values.first() {
            Some(def) if def.op == Op::Item => self.values[0] = State::Open,
            _ => self.errors.push(Problem::Misplaced {
                op: "item",
                rule: "value 0 of a kernel is its item, and no other",
            }),
        }
    }

    fn count(&mut self, count: &Count) {
        if !(1..=MAX_COUNT).contains(&count.n) {
            self.errors.push(Problem::Count(count.n));
        }
        if let Some(name) = count.name.as_deref().filter(|name| !is_identifier(name)) {
            self.errors.push(bad_name(name));
        }
    }

    fn block(&mut self, block: &Block, depth: usize) {
        if depth > MAX_DEPTH {
            self.errors.push(Problem::Depth { max: MAX_DEPTH });
            return;
        }
        let mut defined = Defined::default();
        for stmt in block {
            self.stmt(stmt, depth, &mut defined);
        }
        for v in defined.values {
            self.values[v.index()] = State::Closed;
        }
        for m in defined.vars {
            self.vars[m.index()] = State::Closed;
        }
    }

    fn stmt(&mut self, stmt: &Stmt, depth: usize, defined: &mut Defined) {
        match stmt {
            Stmt::Let(v) => self.compute(*v, defined),
            Stmt::Var(m, init) => self.declare(*m, *init, defined),
            Stmt::Set(m, value) => {
                self.use_var(*m);
                self.kind(*m, false);
                self.assign(*m, *value);
            }
            Stmt::SetElement(m, at, value) => {
                self.use_var(*m);
                self.kind(*m, true);
                self.operand("number of an element", *at, Ty::I32);
                self.number(*at);
                self.assign(*m, *value);
            }
            Stmt::Store {
                region,
                slot,
                index,
                value,
            } => self.store(*region, *slot, *index, *value),
            Stmt::For {
                index,
                start,
                end,
                body,
            } => {
                self.operand("first index of `for`", *start, Ty::I32);
                self.operand("end of `for`", *end, Ty::I32);
                self.index(*index);
                self.block(body, depth + 1);
                if let Some(state) = self.values.get_mut(index.index()) {
                    *state = State::Closed;
                }
            }
            Stmt::Strips {
                first,
                size,
                end,
                count,
                body,
            } => {
                self.count(count);
                if count.name.is_none() {
                    self.errors.push(Problem::StripName);
                }
                self.operand("end of `strips`", *end, Ty::I32);
                for index in [first, size] {
                    self.index(*index);
                }
                self.block(body, depth + 1);
                for index in [first, size] {
                    if let Some(state) = self.values.get_mut(index.index()) {
                        *state = State::Closed;
                    }
                }
            }
            Stmt::Repeat { index, count, body } => {
                self.count(count);
                self.index(*index);
                if let Some(turn) = self.turns.get_mut(index.index()) {
                    *turn = true;
                }
                self.block(body, depth + 1);
                if let Some(state) = self.values.get_mut(index.index()) {
                    *state = State::Closed;
                }
            }
            Stmt::If {
                cond,
                then,
                otherwise,
            } => {
                self.operand("condition of `if`", *cond, Ty::Bool);
                self.block(then, depth + 1);
                self.block(otherwise, depth + 1);
            }
            Stmt::Outline { name, inputs, body } => self.outline(name, inputs, body, depth),
            Stmt::Call {
                table,
                entry,
                begin,
                end,
            } => {
                self.operand("entry of `call`", *entry, Ty::I32);
                self.operand("first item of `call`", *begin, Ty::I32);
                self.operand("end of `call`", *end, Ty::I32);
                if !matches!(self.types.param(*table), Some(Param::Table { .. })) {
                    self.errors.push(Problem::ParamKind {
                        param: *table,
                        expected: "table",
                    });
                }
            }
            Stmt::Comment(text) => check_text("comment", text, self.errors),
        }
    }

    /// Inside, values from outside are as if their blocks had ended.
    fn outline(&mut self, name: &str, inputs: &[(ValueId, ValueId)], body: &Block, depth: usize) {
        if !is_identifier(name) {
            self.errors.push(bad_name(name));
        }
        for (_, outer) in inputs {
            self.operand("input of `outline`", *outer, Ty::I32);
        }
        let outside = self.values.clone();
        for state in &mut self.values {
            if *state == State::Open {
                *state = State::Closed;
            }
        }
        for (inner, _) in inputs {
            self.index(*inner);
        }
        self.block(body, depth + 1);
        for (state, before) in self.values.iter_mut().zip(outside) {
            *state = match before {
                // Defined inside, if at all.
                State::Never if *state != State::Never => State::Closed,
                State::Never => State::Never,
                other => other,
            };
        }
    }

    fn compute(&mut self, v: ValueId, defined: &mut Defined) {
        let kernel = self.kernel;
        let Some(def) = kernel.values.get(v.index()) else {
            self.errors.push_at(Some(v), Problem::NotVisible);
            return;
        };
        let rule = match def.op {
            Op::Item => Some("value 0 of a kernel is its item, and no other"),
            Op::Index => {
                Some("`for`, `repeat` and `strips` define their index, `outline` its inputs")
            }
            Op::Param(_) => Some("kernels have no value parameters; use `scalar`"),
            _ => None,
        };
        if let Some(rule) = rule {
            let op = def.op.mnemonic();
            self.errors
                .push_at(Some(v), Problem::Misplaced { op, rule });
            return;
        }
        def.op.for_each_operand(|operand| self.use_value(operand));
        match def.op {
            Op::Get(m) => {
                self.use_var(m);
                self.kind(m, false);
            }
            Op::Element(m, at) => {
                self.use_var(m);
                self.kind(m, true);
                self.number(at);
            }
            _ => {}
        }
        if self.define(v) {
            defined.values.push(v);
        }
    }

    /// Opens a value; false if it was defined before.
    fn define(&mut self, v: ValueId) -> bool {
        let first = self.values[v.index()] == State::Never;
        if first {
            self.values[v.index()] = State::Open;
        } else {
            self.errors.push_at(Some(v), Problem::Twice);
        }
        first
    }

    fn index(&mut self, v: ValueId) {
        match self.kernel.values.get(v.index()) {
            Some(def) if def.op == Op::Index => {
                self.define(v);
            }
            Some(def) => {
                let op = def.op.mnemonic();
                let rule = "the index of `for`, `repeat` and `strips` and the inputs of `outline` are `index` values";
                self.errors
                    .push_at(Some(v), Problem::Misplaced { op, rule });
            }
            None => self.errors.push_at(Some(v), Problem::NotVisible),
        }
    }

    fn use_value(&mut self, v: ValueId) {
        if self.values.get(v.index()) != Some(&State::Open) {
            self.errors.push_at(Some(v), Problem::NotVisible);
        }
    }

    fn use_var(&mut self, m: VarId) {
        if self.vars.get(m.index()) != Some(&State::Open) {
            self.errors.push(Problem::VarNotVisible(m));
        }
    }

    /// What may name an element.
    fn number(&mut self, at: ValueId) {
        let mut open = vec![at];
        let mut seen = HashSet::new();
        while let Some(v) = open.pop() {
            // A sum may stand in many others.
            if !seen.insert(v) {
                continue;
            }
            match self.kernel.values.get(v.index()).map(|def| &def.op) {
                Some(Op::I32(_)) | None => {}
                Some(Op::Index) if self.turns[v.index()] => {}
                Some(Op::Add(a, b) | Op::Mul(a, b)) => {
                    open.extend([*a, *b]);
                }
                Some(op) => {
                    let op = op.mnemonic();
                    let rule = "elements are named by literals and indices of `repeat`, added and multiplied";
                    return self
                        .errors
                        .push_at(Some(v), Problem::Misplaced { op, rule });
                }
            }
        }
    }

    /// Whether a local is an array.
    fn kind(&mut self, m: VarId, array: bool) {
        let Some(local) = self.kernel.vars.get(m.index()) else {
            return;
        };
        if local.count.is_some() != array {
            let found = if array { "one value" } else { "an array" };
            self.errors.push(Problem::VarKind { var: m, found });
        }
    }

    fn declare(&mut self, m: VarId, init: ValueId, defined: &mut Defined) {
        self.assign(m, init);
        match self.vars.get_mut(m.index()) {
            Some(state @ State::Never) => {
                *state = State::Open;
                defined.vars.push(m);
            }
            Some(_) => self.errors.push(Problem::VarTwice(m)),
            None => self.errors.push(Problem::VarNotVisible(m)),
        }
    }

    fn assign(&mut self, m: VarId, value: ValueId) {
        self.use_value(value);
        if let (Some(expected), Some(found)) = (self.types.var(m), self.types.value(value))
            && expected != found
        {
            let problem = Problem::VarType {
                var: m,
                expected,
                found,
            };
            self.errors.push_at(Some(value), problem);
        }
    }

    fn store(&mut self, region: ParamId, slot: Option<ValueId>, index: ValueId, value: ValueId) {
        for v in slot.into_iter().chain([index, value]) {
            self.use_value(v);
        }
        if let Err(error) = check_store(&self.types, region, slot, index, value) {
            self.errors.push_at(Some(value), error);
        }
        if let Some(Param::Region { mutable: false, .. }) = self.types.param(region) {
            self.errors
                .push_at(Some(value), Problem::NotMutable(region));
        }
    }

    fn operand(&mut self, what: &'static str, v: ValueId, expected: Ty) {
        self.use_value(v);
        if let Some(found) = self.types.value(v).filter(|found| *found != expected) {
            let problem = Problem::Operand {
                what,
                found,
                expected,
            };
            self.errors.push_at(Some(v), problem);
        }
    }
}
