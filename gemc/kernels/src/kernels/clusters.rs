//! Rows to the ids of their nearest centroids, in f32.

use super::vector::{LANES, inner_product};
use crate::ir::build::KernelBuilder;
use crate::ir::{Elem, Kernel};

/// What the kernel of clusters depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clusters {
    /// Number of centroids.
    pub count: usize,
    /// Columns, padded.
    pub stride: usize,
    /// Rows of the buffers.
    pub max_rows: usize,
}

impl Clusters {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("clusters_{}_x{}", self.count, self.stride)
    }

    /// Nearest centroid of each row: `argmin |C|^2 - 2 x.C`, ties to the lower; one item a row. Arguments: x; centroids;
    /// squared norms; cluster ids.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!("nearest of {} centroids", self.count);
        let Self {
            count,
            stride,
            max_rows,
        } = *self;
        KernelBuilder::build(&self.name(), &doc, max_rows as u32, |k| {
            let x = k.input("x", Elem::F32, max_rows * stride);
            let centroids = k.weights("centroids", Elem::F32, count * stride);
            let norms = k.weights("norms", Elem::F32, count.next_multiple_of(LANES));
            let ids = k.output("ids", Elem::I32, max_rows);
            let row = k.item();
            let x = x.row(row, stride);
            let nearest = k.var("nearest", f32::MAX);
            let best = k.var("best", 0);
            k.for_n(count, |c| {
                let product = inner_product(k, centroids.row(c, stride), x, stride);
                let twice = product * 2.0;
                let distance = norms.get(c) - twice;
                let so_far = nearest.get();
                let closer = distance.lt(so_far);
                nearest.set(closer.select(distance, so_far));
                best.update(|best| closer.select(c, best));
            });
            ids.store(row, best.get());
        })
    }
}
