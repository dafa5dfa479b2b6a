//! Values in the making, with the scopes in which pure operations can be reused.

use std::collections::HashMap;

use crate::ir::fold::{FoldResult, fold};
use crate::ir::{Op, Ty, ValueDef, ValueId};

/// All values so far, and which of them the open block sees.
#[derive(Debug, Default)]
pub(in crate::ir) struct Values {
    pub(in crate::ir) defs: Vec<ValueDef>,
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
    pub(in crate::ir) fn open(&mut self) {
        self.scopes.push(Scope::default());
    }

    /// Opens a block that sees nothing of those around it.
    pub(in crate::ir) fn open_apart(&mut self) {
        let apart = vec![false; self.visible.len()];
        self.scopes.push(Scope {
            hidden: Some(std::mem::replace(&mut self.visible, apart)),
            ..Scope::default()
        });
    }

    pub(in crate::ir) fn close(&mut self) {
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
    pub(in crate::ir) fn define(&mut self, op: Op, ty: Ty) -> ValueId {
        let id = ValueId::from_index(self.defs.len());
        self.defs.push(ValueDef { op, ty, name: None });
        self.visible.push(true);
        if let Some(scope) = self.scopes.last_mut() {
            scope.values.push(id);
        }
        id
    }

    /// A value for an operation that was type-checked: found, folded or new. New values are added to `new`, in order.
    pub(in crate::ir) fn enter(&mut self, op: Op, ty: Ty, new: &mut Vec<ValueId>) -> ValueId {
        let op = match fold(&self.defs, op) {
            FoldResult::Op(op) => op,
            FoldResult::Value(v) => return v,
            FoldResult::Literal(n) => Op::I32(n),
            FoldResult::Plus(v, n) => {
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
    pub(in crate::ir) fn name(&mut self, v: ValueId, hint: &str) -> ValueId {
        self.defs[v.index()]
            .name
            .get_or_insert_with(|| hint.to_owned());
        v
    }

    pub(in crate::ir) fn literal(&self, v: ValueId) -> Option<i32> {
        match self.defs[v.index()].op {
            Op::I32(n) => Some(n),
            _ => None,
        }
    }

    #[track_caller]
    pub(in crate::ir) fn expect_visible(&self, v: ValueId, op: &'static str) {
        assert!(
            self.visible.get(v.index()) == Some(&true),
            "`{op}`: {v} is not defined in an open block of this builder"
        );
    }

    #[track_caller]
    pub(in crate::ir) fn expect_operands(&self, op: &Op) {
        op.for_each_operand(|v| self.expect_visible(v, op.mnemonic()));
    }
}
