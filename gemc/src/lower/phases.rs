//! The program under construction: kernels by their specs, phases and call tables with symbolic arguments, resolved to
//! offsets once every buffer's life is known.

use std::collections::{HashMap, HashSet};

use gem_runtime::abi::{ARG_UNIT, ProgramShape};
use gemc_kernels::functions;
use gemc_kernels::ir::{Half, Items, Kernel, KernelId, Phase, Program, Table, TableEntry, Tap};
use gemc_kernels::kernels::cache::Cache;
use gemc_kernels::kernels::spec::Spec as KernelSpec;

use super::arena::{Arena, Buffer, Placement};
use super::sizes::Large;

/// An argument before addresses are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// Weight file offset, in argument units.
    Weights(u32),
    /// A buffer, from this byte on (a multiple of the argument unit).
    Arena(Buffer, u32),
    /// Key/value memory: bytes per position before it.
    Kv(u32),
    /// Memory of a slot that does not grow with the context: units from it to the slot's pointer.
    Ring(u32),
    /// Key/value memory of one 32-bit word per position: its number. Words stand behind all vectors.
    KvWord(u32),
    /// A number that is passed as it is.
    Scalar(u32),
    /// Index of a call table.
    Table(usize),
}

impl Arg {
    /// The whole buffer.
    #[must_use]
    pub fn of(buffer: Buffer) -> Self {
        Self::Arena(buffer, 0)
    }
}

/// Items of a phase before addresses are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemCount {
    /// The same number in every step.
    Fixed(u32),
    /// So many for every row of the step.
    PerRow(u32),
    /// So many for every row whose logits are wanted.
    PerOutput(u32),
    /// Written to the buffer by an earlier phase; at most so many.
    Loaded(Buffer, u32),
}

#[derive(Clone, Debug)]
struct Spec {
    kernel: KernelId,
    args: Vec<Arg>,
    items: ItemCount,
    doc: String,
}

#[derive(Clone, Debug)]
struct TableSpec {
    doc: String,
    entries: Vec<(KernelId, Vec<Arg>)>,
}

/// Routing decisions of a site before addresses are known.
#[derive(Clone, Debug)]
pub struct TapSpec {
    /// `layers.3` or `final`.
    pub site: String,
    /// Number of modules, D.
    pub modules: usize,
    /// Modules that fire for a row at most, K.
    pub top_k: usize,
    /// Probabilities, f32 `[rows][D]`.
    pub p: Buffer,
    /// Modules that fired, i32 `[rows][K]`; -1 where there is none.
    pub fired: Buffer,
    /// Weights of their outputs, f32 `[rows][K]`.
    pub gates: Buffer,
    /// The domain that a row is routed to, i32 `[rows]`.
    pub domain: Buffer,
    /// The nearest centroid, i32 `[rows]`.
    pub cluster: Option<Buffer>,
}

/// A placement in a program's memory.
struct Offsets<'p> {
    placement: &'p Placement,
    bytes: u32,
}

impl<'p> Offsets<'p> {
    fn new(placement: &'p Placement, rows: usize) -> Result<Self, Large> {
        let bytes = placement.bytes;
        let small = u32::try_from(bytes).map_err(|_| Large::Step { bytes, rows })?;
        Ok(Self {
            placement,
            bytes: small,
        })
    }

    /// Byte offset of a buffer, which is below all bytes.
    fn offset(&self, buffer: Buffer) -> u32 {
        self.placement.offset(buffer) as u32
    }
}

/// The program under construction.
#[derive(Debug, Default)]
pub struct Phases {
    /// Buffers of the step, and when each is used.
    pub arena: Arena,
    kernels: Vec<Kernel>,
    by_spec: HashMap<KernelSpec, KernelId>,
    names: HashSet<String>,
    phases: Vec<Spec>,
    head_start: Option<usize>,
    tables: Vec<TableSpec>,
    taps: Vec<(usize, TapSpec)>,
    halves: Vec<Half>,
    kv_vectors: u32,
    kv_words: u32,
    ring_units: u32,
    /// The least of what rings allow; see [`ProgramShape::rewind`].
    rewind: Option<u32>,
}

impl Phases {
    /// The kernel of a spec, made when first asked for.
    pub fn kernel(&mut self, spec: impl Into<KernelSpec>) -> KernelId {
        let spec = spec.into();
        if let Some(&id) = self.by_spec.get(&spec) {
            return id;
        }
        let mut kernel = spec.kernel();
        kernel.name = self.unique(kernel.name);
        let id = KernelId::from_index(self.kernels.len());
        self.kernels.push(kernel);
        self.by_spec.insert(spec, id);
        id
    }

    /// The specs of all kernels so far, in their order.
    pub fn specs(&self) -> Vec<KernelSpec> {
        let mut specs: Vec<_> = self.by_spec.iter().collect();
        specs.sort_by_key(|(_, id)| id.index());
        specs.into_iter().map(|(spec, _)| *spec).collect()
    }

    /// A name that no kernel has yet: names do not say all that a kernel depends on.
    fn unique(&mut self, name: String) -> String {
        let numbered = (2..).map(|n| format!("{name}_{n}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        // One of more names than there are kernels is free.
        let free = names
            .find(|name| !self.names.contains(name))
            .unwrap_or(name);
        self.names.insert(free.clone());
        free
    }

    /// Appends a phase.
    pub fn phase(
        &mut self,
        kernel: KernelId,
        args: Vec<Arg>,
        items: ItemCount,
        doc: impl Into<String>,
    ) {
        let index = self.phases.len();
        self.touch(&args, index);
        if let ItemCount::Loaded(buffer, _) = items {
            self.arena.touch(buffer, index);
        }
        self.phases.push(Spec {
            kernel,
            args,
            items,
            doc: doc.into(),
        });
    }

    /// A call table, for the next phase to use.
    pub fn table(&mut self, doc: impl Into<String>, entries: Vec<(KernelId, Vec<Arg>)>) -> Arg {
        self.tables.push(TableSpec {
            doc: doc.into(),
            entries,
        });
        Arg::Table(self.tables.len() - 1)
    }

    fn touch(&mut self, args: &[Arg], phase: usize) {
        for arg in args {
            match *arg {
                Arg::Arena(buffer, _) => self.arena.touch(buffer, phase),
                Arg::Table(table) => {
                    for entry in 0..self.tables[table].entries.len() {
                        let args = self.tables[table].entries[entry].1.clone();
                        self.touch(&args, phase);
                    }
                }
                _ => {}
            }
        }
    }

    /// Phases from here on belong to the head.
    pub fn begin_head(&mut self) {
        self.head_start.get_or_insert(self.phases.len());
    }

    /// The routing decisions of a site stand after the last phase so far.
    pub fn tap(&mut self, tap: TapSpec) {
        let after = self.phases.len() - 1;
        for buffer in [tap.p, tap.fired, tap.gates, tap.domain]
            .into_iter()
            .chain(tap.cluster)
        {
            self.arena.touch(buffer, after);
        }
        self.taps.push((after, tap));
    }

    /// Key/value memory of `bytes` per position.
    pub fn kv(&mut self, bytes: usize) -> Arg {
        let before = self.kv_vectors;
        self.kv_vectors += bytes as u32;
        Arg::Kv(before)
    }

    /// Memory of a slot that does not grow with the context, a multiple of the argument unit; `rewind` as in
    /// [`ProgramShape::rewind`].
    pub fn ring(&mut self, bytes: usize, rewind: u32) -> Arg {
        self.ring_units += bytes.div_ceil(ARG_UNIT) as u32;
        self.rewind = Some(self.rewind.map_or(rewind, |least| least.min(rewind)));
        Arg::Ring(self.ring_units)
    }

    /// Tells the runtime that the memory of `before` holds f16 numbers.
    pub fn half(&mut self, site: &str, before: Arg, cache: Cache) {
        if let Arg::Kv(before) | Arg::Ring(before) = before {
            self.halves.push(Half {
                site: site.to_owned(),
                before,
                heads: cache.heads as u32,
                width: cache.padded as u32,
                ring: cache.ring.unwrap_or(0) as u32,
            });
        }
    }

    /// Key/value memory of one word per position.
    pub fn kv_word(&mut self) -> Arg {
        self.kv_words += 1;
        Arg::KvWord(self.kv_words - 1)
    }

    /// Resolves everything. `logits` is the head's result with its stride; it lives through the last phase.
    ///
    /// # Errors
    /// When a step's memory is too large.
    pub fn finish(
        mut self,
        logits: (Buffer, usize),
        max_rows: usize,
        max_outputs: usize,
        weight_bytes: u64,
    ) -> Result<Program, Large> {
        let last = self.phases.len().saturating_sub(1);
        let head_start = self.head_start.unwrap_or(last);
        self.keep_for_head(head_start, last);
        self.arena.touch(logits.0, last);
        let placement = self.arena.place();
        let place = Offsets::new(&placement, max_rows)?;
        let shape = ProgramShape {
            arena_bytes: place.bytes,
            kv_bytes_per_position: self.kv_vectors + 4 * self.kv_words,
            ring_bytes: self.ring_units * ARG_UNIT as u32,
            rewind: self.rewind.unwrap_or(ProgramShape::ANY),
            max_rows: max_rows as u32,
            max_outputs: max_outputs as u32,
            logits: place.offset(logits.0),
            logits_stride: logits.1 as u32,
            weight_bytes,
        };
        let mut body: Vec<Phase> = self
            .phases
            .iter()
            .map(|spec| self.resolve_phase(spec, &place))
            .collect();
        let head = body.split_off(head_start);
        let tables = self
            .tables
            .iter()
            .map(|table| Table {
                doc: table.doc.clone(),
                entries: table
                    .entries
                    .iter()
                    .map(|(kernel, args)| self.entry(*kernel, args, &place))
                    .collect(),
            })
            .collect();
        let taps = self
            .taps
            .iter()
            .map(|(after, tap)| resolve_tap(*after, tap, &place))
            .collect();
        Ok(Program {
            shape,
            functions: functions::link(&mut self.kernels),
            kernels: self.kernels,
            tables,
            body,
            head,
            taps,
            halves: self.halves,
        })
    }

    /// The head may be run again and again: what it reads from the body must survive all of its phases.
    fn keep_for_head(&mut self, head_start: usize, last: usize) {
        let reads: Vec<Buffer> = self.phases[head_start..]
            .iter()
            .flat_map(|spec| &spec.args)
            .filter_map(|arg| {
                if let Arg::Arena(buffer, _) = arg {
                    Some(*buffer)
                } else {
                    None
                }
            })
            .collect();
        for buffer in reads {
            if self.arena.begins_before(buffer, head_start) {
                self.arena.touch(buffer, last);
            }
        }
    }

    fn resolve_phase(&self, spec: &Spec, place: &Offsets<'_>) -> Phase {
        let items = match spec.items {
            ItemCount::Fixed(n) => Items::Fixed(n),
            ItemCount::PerRow(n) => Items::PerRow(n),
            ItemCount::PerOutput(n) => Items::PerOutput(n),
            ItemCount::Loaded(buffer, max) => Items::Loaded {
                offset: place.offset(buffer),
                max,
            },
        };
        Phase {
            entry: self.entry(spec.kernel, &spec.args, place),
            items,
            doc: spec.doc.clone(),
        }
    }

    fn entry(&self, kernel: KernelId, args: &[Arg], place: &Offsets<'_>) -> TableEntry {
        let size = gem_runtime::abi::ARG_UNIT as u32;
        let args = args
            .iter()
            .map(|arg| match *arg {
                Arg::Weights(offset) => offset,
                Arg::Arena(buffer, from) => (place.offset(buffer) + from) / size,
                Arg::Kv(before) | Arg::Ring(before) => before,
                Arg::KvWord(n) => self.kv_vectors + 4 * n,
                Arg::Scalar(n) => n,
                Arg::Table(n) => n as u32,
            })
            .collect();
        TableEntry { kernel, args }
    }
}

fn resolve_tap(after: usize, tap: &TapSpec, place: &Offsets<'_>) -> Tap {
    Tap {
        site: tap.site.clone(),
        after: after as u32,
        modules: tap.modules as u32,
        top_k: tap.top_k as u32,
        p: place.offset(tap.p),
        fired: place.offset(tap.fired),
        gates: place.offset(tap.gates),
        domain: place.offset(tap.domain),
        cluster: tap.cluster.map(|c| place.offset(c)),
    }
}
