//! Operations of kernel IR: pure, typed, closed. A vector is n segments of 128 bits; only splats, reductions, table
//! lookups' tables and conversions of width cross segments.

use super::{FuncId, ParamId, ValueId, VarId};

/// Type of a value. Vectors have 16 lanes of 32 bits, or as many bytes as those: four segments, unless named shorter; and
/// halves of those have two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ty {
    /// Truth value.
    Bool,
    /// 32-bit integer, two's complement.
    I32,
    /// IEEE single.
    F32,
    /// 16 bytes: one segment.
    I8x16,
    /// 64 bytes: four segments.
    I8x64,
    /// 16 words of 16 bits: two segments; also 16 half-precision floats.
    I16x16,
    /// 32 words of 16 bits: four segments.
    I16x32,
    /// 16 integers; as a mask, lanes are all ones or zero.
    I32x16,
    /// 16 singles.
    F32x16,
    /// Half of an I8x64.
    I8x32,
    /// Half of an I32x16.
    I32x8,
    /// Half of an F32x16.
    F32x8,
}

impl Ty {
    /// Size in memory; a Bool has none.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Bool => 0,
            Self::I32 | Self::F32 => 4,
            Self::I8x16 => 16,
            Self::I16x16 | Self::I8x32 | Self::I32x8 | Self::F32x8 => 32,
            Self::I8x64 | Self::I16x32 | Self::I32x16 | Self::F32x16 => 64,
        }
    }
}

/// Comparison; signed for integers, ordered for floats (false with a NaN, but `Ne` true).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cmp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// An operation. Operand types must agree with each variant's rule; the verifier checks them. "Number" is I32, F32,
/// I32x16 or F32x16; "integer" is I32 or I32x16; "float" is F32 or F32x16.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The item index, value 0 of every kernel: I32.
    Item,
    /// A loop index or an input of an outline: I32, defined by its statement.
    Index,
    /// Parameter of a function.
    Param(u32),
    /// I32 literal.
    I32(i32),
    /// F32 literal, by its bits, so that equality and printing are exact.
    F32(u32),
    /// 16 lanes of literals.
    I32Lanes([i32; 16]),
    /// 16 bytes of literals.
    I8Lanes([i8; 16]),
    /// A scalar parameter: I32.
    Scalar(ParamId),
    /// Number of rows of the step: I32 in 1..=max_rows.
    RowCount,
    /// Number of wanted outputs: I32 in 0..=max_outputs.
    OutputCount,
    /// Capacity of a slot: I32, at least 1.
    Context,
    /// Current value of a mutable local.
    Get(VarId),
    /// Current value of an element of a local: by the index of a [`super::Stmt::Repeat`], or a literal.
    Element(VarId, ValueId),

    /// Number + number; integers wrap. Of halves, too; and of I16x32 and I16x16, wrapping (the verifier proves that it does
    /// not).
    Add(ValueId, ValueId),
    /// Number - number.
    Sub(ValueId, ValueId),
    /// Number * number; of halves, too.
    Mul(ValueId, ValueId),
    /// Float / float; I32 / positive I32 of non-negative values, rounding down.
    Div(ValueId, ValueId),
    /// I32 % positive I32 of non-negative values.
    Rem(ValueId, ValueId),
    /// `a * b + c` of floats or their halves, rounded once.
    Fma(ValueId, ValueId, ValueId),
    /// `a < b ? a : b` of numbers.
    Min(ValueId, ValueId),
    /// `a > b ? a : b` of numbers.
    Max(ValueId, ValueId),
    /// Sign bit cleared: float.
    Abs(ValueId),
    /// Sign bit flipped: float.
    Neg(ValueId),
    /// Correctly rounded: float.
    Sqrt(ValueId),
    /// Bitwise and of Bool, I32, I32x16, I8x64.
    And(ValueId, ValueId),
    /// Bitwise or of Bool, I32, I32x16, I8x64.
    Or(ValueId, ValueId),
    /// Bitwise exclusive or of I32, I32x16, I8x64.
    Xor(ValueId, ValueId),
    /// Negation of Bool.
    Not(ValueId),
    /// Left shift of an integer by 0..=31.
    Shl(ValueId, u32),
    /// Arithmetic right shift of an integer by 0..=31.
    ShrS(ValueId, u32),
    /// Logical right shift of an integer by 0..=31; of the bytes of an I8x64 by 0..=7.
    ShrU(ValueId, u32),
    /// Comparison of numbers of one type: Bool of scalars, an I32x16 mask of vectors.
    Cmp(Cmp, ValueId, ValueId),
    /// `cond ? a : b`; cond is Bool (a, b any one type) or an I32x16 mask (a, b both I32x16 or F32x16).
    Select(ValueId, ValueId, ValueId),
    /// `min(index, n - 1)` compared as unsigned, n >= 1: the way from a loaded number to an index, whatever was loaded. A
    /// clamp that changes the value is an error in the interpreter and a debug assertion in generated code.
    Bounded(ValueId, ValueId),

    /// Integer to float, rounded to nearest even; of halves, too.
    ToFloat(ValueId),
    /// Float to integer, rounded to nearest even; the operand lies within ±2^30 (checked by the interpreter).
    ToInt(ValueId),
    /// The same bits as another type of the same size: F32/I32, or among the 64-byte vectors.
    Bits(Ty, ValueId),
    /// A scalar in every lane: I32 -> I32x16, F32 -> F32x16.
    Splat(ValueId),
    /// I8x16 -> I32x16, sign-extended.
    WidenS(ValueId),
    /// I8x16 -> I32x16, zero-extended.
    WidenU(ValueId),
    /// I32x16 -> I8x16, low bytes.
    Narrow(ValueId),
    /// I16x16 of half-precision floats -> F32x16, exact.
    HalfToFloat(ValueId),
    /// F32x16 -> I16x16 of half-precision floats, to nearest even.
    FloatToHalf(ValueId),
    /// The lower half of the lanes: I8x64 -> I8x32, I16x32 -> I16x16, I32x16 -> I32x8, F32x16 -> F32x8.
    Low(ValueId),
    /// The upper half, likewise.
    High(ValueId),
    /// The vector of a lower and an upper half.
    Join(ValueId, ValueId),
    /// Sum of the lanes by halves (i += i+8, i+4, i+2, i+1): F32x16 -> F32, I32x16 -> I32.
    ReduceAdd(ValueId),
    /// `Max` of the lanes by halves, the lower lane first operand: F32x16 -> F32.
    ReduceMax(ValueId),

    /// `table[index & 15]` per byte: I8x16 table, I8x64 indices in 0..16.
    Lookup(ValueId, ValueId),
    /// As [`Op::Lookup`] of two tables, one behind the other: I8x16, I8x16, I8x64 indices in 0..32.
    Lookup32(ValueId, ValueId, ValueId),
    /// `acc + sum of 4 products`, u8 times i8: I32x16, I8x64 (unsigned), I8x64 (signed); this and the products below of
    /// halves, too.
    Dot4U(ValueId, ValueId, ValueId),
    /// `acc + sum of 4 products`, i8 times i8, of which one operand has no -128: I32x16, I8x64, I8x64.
    Dot4S(ValueId, ValueId, ValueId),
    /// As [`Op::Dot4S`], with bytes `4 n ..` of the second operand in every lane: I32x16, I8x64, I8x16, n in 0..4.
    Dot4SBy(ValueId, ValueId, ValueId, u32),
    /// Sums of 2 products, u8 times i8, into 16 bits: I8x64 (unsigned), I8x64 (signed) -> I16x32. Saturates in
    /// hardware; the verifier proves that it cannot.
    Dot2U(ValueId, ValueId),
    /// Sums of 2 products, i8 times i8, neither -128: I8x64, I8x64 -> I16x32; cannot overflow.
    Dot2S(ValueId, ValueId),
    /// Sums of 2 products of words: I16x32, I16x32 -> I32x16.
    DotWords(ValueId, ValueId),
    /// Products of signed bytes, each in a lane of its own, by bytes `4 n ..` of the second operand over and over: I8x32,
    /// I8x16 -> I16x32, n in 0..4.
    MulSBy(ValueId, ValueId, u32),
    /// As [`Op::MulSBy`], added to an I16x32; the verifier proves that sums do not wrap.
    MacSBy(ValueId, ValueId, ValueId, u32),
    /// `acc + sums of 2 neighbouring words`: I32x16, I16x32.
    AddPairs(ValueId, ValueId),
    /// Sums of 2 neighbours, wrapping: I32x16 -> I32x8.
    FoldPairs(ValueId),

    /// Reads at element `index` of a region.
    Load {
        /// Any region.
        region: ParamId,
        /// For `Space::Kv`: which slot; out-of-range slots are clamped like `Bounded`.
        slot: Option<ValueId>,
        /// First element.
        index: ValueId,
        /// What lies there: lanes (bytes for I8 types, and for an I32 out of a region of bytes; unsigned where hi > 127)
        /// are within `lo..=hi`;
        /// checked by the interpreter, used by the verifier.
        range: Option<(i32, i32)>,
    },
    /// Pure function of the program.
    Call(FuncId, Vec<ValueId>),
}
