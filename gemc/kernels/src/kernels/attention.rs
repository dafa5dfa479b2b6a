//! Softmax attention of one head of one row over the positions it may see, all of them or those SCAR's mask allows.
//!
//! Positions are taken in fixed chunks of 256. Each chunk gives its maximum, its sum of exponentials and its weighted
//! values; chunks are merged in order. The result so depends on the row alone, not on how a step was cut.

mod loops;
mod output;

use super::cache::{Cache, CacheRegions};
use super::rows::RowTable;
use super::spec::Exact;
use super::vector::{LANES, for_chunks};
use crate::choices::KvFormat;
use crate::functions::Math;
use crate::ir::build::{Array, FunctionRef, KernelBuilder, Region, Val, Var};
use crate::ir::{Count, Elem, Kernel};
use loops::Positions;

/// Positions of a chunk.
pub const CHUNK: usize = 256;

/// Stands for minus infinity: its exponential beside any real score is 0.
const LOWEST: f32 = -1e30;

/// What an attention kernel's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attention {
    /// Number of query heads; a multiple of that of key heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// How they are kept.
    pub kv: KvFormat,
    /// Whether only so many positions of them are; see [`Cache`].
    pub ring: Option<usize>,
    /// Real width of a head.
    pub head_dim: usize,
    /// Elements between rows of the output.
    pub stride: usize,
    /// Rows of the buffers.
    pub max_rows: usize,
    /// What scores are multiplied by.
    pub scale: Exact,
    /// Whether rows see no later position, even where the step lets them.
    pub causal: bool,
    /// Positions at a distance below it are seen.
    pub window: Option<usize>,
    /// Scores s become `cap tanh(s / cap)`.
    pub softcap: Option<Exact>,
    /// Whether each head has a score without a value.
    pub sinks: bool,
    /// SCAR: whether positions carry a tag (flag or domain) and perhaps a cluster, and must share one to be seen.
    pub mask: Option<Mask>,
}

/// What decides visibility in SCAR attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mask {
    /// Whether positions have clusters.
    pub clusters: bool,
}

struct Regions<'k> {
    q: Region<'k>,
    k: CacheRegions<'k>,
    v: CacheRegions<'k>,
    /// What positions must share to be seen: tags, clusters.
    marks: Vec<Region<'k>>,
    /// Scores without values, one a head.
    sinks: Option<Region<'k>>,
    y: Region<'k>,
    rows: RowTable<'k>,
    scores: Region<'k>,
    /// Positions of a chunk that the mask lets through.
    seen: Option<Region<'k>>,
    /// Where the head's real columns are not whole vectors: the padded head.
    head: Option<Region<'k>>,
}

/// A kernel in the making: one head of one row.
struct Item<'k> {
    k: &'k KernelBuilder,
    spec: Attention,
    exp: FunctionRef,
    r: Regions<'k>,
    row: Val<'k>,
    head: Val<'k>,
    slot: Val<'k>,
    position: Val<'k>,
    /// The first of the head's rows in a slot.
    first: Val<'k>,
    /// Where its query begins.
    query: Val<'k>,
}

/// The row's running result.
struct Running<'k> {
    max: Var<'k>,
    sum: Var<'k>,
    values: Array<'k>,
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
        let window = self.window.map(|n| format!("_window{n}"));
        let ring = self.ring.map(|n| format!("_ring{n}"));
        let softcap = self.softcap.map(|cap| format!("_cap{}", cap.in_words()));
        let sinks = if self.sinks { "_sinks" } else { "" };
        let causal = if self.causal { "_causal" } else { "" };
        format!(
            "attention{mask}_{}_{}x{}{}{causal}{}{}{}{sinks}",
            self.heads,
            self.kv_heads,
            self.head_dim,
            self.kv.suffix(),
            window.unwrap_or_default(),
            ring.unwrap_or_default(),
            softcap.unwrap_or_default(),
        )
    }

    /// Writes the kernel; an item is a head of a row. Arguments: queries; keys, \[scales\]; values, \[scales\];
    /// \[tags; \[clusters\]\]; \[sinks\]; output.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "{} heads of {} over {} key/value heads",
            self.heads, self.head_dim, self.kv_heads
        );
        let items = (self.max_rows * self.heads) as u32;
        KernelBuilder::build(&self.name(), &doc, items, |k| self.write(k))
    }

    fn write(&self, k: &KernelBuilder) {
        let r = self.declare(k);
        let (row, head) = (k.item() / self.heads, k.item() % self.heads);
        let (row, head) = (row.named("row"), head.named("head"));
        let kv_head = (head / (self.heads / self.kv_heads)).named("kv_head");
        let context = k.context();
        let slot = r.rows.slot(row);
        let position = r.rows.position(row).bounded(context);
        let visible = r.rows.visible(row).bounded(context + 1);
        let visible = match self.causal {
            true => visible.min(position + 1),
            false => visible,
        };
        let visible = visible.named("visible");
        let item = Item {
            k,
            spec: *self,
            exp: Math::Exp.reference(),
            r,
            row,
            head,
            slot,
            position,
            first: kv_head * self.cache().positions(k),
            query: k.item() * self.padded(),
        };
        let zeros = k.splat(0.0);
        let (max, sum) = match item.r.sinks {
            // The sink's exponential beside itself.
            Some(sinks) => (k.var("max", sinks.get(head)), k.var("sum", 1.0)),
            None => (k.var("max", LOWEST), k.var("sum", 0.0)),
        };
        let running = Running {
            max,
            sum,
            values: k.array("out", &self.parts(), zeros),
        };
        let (from, to) = match self.window {
            None => (None, visible),
            Some(window) => {
                let from = (position - (window as i32 - 1)).max(0).named("from");
                let to = visible.min(position + window);
                (Some(from), to.named("to"))
            }
        };
        let chunks = (to + (CHUNK - 1)) / CHUNK;
        let first = from.map_or_else(|| k.lit(0), |from| from / CHUNK);
        k.for_(first, chunks, |chunk| {
            let base = chunk * CHUNK;
            let Some(from) = from else {
                let count = (to - base).max(0).min(CHUNK);
                return item.chunk(base, count, &running);
            };
            let (start, end) = (base.max(from), to.min(base + CHUNK));
            let count = (end - start).max(0).min(CHUNK);
            item.chunk(start, count, &running);
        });
        item.store(&running);
    }

    fn cache(&self) -> Cache {
        Cache {
            format: self.kv,
            heads: self.kv_heads,
            padded: self.padded(),
            ring: self.ring,
        }
    }

    /// Vectors of a head.
    fn parts(&self) -> Count {
        Count::named(self.padded() / LANES, "parts")
    }

    fn declare<'k>(&self, k: &'k KernelBuilder) -> Regions<'k> {
        let (rows, padded) = (self.max_rows, self.padded());
        let cache = self.cache();
        let marks = match self.mask {
            None => &[][..],
            Some(Mask { clusters: false }) => &["tags"],
            Some(Mask { clusters: true }) => &["tags", "clusters"],
        };
        let mark = |name: &&str| k.memory(name, Elem::I32, 1, false);
        let partial = !self.head_dim.is_multiple_of(LANES);
        Regions {
            q: k.input("query", Elem::F32, rows * self.heads * padded),
            k: cache.declare(k, "keys", false),
            v: cache.declare(k, "values", false),
            marks: marks.iter().map(mark).collect(),
            sinks: self
                .sinks
                .then(|| k.weights("sinks", Elem::F32, self.heads)),
            y: k.output("y", Elem::F32, rows * self.stride),
            rows: RowTable::declare(k, rows),
            scores: k.local("scores", Elem::F32, CHUNK),
            seen: self.mask.map(|_| k.local("seen", Elem::I32, CHUNK)),
            head: partial.then(|| k.local("head", Elem::F32, padded)),
        }
    }
}

impl<'k> Item<'k> {
    /// Attends to those of `count` positions from `base` on that the mask lets through.
    fn chunk(&self, base: Val<'k>, count: Val<'k>, running: &Running<'k>) {
        let Some(seen) = self.r.seen else {
            // A chunk does not cross the end of a ring, whose length is a multiple of chunks.
            let place = self.spec.cache().place(base);
            return self.attend(count, Positions::From(place), running);
        };
        let n = self.collect(seen, base, count);
        self.k.when(n.gt(0), || {
            self.attend(n, Positions::Listed(seen), running);
        });
    }

    /// Positions of the chunk that the mask lets through, ascending, into `seen`; gives their number.
    fn collect(&self, seen: Region<'k>, base: Val<'k>, count: Val<'k>) -> Val<'k> {
        let k = self.k;
        let n = k.var("n", 0);
        let marks = self.r.marks.iter().map(|mark| mark.of(self.slot));
        let marks: Vec<_> = marks.map(|mark| (mark, mark.get(self.position))).collect();
        k.for_n(count, |j| {
            let position = (base + j).bounded(k.context());
            let own = position.eq(self.position);
            let visible = marks.iter().fold(own, |visible, (mark, mine)| {
                visible | mark.get(position).eq(*mine)
            });
            k.when(visible, || {
                let at = n.get().bounded(CHUNK);
                seen.store(at, position);
                n.set(at + 1);
            });
        });
        n.get().min(CHUNK)
    }

    /// Attends to 1 to 256 positions and merges the result into `running`.
    fn attend(&self, count: Val<'k>, positions: Positions<'k>, running: &Running<'k>) {
        self.scores(count, positions);
        let (max, sum) = self.exponentials(count);
        let values = self.weighted(count, positions);
        self.k.comment("merge with the chunks before");
        // Online softmax: what was summed under the old maximum decays to the new one.
        let before = running.max.get();
        let largest = before.max(max);
        running.max.set(largest);
        let [old, new] = [before, max].map(|m| self.exp.call(&[(m - largest).splat()]));
        // Every lane is the same.
        let [one_old, one_new] = [old, new].map(Val::reduce_max);
        running.sum.update(|total| total * one_old + sum * one_new);
        self.k.repeat(&self.spec.parts(), "part", |part| {
            let value = values.get(part);
            running.values.update(part, |out| out * old + value * new);
        });
    }

    /// Scores of so many chunks, capped.
    fn cap(&self, chunks: Val<'k>, cap: f32) {
        let scores = self.r.scores;
        let tanh = Math::Tanh.reference();
        for_chunks(self.k, chunks, |at| {
            let share = tanh.call(&[scores.lanes(at) * (1.0 / cap)]);
            scores.store(at, share * cap);
        });
    }

    /// Scores to exponentials, zero behind the last; gives the largest score, and the sum by 16 partials and halves.
    fn exponentials(&self, count: Val<'k>) -> (Val<'k>, Val<'k>) {
        let (k, scores) = (self.k, self.r.scores);
        let chunks = (count + (LANES - 1)) / LANES;
        if let Some(cap) = self.spec.softcap {
            self.cap(chunks, cap.get());
        }
        k.for_(count, chunks * LANES, |j| scores.store(j, LOWEST));
        let max = k.var("chunk_max", k.splat(LOWEST));
        for_chunks(k, chunks, |at| {
            let score = scores.lanes(at);
            max.update(|max| max.max(score));
        });
        let max = max.get().reduce_max();
        let sum = k.var("chunk_sum", k.splat(0.0));
        let maxima = max.splat();
        for_chunks(k, chunks, |at| {
            let weight = self.exp.call(&[scores.lanes(at) - maxima]);
            scores.store(at, weight);
            sum.update(|sum| sum + weight);
        });
        (max, sum.get().reduce_add())
    }
}
