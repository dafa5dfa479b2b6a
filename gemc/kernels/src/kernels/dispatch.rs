//! From routing decisions to work lists: which rows each module gets, which modules are active, how many items the
//! module phases have; and the phase kernel that calls the modules.

use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::{Field, RowTable, affine};
use crate::ir::{Cmp, Elem, Extent, Kernel, ParamId, Space, Ty, ValueId};

/// What the dispatch kernel's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dispatch {
    /// Modules D.
    pub modules: usize,
    /// Choices per row, K.
    pub top_k: usize,
    /// Rows of the buffers.
    pub max_rows: usize,
}

struct Regions {
    fired: ParamId,
    lists: ParamId,
    counts: ParamId,
    active: ParamId,
    idle: ParamId,
    idle_count: ParamId,
}

impl Dispatch {
    /// Elements between the lists of two modules: lists start at argument units.
    #[must_use]
    pub fn list_stride(&self) -> usize {
        (self.max_rows).next_multiple_of(16)
    }

    /// Elements between the counts of two modules: each at its own argument unit.
    pub const COUNT_STRIDE: usize = 16;

    /// Elements of the list of active modules, their number first.
    #[must_use]
    pub fn active_len(&self) -> usize {
        self.modules + 1
    }

    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("dispatch_{}of{}", self.top_k, self.modules)
    }

    /// Writes the kernel; one item in all. Arguments: fired; lists `[module][stride]` of entries `row * K + slot`;
    /// counts `[module][16]`; active (their number, then modules ascending); rows where nothing fired; their number.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "row lists of {} modules from the top {} of each row",
            self.modules, self.top_k
        );
        let mut b = KernelBuilder::new(&self.name(), &doc, 1);
        let r = self.declare(&mut b);
        let zero = b.i32(0);
        let one = b.i32(1);
        let rows = b.row_count();
        b.for_n(self.modules as i32, |b, m| {
            let index = affine(b, m, Self::COUNT_STRIDE, 0);
            b.store(r.counts, index, zero);
        });
        b.store(r.idle_count, zero, zero);
        b.for_(zero, rows, |b, row| {
            let first = affine(b, row, self.top_k, 0);
            b.for_n(self.top_k as i32, |b, slot| {
                let entry = b.add(first, slot);
                let module = b.load(Ty::I32, r.fired, entry);
                let fires = b.cmp(Cmp::Ge, module, zero);
                b.if_(fires, |b| self.append(b, &r, module, entry), |_| {});
            });
            let module = b.load(Ty::I32, r.fired, first);
            let idle = b.cmp(Cmp::Lt, module, zero);
            b.if_(
                idle,
                |b| {
                    let n = b.load(Ty::I32, r.idle_count, zero);
                    let limit = b.i32(self.max_rows as i32);
                    let n = b.bounded(n, limit);
                    b.store(r.idle, n, row);
                    let next = b.add(n, one);
                    b.store(r.idle_count, zero, next);
                },
                |_| {},
            );
        });
        self.list_active(&mut b, &r);
        b.finish()
    }

    fn declare(&self, b: &mut KernelBuilder) -> Regions {
        let mut arena = |name: &str, len: usize, mutable| {
            b.region(
                name,
                Space::Arena,
                Elem::I32,
                Extent::fixed(len as i64),
                mutable,
            )
        };
        Regions {
            fired: arena("fired", self.max_rows * self.top_k, false),
            lists: arena("lists", self.modules * self.list_stride(), true),
            counts: arena("counts", self.modules * Self::COUNT_STRIDE, true),
            active: arena("active", self.active_len(), true),
            idle: arena("idle", self.max_rows, true),
            idle_count: arena("idle_count", 1, true),
        }
    }

    fn append(&self, b: &mut KernelBuilder, r: &Regions, module: ValueId, entry: ValueId) {
        let one = b.i32(1);
        let modules = b.i32(self.modules as i32);
        let module = b.bounded(module, modules);
        let count_index = affine(b, module, Self::COUNT_STRIDE, 0);
        let n = b.load(Ty::I32, r.counts, count_index);
        let limit = b.i32(self.max_rows as i32);
        let n = b.bounded(n, limit);
        let list = affine(b, module, self.list_stride(), 0);
        let index = b.add(list, n);
        b.store(r.lists, index, entry);
        let next = b.add(n, one);
        b.store(r.counts, count_index, next);
    }

    fn list_active(&self, b: &mut KernelBuilder, r: &Regions) {
        let zero = b.i32(0);
        let active = b.named_var("active", zero);
        b.for_n(self.modules as i32, |b, m| {
            let index = affine(b, m, Self::COUNT_STRIDE, 0);
            let n = b.load(Ty::I32, r.counts, index);
            let any = b.cmp(Cmp::Gt, n, zero);
            b.if_(
                any,
                |b| {
                    let a = b.get(active);
                    let modules = b.i32(self.modules as i32);
                    let a = b.bounded(a, modules);
                    let at = affine(b, a, 1, 1);
                    b.store(r.active, at, m);
                    b.set(active, at);
                },
                |_| {},
            );
        });
        let n = b.get(active);
        b.store(r.active, zero, n);
    }
}

/// What the kernel that counts items depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CountItems {
    /// Items of one.
    pub each: u32,
}

impl CountItems {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("items_times_{}", self.each)
    }

    /// Writes the number of items of a phase: active modules (or 1 where any row is idle) times items each; one item.
    /// Arguments: counter; number of items.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let each = self.each;
        let doc = format!("items = min(counter, limit) * {each}");
        let mut b = KernelBuilder::new(&self.name(), &doc, 1);
        let counter = b.region("counter", Space::Arena, Elem::I32, Extent::fixed(1), false);
        let items = b.region("items", Space::Arena, Elem::I32, Extent::fixed(1), true);
        let limit = b.scalar("limit", 1 << 16);
        let zero = b.i32(0);
        let n = b.load(Ty::I32, counter, zero);
        let n = b.min(n, limit);
        let each = b.i32(each as i32);
        let total = b.mul(n, each);
        b.store(items, zero, total);
        b.finish()
    }
}

/// What the kernel that calls modules depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallModules {
    /// Modules D.
    pub modules: usize,
    /// Items of one.
    pub each: u32,
}

impl CallModules {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("call_modules_{}x{}", self.modules, self.each)
    }

    /// Calls active modules: item u is item `u % each` of active module `u / each`. Arguments: active list; call table.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let Self { modules, each } = *self;
        let doc = format!("item u: item u % {each} of active module u / {each}, of {modules}");
        let mut b = KernelBuilder::new(&self.name(), &doc, modules as u32 * each);
        let active = b.region(
            "active",
            Space::Arena,
            Elem::I32,
            Extent::fixed(modules as i64 + 1),
            false,
        );
        let table = b.table("modules", modules as u32);
        let item = b.item();
        let each = b.i32(each as i32);
        let which = b.div(item, each);
        let begin = b.rem(item, each);
        let index = affine(&mut b, which, 1, 1);
        let module = b.load(Ty::I32, active, index);
        let limit = b.i32(modules as i32);
        let module = b.bounded(module, limit);
        let end = affine(&mut b, begin, 1, 1);
        b.call_table(table, module, begin, end);
        b.finish()
    }
}

/// What the kernel of SCAR's tags depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tags {
    /// Modules D.
    pub modules: usize,
    /// Whether the tag is only whether anything fired.
    pub by_flag: bool,
    /// Whether positions have clusters.
    pub clusters: bool,
    /// Rows of the buffers.
    pub max_rows: usize,
}

impl Tags {
    const fn kind(&self) -> &'static str {
        if self.by_flag { "flag" } else { "domain" }
    }

    const fn suffix(&self) -> &'static str {
        if self.clusters { "_and_cluster" } else { "" }
    }

    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("scar_tags_{}{}{}", self.kind(), self.modules, self.suffix())
    }

    /// SCAR's memory of each row's position: tag and cluster. The tag is the domain, or whether anything fired (1) where
    /// `by_flag`. One item a row. Arguments: domain; [clusters]; tags; [cluster ids].
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let Self {
            modules,
            by_flag,
            clusters,
            max_rows,
        } = *self;
        let kind = self.kind();
        let suffix = self.suffix();
        let mut b = KernelBuilder::new(
            &self.name(),
            &format!("{kind}{suffix} of each row to SCAR's memory"),
            max_rows as u32,
        );
        let rows_len = Extent::fixed(max_rows as i64);
        let cache = Extent::per_context(1);
        let domain = b.region("domain", Space::Arena, Elem::I32, rows_len, false);
        let ids = clusters.then(|| b.region("clusters", Space::Arena, Elem::I32, rows_len, false));
        let tags = b.region("tags", Space::Kv, Elem::I32, cache, true);
        let cache_ids =
            clusters.then(|| b.region("cluster_ids", Space::Kv, Elem::I32, cache, true));
        let rows = RowTable::declare(&mut b, max_rows);
        let row = b.item();
        let slot = rows.load(&mut b, row, Field::Slot);
        let position = rows.load(&mut b, row, Field::Position);
        let context = b.context();
        let position = b.bounded(position, context);
        let own = b.load(Ty::I32, domain, row);
        let tag = if by_flag {
            let none = b.i32(modules as i32);
            let fired = b.cmp(Cmp::Ne, own, none);
            let one = b.i32(1);
            let zero = b.i32(0);
            b.select(fired, one, zero)
        } else {
            own
        };
        b.store_kv(tags, slot, position, tag);
        if let (Some(ids), Some(cache_ids)) = (ids, cache_ids) {
            let id = b.load(Ty::I32, ids, row);
            b.store_kv(cache_ids, slot, position, id);
        }
        b.finish()
    }
}
