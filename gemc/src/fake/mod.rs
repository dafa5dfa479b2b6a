//! The fake-quantised model: the reference executor with the weights that a plan's codes stand for. Together with
//! rounded activations it is what kernels compute, up to the rounding of f32 sums.

mod round;

use std::sync::Arc;

use gemc_format::{ActivationFormat, Inputs, Rounding};

use crate::graph::{NodeId, UnitId};
use crate::plan::BitPlan;
use crate::plan::codes::CodesError;
use crate::quantise::{dequantise, quantise as quantise_unit};
use crate::reference::{Reference, ReferenceError, RoundRow};

/// Why there is no fake-quantised model.
#[derive(Debug, thiserror::Error)]
pub enum FakeError {
    /// The plan's file of codes cannot be used.
    #[error(transparent)]
    Codes(#[from] CodesError),
    /// The executor refuses the weights.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// Replaces every quantised unit by what its codes stand for.
///
/// # Errors
/// When codes of the plan are gone.
///
/// # Panics
/// When the plan is for another graph; see [`BitPlan::check`].
pub fn quantise(
    reference: &mut Reference,
    plan: &BitPlan,
    rounding: Rounding,
) -> Result<(), FakeError> {
    let own = plan.check(reference.graph());
    own.expect("a plan for this graph");
    let units = reference.graph().units().clone();
    for unit in units.iter() {
        let (codec, shape) = (plan.codec(unit.id), &unit.shape);
        let weights: Arc<[f32]> = match plan.planes(unit.id)? {
            Some(bytes) => dequantise(bytes, shape, codec).into(),
            None => {
                let Some(weights) = unit.nodes.first().and_then(|node| reference.unit(*node))
                else {
                    continue;
                };
                quantise_unit(&weights.all(), shape, codec, Inputs::Unknown(rounding))
                    .weights()
                    .into()
            }
        };
        for node in &unit.nodes {
            reference.replace(*node, weights.clone())?;
        }
    }
    Ok(round_activations(reference, |unit| plan.activations(unit))?)
}

/// Has runs with rounded activations round the input of each unit in this format.
///
/// # Errors
/// Never for a reference of its own.
pub fn round_activations(
    reference: &mut Reference,
    format: impl Fn(UnitId) -> ActivationFormat,
) -> Result<(), ReferenceError> {
    let rule = |format| RoundRow::new(move |row, out| round::round_row(row, format, out));
    let rules = ActivationFormat::ALL.map(|format| (format, rule(format)));
    let units = reference.graph().units().clone();
    for unit in units.iter() {
        let format = format(unit.id);
        for (_, rule) in rules.iter().filter(|(known, _)| *known == format) {
            for node in &unit.nodes {
                reference.set_rounding(*node, rule.clone())?;
            }
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
            .all()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_half_of_the_weights_go_up() {
        let ups = (0..10_000).filter(|i| up(*i)).count();
        assert!((4_900..5_100).contains(&ups), "{ups}");
    }
}
