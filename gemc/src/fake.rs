//! The fake-quantised model: the reference executor with the weights that a plan's codes stand for. Together with
//! int8 activations it is what kernels compute, up to the rounding of f32 sums.

use gem_runtime::format::{Codec, QuantisedRow, Rounding, quantise_row};
use rayon::prelude::*;

use crate::graph::{NodeId, Op};
use crate::plan::{self, BitPlan};
use crate::reference::{Reference, ReferenceError};

/// Replaces every quantised unit by what its codes stand for.
///
/// # Errors
/// Never for a plan of this graph.
pub fn quantise(
    reference: &mut Reference,
    plan: &BitPlan,
    rounding: Rounding,
) -> Result<(), ReferenceError> {
    let graph = reference.graph().clone();
    for unit in plan::units(&graph) {
        let codec = plan.codec(&unit.name);
        for node in unit.nodes {
            replace(reference, node, codec, rounding)?;
        }
    }
    Ok(())
}

fn replace(
    reference: &mut Reference,
    node: NodeId,
    codec: Codec,
    rounding: Rounding,
) -> Result<(), ReferenceError> {
    let graph = reference.graph();
    let cols = match &graph.node(node).op {
        Op::Embed { token, .. } => graph.tensor(*token).shape[1],
        Op::Linear { parts } => graph.tensor(parts[0].weight).shape[1],
        _ => return Ok(()),
    };
    let Some(values) = reference.unit(node) else {
        return Ok(());
    };
    let mut values = values.to_vec();
    values
        .par_chunks_mut(cols)
        .for_each_init(QuantisedRow::default, |scratch, row| {
            quantise_row(codec, row, None, rounding, scratch);
            for (col, value) in row.iter_mut().enumerate() {
                *value = scratch.weight(codec, col);
            }
        });
    reference.replace(node, values)?;
    Ok(())
}
