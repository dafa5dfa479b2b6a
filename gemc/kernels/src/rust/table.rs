//! Phases, call tables, routing taps and sizes as static tables, each entry under a comment with its shapes and tensors.

use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens as _, format_ident, quote};

use super::text;
use crate::ir::{Half, Items, Phase, Program, ProgramShape, Table, TableEntry, Tap};

/// The text of `src/program.rs`.
pub(super) fn program(program: &Program) -> String {
    let shape = shape(&program.shape);
    let body = phases(program, &program.body);
    let head = phases(program, &program.head);
    let tables = program
        .tables
        .iter()
        .map(|table| self::table(program, table));
    let taps = program.taps.iter().map(tap);
    let halves = program.halves.iter().map(half);
    let [n_body, n_head] =
        [&program.body, &program.head].map(|phases| Literal::usize_unsuffixed(phases.len()));
    let items = quote! {
        use super::kernels;
        use gem_runtime::abi::{CompiledProgram, HalfTap, Phase, ProgramShape, RoutingTap, Table, Items};
        use gem_runtime::kernel as k;

        /// The whole model.
        pub static PROGRAM: CompiledProgram = CompiledProgram {
            shape: SHAPE,
            body: &BODY,
            body_items: &BODY_UNITS,
            head: &HEAD,
            head_items: &HEAD_UNITS,
            tables: TABLES,
            taps: TAPS,
            halves: HALVES,
        };

        /// Sizes, in bytes and elements.
        const SHAPE: ProgramShape = #shape;

        /// Embedding and layers.
        static BODY: [Phase; #n_body] = BODY_PHASES;
        static BODY_UNITS: [Items; #n_body] = k::items(&BODY_PHASES);
        const BODY_PHASES: [Phase; #n_body] = [#body];

        /// Final projection to logits.
        static HEAD: [Phase; #n_head] = HEAD_PHASES;
        static HEAD_UNITS: [Items; #n_head] = k::items(&HEAD_PHASES);
        const HEAD_PHASES: [Phase; #n_head] = [#head];

        /// Indirect calls.
        static TABLES: &[Table] = &[#(#tables)*];

        /// Where routing decisions stand.
        static TAPS: &[RoutingTap] = &[#(#taps)*];

        /// Keys and values kept as f16.
        static HALVES: &[HalfTap] = &[#(#halves)*];
    };
    text::render(&["What this model runs, in order."], items)
}

fn shape(shape: &ProgramShape) -> TokenStream {
    let ProgramShape {
        arena_bytes,
        kv_bytes_per_position,
        ring_bytes,
        rewind,
        max_rows,
        max_outputs,
        logits,
        logits_stride,
        weight_bytes,
    } = *shape;
    let [
        arena_bytes,
        kv_bytes_per_position,
        ring_bytes,
        max_rows,
        max_outputs,
        logits,
        logits_stride,
    ] = [
        arena_bytes,
        kv_bytes_per_position,
        ring_bytes,
        max_rows,
        max_outputs,
        logits,
        logits_stride,
    ]
    .map(Literal::u32_unsuffixed);
    let rewind = match rewind {
        ProgramShape::ANY => quote!(ProgramShape::ANY),
        n => Literal::u32_unsuffixed(n).into_token_stream(),
    };
    let weight_bytes = Literal::u64_unsuffixed(weight_bytes);
    quote! {
        ProgramShape {
            arena_bytes: #arena_bytes,
            kv_bytes_per_position: #kv_bytes_per_position,
            ring_bytes: #ring_bytes,
            rewind: #rewind,
            max_rows: #max_rows,
            max_outputs: #max_outputs,
            logits: #logits,
            logits_stride: #logits_stride,
            weight_bytes: #weight_bytes,
        }
    }
}

fn phases(program: &Program, phases: &[Phase]) -> TokenStream {
    phases
        .iter()
        .map(|phase| {
            let doc = text::comment_element(&phase.doc);
            let call = call(program, &phase.entry);
            let items = items(phase.items);
            quote!(#doc k::phase(#call, #items),)
        })
        .collect()
}

fn table(program: &Program, table: &Table) -> TokenStream {
    let doc = text::comment_element(&table.doc);
    let entries = table.entries.iter().map(|entry| {
        let call = call(program, entry);
        quote!(k::entry(#call))
    });
    quote!(#doc Table::new(const { &[#(#entries),*] }),)
}

/// Kernel and arguments.
fn call(program: &Program, entry: &TableEntry) -> TokenStream {
    let kernel = format_ident!("{}", program.kernel(entry.kernel).name);
    let args = entry.args.iter().map(|&arg| Literal::u32_unsuffixed(arg));
    quote!(kernels::#kernel, &[#(#args),*])
}

fn items(items: Items) -> TokenStream {
    let number = Literal::u32_unsuffixed;
    match items {
        Items::Fixed(n) => {
            let n = number(n);
            quote!(Items::Fixed(#n))
        }
        Items::PerRow(n) => {
            let n = number(n);
            quote!(Items::PerRow(#n))
        }
        Items::PerOutput(n) => {
            let n = number(n);
            quote!(Items::PerOutput(#n))
        }
        Items::Loaded { offset, max } => {
            let (offset, max) = (number(offset), number(max));
            quote!(Items::Loaded { offset: #offset, max: #max })
        }
    }
}

fn half(half: &Half) -> TokenStream {
    let Half {
        site,
        before,
        heads,
        width,
        ring,
    } = half;
    let [before, heads, width, ring] =
        [before, heads, width, ring].map(|&n| Literal::u32_unsuffixed(n));
    quote! {
        HalfTap {
            site: #site,
            before: #before,
            heads: #heads,
            width: #width,
            ring: #ring,
        },
    }
}

fn tap(tap: &Tap) -> TokenStream {
    let Tap {
        site,
        after,
        modules,
        top_k,
        p,
        fired,
        gates,
        domain,
        cluster,
    } = tap;
    let [after, modules, top_k, p, fired, gates, domain] =
        [after, modules, top_k, p, fired, gates, domain].map(|&n| Literal::u32_unsuffixed(n));
    let cluster = match cluster {
        Some(cluster) => {
            let cluster = Literal::u32_unsuffixed(*cluster);
            quote!(Some(#cluster))
        }
        None => quote!(None),
    };
    quote! {
        RoutingTap {
            site: #site,
            after: #after,
            modules: #modules,
            top_k: #top_k,
            p: #p,
            fired: #fired,
            gates: #gates,
            domain: #domain,
            cluster: #cluster,
        },
    }
}
