//! Builder of pure functions.

use super::core::Core;
use super::operand::{Operand, ids};
use super::val::Val;
use crate::ir::typing::Signature;
use crate::ir::{FuncId, Function, Op, Ty};

/// A function that can be called: its id and types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRef {
    /// The function, in the program that it is called in.
    pub id: FuncId,
    /// Types of its parameters and of its result.
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

    /// The result of a call.
    #[track_caller]
    pub fn call<'k>(&self, args: &[Val<'k>]) -> Val<'k> {
        let first = args.first().expect("every function has a parameter");
        let types: Vec<Ty> = args.iter().map(|v| v.ty()).collect();
        assert_eq!(
            types, self.signature.params,
            "arguments of {} differ from its parameters",
            self.id
        );
        // Its number means something in the program alone, so that its type is not looked up.
        let core = first.core();
        let mut draft = core.draft_mut();
        for v in ids(args) {
            draft.values.expect_visible(v, "call");
        }
        let v = draft.enter(Op::Call(self.id, ids(args)), self.signature.result);
        Val::of(core, v)
    }
}

/// A function in the making.
#[derive(Debug)]
pub struct FunctionBuilder {
    core: Core,
}

impl FunctionBuilder {
    /// The function whose result `body` gives.
    #[must_use]
    pub fn build(
        name: &str,
        doc: &str,
        body: impl for<'k> FnOnce(&'k Self) -> Val<'k>,
    ) -> Function {
        let builder = Self { core: Core::new() };
        let result = body(&builder).id();
        let draft = builder.core.take();
        draft.values.expect_visible(result, "return");
        let is_param = |op: &Op| matches!(op, Op::Param(_));
        Function {
            name: name.to_owned(),
            doc: doc.to_owned(),
            params: draft.values.defs.iter().filter(|v| is_param(&v.op)).count() as u32,
            values: draft.values.defs,
            result,
        }
    }

    /// Adds a parameter; panics once there are other values.
    #[track_caller]
    pub fn param(&self, name: &str, ty: Ty) -> Val<'_> {
        let mut draft = self.core.draft_mut();
        let index = draft.values.defs.len();
        assert!(
            draft
                .values
                .defs
                .iter()
                .all(|v| matches!(v.op, Op::Param(_))),
            "parameters come before every other value of a function"
        );
        let v = draft.values.define(Op::Param(index as u32), ty);
        draft.values.name(v, name);
        Val::of(&self.core, v)
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
}
