//! Facts about a model -> `src/lib.rs`, the crate's whole interface, and `src/main.rs`, its program.

use gem_runtime::simd::Level;
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::api::{Api, Embedded, Place};
use super::cargo::one_line;
use super::{LICENSES, Package, PackageError, WEIGHTS};

/// The text of `src/lib.rs`.
///
/// # Errors
/// [`PackageError::Malformed`], which would be a defect of this file.
pub fn lib(package: &Package) -> Result<String, PackageError> {
    let what = format!(
        " {}: {}, compiled by gemc for `{}`.",
        one_line(&package.info.name),
        package.info.task.name(),
        one_line(&package.info.target),
    );
    let better = package.better.iter().map(|better| {
        let module = format_ident!("{}", better.module);
        choice(better.level, &better.target, &quote!(#module::program))
    });
    let own = choice(package.info.level, &package.info.target, &quote!(program));
    let modules = package.better.iter().map(|better| {
        let module = format_ident!("{}", better.module);
        quote!(
            mod #module {
                mod kernels;
                pub(super) mod program;
            }
        )
    });
    let products = package.kit.as_ref().map(|_| {
        quote!(
            #[doc = " Products of all formats, for `src/main.rs`."]
            pub mod products {
                mod kernels;
                mod program;

                pub use program::PROGRAM;
            }
        )
    });
    let api = Api {
        place: Place::Crate,
        info: &package.info,
        programs: better.chain([own]).collect(),
        embedded: Some(embedded(package)),
        licenses: licenses(package),
    };
    let items = api.items();
    let tokens = quote! {
        #![doc = #what]
        #![deny(warnings)]
        #![cfg_attr(not(feature = "std"), no_std)]

        extern crate alloc;

        mod kernels;
        mod program;
        #(#modules)*
        #products

        #items
    };
    formatted("src/lib.rs", tokens)
}

/// Tokens as a file.
///
/// # Errors
/// [`PackageError::Malformed`], which would be a defect of whoever made them.
pub(super) fn formatted(what: &'static str, tokens: TokenStream) -> Result<String, PackageError> {
    let file = syn::parse2(tokens).map_err(|e| PackageError::Malformed {
        what,
        reason: e.to_string(),
    })?;
    Ok(spaced(&prettyplease::unparse(&file)))
}

/// The files of a program, in a module of the crate instead of its root.
pub(super) fn in_module(module: &str, sources: Vec<(String, String)>) -> Vec<(String, String)> {
    let below = |(path, text): (String, String)| {
        let file = path.rsplit('/').next().unwrap_or_default();
        (format!("src/{module}/{file}"), text)
    };
    sources.into_iter().map(below).collect()
}

/// An element of the crate's list of programs.
fn choice(level: Level, target: &str, program: &TokenStream) -> TokenStream {
    let level = format_ident!("{level:?}");
    quote! {
        Choice {
            level: Level::#level,
            target: #target,
            program: &#program::PROGRAM,
            unoptimised: false,
        },
    }
}

/// The licence texts, from `src`.
fn licenses(package: &Package) -> Vec<(String, TokenStream)> {
    let text = |name: &String| {
        let path = format!("../{LICENSES}/{name}");
        (name.clone(), quote!(include_str!(#path)))
    };
    package
        .licenses
        .iter()
        .map(|(name, _)| text(name))
        .collect()
}

/// Weights and texts, from `src`.
fn embedded(package: &Package) -> Embedded {
    let path = |name: &str| {
        let path = format!("../{name}");
        quote!(#path)
    };
    let texts = package.texts.iter();
    Embedded {
        weights: Some(path(WEIGHTS)),
        texts: texts.map(|(name, _)| (name.clone(), path(name))).collect(),
    }
}

/// Puts an empty line before items that follow another; the printer leaves none.
fn spaced(text: &str) -> String {
    let mut out = String::new();
    let mut before = "";
    for line in text.lines() {
        let starts = |prefixes: &[&str]| prefixes.iter().any(|p| line.trim_start().starts_with(p));
        let opens = starts(&[
            "///",
            "impl ",
            "extern ",
            "mod kernels",
            "use alloc::borrow",
        ]) || (line.starts_with("use gem_runtime")
            && !before.starts_with("use gem_runtime"));
        let continues = before.trim_start().starts_with("///") || before.ends_with('{');
        if opens && !continues && !before.is_empty() {
            out.push('\n');
        }
        out.push_str(line);
        out.push('\n');
        before = line;
    }
    out
}

/// The text of `src/main.rs`.
pub fn main(package: &Package) -> String {
    if let Some(kit) = &package.kit {
        return kit.main.clone();
    }
    let ident = package.crate_name().replace('-', "_");
    format!(
        r#"//! Runs the model from the command line; `--help` shows how.
#![deny(warnings)]

use {ident}::{{INFO, Model}};

fn main() -> std::process::ExitCode {{
    gem_runtime::cli::main(&INFO, |weights| Model::new(weights).map(Model::into_engine))
}}
"#
    )
}
