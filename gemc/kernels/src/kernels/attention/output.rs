//! What a head's chunks summed up to -> the head's columns of the output row.

use super::{Attention, Regions, Running};
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::affine;
use crate::ir::{Cmp, Ty, ValueId};
use crate::kernels::vector::LANES;

impl Attention {
    /// Divides by the sum and writes the head's real columns; the last head zeroes the row's padding.
    pub(super) fn store(
        &self,
        b: &mut KernelBuilder,
        r: &Regions,
        row: ValueId,
        head: ValueId,
        running: &Running,
    ) {
        let total = b.get(running.sum);
        let total = b.splat(total);
        let start = affine(b, row, self.stride, 0);
        let column = affine(b, head, self.head_dim, 0);
        let to = b.add(start, column);
        for (chunk, &out) in running.values.iter().enumerate() {
            let value = b.get(out);
            let value = b.div(value, total);
            match r.head {
                None => {
                    let index = affine(b, to, 1, chunk * LANES);
                    b.store(r.y, index, value);
                }
                Some(local) => {
                    let index = b.i32((chunk * LANES) as i32);
                    b.store(local, index, value);
                }
            }
        }
        if let Some(local) = r.head {
            b.for_n(self.head_dim as i32, |b, i| {
                let value = b.load(Ty::F32, local, i);
                let index = b.add(to, i);
                b.store(r.y, index, value);
            });
        }
        let end = self.heads * self.head_dim;
        if end < self.stride {
            let last = b.i32(self.heads as i32 - 1);
            let is_last = b.cmp(Cmp::Eq, head, last);
            b.if_(
                is_last,
                |b| {
                    let zero = b.f32(0.0);
                    b.for_n((self.stride - end) as i32, |b, i| {
                        let index = affine(b, i, 1, end);
                        let index = b.add(start, index);
                        b.store(r.y, index, zero);
                    });
                },
                |_| {},
            );
        }
    }
}
