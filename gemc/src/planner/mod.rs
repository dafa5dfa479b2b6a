//! A checkpoint, calibration text and a budget -> a plan and its codes: what `gemc plan` does, stage by stage.
//!
//! Everything that depends on floats of the calibration happens here; a build only lays out what was planned.

mod baseline;
mod error;
#[cfg(feature = "report")]
mod page;
mod predicted;
mod prior;
mod settings;
mod starved;

use std::sync::Arc;

use gem_runtime::hex;
use gemc_format::{Codec, mean_bits};
use sha2::{Digest as _, Sha256};

pub use baseline::body;
pub use error::PlannerError;
#[cfg(feature = "report")]
pub use page::page;
pub use predicted::Predicted;
pub use prior::by_prior;
pub use settings::{Ablation, Budget, Effort, Part, Parts, Settings, Texts};
pub use starved::some_of;

use crate::assign::{self, FixedFormats, Predictor, RefinedPlan, Speed, refine};
use crate::calibrate::{self, Gather};
use crate::fake;
use crate::graph::{Graph, NodeId, Task, Typed, Unit, UnitMap, Units};
use crate::pack::floats;
use crate::patch::Seen;
use crate::pipeline::{self, LoadedCheckpoint};
use crate::plan::activations::{self, Formats};
use crate::plan::file::{Override, PlanFile, PlanUnit, VERSION, overrides};
use crate::plan::{BitPlan, KvFormat, kv};
use crate::progress::{Progress, Silent};
use crate::quantise::Planes;
use crate::reference::{Activations, Reference, RoutingRecords};
pub use crate::sensitivity::Method;
use crate::sensitivity::{self, Evidence, Journal, Judge, KEPT_BYTES, Ladder, Reading, Slopes};
use crate::sequences::Sequence;
use crate::work;

/// A plan with what it was made from.
#[derive(Debug)]
pub struct FinishedPlan {
    /// `plan.toml`.
    pub file: PlanFile,
    /// `plan.codes`.
    pub codes: Vec<Arc<Planes>>,
    /// The units that both are of.
    pub units: Arc<Units>,
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
    /// What rounding took of the inputs of modules' units, where that is to be kept.
    pub moments: Vec<Seen>,
}

/// Makes a plan. `seen` hears the routing of the calibration text. Of a checkpoint without some branches, every KL is
/// against the original, which has them.
///
/// # Errors
/// When the budget cannot be met, or the text does not do.
pub fn make(
    loaded: &LoadedCheckpoint,
    settings: &Settings,
    texts: &Texts,
    seen: &mut dyn FnMut(&[Sequence], &RoutingRecords),
    progress: &dyn Progress,
) -> Result<FinishedPlan, PlannerError> {
    let graph = &loaded.graph;
    let units = graph.units();
    let budget = settings.budget.bytes(graph)?;
    let fixed = fixed(units, &settings.overrides)?;
    // Whether rules fit does not depend on the formats.
    let any = UnitMap::all(units, Codec::LADDER[0]);
    activations::chosen(graph, &any, &settings.activations).map_err(PlannerError::Activations)?;
    settings.check(units, &fixed, budget)?;
    settings.check_latency()?;
    let reference = loaded.reference();
    let gather = match settings.method {
        Method::Feedback => Gather::Moments,
        Method::Plain | Method::Search => Gather::Squares,
    };
    let fit = texts.fit(settings.effort);
    let stats = calibrate::run(&reference, &fit, gather, seen, progress)?;
    let starved = starved::check(units, &stats, settings.effort.fit_tokens())?;
    let visits = UnitMap::of(units, |unit| visits(unit, &stats));
    let judged = texts.search(settings.effort);
    // What is left out costs the same in every plan: formats are chosen beside what is left.
    let mut judge = Judge::new(&reference, &judged, Activations::F32, KEPT_BYTES, progress)?;
    let reading = Reading::measure(&reference, units, &stats, &judge)?;
    let evidence = Evidence {
        stats: &stats,
        reading: reading.as_ref(),
        routing_weights: !settings.without.routing_weights,
    };
    let mut ladder = Ladder::new(&reference, units, &evidence, settings.method)
        .with_error_rows(units, settings.effort.error_rows())
        .with_journal(journal(loaded, settings, &fit, &judged));
    // The ladder has what it needs of them, and they are large.
    drop(stats);
    let probes = settings.effort.probes();
    let slopes = sensitivity::measure(&reference, units, &ladder, &judge, probes, progress)?;
    // What is judged from here on are whole plans.
    judge.forget_wires();
    let mut predictor = Predictor::new(units, &ladder, &slopes, &fixed);
    // What was probed is not needed again; what is chosen is, and may be more than memory has room for.
    ladder.journal().flush();
    if let Some(folder) = &settings.workplace {
        ladder.keep_in(folder);
    }
    let bytes = budget + floats::bytes(graph) + kv::read_behind(graph, KvFormat::default(), 512);
    if let Some(costs) = &settings.target.costs_of(bytes) {
        // What is no product does not depend on formats.
        let any = BitPlan::uniform(graph, Codec::LADDER[0]);
        let compiled = pipeline::compile(graph, &any, &settings.target).map_err(Box::new);
        let phases = match compiled {
            Ok(compiled) => work::of(&compiled),
            Err(error) if settings.latency.is_some() => return Err(error.into()),
            // A plan for another gemc's kernels, maybe; nobody asked for its time.
            Err(_) => Vec::new(),
        };
        let speed = Speed {
            costs,
            visits: &visits,
            rows: rows(graph),
            fixed: Settings::fixed(graph, &phases, costs, KvFormat::default()),
            limit: settings.latency,
        };
        predictor = predictor.with_speed(units, &speed);
        settings.check_speed(&predictor, budget)?;
    }
    let work = Work {
        reference: &reference,
        units,
        ladder: &ladder,
        judge: &judge,
    };
    let mut found = work.choose(settings, &fixed, &mut predictor, budget, progress)?;
    let whole = match loaded.dropped.is_empty() {
        true => None,
        false => Some(Judge::against(
            &loaded.original()?,
            &reference,
            &judged,
            Activations::F32,
            KEPT_BYTES,
            progress,
        )?),
    };
    let work = Work {
        judge: whole.as_ref().unwrap_or(&judge),
        ..work
    };
    if whole.is_some() {
        found.kl = work.measured(found.formats.clone(), progress)?.kl;
    }
    let activations = activations::chosen(graph, &found.formats, &settings.activations)
        .map_err(PlannerError::Activations)?;
    let (domains, rounded_kl) = work.measure_found(&found, &judged, &activations)?;
    let (mut file, codes) = work.file(loaded, settings, &predictor, &found, texts)?;
    file.measured_kl_rounded = (judge.tokens() > 0).then_some(rounded_kl);
    let usual = activations::usual(graph, &found.formats);
    for (unit, line) in units.iter().zip(&mut file.units) {
        let own = activations[unit.id].filter(|own| usual[unit.id] != Some(*own));
        line.activations = own.map(|format| format.name().to_owned());
    }
    let moments = match settings.keep_moments {
        true => moments(units, &ladder),
        false => Vec::new(),
    };
    Ok(FinishedPlan {
        file,
        codes,
        moments,
        slopes,
        domains,
        starved,
        units: units.clone(),
        predictor,
        trials: found.trials,
    })
}

/// What is known of the inputs of modules' units.
fn moments(units: &Units, ladder: &Ladder<'_>) -> Vec<Seen> {
    let of_modules = units.iter().filter(|unit| unit.module.is_some());
    let seen = of_modules.filter_map(|unit| {
        let inputs = ladder.seen(unit.id)?.clone();
        let unit = unit.name.clone();
        Some(Seen { unit, inputs })
    });
    seen.collect()
}

/// What was measured for plans of this model, text, method and effort.
fn journal(
    loaded: &LoadedCheckpoint,
    settings: &Settings,
    fit: &[Sequence],
    judged: &[Sequence],
) -> Journal {
    let Some(folder) = &settings.workplace else {
        return Journal::default();
    };
    let mut hash = Sha256::new();
    hash.update(gemc_format::FINGERPRINT);
    // Of this very gemc: of another's measurements some may be wrong.
    hash.update(env!("GEMC_SOURCES"));
    hash.update(loaded.checkpoint.content_hash());
    // Entries are named by numbers, which depend on what is left out.
    for unit in loaded.graph.units().iter() {
        hash.update(format!("{}\n", unit.name));
    }
    hash.update(digest(&[fit, judged]));
    let (method, effort, without) = (settings.method, settings.effort, settings.without);
    hash.update(format!("{method:?} {effort:?} {without:?}"));
    Journal::open(&folder.join(hex(&hash.finalize())))
}

/// Tokens of the run whose time is predicted: one that is decoded, or a text that is classified.
fn rows(graph: &Graph<Typed>) -> u32 {
    const CLASSIFIED: u32 = 128;
    match graph.facts().task {
        Task::CausalLm => 1,
        Task::SequenceClassification | Task::TokenClassification | Task::Embedding => {
            CLASSIFIED.min(u32::try_from(graph.facts().max_positions).unwrap_or(CLASSIFIED))
        }
    }
}

/// How often a token of the calibration text visits a unit; of an embedding that is only read, it reads a row.
fn visits(unit: &Unit, stats: &calibrate::Stats) -> f64 {
    match stats.unit(unit.id) {
        Some(seen) => seen.rows() as f64 / stats.tokens.max(1) as f64,
        None if unit.module.is_some() => 0.0,
        None => 1.0 / unit.shape.rows().max(1) as f64,
    }
}

/// Formats that exceptions fix.
fn fixed(units: &Units, exceptions: &[Override]) -> Result<FixedFormats, PlannerError> {
    let exceptions = overrides(exceptions).map_err(PlannerError::Override)?;
    let of = |unit: &Unit| {
        let mut fitting = exceptions.iter().rev();
        let last = fitting.find(|(names, _)| names.is_match(&unit.name));
        last.map(|(_, codec)| *codec)
    };
    let fixed = FixedFormats::of(units, of);
    let unused = exceptions
        .iter()
        .find(|(names, _)| !units.iter().any(|unit| names.is_match(&unit.name)));
    match unused {
        Some((names, _)) => Err(PlannerError::Override(format!(
            "\"{}\" matches the name of no unit; the first unit is {}",
            names.as_str(),
            units.iter().next().map_or("none", |unit| &unit.name)
        ))),
        None => Ok(fixed),
    }
}

/// What the later stages share.
struct Work<'a> {
    reference: &'a Reference,
    units: &'a Units,
    ladder: &'a Ladder<'a>,
    judge: &'a Judge,
}

impl Work<'_> {
    fn choose(
        &self,
        settings: &Settings,
        fixed: &FixedFormats,
        predictor: &mut Predictor,
        budget: u64,
        progress: &dyn Progress,
    ) -> Result<RefinedPlan, PlannerError> {
        let impossible = || PlannerError::Budget {
            budget,
            smallest: predictor.range().0,
        };
        if settings.uniform_body {
            let formats = body(self.units, fixed, budget, 0).ok_or_else(impossible)?;
            return self.measured(formats, progress);
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
        formats: assign::Formats,
        progress: &dyn Progress,
    ) -> Result<RefinedPlan, PlannerError> {
        let (_, kl) = assign::measured(
            self.reference,
            self.units,
            self.ladder,
            &formats,
            self.judge,
            progress,
        )?;
        Ok(RefinedPlan {
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
        found: &RefinedPlan,
        texts: &[Sequence],
        activations: &Formats,
    ) -> Result<(Vec<(String, f64)>, f64), PlannerError> {
        let mut names: Vec<&str> = texts.iter().map(|s| s.domain.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let mut candidate = self.reference.clone();
        let units = self.units.iter();
        let formats: Vec<(&Unit, Codec)> =
            units.map(|unit| (unit, found.formats[unit.id])).collect();
        self.ladder.apply_all(&mut candidate, &formats, &Silent)?;
        let format = |unit| activations[unit].unwrap_or_default();
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
        loaded: &LoadedCheckpoint,
        settings: &Settings,
        predictor: &Predictor,
        found: &RefinedPlan,
        texts: &Texts,
    ) -> Result<(PlanFile, Vec<Arc<Planes>>), PlannerError> {
        let mut codes = Vec::with_capacity(self.units.len());
        let mut lines = Vec::with_capacity(self.units.len());
        for unit in self.units {
            let codec = found.formats[unit.id];
            let planes = self.ladder.planes(unit, codec);
            lines.push(PlanUnit {
                name: unit.name.clone(),
                format: codec.name().to_owned(),
                activations: None,
                bytes: unit.shape.bytes(codec),
                predicted_kl: Some(predictor.cost(unit.id, codec)),
                reason: reason(predictor, unit, codec),
                codes: format!("{}:{}", codec.name(), hex(&planes.digest())),
            });
            codes.push(planes);
        }
        let weights = self.units.iter().map(|unit| unit.shape.weights());
        let matrices = weights.zip(found.formats.values().copied());
        let costs = settings.target.costs.as_ref();
        let predicted_ms = costs
            .map(|_| 1e3 * predictor.seconds(&found.formats))
            .filter(|ms| ms.is_finite());
        let file = PlanFile {
            version: VERSION,
            checkpoint: loaded.checkpoint.content_hash(),
            calibration: texts.digest(),
            calibration_text: texts.name.clone(),
            target: settings.target.name.clone(),
            rounding: settings.method.name().to_owned(),
            bits_per_weight: mean_bits(matrices),
            unit_bytes: assign::bytes(self.units, &found.formats),
            predicted_ms,
            projected: predicted_ms.is_some() && costs.is_some_and(|costs| costs.projected),
            predicted_kl: Some(predictor.kl(&found.formats)),
            measured_kl: (self.judge.tokens() > 0).then_some(found.kl),
            measured_kl_rounded: None,
            dead: None,
            overrides: Vec::new(),
            units: lines,
        };
        Ok((file, codes))
    }
}

/// Why a unit has its format: what its neighbours on the ladder would change.
fn reason(predictor: &Predictor, unit: &Unit, codec: Codec) -> String {
    let allowed: Vec<Codec> = predictor.allowed(unit.id).collect();
    let Some(at) = allowed.iter().position(|c| *c == codec) else {
        return "uniform body".to_owned();
    };
    if allowed.len() == 1 {
        return "fixed by an override".to_owned();
    }
    let cost = |codec| predictor.cost(unit.id, codec);
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
    let mut formats = Codec::ALL.to_vec();
    formats.sort_by(|a, b| a.bits_per_weight().total_cmp(&b.bits_per_weight()));
    formats
        .into_iter()
        .map(|codec| {
            let units = file.units.iter().filter(|unit| unit.format == codec.name());
            (codec.name(), units.map(|unit| unit.bytes).sum())
        })
        .filter(|(_, bytes)| *bytes > 0)
        .collect()
}
