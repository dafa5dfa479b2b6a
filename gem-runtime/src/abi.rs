//! The contract between generated kernels and the runtime: the context they read, the phase table they form.
//!
//! Generated code never synchronises. The runtime runs the phases of a program in order; inside a phase its threads
//! claim items, and what an item computes never depends on who runs it. Everything here is `repr(C)`, without `usize`.

use core::ptr;

/// One row of a step: a token at a position of a sequence.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Token id, below the vocabulary size.
    pub token: u32,
    /// Index of the sequence's memory in [`Ctx::kv`].
    pub slot: u32,
    /// Position in the sequence, below the context capacity.
    pub position: u32,
    /// How many positions the row may see: `position + 1` in a decoder, the sequence's length in an encoder.
    pub visible: u32,
}

/// What every kernel gets. The pointers outlive the step; `arena` and `kv` are written by kernels.
#[repr(C)]
#[derive(Debug)]
pub struct Ctx {
    /// Start of the weight file's body, 64-byte aligned.
    pub weights: *const u8,
    /// Scratch memory of the step, `arena_bytes` long, 64-byte aligned.
    pub arena: *mut u8,
    /// One key/value memory per slot, 64-byte aligned: `ring_bytes` before the pointer, and `context *
    /// kv_bytes_per_position` behind it.
    pub kv: *const *mut u8,
    /// The step's rows, `n_rows` of them.
    pub rows: *const Row,
    /// Rows whose logits are wanted, by index into `rows`.
    pub outputs: *const u32,
    /// Call tables, for indirect calls.
    pub tables: *const Table,
    /// Number of rows, at most the program's `max_rows`.
    pub n_rows: u32,
    /// Number of slots: entries of `kv`.
    pub n_slots: u32,
    /// Number of outputs, at most the program's `max_outputs`.
    pub n_outputs: u32,
    /// Positions each slot has room for.
    pub context: u32,
}

// SAFETY: a context is a set of pointers to memory that the runtime keeps alive for the whole step; kernels of one
// phase write disjoint parts of it (each item writes its own), and phases are separated by barriers.
unsafe impl Sync for Ctx {}

/// A kernel: runs items `begin..end` of its phase.
///
/// Region arguments in `args` are offsets in units of [`ARG_UNIT`] bytes, scalar arguments are plain. For `kv` they are bytes
/// per position that precede the region; of a region that does not grow with the context, units before the slot's pointer.
pub type KernelFn = unsafe extern "C" fn(ctx: *const Ctx, args: *const u32, begin: u32, end: u32);

/// Region offsets in arguments count in this many bytes.
pub const ARG_UNIT: usize = 64;

/// Most positions a slot can have room for. Kernels compute indices in 32 bits; gemc proves them for every capacity up
/// to this one, so a session with more must be refused.
pub const MAX_CONTEXT: u32 = 1 << 17;

/// A kernel with its arguments. Pointers rather than slices, so that machine code of any origin reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The function that runs items.
    pub kernel: KernelFn,
    /// Its arguments; as many as the kernel has parameters that take one.
    pub args: *const u32,
}

impl Entry {
    /// An entry whose arguments live as long as the program.
    #[must_use]
    pub const fn new(kernel: KernelFn, args: &'static [u32]) -> Self {
        Self {
            kernel,
            args: args.as_ptr(),
        }
    }
}

// SAFETY: arguments are never written, so any thread may read them while they live, which the maker of the entry sees to.
unsafe impl Send for Entry {}
// SAFETY: as above.
unsafe impl Sync for Entry {}

/// A call table: the modules of one routed site, for instance.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// What can be called, by index.
    pub entries: *const Entry,
    /// Number of entries at `entries`.
    pub len: u32,
}

impl Table {
    /// A table whose entries live as long as the program.
    #[must_use]
    pub const fn new(entries: &'static [Entry]) -> Self {
        Self {
            entries: entries.as_ptr(),
            len: entries.len() as u32,
        }
    }
}

// SAFETY: entries are never written, so any thread may read them while they live, which the maker of the table sees to.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

/// How many items a phase has. In memory: a tag (0 for the first variant, and so on), then its fields.
#[repr(C, u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Items {
    /// The same number in every step.
    Fixed(u32),
    /// So many per row of the step.
    PerRow(u32),
    /// So many per wanted output.
    PerOutput(u32),
    /// The `u32` at this byte offset of the arena, at most `max`: written by an earlier phase.
    Loaded {
        /// Byte offset in the arena.
        offset: u32,
        /// Upper bound, also a bound the writer keeps.
        max: u32,
    },
}

impl Items {
    /// The number of items in this step.
    ///
    /// # Safety
    /// For `Loaded`, `ctx.arena` must be valid at the offset.
    #[must_use]
    pub unsafe fn count(self, ctx: &Ctx) -> u32 {
        match self {
            Self::Fixed(n) => n,
            Self::PerRow(n) => n * ctx.n_rows,
            Self::PerOutput(n) => n * ctx.n_outputs,
            // SAFETY: the caller vouches for the arena; the verifier checked that the offset lies in it, 4-aligned.
            Self::Loaded { offset, max } => unsafe {
                ptr::read(ctx.arena.add(offset as usize).cast::<u32>()).min(max)
            },
        }
    }
}

/// A phase of a compiled program.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// The kernel and its arguments.
    pub entry: Entry,
    /// Number of items, by which threads share it.
    pub items: Items,
}

/// The two halves of a step: all layers over all rows, then the head over the rows whose logits are wanted. The head
/// may be run several times after one body, with different outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Embedding and layers: run for every step.
    Body,
    /// Final projection to logits.
    Head,
}

/// Where the routing decisions of one site stand in the arena, once phase `after` of the body has run.
///
/// Lets `verify` read them and force others. Offsets in bytes; arrays are `[max_rows][..]`, 32-bit elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutingTap {
    /// `layers.3` or `final`.
    pub site: &'static str,
    /// Index of the body phase that writes the decision; cluster ids included.
    pub after: u32,
    /// Number of modules, D.
    pub modules: u32,
    /// Fired modules per row at most, K.
    pub top_k: u32,
    /// f32 `[max_rows][D]`.
    pub p: u32,
    /// i32 `[max_rows][K]`: fired modules ascending, then -1.
    pub fired: u32,
    /// f32 `[max_rows][K]`: gates of `fired`.
    pub gates: u32,
    /// i32 `[max_rows]`: argmax p where something fired, else D.
    pub domain: u32,
    /// i32 `[max_rows]`: nearest centroid; absent without clusters.
    pub cluster: Option<u32>,
}

/// Where f16 keys or values of one attention stand in a slot's memory: `[head][position][width]`, from byte
/// `before * context` on; or in a ring of some positions, `64 * before` bytes before the slot's pointer.
///
/// Lets the runtime count values that f16 cannot hold; kernels store the largest f16 number in their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfTap {
    /// `layers.3`, for instance; keys and values of one attention have the same name.
    pub site: &'static str,
    /// Bytes per position of everything before it; of a ring, units of [`ARG_UNIT`] bytes before the slot's pointer.
    pub before: u32,
    /// Number of key/value heads.
    pub heads: u32,
    /// Elements of a head.
    pub width: u32,
    /// Positions of a ring: position p stands at `p % ring`. 0 where each position of the context has a place of its own.
    pub ring: u32,
}

impl HalfTap {
    /// Whether they lie in a slot's memory, at even addresses.
    #[must_use]
    pub fn fits(&self, shape: &ProgramShape) -> bool {
        let each = u64::from(self.heads).saturating_mul(u64::from(self.width));
        let bytes = each.saturating_mul(2);
        if self.ring == 0 {
            let end = bytes.saturating_add(u64::from(self.before));
            return self.before.is_multiple_of(2) && end <= u64::from(shape.kv_bytes_per_position);
        }
        let before = ARG_UNIT as u64 * u64::from(self.before);
        bytes.saturating_mul(u64::from(self.ring)) <= before
            && before <= u64::from(shape.ring_bytes)
    }
}

/// Sizes of a program, fixed at build time.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramShape {
    /// Bytes of scratch memory.
    pub arena_bytes: u32,
    /// Bytes of key/value memory per position and slot.
    pub kv_bytes_per_position: u32,
    /// Bytes of a slot that do not depend on its context: what layers keep of the last positions. A multiple of
    /// [`ARG_UNIT`].
    pub ring_bytes: u32,
    /// How many of the positions written last a sequence can forget and go on, since what precedes them is still kept;
    /// [`ProgramShape::ANY`] where nothing is ever overwritten.
    pub rewind: u32,
    /// Rows of a step at most.
    pub max_rows: u32,
    /// Outputs of a head run at most.
    pub max_outputs: u32,
    /// Byte offset in the arena of the logits, f32 `[max_outputs][logits_stride]`.
    pub logits: u32,
    /// Elements between two rows of logits.
    pub logits_stride: u32,
    /// Bytes of the weight file's body.
    pub weight_bytes: u64,
}

impl ProgramShape {
    /// A `rewind` without a limit.
    pub const ANY: u32 = u32::MAX;

    /// Bytes of a slot's memory for so many positions.
    #[must_use]
    pub const fn slot_bytes(&self, context: u32) -> u64 {
        // At most (2^32 - 1)^2 + 2^32 - 1, which is below 2^64.
        self.ring_bytes as u64 + self.kv_bytes_per_position as u64 * context as u64
    }

    /// Whether a sequence that has written `written` positions can go on from position `kept`.
    #[must_use]
    pub const fn can_rewind(&self, written: u32, kept: u32) -> bool {
        kept == 0 || written.saturating_sub(kept) <= self.rewind
    }
}

/// A program that can be run phase by phase: compiled, interpreted or JIT-compiled.
pub trait Executable: Sync {
    /// Bytes of arena, keys and values, and the rows and outputs that a step can have.
    fn shape(&self) -> &ProgramShape;
    /// Items of every phase of a part, in order.
    fn phases(&self, part: Part) -> &[Items];
    /// Routing taps, in phase order.
    fn taps(&self) -> &[RoutingTap];
    /// Keys and values kept as f16; empty when they are kept in another format.
    fn halves(&self) -> &[HalfTap];
    /// Call tables for [`Ctx::tables`]; empty when the program resolves them itself.
    fn tables(&self) -> &[Table];
    /// Runs items `begin..end` of a phase.
    ///
    /// # Safety
    /// `ctx` must describe live memory of the sizes in `shape()`, with rows, slots, positions and outputs in range;
    /// all earlier phases of the step must have finished; no item may run twice.
    unsafe fn run(&self, part: Part, phase: usize, ctx: &Ctx, begin: u32, end: u32);
}

/// A compiled program: what generated code hands to the runtime.
#[derive(Clone, Copy, Debug)]
pub struct CompiledProgram {
    /// Bytes of arena, keys and values, and the rows and outputs that a step can have.
    pub shape: ProgramShape,
    /// Phases of the body.
    pub body: &'static [Phase],
    /// Items of `body`, the same order.
    pub body_items: &'static [Items],
    /// Phases of the head.
    pub head: &'static [Phase],
    /// Items of `head`, the same order.
    pub head_items: &'static [Items],
    /// Tables for indirect calls, such as those of a site's modules.
    pub tables: &'static [Table],
    /// Where each site's routing decisions stand in the arena.
    pub taps: &'static [RoutingTap],
    /// Keys and values kept as f16.
    pub halves: &'static [HalfTap],
}

impl Executable for CompiledProgram {
    fn shape(&self) -> &ProgramShape {
        &self.shape
    }

    fn phases(&self, part: Part) -> &[Items] {
        match part {
            Part::Body => self.body_items,
            Part::Head => self.head_items,
        }
    }

    fn taps(&self) -> &[RoutingTap] {
        self.taps
    }

    fn halves(&self) -> &[HalfTap] {
        self.halves
    }

    fn tables(&self) -> &[Table] {
        self.tables
    }

    unsafe fn run(&self, part: Part, phase: usize, ctx: &Ctx, begin: u32, end: u32) {
        let phases = match part {
            Part::Body => self.body,
            Part::Head => self.head,
        };
        let entry = &phases[phase].entry;
        // SAFETY: the caller keeps the contract of `Executable::run`, and gemc's verifier proved the kernel in range for
        // these arguments under that contract.
        unsafe { (entry.kernel)(ctx, entry.args, begin, end) }
    }
}

/// Indirect call of entry `index` of call table `table`.
///
/// # Safety
/// As [`Executable::run`]; `table` and `index` were proved in range by gemc's verifier.
pub unsafe fn call_table(ctx: *const Ctx, table: u32, index: u32, begin: u32, end: u32) {
    // SAFETY: `ctx` is live, and `tables` holds the program's tables; indices are in range by the verifier's proof.
    unsafe {
        let table = &*(*ctx).tables.add(table as usize);
        debug_assert!(index < table.len);
        let entry = &*table.entries.add(index as usize);
        (entry.kernel)(ctx, entry.args, begin, end);
    }
}

/// What machine code that was not compiled by rustc relies on: it reads these structures by offset.
#[cfg(all(test, target_pointer_width = "64"))]
mod layout {
    use super::*;
    use core::mem::{align_of, offset_of, size_of};

    #[test]
    fn offsets_are_those_of_c() {
        assert_eq!(
            [
                offset_of!(Ctx, weights),
                offset_of!(Ctx, arena),
                offset_of!(Ctx, kv),
                offset_of!(Ctx, rows),
                offset_of!(Ctx, outputs),
                offset_of!(Ctx, tables),
                offset_of!(Ctx, n_rows),
                offset_of!(Ctx, n_slots),
                offset_of!(Ctx, n_outputs),
                offset_of!(Ctx, context),
            ],
            [0, 8, 16, 24, 32, 40, 48, 52, 56, 60]
        );
        assert_eq!([offset_of!(Table, entries), offset_of!(Table, len)], [0, 8]);
        assert_eq!([offset_of!(Entry, kernel), offset_of!(Entry, args)], [0, 8]);
        let sizes = [size_of::<Ctx>(), size_of::<Table>(), size_of::<Entry>()];
        assert_eq!(sizes, [64, 16, 16]);
        assert_eq!((size_of::<Row>(), align_of::<Row>()), (16, 4));
    }

    #[test]
    fn a_phase_is_an_entry_a_tag_and_two_words() {
        assert_eq!(
            [offset_of!(Phase, entry), offset_of!(Phase, items)],
            [0, 16]
        );
        assert_eq!([size_of::<Phase>(), size_of::<Items>()], [32, 12]);
        let words = |items: Items| {
            // SAFETY: the tag and the first field are initialised in every variant, and plain numbers.
            unsafe { ptr::from_ref(&items).cast::<[u32; 2]>().read() }
        };
        assert_eq!(words(Items::Fixed(7)), [0, 7]);
        assert_eq!(words(Items::PerRow(7)), [1, 7]);
        assert_eq!(words(Items::PerOutput(7)), [2, 7]);
        let loaded = Items::Loaded { offset: 8, max: 9 };
        assert_eq!(words(loaded), [3, 8]);
        assert_eq!(size_of::<ProgramShape>(), 40);
        assert_eq!(offset_of!(ProgramShape, weight_bytes), 32);
    }
}
