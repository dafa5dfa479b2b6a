//! From routing decisions to work lists: which rows each module gets, which modules are active, how many items the
//! module phases have; and the phase kernel that calls the modules.

use super::rows::RowTable;
use crate::ir::build::{KernelBuilder, Region, Val};
use crate::ir::{Elem, Kernel};

/// What the dispatch kernel's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dispatch {
    /// Number of modules, D.
    pub modules: usize,
    /// Choices per row, K.
    pub top_k: usize,
    /// Rows of the buffers.
    pub max_rows: usize,
    /// Whether some modules are left out of the model: they may fire, and do nothing.
    pub sparse: bool,
}

struct Regions<'k> {
    fired: Region<'k>,
    /// Whether each module is there, and what fired of those that are.
    kept: Option<[Region<'k>; 2]>,
    lists: Region<'k>,
    counts: Region<'k>,
    active: Region<'k>,
    idle: Region<'k>,
    idle_count: Region<'k>,
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

    /// Elements of the record that says which modules are there.
    #[must_use]
    pub fn kept_len(&self) -> usize {
        self.modules.next_multiple_of(16)
    }

    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let sparse = if self.sparse { "_sparse" } else { "" };
        format!("dispatch_{}of{}{sparse}", self.top_k, self.modules)
    }

    /// Writes the kernel; one item in all. Arguments: fired; \[1 for each module that is there, else 0; of fired those that
    /// are there, else -1\]; lists `[module][stride]` of entries `row * K + slot`;
    /// counts `[module][16]`; active (their number, then modules ascending); rows where nothing fired; their number.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "row lists of {} modules from the top {} of each row",
            self.modules, self.top_k
        );
        KernelBuilder::build(&self.name(), &doc, 1, |k| self.write(k))
    }

    fn write(&self, k: &KernelBuilder) {
        let r = self.declare(k);
        let rows = k.row_count();
        k.for_n(self.modules, |m| r.counts.store(m * Self::COUNT_STRIDE, 0));
        r.idle_count.store(0, 0);
        k.for_n(rows, |row| {
            let first = row * self.top_k;
            k.for_n(self.top_k, |slot| {
                let entry = first + slot;
                let module = r.fired.get(entry);
                match r.kept {
                    None => k.when(module.ge(0), || self.append(&r, module, entry)),
                    Some([kept, served]) => {
                        served.store(entry, -1);
                        k.when(module.ge(0), || {
                            let there = kept.get(module.bounded(self.modules));
                            k.when(there.gt(0.0), || {
                                served.store(entry, module);
                                self.append(&r, module, entry);
                            });
                        });
                    }
                }
            });
            k.when(r.fired.get(first).lt(0), || {
                let n = r.idle_count.get(0).bounded(self.max_rows);
                r.idle.store(n, row);
                r.idle_count.store(0, n + 1);
            });
        });
        self.list_active(k, &r);
    }

    fn declare<'k>(&self, k: &'k KernelBuilder) -> Regions<'k> {
        Regions {
            fired: k.input("fired", Elem::I32, self.max_rows * self.top_k),
            kept: self.sparse.then(|| {
                let kept = k.weights("kept", Elem::F32, self.kept_len());
                let served = k.output("served", Elem::I32, self.max_rows * self.top_k);
                [kept, served]
            }),
            lists: k.output("lists", Elem::I32, self.modules * self.list_stride()),
            counts: k.output("counts", Elem::I32, self.modules * Self::COUNT_STRIDE),
            active: k.output("active", Elem::I32, self.active_len()),
            idle: k.output("idle", Elem::I32, self.max_rows),
            idle_count: k.output("idle_count", Elem::I32, 1),
        }
    }

    /// Adds an entry to a module's list.
    fn append<'k>(&self, r: &Regions<'k>, module: Val<'k>, entry: Val<'k>) {
        let module = module.bounded(self.modules);
        let count = r.counts.row(module, Self::COUNT_STRIDE);
        let n = count.get(0).bounded(self.max_rows);
        r.lists.row(module, self.list_stride()).store(n, entry);
        count.store(0, n + 1);
    }

    fn list_active(&self, k: &KernelBuilder, r: &Regions<'_>) {
        let active = k.var("active", 0);
        k.for_n(self.modules, |m| {
            let n = r.counts.row(m, Self::COUNT_STRIDE).get(0);
            k.when(n.gt(0), || {
                let place = active.get().bounded(self.modules) + 1;
                r.active.store(place, m);
                active.set(place);
            });
        });
        r.active.store(0, active.get());
    }
}

/// What the kernel that counts items depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CountItems {
    /// Items of one module.
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
        KernelBuilder::build(&self.name(), &doc, 1, |k| {
            let counter = k.input("counter", Elem::I32, 1);
            let items = k.output("items", Elem::I32, 1);
            let limit = k.scalar("limit", 1 << 16);
            items.store(0, counter.get(0).min(limit) * each as usize);
        })
    }
}

/// What the kernel that calls modules depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallModules {
    /// Number of modules, D.
    pub modules: usize,
    /// Items of one module.
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
        KernelBuilder::build(&self.name(), &doc, modules as u32 * each, |k| {
            let active = k.input("active", Elem::I32, modules + 1);
            let table = k.table("modules", modules as u32);
            let (which, begin) = (k.item() / each as usize, k.item() % each as usize);
            let module = active.get(which + 1).bounded(modules);
            k.call_table(table, module, begin, begin + 1);
        })
    }
}

/// What the kernel of SCAR's tags depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tags {
    /// Number of modules, D.
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
    /// `by_flag`. One item a row. Arguments: domain; \[clusters\]; tags; \[cluster ids\].
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let Self {
            modules,
            by_flag,
            clusters,
            max_rows,
        } = *self;
        let doc = format!(
            "{}{} of each row to SCAR's memory",
            self.kind(),
            self.suffix()
        );
        KernelBuilder::build(&self.name(), &doc, max_rows as u32, |k| {
            let domain = k.input("domain", Elem::I32, max_rows);
            let ids = clusters.then(|| k.input("clusters", Elem::I32, max_rows));
            let tags = k.memory("tags", Elem::I32, 1, true);
            let ids = ids.map(|ids| (ids, k.memory("cluster_ids", Elem::I32, 1, true)));
            let rows = RowTable::declare(k, max_rows);
            let row = k.item();
            let slot = rows.slot(row);
            let position = rows.position(row).bounded(k.context());
            let own = domain.get(row);
            let tag = match by_flag {
                true => own.ne(modules).select(1, 0),
                false => own,
            };
            tags.of(slot).store(position, tag);
            if let Some((ids, memory)) = ids {
                memory.of(slot).store(position, ids.get(row));
            }
        })
    }
}
