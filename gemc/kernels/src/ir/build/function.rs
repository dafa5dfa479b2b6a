//! Builder of pure functions.

use super::{Ops, Values};
use crate::ir::typing::{Signature, TypeEnv, result_type};
use crate::ir::{FuncId, Function, Op, Param, ParamId, Ty, ValueDef, ValueId, VarId};

/// A function that can be called: its id and types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRef {
    /// Which.
    pub id: FuncId,
    /// Its types.
    pub signature: Signature,
}

impl FunctionRef {
    /// A reference to the function that will be, or is, number `id` of the program.
    ///
    /// # Panics
    /// If the function's ids are out of range, which [`FunctionBuilder`] does not produce.
    #[must_use]
    pub fn new(id: FuncId, function: &Function) -> Self {
        let signature = function
            .signature()
            .expect("a built function has its parameters and its result among its values");
        Self { id, signature }
    }
}

/// Builds a [`Function`]. Parameters come first.
#[derive(Debug)]
pub struct FunctionBuilder {
    name: String,
    doc: String,
    params: u32,
    values: Values,
}

impl FunctionBuilder {
    /// A function without parameters yet.
    #[must_use]
    pub fn new(name: &str, doc: &str) -> Self {
        let mut values = Values::default();
        values.open();
        Self {
            name: name.to_owned(),
            doc: doc.to_owned(),
            params: 0,
            values,
        }
    }

    /// Adds a parameter; panics once there are other values.
    #[track_caller]
    pub fn param(&mut self, name: &str, ty: Ty) -> ValueId {
        assert_eq!(
            self.values.defs.len(),
            self.params as usize,
            "parameters come before every other value of a function"
        );
        let v = self.values.define(Op::Param(self.params), ty);
        self.params += 1;
        self.name(v, name)
    }

    /// Calls another function.
    #[track_caller]
    pub fn call_fn(&mut self, function: &FunctionRef, args: &[ValueId]) -> ValueId {
        super::expect_signature(&self.values, function, args);
        self.values.enter(
            Op::Call(function.id, args.to_vec()),
            function.signature.result,
            &mut Vec::new(),
        )
    }

    /// The function.
    #[must_use]
    #[track_caller]
    pub fn finish(self, result: ValueId) -> Function {
        self.values.expect_visible(result, "return");
        Function {
            name: self.name,
            doc: self.doc,
            params: self.params,
            values: self.values.defs,
            result,
        }
    }
}

/// Types of the values alone.
struct Env<'a>(&'a [ValueDef]);

impl TypeEnv for Env<'_> {
    fn value(&self, id: ValueId) -> Option<Ty> {
        self.0.get(id.index()).map(|v| v.ty)
    }

    fn var(&self, _: VarId) -> Option<Ty> {
        None
    }

    fn param(&self, _: ParamId) -> Option<&Param> {
        None
    }

    fn signature(&self, _: FuncId) -> Option<Signature> {
        None
    }
}

impl Ops for FunctionBuilder {
    #[track_caller]
    fn op(&mut self, op: Op, declared: Ty) -> ValueId {
        self.values.expect_operands(&op);
        let ty = super::expect_type(result_type(&Env(&self.values.defs), &op, declared));
        self.values.enter(op, ty, &mut Vec::new())
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
