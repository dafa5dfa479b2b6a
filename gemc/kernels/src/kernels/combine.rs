//! The sums that put the outputs of modules, the general path and the residual back together.

use super::vector::{LANES, for_chunks};
use crate::ir::build::{KernelBuilder, Region, Val, Var};
use crate::ir::{Elem, Kernel};

/// What the kernel that sums modules' outputs depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Combine {
    /// Columns, padded.
    pub stride: usize,
    /// Choices per row.
    pub top_k: usize,
    /// Whether modules gave outputs.
    pub modules: bool,
    /// Whether there is a base that always counts.
    pub base: Base,
    /// Whether it is multiplied with a gate of its row.
    pub base_gate: bool,
    /// Whether the sum is added to a residual.
    pub residual: bool,
    /// Rows of the buffers.
    pub max_rows: usize,
    /// Whether some modules that fire are left out of the model.
    pub sparse: bool,
}

/// The part of a routed block that does not come from modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// The site has no general path.
    None,
    /// It serves every row, beside the modules.
    Always,
    /// Only where nothing fired.
    Fallback,
}

impl Combine {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let base = match self.base {
            Base::None => "",
            Base::Always => "_base",
            Base::Fallback => "_fallback",
        };
        let gate = if self.base_gate { "_gated" } else { "" };
        let residual = if self.residual { "_residual" } else { "" };
        let modules = if self.modules { "_modules" } else { "" };
        let sparse = if self.sparse { "_sparse" } else { "" };
        format!(
            "combine{base}{gate}{modules}{sparse}{residual}_top{}_x{}",
            self.top_k, self.stride
        )
    }

    /// Writes the kernel; one item a row. Arguments: \[base\]; \[its gates\]; \[fired\]; \[of those, modules that are there\];
    /// \[gates, modules' outputs `[row * K + slot]`\];
    /// \[residual\]; output. Order: base, then modules ascending, then the residual plus all that.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "base + gated modules (top {}) of {} columns",
            self.top_k, self.stride
        );
        KernelBuilder::build(&self.name(), &doc, self.max_rows as u32, |k| self.write(k))
    }

    fn write(&self, k: &KernelBuilder) {
        let stride = self.stride;
        let matrix = self.max_rows * stride;
        let slots = self.max_rows * self.top_k;
        let base = (self.base != Base::None).then(|| k.input("base", Elem::F32, matrix));
        let gates = self
            .base_gate
            .then(|| k.input("base_gates", Elem::F32, self.max_rows));
        let looks = self.modules && !self.sparse || self.base == Base::Fallback;
        let fired = looks.then(|| k.input("fired", Elem::I32, slots));
        let served = (self.sparse && self.modules).then(|| k.input("served", Elem::I32, slots));
        let served = served.or(fired);
        let modules = self.modules.then(|| Modules {
            gates: k.input("gates", Elem::F32, slots),
            outputs: k.input("outputs", Elem::F32, slots * stride),
        });
        let residual = self
            .residual
            .then(|| k.input("residual", Elem::F32, matrix));
        let y = k.output("y", Elem::F32, matrix);
        let row = k.item();
        let start = row * stride;
        let gate = gates.map(|gates| gates.get(row).splat());
        for_chunks(k, stride / LANES, |column| {
            let index = start + column;
            let zero = k.splat(0.0);
            let initial = match (base, self.base) {
                (Some(base), Base::Always) => match gate {
                    None => base.lanes(index),
                    Some(gate) => base.lanes(index) * gate,
                },
                _ => zero,
            };
            let sum = k.var("acc", initial);
            if let (Some(base), Some(fired), Base::Fallback) = (base, fired, self.base) {
                let first = fired.row(row, self.top_k).get(0);
                k.when(first.lt(0), || sum.set(base.lanes(index)));
            }
            if let (Some(served), Some(modules)) = (served, &modules) {
                self.add_modules(k, row, column, sum, served, modules);
            }
            let sum = sum.get();
            let value = match residual {
                Some(residual) => residual.lanes(index) + sum,
                None => sum,
            };
            y.store(index, value);
        });
    }

    /// Adds the columns from `column` on of what fired modules gave, times their gates.
    fn add_modules<'k>(
        &self,
        k: &'k KernelBuilder,
        row: Val<'k>,
        column: Val<'k>,
        sum: Var<'k>,
        fired: Region<'k>,
        modules: &Modules<'k>,
    ) {
        k.for_n(self.top_k, |slot| {
            let entry = row * self.top_k + slot;
            k.when(fired.get(entry).ge(0), || {
                let gate = modules.gates.get(entry).splat();
                let output = modules.outputs.row(entry, self.stride).lanes(column);
                sum.update(|sum| gate.mul_add(output, sum));
            });
        });
    }
}

/// What modules gave, by row and choice.
struct Modules<'k> {
    gates: Region<'k>,
    outputs: Region<'k>,
}
