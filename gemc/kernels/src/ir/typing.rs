//! The type of every operation, from the types of its operands: one function, used by the builder, the verifier and
//! through them by everything else.

mod rules;

use rules::Rules;

use super::{FuncId, Function, Kernel, Op, Param, ParamId, Ty, ValueId, VarId};

/// Types of what an operation refers to.
pub trait TypeEnv {
    /// Type of a value; `None` if there is no such value.
    fn value(&self, id: ValueId) -> Option<Ty>;
    /// Type of a mutable local.
    fn var(&self, id: VarId) -> Option<Ty>;
    /// A parameter of the kernel.
    fn param(&self, id: ParamId) -> Option<&Param>;
    /// Parameters and result of a function.
    fn signature(&self, id: FuncId) -> Option<Signature>;
}

/// Types of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Of its parameters.
    pub params: Vec<Ty>,
    /// Of its result.
    pub result: Ty,
}

impl Function {
    /// Types of parameters and result; `None` where ids are out of range, which [`super::verify`] reports.
    #[must_use]
    pub fn signature(&self) -> Option<Signature> {
        let params = self.values.get(..self.params as usize)?;
        Some(Signature {
            params: params.iter().map(|v| v.ty).collect(),
            result: self.values.get(self.result.index())?.ty,
        })
    }
}

/// The types in a kernel of a program.
#[derive(Clone, Copy, Debug)]
pub struct KernelTypes<'a> {
    /// Values, locals and parameters.
    pub kernel: &'a Kernel,
    /// What it may call.
    pub functions: &'a [Function],
}

impl TypeEnv for KernelTypes<'_> {
    fn value(&self, id: ValueId) -> Option<Ty> {
        self.kernel.values.get(id.index()).map(|v| v.ty)
    }

    fn var(&self, id: VarId) -> Option<Ty> {
        self.kernel.vars.get(id.index()).map(|v| v.ty)
    }

    fn param(&self, id: ParamId) -> Option<&Param> {
        self.kernel.params.get(id.index())
    }

    fn signature(&self, id: FuncId) -> Option<Signature> {
        self.functions.get(id.index())?.signature()
    }
}

/// The types in a function: it has values only.
#[derive(Clone, Copy, Debug)]
pub struct FunctionTypes<'a> {
    /// Values.
    pub function: &'a Function,
    /// What it may call.
    pub functions: &'a [Function],
}

impl TypeEnv for FunctionTypes<'_> {
    fn value(&self, id: ValueId) -> Option<Ty> {
        self.function.values.get(id.index()).map(|v| v.ty)
    }

    fn var(&self, _: VarId) -> Option<Ty> {
        None
    }

    fn param(&self, _: ParamId) -> Option<&Param> {
        None
    }

    fn signature(&self, id: FuncId) -> Option<Signature> {
        self.functions.get(id.index())?.signature()
    }
}

/// Why an operation has no type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// An operand that is not defined.
    #[error("{0} is not defined")]
    UnknownValue(ValueId),
    /// A mutable local that is not declared.
    #[error("{0} is not a declared local")]
    UnknownVar(VarId),
    /// A parameter that does not exist.
    #[error("{0} is not a parameter")]
    UnknownParam(ParamId),
    /// A function that does not exist.
    #[error("{0} is not a function of the program")]
    UnknownFunction(FuncId),
    /// An operand of the wrong type.
    #[error("`{op}`: {value} is {found}, expected {expected}")]
    Operand {
        /// Mnemonic of the operation, as in IR text.
        op: &'static str,
        /// The operand of the wrong type.
        value: ValueId,
        /// Type of that operand.
        found: Ty,
        /// The types that are allowed, in words.
        expected: &'static str,
    },
    /// Operands that should have one type.
    #[error("`{op}`: {left} is {left_ty} but {right} is {right_ty}; expected one type")]
    Mismatch {
        /// Mnemonic of the operation, as in IR text.
        op: &'static str,
        /// First operand.
        left: ValueId,
        /// Type of the first operand.
        left_ty: Ty,
        /// Second operand.
        right: ValueId,
        /// Type of the second operand.
        right_ty: Ty,
    },
    /// A literal shift that is too far.
    #[error("`{op}` by {by}, expected at most {max}")]
    Shift {
        /// Mnemonic of the operation, as in IR text.
        op: &'static str,
        /// Bits to shift by, as given.
        by: u32,
        /// The most that is allowed.
        max: u32,
    },
    /// A parameter of the wrong kind.
    #[error("`{op}`: {param} is not a {expected}")]
    ParamKind {
        /// Mnemonic of the operation, as in IR text.
        op: &'static str,
        /// The parameter of the wrong kind.
        param: ParamId,
        /// The types that are allowed, in words.
        expected: &'static str,
    },
    /// A slot where there is none, or none where one is needed.
    #[error("`{op}`: {param} {rule}")]
    Slot {
        /// Mnemonic of the operation, as in IR text.
        op: &'static str,
        /// The region that is accessed.
        param: ParamId,
        /// Whether a slot is needed, in words.
        rule: &'static str,
    },
    /// A type that cannot be loaded, stored or cast to.
    #[error("`{op}`: {ty} is not allowed, expected {expected}")]
    Type {
        /// Mnemonic of the operation, as in IR text.
        op: &'static str,
        /// The type that was asked for.
        ty: Ty,
        /// The types that are allowed, in words.
        expected: &'static str,
    },
    /// A call with the wrong number of arguments.
    #[error("`call`: {function} takes {expected} arguments, found {found}")]
    Arity {
        /// The function that is called.
        function: FuncId,
        /// Number of its parameters.
        expected: usize,
        /// Number of arguments.
        found: usize,
    },
}

/// The type of an operation. `declared` is the type its definition claims; it decides only where operands do not: what
/// a load reads, and the type of a function's parameter.
///
/// # Errors
/// The first rule of [`Op`] that does not hold.
pub fn result_type(env: &impl TypeEnv, op: &Op, declared: Ty) -> Result<Ty, TypeError> {
    let t = Rules { env, op };
    match op {
        Op::Item | Op::Index | Op::I32(_) | Op::RowCount | Op::OutputCount | Op::Context => {
            Ok(Ty::I32)
        }
        Op::Param(_) => Ok(declared),
        Op::F32(_) => Ok(Ty::F32),
        Op::I32Lanes(_) => Ok(Ty::I32x16),
        Op::I8Lanes(_) => Ok(Ty::I8x16),
        Op::Scalar(p) => match t.param(*p)? {
            Param::Scalar { .. } => Ok(Ty::I32),
            _ => Err(t.param_kind(*p, "scalar parameter")),
        },
        Op::Get(m) => env.var(*m).ok_or(TypeError::UnknownVar(*m)),
        Op::Element(m, index) => {
            t.one(*index, "i32", |ty| ty == Ty::I32)?;
            env.var(*m).ok_or(TypeError::UnknownVar(*m))
        }
        Op::Add(a, b) => t.same(
            *a,
            *b,
            "a number, a half of numbers, i8x64, i16x32 or i16x16",
            |ty| {
                let narrow = matches!(ty, Ty::I8x64 | Ty::I16x32 | Ty::I16x16);
                ty.is_number() || is_half_number(ty) || narrow
            },
        ),
        Op::Mul(a, b) => t.same(*a, *b, "a number or a half of numbers", |ty| {
            ty.is_number() || is_half_number(ty)
        }),
        Op::Sub(a, b) | Op::Min(a, b) | Op::Max(a, b) => t.same(*a, *b, "a number", Ty::is_number),
        Op::Div(a, b) => t.same(*a, *b, "a float or i32", |ty| {
            is_whole_float(ty) || ty == Ty::I32
        }),
        Op::Rem(a, b) | Op::Bounded(a, b) => t.same(*a, *b, "i32", |ty| ty == Ty::I32),
        Op::Fma(a, b, c) => {
            t.same(*a, *b, "a float", Ty::is_float)?;
            t.same(*a, *c, "a float", Ty::is_float)
        }
        Op::Abs(a) | Op::Neg(a) | Op::Sqrt(a) => t.one(*a, "f32 or f32x16", is_whole_float),
        Op::And(a, b) | Op::Or(a, b) => t.same(*a, *b, "bool, i32, i32x16 or i8x64", |ty| {
            ty == Ty::Bool || is_bitwise(ty)
        }),
        Op::Xor(a, b) => t.same(*a, *b, "i32, i32x16 or i8x64", is_bitwise),
        Op::Not(a) => t.one(*a, "bool", |ty| ty == Ty::Bool),
        Op::Shl(a, by) | Op::ShrS(a, by) => {
            t.shift(*by, 31)?;
            t.one(*a, "i32 or i32x16", Ty::is_integer)
        }
        Op::ShrU(a, by) => {
            let ty = t.one(*a, "i32, i32x16 or i8x64", is_bitwise)?;
            t.shift(*by, if ty == Ty::I8x64 { 7 } else { 31 })?;
            Ok(ty)
        }
        Op::Cmp(_, a, b) => Ok(match t.same(*a, *b, "a number", Ty::is_number)? {
            Ty::I32 | Ty::F32 => Ty::Bool,
            _ => Ty::I32x16,
        }),
        Op::Select(cond, a, b) => t.select(*cond, *a, *b),
        Op::ToFloat(a) => t.map(
            *a,
            "i32, i32x16 or i32x8",
            &[
                (Ty::I32, Ty::F32),
                (Ty::I32x16, Ty::F32x16),
                (Ty::I32x8, Ty::F32x8),
            ],
        ),
        Op::ToInt(a) => t.map(
            *a,
            "f32 or f32x16",
            &[(Ty::F32, Ty::I32), (Ty::F32x16, Ty::I32x16)],
        ),
        Op::Bits(to, a) => t.bits(*to, *a),
        Op::Splat(a) => t.map(
            *a,
            "i32 or f32",
            &[(Ty::I32, Ty::I32x16), (Ty::F32, Ty::F32x16)],
        ),
        Op::WidenS(a) | Op::WidenU(a) => t.map(*a, "i8x16", &[(Ty::I8x16, Ty::I32x16)]),
        Op::Narrow(a) => t.map(*a, "i32x16", &[(Ty::I32x16, Ty::I8x16)]),
        Op::HalfToFloat(a) => t.map(*a, "i16x16", &[(Ty::I16x16, Ty::F32x16)]),
        Op::FloatToHalf(a) => t.map(*a, "f32x16", &[(Ty::F32x16, Ty::I16x16)]),
        Op::Low(a) | Op::High(a) => {
            let whole = t.one(*a, "i8x64, i16x32, i32x16 or f32x16", |ty| {
                ty.half().is_some()
            })?;
            Ok(whole.half().unwrap_or(whole))
        }
        Op::Join(a, b) => {
            let half = t.same(*a, *b, "i8x32, i16x16, i32x8 or f32x8", |ty| {
                ty.whole().is_some()
            })?;
            Ok(half.whole().unwrap_or(half))
        }
        Op::ReduceAdd(a) => t.map(
            *a,
            "f32x16 or i32x16",
            &[(Ty::F32x16, Ty::F32), (Ty::I32x16, Ty::I32)],
        ),
        Op::ReduceMax(a) => t.map(*a, "f32x16", &[(Ty::F32x16, Ty::F32)]),
        Op::Lookup(table, index) => {
            t.one(*table, "i8x16", |ty| ty == Ty::I8x16)?;
            t.one(*index, "i8x64", |ty| ty == Ty::I8x64)
        }
        Op::Lookup32(low, high, index) => {
            t.same(*low, *high, "i8x16", |ty| ty == Ty::I8x16)?;
            t.one(*index, "i8x64", |ty| ty == Ty::I8x64)
        }
        Op::Dot4U(acc, a, b) | Op::Dot4S(acc, a, b) => {
            match t.same(*a, *b, "i8x64 or i8x32", is_multiplied)? {
                Ty::I8x32 => t.one(*acc, "i32x8", |ty| ty == Ty::I32x8),
                _ => t.one(*acc, "i32x16", |ty| ty == Ty::I32x16),
            }
        }
        Op::Dot4SBy(acc, a, b, n) => {
            t.shift(*n, 3)?;
            t.one(*b, "i8x16", |ty| ty == Ty::I8x16)?;
            match t.one(*a, "i8x64 or i8x32", is_multiplied)? {
                Ty::I8x32 => t.one(*acc, "i32x8", |ty| ty == Ty::I32x8),
                _ => t.one(*acc, "i32x16", |ty| ty == Ty::I32x16),
            }
        }
        Op::Dot2U(a, b) | Op::Dot2S(a, b) => {
            Ok(match t.same(*a, *b, "i8x64 or i8x32", is_multiplied)? {
                Ty::I8x32 => Ty::I16x16,
                _ => Ty::I16x32,
            })
        }
        Op::DotWords(a, b) => {
            let words = |ty| matches!(ty, Ty::I16x32 | Ty::I16x16);
            Ok(match t.same(*a, *b, "i16x32 or i16x16", words)? {
                Ty::I16x16 => Ty::I32x8,
                _ => Ty::I32x16,
            })
        }
        Op::MulSBy(a, b, n) => {
            t.by_element(*a, *b, *n)?;
            Ok(Ty::I16x32)
        }
        Op::MacSBy(acc, a, b, n) => {
            t.by_element(*a, *b, *n)?;
            t.one(*acc, "i16x32", |ty| ty == Ty::I16x32)
        }
        Op::AddPairs(acc, a) => {
            t.one(*a, "i16x32", |ty| ty == Ty::I16x32)?;
            t.one(*acc, "i32x16", |ty| ty == Ty::I32x16)
        }
        Op::FoldPairs(a) => t.map(*a, "i32x16", &[(Ty::I32x16, Ty::I32x8)]),
        Op::Load {
            region,
            slot,
            index,
            ..
        } => {
            t.access(*region, *slot, *index)?;
            t.storable(declared)
        }
        Op::Call(f, args) => t.call(*f, args),
    }
}

/// Checks the operands of a store.
///
/// # Errors
/// As [`result_type`]: the region, its slot, the index and the stored type.
pub fn check_store(
    env: &impl TypeEnv,
    region: ParamId,
    slot: Option<ValueId>,
    index: ValueId,
    value: ValueId,
) -> Result<(), TypeError> {
    // Any operation will do to name the rules' errors; a load reads the same way.
    let op = Op::Load {
        region,
        slot,
        index,
        range: None,
    };
    let t = Rules { env, op: &op };
    t.access(region, slot, index)?;
    t.storable(t.value(value)?).map(|_| ())
}

const fn is_half_number(ty: Ty) -> bool {
    matches!(ty, Ty::I32x8 | Ty::F32x8)
}

const fn is_whole_float(ty: Ty) -> bool {
    matches!(ty, Ty::F32 | Ty::F32x16)
}

const fn is_multiplied(ty: Ty) -> bool {
    matches!(ty, Ty::I8x64 | Ty::I8x32)
}

const fn is_bitwise(ty: Ty) -> bool {
    matches!(ty, Ty::I32 | Ty::I32x16 | Ty::I8x64)
}
