//! Norms over a row, in f32, with the quantised copy for the next product where one is wanted.
//!
//! Sums run over 16 partials, chunks of 16 ascending, then added by halves; rows are zero-padded, and the padding
//! takes no part in the variance.

use gemc_format::{ActivationFormat, BLOCK};

use super::quantise::{QuantisedRegions, quantise_name};
use super::spec::Exact;
use super::vector::{LANES, for_chunks, load_pair, store_pair};
use crate::choices::NormKind;
use crate::ir::build::{KernelBuilder, Region, Val};
use crate::ir::{Elem, Kernel};

/// What a norm kernel's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Norm {
    /// RMS norm or layer norm.
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
            "{kind}_{}_eps{}{bias}{outputs}",
            self.cols,
            self.eps.in_words()
        )
    }

    /// Writes the kernel; one item a row. Arguments: weight; \[bias\]; input; \[f32 output\]; \[codes, scales, sums\].
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "{:?} norm of rows of {} f32, eps {:e}",
            self.kind,
            self.cols,
            self.eps.get()
        );
        KernelBuilder::build(&self.name(), &doc, self.max_rows as u32, |k| self.write(k))
    }

    fn write<'k>(&self, k: &'k KernelBuilder) {
        let stride = self.stride();
        let matrix = self.max_rows * stride;
        let weight = k.weights("weight", Elem::F32, stride);
        let bias = self.bias.then(|| k.weights("bias", Elem::F32, stride));
        let x = k.input("x", Elem::F32, matrix);
        let y = self.floats.then(|| k.output("y", Elem::F32, matrix));
        let yq = self
            .quantised
            .map(|format| QuantisedRegions::declare(k, "yq", self.max_rows, stride, format, true));
        let wide = ActivationFormat::Int8Wide;
        let group =
            (self.quantised == Some(wide)).then(|| k.local("group", Elem::F32, wide.columns()));

        let row = k.item();
        let x = x.row(row, stride);
        let y = y.map(|y| y.row(row, stride));
        let mean = (self.kind == NormKind::Layer).then(|| self.mean(k, x));
        let variance = self.mean_square(k, x, mean) + self.eps.get();
        let scale = (1.0 / variance.sqrt()).splat().named("scale");

        let normed = |block: Val<'k>| {
            [0, LANES].map(|half| {
                let column = block * BLOCK + half;
                let value = centred(x.lanes(column), mean) * scale * weight.lanes(column);
                let value = match bias {
                    Some(bias) => value + bias.lanes(column),
                    None => value,
                };
                if let Some(y) = y {
                    y.store(column, value);
                }
                value
            })
        };
        match (&yq, group) {
            (Some(yq), Some(group)) => k.for_n(yq.scale_count(), |index| {
                yq.each_block(k, index, |block, place| {
                    store_pair(group, place, normed(block));
                });
                yq.store_group(k, row, index, |_, place| load_pair(group, place));
            }),
            _ => k.for_n(stride / BLOCK, |block| {
                let values = normed(block);
                if let Some(yq) = &yq {
                    yq.store_block(row, block, values);
                }
            }),
        }
    }

    fn mean<'k>(&self, k: &'k KernelBuilder, x: Region<'k>) -> Val<'k> {
        let sum = k.var("sum", k.splat(0.0));
        // Padding is zero.
        for_chunks(k, self.stride() / LANES, |at| {
            let value = x.lanes(at);
            sum.update(|sum| sum + value);
        });
        let mean = sum.get().reduce_add() * (1.0 / self.cols as f32);
        mean.splat().named("mean")
    }

    /// Mean of the squares of `x - mean` over the real columns.
    fn mean_square<'k>(
        &self,
        k: &'k KernelBuilder,
        x: Region<'k>,
        mean: Option<Val<'k>>,
    ) -> Val<'k> {
        let squares = k.var("squares", k.splat(0.0));
        let add = |value: Val<'k>| squares.update(|sum| value.mul_add(value, sum));
        let full = self.cols / LANES;
        for_chunks(k, full, |at| add(centred(x.lanes(at), mean)));
        let rest = self.cols % LANES;
        if rest > 0 {
            let real = k.i32_lanes(std::array::from_fn(|lane| -i32::from(lane < rest)));
            let value = centred(x.lanes(full * LANES), mean);
            add(real.select(value, 0.0));
        }
        squares.get().reduce_add() * (1.0 / self.cols as f32)
    }
}

fn centred<'k>(value: Val<'k>, mean: Option<Val<'k>>) -> Val<'k> {
    match mean {
        Some(mean) => value - mean,
        None => value,
    }
}
