//! Regions of memory, and mutable locals.

use std::ops::RangeInclusive;

use super::core::{Core, expect_type};
use super::operand::Operand;
use super::val::Val;
use crate::ir::typing::check_store;
use crate::ir::{Elem, Op, Param, ParamId, Stmt, Ty, ValueId, VarId};

/// Memory that a kernel reads or writes; an index counts its elements, whatever is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Region<'k> {
    core: &'k Core,
    id: ParamId,
    /// Of key/value memory: whose.
    slot: Option<ValueId>,
    /// The element that index 0 means, unless it is the first.
    start: Option<Val<'k>>,
}

impl<'k> Region<'k> {
    pub(super) const fn new(core: &'k Core, id: ParamId) -> Self {
        Self {
            core,
            id,
            slot: None,
            start: None,
        }
    }

    /// Its number among the kernel's parameters.
    #[must_use]
    pub const fn id(self) -> ParamId {
        self.id
    }

    /// The key/value memory of one slot.
    #[must_use]
    pub fn of(self, slot: Val<'k>) -> Self {
        Self {
            slot: Some(slot.id()),
            ..self
        }
    }

    /// What is left without its first `n` elements.
    #[must_use]
    #[track_caller]
    pub fn skip(self, n: impl Operand<'k>) -> Self {
        let name = self.core.draft().params[self.id.index()].name().to_owned();
        let start = self.place(n).named(&format!("{name}_at"));
        Self {
            start: Some(start),
            ..self
        }
    }

    /// From row `row` on, where rows have `width` elements.
    #[must_use]
    #[track_caller]
    pub fn row(self, row: Val<'k>, width: impl Operand<'k>) -> Self {
        self.skip(row * width)
    }

    /// Where `index` is in the whole region.
    #[track_caller]
    fn place(self, index: impl Operand<'k>) -> Val<'k> {
        match self.start {
            Some(start) => start + index,
            None => index.on(self.core),
        }
    }

    /// The element at `index`, which is I32 or F32.
    #[track_caller]
    pub fn get(self, index: impl Operand<'k>) -> Val<'k> {
        let ty = match self.elem() {
            Elem::F32 => Ty::F32,
            Elem::I8 | Elem::I16 | Elem::I32 => Ty::I32,
        };
        self.load(ty, index)
    }

    /// The 16 elements from `index` on.
    #[track_caller]
    pub fn lanes(self, index: impl Operand<'k>) -> Val<'k> {
        let ty = match self.elem() {
            Elem::I8 => Ty::I8x16,
            Elem::I16 => Ty::I16x16,
            Elem::I32 => Ty::I32x16,
            Elem::F32 => Ty::F32x16,
        };
        self.load(ty, index)
    }

    fn elem(self) -> Elem {
        match self.core.draft().params[self.id.index()] {
            Param::Region { elem, .. } => elem,
            Param::Scalar { .. } | Param::Table { .. } => {
                unreachable!("only `KernelBuilder::region` makes a `Region`")
            }
        }
    }

    /// A `ty` from element `index` on.
    #[track_caller]
    pub fn load(self, ty: Ty, index: impl Operand<'k>) -> Val<'k> {
        self.load_any(ty, index, None)
    }

    /// As [`Region::load`], of numbers that are known to lie in `range`.
    #[track_caller]
    pub fn load_in(self, ty: Ty, index: impl Operand<'k>, range: RangeInclusive<i32>) -> Val<'k> {
        self.load_any(ty, index, Some((*range.start(), *range.end())))
    }

    #[track_caller]
    fn load_any(self, ty: Ty, index: impl Operand<'k>, range: Option<(i32, i32)>) -> Val<'k> {
        let op = Op::Load {
            region: self.id,
            slot: self.slot,
            index: self.place(index).id(),
            range,
        };
        Val::of(self.core, self.core.op(op, ty))
    }

    /// Writes `value` from element `index` on.
    #[track_caller]
    pub fn store(self, index: impl Operand<'k>, value: impl Operand<'k>) {
        let (index, value) = (self.place(index).id(), value.on(self.core).id());
        let mut draft = self.core.draft_mut();
        for v in self.slot.into_iter().chain([index, value]) {
            draft.values.expect_visible(v, "store");
        }
        let (region, slot) = (self.id, self.slot);
        expect_type(check_store(&draft.env(), region, slot, index, value));
        let mutable = matches!(
            draft.params[region.index()],
            Param::Region { mutable: true, .. }
        );
        assert!(mutable, "`store`: {region} is not mutable");
        draft.stmt(Stmt::Store {
            region,
            slot,
            index,
            value,
        });
    }
}

/// A mutable local of one value.
#[derive(Clone, Copy, Debug)]
pub struct Var<'k> {
    core: &'k Core,
    id: VarId,
}

impl<'k> Var<'k> {
    pub(super) const fn new(core: &'k Core, id: VarId) -> Self {
        Self { core, id }
    }

    /// Its number in the kernel.
    #[must_use]
    pub const fn id(self) -> VarId {
        self.id
    }

    /// What it is now.
    #[track_caller]
    pub fn get(self) -> Val<'k> {
        Val::of(self.core, self.core.op(Op::Get(self.id), Ty::I32))
    }

    /// Assigns it.
    #[track_caller]
    pub fn set(self, value: Val<'k>) {
        let (id, value) = (self.id, value.id());
        let mut draft = self.core.draft_mut();
        draft.values.expect_visible(value, "set");
        assert_eq!(
            draft.vars[id.index()].ty,
            draft.ty(value),
            "`set`: {id} and {value} have different types"
        );
        draft.stmt(Stmt::Set(id, value));
    }

    /// Assigns what `f` makes of it.
    #[track_caller]
    pub fn update(self, f: impl FnOnce(Val<'k>) -> Val<'k>) {
        let before = self.get();
        self.set(f(before));
    }
}

/// Mutable locals of one type, by number.
#[derive(Clone, Copy, Debug)]
pub struct Array<'k> {
    core: &'k Core,
    id: VarId,
}

impl<'k> Array<'k> {
    pub(super) const fn new(core: &'k Core, id: VarId) -> Self {
        Self { core, id }
    }

    /// What element `at` is now; `at` is the index of a repetition, or a literal.
    #[track_caller]
    pub fn get(self, at: impl Operand<'k>) -> Val<'k> {
        let at = at.on(self.core).id();
        Val::of(self.core, self.core.op(Op::Element(self.id, at), Ty::I32))
    }

    /// Assigns an element.
    #[track_caller]
    pub fn set(self, at: impl Operand<'k>, value: Val<'k>) {
        let (id, at, value) = (self.id, at.on(self.core).id(), value.id());
        let mut draft = self.core.draft_mut();
        draft.values.expect_visible(at, "set");
        draft.values.expect_visible(value, "set");
        assert_eq!(
            draft.vars[id.index()].ty,
            draft.ty(value),
            "`set`: {id} and {value} have different types"
        );
        draft.stmt(Stmt::SetElement(id, at, value));
    }

    /// Assigns what `f` makes of an element.
    #[track_caller]
    pub fn update(self, at: impl Operand<'k>, f: impl FnOnce(Val<'k>) -> Val<'k>) {
        let at = at.on(self.core);
        let before = self.get(at);
        self.set(at, f(before));
    }
}
