//! Routed blocks: router, clusters, SCAR attention, work lists, and the sum of what the modules gave.

use super::arena::Buffer;
use super::kernels::attention::{Attention, Mask};
use super::kernels::clusters::Clusters;
use super::kernels::combine::{Base, Combine};
use super::kernels::dispatch::{CountUnits, Dispatch, Tags};
use super::kernels::rope::Heads;
use super::kernels::route::Router;
use super::phases::{Arg, TapSpec, UnitCount};
use super::{Lowering, VectorSource};
use crate::graph::{Guard, Node, NodeId, Op, ScarMask, TensorId};

/// Arena buffers of one routing decision.
#[derive(Clone, Copy, Debug)]
pub struct Routed {
    /// Modules D.
    pub modules: usize,
    /// Choices per row.
    pub top_k: usize,
    /// i32 `[rows][K]`.
    pub fired: Buffer,
    /// f32 `[rows][K]`.
    pub gates: Buffer,
    /// i32 `[rows]`.
    pub domain: Buffer,
    /// i32 `[module][list stride]`.
    pub lists: Buffer,
    /// i32 `[module][16]`.
    pub counts: Buffer,
    /// i32: number, then ids.
    pub active: Buffer,
    /// i32 `[rows]`.
    pub idle: Buffer,
    /// i32.
    pub idle_count: Buffer,
}

impl Lowering<'_> {
    /// Router phase, then clusters of the same site, then the work lists: a forced decision (see `RoutingTap`) must
    /// stand before the lists are made.
    pub(super) fn router(&mut self, id: NodeId, node: &Node) {
        let Op::Router {
            weight,
            bias,
            score,
            top_k,
            threshold,
            renormalize,
        } = node.op
        else {
            return;
        };
        let input = self.values[&node.inputs[0]];
        let modules = self.graph.tensor(weight).shape[0];
        let top_k = top_k as usize;
        let spec = Router {
            modules,
            top_k,
            stride: input.stride,
            max_rows: self.max_rows,
            score,
            threshold: threshold.into(),
            renormalize,
            bias: bias.is_some(),
        };
        let p = self.words(self.max_rows * modules);
        let fired = self.words(self.max_rows * top_k);
        let gates = self.words(self.max_rows * top_k);
        let domain = self.words(self.max_rows);
        let kernel = self.phases.kernel(spec);
        let mut args = vec![
            Arg::of(input.buffer),
            self.matrix_f32(weight, modules, input.stride),
        ];
        args.extend(bias.map(|b| self.vector(b, modules)));
        args.extend([p, fired, gates, domain].map(Arg::of));
        let doc = format!("{}: p over {modules} modules", node.origin);
        self.phases.phase(kernel, args, UnitCount::PerRow(1), doc);

        let cluster = self.clusters_at(node);
        self.phases.tap(TapSpec {
            site: node.site.to_string(),
            modules,
            top_k,
            p,
            fired,
            gates,
            domain,
            cluster,
        });
        let routed = self.dispatch(node, modules, top_k, fired, gates, domain);
        self.routed.insert(id, routed);
    }

    fn clusters_at(&mut self, router: &Node) -> Option<Buffer> {
        let found = self
            .graph
            .topo()
            .find(|(_, n)| matches!(n.op, Op::Clusters { .. }) && n.site == router.site)
            .map(|(id, n)| (id, n.op.clone(), n.inputs[0]));
        let (id, Op::Clusters { centroids }, input) = found? else {
            return None;
        };
        self.clusters_of(id, input, centroids);
        self.done.insert(id);
        self.clusters.get(&id).copied()
    }

    pub(super) fn clusters_of(&mut self, id: NodeId, input: NodeId, centroids: TensorId) {
        let x = self.values[&input];
        let [count, cols] = [0, 1].map(|i| self.graph.tensor(centroids).shape[i]);
        let ids = self.words(self.max_rows);
        let kernel = self.phases.kernel(Clusters {
            count,
            stride: x.stride,
            max_rows: self.max_rows,
        });
        let norms = VectorSource::SquaredNorms {
            tensor: centroids,
            rows: count,
            cols,
        };
        let args = vec![
            Arg::of(x.buffer),
            self.matrix_f32(centroids, count, x.stride),
            Arg::Weights(self.layout.vector(norms)),
            Arg::of(ids),
        ];
        let doc = format!("{}: nearest of {count}", self.graph.node(id).origin);
        self.phases.phase(kernel, args, UnitCount::PerRow(1), doc);
        self.clusters.insert(id, ids);
    }

    fn dispatch(
        &mut self,
        node: &Node,
        modules: usize,
        top_k: usize,
        fired: Buffer,
        gates: Buffer,
        domain: Buffer,
    ) -> Routed {
        let spec = Dispatch {
            modules,
            top_k,
            max_rows: self.max_rows,
        };
        let routed = Routed {
            modules,
            top_k,
            fired,
            gates,
            domain,
            lists: self.words(modules * spec.list_stride()),
            counts: self.words(modules * Dispatch::COUNT_STRIDE),
            active: self.words(spec.active_len()),
            idle: self.words(self.max_rows),
            idle_count: self.words(1),
        };
        let kernel = self.phases.kernel(spec);
        let args = [
            fired,
            routed.lists,
            routed.counts,
            routed.active,
            routed.idle,
            routed.idle_count,
        ];
        let doc = format!("{}: work lists", node.origin);
        self.phases
            .phase(kernel, args.map(Arg::of).to_vec(), UnitCount::Fixed(1), doc);
        routed
    }

    /// A phase that writes `min(counter, limit) * each` units; gives the buffer.
    pub(super) fn count_units(&mut self, counter: Buffer, each: u32, limit: u32) -> Buffer {
        let units = self.words(1);
        let kernel = self.phases.kernel(CountUnits { each });
        let args = vec![Arg::of(counter), Arg::of(units), Arg::Scalar(limit)];
        self.phases
            .phase(kernel, args, UnitCount::Fixed(1), "units of the next phase");
        units
    }

    pub(super) fn scar_attention(&mut self, id: NodeId, node: &Node) {
        let Op::ScarAttention { heads, mask, .. } = node.op else {
            return;
        };
        let heads = heads as usize;
        let width = self.width(id);
        let input = self.values[&node.inputs[0]];
        let routed = self.routed[&node.inputs[1]];
        let cluster_ids = node.inputs.get(2).map(|n| self.clusters[n]);
        let head_dim = width / heads;
        let spec = Heads {
            heads,
            kv_heads: heads,
            kv: self.plan.kv(),
            head_dim,
            columns: [0, width, 2 * width],
            stride: input.stride,
            max_rows: self.max_rows,
            rope: false,
            qk_norm: None,
        };
        let kv = self.keys_and_values(&spec, node.site);
        let queries = self.heads(&spec, input, None, None, &kv, &node.origin);
        let mut memory = vec![self.phases.kv_word()];
        if cluster_ids.is_some() {
            memory.push(self.phases.kv_word());
        }
        self.scar_tags(&routed, mask, cluster_ids, &memory, &node.origin);
        let mut args = vec![Arg::of(queries)];
        args.extend(kv);
        args.extend(memory);
        let spec = Attention {
            heads,
            kv_heads: heads,
            kv: self.plan.kv(),
            head_dim,
            stride: width.next_multiple_of(32),
            max_rows: self.max_rows,
            mask: Some(Mask {
                clusters: cluster_ids.is_some(),
            }),
        };
        let output = self.attend(spec, args, &node.origin);
        self.values.insert(id, output);
    }

    fn scar_tags(
        &mut self,
        routed: &Routed,
        mask: ScarMask,
        cluster_ids: Option<Buffer>,
        memory: &[Arg],
        origin: &str,
    ) {
        let kernel = self.phases.kernel(Tags {
            modules: routed.modules,
            by_flag: mask == ScarMask::ClusterOrFlag,
            clusters: cluster_ids.is_some(),
            max_rows: self.max_rows,
        });
        let mut args = vec![Arg::of(routed.domain)];
        args.extend(cluster_ids.map(Arg::of));
        args.extend(memory);
        self.phases.phase(
            kernel,
            args,
            UnitCount::PerRow(1),
            format!("{origin}: tags"),
        );
    }

    /// Base and modules' outputs, with the residual sum where that is the only reader.
    pub(super) fn combine(&mut self, id: NodeId, node: &Node, has_base: bool) {
        let routed = self.routed[&node.inputs[0]];
        let base_node = has_base.then(|| node.inputs[1]);
        let modules = &node.inputs[1 + usize::from(has_base)..];
        let base = match base_node.map(|n| self.graph.node(n).guard) {
            None => Base::None,
            Some(Guard::Fallback { .. }) => Base::Fallback,
            Some(_) => Base::Always,
        };
        let residual = match self.fusion(id) {
            super::linear::Fusion::Residual { sum, other } => Some((sum, other)),
            _ => None,
        };
        let stride = self.width(id).next_multiple_of(32);
        let spec = Combine {
            stride,
            top_k: routed.top_k,
            modules: !modules.is_empty(),
            base,
            residual: residual.is_some(),
            max_rows: self.max_rows,
        };
        let mut args: Vec<Arg> = base_node
            .map(|n| Arg::of(self.values[&n].buffer))
            .into_iter()
            .collect();
        // Fallback looks at what fired even where no module contributes.
        if spec.modules || base == Base::Fallback {
            args.push(Arg::of(routed.fired));
        }
        if let Some(module) = modules.first() {
            let outputs = self.values[module].buffer;
            args.extend([routed.gates, outputs].map(Arg::of));
        }
        args.extend(residual.map(|(_, other)| Arg::of(self.values[&other].buffer)));
        let output = self.floats(self.max_rows, stride);
        args.push(Arg::of(output.buffer));
        let kernel = self.phases.kernel(spec);
        self.phases
            .phase(kernel, args, UnitCount::PerRow(1), node.origin.clone());
        let result = match residual {
            Some((sum, _)) => {
                self.done.insert(sum);
                sum
            }
            None => id,
        };
        self.values.insert(result, output);
    }
}
