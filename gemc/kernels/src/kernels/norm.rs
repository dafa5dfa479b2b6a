//! Norms over a row, in f32, with the quantised copy for the next product where one is wanted.
//!
//! Sums run over 16 partials, chunks of 16 ascending, then added by halves; rows are zero-padded, and the padding
//! takes no part in the variance.

use gemc_format::{ActivationFormat, BLOCK};

use super::quantise::{Quantised, quantise_name};
use super::spec::Exact;
use super::vector::LANES;
use crate::choices::NormKind;
use crate::ir::build;
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::{affine, chunk_index, store_pair};
use crate::ir::{Elem, Extent, Kernel, ParamId, Space, Ty, ValueId};

/// What a norm kernel's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Norm {
    /// Which.
    pub kind: NormKind,
    /// Real columns.
    pub cols: usize,
    /// Added to mean square or variance.
    pub eps: Exact,
    /// Rows of the buffers.
    pub max_rows: usize,
    /// Whether f32 rows are stored.
    pub floats: bool,
    /// Whether quantised rows are stored, and how.
    pub quantised: Option<ActivationFormat>,
    /// Whether there is a bias.
    pub bias: bool,
}

impl Norm {
    /// Elements between rows.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.cols.next_multiple_of(BLOCK)
    }

    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let kind = match self.kind {
            NormKind::Rms => "rmsnorm",
            NormKind::Layer => "layernorm",
        };
        let bias = if self.bias { "_bias" } else { "" };
        let and = if self.floats { "_and" } else { "" };
        let outputs = self
            .quantised
            .map(|format| format!("{and}_{}", quantise_name(format)))
            .unwrap_or_default();
        format!(
            "{kind}_{}_eps{:08x}{bias}{outputs}",
            self.cols,
            self.eps.bits()
        )
    }

    /// Writes the kernel; one item a row. Arguments: weight; [bias]; input; [f32 output]; [codes, scales, sums].
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "{:?} norm of rows of {} f32, eps {:e}",
            self.kind,
            self.cols,
            self.eps.get()
        );
        build::KernelBuilder::build(&self.name(), &doc, self.max_rows as u32, |k| {
            k.old(|b| self.write(k, b));
        })
    }

    fn write<'k>(&self, k: &'k build::KernelBuilder, b: &mut KernelBuilder) {
        let stride = self.stride();
        let vector = Extent::fixed(stride as i64);
        let matrix = Extent::fixed((self.max_rows * stride) as i64);
        let weight = b.region("weight", Space::Weights, Elem::F32, vector, false);
        let bias = self
            .bias
            .then(|| b.region("bias", Space::Weights, Elem::F32, vector, false));
        let x = b.region("x", Space::Arena, Elem::F32, matrix, false);
        let y = self
            .floats
            .then(|| b.region("y", Space::Arena, Elem::F32, matrix, true));
        let yq = self
            .quantised
            .map(|format| Quantised::declare(k, "yq", self.max_rows, stride, format, true));
        let group = matches!(self.quantised, Some(ActivationFormat::Int8Wide)).then(|| {
            b.local(
                "group",
                Elem::F32,
                ActivationFormat::Int8Wide.columns() as i64,
            )
        });

        let row = b.item();
        let start = affine(b, row, stride, 0);
        let mean = (self.kind == NormKind::Layer).then(|| self.mean(b, x, start));
        let square = self.mean_square(b, x, start, mean);
        let eps = b.f32(self.eps.get());
        let sum = b.add(square, eps);
        let root = b.sqrt(sum);
        let one = b.f32(1.0);
        let scale = b.div(one, root);
        let scale = b.splat(scale);
        b.name(scale, "scale");

        let normed = |b: &mut KernelBuilder, block: ValueId| {
            [0, LANES].map(|offset| {
                let column = affine(b, block, BLOCK, offset);
                let index = b.add(start, column);
                let value = b.load(Ty::F32x16, x, index);
                let value = centred(b, value, mean);
                let value = b.mul(value, scale);
                let w = b.load(Ty::F32x16, weight, column);
                let value = b.mul(value, w);
                let value = match bias {
                    Some(bias) => {
                        let c = b.load(Ty::F32x16, bias, column);
                        b.add(value, c)
                    }
                    None => value,
                };
                if let Some(y) = y {
                    b.store(y, index, value);
                }
                value
            })
        };
        let zero = b.i32(0);
        if let (Some(yq), Some(group)) = (&yq, group) {
            let groups = b.i32(yq.scale_count() as i32);
            b.for_(zero, groups, |b, index| {
                yq.each_block(k, k.val(index), |block, place| {
                    k.old(|b| {
                        let values = normed(b, block.id());
                        store_pair(b, group, place.id(), values);
                    });
                });
                let load = |_, place| super::vector::load_pair(k.region_of(group), place);
                yq.store_group(k, k.val(row), k.val(index), load);
            });
            return;
        }
        let blocks = b.i32((stride / BLOCK) as i32);
        b.for_(zero, blocks, |b, block| {
            let halves = normed(b, block);
            if let Some(yq) = &yq {
                yq.store_block(k.val(row), k.val(block), halves.map(|v| k.val(v)));
            }
        });
    }

    fn mean(&self, b: &mut KernelBuilder, x: ParamId, start: ValueId) -> ValueId {
        let total = self.sum(b, |b, chunk| {
            let index = chunk_index(b, start, chunk);
            b.load(Ty::F32x16, x, index)
        });
        let share = b.f32(1.0 / self.cols as f32);
        let mean = b.mul(total, share);
        let mean = b.splat(mean);
        b.name(mean, "mean");
        mean
    }

    /// Mean of the squares of `x - mean` over the real columns.
    fn mean_square(
        &self,
        b: &mut KernelBuilder,
        x: ParamId,
        start: ValueId,
        mean: Option<ValueId>,
    ) -> ValueId {
        let zero = b.f32(0.0);
        let zero = b.splat(zero);
        let acc = b.named_var("squares", zero);
        let full = self.cols / LANES;
        let first = b.i32(0);
        let chunks = b.i32(full as i32);
        let step = |b: &mut KernelBuilder, chunk: ValueId, mask: Option<ValueId>| {
            let index = chunk_index(b, start, chunk);
            let value = b.load(Ty::F32x16, x, index);
            let value = centred(b, value, mean);
            let value = match mask {
                Some(mask) => {
                    let none = b.f32(0.0);
                    let none = b.splat(none);
                    b.select(mask, value, none)
                }
                None => value,
            };
            let before = b.get(acc);
            let after = b.fma(value, value, before);
            b.set(acc, after);
        };
        b.for_(first, chunks, |b, chunk| step(b, chunk, None));
        if !self.cols.is_multiple_of(LANES) {
            let mask = b.i32_lanes(std::array::from_fn(|lane| {
                if lane < self.cols % LANES { -1 } else { 0 }
            }));
            step(b, chunks, Some(mask));
        }
        let total = b.get(acc);
        let total = b.reduce_add(total);
        let share = b.f32(1.0 / self.cols as f32);
        b.mul(total, share)
    }

    /// Sum of `value(chunk)` over all chunks; padding is zero.
    fn sum(
        &self,
        b: &mut KernelBuilder,
        value: impl Fn(&mut KernelBuilder, ValueId) -> ValueId,
    ) -> ValueId {
        let zero = b.f32(0.0);
        let zero = b.splat(zero);
        let acc = b.named_var("sum", zero);
        let first = b.i32(0);
        let chunks = b.i32((self.stride() / LANES) as i32);
        b.for_(first, chunks, |b, chunk| {
            let value = value(b, chunk);
            let before = b.get(acc);
            let after = b.add(before, value);
            b.set(acc, after);
        });
        let total = b.get(acc);
        b.reduce_add(total)
    }
}

fn centred(b: &mut KernelBuilder, value: ValueId, mean: Option<ValueId>) -> ValueId {
    match mean {
        Some(mean) => b.sub(value, mean),
        None => value,
    }
}
