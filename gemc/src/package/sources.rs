//! Facts about a model -> `src/lib.rs`, the crate's whole interface, and `src/main.rs`, its program.

use gem_runtime::text::{GENERATION_CONFIG, TOKENIZER, TOKENIZER_CONFIG, is_chat_template};
use gem_runtime::{ModelInfo, Name, Task, hex};
use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

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
    let info = info(&package.info);
    let embedded = embedded(package);
    let licenses = licenses(package);
    let tokens = quote! {
        #![doc = #what]
        #![deny(warnings)]
        #![cfg_attr(not(feature = "std"), no_std)]

        extern crate alloc;

        mod kernels;
        mod program;

        use alloc::borrow::Cow;
        use alloc::boxed::Box;

        use gem_runtime::simd::Level;
        use gem_runtime::storage::Weights;
        use gem_runtime::{Engine, License, ModelInfo, Result, Task};

        /// Facts about the model.
        pub static INFO: ModelInfo = #info;

        /// Licence texts that came with the checkpoint.
        pub static LICENSE: &[License] = &[#(#licenses),*];

        /// The model: compiled kernels with their weights. Clones share both.
        #[derive(Clone, Debug)]
        pub struct Model(Engine);

        impl Model {
            /// Joins the compiled program with weights from anywhere.
            pub fn new(weights: Weights) -> Result<Self> {
                Engine::new(INFO.clone(), Box::new(program::PROGRAM), weights).map(Self::licensed)
            }

            /// Opens a weight file, or the one in a folder, with the tokenizer's files beside it.
            #[cfg(feature = "std")]
            pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
                Engine::open(INFO.clone(), Box::new(program::PROGRAM), path.as_ref()).map(Self::licensed)
            }

            /// Joins the compiled program with weights and the contents of the tokenizer's files, from anywhere.
            #[cfg(feature = "tokenizer")]
            pub fn from_parts(weights: Weights, texts: &gem_runtime::text::TextFiles<'_>) -> Result<Self> {
                Engine::from_parts(INFO.clone(), Box::new(program::PROGRAM), weights, texts).map(Self::licensed)
            }

            /// Opens the model that `gemc bundle` put into this program's own file, with its tokenizer; mapped, not copied.
            #[cfg(feature = "std")]
            pub fn bundled() -> Result<Self> {
                let bundle = gem_runtime::bundle::Bundle::of_this_program()?;
                Engine::from_bundle(INFO.clone(), Box::new(program::PROGRAM), &bundle).map(Self::licensed)
            }

            #embedded

            fn licensed(engine: Engine) -> Self {
                Self(engine.with_license(LICENSE))
            }

            /// What runs it.
            pub fn into_engine(self) -> Engine {
                self.0
            }
        }

        impl gem_runtime::Model for Model {
            fn engine(&self) -> &Engine {
                &self.0
            }
        }
    };
    let file = syn::parse2(tokens).map_err(|e| PackageError::Malformed {
        what: "src/lib.rs",
        reason: e.to_string(),
    })?;
    Ok(spaced(&prettyplease::unparse(&file)))
}

/// The licence texts, each a constant expression.
fn licenses(package: &Package) -> impl Iterator<Item = TokenStream> {
    package.licenses.iter().map(|(name, _)| {
        let path = format!("../{LICENSES}/{name}");
        quote!(License::new(#name, include_str!(#path)))
    })
}

/// `Model::embedded`, with the texts that the package has.
fn embedded(package: &Package) -> TokenStream {
    let weights = format!("../{WEIGHTS}");
    let with_text = package.has_text(TOKENIZER).then(|| {
        let file = |name: &str| {
            let path = format!("../{name}");
            if package.has_text(name) {
                quote!(Some(include_bytes!(#path)))
            } else {
                quote!(None)
            }
        };
        let tokenizer = format!("../{TOKENIZER}");
        let (config, generation) = (file(TOKENIZER_CONFIG), file(GENERATION_CONFIG));
        let texts = package.texts.iter().map(|(name, _)| name.as_str());
        let templates = texts.filter(|name| is_chat_template(name)).map(|name| {
            let path = format!("../{name}");
            quote!((#name, &include_bytes!(#path)[..]))
        });
        quote! {
            #[cfg(feature = "tokenizer")]
            let engine = {
                use gem_runtime::text::{Text, TextFiles};

                let files = TextFiles {
                    tokenizer: include_bytes!(#tokenizer),
                    tokenizer_config: #config,
                    generation_config: #generation,
                    chat_templates: &[#(#templates),*],
                };
                engine.with_text(Some(Text::new(&files, INFO.vocab_size)?))
            };
        }
    });
    quote! {
        /// Uses the weights that are part of this program.
        #[cfg(feature = "embed")]
        pub fn embedded() -> Result<Self> {
            use gem_runtime::storage::Aligned;

            static WEIGHTS: &Aligned<[u8]> = &Aligned(*include_bytes!(#weights));
            let Self(engine) = Self::new(Weights::embedded(WEIGHTS)?)?;
            #with_text
            Ok(Self(engine))
        }
    }
}

/// The facts, as a constant expression.
fn info(info: &ModelInfo) -> TokenStream {
    let ModelInfo {
        name,
        task,
        target,
        level,
        vocab_size,
        hidden_size,
        max_positions,
        domains,
        labels,
        bits_per_weight,
        weight_bytes,
        plan_hash,
        layout,
        bos,
        eos,
    } = info;
    let task = match task {
        Task::CausalLm => quote!(Task::CausalLm),
        Task::SequenceClassification => quote!(Task::SequenceClassification),
    };
    let level = format_ident!("{level:?}");
    let [vocab_size, hidden_size, max_positions] =
        [vocab_size, hidden_size, max_positions].map(|n| Literal::u32_unsuffixed(*n));
    let weight_bytes = Literal::u64_unsuffixed(*weight_bytes);
    // A mean of bits over no weights is not a number, which no literal can be.
    let bits = if bits_per_weight.is_finite() {
        *bits_per_weight
    } else {
        0.0
    };
    let bits_per_weight = Literal::f64_unsuffixed(bits);
    let eos = eos.iter().map(|id| Literal::u32_unsuffixed(*id));
    let (domains, labels) = (names(domains), names(labels));
    let plan_hash = hex(plan_hash);
    let layout = Literal::u64_unsuffixed(*layout);
    let bos = bos.map(Literal::u32_unsuffixed);
    let bos = bos.map_or_else(|| quote!(None), |id| quote!(Some(#id)));
    quote! {
        ModelInfo {
            name: Cow::Borrowed(#name),
            task: #task,
            target: Cow::Borrowed(#target),
            level: Level::#level,
            vocab_size: #vocab_size,
            hidden_size: #hidden_size,
            max_positions: #max_positions,
            domains: #domains,
            labels: #labels,
            bits_per_weight: #bits_per_weight,
            weight_bytes: #weight_bytes,
            plan_hash: gem_runtime::from_hex(#plan_hash),
            layout: #layout,
            bos: #bos,
            eos: Cow::Borrowed(&[#(#eos),*]),
        }
    }
}

fn names(names: &[Name]) -> TokenStream {
    quote!(Cow::Borrowed(&[#(Cow::Borrowed(#names)),*]))
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
pub fn main(crate_name: &str) -> String {
    let ident = crate_name.replace('-', "_");
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
