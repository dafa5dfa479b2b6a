//! Which kernels and functions the phases of a program can reach: only those are compiled, and rustc would warn of others.

use std::collections::BTreeSet;

use crate::kernel::{FuncId, KernelId, Op, Program, TableEntry, ValueDef};

/// What is used, in the program's order.
#[derive(Debug, Default)]
pub(crate) struct Reachable {
    pub(crate) kernels: BTreeSet<KernelId>,
    pub(crate) functions: BTreeSet<FuncId>,
}

/// From phases and call tables to kernels, from those to functions.
pub(crate) fn reachable(program: &Program) -> Reachable {
    let phases = program
        .body
        .iter()
        .chain(&program.head)
        .map(|phase| &phase.entry);
    let entries = program.tables.iter().flat_map(|table| &table.entries);
    let mut used = Reachable::default();
    used.kernels
        .extend(phases.chain(entries).map(|entry: &TableEntry| entry.kernel));
    for id in used.kernels.clone() {
        used.calls(program, &program.kernel(id).values);
    }
    used
}

impl Reachable {
    fn calls(&mut self, program: &Program, values: &[ValueDef]) {
        for value in values {
            if let Op::Call(f, _) = value.op
                && self.functions.insert(f)
            {
                self.calls(program, &program.functions[f.index()].values);
            }
        }
    }
}
