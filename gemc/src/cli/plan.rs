//! `gemc plan`: a checkpoint, calibration text and a budget -> plan.toml and plan.codes.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use gemc_format::ActivationFormat;

use super::choices::Device;
use super::numbers::{above_zero, bytes};
use super::plan_report::PlanReport;
use super::planned::Outputs;
use super::{Failure, Outcome, Run, Ui};
use crate::cache::Cache;
use crate::dead;
use crate::graph::Task;
use crate::import::{Split, counted};
use crate::inspect;
use crate::patch;
use crate::pipeline::{self, LoadedCheckpoint};
use crate::plan::activations::Rule;
use crate::plan::codes;
use crate::plan::dead::DeadWeight;
use crate::plan::file::{Override, PlanFile};
use crate::planner::{self, Budget, Effort, FinishedPlan, Method, PlannerError, Settings, Texts};
use crate::reference::RoutingRecords;
use crate::report;
use crate::routing::{self, Causal, CausalOptions, Collector, Routes};
use crate::sequences::{self, Sequence};
use crate::texts::{self, Extent, TextSource};

/// Tokens that modules are switched off on, for the report.
const CAUSAL_TOKENS: usize = 2_048;

/// Products of weights and tokens that this may take: minutes.
const MOST_CAUSAL: f64 = 1e13;

/// Decide how many bits every piece of a model gets
#[derive(clap::Args, Debug)]
pub struct Plan {
    /// Folder with config.json and model.safetensors
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    #[command(flatten)]
    device: Device,
    /// Mean bits per quantised weight; 4.25 unless there is another limit
    #[arg(long, value_name = "B", conflicts_with = "size", value_parser = above_zero)]
    bits: Option<f64>,
    /// Bytes of everything that kernels read; K, M and G are taken for thousands
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    size: Option<u64>,
    /// Milliseconds for a token decoded at position 512, or for classifying 128 tokens, predicted by the target's costs
    #[arg(long, value_name = "MS", conflicts_with = "uniform_body", value_parser = above_zero)]
    latency: Option<f64>,
    /// Calibration text: a folder of `<domain>.jsonl`, or a plain text; the checkpoint's own unless given, and a packaged default
    /// where it has none
    #[arg(long, value_name = "PATH")]
    calib: Option<PathBuf>,
    /// How weights are rounded; feedback unless given, search at low effort
    #[arg(long, value_enum)]
    rounding: Option<Rounding>,
    /// Plan for these domains only: what the others use gets few bits
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    domains: Vec<String>,
    /// Give units whose name matches a regular expression this format; may be repeated, the last counts
    #[arg(long = "override", value_name = "REGEX=FORMAT", value_parser = exception)]
    overrides: Vec<Override>,
    /// How the inputs of units are rounded: int8, int8-256 (one scale for 256 columns; quicker where conversions are dear, and
    /// coarser) or int16, for units whose name matches a regular expression, or for all; may be repeated, the last counts
    #[arg(long, value_name = "[REGEX=]FORMAT", value_parser = activation_rule)]
    activations: Vec<Rule>,
    /// No allocation: one format, or two adjacent ones by layer, for all units without an override
    #[arg(long)]
    uniform_body: bool,
    /// Leave out attention, MLPs, general paths and modules that cost less than this many nats an output, as many as cost no
    /// more together; of what fewer than 8000 tokens reach, nothing
    #[arg(long, value_name = "KL", value_parser = above_zero)]
    prune: Option<f64>,
    /// How long it may take
    #[arg(long, value_enum, default_value_t = EffortName::Default)]
    effort: EffortName,
    /// The plan's file; its codes are written beside it: to X.codes for X.toml, to N.codes for any other name N
    #[arg(short, long, value_name = "FILE", default_value = "plan.toml")]
    output: PathBuf,
    /// Also keep what rounding took of the inputs of modules, so that `gemc patch` can replace one: in X.moments for X.toml
    #[arg(long)]
    keep_moments: bool,
    /// Also write a page to look at: routing, bits per unit, sensitivity, predictions, size against KL
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Rounding {
    /// From the largest magnitude of each block
    Plain,
    /// A search over scales for the smallest error, columns weighted by their inputs
    Search,
    /// Each rounding error passed on to the columns after it
    Feedback,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EffortName {
    /// No text and no measuring: bits by what a product is for (docs/plan.md); weights are rounded when the model is built
    Prior,
    /// Few tokens and no refinement: for large models
    Low,
    /// Minutes for a small model
    Default,
    /// Many tokens, refined until nothing is gained; looks for dead weight
    High,
}

/// REGEX=FORMAT; the format is behind the last `=`.
fn exception(text: &str) -> Result<Override, String> {
    let (units, format) = text.rsplit_once('=').ok_or("allowed: REGEX=FORMAT")?;
    let entry = Override {
        units: units.to_owned(),
        format: format.to_owned(),
    };
    crate::plan::file::overrides(std::slice::from_ref(&entry))?;
    Ok(entry)
}

/// REGEX=FORMAT, or FORMAT alone for all units.
fn activation_rule(text: &str) -> Result<Rule, &'static str> {
    let (units, format) = text.rsplit_once('=').unwrap_or(("", text));
    let format = ActivationFormat::from_name(format);
    Ok(Rule {
        units: units.to_owned(),
        format: format
            .ok_or("allowed: int8, int8-256 or int16, with or without REGEX= before it")?,
    })
}

impl Run for Plan {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let mut settings = self.settings()?;
        let most = match self.effort {
            EffortName::Prior => 0,
            _ => u64::MAX,
        };
        let loaded = pipeline::load_with(&self.checkpoint, most)?;
        if let Some(bits) = loaded.checkpoint.source_bits() {
            ui.note(&format!("weights are {}", inspect::requantised(bits)));
        }
        let outputs = Outputs::attempt(
            (&self.output, self.keep_moments),
            self.report.as_deref(),
            loaded.checkpoint.dir(),
            self.calib.as_deref(),
        )?;
        settings.workplace = Cache::if_possible()?.and_then(|cache| cache.measurements());
        if self.effort == EffortName::Prior {
            return self.by_prior(&loaded, &settings, &outputs, ui);
        }
        let texts = self.texts(&loaded, ui)?;
        let dead = self.dead(&loaded, &texts, ui)?;
        let dropped = dead.as_ref().map(DeadWeight::dropped).unwrap_or_default();
        let loaded = loaded.without(&dropped)?;
        let mut collector = Collector::new(&loaded.graph);
        let mut refused = None;
        let mut seen = |sequences: &[Sequence], records: &RoutingRecords| {
            refused = collector
                .push_batch(sequences, records)
                .err()
                .or(refused.take());
        };
        let mut made = planner::make(&loaded, &settings, &texts, &mut seen, ui)?;
        made.file.dead = dead;
        if let Some(error) = refused {
            return Err(Failure::Input(Box::new(error)));
        }
        let routes = collector.finish();
        match &made.starved[..] {
            [] => {}
            [module] => ui.note(&format!(
                "warning: {module} saw fewer than 32 tokens of the calibration text; it gets few bits"
            )),
            several => ui.note(&format!(
                "warning: {} modules saw fewer than 32 tokens of the calibration text; they get few bits: {}",
                several.len(),
                planner::some_of(several)
            )),
        }
        let moments = match self.keep_moments {
            true => patch::bytes(&loaded, &made.file, settings.method, &made.moments)?,
            false => Vec::new(),
        };
        let checkpoint = loaded.checkpoint.path();
        self.write(checkpoint, &made.file, (&made.codes, &moments), &outputs)?;
        if self.report.is_some() {
            let html = self.page(&loaded, &texts, &made, &routes, ui)?;
            outputs.write_page(html.as_bytes())?;
        }
        let task = loaded.graph.facts().task;
        let mut planned = PlanReport::new(&self.output, made.file, task);
        planned.domains = made.domains;
        planned.starved = made.starved;
        planned.routes = self.json.then_some(routes);
        ui.result(self.json, &planned)?;
        Ok(Outcome::Done)
    }
}

impl Plan {
    /// A plan without text.
    fn by_prior(
        &self,
        loaded: &LoadedCheckpoint,
        settings: &Settings,
        outputs: &Outputs,
        ui: &Ui,
    ) -> Result<Outcome, Failure> {
        let measures = [
            (self.calib.is_some(), "--calib"),
            (!self.domains.is_empty(), "--domains"),
            (self.latency.is_some(), "--latency"),
            (self.rounding.is_some(), "--rounding"),
            (self.keep_moments, "--keep-moments"),
            (self.report.is_some(), "--report"),
            (self.uniform_body, "--uniform-body"),
            (self.prune.is_some(), "--prune"),
        ];
        if let Some((_, option)) = measures.into_iter().find(|(given, _)| *given) {
            let words = format!(
                "{option}: has no effect with --effort prior, which measures and rounds nothing"
            );
            return Err(Failure::usage(words));
        }
        let file = planner::by_prior(loaded, settings)?;
        ui.note("nothing was measured: bits by what each product is for; `gemc explain` tells, docs/plan.md has the prior");
        self.write(loaded.checkpoint.path(), &file, (&[], &[]), outputs)?;
        let planned = PlanReport::new(&self.output, file, loaded.graph.facts().task);
        ui.result(self.json, &planned)?;
        Ok(Outcome::Done)
    }

    /// What leaving out each branch costs, where that is asked for, with what the plan is to leave out.
    fn dead(
        &self,
        loaded: &LoadedCheckpoint,
        texts: &Texts,
        ui: &Ui,
    ) -> Result<Option<DeadWeight>, Failure> {
        if self.prune.is_none() && self.effort != EffortName::High {
            return Ok(None);
        }
        let all: Vec<Sequence> = texts.fit.iter().chain(&texts.search).cloned().collect();
        let mixed = sequences::windows(&all, texts::window(loaded), usize::MAX);
        let reference = loaded.reference();
        let mut dead = dead::measure(&reference, &mixed, self.prune, ui)?;
        if let Some(limit) = self.prune {
            dead::drop_under(&reference, &mixed, &mut dead, limit, ui)?;
        }
        Ok(Some(dead))
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let budget = match (self.size, self.bits) {
            (Some(size), _) => Budget::Size(size),
            (None, Some(bits)) => Budget::Bits(bits),
            // The largest format's: time alone is the limit.
            (None, None) if self.latency.is_some() => Budget::Bits(8.25),
            (None, None) => Budget::Bits(4.25),
        };
        Ok(Settings {
            latency: self.latency.map(|ms| 1e-3 * ms),
            method: match (self.rounding, self.effort) {
                (Some(Rounding::Plain), _) => Method::Plain,
                (Some(Rounding::Search), _) | (None, EffortName::Prior | EffortName::Low) => {
                    Method::Search
                }
                (Some(Rounding::Feedback), _) | (None, _) => Method::Feedback,
            },
            effort: match self.effort {
                // Of a prior nothing is measured.
                EffortName::Prior | EffortName::Low => Effort::Low,
                EffortName::Default => Effort::Default,
                EffortName::High => Effort::High,
            },
            overrides: self.overrides.clone(),
            activations: self.activations.clone(),
            uniform_body: self.uniform_body,
            keep_moments: self.keep_moments,
            ..Settings::new(self.device.find()?, budget)
        })
    }

    fn texts(&self, loaded: &LoadedCheckpoint, ui: &Ui) -> Result<Texts, Failure> {
        let (dir, split) = (loaded.checkpoint.dir(), Split::Calibration);
        let source = TextSource::find(dir, split, self.calib.as_deref())?;
        let mut documents = texts::read(loaded, &source, "to calibrate with", Extent::Plan)?;
        if matches!(source, TextSource::Packaged(_)) {
            ui.note(&format!(
                "no calibration text in {}: planned with gemc's own, which is mostly English prose about software; --calib takes \
                 text that is like what the model will read",
                dir.display()
            ));
        }
        let known = domains(&documents);
        if let Some(unknown) = self.domains.iter().find(|name| !known.contains(&***name)) {
            let known: Vec<&str> = known.into_iter().collect();
            let words = format!(
                "--domains {unknown}: no such text; there are {}",
                known.join(", ")
            );
            return Err(Failure::usage(words));
        }
        if !self.domains.is_empty() {
            documents.retain(|document| self.domains.contains(&document.domain));
        } else if known.len() == 1 && loaded.graph.facts().domains.len() > 1 {
            ui.note(
                "warning: the calibration text has one domain: modules of the others get few bits, and the model will be \
                 worse on them than the plan says",
            );
        }
        let window = texts::window(loaded);
        let mut texts = match loaded.graph.facts().task {
            Task::CausalLm => Texts::divide(&documents, window),
            Task::SequenceClassification | Task::TokenClassification | Task::Embedding => {
                Texts::divide(&documents, usize::MAX)
            }
        };
        if texts.fit.is_empty() || texts.search.is_empty() {
            let words = format!(
                "{} in {} too few: of each domain the second document and every fourth after it measure plans, and plans \
                 are made from the others",
                counted(documents.len(), "document"),
                match domains(&documents).len() {
                    1 => "1 domain is".to_owned(),
                    n => format!("{n} domains are"),
                }
            );
            return Err(PlannerError::NoText(words).into());
        }
        texts.name = source.name();
        Ok(texts)
    }

    /// The page, with what each module is worth.
    fn page(
        &self,
        loaded: &LoadedCheckpoint,
        texts: &Texts,
        made: &FinishedPlan,
        routes: &Routes,
        ui: &Ui,
    ) -> Result<String, Failure> {
        let reference = loaded.reference();
        let judged = sequences::windows(&texts.search, texts::window(loaded), CAUSAL_TOKENS);
        let causal = match runs_of_modules(loaded, &judged) <= MOST_CAUSAL {
            true => routing::causal(&reference, &judged, CausalOptions::default(), ui)?,
            false => {
                ui.note(
                    "the page does not say what each module is worth: switching them off one by one would take hours in a model with \
                     so many",
                );
                Causal::default()
            }
        };
        let bits = made.file.bits_per_weight;
        let title = format!(
            "{} at {bits:.2} bits for {}",
            loaded.checkpoint.name(),
            made.file.target
        );
        let page = planner::page(&title, made, routes, Some(&causal));
        report::render(&page).map_err(|e| Failure::Input(Box::new(e)))
    }

    /// Keeps the plan in the cache, where `gemc run` finds it, then writes both files: what took so long is not lost when
    /// the disk is.
    fn write(
        &self,
        checkpoint: &Path,
        file: &PlanFile,
        (planes, moments): (&[std::sync::Arc<crate::quantise::Planes>], &[u8]),
        outputs: &Outputs,
    ) -> Result<(), Failure> {
        let write = |to: &mut dyn Write| codes::write(to, planes);
        let text = file.text().map_err(|e| Failure::Input(Box::new(e)))?;
        let cache = Cache::if_possible()?;
        let kept = cache.and_then(|cache| {
            // Without it, `run` takes uniform formats unless it is given the plan.
            let target = &file.target;
            let kept = cache.keep_plan(checkpoint, target, text.as_bytes(), &write);
            kept.ok()
        });
        let written = outputs.write(text.as_bytes(), &write, moments);
        written.map_err(|error| match kept {
            None => error.into(),
            Some(path) => Failure::Input(
                format!(
                    "{error}; the plan is kept: `gemc run` takes it, other verbs do with --plan {}",
                    path.display()
                )
                .into(),
            ),
        })
    }
}

/// Products of weights and tokens in running a model once for each of its modules.
fn runs_of_modules(loaded: &LoadedCheckpoint, texts: &[Sequence]) -> f64 {
    let units = || loaded.graph.units().iter();
    let weights: f64 = units().map(|unit| unit.shape.weights() as f64).sum();
    let mut modules: Vec<_> = units()
        .filter_map(|unit| Some((unit.site, unit.module?)))
        .collect();
    modules.sort_unstable();
    modules.dedup();
    let tokens: usize = texts.iter().map(|text| text.ids.len()).sum();
    modules.len() as f64 * weights * tokens as f64
}

/// The domains that documents are of.
fn domains(documents: &[Sequence]) -> BTreeSet<&str> {
    documents.iter().map(|d| &*d.domain).collect()
}
