//! A tied embedding has two uses: its rows are read as they are, and multiplied as the head. An error costs differently in
//! each -> what one costs beside the other, measured.

use std::sync::Arc;

use gemc_format::{Codec, Inputs};

use super::Judge;
use crate::calibrate::Stats;
use crate::graph::{NodeId, Units};
use crate::quantise::factor::Moments;
use crate::quantise::quantise;
use crate::reference::{Reference, ReferenceError};

/// The format that both uses are tried in.
const PROBE: Codec = Codec::N4;

/// What reading a row of a tied embedding with an error costs, in terms of the head's error `Δw H Δwᵀ`. One number serves all
/// rows: a frequent token is read often and predicted often, so its frequency scales both errors alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Cost of a squared error that is read, in units of the head's error per token.
    pub cost: f64,
}

impl Reading {
    /// Measures a tied embedding: KL per error with only the rows that are read rounded, and with only the head rounded.
    /// `None` for any other unit, and where nothing was measured.
    ///
    /// # Errors
    /// Never for units of this reference.
    pub fn measure(
        reference: &Reference,
        units: &Units,
        stats: &Stats,
        judge: &Judge,
    ) -> Result<Option<Self>, ReferenceError> {
        let Some(unit) = units.iter().find(|unit| unit.tied) else {
            return Ok(None);
        };
        let (Some(inputs), Some(original)) = (stats.unit(unit.id), reference.unit(unit.nodes[0]))
        else {
            return Ok(None);
        };
        let original = original.all();
        let importance = inputs.importance();
        let planes = quantise(
            &original,
            &unit.shape,
            PROBE,
            Inputs::Importance(&importance),
        );
        let rounded: Arc<[f32]> = planes.weights().into();
        let kl = |reading: bool| -> Result<f64, ReferenceError> {
            let mut candidate = reference.clone();
            for node in &unit.nodes {
                if reference.graph().node(*node).op.looks_up() == reading {
                    candidate.replace(*node, rounded.clone())?;
                }
            }
            Ok(judge.judge(&candidate, NodeId(0), true)?.mean())
        };
        let (read, multiplied) = (kl(true)?, kl(false)?);
        let delta: Vec<f32> = rounded
            .iter()
            .zip(original.iter())
            .map(|(a, b)| a - b)
            .collect();
        // Rows count as often as the text has their tokens, in both uses.
        let weighted = |error: &dyn Fn(&[f32]) -> f64| -> f64 {
            let rows = delta.chunks_exact(unit.shape.cols.max(1)).enumerate();
            rows.map(|(row, delta)| stats.frequency(row) * error(delta))
                .sum()
        };
        let squares = weighted(&square);
        let head = weighted(&|delta| inputs.error(delta)) / inputs.weight();
        let cost = (read / squares) / (multiplied / head);
        Ok((cost.is_finite() && cost > 0.0).then_some(Self { cost }))
    }

    /// Cost of errors of rows, per token.
    #[must_use]
    pub fn error(&self, delta: &[f32]) -> f64 {
        self.cost * square(delta)
    }

    /// What error feedback needs to account for both uses.
    pub(super) fn factorised(&self, inputs: &crate::calibrate::Inputs) -> Option<Moments> {
        inputs.factorised(self.cost / inputs.mean_square())
    }
}

fn square(delta: &[f32]) -> f64 {
    delta.iter().map(|d| f64::from(*d).powi(2)).sum()
}
