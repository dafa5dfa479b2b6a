//! Every unit in every format: its planes, made when asked for, and its error.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use gemc_format::{Codec, Factor, Inputs, Rounding, Shape};
use rayon::prelude::*;

use super::Reading;
use super::journal::Journal;
use super::spill::Spill;
use crate::calibrate::{Inputs as Seen, Stats};
use crate::graph::{GroupMap, Unit, UnitId, UnitMap, Units};
use crate::progress::Progress;
use crate::quantise::factor::Moments;
use crate::quantise::{PlaneBytes, Planes, dequantise_rows, quantise, quantise_rows, stream};
use crate::reference::{Reference, ReferenceError, RowSource, UnitWeights};

/// Planes kept in memory, at least; of a model whose weights are in memory half as many bytes as its checkpoint has. Beyond
/// that they are made again, or kept in a file: see [`Ladder::keep_in`].
const KEPT_BYTES: usize = 56 << 20;

/// A unit that calibration saw less often than every so many tokens counts as if it had been seen that often.
const LEAST_SHARE: f64 = 1e-3;

/// Units of a group from which on fewer rows of each tell its error, and how many do at least.
const FEW_UNITS: usize = 16;
const LEAST_ERROR_ROWS: usize = 32;

/// Planes of so many bytes are never in memory as a whole, where there is a file for them.
const LARGE: usize = 16 << 20;

/// Weights that are compared at a time.
const PIECE: usize = 4 << 20;

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
    /// Second moments of every unit's inputs, and counts of tokens.
    pub stats: &'a Stats,
    /// Of a tied embedding: what reading its rows costs.
    pub reading: Option<&'a Reading>,
    /// Whether a module's error counts by how often and with which gates it is visited: false only to see what that is
    /// worth.
    pub routing_weights: bool,
}

/// Rounds with what a method takes of what is known of a unit's inputs, and of their moments where they are factorised.
pub fn with_inputs(
    method: Method,
    known: Option<(&Seen, Option<&Moments>)>,
    round: impl FnOnce(Inputs<'_>) -> Planes,
) -> Planes {
    let (factor, importance): (Factor<'_>, Vec<f32>);
    let inputs = match (method, known) {
        (Method::Plain, _) => Inputs::Unknown(Rounding::Plain),
        (_, None) => Inputs::Unknown(Rounding::Search),
        (Method::Search | Method::Feedback, Some((seen, moments))) => match moments {
            Some(moments) => {
                factor = moments.factor();
                Inputs::Factor(&factor)
            }
            None => {
                importance = seen.importance();
                Inputs::Importance(&importance)
            }
        },
    };
    round(inputs)
}

/// Makes planes of units.
#[derive(Debug)]
pub struct Ladder<'a> {
    reference: &'a Reference,
    method: Method,
    tokens: f64,
    /// Nothing of an embedding that is only read.
    known: UnitMap<Option<InputFacts>>,
    /// Rows that the error of a unit is told from, at most, by its group.
    error_rows: GroupMap<usize>,
    /// Bytes of planes that are kept in memory.
    kept_bytes: usize,
    /// Where those beyond are kept.
    spill: Option<Spill>,
    /// See [`LARGE`].
    large: usize,
    /// Errors that were measured before.
    journal: Journal,
    made: Mutex<CandidateStore>,
}

/// What is known of a unit's inputs.
#[derive(Debug)]
struct InputFacts {
    seen: Seen,
    moments: Option<Moments>,
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
            error_rows: GroupMap::of(units, |_| usize::MAX),
            kept_bytes: kept_bytes(reference, units),
            spill: None,
            large: LARGE,
            journal: Journal::default(),
            made: Mutex::default(),
        }
    }

    /// Tells errors from so many rows of a unit, evenly spread, where it has more; of a unit that is one of many of its kind, from
    /// fewer, since the errors of all of them are added up.
    #[must_use]
    pub fn with_error_rows(mut self, units: &Units, rows: usize) -> Self {
        self.error_rows = GroupMap::of(units, |group| match group.units.len() {
            0..=FEW_UNITS => rows,
            _ => rows.min((rows / group.units.len()).max(LEAST_ERROR_ROWS)),
        });
        self
    }

    /// Takes from a journal what was measured before, and writes down what is.
    #[must_use]
    pub fn with_journal(mut self, journal: Journal) -> Self {
        self.journal = journal;
        self
    }

    /// What was measured.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Keeps what is beyond its share of memory in a file of this folder from now on.
    pub fn keep_in(&mut self, folder: &Path) {
        // Where none can be made, planes are made again when they are needed again.
        self.spill = Spill::new(folder).ok();
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
        let planes = Arc::new(self.kept(self.whole(unit, codec)));
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let held = match planes.bytes {
            PlaneBytes::Held(_) => planes.bytes.len(),
            PlaneBytes::Mapped(_) => 0,
        };
        if made.bytes + held <= self.kept_bytes {
            made.bytes += held;
            made.planes.insert(key, planes.clone());
        }
        planes
    }

    /// Planes that memory has no room for go to the file.
    fn kept(&self, planes: Planes) -> Planes {
        if matches!(planes.bytes, PlaneBytes::Mapped(_)) {
            return planes;
        }
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = made.bytes + planes.bytes.len() <= self.kept_bytes;
        drop(made);
        match &self.spill {
            Some(spill) if !fits => spill.keep(planes),
            _ => planes,
        }
    }

    /// Rounds a unit; its rows are read as they are needed where they are not in memory.
    fn whole(&self, unit: &Unit, codec: Codec) -> Planes {
        self.with_inputs(unit, |inputs| match self.weights(unit) {
            Some(UnitWeights::Read(source)) => {
                let read = |rows: Range<usize>, out: &mut [f32]| source.read_rows(rows, out);
                let spilled = self.spilled(unit, codec, inputs, &read);
                spilled.unwrap_or_else(|| quantise_rows(read, &unit.shape, codec, inputs))
            }
            _ => quantise(&self.original(unit), &unit.shape, codec, inputs),
        })
    }

    /// Rounds a large unit piece by piece into the file; nothing where there is none, or it takes no more.
    fn spilled(
        &self,
        unit: &Unit,
        codec: Codec,
        inputs: Inputs<'_>,
        read: &(impl Fn(Range<usize>, &mut [f32]) + Sync),
    ) -> Option<Planes> {
        let bytes = unit.shape.size(codec).bytes;
        let spill = self.spill.as_ref().filter(|_| bytes >= self.large)?;
        let shape = unit.shape.clone();
        let written = spill.written(bytes, |write| stream(&shape, codec, inputs, read, write));
        written.ok().map(|bytes| Planes {
            codec,
            shape,
            bytes,
        })
    }

    /// Rounds some rows of a unit.
    fn rounded(&self, unit: &Unit, codec: Codec, weights: &[f32], rows: usize) -> Planes {
        let shape = Shape {
            parts: vec![rows],
            cols: unit.shape.cols,
        };
        self.with_inputs(unit, |inputs| quantise(weights, &shape, codec, inputs))
    }

    /// What rounding is to know of a unit's inputs.
    fn with_inputs(&self, unit: &Unit, round: impl FnOnce(Inputs<'_>) -> Planes) -> Planes {
        let known = self.known[unit.id].as_ref();
        let known = known.map(|known| (&known.seen, known.moments.as_ref()));
        with_inputs(self.method, known, round)
    }

    /// What calibration saw of a unit's inputs, with the prior of its site.
    #[must_use]
    pub fn seen(&self, unit: UnitId) -> Option<&Seen> {
        self.known[unit].as_ref().map(|known| &known.seen)
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
        let name = format!("error {} {}", unit.id, codec.name());
        let measured = self.journal.get(&name, || {
            Ok::<_, Infallible>(self.measured_error(unit, codec))
        });
        let Ok(error) = measured;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.errors.insert(key, error);
        error
    }

    fn measured_error(&self, unit: &Unit, codec: Codec) -> f64 {
        let rows = unit.shape.rows();
        let most = self.error_rows[unit.group];
        if rows > most {
            let sample: Vec<usize> = (0..most).map(|i| i * rows / most).collect();
            let original = self.sample(unit, &sample);
            let rounded = self.rounded(unit, codec, &original, most);
            rows as f64 / most as f64 * self.error_of(unit, rounded.weights(), &original)
        } else if matches!(self.weights(unit), Some(UnitWeights::Read(_))) {
            self.error_in_pieces(unit, codec)
        } else {
            let rounded = self.planes(unit, codec).weights();
            self.error_of(unit, rounded, &self.original(unit))
        }
    }

    /// Error of a unit whose rows are not in memory.
    fn error_in_pieces(&self, unit: &Unit, codec: Codec) -> f64 {
        let planes = self.planes(unit, codec);
        let (rows, cols) = (unit.shape.rows(), unit.shape.cols);
        let piece = (PIECE / cols.max(1)).max(1);
        let error = |first: usize| {
            let rows = first..rows.min(first + piece);
            let mut rounded = vec![0.0; rows.len() * cols];
            planes.read_rows(rows.clone(), &mut rounded);
            let original = self.weights(unit).map(|weights| weights.rows(rows, cols));
            self.error_of(unit, rounded, &original.unwrap_or_default())
        };
        (0..rows).step_by(piece).map(error).sum()
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
        self.give(candidate, unit, self.planes(unit, codec))
    }

    /// The same for many units, which are rounded side by side; each is a unit of progress.
    ///
    /// # Errors
    /// Never for a clone of the ladder's reference.
    pub fn apply_all(
        &self,
        candidate: &mut Reference,
        formats: &[(&Unit, Codec)],
        progress: &dyn Progress,
    ) -> Result<(), ReferenceError> {
        let rounded = formats.par_iter().map(|(unit, codec)| {
            let planes = self.planes(unit, *codec);
            progress.advance(1);
            planes
        });
        let rounded: Vec<Arc<Planes>> = rounded.collect();
        let mut each = formats.iter().zip(rounded);
        each.try_for_each(|((unit, _), planes)| self.give(candidate, unit, planes))
    }

    /// Errors of units in a format, each as [`Ladder::error`] gives it, measured side by side.
    #[must_use]
    pub fn errors(&self, units: &[&Unit], codec: Codec) -> Vec<f64> {
        let errors = units.par_iter().map(|unit| self.error(unit, codec));
        errors.collect()
    }

    fn give(
        &self,
        candidate: &mut Reference,
        unit: &Unit,
        planes: Arc<Planes>,
    ) -> Result<(), ReferenceError> {
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

/// Bytes of planes that memory has room for.
fn kept_bytes(reference: &Reference, units: &Units) -> usize {
    let held = |unit: &Unit| match reference.unit(unit.nodes[0]) {
        Some(UnitWeights::Held(_)) => unit.shape.weights(),
        _ => 0,
    };
    units.iter().map(held).sum::<usize>().max(KEPT_BYTES)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::calibrate::{self, Gather};
    use crate::pipeline;
    use crate::progress::Silent;
    use crate::sequences::{Origin, Sequence};

    #[test]
    fn large_planes_go_to_the_file_piece_by_piece_and_are_the_same() {
        let dir =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints/lm-dense-pre-rope");
        let loaded = pipeline::load(&dir).expect("a good checkpoint");
        let held = loaded.reference();
        let weights = Arc::new(loaded.checkpoint.weights().clone());
        let streamed = Reference::streamed(&loaded.graph, weights);
        let units = loaded.graph.units();
        let text = [Sequence {
            domain: String::new(),
            ids: (1..40).collect(),
            label: None,
            origin: Origin::default(),
        }];
        let stats = calibrate::run(&held, &text, Gather::Moments, &mut |_, _| {}, &Silent);
        let evidence = Evidence {
            stats: &stats.expect("it fits"),
            reading: None,
            routing_weights: true,
        };
        let folder = tempfile::tempdir().expect("a folder");
        for method in [Method::Plain, Method::Search, Method::Feedback] {
            let expected = Ladder::new(&held, units, &evidence, method);
            let mut found = Ladder::new(&streamed, units, &evidence, method);
            found.keep_in(folder.path());
            found.large = 0;
            found.kept_bytes = 0;
            let mut once = 0;
            for unit in units.iter() {
                for codec in Codec::ALL {
                    once += (unit.shape.size(*codec).bytes as u64).next_multiple_of(1 << 16);
                    let planes = found.planes(unit, *codec);
                    assert!(matches!(planes.bytes, PlaneBytes::Mapped(_)));
                    assert_eq!(planes, expected.planes(unit, *codec), "{}", unit.name);
                }
            }
            let spilled = found.spill.as_ref().map(Spill::bytes);
            assert_eq!(spilled, Some(once), "each once");
        }
    }
}
