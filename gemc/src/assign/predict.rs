//! Errors and slopes -> what every format of every unit is predicted to cost, and the best selection for a budget.

use gemc_format::Codec;

use super::Formats;
use super::solve::{Choice, quickest, solve, solve_within};
use crate::graph::{GroupMap, Unit, UnitId, UnitMap, Units};
use crate::sensitivity::{Ladder, Slopes};
use crate::target::Costs;

/// The only format that a unit may have; nothing where it may have any of the ladder.
pub type FixedFormats = UnitMap<Option<Codec>>;

/// Formats that a unit may have: error and cost in nats per token.
type Options = Vec<(Codec, f64, Choice)>;

/// Predicted costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictor {
    costs: UnitMap<Options>,
    /// Seconds that do not depend on formats.
    fixed: f64,
    /// Seconds that selections keep to.
    limit: Option<f64>,
}

/// How long a run takes.
#[derive(Clone, Copy, Debug)]
pub struct Speed<'a> {
    /// Bandwidth, threads and the time of products on the device.
    pub costs: &'a Costs,
    /// How often a token visits each unit.
    pub visits: &'a UnitMap<f64>,
    /// Tokens of the run.
    pub rows: u32,
    /// Seconds for what does not depend on formats.
    pub fixed: f64,
    /// Seconds of all, if there is a limit.
    pub limit: Option<f64>,
}

impl Predictor {
    /// Every unit may have what is fixed for it, or else any format of the ladder.
    ///
    /// A unit's cost is its error times its group's KL per error, as it is when the whole group has the format.
    #[must_use]
    pub fn new(units: &Units, ladder: &Ladder<'_>, slopes: &Slopes, fixed: &FixedFormats) -> Self {
        // By format of the ladder: one off it has no slope.
        let secants = slopes.iter().map(|(group, slope)| {
            let members = &units.group(group).units;
            let members: Vec<&Unit> = members.iter().map(|id| &units[*id]).collect();
            Codec::LADDER.map(|codec| {
                let errors = ladder.errors(&members, codec);
                (codec, slope.secant(errors.iter().sum()))
            })
        });
        let secants: GroupMap<_> = secants.collect();
        let of = |unit: &Unit| {
            let allowed = fixed[unit.id].as_ref();
            let allowed = allowed.map_or(&Codec::LADDER[..], std::slice::from_ref);
            let choice = |codec: &Codec| {
                let error = ladder.error(unit, *codec);
                let mut secants = secants[unit.group].iter();
                let secant = secants.find(|(known, _)| known == codec);
                let cost = error * secant.map_or(0.0, |(_, secant)| *secant);
                let choice = Choice {
                    bytes: unit.shape.bytes(*codec),
                    cost,
                    seconds: 0.0,
                };
                (*codec, error, choice)
            };
            allowed.iter().map(choice).collect()
        };
        Self {
            costs: UnitMap::of(units, of),
            fixed: 0.0,
            limit: None,
        }
    }

    /// Counts time too, and keeps to its limit.
    #[must_use]
    pub fn with_speed(mut self, units: &Units, speed: &Speed<'_>) -> Self {
        for unit in units {
            let (weights, visits) = (unit.shape.weights(), speed.visits[unit.id]);
            let options = &mut self.costs[unit.id];
            for (codec, _, choice) in &mut *options {
                let size = (weights, choice.bytes);
                let seconds = speed.costs.seconds(size, *codec, speed.rows, visits);
                choice.seconds = seconds.unwrap_or(f64::INFINITY);
            }
            // Within a limit only what is known counts; where nothing is, `quickest` is endless.
            let known = |(_, _, choice): &(Codec, f64, Choice)| choice.seconds.is_finite();
            if speed.limit.is_some() && options.iter().any(known) {
                options.retain(known);
            }
        }
        self.fixed = speed.fixed;
        self.limit = speed.limit;
        self
    }

    /// The selection of the least predicted cost; `None` when nothing fits.
    #[must_use]
    pub fn best(&self, budget: u64) -> Option<Formats> {
        let choices = self.choices();
        let chosen = match self.limit {
            Some(limit) => solve_within(&choices, budget, limit - self.fixed)?,
            None => solve(&choices, budget)?,
        };
        Some(self.formats(chosen))
    }

    /// The same, however long selections take.
    #[must_use]
    pub fn without_limit(mut self) -> Self {
        self.limit = None;
        self
    }

    /// The selection within a budget that takes the least time; `None` when nothing fits.
    #[must_use]
    pub fn quickest(&self, budget: u64) -> Option<Formats> {
        Some(self.formats(quickest(&self.choices(), budget)?))
    }

    fn choices(&self) -> Vec<Vec<Choice>> {
        let of = |options: &Options| {
            let choices = options.iter().map(|(_, _, choice)| *choice);
            choices.collect()
        };
        self.costs.values().map(of).collect()
    }

    fn formats(&self, chosen: Vec<usize>) -> Formats {
        let formats = self.costs.values().zip(chosen);
        formats.map(|(options, index)| options[index].0).collect()
    }

    /// Seconds of the run with a selection; 0 where the device's costs are not known, endless where those of a format are not.
    /// Formats that are not allowed take none.
    #[must_use]
    pub fn seconds(&self, formats: &Formats) -> f64 {
        let each = self.costs.iter().filter_map(|(unit, options)| {
            let option = options.iter().find(|(c, _, _)| *c == formats[unit]);
            option.map(|(_, _, choice)| choice.seconds)
        });
        self.fixed + each.sum::<f64>()
    }

    /// Bytes of the smallest and of the largest selection.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        let bytes = |pick: fn(u64, u64) -> u64| {
            let of = |options: &Options| {
                options
                    .iter()
                    .map(|(_, _, choice)| choice.bytes)
                    .reduce(pick)
            };
            self.costs.values().filter_map(of).sum()
        };
        (bytes(u64::min), bytes(u64::max))
    }

    /// Predicted KL of a selection.
    #[must_use]
    pub fn kl(&self, formats: &Formats) -> f64 {
        let costs = formats.iter().map(|(unit, codec)| self.cost(unit, *codec));
        costs.sum()
    }

    /// Predicted cost of a unit in a format; infinite where it is not allowed.
    #[must_use]
    pub fn cost(&self, unit: UnitId, codec: Codec) -> f64 {
        let option = self.costs[unit].iter().find(|(c, _, _)| *c == codec);
        option.map_or(f64::INFINITY, |(_, _, choice)| choice.cost)
    }

    /// Formats that a unit may have, in the order of the ladder.
    pub fn allowed(&self, unit: UnitId) -> impl Iterator<Item = Codec> + '_ {
        self.costs[unit].iter().map(|(codec, _, _)| *codec)
    }

    /// Replaces the costs of a unit by a straight line of its errors.
    pub fn straighten(&mut self, unit: UnitId, per_error: f64) {
        for (_, error, choice) in &mut self.costs[unit] {
            choice.cost = *error * per_error;
        }
    }

    /// Error of a unit in a format.
    #[must_use]
    pub fn error(&self, unit: UnitId, codec: Codec) -> f64 {
        let option = self.costs[unit].iter().find(|(c, _, _)| *c == codec);
        option.map_or(0.0, |(_, error, _)| *error)
    }
}
