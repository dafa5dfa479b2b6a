//! `config.json` of a GEM checkpoint as validated values: whoever holds a [`GemConfig`] need not check a number again.
//!
//! Every size is capped, so that products of two of them fit `u64` and nothing is ever allocated by an unchecked number.

mod read;
mod rope;
mod routing;

use super::rope::RopeRule;
use crate::graph::{Activation, NormKind, ScarMask, Score, Task};

pub use super::keys::{KeyAccount, KeyUse};
pub use read::{labels, no_effect, read};

/// Where norms sit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPosition {
    /// Before attention and MLP, as in LLaMA.
    Pre,
    /// After the residual addition, as in BERT.
    Post,
}

/// How positions enter.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// Rotary, in attention.
    Rope(RopeRule),
    /// A learned row per position, added to the embedding.
    Learned,
    /// No positions enter.
    None,
}

/// Which places are routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouterPlace {
    /// None: a dense model.
    Nowhere,
    /// These layers, ascending.
    Layers(Vec<usize>),
    /// Once, after the last layer.
    Final,
}

/// How a token chooses its modules.
#[derive(Clone, Debug, PartialEq)]
pub struct RouterConfig {
    /// The layers that have a router, or the end of the model.
    pub place: RouterPlace,
    /// How logits become probabilities.
    pub score: Score,
    /// At most so many modules fire.
    pub top_k: u32,
    /// A module fires when p is strictly above; in `[0, 1)`.
    pub threshold: f32,
    /// Gates divided by their sum.
    pub renormalize: bool,
    /// Centroids of a SCAR layer; 0: no cluster ids.
    pub clusters: usize,
    /// Whether the router has a bias.
    pub bias: bool,
}

/// Attention between routed tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScarConfig {
    /// The layers that have it, ascending; empty for placement `final`.
    pub layers: Vec<usize>,
    /// Heads over the hidden size.
    pub heads: u32,
    /// Which tokens attend to each other.
    pub mask: ScarMask,
    /// Whether x is added back.
    pub residual: bool,
}

/// What a domain module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modules {
    /// There are none.
    Off,
    /// An MLP of this width.
    Mlp {
        /// f of the module.
        intermediate_size: usize,
    },
    /// `B(A x)`.
    Lora {
        /// Rows of A.
        rank: usize,
    },
}

/// When the general path of a routed layer is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeneralPath {
    /// For every row.
    Always,
    /// For rows on which nothing fires.
    Fallback,
    /// Never; it has no tensors in routed layers.
    None,
}

/// A validated `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct GemConfig {
    /// From `architectures`.
    pub task: Task,
    /// Width d of the rows between layers.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides the query heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// f of the general path.
    pub intermediate_size: usize,
    /// Token ids are below.
    pub vocab_size: usize,
    /// Positions are below.
    pub max_position_embeddings: usize,
    /// Of the general path and the modules.
    pub hidden_act: Activation,
    /// Whether MLPs have a gate.
    pub mlp_gated: bool,
    /// RMS norm or layer norm.
    pub norm: NormKind,
    /// Added to the mean square or variance, under the root.
    pub norm_eps: f32,
    /// Where norms sit.
    pub norm_position: NormPosition,
    /// How positions enter.
    pub positions: Positions,
    /// Rows of the token type table; 0: there is none.
    pub type_vocab_size: usize,
    /// Biases of q, k, v and o.
    pub attention_bias: bool,
    /// Biases of every MLP.
    pub mlp_bias: bool,
    /// RMS norm of q and k.
    pub qk_norm: bool,
    /// Whether the head is the embedding (causal only).
    pub tie_word_embeddings: bool,
    /// Names of the domains; module m serves domain m.
    pub domains: Vec<String>,
    /// Where routers are and how they choose.
    pub router: RouterConfig,
    /// SCAR, unless its mask is off.
    pub scar: Option<ScarConfig>,
    /// What modules compute: nothing, a LoRA or an MLP.
    pub modules: Modules,
    /// The general path of routed layers.
    pub general_path: GeneralPath,
    /// Label names by index; empty for a decoder.
    pub labels: Vec<String>,
    /// Tokens that begin and end a text.
    pub special: SpecialTokens,
}

/// Tokens that begin and end a text, as `config.json` names them; not compared with the vocabulary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Token that begins a sequence.
    pub bos: Option<u64>,
    /// Tokens that end a sequence.
    pub eos: Vec<u64>,
}

impl GemConfig {
    /// Whether layer `l` is routed.
    #[must_use]
    pub fn is_routed(&self, l: usize) -> bool {
        matches!(&self.router.place, RouterPlace::Layers(layers) if layers.binary_search(&l).is_ok())
    }

    /// Whether layer `l` has SCAR.
    #[must_use]
    pub fn has_scar(&self, l: usize) -> bool {
        self.scar
            .as_ref()
            .is_some_and(|s| s.layers.binary_search(&l).is_ok())
    }

    /// Whether there is a routed block after the last layer.
    #[must_use]
    pub fn final_routed(&self) -> bool {
        self.router.place == RouterPlace::Final
    }

    /// Whether that block has SCAR.
    #[must_use]
    pub fn final_scar(&self) -> bool {
        self.final_routed() && self.scar.is_some()
    }

    /// Whether positions see only earlier ones.
    #[must_use]
    pub fn causal(&self) -> bool {
        self.task == Task::CausalLm
    }
}
