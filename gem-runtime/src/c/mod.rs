//! What object files made by gemc export for C, as Rust sees it; `include/gem.h` says the same for C, and tests compare.
//!
//! Plain data without an owner: a [`ProgramTable`] lies in the object file, with everything it points to.

#[cfg(feature = "c")]
pub mod api;
#[cfg(feature = "alloc")]
mod linked;

use core::ffi::c_char;

use crate::abi::{Phase, ProgramShape, Table};

#[cfg(feature = "alloc")]
pub use linked::LinkedProgram;

/// Version of everything in `gem.h`: the structures, and what the functions do.
pub const ABI: u32 = 4;

/// Stands for a token or an array that there is none of.
pub const NONE: u32 = u32::MAX;

/// [`ProgramTable::task`] of a model that gives logits of the next token.
pub const CAUSAL_LM: u32 = 0;

/// [`ProgramTable::task`] of a model that gives logits of the labels of a whole text.
pub const SEQUENCE_CLASSIFICATION: u32 = 1;

/// Value of `ProgramTable::task`: a vector for a whole text.
pub const EMBEDDING: u32 = 2;

/// Value of `ProgramTable::task`: logits of the labels of every token of a whole text.
pub const TOKEN_CLASSIFICATION: u32 = 3;

/// A compiled model: its phase table, and facts about it. Strings end with a zero byte; arrays may be null when empty.
#[repr(C)]
#[derive(Debug)]
pub struct ProgramTable {
    /// [`ABI`] of the compiler that made it; says what follows.
    pub abi: u32,
    /// Bytes of this structure.
    pub bytes: u32,
    /// Name of the model.
    pub name: *const c_char,
    /// The device it was compiled for.
    pub target: *const c_char,
    /// [`crate::simd::Level::name`] of the target.
    pub level: *const c_char,
    /// What a CPU must have, by Rust's names for `target_feature`, with commas; empty for the architecture's baseline.
    pub features: *const c_char,
    /// Hash of the plan, which its weight file carries too.
    pub plan_hash: [u8; 32],
    /// Digest of what stands where in its weight file, which carries it too.
    pub layout: u64,
    /// Bytes of arena, keys and values, and the rows and outputs that a step can have.
    pub shape: ProgramShape,
    /// Phases of the body, in order.
    pub body: *const Phase,
    /// Phases of the head, in order.
    pub head: *const Phase,
    /// Tables for indirect calls, such as those of a site's modules.
    pub tables: *const Table,
    /// Where each site's routing decisions stand in the arena.
    pub taps: *const Tap,
    /// Keys and values kept as f16.
    pub halves: *const Half,
    /// Number of entries of `body`.
    pub n_body: u32,
    /// Number of entries of `head`.
    pub n_head: u32,
    /// Number of entries of `tables`.
    pub n_tables: u32,
    /// Number of entries of `taps`.
    pub n_taps: u32,
    /// Number of entries of `halves`.
    pub n_halves: u32,
    /// [`CAUSAL_LM`] or [`SEQUENCE_CLASSIFICATION`].
    pub task: u32,
    /// Token ids are below this.
    pub vocab_size: u32,
    /// Width of a row.
    pub hidden_size: u32,
    /// Positions are below this.
    pub max_positions: u32,
    /// The largest context a sequence can have: fewer than `max_positions` for a classifier, which takes a text in one
    /// step.
    pub max_context: u32,
    /// Logits of an output: tokens or labels.
    pub n_logits: u32,
    /// Conventions as `Conventions::word` has them.
    pub conventions: u32,
    /// Names of the labels.
    pub labels: *const *const c_char,
    /// Names of the domains.
    pub domains: *const *const c_char,
    /// Tokens that end a text.
    pub eos: *const u32,
    /// Number of entries of `labels`; 0 for a causal model.
    pub n_labels: u32,
    /// Number of entries of `domains`, one a module.
    pub n_domains: u32,
    /// Number of entries of `eos`.
    pub n_eos: u32,
    /// Put before a prompt; [`NONE`] for nothing.
    pub bos: u32,
    /// Bits per quantised weight: codes and block scales.
    pub bits_per_weight: f64,
    /// Bytes of weights that kernels read, without padding.
    pub weight_bytes: u64,
}

// SAFETY: a program and all it points to are constants.
unsafe impl Sync for ProgramTable {}

/// Where the routing decisions of one site stand in the arena; see [`crate::abi::RoutingTap`].
#[repr(C)]
#[derive(Debug)]
pub struct Tap {
    /// `layers.3` or `final`.
    pub site: *const c_char,
    /// Index of the body phase after which they stand.
    pub after: u32,
    /// Number of modules, D.
    pub modules: u32,
    /// Fired modules per row at most, K.
    pub top_k: u32,
    /// f32 `[max_rows][D]`.
    pub p: u32,
    /// i32 `[max_rows][K]`.
    pub fired: u32,
    /// f32 `[max_rows][K]`.
    pub gates: u32,
    /// i32 `[max_rows]`.
    pub domain: u32,
    /// i32 `[max_rows]`; [`NONE`] without clusters.
    pub cluster: u32,
}

/// Where f16 keys or values of one attention stand; see [`crate::abi::HalfTap`].
#[repr(C)]
#[derive(Debug)]
pub struct Half {
    /// `layers.3`, for instance.
    pub site: *const c_char,
    /// Bytes per position of everything before it.
    pub before: u32,
    /// Number of key/value heads.
    pub heads: u32,
    /// Elements of a head.
    pub width: u32,
    /// Positions of a ring; 0 without one.
    pub ring: u32,
}

/// What functions of an object return; 0 is success. Each leaves everything as it was when it fails.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It did what it says.
    Ok = 0,
    /// A pointer that must not be is null.
    Null = 1,
    /// A context that is no context.
    Context = 2,
    /// Memory or weights at an address that will not do.
    Alignment = 3,
    /// Less memory than is needed.
    Memory = 4,
    /// Not a weight file, or a damaged one.
    WeightFile = 5,
    /// Weights of another program.
    WrongWeights = 6,
    /// No token at all.
    Empty = 7,
    /// A token id outside the vocabulary.
    Token = 8,
    /// More tokens than there is room for.
    Full = 9,
    /// Anything that needs more words, which the runtime keeps.
    Failed = 10,
    /// The caller's own function asked to stop.
    Stopped = 11,
    /// Logits that are not numbers.
    Logits = 12,
    /// What precedes a position is not kept any more.
    Overwritten = 13,
}

impl Status {
    /// Every status, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Ok,
        Self::Null,
        Self::Context,
        Self::Alignment,
        Self::Memory,
        Self::WeightFile,
        Self::WrongWeights,
        Self::Empty,
        Self::Token,
        Self::Full,
        Self::Failed,
        Self::Stopped,
        Self::Logits,
        Self::Overwritten,
    ];

    /// What it means, for people.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Null => "a pointer that must not be null is null",
            Self::Context => "the context must be at least 1 and at most the program's max_context",
            Self::Alignment => "memory and weights must start at a multiple of 64 bytes",
            Self::Memory => "the memory is smaller than the context needs",
            Self::WeightFile => {
                "the weights are not a weight file of this version, or are damaged or incomplete: copy them again, or build them and the object again"
            }
            Self::WrongWeights => {
                "the weights belong to another program: plan, layout or size differ"
            }
            Self::Empty => "no tokens: at least one is needed",
            Self::Token => "a token id is outside the vocabulary",
            Self::Full => "the tokens do not fit the context",
            Self::Failed => "the runtime failed; gem_last_error() says why",
            Self::Stopped => "the caller's function asked to stop",
            Self::Logits => {
                "a logit is not a finite number: values of the model overflow, or its weights are damaged"
            }
            Self::Overwritten => {
                "layers that keep only the last positions have overwritten what the sequence needs to go on from there: begin again with gem_reset"
            }
        }
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;
    use core::mem::{align_of, offset_of, size_of};

    /// `gem.h` asserts the same numbers.
    #[test]
    fn offsets_are_those_of_c() {
        let offsets = [
            offset_of!(ProgramTable, name),
            offset_of!(ProgramTable, features),
            offset_of!(ProgramTable, plan_hash),
            offset_of!(ProgramTable, layout),
            offset_of!(ProgramTable, shape),
            offset_of!(ProgramTable, body),
            offset_of!(ProgramTable, taps),
            offset_of!(ProgramTable, halves),
            offset_of!(ProgramTable, n_body),
            offset_of!(ProgramTable, task),
            offset_of!(ProgramTable, n_logits),
            offset_of!(ProgramTable, labels),
            offset_of!(ProgramTable, eos),
            offset_of!(ProgramTable, n_labels),
            offset_of!(ProgramTable, bos),
            offset_of!(ProgramTable, bits_per_weight),
            offset_of!(ProgramTable, weight_bytes),
        ];
        assert_eq!(
            offsets,
            [
                8, 32, 40, 72, 80, 120, 144, 152, 160, 180, 200, 208, 224, 232, 244, 248, 256
            ]
        );
        assert_eq!(
            (size_of::<ProgramTable>(), align_of::<ProgramTable>()),
            (264, 8)
        );
        assert_eq!((size_of::<Tap>(), offset_of!(Tap, cluster)), (40, 36));
        assert_eq!((size_of::<Half>(), offset_of!(Half, width)), (24, 16));
    }

    #[test]
    fn every_status_stands_at_its_number() {
        for (number, status) in Status::ALL.iter().enumerate() {
            assert_eq!(*status as usize, number);
        }
    }
}
