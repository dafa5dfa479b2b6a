//! Walks a kernel and gives every integer value its range: loops and mutable locals are where ranges would grow.
//!
//! Values are immutable, so only locals need care. A local that a loop assigns is unknown in a first, muted pass over
//! the body. That pass finds two bounds, both sound: the hull of everything the loop assigns to it; and, where the body
//! only adds to it, `entry + trips * step`. The second pass uses what they have in common and reports problems.

use super::error::Problem;
use super::lanes::any;
use super::range::Range;
use super::{CallSite, Errors, MAX_LOOP_DEPTH};
use crate::ir::expand::EXPANDED;
use crate::ir::{
    Block, Cmp, Function, Kernel, Op, Param, ParamId, Program, ProgramShape, Stmt, ValueDef,
    ValueId, VarId, walk,
};

/// How far a value is ahead of a local at the start of the innermost loop's iteration: `local + step`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ahead {
    /// Which loop visit this is about.
    pass: u32,
    var: VarId,
    step: Range,
}

/// What is known while walking.
pub(super) struct Flow<'a> {
    pub(super) values: &'a [ValueDef],
    pub(super) params: &'a [Param],
    pub(super) shape: &'a ProgramShape,
    pub(super) items: u32,
    /// By local; `None` for types without a range.
    pub(super) vars: Vec<Option<Range>>,
    /// By local: all its type can hold.
    widest: Vec<Option<Range>>,
    errors: &'a mut Errors,
    ranges: Vec<Option<Range>>,
    calls: Vec<CallSite>,
    /// Hull of what the muted loop bodies assigned, by local; innermost loop last.
    assigned: Vec<Vec<Option<Range>>>,
    ahead_values: Vec<Option<Ahead>>,
    ahead_vars: Vec<Option<Ahead>>,
    pass: u32,
    last_pass: u32,
    loops: usize,
}

/// Ranges of all values, and the calls of tables. The kernel's structure has been checked.
pub(super) fn analyse(
    program: &Program,
    kernel: &Kernel,
    errors: &mut Errors,
) -> (Vec<Option<Range>>, Vec<CallSite>) {
    let mut flow = Flow::new(program, &kernel.values, errors);
    flow.params = &kernel.params;
    flow.items = kernel.items;
    flow.widest = kernel.vars.iter().map(|local| any(local.ty)).collect();
    flow.vars.clone_from(&flow.widest);
    flow.ahead_vars = vec![None; kernel.vars.len()];
    flow.straight(1);
    flow.block(&kernel.body);
    (flow.ranges, flow.calls)
}

impl<'a> Flow<'a> {
    fn new(program: &'a Program, values: &'a [ValueDef], errors: &'a mut Errors) -> Self {
        Self {
            values,
            params: &[],
            shape: &program.shape,
            items: 0,
            vars: Vec::new(),
            widest: Vec::new(),
            errors,
            ranges: vec![None; values.len()],
            calls: Vec::new(),
            assigned: Vec::new(),
            ahead_values: vec![None; values.len()],
            ahead_vars: Vec::new(),
            pass: 0,
            last_pass: 0,
            loops: 0,
        }
    }

    pub(super) fn of_function(
        program: &'a Program,
        function: &'a Function,
        errors: &'a mut Errors,
    ) -> Self {
        Self::new(program, &function.values, errors)
    }

    /// Evaluates the first `n` values in order.
    pub(super) fn straight(&mut self, n: usize) {
        (0..n)
            .map(ValueId::from_index)
            .for_each(|v| self.compute(v));
    }

    pub(super) fn range(&self, v: ValueId) -> Option<Range> {
        self.ranges[v.index()]
    }

    /// Range of an I32 value.
    pub(super) fn i32(&self, v: ValueId) -> Range {
        self.range(v).unwrap_or(Range::ANY)
    }

    pub(super) fn problem(&mut self, v: ValueId, problem: Problem) {
        self.errors.push_at(Some(v), problem);
    }

    fn compute(&mut self, v: ValueId) {
        self.ranges[v.index()] = self.eval(v);
        self.ahead_values[v.index()] = self.step_of(v);
    }

    fn block(&mut self, block: &Block) {
        for stmt in block {
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Let(v) => self.compute(*v),
            Stmt::Var(m, v) | Stmt::Set(m, v) => self.assign(*m, *v),
            Stmt::Store {
                region,
                index,
                value,
                ..
            } => {
                let ty = self.values[value.index()].ty;
                self.access(*value, *region, *index, ty);
            }
            Stmt::For {
                index,
                start,
                end,
                body,
            } => self.for_loop(*index, *start, *end, body),
            Stmt::If {
                cond,
                then,
                otherwise,
            } => self.branch(*cond, then, otherwise),
            Stmt::Outline { inputs, body, .. } => {
                for (inner, outer) in inputs {
                    self.ranges[inner.index()] = self.range(*outer);
                    self.ahead_values[inner.index()] = None;
                }
                self.block(body);
            }
            Stmt::Call {
                table,
                entry,
                begin,
                end,
            } => self.call(*table, *entry, *begin, *end),
            Stmt::Comment(_) => {}
            Stmt::Repeat { .. } | Stmt::Strips { .. } | Stmt::SetElement(..) => {
                unreachable!("{EXPANDED}")
            }
        }
    }

    fn assign(&mut self, m: VarId, v: ValueId) {
        let range = self.range(v);
        self.vars[m.index()] = range;
        self.ahead_vars[m.index()] = self
            .current(self.ahead_values[v.index()])
            .filter(|a| a.var == m);
        if let Some(assigned) = self.assigned.last_mut() {
            let hull = &mut assigned[m.index()];
            *hull = hull.zip(range).map(|(a, b)| a.join(b)).or(range);
        }
    }

    fn current(&self, ahead: Option<Ahead>) -> Option<Ahead> {
        ahead.filter(|a| a.pass == self.pass)
    }

    /// How far `v` is ahead of a local, if it is that local plus something.
    fn step_of(&self, v: ValueId) -> Option<Ahead> {
        match self.values[v.index()].op {
            Op::Get(m) => self.current(self.ahead_vars[m.index()]),
            Op::Add(a, b) => {
                let left = self.current(self.ahead_values[a.index()]);
                let right = self.current(self.ahead_values[b.index()]);
                let (ahead, by) = match (left, right) {
                    (Some(ahead), None) => (ahead, b),
                    (None, Some(ahead)) => (ahead, a),
                    _ => return None,
                };
                let by = self.range(by)?;
                // Sums of steps are taken in 64 bits; a local's total must fit its type to be used.
                let step = Range::new(
                    ahead.step.lo.saturating_add(by.lo),
                    ahead.step.hi.saturating_add(by.hi),
                );
                Some(Ahead { step, ..ahead })
            }
            _ => None,
        }
    }

    fn for_loop(&mut self, index: ValueId, start: ValueId, end: ValueId, body: &Block) {
        let (start, end) = (self.i32(start), self.i32(end));
        let range = Range {
            lo: start.lo,
            ..end.less_one()
        };
        if range.hi < range.lo {
            self.never(index, body);
            return;
        }
        if self.loops == MAX_LOOP_DEPTH {
            self.errors.push(Problem::Depth {
                max: MAX_LOOP_DEPTH,
            });
            return;
        }
        self.loops += 1;
        self.ranges[index.index()] = Some(range);
        let trips = (end.hi - start.lo).max(1);
        let sets = assigned_in(body, self.vars.len());
        if sets.is_empty() {
            self.block(body);
        } else {
            self.loop_with_locals(&sets, trips, body);
        }
        self.loops -= 1;
    }

    /// A loop that never runs: what it would do is not a problem.
    fn never(&mut self, index: ValueId, body: &Block) {
        self.errors.muted += 1;
        let (vars, ahead, calls) = (self.vars.clone(), self.ahead_vars.clone(), self.calls.len());
        self.ranges[index.index()] = Some(Range::ANY);
        self.assigned.push(vec![None; self.vars.len()]);
        self.block(body);
        self.assigned.pop();
        self.vars = vars;
        self.ahead_vars = ahead;
        self.calls.truncate(calls);
        self.errors.muted -= 1;
    }

    fn loop_with_locals(&mut self, sets: &[VarId], trips: i64, body: &Block) {
        let entry = self.vars.clone();
        let (outer, pass) = (self.ahead_vars.clone(), self.pass);
        let (hulls, steps) = self.muted_pass(sets, body);
        let mut during = entry.clone();
        let mut after = entry.clone();
        for &m in sets {
            let i = m.index();
            let (Some(first), Some(any)) = (entry[i], self.widest[i]) else {
                continue;
            };
            let hull = hulls[i].map_or(first, |h| h.join(first));
            let summed = |trips| steps[i].and_then(|step| advance(first, step, trips, any));
            during[i] = Some(summed(trips - 1).map_or(hull, |s| hull.meet(s)));
            after[i] = Some(summed(trips).map_or(hull, |s| hull.meet(s)));
        }
        self.vars.clone_from(&during);
        self.new_pass(None);
        self.block(body);
        // The loop may run any number of times, so what holds after it is what holds before, during and after.
        for &m in sets {
            let i = m.index();
            self.vars[i] = after[i].zip(entry[i]).map(|(a, b)| a.join(b));
        }
        self.pass = pass;
        self.ahead_vars = outer;
        self.add_steps(sets, &steps, trips);
    }

    /// Visits the body with every assigned local unknown: the hull of what is assigned, and the steps of sums.
    fn muted_pass(
        &mut self,
        sets: &[VarId],
        body: &Block,
    ) -> (Vec<Option<Range>>, Vec<Option<Range>>) {
        self.errors.muted += 1;
        let calls = self.calls.len();
        self.assigned.push(vec![None; self.vars.len()]);
        for &m in sets {
            self.vars[m.index()] = self.widest[m.index()];
        }
        self.new_pass(Some(sets));
        self.block(body);
        let hulls = self.assigned.pop().unwrap_or_default();
        let steps = (0..self.vars.len())
            .map(|i| self.current(self.ahead_vars[i]).map(|a| a.step))
            .collect();
        self.calls.truncate(calls);
        self.errors.muted -= 1;
        (hulls, steps)
    }

    /// Starts a visit of a loop body; locals in `tracked` are 0 ahead of themselves.
    fn new_pass(&mut self, tracked: Option<&[VarId]>) {
        self.last_pass += 1;
        self.pass = self.last_pass;
        let pass = self.pass;
        self.ahead_vars.fill(None);
        for &var in tracked.unwrap_or_default() {
            self.ahead_vars[var.index()] = Some(Ahead {
                pass,
                var,
                step: Range::exactly(0),
            });
        }
    }

    /// After an inner loop: what it assigned is ahead of the outer loop's start by its steps too.
    fn add_steps(&mut self, sets: &[VarId], steps: &[Option<Range>], trips: i64) {
        for &m in sets {
            let ahead = self.ahead_vars[m.index()].zip(steps[m.index()]);
            self.ahead_vars[m.index()] = ahead.map(|(a, step)| Ahead {
                step: Range::new(
                    a.step
                        .lo
                        .saturating_add(step.lo.min(0).saturating_mul(trips)),
                    a.step
                        .hi
                        .saturating_add(step.hi.max(0).saturating_mul(trips)),
                ),
                ..a
            });
        }
    }

    fn branch(&mut self, cond: ValueId, then: &Block, otherwise: &Block) {
        let before = self.vars.clone();
        let ahead = self.ahead_vars.clone();
        self.refined(cond, true, then);
        let after = std::mem::replace(&mut self.vars, before);
        let ahead_after = std::mem::replace(&mut self.ahead_vars, ahead);
        self.refined(cond, false, otherwise);
        for (a, b) in self.vars.iter_mut().zip(after) {
            *a = a.zip(b).map(|(a, b)| a.join(b));
        }
        for (a, b) in self.ahead_vars.iter_mut().zip(ahead_after) {
            *a = a
                .zip(b)
                .filter(|(a, b)| (a.pass, a.var) == (b.pass, b.var))
                .map(|(a, b)| Ahead {
                    step: a.step.join(b.step),
                    ..a
                });
        }
    }

    /// Visits a branch, with the operands of its condition narrowed by it.
    fn refined(&mut self, cond: ValueId, holds: bool, block: &Block) {
        let mut saved = Vec::new();
        self.assume(cond, holds, &mut saved);
        self.block(block);
        for (v, range) in saved.into_iter().rev() {
            self.ranges[v.index()] = range;
        }
    }

    fn assume(&mut self, cond: ValueId, holds: bool, saved: &mut Vec<(ValueId, Option<Range>)>) {
        match self.values[cond.index()].op {
            Op::Not(a) => self.assume(a, !holds, saved),
            Op::And(a, b) if holds => {
                self.assume(a, true, saved);
                self.assume(b, true, saved);
            }
            Op::Or(a, b) if !holds => {
                self.assume(a, false, saved);
                self.assume(b, false, saved);
            }
            Op::Cmp(cmp, a, b) => {
                if let (Some(x), Some(y)) = (self.range(a), self.range(b)) {
                    let cmp = if holds { cmp } else { negated(cmp) };
                    let (x, y) = narrowed(cmp, x, y);
                    for (v, r) in [(a, x), (b, y)] {
                        saved.push((v, self.ranges[v.index()]));
                        self.ranges[v.index()] = Some(r);
                    }
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, table: ParamId, entry: ValueId, begin: ValueId, end: ValueId) {
        let Param::Table { len, .. } = self.params[table.index()] else {
            return;
        };
        let items = i64::from(i32::MAX);
        for (what, value, expected) in [
            ("entry", entry, Range::new(0, i64::from(len) - 1)),
            ("begin", begin, Range::new(0, items)),
            ("end", end, Range::new(0, items)),
        ] {
            let range = self.i32(value);
            if !range.within(expected.lo, expected.hi) {
                self.problem(
                    value,
                    Problem::Call {
                        what,
                        value,
                        range,
                        expected,
                    },
                );
            }
        }
        let items = self.i32(end).hi;
        self.calls.push(CallSite { table, items });
    }
}

/// `first + n * step` for n in `0..=trips`, if it stays within `any`.
fn advance(first: Range, step: Range, trips: i64, any: Range) -> Option<Range> {
    let lo = first
        .lo
        .saturating_add(step.lo.min(0).saturating_mul(trips));
    let hi = first
        .hi
        .saturating_add(step.hi.max(0).saturating_mul(trips));
    (any.lo <= lo && hi <= any.hi).then(|| Range::new(lo, hi))
}

const fn negated(cmp: Cmp) -> Cmp {
    match cmp {
        Cmp::Eq => Cmp::Ne,
        Cmp::Ne => Cmp::Eq,
        Cmp::Lt => Cmp::Ge,
        Cmp::Le => Cmp::Gt,
        Cmp::Gt => Cmp::Le,
        Cmp::Ge => Cmp::Lt,
    }
}

/// Both operands of an integer comparison that holds.
fn narrowed(cmp: Cmp, x: Range, y: Range) -> (Range, Range) {
    let at_most = |r: Range| Range {
        lo: Range::ANY.lo,
        ..r
    };
    let at_least = |lo: i64| Range::new(lo, Range::ANY.hi);
    match cmp {
        Cmp::Lt => (x.meet(at_most(y.less_one())), y.meet(at_least(x.lo + 1))),
        Cmp::Le => (x.meet(at_most(y)), y.meet(at_least(x.lo))),
        Cmp::Gt => (x.meet(at_least(y.lo + 1)), y.meet(at_most(x.less_one()))),
        Cmp::Ge => (x.meet(at_least(y.lo)), y.meet(at_most(x))),
        Cmp::Eq => (x.meet(y), y.meet(x)),
        Cmp::Ne => (x, y),
    }
}

/// Locals that a block assigns but does not declare.
fn assigned_in(block: &Block, locals: usize) -> Vec<VarId> {
    let (mut set, mut declared) = (vec![false; locals], vec![false; locals]);
    walk(block, &mut |stmt| match stmt {
        Stmt::Set(m, _) => set[m.index()] = true,
        Stmt::Var(m, _) => declared[m.index()] = true,
        _ => {}
    });
    (0..locals)
        .filter(|&i| set[i] && !declared[i])
        .map(VarId::from_index)
        .collect()
}
