//! One operation to one expression, from the expressions of its operands.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use super::code::{Code, Prec, float, int};
use crate::ir::{Cmp, Op, Ty};

/// An operation's own types, and what is known of its operands.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpTypes {
    /// Type of the result.
    pub(super) ty: Ty,
    /// Type of the first operand, or of the result when there is none.
    pub(super) operand: Ty,
    /// Whether the integer result is known not to wrap.
    pub(super) exact: bool,
    /// Whether the first operand is known not to be negative.
    pub(super) non_negative: bool,
}

/// Prints an operation that neither names something nor reads memory; `a` are its operands.
pub(super) fn operation(op: &Op, t: OpTypes, a: &[Code]) -> Code {
    match op {
        Op::I32(n) => int(*n),
        Op::F32(bits) => float(*bits),
        Op::I32Lanes(lanes) => {
            let lanes = lanes.map(|n| int(n).alone());
            Code::atom(quote!(s::lanes_i32x16([#(#lanes),*])))
        }
        Op::I8Lanes(lanes) => {
            let lanes = lanes.map(|n| int(i32::from(n)).alone());
            Code::atom(quote!(s::lanes_i8x16([#(#lanes),*])))
        }
        Op::Bounded(..) => call(quote!(k::bounded), a),
        Op::Select(..) if t.operand == Ty::Bool => {
            let [cond, then, otherwise] = [0, 1, 2].map(|i: usize| a[i].alone());
            Code::low(quote!(if #cond { #then } else { #otherwise }))
        }
        Op::Select(..) => simd("select", t.ty, a),
        Op::Splat(_) => {
            let lanes = call(level_path(&format!("splat_{}", t.operand)), a);
            match t.operand {
                Ty::I32 => lanes.of_equal(a[0].alone()),
                _ => lanes,
            }
        }
        Op::Bits(to, _) => bits(*to, t.operand, a),
        // The last operand is what is looked up, and decides the name.
        Op::Lookup(..) | Op::Lookup32(..) => simd(op.mnemonic(), Ty::I8x64, a),
        // Here the accumulator comes first, and the products decide.
        Op::Dot4U(..) | Op::Dot4S(..) => simd(op.mnemonic(), multiplied(t.ty), a),
        Op::Dot4SBy(.., n) | Op::MulSBy(.., n) | Op::MacSBy(.., n) => {
            let path = level_path(&format!("{}_{}", op.mnemonic(), multiplied(t.ty)));
            let n = Literal::u32_unsuffixed(*n);
            call(quote!(#path::<#n>), a)
        }
        _ if t.operand.is_vector() => vector(op, t, a),
        _ => scalar(op, t, a),
    }
}

/// The bytes whose products sums are.
const fn multiplied(sums: Ty) -> Ty {
    match sums {
        Ty::I32x8 | Ty::I16x32 => Ty::I8x32,
        _ => Ty::I8x64,
    }
}

fn level_path(name: &str) -> TokenStream {
    let name = format_ident!("{name}");
    quote!(s::#name)
}

fn call(path: TokenStream, a: &[Code]) -> Code {
    let args = a.iter().map(Code::alone);
    Code::atom(quote!(#path(#(#args),*)))
}

/// `s::name_type(operands)`.
fn simd(name: &str, ty: Ty, a: &[Code]) -> Code {
    call(level_path(&format!("{name}_{ty}")), a)
}

fn bits(to: Ty, from: Ty, a: &[Code]) -> Code {
    match (from, to) {
        (Ty::I32, Ty::F32) => {
            let bits = Code::cast(&a[0], quote!(u32)).alone();
            Code::atom(quote!(f32::from_bits(#bits)))
        }
        (Ty::F32, Ty::I32) => Code::cast(&call(quote!(f32::to_bits), a), quote!(i32)),
        _ if from == to => a[0].clone(),
        (_, Ty::I8x64 | Ty::I16x32) if a[0].equal().is_some() => {
            let path = level_path(&format!("splat_i32_{to}"));
            let each = a[0].equal();
            Code::atom(quote!(#path(#each)))
        }
        _ => call(level_path(&format!("bits_{from}_{to}")), a),
    }
}

/// Operations on vectors are calls of the level, named after the first operand's type.
fn vector(op: &Op, t: OpTypes, a: &[Code]) -> Code {
    match op {
        Op::Shl(_, by) | Op::ShrS(_, by) | Op::ShrU(_, by) => {
            let path = level_path(&format!("{}_{}", op.mnemonic(), t.operand));
            let by = Literal::u32_unsuffixed(*by);
            call(quote!(#path::<#by>), a)
        }
        Op::Cmp(cmp, ..) => simd(&format!("cmp_{}", cmp.name()), t.operand, a),
        _ => simd(op.mnemonic(), t.operand, a),
    }
}

fn scalar(op: &Op, t: OpTypes, a: &[Code]) -> Code {
    let is_float = t.operand.is_float();
    let arithmetic = |operator: TokenStream, wrapping: TokenStream, prec| {
        if is_float || t.exact {
            Code::binary(&a[0], operator, &a[1], prec)
        } else if a[0].is_literal() {
            call(quote!(i32::#wrapping), a)
        } else {
            let b = a[1].alone();
            Code::method(&a[0], quote!(#wrapping(#b)))
        }
    };
    let bitwise = |operator: TokenStream, prec| Code::binary(&a[0], operator, &a[1], prec);
    match op {
        Op::Add(..) => arithmetic(quote!(+), quote!(wrapping_add), Prec::Sum),
        Op::Sub(..) => arithmetic(quote!(-), quote!(wrapping_sub), Prec::Sum),
        Op::Mul(..) => arithmetic(quote!(*), quote!(wrapping_mul), Prec::Product),
        Op::Div(..) => bitwise(quote!(/), Prec::Product),
        Op::Rem(..) => bitwise(quote!(%), Prec::Product),
        Op::Fma(..) => call(quote!(s::fma_f32), a),
        Op::Min(..) if is_float => call(quote!(k::min_f32), a),
        Op::Max(..) if is_float => call(quote!(k::max_f32), a),
        Op::Min(..) => call(quote!(i32::min), a),
        Op::Max(..) => call(quote!(i32::max), a),
        Op::Abs(_) => call(quote!(f32::abs), a),
        Op::Neg(_) => Code::prefix(quote!(-), &a[0]),
        Op::Sqrt(_) => call(quote!(s::sqrt_f32), a),
        Op::And(..) if t.ty == Ty::Bool => bitwise(quote!(&&), Prec::AndThen),
        Op::Or(..) if t.ty == Ty::Bool => bitwise(quote!(||), Prec::OrElse),
        Op::And(..) => bitwise(quote!(&), Prec::BitAnd),
        Op::Or(..) => bitwise(quote!(|), Prec::BitOr),
        Op::Xor(..) => bitwise(quote!(^), Prec::BitXor),
        Op::Not(_) => Code::prefix(quote!(!), &a[0]),
        Op::Shl(_, by) => shift(&a[0], quote!(<<), *by),
        Op::ShrS(_, by) => shift(&a[0], quote!(>>), *by),
        Op::ShrU(_, by) if t.non_negative => shift(&a[0], quote!(>>), *by),
        Op::ShrU(_, by) => {
            let shifted = shift(&Code::cast(&a[0], quote!(u32)), quote!(>>), *by);
            Code::cast(&shifted, quote!(i32))
        }
        Op::Cmp(cmp, ..) => bitwise(comparison(*cmp), Prec::Compare),
        Op::ToFloat(_) => Code::cast(&a[0], quote!(f32)),
        Op::ToInt(_) => call(quote!(s::to_int_f32), a),
        _ => unreachable!(
            "`{}` is printed by the printer or as a vector operation",
            op.mnemonic()
        ),
    }
}

fn shift(a: &Code, operator: TokenStream, by: u32) -> Code {
    let by = Literal::u32_unsuffixed(by);
    Code::binary(a, operator, &Code::atom(quote!(#by)), Prec::Shift)
}

fn comparison(cmp: Cmp) -> TokenStream {
    match cmp {
        Cmp::Eq => quote!(==),
        Cmp::Ne => quote!(!=),
        Cmp::Lt => quote!(<),
        Cmp::Le => quote!(<=),
        Cmp::Gt => quote!(>),
        Cmp::Ge => quote!(>=),
    }
}
