//! Builder of kernels: parameters, mutable locals and control flow; operations are methods of their values.

use super::core::Core;
use super::memory::{Array, Region, Var};
use super::operand::{Operand, ids};
use super::val::Val;
use crate::ir::{
    Count, Elem, Extent, Kernel, Local, Op, Param, ParamId, Space, Stmt, Ty, ValueId, VarId,
};

/// A kernel in the making. Values of a nested block cannot be used after it.
#[derive(Debug)]
pub struct KernelBuilder {
    core: Core,
}

impl KernelBuilder {
    /// The kernel that `body` writes; its item indices are below `items`.
    #[must_use]
    pub fn build(name: &str, doc: &str, items: u32, body: impl FnOnce(&Self)) -> Kernel {
        let builder = Self { core: Core::new() };
        let item = builder.core.draft_mut().values.define(Op::Item, Ty::I32);
        builder.core.draft_mut().values.name(item, "item");
        body(&builder);
        let mut draft = builder.core.take();
        assert_eq!(draft.blocks.len(), 1, "a block of the kernel is still open");
        Kernel {
            name: name.to_owned(),
            doc: doc.to_owned(),
            params: draft.params,
            items,
            values: draft.values.defs,
            vars: draft.vars,
            body: draft.blocks.pop().unwrap_or_default(),
        }
    }

    /// Adds a region.
    pub fn region(
        &self,
        name: &str,
        space: Space,
        elem: Elem,
        len: Extent,
        mutable: bool,
    ) -> Region<'_> {
        let id = self.param(Param::Region {
            name: name.to_owned(),
            space,
            elem,
            len,
            mutable,
        });
        Region::new(&self.core, id)
    }

    /// Adds `len` elements of the weights.
    pub fn weights(&self, name: &str, elem: Elem, len: usize) -> Region<'_> {
        let len = Extent::fixed(len as i64);
        self.region(name, Space::Weights, elem, len, false)
    }

    /// Adds `len` elements of the arena that are only read.
    pub fn input(&self, name: &str, elem: Elem, len: usize) -> Region<'_> {
        let len = Extent::fixed(len as i64);
        self.region(name, Space::Arena, elem, len, false)
    }

    /// Adds `len` elements of the arena that are written.
    pub fn output(&self, name: &str, elem: Elem, len: usize) -> Region<'_> {
        let len = Extent::fixed(len as i64);
        self.region(name, Space::Arena, elem, len, true)
    }

    /// Adds memory of every slot that does not grow with its context, of `len` elements.
    pub fn ring(&self, name: &str, elem: Elem, len: usize, mutable: bool) -> Region<'_> {
        let len = Extent::fixed(len as i64);
        self.region(name, Space::Kv, elem, len, mutable)
    }

    /// Adds memory of every slot, of so many elements a position.
    pub fn memory(&self, name: &str, elem: Elem, per_position: usize, mutable: bool) -> Region<'_> {
        let len = Extent::per_context(per_position as i64);
        self.region(name, Space::Kv, elem, len, mutable)
    }

    /// Adds a local array: memory of one item, zero at its start.
    pub fn local(&self, name: &str, elem: Elem, len: usize) -> Region<'_> {
        let len = Extent::fixed(len as i64);
        self.region(name, Space::Local, elem, len, true)
    }

    /// Adds a scalar parameter of at most `max`, and returns its value. Call it before opening blocks.
    pub fn scalar(&self, name: &str, max: u32) -> Val<'_> {
        let param = self.param(Param::Scalar {
            name: name.to_owned(),
            max,
        });
        self.nullary(Op::Scalar(param)).named(name)
    }

    /// Adds a call table with at least `len` entries.
    pub fn table(&self, name: &str, len: u32) -> ParamId {
        self.param(Param::Table {
            name: name.to_owned(),
            len,
        })
    }

    fn param(&self, param: Param) -> ParamId {
        let mut draft = self.core.draft_mut();
        let id = ParamId::from_index(draft.params.len());
        draft.params.push(param);
        id
    }

    fn nullary(&self, op: Op) -> Val<'_> {
        Val::of(&self.core, self.core.op(op, Ty::I32))
    }

    /// The item index.
    #[must_use]
    pub fn item(&self) -> Val<'_> {
        Val::of(&self.core, ValueId(0))
    }

    /// [`Op::RowCount`].
    pub fn row_count(&self) -> Val<'_> {
        self.nullary(Op::RowCount)
    }

    /// [`Op::OutputCount`].
    pub fn output_count(&self) -> Val<'_> {
        self.nullary(Op::OutputCount)
    }

    /// [`Op::Context`].
    pub fn context(&self) -> Val<'_> {
        self.nullary(Op::Context)
    }

    /// A number as a literal.
    #[track_caller]
    pub fn lit<'k>(&'k self, number: impl Operand<'k>) -> Val<'k> {
        number.on(&self.core)
    }

    /// A number in each of 16 lanes.
    #[track_caller]
    pub fn splat<'k>(&'k self, number: impl Operand<'k>) -> Val<'k> {
        number.on(&self.core).splat()
    }

    /// 16 I32 literals.
    pub fn i32_lanes(&self, lanes: [i32; 16]) -> Val<'_> {
        self.nullary(Op::I32Lanes(lanes))
    }

    /// 16 byte literals.
    pub fn i8_lanes(&self, lanes: [i8; 16]) -> Val<'_> {
        self.nullary(Op::I8Lanes(lanes))
    }

    /// Declares a mutable local.
    #[track_caller]
    pub fn var<'k>(&'k self, name: &str, init: impl Operand<'k>) -> Var<'k> {
        let init = init.on(&self.core);
        Var::new(&self.core, self.declare(name, init, None))
    }

    /// Declares as many mutable locals as `count` says, each with this value.
    #[track_caller]
    pub fn array<'k>(&'k self, name: &str, count: &Count, init: impl Operand<'k>) -> Array<'k> {
        let init = init.on(&self.core);
        Array::new(&self.core, self.declare(name, init, Some(count.clone())))
    }

    #[track_caller]
    fn declare(&self, name: &str, init: Val<'_>, count: Option<Count>) -> VarId {
        let mut draft = self.core.draft_mut();
        draft.values.expect_visible(init.id(), "var");
        let id = VarId::from_index(draft.vars.len());
        let local = Local {
            ty: draft.ty(init.id()),
            count,
            name: Some(name.to_owned()),
        };
        draft.vars.push(local);
        draft.stmt(Stmt::Var(id, init.id()));
        id
    }

    /// The body as often as `count` says, with the index a literal once it is written out.
    pub fn repeat<'k>(&'k self, count: &Count, name: &str, body: impl FnOnce(Val<'k>)) {
        if count.n == 1 && count.name.is_none() {
            return body(self.lit(0));
        }
        self.core.draft_mut().open();
        let index = self.core.draft_mut().values.define(Op::Index, Ty::I32);
        body(Val::of(&self.core, index).named(name));
        let mut draft = self.core.draft_mut();
        let body = draft.close();
        draft.stmt(Stmt::Repeat {
            index,
            count: count.clone(),
            body,
        });
    }

    /// For all of `0..end`, strips of `count` numbers and then one at a time: `body(first, size)` of each. Counts of that name
    /// are in the body those of the strip.
    pub fn strips<'k>(&'k self, end: Val<'k>, count: &Count, body: impl FnOnce(Val<'k>, Val<'k>)) {
        if count.n == 1 {
            return self.for_n(end, |first| body(first.named("row"), self.lit(1)));
        }
        self.expect_all("strips", &[end], Ty::I32);
        let [first, size] = {
            let mut draft = self.core.draft_mut();
            draft.open();
            [0, 1].map(|_| draft.values.define(Op::Index, Ty::I32))
        };
        let value = |id| Val::of(&self.core, id);
        body(value(first).named("first"), value(size).named("size"));
        let mut draft = self.core.draft_mut();
        let body = draft.close();
        draft.stmt(Stmt::Strips {
            first,
            size,
            end: end.id(),
            count: count.clone(),
            body,
        });
    }

    /// `for index in start..end`. A loop whose literal bounds allow one or no iteration is not emitted as a loop.
    #[track_caller]
    pub fn for_<'k>(
        &'k self,
        start: impl Operand<'k>,
        end: impl Operand<'k>,
        body: impl FnOnce(Val<'k>),
    ) {
        let (start, end) = (start.on(&self.core), end.on(&self.core));
        self.expect_all("for", &[start, end], Ty::I32);
        if let (Some(first), Some(end)) = (start.literal(), end.literal()) {
            if first >= end {
                return;
            }
            if first + 1 == end {
                return body(start);
            }
        }
        self.core.draft_mut().open();
        let index = self.core.draft_mut().values.define(Op::Index, Ty::I32);
        body(Val::of(&self.core, index));
        let mut draft = self.core.draft_mut();
        let body = draft.close();
        draft.stmt(Stmt::For {
            index,
            start: start.id(),
            end: end.id(),
            body,
        });
    }

    /// `for index in 0..n`.
    #[track_caller]
    pub fn for_n<'k>(&'k self, n: impl Operand<'k>, body: impl FnOnce(Val<'k>)) {
        self.for_(0, n, body);
    }

    /// Conditional with two branches.
    #[track_caller]
    pub fn if_<'k>(&'k self, cond: Val<'k>, then: impl FnOnce(), otherwise: impl FnOnce()) {
        self.expect_all("if", &[cond], Ty::Bool);
        self.core.draft_mut().open();
        then();
        let then = self.core.draft_mut().close();
        self.core.draft_mut().open();
        otherwise();
        let mut draft = self.core.draft_mut();
        let otherwise = draft.close();
        draft.stmt(Stmt::If {
            cond: cond.id(),
            then,
            otherwise,
        });
    }

    /// Conditional without an `else`.
    #[track_caller]
    pub fn when<'k>(&'k self, cond: Val<'k>, then: impl FnOnce()) {
        self.if_(cond, then, || {});
    }

    /// A block that one compiled copy can serve in kernels of every shape: it is given its own values for `inputs`, all
    /// I32, by these names, and sees no other value from outside.
    #[track_caller]
    pub fn outline<'k>(
        &'k self,
        name: &str,
        inputs: &[(&str, Val<'k>)],
        body: impl FnOnce(&[Val<'k>]),
    ) {
        let outer: Vec<Val<'k>> = inputs.iter().map(|(_, value)| *value).collect();
        self.expect_all("outline", &outer, Ty::I32);
        let inner: Vec<Val<'k>> = {
            let mut draft = self.core.draft_mut();
            draft.open_apart();
            let named = |(name, _): &(&str, _)| {
                let inner = draft.values.define(Op::Index, Ty::I32);
                draft.values.name(inner, name);
                Val::of(&self.core, inner)
            };
            inputs.iter().map(named).collect()
        };
        body(&inner);
        let mut draft = self.core.draft_mut();
        let body = draft.close();
        draft.stmt(Stmt::Outline {
            name: name.to_owned(),
            inputs: ids(&inner).into_iter().zip(ids(&outer)).collect(),
            body,
        });
    }

    /// Runs items `begin..end` of entry `entry` of a call table.
    #[track_caller]
    pub fn call_table(&self, table: ParamId, entry: Val<'_>, begin: Val<'_>, end: Val<'_>) {
        self.expect_all("call", &[entry, begin, end], Ty::I32);
        let mut draft = self.core.draft_mut();
        assert!(
            matches!(draft.params[table.index()], Param::Table { .. }),
            "`call`: {table} is no table"
        );
        draft.stmt(Stmt::Call {
            table,
            entry: entry.id(),
            begin: begin.id(),
            end: end.id(),
        });
    }

    /// A line for the reader.
    pub fn comment(&self, text: &str) {
        let mut draft = self.core.draft_mut();
        draft.stmt(Stmt::Comment(text.to_owned()));
    }

    #[track_caller]
    fn expect_all(&self, op: &'static str, values: &[Val<'_>], ty: Ty) {
        let draft = self.core.draft();
        for v in ids(values) {
            draft.values.expect_visible(v, op);
            assert_eq!(draft.ty(v), ty, "`{op}`: {v} must be {}", ty.name());
        }
    }
}
