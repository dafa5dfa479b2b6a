//! Errors and slopes -> what every format of every unit is predicted to cost, and the best selection for a budget.

use std::collections::BTreeMap;

use gem_runtime::format::Codec;

use super::solve::{Choice, solve};
use super::{Formats, LADDER};
use crate::sensitivity::{Ladder, Slopes, UnitInfo, by_group};

/// Formats that a unit may have.
pub type Options = BTreeMap<String, Vec<Codec>>;

/// Predicted costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictor {
    /// By unit, of each allowed format: error and cost in nats per token.
    costs: Vec<Vec<(Codec, f64, Choice)>>,
    /// Measured over predicted KL of whole plans.
    pub joint: f64,
}

impl Predictor {
    /// Every unit may have what `options` says of its name, or anything.
    ///
    /// A unit's cost is its error times its group's KL per error, as it is when the whole group has the format.
    #[must_use]
    pub fn new(
        units: &[UnitInfo],
        ladder: &Ladder<'_>,
        slopes: &Slopes,
        options: &Options,
    ) -> Self {
        let mut secants: BTreeMap<(&str, Codec), f64> = BTreeMap::new();
        for (group, members) in by_group(units) {
            for codec in LADDER {
                let error = members.iter().map(|unit| ladder.error(unit, codec)).sum();
                let secant = slopes.get(group).map_or(0.0, |slope| slope.secant(error));
                secants.insert((group, codec), secant);
            }
        }
        let of = |unit: &UnitInfo| {
            let allowed = options.get(unit.name()).map_or(&LADDER[..], Vec::as_slice);
            let choice = |codec: &Codec| {
                let error = ladder.error(unit, *codec);
                let secant = secants.get(&(unit.group.as_str(), *codec));
                let cost = error * secant.copied().unwrap_or_default();
                let bytes = unit.shape.bytes(*codec);
                (*codec, error, Choice { bytes, cost })
            };
            allowed.iter().map(choice).collect()
        };
        Self {
            costs: units.iter().map(of).collect(),
            joint: 1.0,
        }
    }

    /// The selection of the least predicted cost; `None` when nothing fits.
    #[must_use]
    pub fn best(&self, budget: u64) -> Option<Formats> {
        let choices: Vec<Vec<Choice>> = self
            .costs
            .iter()
            .map(|options| options.iter().map(|(_, _, choice)| *choice).collect())
            .collect();
        let chosen = solve(&choices, budget)?;
        let formats = self.costs.iter().zip(chosen);
        Some(formats.map(|(options, index)| options[index].0).collect())
    }

    /// Bytes of the smallest and of the largest selection.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        let bytes = |pick: fn(u64, u64) -> u64| {
            let of = |options: &Vec<(Codec, f64, Choice)>| {
                options
                    .iter()
                    .map(|(_, _, choice)| choice.bytes)
                    .reduce(pick)
            };
            self.costs.iter().filter_map(of).sum()
        };
        (bytes(u64::min), bytes(u64::max))
    }

    /// Predicted KL of a selection.
    #[must_use]
    pub fn kl(&self, formats: &[Codec]) -> f64 {
        let costs = (0..self.costs.len()).map(|unit| self.cost(unit, formats[unit]));
        self.joint * costs.sum::<f64>()
    }

    /// Makes the prediction of a whole what was measured of it.
    pub fn calibrate(&mut self, formats: &[Codec], kl: f64) {
        self.joint = 1.0;
        let predicted = self.kl(formats);
        if predicted > 0.0 && predicted.is_finite() && kl > 0.0 {
            self.joint = kl / predicted;
        }
    }

    /// Predicted cost of a unit in a format; infinite where it is not allowed.
    #[must_use]
    pub fn cost(&self, unit: usize, codec: Codec) -> f64 {
        let option = self.costs[unit].iter().find(|(c, _, _)| *c == codec);
        option.map_or(f64::INFINITY, |(_, _, choice)| choice.cost)
    }

    /// Formats that a unit may have, in the order of the ladder.
    pub fn allowed(&self, unit: usize) -> impl Iterator<Item = Codec> + '_ {
        self.costs[unit].iter().map(|(codec, _, _)| *codec)
    }

    /// Replaces the costs of a unit by a straight line of its errors.
    pub fn straighten(&mut self, unit: usize, per_error: f64) {
        for (_, error, choice) in &mut self.costs[unit] {
            choice.cost = *error * per_error;
        }
    }

    /// Error of a unit in a format.
    #[must_use]
    pub fn error(&self, unit: usize, codec: Codec) -> f64 {
        let option = self.costs[unit].iter().find(|(c, _, _)| *c == codec);
        option.map_or(0.0, |(_, error, _)| *error)
    }
}
