//! Attention: the projection's rows to queries and the memory of keys and values, then the heads' sums.

use gemc_kernels::kernels::attention::Attention;
use gemc_kernels::kernels::rope::{HeadNorm, Heads, RopeTable};
use gemc_kernels::kernels::vector;

use super::arena::Buffer;
use super::phases::{Arg, ItemCount};
use super::steps::{AttentionOp, Projection};
use super::{Lowering, RowBuffer};
use crate::graph::{NodeId, Rope, Site, Task};
use crate::pack::floats;
use crate::plan::KvFormat;
use crate::plan::kv::Kept;

impl Lowering<'_> {
    pub(super) fn attention(
        &mut self,
        id: NodeId,
        op: &AttentionOp<'_>,
        projection: &Projection<'_>,
    ) {
        let AttentionOp {
            heads,
            kv_heads,
            head_dim,
            scale,
            causal,
            window,
            softcap,
            rope,
            qk_norm,
            sinks,
        } = *op;
        let first = self.place(projection.id, projection.parts).part_rows;
        let columns = match first.as_slice() {
            [q, k, v] => [*q, *k, *v],
            // One part holds all three.
            _ => [0, heads * head_dim, (heads + kv_heads) * head_dim],
        };
        let (site, origin) = (self.graph.node(id).site, self.origin(id));
        let input = self.values[&projection.id];
        let kept = self.kept(id);
        let spec = Heads {
            heads,
            kv_heads,
            kv: self.plan.kv(),
            ring: kept.cache.ring,
            head_dim,
            columns,
            stride: input.stride,
            max_rows: self.max_rows,
            rope: rope.map(|rope| rope.frequencies.len()),
            qk_norm: qk_norm.map(|norm| HeadNorm {
                eps: norm.eps.into(),
                over: norm.over,
            }),
        };
        let cos_sin = rope.map(|rope| self.rope_table(rope));
        let norms = qk_norm.map(|norm| floats::head_norms(self.graph, norm));
        let norms = self.vectors(norms.into_iter().flatten());
        let kv = self.keys_and_values(kept, site);
        let queries = self.heads(&spec, input, cos_sin, norms, &kv, origin);
        let mut args = vec![Arg::of(queries)];
        args.extend(kv);
        let sinks = sinks.map(|sinks| floats::head_sinks(self.graph, sinks));
        args.extend(self.vectors(sinks));
        let output = self.attend(
            Attention {
                heads,
                kv_heads,
                kv: self.plan.kv(),
                ring: kept.cache.ring,
                head_dim,
                stride: (heads * head_dim).next_multiple_of(32),
                max_rows: self.max_rows,
                scale: scale.into(),
                causal: causal && self.graph.facts().task != Task::CausalLm,
                window,
                softcap: softcap.map(Into::into),
                sinks: op.sinks.is_some(),
                mask: None,
            },
            args,
            origin,
        );
        self.values.insert(id, output);
    }

    /// What an attention keeps of a position.
    pub(super) fn kept(&self, id: NodeId) -> Kept {
        let kept = Kept::of(self.graph, id, self.plan.kv());
        kept.expect("asked for attentions alone")
    }

    /// Memory of keys and of values.
    pub(super) fn keys_and_values(&mut self, kept: Kept, site: Site) -> Vec<Arg> {
        let cache = kept.cache;
        let mut args = Vec::new();
        for _ in ["keys", "values"] {
            let first = args.len();
            let bytes = cache.bytes().into_iter();
            args.extend(bytes.map(|n| match cache.ring {
                None => self.phases.kv(n),
                Some(ring) => self.phases.ring(n * ring, kept.rewind),
            }));
            if cache.format == KvFormat::F16 {
                self.phases.half(&site.to_string(), args[first], cache);
            }
        }
        args
    }

    /// The phase that writes queries, keys and values to attention's memory; gives the queries.
    pub(super) fn heads(
        &mut self,
        spec: &Heads,
        input: RowBuffer,
        cos_sin: Option<[Buffer; 2]>,
        norms: Vec<Arg>,
        kv: &[Arg],
        origin: &str,
    ) -> Buffer {
        let queries = self.words(self.max_rows * spec.heads * spec.padded());
        let mut args = vec![Arg::of(input.buffer)];
        args.extend(cos_sin.into_iter().flatten().map(Arg::of));
        args.extend(norms);
        args.push(Arg::of(queries));
        args.extend(kv);
        let kernel = self.phases.kernel(*spec);
        let doc = format!(
            "{origin}: q, k, v of {} + 2x{} heads of {}",
            spec.heads, spec.kv_heads, spec.head_dim
        );
        self.phases
            .phase(kernel, args, ItemCount::PerRow(spec.items_per_row()), doc);
        queries
    }

    /// The attention phase; its output is appended to `args`.
    pub(super) fn attend(
        &mut self,
        spec: Attention,
        mut args: Vec<Arg>,
        origin: &str,
    ) -> RowBuffer {
        let output = self.floats(self.max_rows, spec.stride);
        args.push(Arg::of(output.buffer));
        let kernel = self.phases.kernel(spec);
        let doc = format!("{origin} [rows, {}]", spec.heads * spec.head_dim);
        self.phases
            .phase(kernel, args, ItemCount::PerRow(spec.heads as u32), doc);
        output
    }

    fn rope_table(&mut self, rope: &Rope) -> [Buffer; 2] {
        let mut tables = self.rope_tables.iter();
        if let Some((_, buffers)) = tables.find(|(made, _)| made == rope) {
            return *buffers;
        }
        let half = rope.frequencies.len();
        let padded = half.next_multiple_of(vector::LANES);
        let buffers = [(); 2].map(|()| self.words(self.max_rows * padded));
        let kernel = self.phases.kernel(RopeTable {
            half,
            factor: rope.factor.into(),
            max_rows: self.max_rows,
        });
        let mut args = self.vectors([floats::frequencies(rope)]);
        args.extend(buffers.map(Arg::of));
        self.phases.phase(
            kernel,
            args,
            ItemCount::PerRow(1),
            format!("rotary table, {}", rope.words),
        );
        self.rope_tables.push((rope.clone(), buffers));
        buffers
    }
}
