//! Projections into attention's memory: q, k and v rows are normed and rotated where the model says so, then written
//! to the query buffer and the key/value cache, heads zero-padded to whole vectors.

use super::cache::{Cache, CacheRegions};
use super::rows::RowTable;
use super::spec::Exact;
use super::vector::{LANES, for_chunks, inner_product};
use crate::choices::KvFormat;
use crate::functions::Math;
use crate::ir::build::{KernelBuilder, Region, Val};
use crate::ir::{Elem, Kernel, Ty};

/// What the kernel of cosines and sines depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RopeTable {
    /// Frequencies: half the width of a head.
    pub half: usize,
    /// Rows of the buffers.
    pub max_rows: usize,
}

impl RopeTable {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("rope_table_{}", self.half)
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
                cosines.store(index, cos.call(&[angle]));
                sines.store(index, sin.call(&[angle]));
            });
        })
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
    /// Real width of a head.
    pub head_dim: usize,
    /// First columns of q, k and v in the projection's rows.
    pub columns: [usize; 3],
    /// Elements between the projection's rows.
    pub stride: usize,
    /// Rows of the buffers.
    pub max_rows: usize,
    /// Whether q and k are rotated.
    pub rope: bool,
    /// RMS norm of q and k: eps.
    pub qk_norm: Option<Exact>,
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
        let rope = if self.rope { "_rope" } else { "" };
        let norm = self
            .qk_norm
            .map(|eps| format!("_norm{}", eps.in_words()))
            .unwrap_or_default();
        format!(
            "heads_{}_{}x{}_of_{}{rope}{norm}{}",
            self.heads,
            self.kv_heads,
            self.head_dim,
            self.stride,
            self.kv.suffix()
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
            let to = h * k.context() + position;
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
        let half = (self.head_dim / 2).next_multiple_of(LANES);
        let cache = self.cache();
        Regions {
            x: k.input("qkv", Elem::F32, rows * self.stride),
            angles: self
                .rope
                .then(|| ["cosines", "sines"].map(|name| k.input(name, Elem::F32, rows * half))),
            norms: self
                .qk_norm
                .map(|_| ["q_norm", "k_norm"].map(|name| k.weights(name, Elem::F32, padded))),
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
        if let (Some(norms), Some(eps)) = (r.norms, self.qk_norm) {
            self.norm(k, r.head, norms[role as usize], eps);
        }
        if let Some(angles) = r.angles {
            self.rotate(k, r.head, row, angles);
        }
    }

    /// RMS norm of the local head; its padding is zero.
    fn norm<'k>(&self, k: &'k KernelBuilder, head: Region<'k>, weight: Region<'k>, eps: Exact) {
        let squares = inner_product(k, head, head, self.padded());
        let mean = squares * (1.0 / self.head_dim as f32);
        let scale = (1.0 / (mean + eps.get()).sqrt()).splat();
        for_chunks(k, self.padded() / LANES, |at| {
            head.store(at, head.lanes(at) * scale * weight.lanes(at));
        });
    }

    /// Rotate-half: `(a, b) -> (a cos - b sin, b cos + a sin)` of elements i and i + half.
    fn rotate<'k>(
        &self,
        k: &'k KernelBuilder,
        head: Region<'k>,
        row: Val<'k>,
        angles: [Region<'k>; 2],
    ) {
        let half = self.head_dim / 2;
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
}

/// Calls `body(index, type)` over `len` elements: whole vectors where they fit, single elements where not.
fn each<'k>(k: &'k KernelBuilder, len: usize, body: impl FnOnce(Val<'k>, Ty)) {
    if len.is_multiple_of(LANES) {
        for_chunks(k, len / LANES, |at| body(at, Ty::F32x16));
    } else {
        k.for_n(len, |at| body(at, Ty::F32));
    }
}
