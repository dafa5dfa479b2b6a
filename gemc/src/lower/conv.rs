//! A short convolution: gated inputs to a ring of the last positions, then the sums over them.

use gemc_kernels::kernels::conv::{ConvInputs, ConvSums, ShortConv};

use super::Lowering;
use super::phases::{Arg, ItemCount};
use super::steps::ShortConvOp;
use crate::graph::NodeId;
use crate::pack::floats;
use crate::plan::kv::Ring;

impl Lowering<'_> {
    pub(super) fn short_conv(&mut self, id: NodeId, op: ShortConvOp, projection: NodeId) {
        let input = self.values[&projection];
        let shape = self.graph.tensor(op.weight).shape();
        let (taps, width) = (shape[0], shape[1]);
        let ring = Ring::of_taps(self.graph.facts(), taps);
        let spec = ShortConv {
            width,
            // B | C | x.
            columns: [0, width, 2 * width],
            stride: input.stride,
            taps,
            bias: op.bias.is_some(),
            ring: ring.positions,
            max_rows: self.max_rows,
        };
        let origin = self.origin(id);
        let state = self.phases.ring(4 * ring.positions * width, ring.rewind);
        let kernel = self.phases.kernel(ConvInputs(spec));
        let args = vec![Arg::of(input.buffer), state];
        let doc = format!("{origin}: gated inputs [rows, {width}]");
        self.phases.phase(kernel, args, ItemCount::PerRow(1), doc);
        let output = self.floats(self.max_rows, spec.result_stride());
        let mut args = vec![Arg::of(input.buffer), state];
        args.extend(self.vectors(floats::short_conv(self.graph, op.weight, op.bias)));
        args.push(Arg::of(output.buffer));
        let kernel = self.phases.kernel(ConvSums(spec));
        let doc = format!("{origin}: sums over {taps} positions [rows, {width}]");
        self.phases.phase(kernel, args, ItemCount::PerRow(1), doc);
        self.values.insert(id, output);
    }
}
