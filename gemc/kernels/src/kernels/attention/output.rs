//! What a head's chunks summed up to -> the head's columns of the output row.

use super::{Item, Running};
use crate::kernels::vector::LANES;

impl<'k> Item<'k> {
    /// Divides by the sum and writes the head's real columns; the last head zeroes the row's padding.
    pub(super) fn store(&self, running: &Running<'k>) {
        let (k, spec) = (self.k, &self.spec);
        let total = running.sum.get().splat();
        let y = self.r.y.row(self.row, spec.stride);
        let own = y.skip(self.head * spec.head_dim);
        k.repeat(&spec.parts(), "part", |part| {
            let value = running.values.get(part) / total;
            self.r.head.unwrap_or(own).store(part * LANES, value);
        });
        if let Some(padded) = self.r.head {
            k.for_n(spec.head_dim, |i| own.store(i, padded.get(i)));
        }
        let end = spec.heads * spec.head_dim;
        if end < spec.stride {
            let is_last = self.head.eq(spec.heads - 1);
            k.when(is_last, || {
                k.for_n(spec.stride - end, |i| y.store(i + end, 0.0));
            });
        }
    }
}
