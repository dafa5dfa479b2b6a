//! Types and sizes of the IR as Rust's.

use gem_runtime::simd::Level;
use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use crate::ir::{Elem, Extent, Ty};

/// The type of a value.
pub(super) fn rust_type(ty: Ty) -> TokenStream {
    match ty {
        Ty::Bool => quote!(bool),
        Ty::I32 => quote!(i32),
        Ty::F32 => quote!(f32),
        Ty::I8x16 => quote!(s::I8x16),
        Ty::I8x64 => quote!(s::I8x64),
        Ty::I16x16 => quote!(s::I16x16),
        Ty::I16x32 => quote!(s::I16x32),
        Ty::I32x16 => quote!(s::I32x16),
        Ty::F32x16 => quote!(s::F32x16),
        Ty::I8x32 => quote!(s::I8x32),
        Ty::I32x8 => quote!(s::I32x8),
        Ty::F32x8 => quote!(s::F32x8),
    }
}

/// The type of a region's element.
pub(super) fn element(elem: Elem) -> TokenStream {
    let name = format_ident!("{}", elem.name());
    quote!(#name)
}

/// Number of elements, as a `usize`.
pub(super) fn extent(len: Extent) -> TokenStream {
    let fixed = Literal::i64_unsuffixed(len.fixed.abs());
    let factor = Literal::i64_unsuffixed(len.per_context);
    match (len.per_context, len.fixed) {
        (0, _) => quote!(#fixed),
        (_, 0) => quote!(#factor * (*ctx).context as usize),
        (_, n) if n > 0 => quote!(#factor * (*ctx).context as usize + #fixed),
        _ => quote!(#factor * (*ctx).context as usize - #fixed),
    }
}

/// The attribute that enables a level's instructions.
pub(super) fn target_feature(level: Level) -> TokenStream {
    match level.features() {
        "" => TokenStream::new(),
        features => quote!(#[target_feature(enable = #features)]),
    }
}
