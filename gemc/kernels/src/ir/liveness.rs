//! Which assignments of mutable locals are ever read: the others are not printed, as rustc would warn of them.
//!
//! The usual analysis, backwards over the body; a loop may run any number of times.

use std::collections::BTreeSet;

use crate::ir::{Block, Op, Stmt, ValueDef, ValueId, VarId, walk};

/// Locals that an outline has from outside if it is a function: what it reads, and the arrays that it changes, whether they
/// are read behind it or not.
pub fn handed_over(defs: &[ValueDef], outline: &Block) -> BTreeSet<VarId> {
    let (mut used, mut own) = (BTreeSet::new(), BTreeSet::new());
    walk(outline, &mut |stmt| match stmt {
        Stmt::Let(v) => {
            if let Op::Get(m) | Op::Element(m, _) = defs[v.index()].op {
                used.insert(m);
            }
        }
        Stmt::SetElement(m, ..) => drop(used.insert(*m)),
        Stmt::Var(m, _) | Stmt::Set(m, _) => drop(own.insert(*m)),
        _ => {}
    });
    &used - &own
}

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
            Stmt::Outline { body, .. } => {
                out.extend(handed_over(defs, body).into_iter().map(Step::Read));
                out.append(&mut steps(defs, body, needed, count));
            }
            Stmt::Let(v) => {
                if let Op::Get(m) | Op::Element(m, _) = defs[v.index()].op
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
            Stmt::For { body, .. } | Stmt::Repeat { body, .. } | Stmt::Strips { body, .. } => {
                out.push(Step::Loop(steps(defs, body, needed, count)));
            }
            Stmt::If {
                then, otherwise, ..
            } => {
                let then = steps(defs, then, needed, count);
                out.push(Step::Branch(then, steps(defs, otherwise, needed, count)));
            }
            // Assigning an element leaves the others, so that no earlier assignment ends with it.
            Stmt::SetElement(..) | Stmt::Store { .. } | Stmt::Call { .. } | Stmt::Comment(_) => {}
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
    use crate::ir::Elem;
    use crate::ir::build::{KernelBuilder, Var};

    /// Fates in a kernel that stores the local at its end.
    fn of(body: impl for<'k> FnOnce(&'k KernelBuilder, Var<'k>)) -> Vec<Fate> {
        let kernel = KernelBuilder::build("k", "", 1, |k| {
            let y = k.output("y", Elem::I32, 1);
            let local = k.var("m", 0);
            body(k, local);
            y.store(0, local.get());
        });
        fates(&kernel.values, &kernel.body, |_| true)
    }

    #[test]
    fn an_overwritten_value_is_dead() {
        let got = of(|k, local| {
            for n in [1, 2] {
                local.set(k.lit(n));
            }
        });
        assert_eq!(got, [Fate::Dropped, Fate::Dropped, Fate::Read]);
    }

    #[test]
    fn a_loop_reads_what_it_wrote_before() {
        let got = of(|k, local| k.for_n(3, |_| local.update(|n| n + 1)));
        assert_eq!(got, [Fate::Read, Fate::Read]);
    }

    #[test]
    fn a_value_is_live_if_either_branch_keeps_it() {
        let branch = |both: bool| {
            of(|k, local| {
                let set = |n: i32| local.set(k.lit(n));
                let otherwise = || {
                    if both {
                        set(2);
                    }
                };
                k.if_(k.row_count().gt(1), || set(1), otherwise);
            })
        };
        assert_eq!(branch(false), [Fate::Read, Fate::Read]);
        assert_eq!(branch(true), [Fate::Kept, Fate::Read, Fate::Read]);
    }
}
