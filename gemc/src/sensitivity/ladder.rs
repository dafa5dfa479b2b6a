//! Every unit in every format: its planes, made when asked for, and its error.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use gemc_format::{Codec, Factor, Inputs, Rounding, Shape};

use super::Reading;
use crate::calibrate::{Inputs as Seen, Stats};
use crate::graph::{GroupMap, Unit, UnitId, UnitMap, Units};
use crate::quantise::factor::Moments;
use crate::quantise::{Planes, dequantise_rows, quantise};
use crate::reference::{Reference, ReferenceError, RowSource, UnitWeights};

/// Planes kept in memory, at least; of a large model half as many bytes as its checkpoint has. Beyond that they are made
/// again.
const KEPT_BYTES: usize = 96 << 20;

/// A unit that calibration saw less often than every so many tokens counts as if it had been seen that often.
const LEAST_SHARE: f64 = 1e-3;

/// How units are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// From the largest magnitude of each block.
    Plain,
    /// By a search over scales, weighted by the inputs' mean squares.
    Search,
    /// By error feedback.
    Feedback,
}

impl Method {
    /// Its name on the command line and in plans.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Search => "search",
            Self::Feedback => "feedback",
        }
    }
}

/// What is known of the inputs of units.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What calibration saw.
    pub stats: &'a Stats,
    /// Of a tied embedding: what reading its rows costs.
    pub reading: Option<&'a Reading>,
    /// Whether a module's error counts by how often and with which gates it is visited: false only to see what that is
    /// worth.
    pub routing_weights: bool,
}

/// Makes planes of units.
#[derive(Debug)]
pub struct Ladder<'a> {
    reference: &'a Reference,
    method: Method,
    tokens: f64,
    /// Nothing of an embedding that is only read.
    known: UnitMap<Option<InputFacts>>,
    /// Rows that the error of a unit is told from, at most.
    error_rows: usize,
    /// Bytes of planes that are kept.
    kept_bytes: usize,
    made: Mutex<CandidateStore>,
}

/// What is known of a unit's inputs.
#[derive(Debug)]
struct InputFacts {
    seen: Seen,
    moments: Option<Moments>,
    importance: Vec<f32>,
    /// Of an embedding that is also the head.
    reading: Option<Reading>,
    /// What errors are multiplied with, so that they are per token of the text.
    scale: f64,
}

#[derive(Debug, Default)]
struct CandidateStore {
    planes: HashMap<(UnitId, Codec), Arc<Planes>>,
    errors: HashMap<(UnitId, Codec), f64>,
    bytes: usize,
}

impl<'a> Ladder<'a> {
    /// For the units of a model.
    #[must_use]
    pub fn new(
        reference: &'a Reference,
        units: &Units,
        evidence: &Evidence<'_>,
        method: Method,
    ) -> Self {
        let stats = evidence.stats;
        let sites = sites(units, stats);
        let known = |unit: &Unit| {
            let own = stats.unit(unit.id);
            let site = sites[unit.group].as_ref();
            let seen = match (own, site) {
                (None, None) => return None,
                (Some(own), None) => own.clone(),
                (Some(own), Some(site)) if unit.shares_inputs => own.with_prior(site),
                // The basis of the inputs of a module's last map is the module's own; the site knows nothing of it.
                (Some(own), Some(_)) if own.weight() > 0.0 => own.with_prior(&own.flattened()),
                (_, Some(site)) => {
                    let unseen = Seen::new(site.width(), site.moments().is_some());
                    if unit.shares_inputs {
                        unseen.with_prior(site)
                    } else {
                        unseen.with_prior(&site.flattened())
                    }
                }
            };
            let counted = if evidence.routing_weights {
                let weight = own.map_or(0.0, Seen::weight);
                weight.max(LEAST_SHARE * stats.tokens as f64)
            } else {
                stats.tokens as f64
            };
            let scale =
                counted / (seen.weight().max(f64::MIN_POSITIVE) * stats.tokens.max(1) as f64);
            let reading = evidence.reading.filter(|_| unit.tied);
            let reading = reading.copied();
            let moments = match (method, &reading) {
                (Method::Feedback, Some(reading)) => reading.factorised(&seen),
                (Method::Feedback, None) => seen.factorised(0.0),
                (Method::Plain | Method::Search, _) => None,
            };
            Some(InputFacts {
                importance: seen.importance(),
                seen,
                moments,
                reading,
                scale,
            })
        };
        Self {
            reference,
            method,
            tokens: stats.tokens.max(1) as f64,
            known: UnitMap::of(units, known),
            error_rows: usize::MAX,
            kept_bytes: units
                .iter()
                .map(|unit| unit.shape.weights())
                .sum::<usize>()
                .max(KEPT_BYTES),
            made: Mutex::default(),
        }
    }

    /// Tells errors from so many rows of a unit, evenly spread, where it has more.
    #[must_use]
    pub const fn with_error_rows(mut self, rows: usize) -> Self {
        self.error_rows = rows;
        self
    }

    /// How units are rounded.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The planes of a unit.
    ///
    /// # Panics
    /// When the unit is of another graph.
    #[must_use]
    pub fn planes(&self, unit: &Unit, codec: Codec) -> Arc<Planes> {
        let key = (unit.id, codec);
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(planes) = made.planes.get(&key) {
            return planes.clone();
        }
        drop(made);
        let planes = Arc::new(self.rounded(unit, codec, &self.original(unit), None));
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.bytes + planes.bytes.len() <= self.kept_bytes {
            made.bytes += planes.bytes.len();
            made.planes.insert(key, planes.clone());
        }
        planes
    }

    /// Rounds rows of a unit, all of them or a sample.
    fn rounded(
        &self,
        unit: &Unit,
        codec: Codec,
        weights: &[f32],
        sample: Option<&[usize]>,
    ) -> Planes {
        let known = self.known[unit.id].as_ref();
        let factor: Factor<'_>;
        let shape = match sample {
            None => unit.shape.clone(),
            Some(rows) => Shape {
                parts: vec![rows.len()],
                cols: unit.shape.cols,
            },
        };
        let inputs = match (self.method, known) {
            (Method::Plain, _) => Inputs::Unknown(Rounding::Plain),
            (_, None) => Inputs::Unknown(Rounding::Search),
            (Method::Search, Some(known)) => Inputs::Importance(&known.importance),
            (Method::Feedback, Some(known)) => match &known.moments {
                Some(moments) => {
                    factor = moments.factor();
                    Inputs::Factor(&factor)
                }
                None => Inputs::Importance(&known.importance),
            },
        };
        quantise(weights, &shape, codec, inputs)
    }

    /// Error of a unit in a format, per token of the text: `tr(ΔW H ΔWᵀ)`.
    #[must_use]
    pub fn error(&self, unit: &Unit, codec: Codec) -> f64 {
        let key = (unit.id, codec);
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = made.errors.get(&key) {
            return *error;
        }
        drop(made);
        let rows = unit.shape.rows();
        let error = if rows > self.error_rows {
            let sample: Vec<usize> = (0..self.error_rows)
                .map(|i| i * rows / self.error_rows)
                .collect();
            let original = self.sample(unit, &sample);
            let rounded = self.rounded(unit, codec, &original, Some(&sample));
            let share = rows as f64 / self.error_rows as f64;
            share * self.error_of(unit, rounded.weights(), &original)
        } else {
            let rounded = self.planes(unit, codec).weights();
            self.error_of(unit, rounded, &self.original(unit))
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.errors.insert(key, error);
        error
    }

    /// Gives the candidate the weights that the unit's codes stand for.
    ///
    /// # Errors
    /// Never for a clone of the ladder's reference.
    pub fn apply(
        &self,
        candidate: &mut Reference,
        unit: &Unit,
        codec: Codec,
    ) -> Result<(), ReferenceError> {
        let planes = self.planes(unit, codec);
        let weights = match self.weights(unit) {
            Some(UnitWeights::Read(_)) => UnitWeights::Read(planes),
            _ => planes.weights().into(),
        };
        for node in &unit.nodes {
            candidate.replace(*node, weights.clone())?;
        }
        Ok(())
    }

    fn weights(&self, unit: &Unit) -> Option<&UnitWeights> {
        self.reference.unit(unit.nodes[0])
    }

    fn original(&self, unit: &Unit) -> Cow<'_, [f32]> {
        let weights = self.weights(unit);
        weights.map_or_else(Cow::default, UnitWeights::all)
    }

    /// Some rows of the original.
    fn sample(&self, unit: &Unit, rows: &[usize]) -> Vec<f32> {
        let Some(weights) = self.weights(unit) else {
            return Vec::new();
        };
        let of = |row: &usize| weights.rows(*row..row + 1, unit.shape.cols).into_owned();
        rows.iter().flat_map(of).collect()
    }

    /// Error of rounded rows, per token of the text.
    fn error_of(&self, unit: &Unit, rounded: Vec<f32>, original: &[f32]) -> f64 {
        let mut delta = rounded;
        delta.iter_mut().zip(original).for_each(|(a, b)| *a -= b);
        match &self.known[unit.id] {
            Some(known) => {
                let read = known.reading.map_or(0.0, |r| r.error(&delta));
                known.seen.error(&delta) * known.scale + read
            }
            // Rows of an embedding are read, not multiplied: each row's squared error, all rows alike.
            None => delta.iter().map(|d| f64::from(*d).powi(2)).sum::<f64>() / self.tokens,
        }
    }
}

impl RowSource for Planes {
    fn values(&self) -> usize {
        self.shape.weights()
    }

    fn width(&self) -> usize {
        self.shape.cols
    }

    fn read_rows(&self, rows: Range<usize>, out: &mut [f32]) {
        dequantise_rows(&self.bytes, &self.shape, self.codec, rows, out);
    }
}

/// Inputs of all modules of each group together; nothing of units outside of modules, and of modules that saw nothing.
fn sites(units: &Units, stats: &Stats) -> GroupMap<Option<Seen>> {
    GroupMap::of(units, |group| {
        let modules = group.units.iter().filter(|id| units[**id].module.is_some());
        let mut seen = modules.filter_map(|id| stats.unit(*id));
        let mut site = seen.next()?.clone();
        seen.for_each(|own| site.merge(own));
        Some(site)
    })
}
