//! A whole model for one target: kernels, call tables and the phase table, before any backend.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use gem_runtime::abi::{HalfTap, RoutingTap};

use super::{Function, Kernel, KernelId, TableId};
pub use gem_runtime::abi::{Items, ProgramShape};

/// A kernel with its arguments, one word per parameter that takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// The kernel that is called.
    pub kernel: KernelId,
    /// Region offsets, scalars and table indices.
    pub args: Vec<u32>,
}

/// Entries for indirect calls, such as the modules of one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// One line on what calls it, for the reader.
    pub doc: String,
    /// Kernels with their arguments; a call names an entry by its index here.
    pub entries: Vec<TableEntry>,
}

/// A kernel with its arguments and a number of items; phases run one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The kernel and its arguments.
    pub entry: TableEntry,
    /// Number of items, fixed or by rows, outputs or a count in the arena.
    pub items: Items,
    /// Shapes and source tensors, for the reader.
    pub doc: String,
}

/// Routing decisions of one site; see [`gem_runtime::abi::RoutingTap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// `layers.3` or `final`.
    pub site: String,
    /// Index of the body phase after which they stand.
    pub after: u32,
    /// Number of modules, D.
    pub modules: u32,
    /// Modules that fire for a row at most, K.
    pub top_k: u32,
    /// Byte offsets in the arena.
    pub p: u32,
    /// i32 `[max_rows][K]`.
    pub fired: u32,
    /// f32 `[max_rows][K]`.
    pub gates: u32,
    /// i32 `[max_rows]`.
    pub domain: u32,
    /// i32 `[max_rows]`.
    pub cluster: Option<u32>,
}

impl Tap {
    /// The tap as the runtime has it, with a name that lives as long as its interface asks.
    pub fn to_runtime(&self) -> RoutingTap {
        RoutingTap {
            site: intern(&self.site),
            after: self.after,
            modules: self.modules,
            top_k: self.top_k,
            p: self.p,
            fired: self.fired,
            gates: self.gates,
            domain: self.domain,
            cluster: self.cluster,
        }
    }
}

/// Keys or values kept as f16; see [`gem_runtime::abi::HalfTap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half {
    /// `layers.3`, for instance.
    pub site: String,
    /// Bytes per position of everything before it; of a ring, units of 64 bytes before the slot's pointer.
    pub before: u32,
    /// Heads of keys and values.
    pub heads: u32,
    /// Elements of a head.
    pub width: u32,
    /// Positions of a ring; 0 without one.
    pub ring: u32,
}

impl Half {
    /// As the runtime has it, with a name that lives as long as its interface asks.
    pub fn to_runtime(&self) -> HalfTap {
        HalfTap {
            site: intern(&self.site),
            before: self.before,
            heads: self.heads,
            width: self.width,
            ring: self.ring,
        }
    }
}

/// A copy of a name that is never freed; every name is copied once per process.
fn intern(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let copy: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(copy);
    copy
}

/// A whole model for one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Bytes of arena, keys and values, and the rows and outputs that a step can have.
    pub shape: ProgramShape,
    /// Pure functions.
    pub functions: Vec<Function>,
    /// Kernels; shared by phases and tables.
    pub kernels: Vec<Kernel>,
    /// Tables for indirect calls, such as those of a site's modules.
    pub tables: Vec<Table>,
    /// Phases of every step: embedding and layers.
    pub body: Vec<Phase>,
    /// Phases for the rows whose logits are wanted.
    pub head: Vec<Phase>,
    /// Where each site's routing decisions stand in the arena.
    pub taps: Vec<Tap>,
    /// Keys and values kept as f16.
    pub halves: Vec<Half>,
}

impl Program {
    /// The kernel of this id.
    #[must_use]
    pub fn kernel(&self, id: KernelId) -> &Kernel {
        &self.kernels[id.index()]
    }

    /// The call table of this id.
    #[must_use]
    pub fn table(&self, id: TableId) -> &Table {
        &self.tables[id.index()]
    }
}
