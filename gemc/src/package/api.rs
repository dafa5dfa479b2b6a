//! Facts about a model -> the items that are its interface, in a generated crate and in a module of somebody's app alike.

use gem_runtime::text::{
    GENERATION_CONFIG, SENTENCE_CONFIG, TOKENIZER, TOKENIZER_CONFIG, is_chat_template,
};
use gem_runtime::{Conventions, ModelInfo, Name, Task, hex};
use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

/// Where the interface stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a crate whose features `std`, `tokenizer` and `embed` turn on those of gem-runtime.
    Crate,
    /// In any crate: features are asked of gem-runtime, and weights are there or not.
    App,
}

/// What the interface is made from.
pub(crate) struct Api<'a> {
    pub(crate) place: Place,
    pub(crate) info: &'a ModelInfo,
    /// Elements of a list of `Choice`, the best program first.
    pub(crate) programs: TokenStream,
    /// What `Model::embedded` includes; without it there is no such function.
    pub(crate) embedded: Option<Embedded>,
    /// Licence texts of the checkpoint: name, constant expression.
    pub(crate) licenses: Vec<(String, TokenStream)>,
}

/// Files that are part of the program, as arguments of `include_bytes!`.
pub(crate) struct Embedded {
    /// Nothing where code is only checked.
    pub(crate) weights: Option<TokenStream>,
    /// By name in the checkpoint.
    pub(crate) texts: Vec<(String, TokenStream)>,
}

impl Api<'_> {
    /// The items; `alloc` and `gem_runtime` are names of crates where they stand.
    pub(crate) fn items(&self) -> TokenStream {
        let (info, programs) = (info(self.info), &self.programs);
        let open = self.open();
        let licenses = self.licenses.iter();
        let licenses = licenses.map(|(name, text)| quote!(License::new(#name, #text)));
        let embedded = self.embedded.as_ref().map(|files| self.embedded(files));
        quote! {
            use alloc::borrow::Cow;

            use gem_runtime::generated::{self, Choice};
            use gem_runtime::simd::Level;
            use gem_runtime::storage::Weights;
            use gem_runtime::{Conventions, Engine, License, ModelInfo, Result, Task};

            /// Facts about the model.
            pub static INFO: ModelInfo = #info;

            /// The model's programs, the best first.
            static PROGRAMS: &[Choice] = &[#programs];

            /// Licence texts that came with the checkpoint.
            pub static LICENSE: &[License] = &[#(#licenses),*];

            /// The model: compiled kernels with their weights. Clones share both.
            #[derive(Clone, Debug)]
            pub struct Model(Engine);

            impl Model {
                /// Joins the compiled program with weights from anywhere.
                pub fn new(weights: Weights) -> Result<Self> {
                    let (info, program) = generated::choose(&INFO, PROGRAMS)?;
                    Engine::new(info, program, weights).map(Self::licensed)
                }

                #open

                #embedded

                fn licensed(engine: Engine) -> Self {
                    Self(engine.with_license(LICENSE))
                }

                /// Program, weights and text, for those who make sessions themselves.
                pub fn into_engine(self) -> Engine {
                    self.0
                }
            }

            impl gem_runtime::Model for Model {
                fn engine(&self) -> &Engine {
                    &self.0
                }
            }
        }
    }

    /// The ways to a model that need features of the runtime.
    fn open(&self) -> TokenStream {
        let feature =
            |name: &str| (self.place == Place::Crate).then(|| quote!(#[cfg(feature = #name)]));
        let (std, tokenizer) = (feature("std"), feature("tokenizer"));
        let files = quote! {
            /// Opens a weight file, or the one in a folder, with the tokenizer's files beside it.
            #std
            pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
                let (info, program) = generated::choose(&INFO, PROGRAMS)?;
                Engine::open(info, program, path.as_ref()).map(Self::licensed)
            }

            /// Opens the model that `gemc bundle` put into this program's own file, with its tokenizer; mapped, not copied.
            #std
            pub fn bundled() -> Result<Self> {
                let bundle = gem_runtime::bundle::Bundle::of_this_program()?;
                let (info, program) = generated::choose(&INFO, PROGRAMS)?;
                Engine::from_bundle(info, program, &bundle).map(Self::licensed)
            }
        };
        let parts = quote! {
            /// Joins the compiled program with weights and the contents of the tokenizer's files, from anywhere.
            #tokenizer
            pub fn from_parts(weights: Weights, texts: &gem_runtime::text::TextFiles<'_>) -> Result<Self> {
                let (info, program) = generated::choose(&INFO, PROGRAMS)?;
                Engine::from_parts(info, program, weights, texts).map(Self::licensed)
            }
        };
        match self.place {
            Place::Crate => quote!(#files #parts),
            Place::App => quote! {
                generated::with_std! { #files }
                generated::with_tokenizer! { { #parts } else {} }
            },
        }
    }

    /// `Model::embedded`, with the texts that there are.
    fn embedded(&self, files: &Embedded) -> TokenStream {
        let weights = match &files.weights {
            Some(path) => quote!(*include_bytes!(#path)),
            None => quote!([]),
        };
        let feature = (self.place == Place::Crate).then(|| quote!(#[cfg(feature = "embed")]));
        let engine = self.engine_with_text(files);
        quote! {
            /// Uses the weights that are part of this program.
            #feature
            pub fn embedded() -> Result<Self> {
                use gem_runtime::storage::Aligned;

                static WEIGHTS: &Aligned<[u8]> = &Aligned(#weights);
                let Self(engine) = Self::new(Weights::embedded(WEIGHTS)?)?;
                #engine
                Ok(Self(engine))
            }
        }
    }

    fn engine_with_text(&self, files: &Embedded) -> Option<TokenStream> {
        let of = |name: &str| files.texts.iter().find(|(known, _)| known == name);
        let optional = |name: &str| match of(name) {
            Some((_, path)) => quote!(Some(include_bytes!(#path))),
            None => quote!(None),
        };
        let (_, tokenizer) = of(TOKENIZER)?;
        let (config, generation) = (optional(TOKENIZER_CONFIG), optional(GENERATION_CONFIG));
        let sentence = optional(SENTENCE_CONFIG);
        let templates = files
            .texts
            .iter()
            .filter(|(name, _)| is_chat_template(name));
        let templates = templates.map(|(name, path)| quote!((#name, &include_bytes!(#path)[..])));
        let engine = quote! {{
            use gem_runtime::text::{Text, TextFiles};

            let files = TextFiles {
                tokenizer: include_bytes!(#tokenizer),
                tokenizer_config: #config,
                generation_config: #generation,
                sentence_config: #sentence,
                chat_templates: &[#(#templates),*],
            };
            engine.with_text(Some(Text::new(&files, INFO.vocab_size)?))
        }};
        Some(match self.place {
            Place::Crate => quote!(#[cfg(feature = "tokenizer")] let engine = #engine;),
            Place::App => quote! {
                let engine = generated::with_tokenizer!({ #engine } else { engine });
            },
        })
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
        embedding,
        conventions,
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
        Task::TokenClassification => quote!(Task::TokenClassification),
        Task::Embedding => quote!(Task::Embedding),
    };
    let level = format_ident!("{level:?}");
    let [vocab_size, hidden_size, max_positions] =
        [vocab_size, hidden_size, max_positions].map(|n| Literal::u32_unsuffixed(*n));
    let weight_bytes = Literal::u64_unsuffixed(*weight_bytes);
    let embedding = Literal::u32_unsuffixed(*embedding);
    let conventions = conventions_of(conventions);
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
            embedding: #embedding,
            conventions: #conventions,
            bits_per_weight: #bits_per_weight,
            weight_bytes: #weight_bytes,
            plan_hash: gem_runtime::from_hex(#plan_hash),
            layout: #layout,
            bos: #bos,
            eos: Cow::Borrowed(&[#(#eos),*]),
        }
    }
}

fn conventions_of(conventions: &Conventions) -> TokenStream {
    if *conventions == Conventions::PLAIN {
        return quote!(Conventions::PLAIN);
    }
    let Conventions {
        token_types,
        pools_prompt,
        score,
    } = conventions;
    let token_types = Literal::u32_unsuffixed(*token_types);
    let score = format_ident!("{score:?}");
    quote! {
        Conventions {
            token_types: #token_types,
            pools_prompt: #pools_prompt,
            score: gem_runtime::LabelScore::#score,
        }
    }
}

fn names(names: &[Name]) -> TokenStream {
    quote!(Cow::Borrowed(&[#(Cow::Borrowed(#names)),*]))
}
