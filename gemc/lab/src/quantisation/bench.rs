//! A checkpoint -> everything that builds of it are made of and measured with.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use gemc::assign::{Formats, bytes};
use gemc::calibrate::{self, Gather, Stats};
use gemc::fake;
use gemc::graph::{NodeId, Role, Unit, Units};
use gemc::pipeline::LoadedCheckpoint;
use gemc::plan::activations;
use gemc::plan::file::Override;
use gemc::planner::{self, Ablation, Budget, Effort, Settings, Texts};
use gemc::progress::{Progress, Silent};
use gemc::quantise::Planes;
use gemc::reference::{Activations, Reference};
use gemc::sensitivity::{Evidence, Judge, JudgedOutputs, Ladder, Method, Reading};
use gemc::sequences::{self, Sequence};
use gemc::target::Target;
use gemc_format::Codec;
use gemc_lab::judged::Judged;
use gemc_lab::{MEMORY, Material};

use crate::Result;

/// Stages on standard error.
pub struct Log;

impl Progress for Log {
    fn start(&self, what: &str, _: u64) {
        eprintln!("  {what}");
    }
    fn advance(&self, _: u64) {}
}

/// What everything is measured with.
pub struct Bench {
    pub loaded: LoadedCheckpoint,
    pub reference: Reference,
    pub units: Arc<Units>,
    pub texts: Texts,
    /// What builds are judged on.
    pub judged: Judged,
    /// Evaluation text, rounded activations.
    pub judge: Judge,
    /// Search text, f32 activations.
    pub search: Judge,
    /// Moments of the text that plans are fitted on, and of the evaluation text.
    pub fit: Stats,
    pub held: Stats,
    pub reading: Option<Reading>,
    /// KL of the build in which everything is B8.
    pub floor: Row,
    /// Names of domains.
    pub domains: Vec<String>,
    /// Plans made so far, by everything they were made with.
    plans: RefCell<BTreeMap<String, Rc<Plan>>>,
}

/// The three ways of rounding, all fitted on the same text.
pub struct Ladders<'a> {
    pub plain: Ladder<'a>,
    pub search: Ladder<'a>,
    pub feedback: Ladder<'a>,
}

/// A build that was measured.
#[derive(Default)]
pub struct Row {
    pub name: String,
    pub bytes: u64,
    /// Routing forced to the f32 model's.
    pub forced: JudgedOutputs,
    /// Each model routing by itself.
    pub free: JudgedOutputs,
}

/// A plan with the model that it makes.
pub struct Plan {
    pub formats: Formats,
    pub model: Reference,
    pub seconds: f64,
}

impl Bench {
    pub fn new(checkpoint: &Path, evaluation: Option<&Path>) -> Result<Self> {
        let Material {
            loaded,
            window,
            texts: divided,
            judged,
        } = Material::open(checkpoint, evaluation)?;
        let reference = loaded.reference();
        let units = loaded.graph.units().clone();
        let stats = |texts: &[Sequence]| {
            calibrate::run(&reference, texts, Gather::Moments, &mut |_, _| {}, &Log)
        };
        let (fit, held) = (stats(&divided.fit)?, stats(&judged.windows)?);
        let windows = sequences::windows(&divided.search, window, 6_144);
        let search = Judge::new(&reference, &windows, Activations::F32, MEMORY, &Log)?;
        let mut domains: Vec<String> = judged.windows.iter().map(|s| s.domain.clone()).collect();
        domains.sort();
        domains.dedup();
        let mut bench = Self {
            judge: Judge::new(
                &reference,
                &judged.windows,
                Activations::Rounded,
                MEMORY,
                &Silent,
            )?,
            reading: Reading::measure(&reference, &units, &fit, &search)?,
            texts: divided,
            floor: Row::default(),
            loaded,
            reference,
            units,
            judged,
            search,
            fit,
            held,
            domains,
            plans: RefCell::default(),
        };
        let windows: usize = bench.judged.windows.iter().map(|w| w.ids.len()).sum();
        if bench.judge.tokens() != windows {
            let judged = bench.judge.tokens();
            return Err(format!(
                "memory holds the probabilities of {judged} of {windows} tokens: fewer windows, or a smaller vocabulary"
            )
            .into());
        }
        let all_b8 = Formats::all(&bench.units, Codec::B8);
        let model = bench.model(&bench.ladder(Method::Feedback), &all_b8)?;
        bench.floor = bench.row("all B8", &all_b8, &model)?;
        Ok(bench)
    }

    fn ladder(&self, method: Method) -> Ladder<'_> {
        let evidence = Evidence {
            stats: &self.fit,
            reading: self.reading.as_ref(),
            routing_weights: true,
        };
        Ladder::new(&self.reference, &self.units, &evidence, method)
    }

    pub fn ladders(&self) -> Ladders<'_> {
        Ladders {
            plain: self.ladder(Method::Plain),
            search: self.ladder(Method::Search),
            feedback: self.ladder(Method::Feedback),
        }
    }

    /// The model with formats rounded one way.
    pub fn model(&self, ladder: &Ladder<'_>, formats: &Formats) -> Result<Reference> {
        let mut model = self.reference.clone();
        for unit in self.units.iter() {
            ladder.apply(&mut model, unit, formats[unit.id])?;
        }
        self.round_activations(&mut model, formats)?;
        Ok(model)
    }

    /// As usual for these formats.
    fn round_activations(&self, model: &mut Reference, formats: &Formats) -> Result<()> {
        let usual = activations::usual(&self.loaded.graph, formats);
        let format = |unit| usual[unit].unwrap_or_default();
        Ok(fake::round_activations(model, format)?)
    }

    /// The unit that is the token embedding.
    pub fn embedding(&self) -> Result<&Unit> {
        let mut units = self.units.iter();
        let unit = units.find(|unit| unit.role == Role::Embedding);
        unit.ok_or_else(|| "a model without an embedding".into())
    }

    /// Measures a model.
    pub fn row(&self, name: &str, formats: &Formats, model: &Reference) -> Result<Row> {
        Ok(Row {
            name: name.to_owned(),
            bytes: bytes(&self.units, formats),
            forced: self.judge.judge(model, NodeId(0), true)?,
            free: self.judge.judge(model, NodeId(0), false)?,
        })
    }

    /// What `gemc plan` makes: the codes that it would write, not those of the ladders here.
    pub fn plan(
        &self,
        budget: Budget,
        effort: Effort,
        overrides: &[Override],
        without: Ablation,
    ) -> Result<Rc<Plan>> {
        let key = format!("{budget:?} {effort:?} {overrides:?} {without:?}");
        if let Some(made) = self.plans.borrow().get(&key) {
            return Ok(made.clone());
        }
        let plan = self.plan_for(&self.texts, budget, effort, overrides, without)?;
        self.plans.borrow_mut().insert(key, plan.clone());
        Ok(plan)
    }

    /// The same, fitted to other text.
    pub fn plan_for(
        &self,
        texts: &Texts,
        budget: Budget,
        effort: Effort,
        overrides: &[Override],
        without: Ablation,
    ) -> Result<Rc<Plan>> {
        let settings = Settings {
            target: Target::host(),
            budget,
            latency: None,
            method: Method::Feedback,
            effort,
            overrides: overrides.to_vec(),
            activations: Vec::new(),
            uniform_body: false,
            without,
            workplace: None,
            keep_moments: false,
        };
        let begin = Instant::now();
        let made = planner::make(&self.loaded, &settings, texts, &mut |_, _| {}, &Log)?;
        let seconds = begin.elapsed().as_secs_f64();
        eprintln!("  planned in {seconds:.1} s");
        Ok(Rc::new(Plan {
            formats: formats(&made.codes),
            model: self.of_codes(&made.codes)?,
            seconds,
        }))
    }

    fn of_codes(&self, codes: &[Arc<Planes>]) -> Result<Reference> {
        let mut model = self.reference.clone();
        for (unit, planes) in self.units.iter().zip(codes) {
            let weights: Arc<[f32]> = planes.weights().into();
            for node in &unit.nodes {
                model.replace(*node, weights.clone())?;
            }
        }
        self.round_activations(&mut model, &formats(codes))?;
        Ok(model)
    }

    /// KL above the build in which everything is B8.
    pub fn excess(&self, row: &Row, forced: bool) -> f64 {
        match forced {
            true => row.forced.mean() - self.floor.forced.mean(),
            false => row.free.mean() - self.floor.free.mean(),
        }
    }

    /// The domain with the largest KL, each model routing by itself.
    pub fn worst(&self, row: &Row) -> (f64, &str) {
        let domains = row.free.by_domain();
        let named = domains.iter().zip(&self.domains);
        let worst = named.max_by(|a, b| a.0.total_cmp(b.0));
        worst.map_or((0.0, ""), |(kl, name)| (*kl, name))
    }
}

/// Formats of the planes of all units.
fn formats(codes: &[Arc<Planes>]) -> Formats {
    codes.iter().map(|planes| planes.codec).collect()
}
