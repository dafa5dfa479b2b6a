//! Rows to the ids of their nearest centroids, in f32.

use super::vector::LANES;
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::{affine, inner_product};
use crate::ir::{Cmp, Elem, Extent, Kernel, Space, Ty};

/// What the kernel of clusters depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clusters {
    /// Centroids.
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
        let mut b = KernelBuilder::new(&self.name(), &doc, self.max_rows as u32);
        let fixed = |n: usize| Extent::fixed(n as i64);
        let x = b.region(
            "x",
            Space::Arena,
            Elem::F32,
            fixed(self.max_rows * self.stride),
            false,
        );
        let centroids = b.region(
            "centroids",
            Space::Weights,
            Elem::F32,
            fixed(self.count * self.stride),
            false,
        );
        let norms = b.region(
            "norms",
            Space::Weights,
            Elem::F32,
            fixed(self.count.next_multiple_of(LANES)),
            false,
        );
        let ids = b.region("ids", Space::Arena, Elem::I32, fixed(self.max_rows), true);
        let row = b.item();
        let start = affine(&mut b, row, self.stride, 0);
        let highest = b.f32(f32::MAX);
        let nearest = b.named_var("nearest", highest);
        let zero = b.i32(0);
        let best = b.named_var("best", zero);
        b.for_n(self.count as i32, |b, c| {
            let c_start = affine(b, c, self.stride, 0);
            let product = inner_product(b, (centroids, c_start), (x, start), self.stride);
            let two = b.f32(2.0);
            let twice = b.mul(product, two);
            let norm = b.load(Ty::F32, norms, c);
            let distance = b.sub(norm, twice);
            let so_far = b.get(nearest);
            let closer = b.cmp(Cmp::Lt, distance, so_far);
            let new = b.select(closer, distance, so_far);
            b.set(nearest, new);
            let old = b.get(best);
            let id = b.select(closer, c, old);
            b.set(best, id);
        });
        let id = b.get(best);
        b.store(ids, row, id);
        b.finish()
    }
}
