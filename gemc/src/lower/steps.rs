//! What the lowering computes, step by step: a graph that `check` has found to be one that kernels can compute.

pub(super) use super::check::kind::{AttentionOp, NormOp, RouterOp, ShortConvOp};
use gemc_kernels::kernels::combine::Base;
use gemc_kernels::kernels::elementwise::Function;

use crate::graph::{
    Activation, Graph, Guard, LinearPart, Node, NodeId, Pooling, ScarMask, TensorId, Typed,
};

/// A graph that can be lowered; made by [`super::check::check`] alone.
#[derive(Debug)]
pub struct LowerableGraph<'g> {
    pub(super) graph: &'g Graph<Typed>,
    /// In evaluation order, each at its node.
    pub(super) steps: Vec<(NodeId, Step<'g>)>,
    /// The product that gives the logits.
    pub(super) result: NodeId,
}

/// One or more nodes that are lowered together.
#[derive(Clone, Debug)]
pub(super) enum Step<'g> {
    /// Token ids to rows.
    Embed {
        token: TensorId,
        position: Option<TensorId>,
        token_type: Option<TensorId>,
        scale: f32,
    },
    Norm(NormStep),
    /// A product that is in no module.
    Product(Product<'g>, On),
    /// All modules of a router that are there, by stage, then by module.
    Modules {
        routing: NodeId,
        stages: Vec<Vec<Product<'g>>>,
    },
    Attention(AttentionOp<'g>, Projection<'g>),
    /// A short convolution, and the product of one part that it reads.
    ShortConv(ShortConvOp, NodeId),
    ScarAttention(ScarStep),
    Router(RouterStep),
    /// The sum of two wires.
    Add([NodeId; 2]),
    Combine(CombineStep),
    /// Rows of this wire whose outputs are wanted; all steps behind it are the head's.
    Select(SelectStep<'g>),
    /// A wire of outputs at length one.
    Normalize(NodeId),
    /// A function of every value of a wire, where no product takes it along.
    Elementwise(NodeId, Function),
}

/// The rows that outputs are made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct SelectStep<'g> {
    pub input: NodeId,
    /// How a text's rows become one, where it is not the runtime that names them.
    pub pooling: &'g [Pooling],
}

/// A norm of a wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct NormStep {
    pub input: NodeId,
    /// Whether it is of outputs.
    pub outputs: bool,
    pub norm: NormOp,
    /// Whether anything but linear maps reads it.
    pub floats: bool,
    /// Whether linear maps read it.
    pub quantised: bool,
}

/// A linear map and what is fused into it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product<'g> {
    pub id: NodeId,
    pub node: &'g Node,
    pub input: NodeId,
    /// One, or as many as its reader knows of.
    pub parts: &'g [LinearPart],
    pub then: Then,
}

impl Product<'_> {
    /// The module that it is of; 0 of what is in none.
    pub fn module(&self) -> usize {
        match self.node.guard {
            Guard::Module { module, .. } => module as usize,
            Guard::Always | Guard::Fallback { .. } => 0,
        }
    }
}

/// What can be fused into a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing; sums are stored as f32.
    Floats,
    /// A sum.
    Residual(Residual),
    /// Activation and quantisation for the next product.
    Quantise {
        /// What the next product reads: the activation, or the product itself.
        wire: NodeId,
        /// The activation before rounding; without one the product itself is rounded.
        act: Option<Activation>,
        /// Gate and up halves.
        gated: bool,
    },
}

/// A wire's only reader: a sum with another wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Residual {
    /// The node that adds.
    pub sum: NodeId,
    /// The wire that is added.
    pub other: NodeId,
}

/// On which rows a product is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// All of the step.
    Rows,
    /// Those whose logits are wanted.
    Outputs,
    /// Those on which nothing fired.
    Idle {
        /// The router whose modules did not fire.
        routing: NodeId,
    },
}

/// The linear map that gives q, k and v.
#[derive(Clone, Copy, Debug)]
pub(super) struct Projection<'g> {
    pub id: NodeId,
    /// One for all, or one for each.
    pub parts: &'g [LinearPart],
}

/// Attention among the rows of a routed block.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScarStep {
    pub heads: usize,
    pub mask: ScarMask,
    /// A product of one part.
    pub projection: NodeId,
    pub routing: NodeId,
    pub clusters: Option<NodeId>,
}

/// A routing decision, and the clusters of its site.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouterStep {
    pub input: NodeId,
    pub op: RouterOp,
    pub clusters: Option<ClustersStep>,
}

/// Nearest centroids of a wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClustersStep {
    pub id: NodeId,
    pub input: NodeId,
    pub centroids: TensorId,
}

/// A sum of what modules and general path give.
#[derive(Clone, Copy, Debug)]
pub(super) struct CombineStep {
    pub routing: NodeId,
    /// Wire and kind of the general path.
    pub base: Option<(NodeId, Base)>,
    /// The first module's result, which stands for all: they share a buffer.
    pub outputs: Option<NodeId>,
    pub residual: Option<Residual>,
}
