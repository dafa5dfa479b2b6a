//! What stops the interpreter: a rule that the verifier assumes or proves, broken at run time.

use crate::ir::ValueId;
use crate::ir::verify::Range;

/// A broken rule, and where.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("kernel {kernel}, item {item}, {value}: {fault}")]
pub struct Trap {
    /// Name of the kernel or function.
    pub kernel: String,
    /// The item, of the kernel itself.
    pub item: u32,
    /// The value that was computed or stored.
    pub value: ValueId,
    /// The rule that was broken, with the numbers that show it.
    pub fault: Fault,
}

/// A rule of the IR that an execution broke, with the numbers that show it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// An access outside its region.
    #[error("{count} elements at {index} of {region} leave 0..{len}")]
    OutOfRange {
        /// Name of the region.
        region: String,
        /// Index of the first element accessed.
        index: i32,
        /// Elements accessed.
        count: i64,
        /// Elements there are, in this step.
        len: i64,
    },
    /// A slot that does not exist.
    #[error("slot {slot} of {slots}")]
    Slot {
        /// The slot that the access names.
        slot: i32,
        /// Slots of the step: allowed are `0..slots`.
        slots: u32,
    },
    /// A loaded lane outside the declared range.
    #[error("loaded {found}, declared in {lo}..={hi}")]
    Declared {
        /// The loaded number.
        found: i32,
        /// Declared lower bound.
        lo: i32,
        /// Declared upper bound.
        hi: i32,
    },
    /// A value that the verifier proved to be impossible.
    #[error("the value is {found}, proved to be {range}")]
    Proof {
        /// The value or lane.
        found: i64,
        /// The interval that the verifier proved for it.
        range: Range,
    },
    /// `bounded` changed its operand.
    #[error("`bounded` clamps {index} to below {n}")]
    Clamped {
        /// The number to be bounded.
        index: i32,
        /// It should have been below this.
        n: i32,
    },
    /// A float that is too large to round.
    #[error("`to_int` of {0}, expected within ±2^30")]
    ToInt(f32),
    /// Division that the verifier should have refused.
    #[error("division of {0} by {1}")]
    Divide(i32, i32),
    /// 16-bit words that would have wrapped or saturated.
    #[error("word sum {0} leaves 16 bits")]
    Word(i32),
    /// -128 where it is excluded.
    #[error("a byte is -128 in `{0}`")]
    Minus128(&'static str),
    /// A table index beyond its 16 entries.
    #[error("`lookup` of index {0}, expected in 0..16")]
    Lookup(u8),
    /// A table index beyond 32 entries.
    #[error("`lookup32` of index {0}, expected in 0..32")]
    Lookup32(u8),
    /// A mask lane that is neither all ones nor zero.
    #[error("mask lane {0:#x}, expected 0 or all ones")]
    Mask(u32),
    /// A call outside its table or the entry's items.
    #[error("call of entry {entry}, items {begin}..{end}, which the table does not have")]
    Call {
        /// Index into the table.
        entry: i32,
        /// First item of the call.
        begin: i32,
        /// One past the last item.
        end: i32,
    },
    /// A trap of a function or of a called kernel.
    #[error("{0}")]
    Nested(Box<Trap>),
    /// Two items of one phase touch the same byte, and one writes.
    #[error(
        "{access} of {region} meets item {other} of the same phase at byte {byte} of the access"
    )]
    Race {
        /// `read` or `write`.
        access: &'static str,
        /// Name of the region.
        region: String,
        /// Index of the item that touched the byte before.
        other: u32,
        /// Offset of the first shared byte.
        byte: usize,
    },
}
