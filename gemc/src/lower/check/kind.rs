//! Operations of the graph, taken apart: the one place of the lowering that sees them.

use crate::graph::{
    Activation, Gates, LinearPart, Node, NormKind, Op, Pooling, QkNorm, Rope, ScarMask, Score,
    TensorId,
};

/// An operation with what the lowering needs of it.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'g> {
    Tokens,
    Embed {
        token: TensorId,
        position: Option<TensorId>,
        token_type: Option<TensorId>,
        scale: f32,
    },
    Norm(NormOp),
    Product(&'g [LinearPart]),
    Attention(AttentionOp<'g>),
    ShortConv(ShortConvOp),
    Router(RouterOp),
    Clusters {
        centroids: TensorId,
    },
    Scar {
        heads: usize,
        mask: ScarMask,
    },
    Activate {
        act: Activation,
        gated: bool,
    },
    Add,
    Combine {
        base: bool,
    },
    Select {
        pooling: &'g [Pooling],
    },
    Normalize,
    Softcap {
        cap: f32,
    },
    Output,
}

/// The constants of a norm.
#[derive(Clone, Copy, Debug)]
pub struct NormOp {
    /// Rms or layer norm.
    pub kind: NormKind,
    /// `[d]`.
    pub weight: TensorId,
    /// `[d]`.
    pub bias: Option<TensorId>,
    /// Added to mean square or variance.
    pub eps: f32,
}

/// Attention over q, k and v.
#[derive(Clone, Copy, Debug)]
pub struct AttentionOp<'g> {
    /// Number of query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Positions at a distance below it are seen.
    pub window: Option<usize>,
    /// Largest magnitude of scores.
    pub softcap: Option<f32>,
    /// Whether rows see no later position; the steps of a decoder see to it.
    pub causal: bool,
    /// Rotary embedding.
    pub rope: Option<&'g Rope>,
    /// Norms of q and k.
    pub qk_norm: Option<QkNorm>,
    /// Scores without values, one a head.
    pub sinks: Option<TensorId>,
}

/// A short convolution.
#[derive(Clone, Copy, Debug)]
pub struct ShortConvOp {
    /// `[taps, d]`.
    pub weight: TensorId,
    /// `[d]`.
    pub bias: Option<TensorId>,
}

/// The constants of a router.
#[derive(Clone, Copy, Debug)]
pub struct RouterOp {
    /// `[D, d]`.
    pub weight: TensorId,
    /// `[D]`.
    pub bias: Option<TensorId>,
    /// How logits become probabilities.
    pub score: Score,
    /// Modules that may fire.
    pub top_k: usize,
    /// Modules fire where p is above it.
    pub threshold: f32,
    /// `[D]`, for the choice alone.
    pub select_bias: Option<TensorId>,
    /// How gates follow from p.
    pub gates: Gates,
    /// `[1, d]`.
    pub base_gate: Option<TensorId>,
}

impl Kind<'_> {
    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Tokens => "token ids",
            Kind::Embed { .. } => "an embedding",
            Kind::Norm(_) => "a norm",
            Kind::Product(_) => "a linear map",
            Kind::Attention(_) => "attention",
            Kind::ShortConv(_) => "a short convolution",
            Kind::Router(_) => "a router",
            Kind::Clusters { .. } => "clusters",
            Kind::Scar { .. } => "SCAR attention",
            Kind::Activate { .. } => "an activation",
            Kind::Add => "a sum",
            Kind::Combine { .. } => "a sum of modules",
            Kind::Select { .. } => "a selection of rows",
            Kind::Normalize => "a normalisation",
            Kind::Softcap { .. } => "a cap of logits",
            Kind::Output => "the output",
        }
    }
}

/// Takes a node's operation apart.
pub fn of(node: &Node) -> Kind<'_> {
    match &node.op {
        Op::Tokens => Kind::Tokens,
        Op::Embed {
            token,
            position,
            token_type,
            scale,
        } => Kind::Embed {
            token: *token,
            position: *position,
            token_type: *token_type,
            scale: *scale,
        },
        Op::Norm {
            kind,
            weight,
            bias,
            eps,
        } => Kind::Norm(NormOp {
            kind: *kind,
            weight: *weight,
            bias: *bias,
            eps: *eps,
        }),
        Op::Linear { parts } => Kind::Product(parts),
        Op::Attention {
            heads,
            kv_heads,
            head_dim,
            causal,
            scale,
            window,
            softcap,
            rope,
            qk_norm,
            sinks,
        } => Kind::Attention(AttentionOp {
            heads: *heads as usize,
            kv_heads: *kv_heads as usize,
            head_dim: *head_dim as usize,
            scale: *scale,
            causal: *causal,
            window: window.map(|n| n as usize),
            softcap: *softcap,
            rope: rope.as_ref(),
            qk_norm: *qk_norm,
            sinks: *sinks,
        }),
        Op::ShortConv { weight, bias } => Kind::ShortConv(ShortConvOp {
            weight: *weight,
            bias: *bias,
        }),
        Op::Router {
            weight,
            bias,
            score,
            top_k,
            threshold,
            select_bias,
            gates,
            base_gate,
        } => Kind::Router(RouterOp {
            weight: *weight,
            bias: *bias,
            score: *score,
            top_k: *top_k as usize,
            threshold: *threshold,
            select_bias: *select_bias,
            gates: *gates,
            base_gate: *base_gate,
        }),
        Op::Clusters { centroids } => Kind::Clusters {
            centroids: *centroids,
        },
        Op::ScarAttention {
            heads,
            mask,
            // As that of attention.
            causal: _,
        } => Kind::Scar {
            heads: *heads as usize,
            mask: *mask,
        },
        Op::Activate { act, gated } => Kind::Activate {
            act: *act,
            gated: *gated,
        },
        Op::Add => Kind::Add,
        Op::Combine { base } => Kind::Combine { base: *base },
        Op::SelectOutputs { pooling } => Kind::Select { pooling },
        Op::Normalize => Kind::Normalize,
        Op::Softcap { cap } => Kind::Softcap { cap: *cap },
        Op::Output => Kind::Output,
    }
}
