//! Which kernels and functions the phases of a program can reach through values that are needed: only those are
//! emitted, or rustc would warn.

use std::collections::BTreeSet;

use super::places::Places;
use super::uses::Uses;
use crate::ir::{FuncId, KernelId, Op, Program, TableEntry, ValueDef, ValueId};

/// What is used, in the program's order.
#[derive(Debug, Default)]
pub struct Reachable {
    /// Kernels that phases call, directly or through tables.
    pub kernels: BTreeSet<KernelId>,
    /// Functions that those kernels, or each other, call.
    pub functions: BTreeSet<FuncId>,
}

/// From phases and call tables to kernels, from those to functions.
pub fn reachable(program: &Program) -> Reachable {
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
        let kernel = program.kernel(id);
        let places = Places::default();
        let uses = Uses::of_block(&kernel.values, kernel.vars.len(), &kernel.body, &places);
        used.calls(program, &kernel.values, &uses);
    }
    used
}

impl Reachable {
    fn calls(&mut self, program: &Program, values: &[ValueDef], uses: &Uses) {
        for (i, value) in values.iter().enumerate() {
            if let Op::Call(f, _) = value.op
                && uses.needed(ValueId::from_index(i))
                && self.functions.insert(f)
            {
                let function = &program.functions[f.index()];
                let uses = Uses::of_function(&function.values, function.result);
                self.calls(program, &function.values, &uses);
            }
        }
    }
}
