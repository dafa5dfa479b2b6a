//! Projections into attention's memory: q, k and v rows are normed and rotated where the model says so, then written
//! to the query buffer and the key/value cache, heads zero-padded to whole vectors.

use super::cache::{Cache, CacheRegions};
use super::rows::RowTable;
use super::spec::Exact;
use super::vector::{LANES, for_chunks, inner_product};
use crate::choices::{KvFormat, QkNormOver};
use crate::functions::Math;
use crate::ir::build::{KernelBuilder, Region, Val};
use crate::ir::{Elem, Kernel, Ty};

/// What the kernel of cosines and sines depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RopeTable {
    /// Frequencies: half as many as columns of a head are rotated.
    pub half: usize,
    /// Cosines and sines are multiplied by it.
    pub factor: Exact,
    /// Rows of the buffers.
    pub max_rows: usize,
}

impl RopeTable {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let factor = match self.factor.get() {
            1.0 => String::new(),
            _ => format!("_times{}", self.factor.in_words()),
        };
        format!("rope_table_{}{factor}", self.half)
    }

    /// Cosines and sines of each row's position: f32 `[max_rows][padded half]` each; one item a row. Arguments: inverse
    /// frequencies, cosines, sines.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let padded = self.half.next_multiple_of(LANES);
        let doc = format!(
            "cos and sin of position * frequency, {} frequencies",
            self.half
        );
        KernelBuilder::build(&self.name(), &doc, self.max_rows as u32, |k| {
            let matrix = self.max_rows * padded;
            let frequencies = k.weights("frequencies", Elem::F32, padded);
            let rows = RowTable::declare(k, self.max_rows);
            let cosines = k.output("cosines", Elem::F32, matrix);
            let sines = k.output("sines", Elem::F32, matrix);
            let [sin, cos] = [Math::Sin, Math::Cos].map(Math::reference);
            let row = k.item();
            let position = rows.position(row).to_float().splat();
            let start = row * padded;
            for_chunks(k, padded / LANES, |column| {
                let angle = position * frequencies.lanes(column);
                let index = start + column;
                cosines.store(index, self.scaled(cos.call(&[angle])));
                sines.store(index, self.scaled(sin.call(&[angle])));
            });
        })
    }
}

impl RopeTable {
    fn scaled<'k>(&self, value: Val<'k>) -> Val<'k> {
        match self.factor.get() {
            1.0 => value,
            factor => value * factor,
        }
    }
}

/// What the writing kernel's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heads {
    /// Number of query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// How they are kept.
    pub kv: KvFormat,
    /// Whether only so many positions of them are; see [`Cache`].
    pub ring: Option<usize>,
    /// Real width of a head.
    pub head_dim: usize,
    /// First columns of q, k and v in the projection's rows.
    pub columns: [usize; 3],
    /// Elements between the projection's rows.
    pub stride: usize,
    /// Rows of the buffers.
    pub max_rows: usize,
    /// Pairs of columns of q and k that are rotated.
    pub rope: Option<usize>,
    /// RMS norm of q and k.
    pub qk_norm: Option<HeadNorm>,
}

/// RMS norm of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeadNorm {
    /// Added to the mean square.
    pub eps: Exact,
    /// What is normed, and when.
    pub over: QkNormOver,
}

struct Regions<'k> {
    x: Region<'k>,
    /// Cosines and sines.
    angles: Option<[Region<'k>; 2]>,
    /// Weights of the norms of queries and keys.
    norms: Option<[Region<'k>; 2]>,
    q: Region<'k>,
    k: CacheRegions<'k>,
    v: CacheRegions<'k>,
    head: Region<'k>,
    rows: RowTable<'k>,
}

/// Which of the three a head belongs to.
#[derive(Clone, Copy)]
enum Role {
    Query,
    Key,
    Value,
}

impl Heads {
    /// Width of a head in memory.
    #[must_use]
    pub fn padded(&self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }

    /// What keys look like in memory, and values.
    #[must_use]
    pub fn cache(&self) -> Cache {
        Cache {
            format: self.kv,
            heads: self.kv_heads,
            padded: self.padded(),
            ring: self.ring,
        }
    }

    /// Items per row.
    #[must_use]
    pub fn items_per_row(&self) -> u32 {
        (self.heads + 2 * self.kv_heads) as u32
    }

    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let rope = match self.rope {
            None => String::new(),
            Some(half) if 2 * half == self.head_dim => "_rope".to_owned(),
            Some(half) => format!("_rope{half}"),
        };
        let norm = self.qk_norm.map(|norm| {
            let over = match norm.over {
                QkNormOver::HeadBeforeRope => "",
                QkNormOver::HeadAfterRope => "_last",
                QkNormOver::AllHeads => "_all",
            };
            format!("_norm{}{over}", norm.eps.in_words())
        });
        let norm = norm.unwrap_or_default();
        let ring = self.ring.map(|n| format!("_ring{n}"));
        format!(
            "heads_{}_{}x{}_of_{}{rope}{norm}{}{}",
            self.heads,
            self.kv_heads,
            self.head_dim,
            self.stride,
            self.kv.suffix(),
            ring.unwrap_or_default()
        )
    }

    /// Writes the kernel; an item is a head of a row: queries, then keys, then values. Arguments: projection; \[cosines,
    /// sines\]; \[q norm, k norm\]; queries `[row][head][padded]`; keys, \[scales\], values, \[scales\], see [`Cache`].
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "q [{}], k and v [{}] heads of {} to attention's memory",
            self.heads, self.kv_heads, self.head_dim
        );
        let items = self.max_rows as u32 * self.items_per_row();
        KernelBuilder::build(&self.name(), &doc, items, |k| self.write(k))
    }

    fn write(&self, k: &KernelBuilder) {
        let r = &self.declare(k);
        let per_row = self.items_per_row() as usize;
        let (row, head) = (k.item() / per_row, k.item() % per_row);
        let (row, head) = (row.named("row"), head.named("head"));
        let is_query = head.lt(self.heads);
        let slot = r.rows.slot(row);
        let position = r.rows.position(row).bounded(k.context());
        let position = position.named("position");
        let query = || {
            let h = head.bounded(self.heads);
            self.head(k, r, Role::Query, row, h);
            let to = r.q.row(row * self.heads + h, self.padded());
            for_chunks(k, self.padded() / LANES, |at| {
                to.store(at, r.head.lanes(at));
            });
        };
        let key_or_value = || {
            let rest = (head - self.heads).max(0);
            let is_key = rest.lt(self.kv_heads);
            let h = rest % self.kv_heads;
            let cache = self.cache();
            let to = h * cache.positions(k) + cache.place(position);
            let store = |role, memory: CacheRegions<'_>| {
                self.head(k, r, role, row, h);
                memory.store(k, slot, to, r.head);
            };
            k.if_(is_key, || store(Role::Key, r.k), || store(Role::Value, r.v));
        };
        k.if_(is_query, query, key_or_value);
    }

    fn declare<'k>(&self, k: &'k KernelBuilder) -> Regions<'k> {
        let (rows, padded) = (self.max_rows, self.padded());
        let cache = self.cache();
        let angles = self.rope.map(|half| rows * half.next_multiple_of(LANES));
        let all = |heads: usize| match self.qk_norm.map(|norm| norm.over) {
            Some(QkNormOver::AllHeads) => heads * padded,
            _ => padded,
        };
        let norms = [("q_norm", self.heads), ("k_norm", self.kv_heads)];
        Regions {
            x: k.input("qkv", Elem::F32, rows * self.stride),
            angles: angles
                .map(|len| ["cosines", "sines"].map(|name| k.input(name, Elem::F32, len))),
            norms: self
                .qk_norm
                .map(|_| norms.map(|(name, heads)| k.weights(name, Elem::F32, all(heads)))),
            q: k.output("q", Elem::F32, rows * self.heads * padded),
            k: cache.declare(k, "k", true),
            v: cache.declare(k, "v", true),
            head: k.local("head", Elem::F32, padded),
            rows: RowTable::declare(k, rows),
        }
    }

    /// Head `h` of a part of the row into local memory, normed and rotated.
    fn head<'k>(
        &self,
        k: &'k KernelBuilder,
        r: &Regions<'k>,
        role: Role,
        row: Val<'k>,
        h: Val<'k>,
    ) {
        let part = r.x.row(row, self.stride).skip(self.columns[role as usize]);
        let from = part.skip(h * self.head_dim);
        each(k, self.head_dim, |at, ty| {
            r.head.store(at, from.load(ty, at));
        });
        if matches!(role, Role::Value) {
            return;
        }
        let norm = |when: QkNormOver| {
            let (Some(norms), Some(norm)) = (r.norms, self.qk_norm) else {
                return;
            };
            let weight = norms[role as usize];
            if norm.over == when {
                let (squares, values, weight) = match when {
                    QkNormOver::AllHeads => {
                        let columns = self.head_dim * self.heads_of(role);
                        let weight = weight.row(h, self.padded());
                        (sum_of_squares(k, part, columns), columns, weight)
                    }
                    QkNormOver::HeadBeforeRope | QkNormOver::HeadAfterRope => {
                        let squares = inner_product(k, r.head, r.head, self.padded());
                        (squares, self.head_dim, weight)
                    }
                };
                let mean = squares * (1.0 / values as f32);
                self.scale(k, r.head, mean + norm.eps.get(), weight);
            }
        };
        norm(QkNormOver::AllHeads);
        norm(QkNormOver::HeadBeforeRope);
        if let Some((angles, half)) = r.angles.zip(self.rope) {
            rotate(k, r.head, half, row, angles);
        }
        norm(QkNormOver::HeadAfterRope);
    }

    fn heads_of(&self, role: Role) -> usize {
        match role {
            Role::Query => self.heads,
            Role::Key | Role::Value => self.kv_heads,
        }
    }

    /// Divides the local head by the root of a mean square, and multiplies with the weight; its padding is zero.
    fn scale<'k>(&self, k: &'k KernelBuilder, head: Region<'k>, mean: Val<'k>, weight: Region<'k>) {
        let scale = (1.0 / mean.sqrt()).splat();
        for_chunks(k, self.padded() / LANES, |at| {
            head.store(at, head.lanes(at) * scale * weight.lanes(at));
        });
    }
}

/// Of `len` elements of a row: whole vectors where they fit, single elements where not.
fn sum_of_squares<'k>(k: &'k KernelBuilder, row: Region<'k>, len: usize) -> Val<'k> {
    if len.is_multiple_of(LANES) {
        return inner_product(k, row, row, len);
    }
    let sum = k.var("squares", 0.0);
    k.for_n(len, |at| {
        let value = row.get(at);
        sum.update(|sum| sum + value * value);
    });
    sum.get()
}

/// Rotate-half: `(a, b) -> (a cos - b sin, b cos + a sin)` of elements i and i + half.
fn rotate<'k>(
    k: &'k KernelBuilder,
    head: Region<'k>,
    half: usize,
    row: Val<'k>,
    angles: [Region<'k>; 2],
) {
    let angles = angles.map(|of| of.row(row, half.next_multiple_of(LANES)));
    each(k, half, |i, ty| {
        let [cos, sin] = angles.map(|of| of.load(ty, i));
        let [lower, upper] = [i, i + half];
        let [a, b] = [lower, upper].map(|at| head.load(ty, at));
        let rotated = [a * cos - b * sin, b * cos + a * sin];
        head.store(lower, rotated[0]);
        head.store(upper, rotated[1]);
    });
}

/// Calls `body(index, type)` over `len` elements: whole vectors where they fit, single elements where not.
fn each<'k>(k: &'k KernelBuilder, len: usize, body: impl FnOnce(Val<'k>, Ty)) {
    if len.is_multiple_of(LANES) {
        for_chunks(k, len / LANES, |at| body(at, Ty::F32x16));
    } else {
        k.for_n(len, |at| body(at, Ty::F32));
    }
}
