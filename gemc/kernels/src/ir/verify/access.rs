//! The proof of one access: `0 <= index` and `index + count <= len`, for every context.

use super::error::Problem;
use super::flow::Flow;
use crate::ir::{Param, ParamId, Ty, ValueId};

impl Flow<'_> {
    /// Checks that a `ty` at element `index` lies in a region; `v` is the value that is loaded or stored.
    pub(super) fn access(&mut self, v: ValueId, region: ParamId, index: ValueId, ty: Ty) {
        let params = self.params;
        let Param::Region {
            name, elem, len, ..
        } = &params[region.index()]
        else {
            return;
        };
        let count = i64::from(ty.bytes().div_ceil(elem.bytes()));
        let range = self.i32(index);
        if range.lo < 0 || !range.fits(count, *len) {
            self.problem(
                v,
                Problem::OutOfRange {
                    param: region,
                    name: name.clone(),
                    index,
                    range,
                    count,
                    len: *len,
                },
            );
        }
    }
}
