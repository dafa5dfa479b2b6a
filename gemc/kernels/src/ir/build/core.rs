//! What kernels and functions in the making share: values, and the open blocks that statements go into.

use std::cell::{Ref, RefCell, RefMut};

use super::values::Values;
use crate::ir::typing::{Signature, TypeEnv, TypeError, result_type};
use crate::ir::{Block, FuncId, Local, Op, Param, ParamId, Stmt, Ty, ValueDef, ValueId, VarId};

/// A kernel or function in the making, shared by the handles to its values.
#[derive(Debug)]
pub struct Core(RefCell<Draft>);

/// What was written so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) values: Values,
    pub(super) params: Vec<Param>,
    pub(super) vars: Vec<Local>,
    /// Open blocks, innermost last.
    pub(super) blocks: Vec<Block>,
}

impl Core {
    pub(super) fn new() -> Self {
        let mut draft = Draft::default();
        draft.open();
        Self(RefCell::new(draft))
    }

    pub(super) fn draft(&self) -> Ref<'_, Draft> {
        self.0.borrow()
    }

    pub(super) fn draft_mut(&self) -> RefMut<'_, Draft> {
        self.0.borrow_mut()
    }

    /// The draft, once nothing is added to it.
    pub(super) fn take(&self) -> Draft {
        self.0.take()
    }

    /// Adds an operation whose type is `declared` where operands do not decide it.
    #[track_caller]
    pub(super) fn op(&self, op: Op, declared: Ty) -> ValueId {
        self.draft_mut().op(op, declared)
    }

    #[track_caller]
    pub(super) fn i32(&self, n: i32) -> ValueId {
        self.op(Op::I32(n), Ty::I32)
    }
}

impl Draft {
    #[track_caller]
    fn op(&mut self, op: Op, declared: Ty) -> ValueId {
        self.values.expect_operands(&op);
        let ty = expect_type(result_type(&self.env(), &op, declared));
        self.enter(op, ty)
    }

    /// A value for an operation of a known type: found, folded or new.
    pub(super) fn enter(&mut self, op: Op, ty: Ty) -> ValueId {
        let mut new = Vec::new();
        let v = self.values.enter(op, ty, &mut new);
        for v in new {
            self.stmt(Stmt::Let(v));
        }
        v
    }

    pub(super) fn ty(&self, v: ValueId) -> Ty {
        self.values.defs[v.index()].ty
    }

    pub(super) fn stmt(&mut self, stmt: Stmt) {
        self.blocks
            .last_mut()
            .expect("the outermost block is open until the draft is taken")
            .push(stmt);
    }

    pub(super) fn open(&mut self) {
        self.blocks.push(Block::new());
        self.values.open();
    }

    /// Opens a block that sees nothing of those around it.
    pub(super) fn open_apart(&mut self) {
        self.blocks.push(Block::new());
        self.values.open_apart();
    }

    pub(super) fn close(&mut self) -> Block {
        self.values.close();
        self.blocks
            .pop()
            .expect("`close` follows an `open` of the same method")
    }

    pub(super) fn env(&self) -> Env<'_> {
        Env {
            values: &self.values.defs,
            vars: &self.vars,
            params: &self.params,
        }
    }
}

/// Types in the draft so far.
pub(super) struct Env<'a> {
    values: &'a [ValueDef],
    vars: &'a [Local],
    params: &'a [Param],
}

impl TypeEnv for Env<'_> {
    fn value(&self, id: ValueId) -> Option<Ty> {
        self.values.get(id.index()).map(|v| v.ty)
    }

    fn var(&self, id: VarId) -> Option<Ty> {
        self.vars.get(id.index()).map(|v| v.ty)
    }

    fn param(&self, id: ParamId) -> Option<&Param> {
        self.params.get(id.index())
    }

    fn signature(&self, _: FuncId) -> Option<Signature> {
        None
    }
}

/// The type, or the lowering's mistake.
#[track_caller]
pub(super) fn expect_type<T>(checked: Result<T, TypeError>) -> T {
    match checked {
        Ok(ty) => ty,
        Err(error) => unreachable!("kernel built with a type error: {error}"),
    }
}
