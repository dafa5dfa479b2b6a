//! `gemc plan`: a checkpoint, calibration text and a budget -> plan.toml and plan.codes.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use gemc_format::ActivationFormat;
use serde::Serialize;

use super::choices::Device;
use super::numbers::{above_zero, bytes};
use super::planned::Outputs;
use super::{Failure, Outcome, Run, Ui};
use crate::cache::Cache;
use crate::graph::Task;
use crate::import::{Split, counted};
use crate::pipeline::{self, LoadedCheckpoint};
use crate::plan::activations::Rule;
use crate::plan::codes;
use crate::plan::file::Override;
use crate::planner::{self, Ablation, Budget, Effort, FinishedPlan, PlannerError, Settings, Texts};
use crate::prepared::folder_name;
use crate::reference::RoutingRecords;
use crate::report;
use crate::routing::{self, CausalOptions, Collector, Routes};
use crate::sensitivity::Method;
use crate::sequences::{self, Sequence};
use crate::texts::{self, Extent};

/// Tokens that modules are switched off on, for the report.
const CAUSAL_TOKENS: usize = 2_048;

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
    /// Folder of calibration text, <domain>.jsonl; the checkpoint's own unless given
    #[arg(long, value_name = "DIR")]
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
    /// How long it may take
    #[arg(long, value_enum, default_value_t = EffortName::Default)]
    effort: EffortName,
    /// The plan's file; its codes are written beside it: to X.codes for X.toml, to N.codes for any other name N
    #[arg(short, long, value_name = "FILE", default_value = "plan.toml")]
    output: PathBuf,
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
    /// Few tokens and no refinement: for large models
    Low,
    /// Minutes for a small model
    Default,
    /// Many tokens, refined until nothing is gained
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

/// What `--json` says of a plan.
#[derive(Debug, Serialize)]
struct PlanReport {
    plan: String,
    bits_per_weight: f64,
    unit_bytes: u64,
    predicted_kl: f64,
    measured_kl: Option<f64>,
    measured_kl_rounded: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_ms: Option<f64>,
    formats: Vec<(&'static str, u64)>,
    domains: Vec<(String, f64)>,
    starved: Vec<String>,
    /// What the calibration text visited; too long for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<Routes>,
}

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {:.4} bits per weight, {} bytes",
            self.plan, self.bits_per_weight, self.unit_bytes
        )?;
        for (format, bytes) in &self.formats {
            let share = 100.0 * *bytes as f64 / self.unit_bytes.max(1) as f64;
            writeln!(f, "  {format}: {share:.1} % of the bytes")?;
        }
        if let Some(kl) = self.measured_kl {
            write!(f, "  KL {kl:.6} on texts set aside, routing forced")?;
            match self.measured_kl_rounded {
                Some(kl) => writeln!(f, "; {kl:.6} with rounded activations")?,
                None => writeln!(f)?,
            }
        }
        if let Some(ms) = self.predicted_ms {
            writeln!(f, "  {ms:.4} ms predicted {}", super::explain::PREDICTED)?;
        }
        let worst = self.domains.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((domain, kl)) = worst {
            writeln!(f, "  worst domain: {domain}, KL {kl:.6}")?;
        }
        Ok(())
    }
}

impl Run for Plan {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let settings = self.settings()?;
        let loaded = pipeline::load(&self.checkpoint)?;
        let outputs = Outputs::attempt(
            &self.output,
            self.report.as_deref(),
            &self.checkpoint,
            self.calib.as_deref(),
        )?;
        let texts = self.texts(&loaded, ui)?;
        let mut collector = Collector::new(&loaded.graph);
        let mut refused = None;
        let mut seen = |sequences: &[Sequence], records: &RoutingRecords| {
            refused = collector
                .push_batch(sequences, records)
                .err()
                .or(refused.take());
        };
        let made = planner::make(&loaded, &settings, &texts, &mut seen, ui)?;
        if let Some(error) = refused {
            return Err(Failure::Input(Box::new(error)));
        }
        let routes = collector.finish();
        for module in &made.starved {
            ui.note(&format!(
                "warning: {module} saw fewer than 32 tokens of the calibration text; it gets few bits"
            ));
        }
        self.write(&made, &outputs)?;
        if self.report.is_some() {
            let html = self.page(&loaded, &texts, &made, &routes, ui)?;
            outputs.write_page(html.as_bytes())?;
        }
        let planned = PlanReport {
            plan: self.output.display().to_string(),
            bits_per_weight: made.file.bits_per_weight,
            unit_bytes: made.file.unit_bytes,
            predicted_kl: made.file.predicted_kl,
            measured_kl: made.file.measured_kl,
            measured_kl_rounded: made.file.measured_kl_rounded,
            predicted_ms: made.file.predicted_ms,
            formats: planner::shares(&made.file),
            domains: made.domains,
            starved: made.starved,
            routes: self.json.then_some(routes),
        };
        ui.result(self.json, &planned)?;
        Ok(Outcome::Done)
    }
}

impl Plan {
    fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings {
            target: self.device.find()?,
            budget: match (self.size, self.bits) {
                (Some(size), _) => Budget::Size(size),
                (None, Some(bits)) => Budget::Bits(bits),
                // The largest format's: time alone is the limit.
                (None, None) if self.latency.is_some() => Budget::Bits(8.25),
                (None, None) => Budget::Bits(4.25),
            },
            latency: self.latency.map(|ms| 1e-3 * ms),
            method: match (self.rounding, self.effort) {
                (Some(Rounding::Plain), _) => Method::Plain,
                (Some(Rounding::Search), _) | (None, EffortName::Low) => Method::Search,
                (Some(Rounding::Feedback), _) | (None, _) => Method::Feedback,
            },
            effort: match self.effort {
                EffortName::Low => Effort::Low,
                EffortName::Default => Effort::Default,
                EffortName::High => Effort::High,
            },
            overrides: self.overrides.clone(),
            activations: self.activations.clone(),
            uniform_body: self.uniform_body,
            without: Ablation::default(),
        })
    }

    fn texts(&self, loaded: &LoadedCheckpoint, ui: &Ui) -> Result<Texts, Failure> {
        let folder = self.calib.as_deref();
        let (split, extent) = (Split::Calibration, Extent::Plan);
        let mut documents = texts::documents(loaded, split, folder, "to calibrate with", extent)?;
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
        let texts = match loaded.graph.facts().task {
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
        let mut reference = loaded.reference();
        let judged = sequences::windows(&texts.search, texts::window(loaded), CAUSAL_TOKENS);
        let causal = routing::causal(&mut reference, &judged, CausalOptions::default(), ui)?;
        let bits = made.file.bits_per_weight;
        let title = format!(
            "{} at {bits:.2} bits for {}",
            folder_name(&self.checkpoint),
            made.file.target
        );
        let page = planner::page(&title, made, routes, Some(&causal));
        report::render(&page).map_err(|e| Failure::Input(Box::new(e)))
    }

    /// Keeps the plan in the cache, where `gemc run` finds it, then writes both files: what took so long is not lost when
    /// the disk is.
    fn write(&self, made: &FinishedPlan, outputs: &Outputs) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        codes::write(&mut bytes, &made.codes).map_err(Failure::Output)?;
        let text = made.file.text().map_err(|e| Failure::Input(Box::new(e)))?;
        let cache = Cache::if_possible()?;
        let kept = cache.and_then(|cache| {
            // Without it, `run` takes uniform formats unless it is given the plan.
            let target = &made.file.target;
            let kept = cache.keep_plan(&self.checkpoint, target, text.as_bytes(), &bytes);
            kept.ok()
        });
        outputs.write(text.as_bytes(), &bytes).map_err(|error| {
            match kept {
                None => error.into(),
                Some(path) => Failure::Input(
                    format!(
                        "{error}; the plan is kept: `gemc run` takes it, other verbs do with --plan {}",
                        path.display()
                    )
                    .into(),
                ),
            }
        })
    }
}
/// The domains that documents are of.
fn domains(documents: &[Sequence]) -> BTreeSet<&str> {
    documents.iter().map(|d| &*d.domain).collect()
}
