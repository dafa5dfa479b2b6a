//! The closed set of graph operations. Front ends produce them, `typing` gives their wires types, the reference
//! executor runs them and `lower` turns them into kernels; a family that needs something new extends this set.

use gemc_kernels::choices::{Activation, NormKind, Pooling, Score};

use super::{NodeId, Rope, TensorId};

/// One row-block of a linear map: `y = W x + b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearPart {
    /// `[out, in]`.
    pub weight: TensorId,
    /// `[out]`.
    pub bias: Option<TensorId>,
}

/// What fired modules' outputs are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gates {
    /// Whether p is divided by its sum over the fired.
    pub renormalize: bool,
    /// Added to that sum.
    pub added: f32,
    /// The least that it is divided by.
    pub least: f32,
    /// Multiplied with every gate.
    pub scale: f32,
}

impl Gates {
    /// p, or p divided by its sum.
    #[must_use]
    pub const fn plain(renormalize: bool) -> Self {
        Self {
            renormalize,
            added: 0.0,
            least: 0.0,
            scale: 1.0,
        }
    }

    /// The gate of a module of probability `p` where those that fired sum up to `sum`.
    #[must_use]
    pub fn gate(self, p: f32, sum: f32) -> f32 {
        let gate = if self.renormalize && sum > 0.0 {
            p / (sum + self.added).max(self.least)
        } else {
            p
        };
        gate * self.scale
    }
}

/// RMS norm of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QkNorm {
    /// Of queries: `[head_dim]`, or `[heads, head_dim]` over all heads.
    pub q: TensorId,
    /// Of keys: `[head_dim]`, or `[kv_heads, head_dim]` over all heads.
    pub k: TensorId,
    /// Added to the mean square.
    pub eps: f32,
    /// What is normed, and when.
    pub over: QkNormOver,
}

/// What is divided by its root mean square.
pub use gemc_kernels::choices::QkNormOver;

/// What scores are multiplied by where a family does not say otherwise: `1 / sqrt(head_dim)`.
#[must_use]
pub fn attention_scale(head_dim: usize) -> f32 {
    (1.0 / (head_dim as f64).sqrt()) as f32
}

/// Who sees whom in SCAR attention, besides the same cluster and oneself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScarMask {
    /// Tokens with the same routing flag.
    ClusterOrFlag,
    /// Tokens with the same domain (the unrouted share the domain "none").
    ClusterOrDomain,
}

/// What a node computes. Inputs are the node's `inputs`, in the order each variant documents.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The step's token ids and positions. No input.
    Tokens,
    /// `[T, d]` from `Tokens`: token row, plus position row, plus the row of the token's type.
    Embed {
        /// `[vocab, d]`.
        token: TensorId,
        /// `[max_position, d]`.
        position: Option<TensorId>,
        /// `[types, d]`; of those that the model's conventions know, an id beyond the vocabulary has the second.
        token_type: Option<TensorId>,
        /// What the token row is multiplied by.
        scale: f32,
    },
    /// Norm of input 0 over its last dimension, in f32.
    Norm {
        /// RMS norm or layer norm.
        kind: NormKind,
        /// `[d]`.
        weight: TensorId,
        /// `[d]`, layer norm only.
        bias: Option<TensorId>,
        /// Added to the mean square or variance.
        eps: f32,
    },
    /// Concatenated linear maps of input 0: `[T, sum of out]`. One quantised unit.
    Linear {
        /// Rows of the parts follow each other.
        parts: Vec<LinearPart>,
    },
    /// Attention over input 0 = `q | k | v` rows `[T, (heads + 2 kv_heads) head_dim]`; gives `[T, heads head_dim]`.
    Attention {
        /// Number of query heads.
        heads: u32,
        /// Key and value heads; divides `heads`.
        kv_heads: u32,
        /// Width of a head; even where there is a rotary embedding.
        head_dim: u32,
        /// Whether position i sees only j <= i.
        causal: bool,
        /// What scores are multiplied by.
        scale: f32,
        /// Position i sees only j with |i - j| below it.
        window: Option<u32>,
        /// Scores s become `cap tanh(s / cap)`.
        softcap: Option<f32>,
        /// Rotary embedding of q and k.
        rope: Option<Rope>,
        /// RMS norm of q and k.
        qk_norm: Option<QkNorm>,
        /// `[heads]`: a score of each head that takes part in the softmax and has no value.
        sinks: Option<TensorId>,
    },
    /// Short causal convolution of each column over the last positions, from input 0 = `B | C | x` rows `[T, 3d]`: `C (sum over
    /// taps of weight (B x) + bias)`, `[T, d]`. Positions before the first are zero.
    ShortConv {
        /// `[taps, d]`, the row's own position last.
        weight: TensorId,
        /// `[d]`.
        bias: Option<TensorId>,
    },
    /// Routing decision from input 0 `[T, d]`.
    Router {
        /// `[D, d]`, f32.
        weight: TensorId,
        /// `[D]`.
        bias: Option<TensorId>,
        /// How logits become probabilities.
        score: Score,
        /// At most so many modules fire.
        top_k: u32,
        /// A module fires when p is strictly above.
        threshold: f32,
        /// `[D]`, added to p for the choice of modules alone.
        select_bias: Option<TensorId>,
        /// How gates follow from p.
        gates: Gates,
        /// `[1, d]`: the base of the site's sum is multiplied by the sigmoid of its product with the row.
        base_gate: Option<TensorId>,
    },
    /// Nearest centroid of input 0: `[T]` cluster ids.
    Clusters {
        /// `[clusters, d]`.
        centroids: TensorId,
    },
    /// SCAR attention. Inputs: qkv `[T, 3d]` (q | k | v, head-major), routing, and clusters when there are any.
    ScarAttention {
        /// Heads over d.
        heads: u32,
        /// Which tokens attend to each other.
        mask: ScarMask,
        /// Whether position i sees only j <= i.
        causal: bool,
    },
    /// MLP activation of input 0: gated `[T, 2f]` = gate | up -> act(gate) * up `[T, f]`; else elementwise.
    Activate {
        /// Function applied to every value, or to the gate half.
        act: Activation,
        /// Whether input 0 holds gate and up.
        gated: bool,
    },
    /// Sum of the two inputs.
    Add,
    /// `base + sum over fired m, ascending, of gate_m module_m`. Inputs: routing, then base when `base`, then every module's output.
    Combine {
        /// Whether input 1 is a base (general path, or x' for the final placement).
        base: bool,
    },
    /// Rows whose outputs are wanted: those asked for of a decoder, one of a text of any other model. Input `[T, d]`.
    SelectOutputs {
        /// How a text's rows become one, and what stands behind what where there are several ways; none for a decoder.
        pooling: Vec<Pooling>,
    },
    /// `x / max(|x|, 1e-12)` of every output.
    Normalize,
    /// Outputs x become `cap tanh(x / cap)`.
    Softcap {
        /// Above 0.
        cap: f32,
    },
    /// Marks the result: logits `[outputs, vocab or labels]`.
    Output,
}

impl Op {
    /// Its name, for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Embed { .. } => "embed",
            Self::Norm { .. } => "norm",
            Self::Linear { .. } => "linear",
            Self::Attention { .. } => "attention",
            Self::ShortConv { .. } => "short convolution",
            Self::Router { .. } => "router",
            Self::Clusters { .. } => "clusters",
            Self::ScarAttention { .. } => "scar attention",
            Self::Activate { .. } => "activate",
            Self::Add => "add",
            Self::Combine { .. } => "combine",
            Self::SelectOutputs { .. } => "select outputs",
            Self::Normalize => "normalize",
            Self::Softcap { .. } => "softcap",
            Self::Output => "output",
        }
    }

    /// The tensors it reads, in the order of its fields.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorId> {
        match self {
            Self::Embed {
                token,
                position,
                token_type,
                scale: _,
            } => [Some(*token), *position, *token_type]
                .into_iter()
                .flatten()
                .collect(),
            Self::Norm {
                weight,
                bias,
                kind: _,
                eps: _,
            } => [Some(*weight), *bias].into_iter().flatten().collect(),
            Self::Linear { parts } => parts
                .iter()
                .flat_map(|part| [Some(part.weight), part.bias])
                .flatten()
                .collect(),
            Self::Attention {
                qk_norm,
                sinks,
                heads: _,
                kv_heads: _,
                head_dim: _,
                causal: _,
                scale: _,
                window: _,
                softcap: _,
                rope: _,
            } => {
                let norms = qk_norm.map(|norm| [norm.q, norm.k]);
                norms.into_iter().flatten().chain(*sinks).collect()
            }
            Self::ShortConv { weight, bias } => {
                [Some(*weight), *bias].into_iter().flatten().collect()
            }
            Self::Router {
                weight,
                bias,
                score: _,
                top_k: _,
                threshold: _,
                select_bias,
                gates: _,
                base_gate,
            } => [Some(*weight), *bias, *select_bias, *base_gate]
                .into_iter()
                .flatten()
                .collect(),
            Self::Clusters { centroids } => vec![*centroids],
            Self::Tokens
            | Self::ScarAttention { .. }
            | Self::Activate { .. }
            | Self::Add
            | Self::Combine { .. }
            | Self::SelectOutputs { .. }
            | Self::Normalize
            | Self::Softcap { .. }
            | Self::Output => Vec::new(),
        }
    }

    /// The matrix of a router, a row for each module.
    #[must_use]
    pub const fn routes_by(&self) -> Option<TensorId> {
        match self {
            Self::Router { weight, .. } => Some(*weight),
            _ => None,
        }
    }

    /// Whether it is a router that gives the base of its site's sum a gate.
    #[must_use]
    pub const fn gates_base(&self) -> bool {
        matches!(
            self,
            Self::Router {
                base_gate: Some(_),
                ..
            }
        )
    }

    /// Whether inputs may be there on other rows than the result is.
    #[must_use]
    pub const fn reads_across_guards(&self) -> bool {
        matches!(self, Self::Combine { .. })
    }

    /// Whether its weights are rows that are looked up, not a matrix that is multiplied with.
    #[must_use]
    pub const fn looks_up(&self) -> bool {
        matches!(self, Self::Embed { .. })
    }
}

/// On which rows a node is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Every row.
    Always,
    /// Rows on which this module of the routing node fired.
    Module {
        /// The `Router` node.
        routing: NodeId,
        /// Index of the module among the site's.
        module: u32,
    },
    /// Rows on which nothing fired (`general_path = "fallback"`).
    Fallback {
        /// The `Router` node.
        routing: NodeId,
    },
}
