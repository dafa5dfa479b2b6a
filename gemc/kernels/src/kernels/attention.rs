//! Softmax attention of one head of one row over the positions it may see, all of them or those SCAR's mask allows.
//!
//! Positions are taken in fixed chunks of 256. Each chunk gives its maximum, its sum of exponentials and its weighted
//! values; chunks are merged in order. The result so depends on the row alone, not on how a step was cut.

mod loops;
mod output;

use super::cache::{Cache, CacheRegions};
use super::vector::LANES;
use crate::choices::KvFormat;
use crate::functions::Math;
use crate::ir::build::FunctionRef;
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::{Field, RowTable, affine, chunk_index};
use crate::ir::{Cmp, Elem, Extent, Kernel, ParamId, Space, Ty, ValueId, VarId};
use loops::Positions;

/// Positions of a chunk.
pub const CHUNK: usize = 256;

/// Stands for minus infinity: its exponential beside any real score is 0.
const LOWEST: f32 = -1e30;

/// What an attention kernel's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// How they are kept.
    pub kv: KvFormat,
    /// Real width of a head.
    pub head_dim: usize,
    /// Elements between rows of the output.
    pub stride: usize,
    /// Rows of the buffers.
    pub max_rows: usize,
    /// SCAR: whether positions carry a tag (flag or domain) and perhaps a cluster, and must share one to be seen.
    pub mask: Option<Mask>,
}

/// What decides visibility in SCAR attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mask {
    /// Whether positions have clusters.
    pub clusters: bool,
}

struct Regions {
    q: ParamId,
    k: CacheRegions,
    v: CacheRegions,
    rows: RowTable,
    tags: Option<ParamId>,
    clusters: Option<ParamId>,
    y: ParamId,
    scores: ParamId,
    visible: Option<ParamId>,
    head: Option<ParamId>,
}

/// Positions that are attended to together.
#[derive(Clone, Copy)]
struct Span {
    base: ValueId,
    count: ValueId,
}

/// The row's running result.
struct Running {
    max: VarId,
    sum: VarId,
    values: Vec<VarId>,
}

/// One item's values.
struct Item {
    slot: ValueId,
    position: ValueId,
    first: ValueId,
    query: ValueId,
}

impl Attention {
    fn padded(&self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }

    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let mask = match self.mask {
            None => "",
            Some(Mask { clusters: false }) => "_tags",
            Some(Mask { clusters: true }) => "_tags_clusters",
        };
        format!(
            "attention{mask}_{}_{}x{}{}",
            self.heads,
            self.kv_heads,
            self.head_dim,
            self.kv.suffix()
        )
    }

    /// Writes the kernel; an item is a head of a row. Arguments: queries; keys, [scales]; values, [scales];
    /// [tags; [clusters]]; output.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let exp = &Math::Exp.reference();
        let doc = format!(
            "{} heads of {} over {} key/value heads",
            self.heads, self.head_dim, self.kv_heads
        );
        let mut b = KernelBuilder::new(&self.name(), &doc, (self.max_rows * self.heads) as u32);
        let r = self.declare(&mut b);
        let item = b.item();
        let heads = b.i32(self.heads as i32);
        let row = b.div(item, heads);
        let head = b.rem(item, heads);
        let group = b.i32((self.heads / self.kv_heads) as i32);
        let kv_head = b.div(head, group);
        let context = b.context();
        let slot = r.rows.load(&mut b, row, Field::Slot);
        let position = r.rows.load(&mut b, row, Field::Position);
        let position = b.bounded(position, context);
        let visible = r.rows.load(&mut b, row, Field::Visible);
        let limit = affine(&mut b, context, 1, 1);
        let visible = b.bounded(visible, limit);
        b.name(visible, "visible");
        let first = b.mul(kv_head, context);
        let query = affine(&mut b, item, self.padded(), 0);
        let u = Item {
            slot,
            position,
            first,
            query,
        };

        let zero = b.f32(0.0);
        let lowest = b.f32(LOWEST);
        let zeros = b.splat(zero);
        let running = Running {
            max: b.named_var("max", lowest),
            sum: b.named_var("sum", zero),
            values: (0..self.padded() / LANES)
                .map(|_| b.named_var("out", zeros))
                .collect(),
        };
        let round = affine(&mut b, visible, 1, CHUNK - 1);
        let chunk_size = b.i32(CHUNK as i32);
        let chunks = b.div(round, chunk_size);
        let start = b.i32(0);
        b.for_(start, chunks, |b, chunk| {
            let base = b.mul(chunk, chunk_size);
            let rest = b.sub(visible, base);
            let none = b.i32(0);
            let rest = b.max(rest, none);
            let count = b.min(rest, chunk_size);
            let span = Span { base, count };
            self.chunk(b, &r, &u, exp, span, &running);
        });
        self.store(&mut b, &r, row, head, &running);
        b.finish()
    }

    fn declare(&self, b: &mut KernelBuilder) -> Regions {
        let padded = self.padded();
        let fixed = |n: usize| Extent::fixed(n as i64);
        let q = b.region(
            "q",
            Space::Arena,
            Elem::F32,
            fixed(self.max_rows * self.heads * padded),
            false,
        );
        let cache = Cache {
            format: self.kv,
            heads: self.kv_heads,
            padded,
        };
        let k = cache.declare(b, "k", false);
        let v = cache.declare(b, "v", false);
        let per_position = Extent::per_context(1);
        let tags = self
            .mask
            .map(|_| b.region("tags", Space::Kv, Elem::I32, per_position, false));
        let clusters = self
            .mask
            .is_some_and(|m| m.clusters)
            .then(|| b.region("clusters", Space::Kv, Elem::I32, per_position, false));
        let y = b.region(
            "y",
            Space::Arena,
            Elem::F32,
            fixed(self.max_rows * self.stride),
            true,
        );
        let rows = RowTable::declare(b, self.max_rows);
        let scores = b.local("scores", Elem::F32, CHUNK as i64);
        let visible = self.mask.map(|_| b.local("seen", Elem::I32, CHUNK as i64));
        let head = (!self.head_dim.is_multiple_of(LANES))
            .then(|| b.local("head", Elem::F32, padded as i64));
        Regions {
            q,
            k,
            v,
            rows,
            tags,
            clusters,
            y,
            scores,
            visible,
            head,
        }
    }

    fn chunk(
        &self,
        b: &mut KernelBuilder,
        r: &Regions,
        u: &Item,
        exp: &FunctionRef,
        span: Span,
        running: &Running,
    ) {
        let Span { base, count } = span;
        let Some(seen) = r.visible else {
            self.attend(b, r, u, exp, (count, Positions::From(base)), running);
            return;
        };
        let n = self.collect(b, r, u, seen, span);
        let zero = b.i32(0);
        let any = b.cmp(Cmp::Gt, n, zero);
        b.if_(
            any,
            |b| self.attend(b, r, u, exp, (n, Positions::Listed(seen)), running),
            |_| {},
        );
    }

    /// Positions of the chunk that the mask lets through, ascending, into `seen`; gives their number.
    fn collect(
        &self,
        b: &mut KernelBuilder,
        r: &Regions,
        u: &Item,
        seen: ParamId,
        span: Span,
    ) -> ValueId {
        let Span { base, count } = span;
        let zero = b.i32(0);
        let n = b.named_var("n", zero);
        let own: Vec<(ParamId, ValueId)> = [r.tags, r.clusters]
            .into_iter()
            .flatten()
            .map(|region| (region, b.load_kv(Ty::I32, region, u.slot, u.position)))
            .collect();
        b.for_(zero, count, |b, j| {
            let position = b.add(base, j);
            let context = b.context();
            let position = b.bounded(position, context);
            let mut visible = b.cmp(Cmp::Eq, position, u.position);
            for &(region, mine) in &own {
                let theirs = b.load_kv(Ty::I32, region, u.slot, position);
                let same = b.cmp(Cmp::Eq, theirs, mine);
                visible = b.or(visible, same);
            }
            b.if_(
                visible,
                |b| {
                    let at = b.get(n);
                    let chunk = b.i32(CHUNK as i32);
                    let at = b.bounded(at, chunk);
                    b.store(seen, at, position);
                    let next = affine(b, at, 1, 1);
                    b.set(n, next);
                },
                |_| {},
            );
        });
        let n = b.get(n);
        let chunk = b.i32(CHUNK as i32);
        b.min(n, chunk)
    }

    /// Attends to 1 to 256 positions and merges the result into `running`.
    fn attend(
        &self,
        b: &mut KernelBuilder,
        r: &Regions,
        u: &Item,
        exp: &FunctionRef,
        (count, positions): (ValueId, Positions),
        running: &Running,
    ) {
        self.scores(b, r, u, count, positions);
        let (max, sum) = self.exponentials(b, r, exp, count);
        let values = self.weighted(b, r, u, count, positions);
        b.comment("merge with the chunks before");
        let before = b.get(running.max);
        let larger = b.max(before, max);
        b.set(running.max, larger);
        let decay = |b: &mut KernelBuilder, value: ValueId| {
            let difference = b.sub(value, larger);
            let difference = b.splat(difference);
            b.call_fn(exp, &[difference])
        };
        let old = decay(b, before);
        let new = decay(b, max);
        let first = |b: &mut KernelBuilder, lanes: ValueId| {
            // Every lane is the same; the largest is the one.
            b.reduce_max(lanes)
        };
        let old_scalar = first(b, old);
        let new_scalar = first(b, new);
        let total = b.get(running.sum);
        let total = b.mul(total, old_scalar);
        let part = b.mul(sum, new_scalar);
        let total = b.add(total, part);
        b.set(running.sum, total);
        for (&out, value) in running.values.iter().zip(values) {
            let before = b.get(out);
            let kept = b.mul(before, old);
            let added = b.mul(value, new);
            let after = b.add(kept, added);
            b.set(out, after);
        }
    }

    /// Scores to exponentials, zero behind the last; gives the largest score, and the sum by 16 partials and halves.
    fn exponentials(
        &self,
        b: &mut KernelBuilder,
        r: &Regions,
        exp: &FunctionRef,
        count: ValueId,
    ) -> (ValueId, ValueId) {
        let round = affine(b, count, 1, LANES - 1);
        let lanes = b.i32(LANES as i32);
        let chunks = b.div(round, lanes);
        let padded = b.mul(chunks, lanes);
        let lowest = b.f32(LOWEST);
        b.for_(count, padded, |b, j| b.store(r.scores, j, lowest));
        let lowest = b.splat(lowest);
        let max = b.named_var("chunk_max", lowest);
        let start = b.i32(0);
        b.for_(start, chunks, |b, chunk| {
            let none = b.i32(0);
            let index = chunk_index(b, none, chunk);
            let score = b.load(Ty::F32x16, r.scores, index);
            let before = b.get(max);
            let larger = b.max(before, score);
            b.set(max, larger);
        });
        let max = b.get(max);
        let max = b.reduce_max(max);
        let zero = b.f32(0.0);
        let zero = b.splat(zero);
        let sum = b.named_var("chunk_sum", zero);
        let maxima = b.splat(max);
        b.for_(start, chunks, |b, chunk| {
            let none = b.i32(0);
            let index = chunk_index(b, none, chunk);
            let score = b.load(Ty::F32x16, r.scores, index);
            let difference = b.sub(score, maxima);
            let weight = b.call_fn(exp, &[difference]);
            b.store(r.scores, index, weight);
            let before = b.get(sum);
            let after = b.add(before, weight);
            b.set(sum, after);
        });
        let sum = b.get(sum);
        (max, b.reduce_add(sum))
    }
}
