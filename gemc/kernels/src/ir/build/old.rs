//! The builder before: removed with the last file that uses it.
#![allow(missing_docs, reason = "removed with the last file that uses it")]

use std::rc::Rc;

use super::FunctionRef;
use super::core::{Core, expect_type};
pub use super::old_ops::Ops;
use crate::ir::typing::check_store;
use crate::ir::{Elem, Extent, Kernel, Op, Param, ParamId, Space, Stmt, Ty, ValueId, VarId};

#[derive(Debug)]
pub struct KernelBuilder {
    name: String,
    doc: String,
    items: u32,
    core: Rc<Core>,
}

impl KernelBuilder {
    #[must_use]
    pub fn new(name: &str, doc: &str, items: u32) -> Self {
        let core = Rc::new(Core::new());
        let item = core.draft_mut().values.define(Op::Item, Ty::I32);
        core.draft_mut().values.name(item, "item");
        Self {
            name: name.to_owned(),
            doc: doc.to_owned(),
            items,
            core,
        }
    }

    pub(super) fn sharing(core: Rc<Core>) -> Self {
        Self {
            name: String::new(),
            doc: String::new(),
            items: 0,
            core,
        }
    }

    /// New code inside old.
    pub fn now<R>(&mut self, f: impl FnOnce(&super::KernelBuilder) -> R) -> R {
        f(&super::KernelBuilder::sharing(Rc::clone(&self.core)))
    }

    /// Adds a region.
    pub fn region(
        &mut self,
        name: &str,
        space: Space,
        elem: Elem,
        len: Extent,
        mutable: bool,
    ) -> ParamId {
        self.param(Param::Region {
            name: name.to_owned(),
            space,
            elem,
            len,
            mutable,
        })
    }

    /// Adds a local array: memory of one item, zero at its start.
    pub fn local(&mut self, name: &str, elem: Elem, len: i64) -> ParamId {
        self.region(name, Space::Local, elem, Extent::fixed(len), true)
    }

    /// Adds a scalar parameter of at most `max`, and returns its value. Call it before opening blocks.
    pub fn scalar(&mut self, name: &str, max: u32) -> ValueId {
        let param = self.param(Param::Scalar {
            name: name.to_owned(),
            max,
        });
        let v = self.op(Op::Scalar(param), Ty::I32);
        self.name(v, name)
    }

    /// Adds a call table with at least `len` entries.
    pub fn table(&mut self, name: &str, len: u32) -> ParamId {
        self.param(Param::Table {
            name: name.to_owned(),
            len,
        })
    }

    /// Adds a parameter.
    pub fn param(&mut self, param: Param) -> ParamId {
        let mut draft = self.core.draft_mut();
        let id = ParamId::from_index(draft.params.len());
        draft.params.push(param);
        id
    }

    /// The item index.
    #[must_use]
    pub fn item(&self) -> ValueId {
        ValueId(0)
    }

    /// [`Op::RowCount`].
    pub fn row_count(&mut self) -> ValueId {
        self.op(Op::RowCount, Ty::I32)
    }

    /// [`Op::OutputCount`].
    pub fn output_count(&mut self) -> ValueId {
        self.op(Op::OutputCount, Ty::I32)
    }

    /// [`Op::Context`].
    pub fn context(&mut self) -> ValueId {
        self.op(Op::Context, Ty::I32)
    }

    /// Calls a pure function.
    #[track_caller]
    pub fn call_fn(&mut self, function: &FunctionRef, args: &[ValueId]) -> ValueId {
        self.enter(
            Op::Call(function.id, args.to_vec()),
            function.signature.result,
        )
    }

    /// Declares a mutable local.
    #[track_caller]
    pub fn var(&mut self, init: ValueId) -> VarId {
        let ty = self.ty(init);
        let id = VarId::from_index(self.core.draft().vars.len());
        self.core.draft_mut().vars.push((ty, None));
        self.stmt(Stmt::Var(id, init));
        id
    }

    /// Declares a mutable local with a name for readers.
    #[track_caller]
    pub fn named_var(&mut self, name: &str, init: ValueId) -> VarId {
        let id = self.var(init);
        self.core.draft_mut().vars[id.index()].1 = Some(name.to_owned());
        id
    }

    /// Current value of a mutable local.
    #[track_caller]
    pub fn get(&mut self, var: VarId) -> ValueId {
        self.op(Op::Get(var), Ty::I32)
    }

    /// Assigns a mutable local.
    #[track_caller]
    pub fn set(&mut self, var: VarId, value: ValueId) {
        self.stmt(Stmt::Set(var, value));
    }

    /// Reads a `ty` at element `index` of a region.
    #[track_caller]
    pub fn load(&mut self, ty: Ty, region: ParamId, index: ValueId) -> ValueId {
        self.load_op(ty, region, None, index, None)
    }

    /// Reads a `ty` whose lanes are known to lie within `lo..=hi`.
    #[track_caller]
    pub fn load_range(
        &mut self,
        ty: Ty,
        region: ParamId,
        index: ValueId,
        lo: i32,
        hi: i32,
    ) -> ValueId {
        self.load_op(ty, region, None, index, Some((lo, hi)))
    }

    /// Reads a `ty` of a slot's key/value memory.
    #[track_caller]
    pub fn load_kv(&mut self, ty: Ty, region: ParamId, slot: ValueId, index: ValueId) -> ValueId {
        self.load_op(ty, region, Some(slot), index, None)
    }

    /// Any load.
    #[track_caller]
    pub fn load_op(
        &mut self,
        ty: Ty,
        region: ParamId,
        slot: Option<ValueId>,
        index: ValueId,
        range: Option<(i32, i32)>,
    ) -> ValueId {
        self.op(
            Op::Load {
                region,
                slot,
                index,
                range,
            },
            ty,
        )
    }

    /// Writes `value` at element `index` of a region.
    #[track_caller]
    pub fn store(&mut self, region: ParamId, index: ValueId, value: ValueId) {
        self.store_op(region, None, index, value);
    }

    /// Writes `value` to a slot's key/value memory.
    #[track_caller]
    pub fn store_kv(&mut self, region: ParamId, slot: ValueId, index: ValueId, value: ValueId) {
        self.store_op(region, Some(slot), index, value);
    }

    /// Any store.
    #[track_caller]
    pub fn store_op(
        &mut self,
        region: ParamId,
        slot: Option<ValueId>,
        index: ValueId,
        value: ValueId,
    ) {
        expect_type(check_store(
            &self.core.draft().env(),
            region,
            slot,
            index,
            value,
        ));
        self.stmt(Stmt::Store {
            region,
            slot,
            index,
            value,
        });
    }

    /// `for index in start..end`. A loop whose literal bounds allow one or no iteration is not emitted as a loop.
    #[track_caller]
    pub fn for_(&mut self, start: ValueId, end: ValueId, body: impl FnOnce(&mut Self, ValueId)) {
        assert_eq!(
            (self.ty(start), self.ty(end)),
            (Ty::I32, Ty::I32),
            "`for`: bounds must be i32"
        );
        if let (Some(first), Some(end)) = (self.literal(start), self.literal(end)) {
            if first >= end {
                return;
            }
            if first + 1 == end {
                return body(self, start);
            }
        }
        self.open();
        let index = self.core.draft_mut().values.define(Op::Index, Ty::I32);
        body(self, index);
        let body = self.close();
        self.stmt(Stmt::For {
            index,
            start,
            end,
            body,
        });
    }

    /// `for index in 0..n`.
    #[track_caller]
    pub fn for_n(&mut self, n: i32, body: impl FnOnce(&mut Self, ValueId)) {
        let start = self.i32(0);
        let end = self.i32(n);
        self.for_(start, end, body);
    }

    /// Conditional with two branches.
    #[track_caller]
    pub fn if_(
        &mut self,
        cond: ValueId,
        then: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        assert_eq!(self.ty(cond), Ty::Bool, "`if`: {cond} must be bool");
        self.open();
        then(self);
        let then = self.close();
        self.open();
        otherwise(self);
        let otherwise = self.close();
        self.stmt(Stmt::If {
            cond,
            then,
            otherwise,
        });
    }

    /// A block that one compiled copy can serve in kernels of every shape: it is given its own names for `inputs`, all
    /// I32, and sees no other value from outside.
    #[track_caller]
    pub fn outline(
        &mut self,
        name: &str,
        inputs: &[ValueId],
        body: impl FnOnce(&mut Self, &[ValueId]),
    ) {
        for &v in inputs {
            assert_eq!(self.ty(v), Ty::I32, "`outline`: {v} must be i32");
        }
        let inner: Vec<ValueId> = {
            let mut draft = self.core.draft_mut();
            draft.open_apart();
            let named = |outer: &ValueId| {
                let name = draft.values.defs[outer.index()].name.clone();
                let inner = draft.values.define(Op::Index, Ty::I32);
                draft.values.defs[inner.index()].name = name;
                inner
            };
            inputs.iter().map(named).collect()
        };
        body(self, &inner);
        let body = self.close();
        self.stmt(Stmt::Outline {
            name: name.to_owned(),
            inputs: inner.into_iter().zip(inputs.iter().copied()).collect(),
            body,
        });
    }

    /// Runs items `begin..end` of entry `entry` of a call table.
    #[track_caller]
    pub fn call_table(&mut self, table: ParamId, entry: ValueId, begin: ValueId, end: ValueId) {
        for v in [entry, begin, end] {
            assert_eq!(self.ty(v), Ty::I32, "`call`: {v} must be i32");
        }
        self.stmt(Stmt::Call {
            table,
            entry,
            begin,
            end,
        });
    }

    /// A line for the reader.
    pub fn comment(&mut self, text: &str) {
        self.stmt(Stmt::Comment(text.to_owned()));
    }

    /// The kernel.
    #[must_use]
    pub fn finish(self) -> Kernel {
        let mut draft = self.core.take();
        Kernel {
            name: self.name,
            doc: self.doc,
            params: draft.params,
            items: self.items,
            values: draft.values.defs,
            vars: draft.vars,
            body: draft.blocks.pop().unwrap_or_default(),
        }
    }

    fn stmt(&mut self, stmt: Stmt) {
        self.core.draft_mut().stmt(stmt);
    }

    fn open(&mut self) {
        self.core.draft_mut().open();
    }

    fn close(&mut self) -> crate::ir::Block {
        self.core.draft_mut().close()
    }

    fn enter(&mut self, op: Op, ty: Ty) -> ValueId {
        self.core.draft_mut().enter(op, ty)
    }

    fn literal_of(&self, v: ValueId) -> Option<i32> {
        self.core.draft().values.literal(v)
    }
}

impl Ops for KernelBuilder {
    #[track_caller]
    fn op(&mut self, op: Op, declared: Ty) -> ValueId {
        self.core.op(op, declared)
    }

    fn ty(&self, v: ValueId) -> Ty {
        self.core.draft().ty(v)
    }

    fn name(&mut self, v: ValueId, hint: &str) -> ValueId {
        self.core.draft_mut().values.name(v, hint)
    }

    fn literal(&self, v: ValueId) -> Option<i32> {
        self.literal_of(v)
    }
}
