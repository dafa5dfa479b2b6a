//! A model -> nothing, or what is wrong: the executor of the reference against the interpreter, and the interpreter against
//! machine code in calls of any size on any number of threads.
//!
//! All activations are int16, so that an error of a kernel is far above what rounding does. The interpreter decides its
//! routing; the executor is forced to follow it, and [`super::decisions`] holds every decision against what it must be.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use gem_runtime::Engine;
use gem_runtime::format::{ActivationFormat, Rounding};
use gem_runtime::protocol::{LogitsRequest, Peer as _, Server, Setup};
use gemc::emit::cranelift::Effort;
use gemc::metrics::kl_divergence;
use gemc::package::Parts;
use gemc::pipeline::{self, Compiled, Loaded};
use gemc::plan::activations::Rule;
use gemc::plan::{BitPlan, KvFormat};
use gemc::progress::Silent;
use gemc::reference::{Activations, Batch, Reference, RoutingRecords, RoutingSource, RunOptions};
use gemc::verify::records;
use gemc::{backend, fake, synth};

use crate::decisions;
use crate::model::Model;
use crate::weights;

/// Mean KL in nats between interpreter and executor that is always small enough.
const PRECISE: f64 = 1e-6;

/// Mean square of their difference, as a share of the mean square of the logits, that is always small enough.
const PRECISE_SQUARE: f64 = 1e-6;

/// What keys and values in fewer bits may add to either.
const OF_KV: f64 = 2e-2;

/// Relative changes of every weight, around a rounding of f32, that show how far correct programs may be apart.
const ROUNDINGS: [f32; 3] = [1e-7, 3e-7, 1e-6];

/// How much farther than changes of weights kernels may lead.
const BEYOND: f64 = 10.0;

/// What was found out on the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Mean KL between interpreter and executor, keys and values being f32.
    pub kl: f64,
    /// Their mean square difference as a share.
    pub square: f64,
    /// The same with the model's own format of keys and values.
    pub kv_square: f64,
    /// Whether roundings alone lead farther than the sharp limits, so that others were taken.
    pub amplified: bool,
    /// Whether the executor itself has no numbers: an epsilon of 0 divides by it.
    pub not_finite: bool,
}

/// Tries a model; a panic is an error, too.
///
/// # Errors
/// What is wrong.
pub fn check(model: &Model) -> Result<Outcome, String> {
    let tried = catch_unwind(AssertUnwindSafe(|| tried(model)));
    tried.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("a panic: {}", text.unwrap_or("of another type")))
    })
}

fn tried(model: &Model) -> Result<Outcome, String> {
    let root = tempfile::tempdir().map_err(said)?;
    let dir = written(model, root.path())?;
    let loaded = pipeline::load(&dir).map_err(said)?;
    let build = Build::new(model, &loaded, model.kv)?;
    let kernels = answer(&build.interpreted()?, &loaded, model, None, &[])?;
    build.machine_code(&kernels)?;
    let exact = match model.kv {
        KvFormat::F32 => kernels.clone(),
        _ => {
            let build = Build::new(model, &loaded, KvFormat::F32)?;
            answer(&build.interpreted()?, &loaded, model, None, &[])?
        }
    };
    let mut faked = loaded.reference();
    fake::quantise(&mut faked, &build.plan, Rounding::Plain).map_err(said)?;
    let mut outcome = compared(model, &loaded, &faked, &exact)?;
    if model.kv != KvFormat::F32 && !outcome.not_finite {
        let expected = run(&faked, model, &kernels.routing)?;
        outcome.kv_square = square(&expected, &kernels.logits);
        let limit = OF_KV.max(if outcome.amplified {
            f64::INFINITY
        } else {
            0.0
        });
        if outcome.kv_square.is_nan() || outcome.kv_square > limit {
            return Err(format!("keys and values: {outcome:?}"));
        }
    }
    Ok(outcome)
}

fn said(error: impl ToString) -> String {
    error.to_string()
}

/// The checkpoint, in a folder of its own.
fn written(model: &Model, root: &Path) -> Result<std::path::PathBuf, String> {
    let (config, dir) = (root.join("config.json"), root.join("model"));
    fs::write(&config, model.config.to_string()).map_err(said)?;
    synth::synth(&config, &dir, model.seed, &Silent).map_err(said)?;
    weights::vary(&dir, model.seed, &model.stored)?;
    Ok(dir)
}

/// A model compiled with some format of keys and values.
struct Build<'a> {
    model: &'a Model,
    loaded: &'a Loaded,
    plan: BitPlan,
    compiled: Compiled,
}

/// What a program gives for the model's ids.
#[derive(Clone)]
struct Answer {
    logits: Vec<Vec<f32>>,
    routing: RoutingRecords,
}

impl<'a> Build<'a> {
    fn new(model: &'a Model, loaded: &'a Loaded, kv: KvFormat) -> Result<Self, String> {
        let everywhere = Rule {
            units: String::new(),
            format: ActivationFormat::Int16,
        };
        let plan = BitPlan::uniform(&loaded.graph, model.codec);
        let plan = plan.with_activations(&loaded.graph, &[everywhere]);
        let plan = plan.map_err(said)?.with_kv(kv);
        let compiled = pipeline::compile(&loaded.graph, &plan, &model.target).map_err(said)?;
        Ok(Self {
            model,
            loaded,
            plan,
            compiled,
        })
    }

    fn parts(&self) -> Parts<'_> {
        Parts {
            name: "random",
            loaded: self.loaded,
            compiled: &self.compiled,
            plan: &self.plan,
            target: &self.model.target,
            rounding: Rounding::Plain,
            cache: None,
        }
    }

    fn interpreted(&self) -> Result<Engine, String> {
        backend::interpreted(&self.parts()).map_err(said)
    }

    /// Whole, in single steps and in chunks, on one thread and on three, all bit for bit.
    fn machine_code(&self, expected: &Answer) -> Result<(), String> {
        let parts = self.parts();
        // Kernels of targets that this machine does not run compute the same bits in its own instructions.
        let engine = if self.model.target.runs_here() {
            backend::jitted(&parts, Effort::default(), &Silent).map_err(said)?
        } else {
            backend::jitted_with(&parts, Effort::default()).map_err(said)?
        };
        let chunks = self.model.chunks();
        for (threads, chunks) in [(1, &[][..]), (3, &[]), (1, &[1]), (3, &chunks)] {
            let found = answer(&engine, self.loaded, self.model, Some(threads), chunks)?;
            equal(expected, &found)
                .map_err(|e| format!("machine code, {threads} threads, chunks {chunks:?}: {e}"))?;
        }
        Ok(())
    }
}

fn answer(
    engine: &Engine,
    loaded: &Loaded,
    model: &Model,
    threads: Option<u32>,
    chunks: &[u32],
) -> Result<Answer, String> {
    let request = LogitsRequest {
        ids: model.ids(),
        chunks: chunks.to_vec(),
        routing: true,
        setup: Setup {
            threads,
            context: None,
        },
        ..LogitsRequest::default()
    };
    let mut logits = Vec::new();
    let mut server = Server::new(engine, 0);
    let result = server.logits(&request, &mut |_, row| logits.push(row.to_vec()));
    Ok(Answer {
        routing: records::from_program(&loaded.graph, result.map_err(said)?.routing),
        logits,
    })
}

/// Holds one execution against another.
fn equal(want: &Answer, got: &Answer) -> Result<(), String> {
    let bits = |row: &Vec<f32>| -> Vec<u32> {
        // One NaN is as good as another.
        let number = |x: &f32| if x.is_nan() { f32::NAN } else { *x };
        row.iter().map(|x| number(x).to_bits()).collect()
    };
    if want.logits.len() != got.logits.len() {
        return Err(format!(
            "{} rows, not {}",
            got.logits.len(),
            want.logits.len()
        ));
    }
    let mut rows = want.logits.iter().zip(&got.logits);
    if let Some(row) = rows.position(|(a, b)| bits(a) != bits(b)) {
        return Err(format!("row {row} of the logits differs"));
    }
    // Floats print as the shortest decimal that reads back exactly.
    if format!("{:?}", want.routing) != format!("{:?}", got.routing) {
        return Err("routing differs".to_owned());
    }
    Ok(())
}

/// The executor with the routing of a program.
fn run(reference: &Reference, model: &Model, forced: &RoutingRecords) -> Result<Logits, String> {
    let options = RunOptions {
        routing: RoutingSource::Forced(forced),
        activations: Activations::Rounded,
        ..RunOptions::default()
    };
    let run = reference.run(&Batch::one(&model.ids()), &options);
    let run = run.map_err(said)?;
    let rows = 0..run.output_rows.len();
    Ok(rows.map(|row| run.logits.row(row).to_vec()).collect())
}

type Logits = Vec<Vec<f32>>;

/// Holds the interpreter against the executor, decisions and logits.
fn compared(
    model: &Model,
    loaded: &Loaded,
    faked: &Reference,
    kernels: &Answer,
) -> Result<Outcome, String> {
    let expected = run(faked, model, &kernels.routing)?;
    let mut outcome = Outcome {
        kl: mean_kl(&expected, &kernels.logits)?,
        square: square(&expected, &kernels.logits),
        ..Outcome::default()
    };
    if expected.iter().flatten().any(|x| !x.is_finite()) {
        outcome.not_finite = true;
        return Ok(outcome);
    }
    let (mut kl, mut square_limit) = (PRECISE, PRECISE_SQUARE);
    if !(outcome.kl <= kl && outcome.square <= square_limit) {
        for size in ROUNDINGS {
            let mut disturbed = faked.clone();
            fake::disturb(&mut disturbed, size).map_err(said)?;
            let found = run(&disturbed, model, &kernels.routing)?;
            kl = kl.max(BEYOND * mean_kl(&expected, &found)?);
            square_limit = square_limit.max(BEYOND * square(&expected, &found));
        }
        outcome.amplified = true;
    }
    if !(outcome.kl <= kl && outcome.square <= square_limit) {
        return Err(format!(
            "against the executor: KL {:e} of {kl:e}, square {:e} of {square_limit:e}",
            outcome.kl, outcome.square
        ));
    }
    if !outcome.amplified {
        decisions::check(model, loaded, faked, &kernels.routing)?;
    }
    Ok(outcome)
}

fn mean_kl(expected: &Logits, found: &Logits) -> Result<f64, String> {
    if expected.len() != found.len() {
        return Err(format!("{} rows, not {}", found.len(), expected.len()));
    }
    let rows = expected.iter().zip(found);
    let sum: f64 = rows.map(|(p, q)| kl_divergence(p, q)).sum();
    Ok(sum / expected.len() as f64)
}

/// The square of the difference as a share of the square of what is expected.
fn square(expected: &Logits, found: &Logits) -> f64 {
    let pairs = expected.iter().flatten().zip(found.iter().flatten());
    let (mut difference, mut all) = (0.0, f64::MIN_POSITIVE);
    for (a, b) in pairs {
        let (a, b) = (f64::from(*a), f64::from(*b));
        difference += (a - b) * (a - b);
        all += a * a;
    }
    difference / all
}
