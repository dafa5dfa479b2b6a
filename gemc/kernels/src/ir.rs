//! Kernel IR: one definition of a kernel, three executions (interpreter, emitted Rust, Cranelift).
//!
//! A [`Program`] is a static table of phases over shared [`Kernel`]s. A kernel's body is run once per *item*; it is a
//! list of statements over values in single assignment. Rules of evaluation, once and for all:
//!
//! - A value is computed where its [`Stmt::Let`] stands, and is visible from there to the end of its block.
//! - Integers are 32 bits wide inside expressions and wrap; narrow vector lanes wrap or saturate as the operation says.
//! - f32 is IEEE, never reassociated or contracted; [`Op::Fma`] is fused. `min(a, b)` is `a < b ? a : b`, `max` is
//!   `a > b ? a : b` (x86's rule: the second operand when unordered). Rounding to integer is to nearest even.
//! - Memory is reached through regions only: an index counts elements of the region's type, whatever is loaded. The
//!   verifier proves every access in range, from the bounds of items, loops and parameters; a loaded number becomes an
//!   index only through [`Op::Bounded`] or `min`.
//! - Items of one phase may run in any order and on any thread; they write disjoint memory.

pub mod build;
pub mod expand;
mod fold;
pub mod homes;
pub mod interp;
pub mod liveness;
mod op;
mod op_info;
pub mod outline;
pub mod places;
mod program;
pub mod reach;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod typing;
pub mod uses;
pub mod verify;
mod walk;

pub use op::{Cmp, Op, Ty};
pub use op_info::ALL_TYPES;
pub use program::{Half, Items, Phase, Program, ProgramShape, Table, TableEntry, Tap};
pub use walk::walk;

crate::id_type!(
    /// A value of a kernel or function.
    ValueId,
    "v"
);
crate::id_type!(
    /// A mutable local of a kernel.
    VarId,
    "m"
);
crate::id_type!(
    /// A parameter or local region of a kernel.
    ParamId,
    "p"
);
crate::id_type!(
    /// A kernel of a program.
    KernelId,
    "k"
);
crate::id_type!(
    /// A pure function of a program.
    FuncId,
    "f"
);
crate::id_type!(
    /// A call table of a program.
    TableId,
    "tab"
);

/// Element type of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elem {
    /// Bytes.
    I8,
    /// 16-bit words; also IEEE half-precision floats.
    I16,
    /// 32-bit words.
    I32,
    /// Single-precision floats.
    F32,
}

impl Elem {
    /// Size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
        }
    }
}

/// `per_context * context + fixed`: sizes and bounds, where `context` is the capacity of a slot, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Factor of the context capacity.
    pub per_context: i64,
    /// Elements whatever the context; may be negative.
    pub fixed: i64,
}

impl Extent {
    /// A size that does not depend on the context.
    #[must_use]
    pub const fn fixed(n: i64) -> Self {
        Self {
            per_context: 0,
            fixed: n,
        }
    }

    /// `n` times the context capacity.
    #[must_use]
    pub const fn per_context(n: i64) -> Self {
        Self {
            per_context: n,
            fixed: 0,
        }
    }
}

/// Where a region lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// The weight file, read only. Argument: offset / 64.
    Weights,
    /// The step's scratch memory. Argument: offset / 64.
    Arena,
    /// A slot's key/value memory; every access names the slot. Argument: bytes per position that precede it, so the
    /// region starts at `argument * context`; of a region that does not grow with the context, units of 64 bytes from its
    /// start to the slot's pointer.
    Kv,
    /// The step's rows as i32: token, slot, position, visible. No argument.
    Rows,
    /// Indices of the rows whose logits are wanted, i32. No argument.
    Outputs,
    /// Memory of one item, zero at its start. No argument.
    Local,
}

/// What a kernel is given, or a local array of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// An array of elements of one type, in one of the memory spaces.
    Region {
        /// Name in dumps and generated code.
        name: String,
        /// The memory that it lies in.
        space: Space,
        /// Type of an element.
        elem: Elem,
        /// Number of elements, linear in the context.
        len: Extent,
        /// Whether it may be stored to.
        mutable: bool,
    },
    /// A number at most `max`, at least 0.
    Scalar {
        /// Name in dumps and generated code.
        name: String,
        /// Upper bound, inclusive.
        max: u32,
    },
    /// A call table with at least `len` entries.
    Table {
        /// Name in dumps and generated code.
        name: String,
        /// Entries that may be called.
        len: u32,
    },
}

impl Param {
    /// Whether the parameter takes a word of the argument list.
    #[must_use]
    pub fn takes_argument(&self) -> bool {
        !matches!(
            self,
            Self::Region {
                space: Space::Rows | Space::Outputs | Space::Local,
                ..
            }
        )
    }

    /// Name in dumps and generated code.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Region { name, .. } | Self::Scalar { name, .. } | Self::Table { name, .. } => {
                name
            }
        }
    }
}

/// A value: its operation, type, and a name hint for readers.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueDef {
    /// How it is computed; loop indices and function parameters have [`Op::Index`] and [`Op::Param`].
    pub op: Op,
    /// Type of the result.
    pub ty: Ty,
    /// Identifier for dumps and generated code, made unique by the id.
    pub name: Option<String>,
}

/// A number that is known when a kernel is built.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Count {
    /// At least 1.
    pub n: u32,
    /// Of a number that outlines differ in, and nothing else: what it is called.
    pub name: Option<String>,
}

impl Count {
    /// A number, fixed where it stands.
    #[must_use]
    pub fn of(n: usize) -> Self {
        Self {
            n: n as u32,
            name: None,
        }
    }

    /// A number that outlines differ in.
    #[must_use]
    pub fn named(n: usize, name: &str) -> Self {
        Self {
            n: n as u32,
            name: Some(name.to_owned()),
        }
    }
}

/// A mutable local: one value, or an array of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Local {
    /// Type of the value, or of each of an array's.
    pub ty: Ty,
    /// Of an array: how many.
    pub count: Option<Count>,
    /// Name in dumps and generated code.
    pub name: Option<String>,
}

/// A list of statements.
pub type Block = Vec<Stmt>;

/// An effect, or the point where a value is computed.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// Computes a value.
    Let(ValueId),
    /// Declares a mutable local; of an array, every element starts so.
    Var(VarId, ValueId),
    /// Assigns a mutable local.
    Set(VarId, ValueId),
    /// Assigns one of a local's elements.
    SetElement(VarId, ValueId, ValueId),
    /// Writes `value` at element `index`.
    Store {
        /// Mutable region.
        region: ParamId,
        /// For `Space::Kv`: which slot.
        slot: Option<ValueId>,
        /// First element.
        index: ValueId,
        /// The value to be written, of the region's element type or a vector of it.
        value: ValueId,
    },
    /// `for index in start..end`.
    For {
        /// An `Op::Index` value, visible in `body`.
        index: ValueId,
        /// I32: the first index.
        start: ValueId,
        /// I32: one past the last index or item.
        end: ValueId,
        /// Run once for each index.
        body: Block,
    },
    /// The body as often as `count` says, one after the other, with `index` a literal: 0, then 1 and so on. That is what it
    /// means and how it is proved ([`expand`]); how it is executed is each backend's own affair.
    Repeat {
        /// An `Op::Index` value, visible in `body`.
        index: ValueId,
        /// Number of repetitions.
        count: Count,
        /// Written out once for each index.
        body: Block,
    },
    /// The body for all of `0..end`, strip by strip: as many strips of `count` numbers as fit, then one number at a time. In
    /// the body counts of that name are the strip's.
    Strips {
        /// An `Op::Index` value, visible in `body`: the strip's first number.
        first: ValueId,
        /// An `Op::Index` value, visible in `body`: how many numbers the strip has; a literal once it is written out.
        size: ValueId,
        /// I32: one past the last index or item.
        end: ValueId,
        /// Of a strip, with a name.
        count: Count,
        /// Run per strip.
        body: Block,
    },
    /// One of two blocks, by a condition.
    If {
        /// The condition, of type Bool.
        cond: ValueId,
        /// When true.
        then: Block,
        /// When false.
        otherwise: Block,
    },
    /// Runs items `begin..end` of entry `entry` of a call table.
    Call {
        /// The parameter that is the table, a `Param::Table`.
        table: ParamId,
        /// I32: index of the entry.
        entry: ValueId,
        /// I32: the first item.
        begin: ValueId,
        /// I32: one past the last index or item.
        end: ValueId,
    },
    /// A block that means the same in kernels of every shape, so that one compiled copy can serve them all: besides
    /// regions and mutable locals it sees `inputs` and nothing else of its kernel. To be executed in its place, or by
    /// such a copy.
    Outline {
        /// Identifier; says operation and format.
        name: String,
        /// [`Op::Index`] values of the block, each equal to an I32 from outside.
        inputs: Vec<(ValueId, ValueId)>,
        /// Its statements.
        body: Block,
    },
    /// A line for the reader; kept by every form.
    Comment(String),
}

/// A function of the IR that runs items of a phase: parameters, values and statements.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// Identifier, unique in the program; says operation, shape and format.
    pub name: String,
    /// One line on what it computes, for the reader.
    pub doc: String,
    /// Parameters and local regions.
    pub params: Vec<Param>,
    /// Every item index is below.
    pub items: u32,
    /// All values; value 0 is the item index ([`Op::Item`]).
    pub values: Vec<ValueDef>,
    /// Mutable locals.
    pub vars: Vec<Local>,
    /// Run per item.
    pub body: Block,
}

/// A pure function of values: exp and its like, written once in the IR itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Identifier, unique in the program.
    pub name: String,
    /// One line on what it computes and how exactly.
    pub doc: String,
    /// Number of parameters: the first values, [`Op::Param`].
    pub params: u32,
    /// All values, in order of evaluation; memory is not touched.
    pub values: Vec<ValueDef>,
    /// What it returns.
    pub result: ValueId,
}
