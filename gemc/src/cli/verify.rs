//! `gemc verify`: a program against the f32 reference, on the checkpoint's evaluation text.

use std::path::PathBuf;
use std::time::Instant;

use gem_runtime::protocol::Setup;

use super::budget::{self, Budget};
use super::comparison::Comparison;
use super::junit::{Junit, Suite};
use super::limits::{self, Bounds, Line};
use super::model::{Backend, Model, ModelArgs};
use super::numbers::{fraction, from_zero, share, threads, whole};
use super::{Failure, Outcome, Run, Ui};
use crate::fake;
use crate::import::Split;
use crate::pipeline::CompileError;
use crate::sequences;
use crate::texts::{self, Extent, TextSource};
use crate::verify;
use crate::verify::candidate::{Activations, Candidate, Executor, ProgramCandidate};
use crate::verify::report::Report;

/// Compare a compiled model with the f32 reference
#[derive(clap::Args, Debug)]
pub struct Verify {
    #[command(flatten)]
    model: ModelArgs,
    /// What is compared
    #[arg(long, value_enum, default_value_t = CandidateKind::Rust)]
    backend: CandidateKind,
    /// Whose routing the candidate follows
    #[arg(long, value_enum, default_value_t = Routing::Own)]
    routing: Routing,
    /// Precision of activations in the fake-quantised executor
    #[arg(long, value_enum, default_value_t = Precision::Int8)]
    activations: Precision,
    /// Weights of the fake-quantised executor: quantised, or as they are
    #[arg(long, value_enum, default_value_t = Weights::Quantised)]
    weights: Weights,
    /// Multiply the fake-quantised executor's weights by 1 + E or 1 - E; 1.2e-7 shows how far two correct programs may be
    /// apart
    #[arg(long, value_name = "E", value_parser = fraction)]
    disturb: Option<f32>,
    /// What the candidate is compared with: the f32 model, or the fake-quantised one
    #[arg(long, value_enum, default_value_t = Against::Reference)]
    against: Against,
    /// Text to compare on: a folder of `<domain>.jsonl`, or a plain text; the checkpoint's own `evaluation/` unless given, and a
    /// packaged default where it has none
    #[arg(long, value_name = "PATH")]
    texts: Option<PathBuf>,
    /// Also give bytes, tokens, nats and KL of every document: a text, or texts one after the other whose lines name the same `document`
    #[arg(long)]
    per_document: bool,
    /// Tokens of evaluation text
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = whole(1, usize::MAX))]
    tokens: usize,
    /// Threads of the program
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<u32>,
    /// Exit 3 unless the mean KL is at most this
    #[arg(long, value_name = "X", value_parser = from_zero)]
    max_kl: Option<f64>,
    /// Exit 3 unless the share of equal top-1 choices is at least this
    #[arg(long, value_name = "Y", value_parser = share)]
    min_top1: Option<f64>,
    /// Exit 3 unless macro-F1 is at least this
    #[arg(long, value_name = "Z", value_parser = share)]
    min_f1: Option<f64>,
    /// Exit 3 unless the limits in this file hold: bytes, kl, worst_domain_kl, top1, predicted_ms (docs/pipelines.md)
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
    /// Also write the figures as JUnit XML, a test case each
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CandidateKind {
    /// The generated crate, compiled once and cached
    Rust,
    /// Machine code made in this process, without a Rust toolchain
    Jit,
    /// The interpreter: slow, and checks every access
    Interp,
    /// The f32 executor with the weights that the codes stand for
    Fake,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Routing {
    /// Its own
    Own,
    /// The reference's, so that kernel error and routing flips can be told apart
    Reference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Precision {
    /// As kernels round them
    Int8,
    /// Not rounded
    F32,
}

impl From<Precision> for Activations {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Int8 => Self::Rounded,
            Precision::F32 => Self::F32,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Weights {
    /// What the codes stand for
    Quantised,
    /// As in the checkpoint
    F32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Against {
    /// The f32 model
    Reference,
    /// The fake-quantised executor with rounded activations
    Fake,
}

impl Run for Verify {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let junit = self.junit.as_deref().map(Junit::attempt).transpose()?;
        let budget = self.budget.as_deref().map(Budget::read).transpose()?;
        let model = self.model.compile()?;
        budget.iter().try_for_each(|budget| budget.check(&model))?;
        let started = Instant::now();
        let report = self.report(&model, ui)?;
        let took = started.elapsed();
        if !report.kv_saturated.is_empty() {
            ui.note("warning: f16 does not hold all keys and values; --kv f32 or --kv int8 does");
        }
        let lines = self.lines(&report, &model, budget.as_ref())?;
        let broken: Vec<String> = lines.iter().filter_map(Line::broken).collect();
        broken.iter().for_each(|words| ui.note(words));
        if let Some(junit) = junit {
            junit.write(&Suite {
                model: &model.name,
                target: &model.target.name,
                lines: &lines,
                took,
            })?;
        }
        let task = model.loaded.graph.facts().task;
        ui.result(self.json, &Comparison::new(report, task))?;
        Ok(match broken.is_empty() {
            true => Outcome::Done,
            false => Outcome::BoundFailed,
        })
    }
}

impl Verify {
    /// Every figure with what is allowed of it.
    fn lines(
        &self,
        report: &Report,
        model: &Model,
        budget: Option<&Budget>,
    ) -> Result<Vec<Line>, Failure> {
        let bounds = Bounds {
            max_kl: self.max_kl,
            min_top1: self.min_top1,
            min_f1: self.min_f1,
        };
        let mut lines = limits::lines(report, &bounds);
        if let Some(budget) = budget {
            lines.extend(budget.lines(&budget::Compared {
                model,
                plan: self.model.formats.plan.as_deref(),
                report,
            })?);
        }
        Ok(lines)
    }

    /// Compares.
    fn report(&self, model: &Model, ui: &Ui) -> Result<Report, Failure> {
        let Model {
            loaded,
            compiled,
            plan,
            rounding,
            ..
        } = model;
        let extent = Extent::Tokens(self.tokens);
        let given = self.texts.as_deref();
        let source = TextSource::find(loaded.checkpoint.dir(), Split::Evaluation, given)?;
        if let (TextSource::Packaged(_), Some(name)) = (&source, source.name()) {
            ui.note(&format!(
                "no evaluation text of the checkpoint's own: {name}"
            ));
        }
        let documents = texts::read(loaded, &source, "to compare on", extent)?;
        let sequences = sequences::windows(&documents, texts::window(loaded), self.tokens);
        let original = loaded.original().map_err(CompileError::from)?;
        let mut faked = match loaded.dropped.is_empty() {
            true => original.clone(),
            false => loaded.reference(),
        };
        match self.weights {
            Weights::Quantised => fake::quantise(&mut faked, plan, *rounding)?,
            Weights::F32 => fake::round_activations(&mut faked, |unit| plan.activations(unit))?,
        }
        let (expected, precision) = match self.against {
            Against::Reference => (&original, Activations::F32),
            Against::Fake => (&faked, Activations::Rounded),
        };
        let setup = Setup {
            threads: self.threads,
            context: None,
        };
        let graph = &loaded.graph;
        let forced = self.routing == Routing::Reference;
        let compare = |candidate: &mut dyn Candidate| {
            let truth = Executor {
                reference: expected,
                activations: precision,
            };
            verify::compare(truth, candidate, &sequences, forced, ui)
        };
        let program = |backend| {
            model.answer(backend, ui, |peer| {
                let mut candidate = ProgramCandidate { peer, graph, setup };
                Ok(compare(&mut candidate)?)
            })
        };
        let mut report = match self.backend {
            CandidateKind::Rust => program(Backend::Rust)?,
            CandidateKind::Jit => program(Backend::Jit)?,
            CandidateKind::Interp => program(Backend::Interp)?,
            CandidateKind::Fake => {
                let mut candidate = faked.clone();
                if let Some(size) = self.disturb {
                    fake::disturb(&mut candidate, size)?;
                }
                compare(&mut Executor {
                    reference: &candidate,
                    activations: self.activations.into(),
                })?
            }
        };
        if !self.per_document {
            report.documents.clear();
        }
        report.bits_per_weight = Some(compiled.layout.bits_per_weight());
        report.weight_bytes = Some(compiled.layout.weight_bytes());
        Ok(report)
    }
}
