//! Routed blocks: router, clusters, SCAR attention, work lists, and the sum of what the modules gave.

use gemc_kernels::kernels::attention::{Attention, Mask};
use gemc_kernels::kernels::clusters::Clusters;
use gemc_kernels::kernels::combine::{Base, Combine};
use gemc_kernels::kernels::dispatch::{CountItems, Dispatch, Tags};
use gemc_kernels::kernels::rope::Heads;
use gemc_kernels::kernels::route::{Router, Sum};

use super::arena::Buffer;
use super::phases::{Arg, ItemCount, TapSpec};
use super::steps::{ClustersStep, CombineStep, Residual, RouterOp, RouterStep, ScarStep};
use super::{Lowering, floats};
use crate::graph::{NodeId, ScarMask, attention_scale};

/// Arena buffers of one routing decision.
#[derive(Clone, Copy, Debug)]
pub struct RoutingBuffers {
    /// Number of modules, D.
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
    /// f32 `[rows]`: what the base of the sum is multiplied with.
    pub base_gate: Option<Buffer>,
    /// i32 `[rows][K]`: of `fired` the modules that are there, where some are left out.
    pub served: Option<Buffer>,
}

impl Lowering<'_> {
    /// Router phase, then clusters of the same site, then the work lists: a forced decision (see `RoutingTap`) must
    /// stand before the lists are made.
    pub(super) fn router(&mut self, id: NodeId, step: &RouterStep) {
        let RouterOp {
            weight,
            bias,
            score,
            top_k,
            threshold,
            select_bias,
            gates: rule,
            base_gate,
        } = step.op;
        let input = self.values[&step.input];
        let modules = self.graph.tensor(weight).shape()[0];
        let spec = Router {
            modules,
            top_k,
            stride: input.stride,
            max_rows: self.max_rows,
            score,
            threshold: threshold.into(),
            renormalize: rule.renormalize.then(|| Sum {
                added: rule.added.into(),
                least: rule.least.into(),
            }),
            scale: rule.scale.into(),
            bias: bias.is_some(),
            select_bias: select_bias.is_some(),
            base_gate: base_gate.is_some(),
        };
        let p = self.words(self.max_rows * modules);
        let fired = self.words(self.max_rows * top_k);
        let gates = self.words(self.max_rows * top_k);
        let domain = self.words(self.max_rows);
        let kernel = self.phases.kernel(spec);
        let mut args = vec![Arg::of(input.buffer)];
        let biases = [bias, select_bias];
        args.extend(self.vectors(floats::router(self.graph, weight, biases, base_gate)));
        args.extend([p, fired, gates, domain].map(Arg::of));
        let base_gate = base_gate.map(|_| self.words(self.max_rows));
        args.extend(base_gate.map(Arg::of));
        let doc = format!("{}: p over {modules} modules", self.origin(id));
        self.phases.phase(kernel, args, ItemCount::PerRow(1), doc);

        let cluster = step.clusters.map(|clusters| self.clusters_of(&clusters));
        self.phases.tap(TapSpec {
            site: self.graph.node(id).site.to_string(),
            modules,
            top_k,
            p,
            fired,
            gates,
            domain,
            cluster,
        });
        let routed = self.dispatch(id, modules, top_k, fired, gates, domain);
        let routed = RoutingBuffers {
            base_gate,
            ..routed
        };
        self.routed.insert(id, routed);
    }

    fn clusters_of(&mut self, step: &ClustersStep) -> Buffer {
        let ClustersStep {
            id,
            input,
            centroids,
        } = *step;
        let x = self.values[&input];
        let count = self.graph.tensor(centroids).shape()[0];
        let ids = self.words(self.max_rows);
        let kernel = self.phases.kernel(Clusters {
            count,
            stride: x.stride,
            max_rows: self.max_rows,
        });
        let mut args = vec![Arg::of(x.buffer)];
        args.extend(self.vectors(floats::clusters(self.graph, centroids)));
        args.push(Arg::of(ids));
        let doc = format!("{}: nearest of {count}", self.origin(id));
        self.phases.phase(kernel, args, ItemCount::PerRow(1), doc);
        self.clusters.insert(id, ids);
        ids
    }

    fn dispatch(
        &mut self,
        id: NodeId,
        modules: usize,
        top_k: usize,
        fired: Buffer,
        gates: Buffer,
        domain: Buffer,
    ) -> RoutingBuffers {
        let kept = floats::kept_modules(self.graph, id);
        let spec = Dispatch {
            modules,
            top_k,
            max_rows: self.max_rows,
            sparse: kept.is_some(),
        };
        let routed = RoutingBuffers {
            base_gate: None,
            served: kept.is_some().then(|| self.words(self.max_rows * top_k)),
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
        let mut args = vec![Arg::of(fired)];
        args.extend(self.vectors(kept));
        args.extend(routed.served.map(Arg::of));
        let lists = [
            routed.lists,
            routed.counts,
            routed.active,
            routed.idle,
            routed.idle_count,
        ];
        args.extend(lists.map(Arg::of));
        let doc = format!("{}: work lists", self.origin(id));
        self.phases.phase(kernel, args, ItemCount::Fixed(1), doc);
        routed
    }

    /// A phase that writes `min(counter, limit) * each` items; gives the buffer.
    pub(super) fn count_items(&mut self, counter: Buffer, each: u32, limit: u32) -> Buffer {
        let items = self.words(1);
        let kernel = self.phases.kernel(CountItems { each });
        let args = vec![Arg::of(counter), Arg::of(items), Arg::Scalar(limit)];
        self.phases
            .phase(kernel, args, ItemCount::Fixed(1), "items of the next phase");
        items
    }

    pub(super) fn scar_attention(&mut self, id: NodeId, step: &ScarStep) {
        let ScarStep {
            heads,
            mask,
            projection,
            routing,
            clusters,
        } = *step;
        let (site, origin) = (self.graph.node(id).site, self.origin(id));
        let width = self.graph.facts().hidden_size;
        let input = self.values[&projection];
        let routed = self.routed[&routing];
        let cluster_ids = clusters.map(|n| self.clusters[&n]);
        let head_dim = width / heads;
        let spec = Heads {
            heads,
            kv_heads: heads,
            kv: self.plan.kv(),
            ring: None,
            head_dim,
            columns: [0, width, 2 * width],
            stride: input.stride,
            max_rows: self.max_rows,
            rope: None,
            qk_norm: None,
        };
        let kept = self.kept(id);
        let kv = self.keys_and_values(kept, site);
        let queries = self.heads(&spec, input, None, Vec::new(), &kv, origin);
        let memory: Vec<Arg> = (0..kept.words).map(|_| self.phases.kv_word()).collect();
        self.scar_tags(&routed, mask, cluster_ids, &memory, origin);
        let mut args = vec![Arg::of(queries)];
        args.extend(kv);
        args.extend(memory);
        let spec = Attention {
            heads,
            kv_heads: heads,
            kv: self.plan.kv(),
            ring: None,
            head_dim,
            stride: width.next_multiple_of(32),
            max_rows: self.max_rows,
            scale: attention_scale(head_dim).into(),
            causal: false,
            window: None,
            softcap: None,
            sinks: false,
            mask: Some(Mask {
                clusters: cluster_ids.is_some(),
            }),
        };
        let output = self.attend(spec, args, origin);
        self.values.insert(id, output);
    }

    fn scar_tags(
        &mut self,
        routed: &RoutingBuffers,
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
            ItemCount::PerRow(1),
            format!("{origin}: tags"),
        );
    }

    /// Base and modules' outputs, with the residual sum where that is the only reader.
    pub(super) fn combine(&mut self, id: NodeId, step: &CombineStep) {
        let routed = self.routed[&step.routing];
        let base = step.base.map_or(Base::None, |(_, base)| base);
        // A sum only if its other input is there by now.
        let there = |residual: &Residual| self.values.contains_key(&residual.other);
        let residual = step.residual.filter(there);
        let stride = self.graph.facts().hidden_size.next_multiple_of(32);
        let spec = Combine {
            stride,
            top_k: routed.top_k,
            modules: step.outputs.is_some(),
            base,
            base_gate: routed.base_gate.is_some() && base != Base::None,
            residual: residual.is_some(),
            max_rows: self.max_rows,
            sparse: routed.served.is_some() && step.outputs.is_some(),
        };
        let mut args = Vec::new();
        args.extend(step.base.map(|(n, _)| Arg::of(self.values[&n].buffer)));
        args.extend(routed.base_gate.filter(|_| spec.base_gate).map(Arg::of));
        // Fallback looks at what fired even where no module contributes.
        if spec.modules && !spec.sparse || base == Base::Fallback {
            args.push(Arg::of(routed.fired));
        }
        args.extend(routed.served.filter(|_| spec.sparse).map(Arg::of));
        if let Some(module) = step.outputs {
            let outputs = self.values[&module].buffer;
            args.extend([routed.gates, outputs].map(Arg::of));
        }
        args.extend(residual.map(|r| Arg::of(self.values[&r.other].buffer)));
        let output = self.floats(self.max_rows, stride);
        args.push(Arg::of(output.buffer));
        let kernel = self.phases.kernel(spec);
        self.phases
            .phase(kernel, args, ItemCount::PerRow(1), self.origin(id));
        let result = match residual {
            Some(Residual { sum, other: _ }) => {
                self.done.insert(sum);
                sum
            }
            None => id,
        };
        self.values.insert(result, output);
    }
}
