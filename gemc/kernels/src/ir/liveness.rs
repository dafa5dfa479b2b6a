//! Which assignments of mutable locals are ever read: the others are not printed, as rustc would warn of them.
//!
//! The usual analysis, backwards over the body; a loop may run any number of times.

use std::collections::BTreeSet;

use crate::ir::{Block, Op, Stmt, ValueDef, ValueId, VarId};

/// What becomes of an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its value may be read.
    Read,
    /// Never read; a declaration is made by the first assignment after it that is.
    Dropped,
    /// A declaration that is never read, but whose block has no assignment that could replace it.
    Kept,
}

/// A body reduced to what matters here; assignments are numbered in order of their text.
#[derive(Debug)]
enum Step {
    Read(VarId),
    Declare(VarId, usize),
    Write(VarId, usize),
    Loop(Vec<Step>),
    Branch(Vec<Step>, Vec<Step>),
}

/// The fate of every assignment (`Var` and `Set`, in order of their text). Only values that are `needed` read anything.
pub fn fates(defs: &[ValueDef], block: &Block, needed: impl Fn(ValueId) -> bool) -> Vec<Fate> {
    let mut count = 0;
    let steps = steps(defs, block, &needed, &mut count);
    let mut fates = vec![Fate::Read; count];
    flow(&steps, &mut BTreeSet::new(), &mut fates);
    keep_declarations(&steps, &mut fates);
    fates
}

fn steps(
    defs: &[ValueDef],
    block: &Block,
    needed: &impl Fn(ValueId) -> bool,
    count: &mut usize,
) -> Vec<Step> {
    let mut out = Vec::new();
    for stmt in block {
        match stmt {
            Stmt::Outline { body, .. } => out.append(&mut steps(defs, body, needed, count)),
            Stmt::Let(v) => {
                if let Op::Get(m) = defs[v.index()].op
                    && needed(*v)
                {
                    out.push(Step::Read(m));
                }
            }
            Stmt::Var(m, _) => {
                out.push(Step::Declare(*m, *count));
                *count += 1;
            }
            Stmt::Set(m, _) => {
                out.push(Step::Write(*m, *count));
                *count += 1;
            }
            Stmt::For { body, .. } => out.push(Step::Loop(steps(defs, body, needed, count))),
            Stmt::If {
                then, otherwise, ..
            } => {
                let then = steps(defs, then, needed, count);
                out.push(Step::Branch(then, steps(defs, otherwise, needed, count)));
            }
            Stmt::Store { .. } | Stmt::Call { .. } | Stmt::Comment(_) => {}
        }
    }
    out
}

/// Goes from the locals that are read after the steps to those read from their start on.
fn flow(steps: &[Step], live: &mut BTreeSet<VarId>, fates: &mut [Fate]) {
    for step in steps.iter().rev() {
        match step {
            Step::Read(m) => {
                live.insert(*m);
            }
            Step::Declare(m, number) | Step::Write(m, number) => {
                fates[*number] = if live.remove(m) {
                    Fate::Read
                } else {
                    Fate::Dropped
                };
            }
            Step::Branch(then, otherwise) => {
                let mut other = live.clone();
                flow(then, live, fates);
                flow(otherwise, &mut other, fates);
                live.append(&mut other);
            }
            Step::Loop(body) => loop {
                let before = live.len();
                let mut start = live.clone();
                flow(body, &mut start, fates);
                live.append(&mut start);
                if live.len() == before {
                    break;
                }
            },
        }
    }
}

/// A dropped declaration whose first assignment stands in an inner block must be kept.
fn keep_declarations(steps: &[Step], fates: &mut [Fate]) {
    for (i, step) in steps.iter().enumerate() {
        match step {
            Step::Declare(m, number) if fates[*number] == Fate::Dropped => {
                let next = steps[i + 1..].iter().find(|step| writes(step, *m, fates));
                if matches!(next, Some(Step::Loop(_) | Step::Branch(..))) {
                    fates[*number] = Fate::Kept;
                }
            }
            Step::Loop(body) => keep_declarations(body, fates),
            Step::Branch(then, otherwise) => {
                keep_declarations(then, fates);
                keep_declarations(otherwise, fates);
            }
            Step::Read(_) | Step::Declare(..) | Step::Write(..) => {}
        }
    }
}

/// Whether a step assigns a local something that is read.
fn writes(step: &Step, m: VarId, fates: &[Fate]) -> bool {
    match step {
        Step::Write(var, number) => *var == m && fates[*number] == Fate::Read,
        Step::Loop(body) => body.iter().any(|step| writes(step, m, fates)),
        Step::Branch(then, otherwise) => then
            .iter()
            .chain(otherwise)
            .any(|step| writes(step, m, fates)),
        Step::Read(_) | Step::Declare(..) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::build::old::{KernelBuilder, Ops};
    use crate::ir::{Elem, Extent, Space};

    /// Fates in a kernel that stores the local at its end.
    fn of(body: impl FnOnce(&mut KernelBuilder, VarId)) -> Vec<Fate> {
        let mut b = KernelBuilder::new("k", "", 1);
        let y = b.region("y", Space::Arena, Elem::I32, Extent::fixed(1), true);
        let zero = b.i32(0);
        let m = b.var(zero);
        body(&mut b, m);
        let end = b.get(m);
        b.store(y, zero, end);
        let kernel = b.finish();
        fates(&kernel.values, &kernel.body, |_| true)
    }

    #[test]
    fn an_overwritten_value_is_dead() {
        let got = of(|b, m| {
            for n in [1, 2] {
                let n = b.i32(n);
                b.set(m, n);
            }
        });
        assert_eq!(got, [Fate::Dropped, Fate::Dropped, Fate::Read]);
    }

    #[test]
    fn a_loop_reads_what_it_wrote_before() {
        let got = of(|b, m| {
            b.for_n(3, |b, _| {
                let before = b.get(m);
                let after = b.add_const(before, 1);
                b.set(m, after);
            });
        });
        assert_eq!(got, [Fate::Read, Fate::Read]);
    }

    #[test]
    fn a_value_is_live_if_either_branch_keeps_it() {
        let set = |b: &mut KernelBuilder, m, n| {
            let n = b.i32(n);
            b.set(m, n);
        };
        let branch = |both: bool| {
            of(move |b, m| {
                let row_count = b.row_count();
                let one = b.i32(1);
                let cond = b.gt(row_count, one);
                b.if_(
                    cond,
                    |b| set(b, m, 1),
                    |b| {
                        if both {
                            set(b, m, 2)
                        }
                    },
                );
            })
        };
        assert_eq!(branch(false), [Fate::Read, Fate::Read]);
        assert_eq!(branch(true), [Fate::Kept, Fate::Read, Fate::Read]);
    }
}
