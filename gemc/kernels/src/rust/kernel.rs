//! A kernel to an `extern "C"` function: regions and sizes bound at the top, then the loop over items.

use gem_runtime::simd::Level;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use super::outline::Outlines;
use super::printer::Printer;
use super::text;
use super::types::{element, extent, target_feature};
use super::writer::Writer;
use crate::ir::places::Places;
use crate::ir::uses::Uses;
use crate::ir::verify::Verified;
use crate::ir::{Kernel, KernelId, Param, ParamId, Space, ValueId};

/// Said of every unsafe block of a module; the module's head says it at length.
pub(super) const SAFETY: &str = "SAFETY: the module's contract.";

/// The contract that a module's head states.
pub(super) const CONTRACT: &str = "The runtime keeps the contract of `gem_runtime::abi::Executable::run`. Under it gemc's \
    verifier proved of these kernels, for the arguments of every phase and for every item, that each access lies in its \
    region and each region in its buffer, and items of a phase write disjoint memory. With debug assertions each access \
    is checked again.";

/// What lints of a module would say that its head answers.
pub(super) fn allow() -> TokenStream {
    quote! {
        #![allow(clippy::missing_safety_doc, reason = "the module states the contract")]
        #![allow(clippy::too_many_arguments, reason = "outlines are given all that they reach")]
    }
}

/// The kernel's item.
pub(super) fn kernel(
    verified: &Verified,
    id: KernelId,
    outlines: &Outlines,
    level: Level,
) -> TokenStream {
    let program = verified.program();
    let kernel = program.kernel(id);
    let places = Places::of(&kernel.values, verified.ranges(id));
    let uses = Uses::of_block(&kernel.values, kernel.vars.len(), &kernel.body, &places);
    let functions = &program.functions;
    let mut printer = Printer::new(
        &kernel.values,
        functions,
        verified.ranges(id),
        uses,
        kernel.vars.len(),
    );
    for function in functions {
        printer.names.reserve(&function.name);
    }
    for name in &outlines.names {
        printer.names.reserve(&name.to_string());
    }
    let mut writer = Writer::new(kernel, printer, outlines);
    for i in 0..kernel.params.len() {
        writer.bind_param(kernel, ParamId::from_index(i));
    }
    writer.bind_sizes();
    let item = writer.printer.bind(ValueId(0));
    let body = writer.block(&kernel.body);
    let locals = writer.locals(&kernel.body);
    let bindings = bindings(&mut writer, kernel);
    let env = writer.env;
    let item = if env.item { quote!(#item) } else { quote!(_) };
    let ctx = used(env.ctx, "ctx");
    let args = used(env.args, "args");
    let name = format_ident!("{}", kernel.name);
    let doc = text::doc(&kernel.doc);
    let features = target_feature(level);
    let safety = text::comment(SAFETY);
    let items = Literal::u32_unsuffixed(kernel.items);
    quote! {
        #doc
        #features
        pub unsafe extern "C" fn #name(#ctx: *const Ctx, #args: *const u32, begin: u32, end: u32) {
            debug_assert!(end <= #items);
            #safety
            unsafe {
                #bindings
                for #item in begin as i32..end as i32 {
                    #locals
                    #body
                }
            }
        }
    }
}

fn used(used: bool, name: &str) -> Ident {
    if used {
        format_ident!("{name}")
    } else {
        format_ident!("_{name}")
    }
}

/// Regions, scalars and sizes that the body refers to.
fn bindings(writer: &mut Writer<'_>, kernel: &Kernel) -> TokenStream {
    let mut tokens = TokenStream::new();
    let mut argument = 0;
    for (param, (name, used)) in kernel.params.iter().zip(writer.env.params.clone()) {
        let at = Literal::u32_unsuffixed(argument);
        argument += u32::from(param.takes_argument());
        if let (Some(name), true) = (name, used) {
            tokens.extend(binding(writer, param, &name, &at));
        }
    }
    for (name, field) in [
        (writer.env.row_count.clone(), quote!(n_rows)),
        (writer.env.output_count.clone(), quote!(n_outputs)),
        (writer.env.context.clone(), quote!(context)),
    ] {
        if let Some(name) = name {
            writer.env.ctx = true;
            tokens.extend(quote!(let #name = (*ctx).#field as i32;));
        }
    }
    tokens
}

fn binding(writer: &mut Writer<'_>, param: &Param, name: &Ident, at: &Literal) -> TokenStream {
    let Param::Region {
        space, elem, len, ..
    } = param
    else {
        writer.env.args = true;
        return match param {
            Param::Scalar { max, .. } => {
                let max = Literal::u32_unsuffixed(*max);
                quote! {
                    let #name = *args.add(#at) as i32;
                    debug_assert!(*args.add(#at) <= #max);
                }
            }
            _ => quote!(let #name = *args.add(#at);),
        };
    };
    if *space == Space::Local {
        return TokenStream::new();
    }
    writer.env.ctx = true;
    writer.env.args |= param.takes_argument();
    let elem = element(*elem);
    let length = extent(*len);
    match space {
        Space::Weights => {
            quote!(let #name = k::Region::<#elem>::weights(ctx, *args.add(#at), #length);)
        }
        Space::Arena => {
            quote!(let #name = k::Region::<#elem>::arena(ctx, *args.add(#at), #length);)
        }
        Space::Kv if len.per_context == 0 => {
            quote!(let #name = k::KvRegion::<#elem>::ring(ctx, *args.add(#at), #length);)
        }
        Space::Kv => quote!(let #name = k::KvRegion::<#elem>::new(ctx, *args.add(#at), #length);),
        Space::Rows => quote!(let #name = k::Region::<#elem>::rows(ctx);),
        Space::Outputs | Space::Local => quote!(let #name = k::Region::<#elem>::outputs(ctx);),
    }
}
