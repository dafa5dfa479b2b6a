//! How the parts of a line are written: names, strings, numbers, operations.

use super::lex;
use crate::ir::{
    Cmp, Count, Extent, Items, Local, Op, Param, TableEntry, ValueDef, ValueId, VarId,
};
use std::fmt::{self, Display, Write};

/// A string in quotes.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        escape(f, self.0, Some('"'))?;
        f.write_char('"')
    }
}

fn escape(f: &mut fmt::Formatter<'_>, text: &str, quote: Option<char>) -> fmt::Result {
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            c if Some(c) == quote => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

/// An identifier, or a string where it is none.
pub(super) struct Name<'a>(pub(super) &'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if lex::is_identifier(self.0) {
            f.write_str(self.0)
        } else {
            Quoted(self.0).fmt(f)
        }
    }
}

/// ` name`, or nothing.
pub(super) struct Hint<'a>(pub(super) Option<&'a str>);

impl Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(f, " {}", Name(name)))
    }
}

pub(super) struct CommentText<'a>(pub(super) &'a str);

impl Display for CommentText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("//")?;
        if !self.0.is_empty() {
            f.write_char(' ')?;
        }
        escape(f, self.0, None)
    }
}

pub(super) struct LocalText<'a>(pub(super) VarId, pub(super) &'a Local);

impl Display for LocalText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Local { ty, count, name } = self.1;
        write!(f, "{}{}: {ty}", self.0, Hint(name.as_deref()))?;
        match count {
            Some(count) => write!(f, "[{}]", CountText(count)),
            None => Ok(()),
        }
    }
}

/// `8` or `rows=8`.
pub(super) struct CountText<'a>(pub(super) &'a Count);

impl Display for CountText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.name {
            Some(name) => write!(f, "{}={}", Name(name), self.0.n),
            None => write!(f, "{}", self.0.n),
        }
    }
}

pub(super) struct Definition<'a>(pub(super) ValueId, pub(super) &'a ValueDef);

impl Display for Definition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let def = self.1;
        let name = Hint(def.name.as_deref());
        write!(f, "{}{name}: {} = {}", self.0, def.ty, OpText(&def.op))
    }
}

/// What stands between the brackets of an access.
pub(super) struct At(pub(super) Option<ValueId>, pub(super) ValueId);

impl Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(slot) => write!(f, "slot {slot}, {}", self.1),
            None => self.1.fmt(f),
        }
    }
}

pub(super) struct List<'a, T>(pub(super) &'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            item.fmt(f)?;
        }
        Ok(())
    }
}

/// A float literal that reads back as the same bits.
pub(super) struct Float(pub(super) u32);

impl Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = f32::from_bits(self.0);
        if x.is_nan() {
            write!(f, "nan({:#010x})", self.0)
        } else {
            write!(f, "{x:?}")
        }
    }
}

pub(super) struct OpText<'a>(pub(super) &'a Op);

impl Display for OpText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = self.0;
        let name = op.mnemonic();
        match op {
            Op::Param(n) => write!(f, "{name} {n}"),
            Op::I32(n) => write!(f, "{name} {n}"),
            Op::F32(bits) => write!(f, "{name} {}", Float(*bits)),
            Op::I32Lanes(lanes) => write!(f, "{name} {}", List(lanes)),
            Op::I8Lanes(lanes) => write!(f, "{name} {}", List(lanes)),
            Op::Scalar(p) => write!(f, "{name} {p}"),
            Op::Get(m) => write!(f, "{name} {m}"),
            Op::Element(m, index) => write!(f, "{name} {m}[{index}]"),
            Op::Shl(a, by) | Op::ShrS(a, by) | Op::ShrU(a, by) => write!(f, "{name} {a}, {by}"),
            Op::MulSBy(a, b, n) => write!(f, "{name} {a}, {b}, {n}"),
            Op::Dot4SBy(a, b, c, n) | Op::MacSBy(a, b, c, n) => {
                write!(f, "{name} {a}, {b}, {c}, {n}")
            }
            Op::Cmp(cmp, a, b) => write!(f, "{name} {} {a}, {b}", Cmp::name(*cmp)),
            Op::Bits(to, a) => write!(f, "{name} {to} {a}"),
            Op::Load {
                region,
                slot,
                index,
                range,
            } => {
                write!(f, "{name} {region}[{}]", At(*slot, *index))?;
                range.map_or(Ok(()), |(lo, hi)| write!(f, " in {lo}..={hi}"))
            }
            Op::Call(function, args) => write!(f, "{name} {function}({})", List(args)),
            op => {
                let mut operands = Vec::new();
                op.for_each_operand(|v| operands.push(v));
                let space = if operands.is_empty() { "" } else { " " };
                write!(f, "{name}{space}{}", List(&operands))
            }
        }
    }
}

pub(super) struct ParamText<'a>(pub(super) &'a Param);

impl Display for ParamText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Name(self.0.name());
        match self.0 {
            Param::Region {
                space,
                elem,
                len,
                mutable,
                ..
            } => {
                let suffix = if *mutable { " mut" } else { "" };
                let len = ExtentText(*len);
                write!(
                    f,
                    "region {name} {} {} len {len}{suffix}",
                    space.name(),
                    elem.name()
                )
            }
            Param::Scalar { max, .. } => write!(f, "scalar {name} max {max}"),
            Param::Table { len, .. } => write!(f, "table {name} len {len}"),
        }
    }
}

/// `per_context*context + fixed`, without what is zero.
pub(super) struct ExtentText(pub(super) Extent);

impl Display for ExtentText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.per_context, self.0.fixed) {
            (0, n) => write!(f, "{n}"),
            (c, 0) => write!(f, "{c}*context"),
            (c, n) => write!(f, "{c}*context + {n}"),
        }
    }
}

pub(super) struct EntryText<'a>(pub(super) &'a TableEntry);

impl Display for EntryText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.0.kernel, List(&self.0.args))
    }
}

pub(super) struct ItemsText(pub(super) Items);

impl Display for ItemsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Items::Fixed(n) => write!(f, "fixed {n}"),
            Items::PerRow(n) => write!(f, "per_row {n}"),
            Items::PerOutput(n) => write!(f, "per_output {n}"),
            Items::Loaded { offset, max } => write!(f, "loaded {offset} max {max}"),
        }
    }
}
