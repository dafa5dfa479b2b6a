//! Builder of kernels: operations, memory, mutable locals and control flow.

use super::{FunctionRef, Ops, Values};
use crate::ir::typing::{Signature, TypeEnv, check_store, result_type};
use crate::ir::{
    Block, Elem, Extent, FuncId, Kernel, Op, Param, ParamId, Space, Stmt, Ty, ValueDef, ValueId,
    VarId,
};

/// Builds a [`Kernel`]. Values of a nested block cannot be used after it.
#[derive(Debug)]
pub struct KernelBuilder {
    name: String,
    doc: String,
    items: u32,
    params: Vec<Param>,
    vars: Vec<(Ty, Option<String>)>,
    values: Values,
    /// Open blocks, innermost last.
    blocks: Vec<Block>,
}

impl KernelBuilder {
    /// An empty kernel whose item indices are below `items`.
    #[must_use]
    pub fn new(name: &str, doc: &str, items: u32) -> Self {
        let mut values = Values::default();
        values.open();
        let mut builder = Self {
            name: name.to_owned(),
            doc: doc.to_owned(),
            items,
            params: Vec::new(),
            vars: Vec::new(),
            values,
            blocks: vec![Block::new()],
        };
        let item = builder.values.define(Op::Item, Ty::I32);
        builder.name(item, "item");
        builder
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
        let id = ParamId::from_index(self.params.len());
        self.params.push(param);
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
        super::expect_signature(&self.values, function, args);
        self.enter(
            Op::Call(function.id, args.to_vec()),
            function.signature.result,
        )
    }

    /// Declares a mutable local.
    #[track_caller]
    pub fn var(&mut self, init: ValueId) -> VarId {
        self.values.expect_visible(init, "var");
        let id = VarId::from_index(self.vars.len());
        self.vars.push((self.ty(init), None));
        self.stmt(Stmt::Var(id, init));
        id
    }

    /// Declares a mutable local with a name for readers.
    #[track_caller]
    pub fn named_var(&mut self, name: &str, init: ValueId) -> VarId {
        let id = self.var(init);
        self.vars[id.index()].1 = Some(name.to_owned());
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
        self.values.expect_visible(value, "set");
        assert_eq!(
            self.vars[var.index()].0,
            self.ty(value),
            "`set`: {var} and {value} have different types"
        );
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
        for v in slot.into_iter().chain([index, value]) {
            self.values.expect_visible(v, "store");
        }
        super::expect_type(check_store(&self.env(), region, slot, index, value));
        assert!(
            matches!(
                self.params[region.index()],
                Param::Region { mutable: true, .. }
            ),
            "`store`: {region} is not mutable"
        );
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
        self.values.expect_visible(start, "for");
        self.values.expect_visible(end, "for");
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
        let index = self.values.define(Op::Index, Ty::I32);
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
        self.values.expect_visible(cond, "if");
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
            self.values.expect_visible(v, "outline");
            assert_eq!(self.ty(v), Ty::I32, "`outline`: {v} must be i32");
        }
        self.blocks.push(Block::new());
        self.values.open_apart();
        let named = |outer: &ValueId| {
            let name = self.values.defs[outer.index()].name.clone();
            let inner = self.values.define(Op::Index, Ty::I32);
            self.values.defs[inner.index()].name = name;
            inner
        };
        let inner: Vec<ValueId> = inputs.iter().map(named).collect();
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
            self.values.expect_visible(v, "call");
            assert_eq!(self.ty(v), Ty::I32, "`call`: {v} must be i32");
        }
        assert!(
            matches!(self.params[table.index()], Param::Table { .. }),
            "`call`: {table} is no table"
        );
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
    pub fn finish(mut self) -> Kernel {
        assert_eq!(self.blocks.len(), 1, "a block of the kernel is still open");
        Kernel {
            name: self.name,
            doc: self.doc,
            params: self.params,
            items: self.items,
            values: self.values.defs,
            vars: self.vars,
            body: self.blocks.pop().unwrap_or_default(),
        }
    }

    fn stmt(&mut self, stmt: Stmt) {
        self.blocks
            .last_mut()
            .expect("the kernel's own block is open until `finish` takes the builder")
            .push(stmt);
    }

    fn open(&mut self) {
        self.blocks.push(Block::new());
        self.values.open();
    }

    fn close(&mut self) -> Block {
        self.values.close();
        self.blocks
            .pop()
            .expect("`close` follows an `open` of the same method")
    }

    fn enter(&mut self, op: Op, ty: Ty) -> ValueId {
        let mut new = Vec::new();
        let v = self.values.enter(op, ty, &mut new);
        for v in new {
            self.stmt(Stmt::Let(v));
        }
        v
    }

    fn env(&self) -> Env<'_> {
        Env {
            values: &self.values.defs,
            vars: &self.vars,
            params: &self.params,
        }
    }
}

/// Types in the kernel so far.
struct Env<'a> {
    values: &'a [ValueDef],
    vars: &'a [(Ty, Option<String>)],
    params: &'a [Param],
}

impl TypeEnv for Env<'_> {
    fn value(&self, id: ValueId) -> Option<Ty> {
        self.values.get(id.index()).map(|v| v.ty)
    }

    fn var(&self, id: VarId) -> Option<Ty> {
        self.vars.get(id.index()).map(|v| v.0)
    }

    fn param(&self, id: ParamId) -> Option<&Param> {
        self.params.get(id.index())
    }

    fn signature(&self, _: FuncId) -> Option<Signature> {
        None
    }
}

impl Ops for KernelBuilder {
    #[track_caller]
    fn op(&mut self, op: Op, declared: Ty) -> ValueId {
        self.values.expect_operands(&op);
        let ty = super::expect_type(result_type(&self.env(), &op, declared));
        self.enter(op, ty)
    }

    fn ty(&self, v: ValueId) -> Ty {
        self.values.defs[v.index()].ty
    }

    fn name(&mut self, v: ValueId, hint: &str) -> ValueId {
        self.values.name(v, hint)
    }

    fn literal(&self, v: ValueId) -> Option<i32> {
        self.values.literal(v)
    }
}
