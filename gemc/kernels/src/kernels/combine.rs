//! The sums that put the outputs of modules, the general path and the residual back together.

use super::vector::LANES;
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::affine;
use crate::ir::{Cmp, Elem, Extent, Kernel, ParamId, Space, Ty, ValueId};

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
    /// Whether the sum is added to a residual.
    pub residual: bool,
    /// Rows of the buffers.
    pub max_rows: usize,
}

/// The part of a routed block that does not come from modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// There is none.
    None,
    /// On every row.
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
        let residual = if self.residual { "_residual" } else { "" };
        let modules = if self.modules { "_modules" } else { "" };
        format!(
            "combine{base}{modules}{residual}_top{}_x{}",
            self.top_k, self.stride
        )
    }

    /// Writes the kernel; one item a row. Arguments: [base]; [fired]; [gates, modules' outputs `[row * K + slot]`];
    /// [residual]; output. Order: base, then modules ascending, then the residual plus all that.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "base + gated modules (top {}) of {} columns",
            self.top_k, self.stride
        );
        let mut b = KernelBuilder::new(&self.name(), &doc, self.max_rows as u32);
        let matrix = Extent::fixed((self.max_rows * self.stride) as i64);
        let arena = |b: &mut KernelBuilder, name: &str, elem, len, mutable| {
            b.region(name, Space::Arena, elem, len, mutable)
        };
        let base =
            (self.base != Base::None).then(|| arena(&mut b, "base", Elem::F32, matrix, false));
        let slots = Extent::fixed((self.max_rows * self.top_k) as i64);
        let looks = self.modules || self.base == Base::Fallback;
        let fired = looks.then(|| arena(&mut b, "fired", Elem::I32, slots, false));
        let modules = self.modules.then(|| {
            let gates = arena(&mut b, "gates", Elem::F32, slots, false);
            let outputs = Extent::fixed((self.max_rows * self.top_k * self.stride) as i64);
            (gates, arena(&mut b, "outputs", Elem::F32, outputs, false))
        });
        let residual = self
            .residual
            .then(|| arena(&mut b, "residual", Elem::F32, matrix, false));
        let y = arena(&mut b, "y", Elem::F32, matrix, true);
        let row = b.item();
        let start = affine(&mut b, row, self.stride, 0);
        b.for_n((self.stride / LANES) as i32, |b, chunk| {
            let column = affine(b, chunk, LANES, 0);
            let index = b.add(start, column);
            let zero = b.f32(0.0);
            let zero = b.splat(zero);
            let initial = match (base, self.base) {
                (Some(base), Base::Always) => b.load(Ty::F32x16, base, index),
                _ => zero,
            };
            let acc = b.named_var("acc", initial);
            if let (Some(base), Some(fired), Base::Fallback) = (base, fired, self.base) {
                self.add_fallback(b, row, index, acc, fired, base);
            }
            if let (Some(fired), Some((gates, outputs))) = (fired, modules) {
                self.add_modules(b, row, column, acc, fired, gates, outputs);
            }
            let sum = b.get(acc);
            let value = match residual {
                Some(residual) => {
                    let before = b.load(Ty::F32x16, residual, index);
                    b.add(before, sum)
                }
                None => sum,
            };
            b.store(y, index, value);
        });
        b.finish()
    }

    /// Takes the base where nothing fired.
    fn add_fallback(
        &self,
        b: &mut KernelBuilder,
        row: ValueId,
        index: ValueId,
        acc: crate::ir::VarId,
        fired: ParamId,
        base: ParamId,
    ) {
        let first = affine(b, row, self.top_k, 0);
        let module = b.load(Ty::I32, fired, first);
        let none = b.i32(0);
        let nothing_fired = b.cmp(Cmp::Lt, module, none);
        b.if_(
            nothing_fired,
            |b| {
                let value = b.load(Ty::F32x16, base, index);
                b.set(acc, value);
            },
            |_| {},
        );
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "three regions and three values of one loop"
    )]
    fn add_modules(
        &self,
        b: &mut KernelBuilder,
        row: ValueId,
        column: ValueId,
        acc: crate::ir::VarId,
        fired: ParamId,
        gates: ParamId,
        outputs: ParamId,
    ) {
        b.for_n(self.top_k as i32, |b, slot| {
            let first = affine(b, row, self.top_k, 0);
            let entry = b.add(first, slot);
            let module = b.load(Ty::I32, fired, entry);
            let zero = b.i32(0);
            let fires = b.cmp(Cmp::Ge, module, zero);
            b.if_(
                fires,
                |b| {
                    let gate = b.load(Ty::F32, gates, entry);
                    let gate = b.splat(gate);
                    let start = affine(b, entry, self.stride, 0);
                    let index = b.add(start, column);
                    let output = b.load(Ty::F32x16, outputs, index);
                    let before = b.get(acc);
                    let after = b.fma(gate, output, before);
                    b.set(acc, after);
                },
                |_| {},
            );
        });
    }
}
