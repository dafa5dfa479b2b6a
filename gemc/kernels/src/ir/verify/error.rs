//! What the verifier reports: where, what, and what is expected.

use super::MAX_COUNT;
use super::range::Range;
use crate::ir::expand::ExpandError;
use crate::ir::typing::TypeError;
use crate::ir::{Extent, FuncId, ParamId, Ty, ValueId, VarId};
use std::fmt;

/// A rule of the IR that a program breaks, and the place.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct VerifyError {
    /// Kernel or function, and the value or statement in it.
    pub place: Place,
    /// What, and what is expected.
    pub problem: Problem,
}

/// Where in a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// `kernel NAME`, `function NAME`, `body phase 3`; empty for the program itself.
    pub item: String,
    /// The value that is computed or used there.
    pub value: Option<ValueId>,
}

impl Place {
    pub(super) fn kernel(name: &str) -> Self {
        Self::item(format!("kernel {name}"))
    }

    pub(super) fn function(name: &str) -> Self {
        Self::item(format!("function {name}"))
    }

    pub(super) const fn item(item: String) -> Self {
        Self { item, value: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.item.is_empty() {
            "program"
        } else {
            &self.item
        })?;
        match self.value {
            Some(v) => write!(f, ", {v}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.per_context, self.fixed) {
            (0, n) => write!(f, "{n}"),
            (c, 0) => write!(f, "{c}*context"),
            (c, n) if n < 0 => write!(f, "{c}*context-{}", n.unsigned_abs()),
            (c, n) => write!(f, "{c}*context+{n}"),
        }
    }
}

/// A broken rule of the IR.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// An operand of a wrong type.
    #[error("{0}")]
    Type(#[from] TypeError),
    /// A definition claims another type than its operation has.
    #[error("declared {declared}, but the operation gives {found}")]
    Declared {
        /// The type that the definition names.
        declared: Ty,
        /// The type that the operation's typing rule gives.
        found: Ty,
    },
    /// Use of a value outside its block, or before it is computed.
    #[error(
        "used where it is not visible; a value is visible from its definition to the end of its block"
    )]
    NotVisible,
    /// A value is defined a second time.
    #[error("computed twice; every value is computed at one place")]
    Twice,
    /// A mutable local outside its block, or before its declaration.
    #[error(
        "{0} is used where it is not visible; declare it with `var` in this or an enclosing block"
    )]
    VarNotVisible(VarId),
    /// A mutable local is declared a second time.
    #[error("{0} is declared twice")]
    VarTwice(VarId),
    /// An assignment of another type.
    #[error("{var} is {expected}, but the assigned value is {found}")]
    VarType {
        /// The local that is assigned or read.
        var: VarId,
        /// Type that the local was declared with.
        expected: Ty,
        /// Type of the assigned value.
        found: Ty,
    },
    /// One value where an array is meant, or the other way round.
    #[error(
        "{var} is {found}; `get` and `m0 = v0` are for one value, `element` and `m0[v0] = v1` for arrays"
    )]
    VarKind {
        /// The local that is assigned or read.
        var: VarId,
        /// `an array` or `one value`, as it was declared.
        found: &'static str,
    },
    /// A count of a repetition or an array.
    #[error("a count of {0}; repetitions and arrays have 1 to {MAX_COUNT}")]
    Count(u32),
    /// Strips of a count without a name.
    #[error("`strips` are of a count with a name, such as rows=8")]
    StripName,
    /// A kernel that cannot be written out.
    #[error("{0}")]
    Expand(#[from] ExpandError),
    /// `item`, `index` or `param` at a wrong place.
    #[error("`{op}` is not allowed here; {rule}")]
    Misplaced {
        /// Mnemonic of the operation, as in IR text.
        op: &'static str,
        /// Where it is allowed.
        rule: &'static str,
    },
    /// A statement's operand has the wrong type.
    #[error("{what} is {found}, expected {expected}")]
    Operand {
        /// Which operand of which statement.
        what: &'static str,
        /// Type of the operand.
        found: Ty,
        /// Type that the statement takes.
        expected: Ty,
    },
    /// A store to a region that is not declared mutable.
    #[error("{0} is not mutable; stores need a region declared `mut`")]
    NotMutable(ParamId),
    /// A parameter of the wrong kind.
    #[error("{param} is not a {expected}")]
    ParamKind {
        /// The parameter of the kernel that breaks the rule.
        param: ParamId,
        /// Kind of parameter that is needed, in words.
        expected: &'static str,
    },
    /// A bad parameter declaration.
    #[error("{param} ({name}): {rule}")]
    Param {
        /// The parameter of the kernel that breaks the rule.
        param: ParamId,
        /// Name of that parameter.
        name: String,
        /// The rule for its declaration, in words.
        rule: String,
    },
    /// A name that is no identifier, or is taken.
    #[error("name {name:?} {rule}")]
    Name {
        /// The name as it was given.
        name: String,
        /// The rule for names that it breaks, in words.
        rule: &'static str,
    },
    /// Text with control characters.
    #[error("{what} contains control characters; it must be one line")]
    Text {
        /// `doc` or `comment`.
        what: &'static str,
    },
    /// Blocks nested too deeply.
    #[error("blocks nest deeper than {max}")]
    Depth {
        /// The most that is allowed.
        max: usize,
    },
    /// A function that calls itself or a later one.
    #[error("calls {0}; functions call only functions before them")]
    CallOrder(FuncId),
    /// A function that touches memory or the step.
    #[error("`{0}` is not allowed in a function; it computes from its parameters alone")]
    NotPure(&'static str),
    /// An access that is not proved to lie in its region.
    #[error(
        "index {index} of {param} ({name}) is {range}, and {count} elements are accessed; expected within 0..{len}"
    )]
    OutOfRange {
        /// The region that is accessed.
        param: ParamId,
        /// Name of that parameter.
        name: String,
        /// The value that is the first element's index.
        index: ValueId,
        /// The interval that it is proved to lie in.
        range: Range,
        /// Elements read or written.
        count: i64,
        /// Length of the region.
        len: Extent,
    },
    /// Division by something that may not be positive, or of something that may be negative.
    #[error("`{op}`: {what} {value} is {range}, expected {expected}")]
    Divide {
        /// Mnemonic of the operation, as in IR text.
        op: &'static str,
        /// `dividend` or `divisor`.
        what: &'static str,
        /// The operand that is out of range.
        value: ValueId,
        /// The interval that it is proved to lie in.
        range: Range,
        /// Kind of parameter that is needed, in words.
        expected: &'static str,
    },
    /// Lanes that may break the operation.
    #[error("`{op}`: lanes of {value} are {range}, expected {expected}")]
    Lanes {
        /// Mnemonic of the operation, as in IR text.
        op: &'static str,
        /// The operand or result.
        value: ValueId,
        /// The interval that all its lanes are proved to lie in.
        range: Range,
        /// Kind of parameter that is needed, in words.
        expected: &'static str,
    },
    /// A load's range that its type cannot have.
    #[error("a load of {ty} cannot be in {lo}..={hi}; {rule}")]
    LoadRange {
        /// Type of the load.
        ty: Ty,
        /// Declared lower bound.
        lo: i32,
        /// Declared upper bound.
        hi: i32,
        /// The range that the type can have, in words.
        rule: &'static str,
    },
    /// A call of a table entry that may be out of range.
    #[error("`call`: {what} {value} is {range}, expected {expected}")]
    Call {
        /// `entry`, `begin` or `end`.
        what: &'static str,
        /// The operand that is out of range.
        value: ValueId,
        /// The interval that it is proved to lie in.
        range: Range,
        /// The interval that it must lie in.
        expected: Range,
    },
    /// The program's own tables.
    #[error("{what} is {found}, expected {expected}")]
    Program {
        /// The part of the program that breaks the rule, such as a phase's argument.
        what: String,
        /// What it is.
        found: String,
        /// What it may be.
        expected: String,
    },
}

impl Problem {
    /// Exchanges the value that is the trouble.
    pub(super) fn rename(&mut self, f: impl Fn(ValueId) -> ValueId) {
        if let Self::OutOfRange { index: v, .. }
        | Self::Divide { value: v, .. }
        | Self::Lanes { value: v, .. }
        | Self::Call { value: v, .. } = self
        {
            *v = f(*v);
        }
    }
}
