//! Projections into attention's memory: q, k and v rows are normed and rotated where the model says so, then written
//! to the query buffer and the key/value cache, heads zero-padded to whole vectors.

use super::cache::{Cache, CacheRegions};
use super::spec::Exact;
use super::vector::LANES;
use crate::choices::KvFormat;
use crate::functions::Math;
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::{Field, RowTable, affine, chunk_index, inner_product};
use crate::ir::{Elem, Extent, Kernel, ParamId, Space, Ty, ValueId};

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
        let mut b = KernelBuilder::new(&self.name(), &doc, self.max_rows as u32);
        let matrix = Extent::fixed((self.max_rows * padded) as i64);
        let frequencies = b.region(
            "frequencies",
            Space::Weights,
            Elem::F32,
            Extent::fixed(padded as i64),
            false,
        );
        let rows = RowTable::declare(&mut b, self.max_rows);
        let cosines = b.region("cosines", Space::Arena, Elem::F32, matrix, true);
        let sines = b.region("sines", Space::Arena, Elem::F32, matrix, true);
        let [sin, cos] = [Math::Sin, Math::Cos].map(Math::reference);
        let row = b.item();
        let position = rows.load(&mut b, row, Field::Position);
        let position = b.to_float(position);
        let position = b.splat(position);
        let start = affine(&mut b, row, padded, 0);
        b.for_n((padded / LANES) as i32, |b, chunk| {
            let zero = b.i32(0);
            let column = chunk_index(b, zero, chunk);
            let frequency = b.load(Ty::F32x16, frequencies, column);
            let angle = b.mul(position, frequency);
            let index = b.add(start, column);
            let c = b.call_fn(&cos, &[angle]);
            b.store(cosines, index, c);
            let s = b.call_fn(&sin, &[angle]);
            b.store(sines, index, s);
        });
        b.finish()
    }
}

/// What the writing kernel's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heads {
    /// Query heads.
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

struct Regions {
    x: ParamId,
    cos_sin: Option<(ParamId, ParamId)>,
    norms: Option<(ParamId, ParamId)>,
    q: ParamId,
    k: CacheRegions,
    v: CacheRegions,
    head: ParamId,
}

/// Which of the three a head belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
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
            .map(|eps| format!("_norm{:08x}", eps.bits()))
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

    /// Writes the kernel; an item is a head of a row: queries, then keys, then values. Arguments: projection; [cosines,
    /// sines]; [q norm, k norm]; queries `[row][head][padded]`; keys, [scales], values, [scales], see [`Cache`].
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "q [{}], k and v [{}] heads of {} to attention's memory",
            self.heads, self.kv_heads, self.head_dim
        );
        let items = self.max_rows as u32 * self.items_per_row();
        let mut b = KernelBuilder::new(&self.name(), &doc, items);
        let regions = self.declare(&mut b);
        let rows = RowTable::declare(&mut b, self.max_rows);
        let item = b.item();
        let per_row = b.i32(self.items_per_row() as i32);
        let row = b.div(item, per_row);
        let head = b.rem(item, per_row);
        let heads = b.i32(self.heads as i32);
        let is_query = b.cmp(crate::ir::Cmp::Lt, head, heads);
        let slot = rows.load(&mut b, row, Field::Slot);
        let position = rows.load(&mut b, row, Field::Position);
        let context = b.context();
        let position = b.bounded(position, context);
        b.name(position, "position");
        b.if_(
            is_query,
            |b| {
                let limit = b.i32(self.heads as i32);
                let h = b.bounded(head, limit);
                let start = affine(b, row, self.stride, self.columns[0]);
                self.head(b, &regions, Role::Query, row, h, start);
                let per_row = affine(b, row, self.heads, 0);
                let at = b.add(per_row, h);
                let to = affine(b, at, self.padded(), 0);
                self.copy(b, &regions, |b, index, value| {
                    let index = b.add(to, index);
                    b.store(regions.q, index, value);
                });
            },
            |b| {
                let rest = b.sub(head, heads);
                let zero = b.i32(0);
                let rest = b.max(rest, zero);
                let kv_heads = b.i32(self.kv_heads as i32);
                let is_key = b.cmp(crate::ir::Cmp::Lt, rest, kv_heads);
                let h = b.rem(rest, kv_heads);
                let context = b.context();
                let first = b.mul(h, context);
                let at = b.add(first, position);
                b.if_(
                    is_key,
                    |b| {
                        let start = affine(b, row, self.stride, self.columns[1]);
                        self.head(b, &regions, Role::Key, row, h, start);
                        regions.k.store(b, slot, at, regions.head, self.padded());
                    },
                    |b| {
                        let start = affine(b, row, self.stride, self.columns[2]);
                        self.head(b, &regions, Role::Value, row, h, start);
                        regions.v.store(b, slot, at, regions.head, self.padded());
                    },
                );
            },
        );
        b.finish()
    }

    fn declare(&self, b: &mut KernelBuilder) -> Regions {
        let padded = self.padded();
        let half = (self.head_dim / 2).next_multiple_of(LANES);
        let arena = |b: &mut KernelBuilder, name: &str, len: usize, mutable| {
            b.region(
                name,
                Space::Arena,
                Elem::F32,
                Extent::fixed(len as i64),
                mutable,
            )
        };
        let x = arena(b, "qkv", self.max_rows * self.stride, false);
        let cos_sin = self.rope.then(|| {
            (
                arena(b, "cosines", self.max_rows * half, false),
                arena(b, "sines", self.max_rows * half, false),
            )
        });
        let norms = self.qk_norm.map(|_| {
            let len = Extent::fixed(padded as i64);
            (
                b.region("q_norm", Space::Weights, Elem::F32, len, false),
                b.region("k_norm", Space::Weights, Elem::F32, len, false),
            )
        });
        let q = arena(b, "q", self.max_rows * self.heads * padded, true);
        let cache = self.cache();
        let k = cache.declare(b, "k", true);
        let v = cache.declare(b, "v", true);
        let head = b.local("head", Elem::F32, padded as i64);
        Regions {
            x,
            cos_sin,
            norms,
            q,
            k,
            v,
            head,
        }
    }

    /// Head `h` of the row's part at `start` into local memory, normed and rotated.
    fn head(
        &self,
        b: &mut KernelBuilder,
        r: &Regions,
        role: Role,
        row: ValueId,
        h: ValueId,
        start: ValueId,
    ) {
        let offset = affine(b, h, self.head_dim, 0);
        let from = b.add(start, offset);
        self.each(b, self.head_dim, |b, index, ty| {
            let source = b.add(from, index);
            let value = b.load(ty, r.x, source);
            b.store(r.head, index, value);
        });
        if role == Role::Value {
            return;
        }
        if let (Some((q_norm, k_norm)), Some(eps)) = (r.norms, self.qk_norm) {
            self.norm(b, r, if role == Role::Query { q_norm } else { k_norm }, eps);
        }
        if let Some((cosines, sines)) = r.cos_sin {
            self.rotate(b, r, row, cosines, sines);
        }
    }

    /// Calls `body(index, type)` over `len` elements: whole vectors where they fit, single elements where not.
    fn each(
        &self,
        b: &mut KernelBuilder,
        len: usize,
        body: impl Fn(&mut KernelBuilder, ValueId, Ty),
    ) {
        if len.is_multiple_of(LANES) {
            b.for_n((len / LANES) as i32, |b, chunk| {
                let index = affine(b, chunk, LANES, 0);
                body(b, index, Ty::F32x16);
            });
        } else {
            b.for_n(len as i32, |b, index| body(b, index, Ty::F32));
        }
    }

    /// RMS norm of the local head; its padding is zero.
    fn norm(&self, b: &mut KernelBuilder, r: &Regions, weight: ParamId, eps: Exact) {
        let zero = b.i32(0);
        let squares = inner_product(b, (r.head, zero), (r.head, zero), self.padded());
        let share = b.f32(1.0 / self.head_dim as f32);
        let mean = b.mul(squares, share);
        let eps = b.f32(eps.get());
        let sum = b.add(mean, eps);
        let root = b.sqrt(sum);
        let one = b.f32(1.0);
        let scale = b.div(one, root);
        let scale = b.splat(scale);
        b.for_n((self.padded() / LANES) as i32, |b, chunk| {
            let index = affine(b, chunk, LANES, 0);
            let value = b.load(Ty::F32x16, r.head, index);
            let value = b.mul(value, scale);
            let w = b.load(Ty::F32x16, weight, index);
            let value = b.mul(value, w);
            b.store(r.head, index, value);
        });
    }

    /// Rotate-half: `(a, b) -> (a cos - b sin, b cos + a sin)` of elements i and i + half.
    fn rotate(
        &self,
        b: &mut KernelBuilder,
        r: &Regions,
        row: ValueId,
        cosines: ParamId,
        sines: ParamId,
    ) {
        let half = self.head_dim / 2;
        let start = affine(b, row, half.next_multiple_of(LANES), 0);
        self.each(b, half, |b, index, ty| {
            let at = b.add(start, index);
            let c = b.load(ty, cosines, at);
            let s = b.load(ty, sines, at);
            let upper = affine(b, index, 1, half);
            let x = b.load(ty, r.head, index);
            let y = b.load(ty, r.head, upper);
            let xc = b.mul(x, c);
            let ys = b.mul(y, s);
            let first = b.sub(xc, ys);
            let yc = b.mul(y, c);
            let xs = b.mul(x, s);
            let second = b.add(yc, xs);
            b.store(r.head, index, first);
            b.store(r.head, upper, second);
        });
    }

    /// The local head, padding included, through `store(index, value)`.
    fn copy(
        &self,
        b: &mut KernelBuilder,
        r: &Regions,
        store: impl Fn(&mut KernelBuilder, ValueId, ValueId),
    ) {
        b.for_n((self.padded() / LANES) as i32, |b, chunk| {
            let index = affine(b, chunk, LANES, 0);
            let value = b.load(Ty::F32x16, r.head, index);
            store(b, index, value);
        });
    }
}
