//! Exchange of the biases of linear maps, as `Reference::replace` exchanges their weights; maps that give zero.

use std::sync::Arc;

use super::weights::NodeWeights;
use super::{Reference, ReferenceError, UnitWeights};
use crate::graph::NodeId;

impl Reference {
    /// Current bias of a `Linear` node, `[out]` of all parts; none where it has none.
    #[must_use]
    pub fn bias(&self, id: NodeId) -> Option<&Arc<[f32]>> {
        match self.weights.get(id.index())? {
            NodeWeights::Linear { bias, .. } => bias.as_ref(),
            _ => None,
        }
    }

    /// Exchanges the bias of a `Linear` node that has one, and returns the old one.
    ///
    /// # Errors
    /// When the node has no bias or the number of values differs.
    pub fn replace_bias(
        &mut self,
        id: NodeId,
        values: impl Into<Arc<[f32]>>,
    ) -> Result<Arc<[f32]>, ReferenceError> {
        let values = values.into();
        let origin = || self.graph.node(id).origin.clone();
        let Some(NodeWeights::Linear {
            bias: Some(current),
            ..
        }) = self.weights.get_mut(id.index())
        else {
            let origin = origin();
            return Err(ReferenceError::NoBias { node: id, origin });
        };
        if current.len() != values.len() {
            return Err(ReferenceError::WeightCount {
                node: id,
                origin: origin(),
                expected: current.len(),
                found: values.len(),
            });
        }
        Ok(std::mem::replace(current, values))
    }

    /// Makes a linear map give zero: its weights and biases become that. Clones made before keep theirs.
    ///
    /// # Errors
    /// When the node is no unit.
    pub fn silence(&mut self, id: NodeId) -> Result<(), ReferenceError> {
        let weights = self.unit(id).map_or(0, UnitWeights::len);
        self.replace(id, vec![0.0; weights])?;
        if let Some(bias) = self.bias(id).map(|bias| bias.len()) {
            self.replace_bias(id, vec![0.0; bias])?;
        }
        Ok(())
    }
}
