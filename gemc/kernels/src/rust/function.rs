//! A pure function of the IR to a Rust function.

use gem_runtime::simd::Level;
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::code::Code;
use super::printer::{Leaves, Printer};
use super::text;
use super::types::{rust_type, target_feature};
use crate::ir::places::Place;
use crate::ir::uses::Uses;
use crate::ir::{FuncId, Op, Program, Ty, ValueId};

/// Functions touch no memory.
struct NoLeaves;

impl Leaves for NoLeaves {
    fn leaf(
        &mut self,
        _: &Op,
        _: Ty,
        _: &dyn Fn(ValueId) -> Place,
        _: &mut dyn FnMut(ValueId) -> Code,
    ) -> Option<Code> {
        None
    }
}

/// The function's item.
pub(super) fn function(program: &Program, id: FuncId, level: Level) -> TokenStream {
    let function = &program.functions[id.index()];
    let uses = Uses::of_function(&function.values, function.result);
    let mut printer = Printer::new(&function.values, &program.functions, &[], uses, 0);
    let count = function.params as usize;
    let params: Vec<TokenStream> = (0..count)
        .map(|i| {
            let v = ValueId::from_index(i);
            let name = match printer.uses.needed(v) {
                true => printer.bind(v),
                false => format_ident!("_unused{i}"),
            };
            let ty = rust_type(function.values[i].ty);
            quote!(#name: #ty)
        })
        .collect();
    let mut body = TokenStream::new();
    for i in count..function.values.len() {
        body.extend(printer.define(&mut NoLeaves, ValueId::from_index(i)));
    }
    let result = printer.value(&mut NoLeaves, function.result).alone();
    let ty = rust_type(function.values[function.result.index()].ty);
    let name = format_ident!("{}", function.name);
    let doc = text::doc(&function.doc);
    let features = target_feature(level);
    quote! {
        #doc
        #[inline]
        #features
        fn #name(#(#params),*) -> #ty {
            #body
            #result
        }
    }
}
