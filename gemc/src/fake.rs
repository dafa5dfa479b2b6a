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

/// Multiplies every weight by `1 + size` or `1 - size`, the same at every call. At a rounding of f32 (1.2e-7) the result is
/// as correct as it was before: as far as it is from then on, two correct programs may be apart.
///
/// # Errors
/// Never for a reference of its own.
pub fn disturb(reference: &mut Reference, size: f32) -> Result<(), ReferenceError> {
    let units: Vec<NodeId> = reference.units().collect();
    for node in units {
        let Some(values) = reference.unit(node) else {
            continue;
        };
        let disturbed: Vec<f32> = values
            .iter()
            .zip(0u32..)
            .map(|(value, i)| value * (1.0 + if up(i) { size } else { -size }))
            .collect();
        reference.replace(node, disturbed)?;
    }
    Ok(())
}

/// A coin for each index: the top bit of Knuth's multiplicative hash.
const fn up(index: u32) -> bool {
    index.wrapping_mul(2_654_435_761) >> 31 == 1
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_half_of_the_weights_go_up() {
        let ups = (0..10_000).filter(|i| up(*i)).count();
        assert!((4_900..5_100).contains(&ups), "{ups}");
    }
}
