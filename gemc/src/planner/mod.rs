//! A checkpoint, calibration text and a budget -> a plan and its codes: what `gemc plan` does, stage by stage.
//!
//! Everything that depends on floats of the calibration happens here; a build only lays out what was planned.

mod baseline;
mod error;
#[cfg(feature = "report")]
mod page;
mod settings;
mod starved;

use std::collections::BTreeMap;
use std::sync::Arc;

use gem_runtime::hex;
use gemc_format::Codec;
use sha2::{Digest as _, Sha256};

pub use baseline::body;
pub use error::PlannerError;
#[cfg(feature = "report")]
pub use page::page;
pub use settings::{Budget, Effort, Part, Parts, Settings, Texts, Without};

use crate::assign::{self, LADDER, Options, Predictor, Refined, Speed, refine};
use crate::calibrate::{self, Gather};
use crate::fake;
use crate::graph::{NodeId, Task};
use crate::pipeline::Loaded;
use crate::plan::activations::{self, Formats};
use crate::plan::file::{Override, PlanFile, PlanUnit, VERSION, overrides};
use crate::progress::Progress;
use crate::quantise::Planes;
use crate::reference::{Activations, Reference, RoutingRecords};
use crate::sensitivity::{
    self, Evidence, Judge, KEPT_BYTES, Ladder, Method, Reading, Slopes, UnitInfo,
};
use crate::sequences::Sequence;

/// A plan with what it was made from.
#[derive(Debug)]
pub struct Made {
    /// `plan.toml`.
    pub file: PlanFile,
    /// `plan.codes`.
    pub codes: Vec<Arc<Planes>>,
    /// The units, in evaluation order.
    pub units: Vec<UnitInfo>,
    /// KL per error of every group.
    pub slopes: Slopes,
    /// Measured KL by domain, names sorted; empty without texts to judge by.
    pub domains: Vec<(String, f64)>,
    /// Modules that the calibration text hardly reached.
    pub starved: Vec<String>,
    /// What formats are predicted to cost.
    pub predictor: Predictor,
    /// Plans that were tried: name, predicted and measured KL.
    pub trials: Vec<(String, f64, f64)>,
}

/// Makes a plan. `seen` hears the routing of the calibration text.
///
/// # Errors
/// When the budget cannot be met, or the text does not do.
pub fn make(
    loaded: &Loaded,
    settings: &Settings,
    texts: &Texts,
    seen: &mut dyn FnMut(&[Sequence], &RoutingRecords),
    progress: &dyn Progress,
) -> Result<Made, PlannerError> {
    let graph = &loaded.graph;
    let units = sensitivity::infos(graph);
    let budget = settings.budget.bytes(loaded, &units, &settings.target)?;
    let options = options(&units, &settings.overrides)?;
    // Whether rules fit does not depend on the formats.
    activations::chosen(graph, &BTreeMap::new(), &settings.activations)
        .map_err(PlannerError::Activations)?;
    settings.check(&units, &options, budget)?;
    settings.check_latency()?;
    let reference = loaded.reference();
    let gather = match settings.method {
        Method::Feedback => Gather::Moments,
        Method::Plain | Method::Search => Gather::Squares,
    };
    let fit = texts.fit(settings.effort);
    let stats = calibrate::run(&reference, &fit, gather, seen, progress)?;
    let starved = starved::check(&units, &stats)?;
    let visits: Vec<f64> = units.iter().map(|unit| visits(unit, &stats)).collect();
    let judged = texts.search(settings.effort);
    let judge = Judge::new(&reference, &judged, Activations::F32, KEPT_BYTES, progress)?;
    let reading = Reading::measure(&reference, &units, &stats, &judge)?;
    let evidence = Evidence {
        stats: &stats,
        reading: reading.as_ref(),
        routing_weights: !settings.without.routing_weights,
    };
    let ladder = Ladder::new(&reference, &units, &evidence, settings.method)
        .with_error_rows(settings.effort.error_rows());
    // The ladder has what it needs of them, and they are large.
    drop(stats);
    let probes = settings.effort.probes();
    let slopes = sensitivity::measure(&reference, &units, &ladder, &judge, probes, progress)?;
    let mut predictor = Predictor::new(&units, &ladder, &slopes, &options);
    if let Some(costs) = &settings.target.costs {
        let speed = Speed {
            costs,
            visits: &visits,
            rows: rows(loaded),
            fixed: settings.fixed(loaded, costs)?,
            limit: settings.latency,
        };
        predictor = predictor.with_speed(&units, &speed);
        settings.check_speed(&predictor, budget)?;
    }
    let work = Work {
        reference: &reference,
        units: &units,
        ladder: &ladder,
        judge: &judge,
    };
    let found = work.choose(settings, &options, &mut predictor, budget, progress)?;
    let formats = formats_by_name(&units, &found.formats);
    let activations = activations::chosen(graph, &formats, &settings.activations)
        .map_err(PlannerError::Activations)?;
    let (domains, rounded_kl) = work.measure_found(&found, &judged, &activations)?;
    let (mut file, codes) = work.file(loaded, settings, &predictor, &found, texts)?;
    file.measured_kl_rounded = (judge.tokens() > 0).then_some(rounded_kl);
    let usual = activations::usual(graph, &formats);
    for unit in &mut file.units {
        let (own, usual) = (activations.get(&unit.name), usual.get(&unit.name));
        unit.activations = own
            .filter(|_| own != usual)
            .map(|format| format.name().to_owned());
    }
    Ok(Made {
        file,
        codes,
        slopes,
        domains,
        starved,
        units,
        predictor,
        trials: found.trials,
    })
}

fn formats_by_name(units: &[UnitInfo], formats: &[Codec]) -> BTreeMap<String, Codec> {
    let names = units.iter().map(|unit| unit.name().to_owned());
    names.zip(formats.iter().copied()).collect()
}

/// Tokens of the run whose time is predicted: one that is decoded, or a text that is classified.
fn rows(loaded: &Loaded) -> u32 {
    const CLASSIFIED: u32 = 128;
    match loaded.graph.facts().task {
        Task::CausalLm => 1,
        Task::SequenceClassification => CLASSIFIED,
    }
}

/// How often a token of the calibration text visits a unit; of an embedding that is only read, it reads a row.
fn visits(unit: &UnitInfo, stats: &calibrate::Stats) -> f64 {
    match stats.unit(unit.name()) {
        Some(seen) => seen.rows() as f64 / stats.tokens.max(1) as f64,
        None if unit.module.is_some() => 0.0,
        None => 1.0 / unit.shape.rows().max(1) as f64,
    }
}

/// Formats that units may have: exceptions fix one.
fn options(units: &[UnitInfo], exceptions: &[Override]) -> Result<Options, PlannerError> {
    let exceptions = overrides(exceptions).map_err(PlannerError::Override)?;
    let mut options = Options::new();
    for unit in units {
        let last = exceptions
            .iter()
            .rfind(|(names, _)| names.is_match(unit.name()));
        if let Some((_, codec)) = last {
            options.insert(unit.name().to_owned(), vec![*codec]);
        }
    }
    let unused = exceptions
        .iter()
        .find(|(names, _)| !units.iter().any(|unit| names.is_match(unit.name())));
    match unused {
        Some((names, _)) => Err(PlannerError::Override(format!(
            "\"{}\" is in no unit's name; the first is {}",
            names.as_str(),
            units.first().map_or("none", UnitInfo::name)
        ))),
        None => Ok(options),
    }
}

/// What the later stages share.
struct Work<'a> {
    reference: &'a Reference,
    units: &'a [UnitInfo],
    ladder: &'a Ladder<'a>,
    judge: &'a Judge,
}

impl Work<'_> {
    fn choose(
        &self,
        settings: &Settings,
        options: &Options,
        predictor: &mut Predictor,
        budget: u64,
        progress: &dyn Progress,
    ) -> Result<Refined, PlannerError> {
        let impossible = || PlannerError::Budget {
            budget,
            smallest: predictor.range().0,
        };
        if settings.uniform_body {
            let formats = body(self.units, options, budget, 0).ok_or_else(impossible)?;
            return self.measured(formats, predictor);
        }
        let impossible = impossible();
        let rounds = if settings.without.refinement {
            0
        } else {
            settings.effort.rounds()
        };
        let found = refine(
            self.reference,
            self.units,
            self.ladder,
            self.judge,
            predictor,
            budget,
            rounds,
            progress,
        )?;
        found.ok_or(impossible)
    }

    fn measured(
        &self,
        formats: Vec<Codec>,
        predictor: &mut Predictor,
    ) -> Result<Refined, PlannerError> {
        let (_, kl) = assign::measured(
            self.reference,
            self.units,
            self.ladder,
            &formats,
            self.judge,
        )?;
        predictor.calibrate(&formats, kl);
        Ok(Refined {
            formats,
            kl,
            start_kl: kl,
            gains: 0,
            trials: Vec::new(),
        })
    }

    /// KL of what was found: by domain, and of all with rounded activations.
    fn measure_found(
        &self,
        found: &Refined,
        texts: &[Sequence],
        activations: &Formats,
    ) -> Result<(Vec<(String, f64)>, f64), PlannerError> {
        let mut names: Vec<&str> = texts.iter().map(|s| s.domain.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let mut candidate = self.reference.clone();
        for (unit, codec) in self.units.iter().zip(&found.formats) {
            self.ladder.apply(&mut candidate, unit, *codec)?;
        }
        let format = |unit: &str| activations.get(unit).copied().unwrap_or_default();
        fake::round_activations(&mut candidate, format)?;
        let kl = |activations| {
            self.judge
                .judge_with(&candidate, NodeId(0), true, activations)
        };
        let by_domain = kl(Activations::F32)?.by_domain();
        let by_domain = names.into_iter().map(str::to_owned).zip(by_domain);
        Ok((by_domain.collect(), kl(Activations::Rounded)?.mean()))
    }

    fn file(
        &self,
        loaded: &Loaded,
        settings: &Settings,
        predictor: &Predictor,
        found: &Refined,
        texts: &Texts,
    ) -> Result<(PlanFile, Vec<Arc<Planes>>), PlannerError> {
        let mut codes = Vec::with_capacity(self.units.len());
        let mut lines = Vec::with_capacity(self.units.len());
        for (index, (unit, codec)) in self.units.iter().zip(&found.formats).enumerate() {
            let planes = self.ladder.planes(unit, *codec);
            lines.push(PlanUnit {
                name: unit.name().to_owned(),
                format: codec.name().to_owned(),
                activations: None,
                bytes: unit.shape.bytes(*codec),
                predicted_kl: predictor.joint * predictor.cost(index, *codec),
                reason: reason(predictor, unit, index, *codec),
                codes: format!("{}:{}", codec.name(), hex(&planes.digest())),
            });
            codes.push(planes);
        }
        let weights: usize = self.units.iter().map(|unit| unit.shape.weights()).sum();
        let bits = self.units.iter().zip(&found.formats);
        let bits: f64 = bits
            .map(|(unit, codec)| unit.shape.weights() as f64 * codec.bits_per_weight())
            .sum();
        let file = PlanFile {
            version: VERSION,
            checkpoint: loaded.checkpoint.content_hash(),
            calibration: texts.digest(),
            target: settings.target.name.clone(),
            rounding: settings.method.name().to_owned(),
            bits_per_weight: bits / weights.max(1) as f64,
            unit_bytes: assign::bytes(self.units, &found.formats),
            predicted_ms: settings
                .target
                .costs
                .as_ref()
                .map(|_| 1e3 * predictor.seconds(&found.formats))
                .filter(|ms| ms.is_finite()),
            predicted_kl: predictor.kl(&found.formats),
            measured_kl: (self.judge.tokens() > 0).then_some(found.kl),
            measured_kl_rounded: None,
            overrides: Vec::new(),
            units: lines,
        };
        Ok((file, codes))
    }
}

/// Why a unit has its format: what its neighbours on the ladder would change.
fn reason(predictor: &Predictor, unit: &UnitInfo, index: usize, codec: Codec) -> String {
    let allowed: Vec<Codec> = predictor.allowed(index).collect();
    let Some(at) = allowed.iter().position(|c| *c == codec) else {
        return "uniform body".to_owned();
    };
    if allowed.len() == 1 {
        return "fixed by an override".to_owned();
    }
    let cost = |codec| predictor.joint * predictor.cost(index, codec);
    let step = |other: Codec, verb: &str| {
        let bytes = unit.shape.bytes(other).abs_diff(unit.shape.bytes(codec));
        let kl = (cost(other) - cost(codec)).abs();
        format!(
            "{} would {verb} {kl:.1e} nats for {bytes} bytes",
            other.name()
        )
    };
    let up = allowed.get(at + 1).map(|other| step(*other, "save"));
    let down = at.checked_sub(1).map(|below| step(allowed[below], "add"));
    [up, down]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ")
}

/// SHA-256 of texts.
fn digest(parts: &[&[Sequence]]) -> String {
    let mut hash = Sha256::new();
    for text in parts.iter().flat_map(|part| part.iter()) {
        hash.update((text.domain.len() as u64).to_le_bytes());
        hash.update(text.domain.as_bytes());
        hash.update((text.ids.len() as u64).to_le_bytes());
        text.ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
    }
    hex(&hash.finalize())
}

/// Formats by the number of weights that have them, for people.
#[must_use]
pub fn shares(file: &PlanFile) -> Vec<(&'static str, u64)> {
    LADDER
        .iter()
        .chain([&Codec::L4])
        .map(|codec| {
            let units = file.units.iter().filter(|unit| unit.format == codec.name());
            (codec.name(), units.map(|unit| unit.bytes).sum())
        })
        .filter(|(_, bytes)| *bytes > 0)
        .collect()
}
