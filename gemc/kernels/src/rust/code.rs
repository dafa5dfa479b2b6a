//! Expressions in the making: tokens with the precedence that decides where parentheses go.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// Precedence of an expression's outermost operator, loosest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Prec {
    /// `if`, casts (whose type would swallow a following `<`): parenthesised inside any operator.
    Low,
    /// `||`
    OrElse,
    /// `&&`
    AndThen,
    /// `==`, `<` and the like; not associative.
    Compare,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `&`
    BitAnd,
    /// `<<`, `>>`
    Shift,
    /// `+`, `-`
    Sum,
    /// `*`, `/`, `%`
    Product,
    /// `-`, `!`
    Unary,
    /// Calls, names, literals.
    Atom,
}

impl Prec {
    /// What the right operand of a left-associative operator needs.
    fn tighter(self) -> Self {
        match self {
            Self::Low => Self::OrElse,
            Self::OrElse => Self::AndThen,
            Self::AndThen => Self::Compare,
            Self::Compare => Self::BitOr,
            Self::BitOr => Self::BitXor,
            Self::BitXor => Self::BitAnd,
            Self::BitAnd => Self::Shift,
            Self::Shift => Self::Sum,
            Self::Sum => Self::Product,
            Self::Product => Self::Unary,
            Self::Unary | Self::Atom => Self::Atom,
        }
    }
}

/// An expression of emitted Rust, with its precedence, so that no needless brackets are printed.
#[derive(Clone, Debug)]
pub(super) struct Code {
    tokens: TokenStream,
    prec: Prec,
    literal: bool,
    /// Of a vector of equal i32: what each is.
    splat: Option<TokenStream>,
}

impl Code {
    fn new(tokens: TokenStream, prec: Prec) -> Self {
        Self {
            tokens,
            prec,
            literal: false,
            splat: None,
        }
    }

    /// The same expression, a vector of equal i32.
    pub(super) fn of_equal(self, each: TokenStream) -> Self {
        Self {
            splat: Some(each),
            ..self
        }
    }

    /// What each lane of a vector of equal i32 is, if the expression says so.
    pub(super) fn equal(&self) -> Option<&TokenStream> {
        self.splat.as_ref()
    }

    /// A name, literal or call.
    pub(super) fn atom(tokens: TokenStream) -> Self {
        Self::new(tokens, Prec::Atom)
    }

    /// An expression that is parenthesised inside any operator.
    pub(super) fn low(tokens: TokenStream) -> Self {
        Self::new(tokens, Prec::Low)
    }

    /// `-a` or `!a`; `-(-a)`, for rustc warns of two signs in a row.
    pub(super) fn prefix(operator: TokenStream, a: &Self) -> Self {
        let a = a.within(Prec::Atom);
        Self::new(quote!(#operator #a), Prec::Unary)
    }

    /// `a op b`.
    pub(super) fn binary(a: &Self, operator: TokenStream, b: &Self, prec: Prec) -> Self {
        let left = a.within(if prec == Prec::Compare {
            prec.tighter()
        } else {
            prec
        });
        let right = b.within(prec.tighter());
        Self::new(quote!(#left #operator #right), prec)
    }

    /// `a as ty`.
    pub(super) fn cast(a: &Self, ty: TokenStream) -> Self {
        let a = a.within(Prec::Unary);
        Self::low(quote!(#a as #ty))
    }

    /// `receiver.name(args)`.
    pub(super) fn method(receiver: &Self, call: TokenStream) -> Self {
        let receiver = receiver.within(Prec::Atom);
        Self::atom(quote!(#receiver.#call))
    }

    /// Whether the expression is a number, whose type only its surroundings tell.
    pub(super) fn is_literal(&self) -> bool {
        self.literal
    }

    /// The expression where any may stand: an argument, the right side of `let`.
    pub(super) fn alone(&self) -> TokenStream {
        self.tokens.clone()
    }

    fn within(&self, least: Prec) -> TokenStream {
        let tokens = &self.tokens;
        if self.prec < least {
            quote!((#tokens))
        } else {
            tokens.clone()
        }
    }
}

/// An i32 literal, its type left to inference.
pub(super) fn int(n: i32) -> Code {
    let magnitude = hexadecimal(n).unwrap_or_else(|| Literal::u32_unsuffixed(n.unsigned_abs()));
    literal(n < 0, quote!(#magnitude))
}

/// Bit patterns, such as bytes repeated in a word, read better in hexadecimal.
fn hexadecimal(n: i32) -> Option<Literal> {
    let digits = format!("{n:08x}");
    let mut distinct: Vec<char> = digits.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let (high, low) = digits.split_at(4);
    (n > 0xffff && distinct.len() <= 2).then(|| format!("0x{high}_{low}").parse().ok())?
}

/// An f32 literal with exactly these bits, its type left to inference.
pub(super) fn float(bits: u32) -> Code {
    let x = f32::from_bits(bits);
    if x.is_nan() {
        let bits = Literal::u32_unsuffixed(bits);
        return Code::atom(quote!(f32::from_bits(#bits)));
    }
    let magnitude = if x.is_infinite() {
        quote!(f32::INFINITY)
    } else {
        // The shortest decimal that reads back as the same float.
        let decimal: Literal = format!("{:?}", x.abs())
            .parse()
            .expect("a finite float prints as a literal");
        quote!(#decimal)
    };
    literal(x.is_sign_negative(), magnitude)
}

fn literal(negative: bool, magnitude: TokenStream) -> Code {
    let code = if negative {
        Code::new(quote!(-#magnitude), Prec::Unary)
    } else {
        Code::atom(magnitude)
    };
    Code {
        literal: true,
        ..code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Code {
        let ident = proc_macro2::Ident::new(name, proc_macro2::Span::call_site());
        Code::atom(quote!(#ident))
    }

    #[test]
    fn parentheses_stand_only_where_they_are_needed() {
        let (a, b, c) = (name("a"), name("b"), name("c"));
        let sum = Code::binary(&a, quote!(+), &b, Prec::Sum);
        let text = |code: Code| code.alone().to_string();
        assert_eq!(
            text(Code::binary(&sum, quote!(*), &c, Prec::Product)),
            "(a + b) * c"
        );
        assert_eq!(
            text(Code::binary(&sum, quote!(+), &c, Prec::Sum)),
            "a + b + c"
        );
        assert_eq!(
            text(Code::binary(&c, quote!(-), &sum, Prec::Sum)),
            "c - (a + b)"
        );
        assert_eq!(
            text(Code::binary(
                &Code::cast(&a, quote!(f32)),
                quote!(<),
                &b,
                Prec::Compare
            )),
            "(a as f32) < b"
        );
        let less = Code::binary(&a, quote!(<), &b, Prec::Compare);
        assert_eq!(
            text(Code::binary(&less, quote!(==), &less, Prec::Compare)),
            "(a < b) == (a < b)"
        );
        assert_eq!(
            text(Code::method(&int(-3), quote!(abs()))).replace(' ', ""),
            "(-3).abs()"
        );
        assert_eq!(
            text(Code::prefix(quote!(-), &float((-0.0f32).to_bits()))).replace(' ', ""),
            "-(-0.0)"
        );
    }

    #[test]
    fn bit_patterns_are_hexadecimal() {
        let text = |n| int(n).alone().to_string();
        assert_eq!(
            [0x0f0f_0f0f, 65536, -5, 252_645_136].map(text),
            ["0x0f0f_0f0f", "0x0001_0000", "- 5", "252645136"]
        );
    }

    #[test]
    fn float_literals_keep_their_bits() {
        for bits in [
            0,
            0x8000_0000,
            1,
            0x7f80_0000,
            0xff80_0000,
            0x3dcc_cccd,
            0x7f7f_ffff,
            0x4b00_0001,
        ] {
            let text = float(bits)
                .alone()
                .to_string()
                .replace(' ', "")
                .replace("f32::INFINITY", "inf");
            let parsed: f32 = text.parse().expect("a float literal");
            assert_eq!(parsed.to_bits(), bits, "{text}");
        }
        assert!(float(0x7fc0_0001).alone().to_string().contains("from_bits"));
    }
}
