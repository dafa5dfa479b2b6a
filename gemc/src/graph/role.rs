//! What a node's weights are for, from the node's operation, its neighbours and where it stands.

use super::{Graph, Guard, NodeId, Op, Site};

/// What weights are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Rows that are looked up: of tokens, positions, token types.
    Embedding,
    /// A norm outside of modules.
    Norm,
    /// What feeds attention, what it feeds, and the norms of its heads.
    Attention,
    /// A routing decision, and the clusters of its site.
    Router,
    /// What feeds SCAR attention, and what it feeds.
    Scar,
    /// The MLP of a layer beside its modules, or instead of them.
    General,
    /// A map of a module.
    Module,
    /// The head, whose rows give the logits.
    Head,
}

impl Role {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Norm => "norms",
            Self::Attention => "attention",
            Self::Router => "router",
            Self::Scar => "scar",
            Self::General => "general",
            Self::Module => "modules",
            Self::Head => "head",
        }
    }
}

impl<S> Graph<S> {
    /// What the weights of a node are for; `None` for an operation that never has any.
    #[must_use]
    pub fn role(&self, id: NodeId) -> Option<Role> {
        let node = self.node(id);
        let role = match node.op {
            Op::Embed { .. } => Role::Embedding,
            Op::Norm { .. } => Role::Norm,
            // Both mix positions.
            Op::Attention { .. } | Op::ShortConv { .. } => Role::Attention,
            Op::Router { .. } | Op::Clusters { .. } => Role::Router,
            Op::Linear { .. } => self.role_of_product(id),
            Op::Tokens
            | Op::ScarAttention { .. }
            | Op::Activate { .. }
            | Op::Add
            | Op::Combine { .. }
            | Op::SelectOutputs { .. }
            | Op::Normalize
            | Op::Softcap { .. }
            | Op::Output => return None,
        };
        Some(match node.guard {
            Guard::Module { .. } => Role::Module,
            Guard::Always | Guard::Fallback { .. } => role,
        })
    }

    /// What each tensor is for, by id: what the first node that reads it is for. A tied head's is the embedding.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        let mut roles = vec![None; self.tensors().count()];
        for (id, node) in self.topo() {
            for tensor in node.op.tensors() {
                let role: &mut Option<Role> = &mut roles[tensor.index()];
                *role = role.or(self.role(id));
            }
        }
        // Front ends register what a node reads.
        let known = |role: Option<Role>| role.unwrap_or(Role::General);
        roles.into_iter().map(known).collect()
    }

    fn role_of_product(&self, id: NodeId) -> Role {
        let node = self.node(id);
        let beside = |wanted: fn(&Op) -> bool| {
            let mut neighbours = node.inputs.iter().chain(self.consumers(id));
            neighbours.any(|other| wanted(&self.node(*other).op))
        };
        if node.site == Site::Head {
            Role::Head
        } else if beside(|op| matches!(op, Op::Attention { .. } | Op::ShortConv { .. })) {
            Role::Attention
        } else if beside(|op| matches!(op, Op::ScarAttention { .. })) {
            Role::Scar
        } else {
            Role::General
        }
    }
}
