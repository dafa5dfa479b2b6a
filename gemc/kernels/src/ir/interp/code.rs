//! Instructions: operations with their types resolved, over numbered slots.
//!
//! Scalars and vectors have slots of their own; a scalar is its 32 bits, a Bool is 0 or 1. Narrow vectors use the first
//! bytes of a slot.

use crate::ir::verify::Range;
use crate::ir::{Cmp, Elem, Extent, FuncId, ParamId, Space, Ty, ValueId};

/// Index of a scalar or vector slot.
pub(super) type Slot = u32;

/// Kernel or function, ready to run.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) name: String,
    pub(super) ins: Vec<Ins>,
    /// Where each instruction comes from.
    pub(super) origin: Vec<ValueId>,
    pub(super) params: Vec<ParamInfo>,
    pub(super) scalars: usize,
    pub(super) vectors: usize,
    /// Slots of callees, above these.
    pub(super) below: (usize, usize),
    pub(super) callees: Vec<FuncId>,
    pub(super) constants: Vec<Vector>,
    /// Argument slots of function calls.
    pub(super) args: Vec<Arg>,
    /// Parameters and result of a function.
    pub(super) entry: Vec<Arg>,
    pub(super) result: Option<Arg>,
    pub(super) local_bytes: usize,
    /// What values were proved to be, where that is checked.
    pub(super) ranges: Vec<(Range, Ty)>,
}

impl Code {
    /// Slots of a call, callees included.
    pub(super) fn stack(&self) -> (usize, usize) {
        (self.scalars + self.below.0, self.vectors + self.below.1)
    }
}

/// A slot of either kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg {
    Scalar(Slot),
    Vector(Slot),
}

/// A parameter, as far as accesses need it.
#[derive(Clone, Debug)]
pub(super) enum ParamInfo {
    Region {
        name: String,
        space: Space,
        elem: Elem,
        len: Extent,
        /// Byte offset in local memory.
        local: usize,
    },
    Scalar,
    Table,
}

/// 64 bytes of lanes.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct Vector(pub(super) Bytes);

/// The bytes of a vector.
pub(super) type Bytes = [[u8; 16]; 4];

/// One instruction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ins {
    /// A literal's bits.
    Const {
        d: Slot,
        bits: u32,
    },
    /// A vector literal, by number.
    ConstV {
        d: Slot,
        at: u32,
    },
    Scalar {
        d: Slot,
        param: u32,
    },
    Size {
        d: Slot,
        size: Size,
    },
    Copy {
        d: Slot,
        a: Slot,
    },
    CopyV {
        d: Slot,
        a: Slot,
    },
    S1 {
        op: S1,
        d: Slot,
        a: Slot,
    },
    S2 {
        op: S2,
        d: Slot,
        a: Slot,
        b: Slot,
    },
    Fma {
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    Select {
        d: Slot,
        cond: Slot,
        a: Slot,
        b: Slot,
    },
    SelectV {
        d: Slot,
        cond: Slot,
        a: Slot,
        b: Slot,
    },
    Splat {
        d: Slot,
        a: Slot,
    },
    Reduce {
        op: Reduce,
        d: Slot,
        a: Slot,
    },
    V1 {
        op: V1,
        d: Slot,
        a: Slot,
    },
    V2 {
        op: V2,
        d: Slot,
        a: Slot,
        b: Slot,
    },
    V3 {
        op: V3,
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    Load {
        d: Slot,
        access: Access,
    },
    LoadV {
        d: Slot,
        access: Access,
        check: Check,
    },
    /// The bytes of a word, signed unless `hi` is above 127.
    CheckBytes {
        a: Slot,
        lo: i32,
        hi: i32,
    },
    /// What the verifier proved, by number.
    CheckProof {
        a: Slot,
        at: u32,
    },
    /// A checked scalar.
    CheckI32 {
        a: Slot,
        lo: i32,
        hi: i32,
    },
    Store {
        a: Slot,
        access: Access,
    },
    StoreV {
        a: Slot,
        access: Access,
    },
    /// Calls a function with `args[from..]`.
    Call {
        function: FuncId,
        from: u32,
        d: Arg,
    },
    CallTable {
        table: ParamId,
        entry: Slot,
        begin: Slot,
        end: Slot,
    },
    Jump {
        to: u32,
    },
    JumpUnless {
        cond: Slot,
        to: u32,
    },
    /// Leaves the loop when `index >= end`.
    LoopHead {
        index: Slot,
        end: Slot,
        exit: u32,
    },
    /// Next index, and back.
    LoopNext {
        index: Slot,
        head: u32,
    },
}

/// Where an access goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) region: u16,
    pub(super) bytes: u16,
    pub(super) index: Slot,
    /// `u32::MAX` for none.
    pub(super) slot: Slot,
}

/// What a vector load's lanes are held against.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    None,
    Signed8(i8, i8),
    Unsigned8(u8, u8),
    Signed16(i16, i16),
    Signed32(i32, i32),
}

/// A number of the step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    Rows,
    Outputs,
    Context,
}

/// Scalar operations of one operand.
#[derive(Clone, Copy, Debug)]
pub(super) enum S1 {
    Abs,
    Neg,
    Sqrt,
    Not,
    Shl(u8),
    ShrS(u8),
    ShrU(u8),
    ToFloat,
    ToInt,
}

/// Scalar operations of two operands.
#[derive(Clone, Copy, Debug)]
pub(super) enum S2 {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Min,
    Max,
    And,
    Or,
    Xor,
    Bounded,
    AddF,
    SubF,
    MulF,
    DivF,
    MinF,
    MaxF,
    Cmp(Cmp),
    CmpF(Cmp),
}

/// Vector operations of one operand.
#[derive(Clone, Copy, Debug)]
pub(super) enum V1 {
    Abs,
    Neg,
    Sqrt,
    Shl(u8),
    ShrS(u8),
    ShrU(u8),
    ShrBytes(u8),
    ToFloat,
    ToInt,
    WidenS,
    WidenU,
    Narrow,
    HalfToFloat,
    FloatToHalf,
    Low,
    High,
    FoldPairs,
}

/// Vector operations of two operands.
#[derive(Clone, Copy, Debug)]
pub(super) enum V2 {
    Add,
    Sub,
    Mul,
    Min,
    Max,
    And,
    Or,
    Xor,
    AddBytes,
    AddWords,
    AddF,
    SubF,
    MulF,
    DivF,
    MinF,
    MaxF,
    Cmp(Cmp),
    CmpF(Cmp),
    Lookup,
    Dot2U,
    Dot2S,
    DotWords,
    MulSBy(u8),
    AddPairs,
    Join,
}

/// Vector operations of three operands.
#[derive(Clone, Copy, Debug)]
pub(super) enum V3 {
    Fma,
    Select,
    Lookup32,
    Dot4U,
    Dot4S,
    Dot4SBy(u8),
    MacSBy(u8),
}

/// Reductions of a vector to a scalar.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reduce {
    Add,
    AddF,
    MaxF,
}
