//! A tied embedding has two uses: its rows are read as they are, and multiplied as the head. An error costs differently in
//! each -> what one costs beside the other, measured.

use std::sync::Arc;

use gem_runtime::format::Codec;

use super::{Judge, UnitInfo};
use crate::calibrate::Stats;
use crate::graph::{NodeId, Op};
use crate::quantise::factor::Moments;
use crate::quantise::{Inputs, quantise};
use crate::reference::{Reference, ReferenceError};

/// The format that both uses are tried in.
const PROBE: Codec = Codec::N4;

/// Classes of rows are this factor apart in what reading them costs.
const CLASS_STEP: f64 = 4.0;

/// Rows read more or less often than this many classes from the mean of the head's inputs are of the last one.
const CLASSES: (i32, i32) = (-3, 4);

/// What reading a row with an error costs, in terms of the head's error `Δw H Δwᵀ`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// By row: cost of a squared error of the row, per token, in units of the head's error per token.
    pub cost: Vec<f64>,
}

impl Reading {
    /// Measures a tied embedding: KL per error with only the rows that are read rounded, and with only the head rounded.
    /// `None` for any other unit, and where nothing was measured.
    ///
    /// # Errors
    /// Never for units of this reference.
    pub fn measure(
        reference: &Reference,
        units: &[UnitInfo],
        stats: &Stats,
        judge: &Judge,
    ) -> Result<Option<Self>, ReferenceError> {
        let Some(unit) = units.iter().find(|unit| unit.unit.nodes.len() > 1) else {
            return Ok(None);
        };
        let (Some(inputs), Some(original)) =
            (stats.unit(unit.name()), reference.unit(unit.unit.nodes[0]))
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
            for node in &unit.unit.nodes {
                if matches!(reference.graph().node(*node).op, Op::Embed { .. }) == reading {
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
        let head = inputs.error(&delta) / inputs.weight().max(f64::MIN_POSITIVE);
        let frequencies: Vec<f64> = (0..unit.shape.rows())
            .map(|row| stats.frequency(row))
            .collect();
        let rows = Self { cost: frequencies };
        let per_square = (read / rows.error(&delta)) / (multiplied / head);
        if !(per_square.is_finite() && per_square > 0.0) {
            return Ok(None);
        }
        let cost = rows.cost.iter().map(|f| f * per_square).collect();
        Ok(Some(Self { cost }))
    }

    /// The same for some of the rows.
    #[must_use]
    pub fn of_rows(&self, rows: &[usize]) -> Self {
        Self {
            cost: rows.iter().map(|row| self.cost[*row]).collect(),
        }
    }

    /// Cost of errors `[rows, columns]` per token.
    #[must_use]
    pub fn error(&self, delta: &[f32]) -> f64 {
        let width = delta.len() / self.cost.len().max(1);
        let rows = delta.chunks_exact(width.max(1)).zip(&self.cost);
        let each = rows.map(|(row, cost)| {
            let square: f64 = row.iter().map(|d| f64::from(*d).powi(2)).sum();
            cost * square
        });
        each.sum()
    }

    /// Factors that account for both uses, and which of them each row has: rows are read so differently often that one
    /// factor would do for few of them.
    pub(super) fn factors(
        &self,
        inputs: &crate::calibrate::Inputs,
    ) -> Option<(Vec<Moments>, Vec<u8>)> {
        let mean = inputs.mean_square();
        let (least, most) = CLASSES;
        let class = |cost: &f64| {
            let class = (cost / mean).log(CLASS_STEP).round();
            class.clamp(f64::from(least), f64::from(most)) as i32
        };
        let factors = (least..=most).map(|class| inputs.factorised(CLASS_STEP.powi(class)));
        let classes = self.cost.iter().map(|cost| (class(cost) - least) as u8);
        Some((factors.collect::<Option<_>>()?, classes.collect()))
    }
}
