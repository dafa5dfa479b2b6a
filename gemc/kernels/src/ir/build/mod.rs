//! Builders: method calls in, a [`Kernel`] or [`Function`] out whose every value is typed, defined once and in scope.
//!
//! Misuse (an operand of the wrong type, a value that is out of scope) is a bug of the lowering, not of its input, so it
//! panics where it happens, with the rule that was broken. Arithmetic on literals is folded, and a pure operation that
//! was already computed in an enclosing block is reused.
//!
//! ```
//! use gemc_kernels::ir::build::{KernelBuilder, Ops};
//! use gemc_kernels::ir::{Elem, Extent, Space, Ty};
//!
//! let mut b = KernelBuilder::new("double_64", "y = 2 x, 16 lanes an item", 4);
//! let x = b.region("x", Space::Arena, Elem::F32, Extent::fixed(64), false);
//! let y = b.region("y", Space::Arena, Elem::F32, Extent::fixed(64), true);
//! let item = b.item();
//! let at = b.mul_const(item, 16);
//! let v = b.load(Ty::F32x16, x, at);
//! let sum = b.add(v, v);
//! b.store(y, at, sum);
//! let kernel = b.finish();
//! assert_eq!(kernel.body.len(), 5);
//! ```

mod function;
mod kernel;
mod ops;
#[cfg(test)]
mod tests;

pub use function::{FunctionBuilder, FunctionRef};
pub use kernel::KernelBuilder;
pub use ops::Ops;

use super::fold::{Folded, fold};
use super::typing::TypeError;
use super::{Op, Ty, ValueDef, ValueId};
use std::collections::HashMap;

/// Values in the making, with the scopes in which pure operations can be reused.
#[derive(Debug, Default)]
struct Values {
    defs: Vec<ValueDef>,
    /// Whether the block of a value is still open.
    visible: Vec<bool>,
    /// Innermost last: the values of an open block, and its pure operations.
    scopes: Vec<Scope>,
}

#[derive(Debug, Default)]
struct Scope {
    values: Vec<ValueId>,
    known: HashMap<(Op, Ty), ValueId>,
    /// For an outline, from which nothing outside is seen: what was visible there.
    hidden: Option<Vec<bool>>,
}

impl Values {
    fn open(&mut self) {
        self.scopes.push(Scope::default());
    }

    /// Opens a block that sees nothing of those around it.
    fn open_apart(&mut self) {
        let apart = vec![false; self.visible.len()];
        self.scopes.push(Scope {
            hidden: Some(std::mem::replace(&mut self.visible, apart)),
            ..Scope::default()
        });
    }

    fn close(&mut self) {
        let scope = self.scopes.pop().unwrap_or_default();
        for v in scope.values {
            self.visible[v.index()] = false;
        }
        if let Some(outside) = scope.hidden {
            self.visible[..outside.len()].copy_from_slice(&outside);
        }
    }

    /// The value of a pure operation that the open block can see.
    fn known(&self, key: &(Op, Ty)) -> Option<ValueId> {
        for scope in self.scopes.iter().rev() {
            if let Some(&v) = scope.known.get(key) {
                return Some(v);
            }
            if scope.hidden.is_some() {
                break;
            }
        }
        None
    }

    /// A new value in the open block.
    fn define(&mut self, op: Op, ty: Ty) -> ValueId {
        let id = ValueId::from_index(self.defs.len());
        self.defs.push(ValueDef { op, ty, name: None });
        self.visible.push(true);
        if let Some(scope) = self.scopes.last_mut() {
            scope.values.push(id);
        }
        id
    }

    /// A value for an operation that was type-checked: found, folded or new. New values are added to `new`, in order.
    fn enter(&mut self, op: Op, ty: Ty, new: &mut Vec<ValueId>) -> ValueId {
        let op = match fold(&self.defs, op) {
            Folded::Op(op) => op,
            Folded::Value(v) => return v,
            Folded::Literal(n) => Op::I32(n),
            Folded::Plus(v, n) => {
                let n = self.enter(Op::I32(n), Ty::I32, new);
                return self.enter(Op::Add(v, n), Ty::I32, new);
            }
        };
        if !op.is_pure() {
            let v = self.define(op, ty);
            new.push(v);
            return v;
        }
        let key = (op, ty);
        if let Some(v) = self.known(&key) {
            return v;
        }
        let v = self.define(key.0.clone(), ty);
        if let Some(scope) = self.scopes.last_mut() {
            scope.known.insert(key, v);
        }
        new.push(v);
        v
    }

    /// Names a value that has no name yet.
    fn name(&mut self, v: ValueId, hint: &str) -> ValueId {
        self.defs[v.index()]
            .name
            .get_or_insert_with(|| hint.to_owned());
        v
    }

    fn literal(&self, v: ValueId) -> Option<i32> {
        match self.defs[v.index()].op {
            Op::I32(n) => Some(n),
            _ => None,
        }
    }

    #[track_caller]
    fn expect_visible(&self, v: ValueId, op: &'static str) {
        assert!(
            self.visible.get(v.index()) == Some(&true),
            "`{op}`: {v} is not defined in an open block of this builder"
        );
    }

    #[track_caller]
    fn expect_operands(&self, op: &Op) {
        op.for_each_operand(|v| self.expect_visible(v, op.mnemonic()));
    }
}

/// The type, or the lowering's mistake.
#[track_caller]
fn expect_type<T>(checked: Result<T, TypeError>) -> T {
    match checked {
        Ok(ty) => ty,
        Err(error) => unreachable!("kernel built with a type error: {error}"),
    }
}

/// Panics unless `args` are what `function` takes.
#[track_caller]
fn expect_signature(values: &Values, function: &FunctionRef, args: &[ValueId]) {
    let found: Vec<Ty> = args
        .iter()
        .map(|v| {
            values.expect_visible(*v, "call");
            values.defs[v.index()].ty
        })
        .collect();
    assert_eq!(
        found, function.signature.params,
        "arguments of {} differ from its parameters",
        function.id
    );
}
