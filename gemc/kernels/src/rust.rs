//! Verified kernel IR to readable Rust: `src/kernels.rs` (functions and kernels) and `src/program.rs` (phase table, call
//! tables, routing taps, sizes).
//!
//! The text depends on the program and the level alone. It is `no_std`, free of warnings, and calls
//! [`gem_runtime::simd`] and [`gem_runtime::kernel`]. An integer operation is printed as an operator where the verifier's
//! ranges exclude wrapping, so that a build with overflow checks tests those proofs, and as a wrapping method elsewhere.

mod code;
mod env;
mod function;
mod kernel;
pub mod micro;
mod names;
mod ops;
mod outline;
mod printer;
mod table;
mod text;
mod types;
mod writer;

use gem_runtime::simd::Level;
use quote::{format_ident, quote};

use self::outline::Outlines;
use crate::ir::reach::reachable;
use crate::ir::verify::Verified;

/// The sources of a program for one level: (path in the crate, text).
#[must_use]
pub fn program(verified: &Verified, level: Level) -> Vec<(String, String)> {
    vec![
        ("src/kernels.rs".to_owned(), kernels(verified, level)),
        (
            "src/program.rs".to_owned(),
            table::program(verified.program()),
        ),
    ]
}

fn kernels(verified: &Verified, level: Level) -> String {
    let program = verified.program();
    let used = reachable(program);
    let functions = used
        .functions
        .iter()
        .map(|&f| function::function(program, f, level));
    let bodies = used.kernels.iter();
    let bodies = bodies.map(|&id| (program.kernel(id), verified.ranges(id)));
    let outlines = Outlines::of(bodies);
    let kernels = used
        .kernels
        .iter()
        .map(|&id| kernel::kernel(verified, id, &outlines, level));
    let items: proc_macro2::TokenStream = functions
        .chain(std::iter::once(outlines.items.clone()))
        .chain(kernels)
        .collect();
    let module = format_ident!("{}", level.name());
    let mut imports = quote!(
        use gem_runtime::abi::Ctx;
    );
    let text = items.to_string();
    if text.contains("k ::") || text.contains(text::REPEAT) || text.contains(text::STRIPS) {
        imports.extend(quote!(
            use gem_runtime::kernel as k;
        ));
    }
    if text.contains("s ::") {
        imports.extend(quote!(use gem_runtime::simd::#module as s;));
    }
    let allow = kernel::allow();
    let header = format!(
        "Kernels of this model for level `{}`: each runs the items `begin..end` of a phase.",
        level.name()
    );
    text::render(
        &[&header, "", "# Safety", "", kernel::CONTRACT],
        quote!(#allow #imports #items),
    )
}
