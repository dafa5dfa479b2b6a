//! Programs, facts and files of a model -> the module.

use std::path::PathBuf;

use gem_runtime::ModelInfo;
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::programs::{self, Place, Sources};
use super::{BuildError, WeightsIn, inputs, rewrite};
use crate::package::api::{self, Api, Embedded};

/// What a module is printed from.
pub(super) struct Made {
    pub(super) name: String,
    pub(super) info: ModelInfo,
    /// Best first; none where code is only checked.
    pub(super) programs: Vec<Sources>,
    /// The only architecture that there are programs for, where not every one has.
    pub(super) only: Option<String>,
    /// None where code is only checked.
    pub(super) weights: Option<PathBuf>,
    pub(super) weights_in: WeightsIn,
    /// Files of the text: name, path.
    pub(super) texts: Vec<(String, PathBuf)>,
    /// Licence texts: name, what it says.
    pub(super) licenses: Vec<(String, String)>,
    /// Whether kernels are compiled without optimisation.
    pub(super) unoptimised: bool,
    /// Path of gem-runtime.
    pub(super) runtime: TokenStream,
}

/// The module, with items that have rustc track its inputs.
pub(super) fn module(made: &Made, tracked: &TokenStream) -> Result<TokenStream, BuildError> {
    let name = format_ident!("{}", made.name);
    let items = items(made)?;
    let doc = format!(
        " {}: {}, compiled by gemc for {}.",
        crate::package::one_line(&made.info.name),
        made.info.task.name(),
        made.info.target,
    );
    Ok(quote! {
        #[doc = #doc]
        #[allow(
            clippy::all,
            clippy::pedantic,
            clippy::nursery,
            reason = "generated: a file that is included is linted as the crate's own"
        )]
        pub mod #name {
            #tracked
            #items
        }
    })
}

/// What stands in the module.
fn items(made: &Made) -> Result<TokenStream, BuildError> {
    let (runtime, unoptimised) = (&made.runtime, made.unoptimised);
    let mut modules = TokenStream::new();
    let mut choices = TokenStream::new();
    for (i, sources) in made.programs.iter().enumerate() {
        let cfg = condition(&sources.place);
        let module = format_ident!(
            "{}_{i}",
            sources
                .target
                .replace(|c: char| !c.is_ascii_alphanumeric(), "_")
        );
        let kernels = rewrite::file(&sources.kernels, runtime)?;
        let program = rewrite::file(&sources.program, runtime)?;
        let (level, target) = (&sources.level, &sources.target);
        let level = format_ident!("{level:?}");
        modules.extend(quote! {
            #cfg
            mod #module {
                mod kernels { #kernels }
                pub(super) mod program { #program }
            }
        });
        choices.extend(quote! {
            #cfg
            Choice {
                level: Level::#level,
                target: #target,
                program: &#module::program::PROGRAM,
                unoptimised: #unoptimised,
            },
        });
    }
    let api = Api {
        place: api::Place::App,
        info: &made.info,
        programs: choices,
        embedded: embedded(made)?,
        licenses: made
            .licenses
            .iter()
            .map(|(name, text)| (name.clone(), quote!(#text)))
            .collect(),
    };
    let api = rewrite::renamed(api.items(), runtime);
    let (contract, elsewhere) = (contract(runtime), elsewhere(made));
    let file = file(made)?;
    Ok(quote! {
        extern crate alloc;
        #contract
        #elsewhere
        #api
        #file
        #modules
    })
}

/// `Model::embedded`, where weights are part of the program; while code is only checked, with nothing in it.
fn embedded(made: &Made) -> Result<Option<Embedded>, BuildError> {
    if made.weights_in == WeightsIn::File {
        return Ok(None);
    }
    let path = |path: &PathBuf| {
        let path = inputs::text(path)?;
        Ok::<TokenStream, BuildError>(quote!(#path))
    };
    let texts = made
        .texts
        .iter()
        .map(|(name, file)| Ok((name.clone(), path(file)?)));
    Ok(Some(Embedded {
        weights: made.weights.as_ref().map(path).transpose()?,
        texts: texts.collect::<Result<_, BuildError>>()?,
    }))
}

/// Where the weight file is, where it is not part of the program.
fn file(made: &Made) -> Result<Option<TokenStream>, BuildError> {
    if made.weights_in == WeightsIn::Program {
        return Ok(None);
    }
    let path = match &made.weights {
        Some(path) => inputs::text(path)?,
        None => "",
    };
    Ok(Some(quote! {
        /// The weight file, on the machine that this was compiled on.
        pub const WEIGHT_FILE: &str = #path;
    }))
}

/// Whether the code is that of a gem-runtime which this gemc knows.
fn contract(runtime: &TokenStream) -> TokenStream {
    let abi = gem_runtime::c::ABI;
    let words = format!(
        "gem-runtime is of another version than gemc {}, which made this module: update both together",
        env!("CARGO_PKG_VERSION")
    );
    quote!(
        const _: () = assert!(#runtime::c::ABI == #abi, #words);
    )
}

/// The condition under which a program is compiled.
fn condition(place: &Place) -> Option<TokenStream> {
    match place {
        Place::All => None,
        Place::Rest => {
            let named = programs::named();
            Some(quote!(#[cfg(not(any(#(target_arch = #named),*)))]))
        }
        Place::One(architecture) => Some(quote!(#[cfg(target_arch = #architecture)])),
    }
}

/// Refuses, in words, architectures that there is no program for.
fn elsewhere(made: &Made) -> Option<TokenStream> {
    let only = made.only.as_ref()?;
    let words = format!(
        "this model was compiled for {} alone, which is {only}",
        made.info.target
    );
    Some(quote!(#[cfg(not(target_arch = #only))] compile_error!(#words);))
}
