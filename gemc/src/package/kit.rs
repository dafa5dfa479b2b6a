//! A compiled model and its target -> the crate of a kit: a program that measures the machine that it is carried to.

use gem_runtime::kit::{Expected, lengths};
use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use super::sources::{formatted, in_module};
use super::{KitSources, Package, PackageError, Runtime};
use crate::plan::BitPlan;
use crate::planner::Predicted;
use crate::prepared::PreparedModel;
use crate::products;
use crate::target::Target;
use crate::work::{self, PhaseWork, StepRows};

/// A kind of work and how many values of it.
type Work = (&'static str, f64);

impl PreparedModel {
    /// The package of a kit. Kernels are those of the target alone, whose costs it measures.
    ///
    /// # Errors
    /// As of [`PreparedModel::package`].
    pub fn kit(&self) -> Result<Package, PackageError> {
        let mut package = self.package(Runtime::Embedded)?;
        package.better.clear();
        let malformed = |reason: String| PackageError::Malformed {
            what: "program of products",
            reason,
        };
        let (program, formats) = products::program(&self.target).map_err(malformed)?;
        let sources = gemc_kernels::rust::program(&program, self.target.level);
        let formats = formats.iter().map(|product| {
            let (format, weights) = (product.format, Literal::u32_unsuffixed(product.weights));
            let activation = match product.activation {
                Some((kind, outputs)) => {
                    let outputs = Literal::u32_unsuffixed(outputs);
                    quote!(Some((#kind, #outputs)))
                }
                None => quote!(None),
            };
            quote!(Product { format: #format, weights: #weights, activation: #activation })
        });
        let expected = match self.expected() {
            Some(expected) => expected_tokens(&expected),
            None => quote!(None),
        };
        let target = base(&self.target)?;
        let layout = &self.compiled.layout;
        let bytes = Literal::u64_unsuffixed(layout.bytes_per_token(&self.loaded.graph));
        let (tokens, work) = self.work_of_prompt().map_err(malformed)?;
        let tokens = Literal::u32_unsuffixed(tokens);
        let work = work.iter().map(|(kind, values)| {
            let values = Literal::f64_unsuffixed(*values);
            quote!((#kind, #values))
        });
        let name = format_ident!("{}", package.crate_name().replace('-', "_"));
        let main = quote! {
            #![doc = " Measures the machine that it runs on; `--help` shows how."]
            #![deny(warnings)]

            use gem_runtime::kit::{self, Kit};
            use gem_runtime::protocol::Product;
            use #name::{INFO, Model, products};

            static KIT: Kit = Kit {
                products: &products::PROGRAM,
                formats: &[#(#formats),*],
                target: #target,
                expected: #expected,
                bytes_per_token: #bytes,
                work: (#tokens, &[#(#work),*]),
            };

            fn main() -> std::process::ExitCode {
                kit::main(&INFO, &KIT, || Model::bundled().map(Model::into_engine))
            }
        };
        package.kit = Some(KitSources {
            sources: in_module("products", sources),
            main: formatted("src/main.rs", main)?,
        });
        Ok(package)
    }

    /// Tokens of a usual prompt, and what every phase does with it: kind and values.
    fn work_of_prompt(&self) -> Result<(u32, Vec<Work>), String> {
        let info = self.info();
        let (tokens, _) = lengths(info.task, info.max_positions, None, None)?;
        let step = StepRows::text(tokens, self.loaded.graph.facts().task);
        let phases = work::of(&self.compiled);
        let of = |phase: &PhaseWork| phase.alone(step).unwrap_or(("", 0.0));
        Ok((tokens, phases.iter().map(of).collect()))
    }

    /// What the target's costs say of the prompt and the tokens that the kit measures.
    fn expected(&self) -> Option<Expected> {
        let costs = &self.costs()?;
        let info = self.info();
        let (prefill_tokens, decode) = lengths(info.task, info.max_positions, None, None).ok()?;
        let (graph, plan): (_, &BitPlan) = (&self.loaded.graph, &self.plan);
        let phases = work::of(&self.compiled);
        let prompt = Predicted::prompt(graph, &phases, plan, costs, prefill_tokens).ok()?;
        let position = prefill_tokens + decode / 2;
        let token = Predicted::token(graph, &phases, plan, costs, position).ok()?;
        Some(Expected {
            threads: costs.threads,
            prefill_tokens,
            decode_tokens: decode,
            prefill_ms: prompt,
            decode_ms: (decode > 0).then_some(token),
            projected: costs.projected,
        })
    }
}

fn expected_tokens(expected: &Expected) -> TokenStream {
    let Expected {
        threads,
        prefill_tokens,
        decode_tokens,
        prefill_ms,
        decode_ms,
        projected,
    } = expected;
    let [threads, tokens, rest] =
        [threads, prefill_tokens, decode_tokens].map(|n| Literal::u32_unsuffixed(*n));
    let prefill = Literal::f64_unsuffixed(*prefill_ms);
    let decode = decode_ms.map(Literal::f64_unsuffixed);
    let decode = decode.map_or_else(|| quote!(None), |ms| quote!(Some(#ms)));
    quote! {
        Some(kit::Expected {
            threads: #threads,
            prefill_tokens: #tokens,
            decode_tokens: #rest,
            prefill_ms: #prefill,
            decode_ms: #decode,
            projected: #projected,
        })
    }
}

/// The target's file without costs, provenance last.
fn base(target: &Target) -> Result<String, PackageError> {
    let mut target = target.clone();
    target.costs = None;
    // The machine that is measured may have others.
    target.cores.clear();
    for what in ["costs", "bandwidth", "cores"] {
        target.provenance.remove(what);
    }
    toml::to_string_pretty(&target).map_err(|e| PackageError::Malformed {
        what: "target file",
        reason: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_can_be_appended_to_the_target_s_file() {
        let mut target = Target::find("pi4").expect("built in");
        for told in [true, false] {
            if !told {
                target.provenance.clear();
            }
            let costs = "costs = \"measured\"\n\n[costs]\nthreads = 8\nbandwidth = 1.0\n[costs.weights]\nN4 = 1.0\n[costs.batch]\nN4 = 1.0\n";
            let text = base(&target).expect("TOML") + costs;
            let found = Target::parse("pi4.toml", &text).expect("a target file");
            assert_eq!(found.provenance["costs"], "measured");
            assert_eq!(found.memory, target.memory);
            assert_eq!(found.costs.map(|costs| costs.threads), Some(8));
        }
    }
}
