//! A model -> nothing, or what is wrong: the executor of the reference against the interpreter, and the interpreter against
//! machine code in calls of any size on any number of threads, and against the kernels of another target.
//!
//! The executor is compared where all activations are int16 and keys and values f32, so that an error of a kernel is far
//! above what rounding does; roughly also with the model's own formats. The interpreter decides its routing; the executor is
//! forced to follow it, and [`super::decisions`] holds every decision against what it must be.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use gem_tests::sample::Sample;
use gemc::metrics::kl_divergence;
use gemc::pipeline::{self, LoadedCheckpoint};
use gemc::plan::KvFormat;
use gemc::progress::Silent;
use gemc::reference::{Activations, Batch, Reference, RoutingSource, RunOptions};
use gemc::target::Target;
use gemc::{fake, synth};
use gemc_format::Rounding;

use crate::build::{Answer, Build};
use crate::decisions;
use crate::model::Model;
use crate::weights;

/// Mean KL in nats between interpreter and executor that is always small enough.
const PRECISE: f64 = 1e-6;

/// Mean square of their difference, as a share of the mean square of the logits, that is always small enough.
const PRECISE_SQUARE: f64 = 1e-6;

/// The same where activations, keys and values are coarser, so that a sum in another order may end in another code.
const COARSE: f64 = 2e-2;

/// Relative changes of every weight, around a rounding of f32, that show how far correct programs may be apart.
const ROUNDINGS: [f32; 3] = [1e-7, 3e-7, 1e-6];

/// Logits that changes of weights are judged by, at least: of fewer, more changes are tried.
const VALUES: usize = 32;

/// How much farther than changes of weights kernels may lead.
pub const BEYOND: f64 = 10.0;

/// What was found out on the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Mean KL between interpreter and executor in the most exact formats.
    pub kl: f64,
    /// Their mean square difference as a share.
    pub square: f64,
    /// The same with the model's own formats.
    pub own_square: f64,
    /// Whether roundings alone lead farther than the sharp limits, so that others were taken.
    pub amplified: bool,
    /// Whether the executor itself has no numbers: an epsilon of 0 divides by it.
    pub not_finite: bool,
}

impl Outcome {
    fn without_numbers() -> Self {
        Self {
            not_finite: true,
            ..Self::default()
        }
    }
}

/// Tries a model; a panic is an error, too.
///
/// # Errors
/// What is wrong.
pub fn check(model: &Model) -> Result<Outcome, String> {
    caught(|| tried(model))
}

/// With a panic as an error.
pub fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("a panic: {}", text.unwrap_or("of another type")))
    })
}

fn tried(model: &Model) -> Result<Outcome, String> {
    let root = tempfile::tempdir().map_err(said)?;
    let dir = written(model, root.path())?;
    let loaded = pipeline::load(&dir).map_err(said)?;
    let build = Build::new(model, &loaded)?;
    let kernels = build.interpreted();
    machine_code(model, &build, &kernels)?;
    on_another_target(model, &loaded, &kernels)?;
    let exact = Build::exact(model, &loaded)?;
    let mut faked = loaded.reference();
    fake::quantise(&mut faked, &exact.prepared.plan, Rounding::Plain).map_err(said)?;
    let (kernels, exact) = match (kernels, exact.interpreted()) {
        (Ok(kernels), Ok(exact)) => (kernels, exact),
        (Err(error), _) | (_, Err(error)) => return excused(model, &faked, error),
    };
    if !finite(&faked, model)? {
        // Where rounding decides whether a norm divides by 0, kernels may have numbers.
        let zero = model.config["norm_eps"].as_f64() == Some(0.0);
        return match zero {
            true => Ok(Outcome::without_numbers()),
            false => Err("the executor alone has no numbers".to_owned()),
        };
    }
    let mut outcome = compared(model, &loaded, &faked, &exact)?;
    let plan = &build.prepared.plan;
    fake::round_activations(&mut faked, |unit| plan.activations(unit)).map_err(said)?;
    let forced = RoutingSource::Forced(&kernels.routing);
    let expected = run(&faked, model, forced)?;
    outcome.own_square = square(&expected, &kernels.logits);
    if outcome.own_square <= COARSE {
        return Ok(outcome);
    }
    // The executor holds keys and values in f32; what coarser ones do is like a change of weights as large.
    let limits = Limits::new(&faked, model, forced, &expected, &like(model.kv))?;
    match outcome.own_square <= limits.square {
        true => Ok(outcome),
        false => Err(format!("with its own formats: {outcome:?}, not {limits:?}")),
    }
}

/// Relative changes that are no larger than what keys and values lose.
fn like(kv: KvFormat) -> Vec<f32> {
    let more = match kv {
        KvFormat::F32 => None,
        KvFormat::F16 => Some(1.0 / 2048.0),
        KvFormat::Int8 => Some(1.0 / 254.0),
    };
    ROUNDINGS.into_iter().chain(more).collect()
}

/// Programs refuse to give what is no number, and that is right where the executor has none, either.
fn excused(model: &Model, faked: &Reference, error: String) -> Result<Outcome, String> {
    if error.contains("not a finite number") && !finite(faked, model)? {
        return Ok(Outcome::without_numbers());
    }
    Err(error)
}

/// Whether the executor gives numbers.
fn finite(reference: &Reference, model: &Model) -> Result<bool, String> {
    match run(reference, model, RoutingSource::Own) {
        Ok(logits) => Ok(logits.iter().flatten().all(|x| x.is_finite())),
        Err(error) if error.contains("its values overflow") => Ok(false),
        Err(error) => Err(error),
    }
}

/// One step of a model, for emitted Rust.
///
/// # Errors
/// When it cannot be built, or traps.
pub fn sample(model: &Model, name: String) -> Result<Sample, String> {
    let root = tempfile::tempdir().map_err(said)?;
    let dir = written(model, root.path())?;
    let loaded = pipeline::load(&dir).map_err(said)?;
    Build::new(model, &loaded)?.into_sample(name)
}

fn said(error: impl ToString) -> String {
    error.to_string()
}

/// The checkpoint, in a folder of its own.
fn written(model: &Model, root: &Path) -> Result<PathBuf, String> {
    let (config, dir) = (root.join("config.json"), root.join("model"));
    fs::write(&config, model.config.to_string()).map_err(said)?;
    synth::synth(&config, &dir, model.seed, &Silent).map_err(said)?;
    weights::vary(&dir, model.seed, &model.stored)?;
    Ok(dir)
}

/// Whole, in single steps and in chunks, on one thread and on three, all bit for bit.
fn machine_code(
    model: &Model,
    build: &Build<'_>,
    expected: &Result<Answer, String>,
) -> Result<(), String> {
    let engine = build.machine_code()?;
    let chunks = model.chunks();
    for (threads, chunks) in [(1, &[][..]), (3, &[]), (1, &[1]), (1, &chunks)] {
        let found = build.answer(&engine, Some(threads), chunks);
        let difference = match (expected, &found) {
            (Ok(want), Ok(got)) => difference(want, got),
            (Err(want), Err(got)) if want == got => None,
            (Err(want), _) => Some(format!("the interpreter says: {want}")),
            (_, Err(got)) => Some(format!("it says: {got}")),
        };
        if let Some(difference) = difference {
            return Err(format!(
                "machine code, {threads} threads, chunks {chunks:?}: {difference}"
            ));
        }
    }
    Ok(())
}

/// A model gives the same bits on every target: the next one in the list, so that a run of models meets every two neighbours.
fn on_another_target(
    model: &Model,
    loaded: &LoadedCheckpoint,
    expected: &Result<Answer, String>,
) -> Result<(), String> {
    let targets = Target::with_own_kernels();
    let own = targets.iter().position(|t| t.name == model.target.name);
    let next = own.map_or(0, |own| (own + 1) % targets.len());
    let mut other = model.clone();
    other.target = targets[next].clone();
    let found = Build::new(&other, loaded)?.interpreted();
    let difference = match (expected, &found) {
        (Ok(want), Ok(got)) => difference(want, got),
        (Err(want), Err(got)) if want == got => None,
        _ => Some("one of them fails".to_owned()),
    };
    let told = |what| format!("{} and {}: {what}", model.target.name, other.target.name);
    difference.map_or(Ok(()), |what| Err(told(what)))
}

/// Where one execution differs from another.
fn difference(want: &Answer, got: &Answer) -> Option<String> {
    let bits = |row: &Vec<f32>| -> Vec<u32> { row.iter().map(|x| x.to_bits()).collect() };
    let (wanted, found) = (want.logits.len(), got.logits.len());
    if wanted != found {
        return Some(format!("{found} rows, not {wanted}"));
    }
    let mut rows = want.logits.iter().zip(&got.logits);
    if let Some(row) = rows.position(|(a, b)| bits(a) != bits(b)) {
        return Some(format!("row {row} of the logits differs"));
    }
    // Floats print as the shortest decimal that reads back exactly.
    let same = format!("{:?}", want.routing) == format!("{:?}", got.routing);
    (!same).then(|| "routing differs".to_owned())
}

/// The executor with some routing.
fn run(reference: &Reference, model: &Model, routing: RoutingSource<'_>) -> Result<Logits, String> {
    let options = RunOptions {
        routing,
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
    loaded: &LoadedCheckpoint,
    faked: &Reference,
    kernels: &Answer,
) -> Result<Outcome, String> {
    let forced = RoutingSource::Forced(&kernels.routing);
    let expected = run(faked, model, forced)?;
    let mut outcome = Outcome {
        kl: mean_kl(&expected, &kernels.logits)?,
        square: square(&expected, &kernels.logits),
        ..Outcome::default()
    };
    if !(outcome.kl <= PRECISE && outcome.square <= PRECISE_SQUARE) {
        outcome.amplified = true;
        let limits = Limits::new(faked, model, forced, &expected, &ROUNDINGS)?;
        if !(outcome.kl <= limits.kl && outcome.square <= limits.square) {
            return Err(format!("against the executor: {outcome:?}, not {limits:?}"));
        }
    }
    let disturbed = || {
        ROUNDINGS
            .iter()
            .map(|&size| disturbed(faked, size))
            .collect()
    };
    decisions::check(model, loaded, faked, disturbed, &kernels.routing)?;
    Ok(outcome)
}

/// How far executors lead that are as good.
#[derive(Clone, Copy, Debug)]
struct Limits {
    kl: f64,
    square: f64,
}

impl Limits {
    fn new(
        reference: &Reference,
        model: &Model,
        routing: RoutingSource<'_>,
        expected: &Logits,
        sizes: &[f32],
    ) -> Result<Self, String> {
        let mut limits = Self {
            kl: PRECISE,
            square: PRECISE_SQUARE,
        };
        // Of few logits one change says little: it may move them hardly at all by chance.
        let draws = VALUES.div_ceil(expected.iter().map(Vec::len).sum());
        for size in sizes {
            for draw in 0..draws {
                let size = size * (1.0 + draw as f32 / draws as f32);
                let found = run(&disturbed(reference, size)?, model, routing)?;
                limits.kl = limits.kl.max(BEYOND * mean_kl(expected, &found)?);
                limits.square = limits.square.max(BEYOND * square(expected, &found));
            }
        }
        Ok(limits)
    }
}

/// An executor whose weights are changed a little.
fn disturbed(reference: &Reference, size: f32) -> Result<Reference, String> {
    let mut disturbed = reference.clone();
    fake::disturb(&mut disturbed, size).map_err(said)?;
    Ok(disturbed)
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
