//! What the typing rules of operations have in common.

use super::{TypeEnv, TypeError};
use crate::ir::{FuncId, Op, Param, ParamId, Space, Ty, ValueId};

const BITS_RULE: &str = "i32 or f32 of f32 or i32, or a 64-byte vector of a 64-byte vector";

/// The rules' shared parts, for one operation.
pub(super) struct Rules<'a, E> {
    pub env: &'a E,
    pub op: &'a Op,
}

impl<E: TypeEnv> Rules<'_, E> {
    pub fn value(&self, id: ValueId) -> Result<Ty, TypeError> {
        self.env.value(id).ok_or(TypeError::UnknownValue(id))
    }

    pub fn param(&self, id: ParamId) -> Result<&Param, TypeError> {
        self.env.param(id).ok_or(TypeError::UnknownParam(id))
    }

    pub fn param_kind(&self, param: ParamId, expected: &'static str) -> TypeError {
        TypeError::ParamKind {
            op: self.op.mnemonic(),
            param,
            expected,
        }
    }

    pub fn one(
        &self,
        a: ValueId,
        expected: &'static str,
        allowed: impl Fn(Ty) -> bool,
    ) -> Result<Ty, TypeError> {
        let found = self.value(a)?;
        if allowed(found) {
            return Ok(found);
        }
        Err(TypeError::Operand {
            op: self.op.mnemonic(),
            value: a,
            found,
            expected,
        })
    }

    pub fn same(
        &self,
        a: ValueId,
        b: ValueId,
        expected: &'static str,
        allowed: impl Fn(Ty) -> bool,
    ) -> Result<Ty, TypeError> {
        let ty = self.one(a, expected, &allowed)?;
        let other = self.one(b, expected, &allowed)?;
        if ty == other {
            return Ok(ty);
        }
        Err(TypeError::Mismatch {
            op: self.op.mnemonic(),
            left: a,
            left_ty: ty,
            right: b,
            right_ty: other,
        })
    }

    pub fn map(
        &self,
        a: ValueId,
        expected: &'static str,
        table: &[(Ty, Ty)],
    ) -> Result<Ty, TypeError> {
        let found = self.value(a)?;
        table
            .iter()
            .find(|(from, _)| *from == found)
            .map(|(_, to)| *to)
            .ok_or(TypeError::Operand {
                op: self.op.mnemonic(),
                value: a,
                found,
                expected,
            })
    }

    pub fn shift(&self, by: u32, max: u32) -> Result<(), TypeError> {
        if by <= max {
            return Ok(());
        }
        Err(TypeError::Shift {
            op: self.op.mnemonic(),
            by,
            max,
        })
    }

    /// Bytes, and those of another vector that they are multiplied by.
    pub fn by_element(&self, a: ValueId, b: ValueId, n: u32) -> Result<(), TypeError> {
        self.shift(n, 3)?;
        self.one(b, "i8x16", |ty| ty == Ty::I8x16)?;
        self.one(a, "i8x32", |ty| ty == Ty::I8x32).map(|_| ())
    }

    pub fn select(&self, cond: ValueId, a: ValueId, b: ValueId) -> Result<Ty, TypeError> {
        match self.value(cond)? {
            Ty::Bool => self.same(a, b, "any type", |_| true),
            Ty::I32x16 => self.same(a, b, "i32x16 or f32x16", |ty| {
                matches!(ty, Ty::I32x16 | Ty::F32x16)
            }),
            found => Err(TypeError::Operand {
                op: self.op.mnemonic(),
                value: cond,
                found,
                expected: "bool or an i32x16 mask",
            }),
        }
    }

    pub fn bits(&self, to: Ty, a: ValueId) -> Result<Ty, TypeError> {
        let found = self.value(a)?;
        let scalar = |ty| matches!(ty, Ty::I32 | Ty::F32);
        let wide = |ty: Ty| ty.bytes() == 64;
        if (scalar(found) && scalar(to)) || (wide(found) && wide(to)) {
            return Ok(to);
        }
        Err(TypeError::Operand {
            op: self.op.mnemonic(),
            value: a,
            found,
            expected: BITS_RULE,
        })
    }

    pub fn access(
        &self,
        region: ParamId,
        slot: Option<ValueId>,
        index: ValueId,
    ) -> Result<(), TypeError> {
        let Param::Region { space, .. } = self.param(region)? else {
            return Err(self.param_kind(region, "region"));
        };
        match (*space == Space::Kv, slot) {
            (true, None) => return Err(self.slot(region, "lies in kv, so a slot is needed")),
            (false, Some(_)) => {
                return Err(self.slot(region, "does not lie in kv, so it has no slots"));
            }
            (true, Some(slot)) => {
                self.one(slot, "i32", |ty| ty == Ty::I32)?;
            }
            (false, None) => {}
        }
        self.one(index, "i32", |ty| ty == Ty::I32).map(|_| ())
    }

    pub fn slot(&self, param: ParamId, rule: &'static str) -> TypeError {
        TypeError::Slot {
            op: self.op.mnemonic(),
            param,
            rule,
        }
    }

    pub fn storable(&self, ty: Ty) -> Result<Ty, TypeError> {
        if ty.bytes() > 0 {
            return Ok(ty);
        }
        Err(TypeError::Type {
            op: self.op.mnemonic(),
            ty,
            expected: "any type but bool",
        })
    }

    pub fn call(&self, f: FuncId, args: &[ValueId]) -> Result<Ty, TypeError> {
        let signature = self.env.signature(f).ok_or(TypeError::UnknownFunction(f))?;
        if signature.params.len() != args.len() {
            return Err(TypeError::Arity {
                function: f,
                expected: signature.params.len(),
                found: args.len(),
            });
        }
        for (&arg, &expected) in args.iter().zip(&signature.params) {
            self.one(arg, expected.name(), |ty| ty == expected)?;
        }
        Ok(signature.result)
    }
}
