//! Models one after the other -> how many there were, what was wrong, how far executions were apart.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use gem_runtime::simd::Level;
use gem_tests::emitted::{self, Case};
use gem_tests::machine::{ARM, Machine, NATIVE};
use gemc::target::Target;

use crate::check::{self, Outcome};
use crate::model::{Choices, Model};
use crate::shrink;

/// One model in so many is also compiled as Rust.
const EVERY: u64 = 20;

/// Models of a crate.
const CRATE: usize = 10;

/// What a run has seen.
#[derive(Debug, Default)]
pub struct Run {
    /// Of its crates, so that several runs at a time do not meet.
    name: String,
    /// Whose CPU emitted Rust is for, where it is not this one's; every model is emitted then.
    machine: Option<Machine>,
    emitted: usize,
    models: u64,
    pub faults: u64,
    amplified: u64,
    not_finite: u64,
    most_kl: f64,
    most_square: f64,
    most_own_square: f64,
    slowest: Duration,
    /// To be emitted together.
    waiting: Vec<Case>,
    waiting_models: Vec<String>,
}

impl Run {
    /// A run of a seed, with emitted Rust for the Arm that `GEM_MODELS_MACHINE` names, if it does.
    pub fn new(seed: u64) -> Self {
        let named = std::env::var("GEM_MODELS_MACHINE").ok();
        let machine = named.map(|name| {
            let found = ARM.into_iter().find(|machine| machine.target == name);
            found.expect("GEM_MODELS_MACHINE names an emulated machine")
        });
        let suffix = machine.map_or("", |machine| machine.target);
        Self {
            name: format!("models-{seed}{suffix}"),
            machine,
            ..Self::default()
        }
    }

    pub fn take(&mut self, i: u64, choices: &Choices, model: &Model) {
        let start = Instant::now();
        let found = check::check(model);
        self.slowest = self.slowest.max(start.elapsed());
        self.models += 1;
        if i % EVERY == EVERY - 1 || self.machine.is_some() {
            self.emit(i, model);
        }
        match found {
            Ok(outcome) => self.note(outcome),
            Err(error) => {
                self.faults += 1;
                println!("model {i}: {error}\n  {}", model.to_json());
                let plain = shrink::plainest(choices, model);
                println!("  plainer: {}", plain.to_json());
            }
        }
        if i % 100 == 99 {
            println!("{} models, {} faults", self.models, self.faults);
        }
    }

    /// Adds a model to a crate, which is compiled and run when it is full.
    fn emit(&mut self, i: u64, model: &Model) {
        let mut model = model.clone();
        let level = match &self.machine {
            Some(machine) => {
                model.target = Target::find(machine.target).expect("an embedded target");
                model.target.level
            }
            None => {
                let level = Some(model.target.level).filter(|level| level.supported());
                level.unwrap_or(Level::Portable)
            }
        };
        let model = &model;
        match check::sample(model, format!("model_{i}")) {
            Ok(sample) => {
                self.waiting.push(Case { sample, level });
                self.waiting_models.push(model.to_json());
            }
            Err(error) => {
                self.faults += 1;
                println!("model {i}, one step: {error}\n  {}", model.to_json());
            }
        }
        if self.waiting.len() == CRATE {
            self.compile();
        }
    }

    /// Holds emitted Rust against the interpreter; a panic, caught, has told where they differ.
    pub fn compile(&mut self) {
        let cases = std::mem::take(&mut self.waiting);
        let models = std::mem::take(&mut self.waiting_models);
        if cases.is_empty() {
            return;
        }
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let machine = self.machine.as_ref().unwrap_or(&NATIVE);
        let checked = AssertUnwindSafe(|| emitted::check(root, &self.name, machine, &cases));
        if catch_unwind(checked).is_err() {
            self.faults += 1;
            println!("emitted Rust, one of:\n  {}", models.join("\n  "));
        }
        self.emitted += cases.len();
    }

    /// Words for the failure's message.
    pub fn text(&self) -> String {
        let Self {
            models,
            emitted,
            faults,
            ..
        } = self;
        format!(
            "{models} models, {faults} faults; {emitted} as emitted Rust; {} without numbers, {} where roundings are \
             amplified\nof the others at most: KL {:.1e}, square {:.1e}, square in own formats {:.1e}\nslowest {:?}",
            self.not_finite,
            self.amplified,
            self.most_kl,
            self.most_square,
            self.most_own_square,
            self.slowest
        )
    }

    fn note(&mut self, outcome: Outcome) {
        self.not_finite += u64::from(outcome.not_finite);
        self.amplified += u64::from(outcome.amplified);
        if !outcome.amplified && !outcome.not_finite {
            self.most_kl = self.most_kl.max(outcome.kl);
            self.most_square = self.most_square.max(outcome.square);
            self.most_own_square = self.most_own_square.max(outcome.own_square);
        }
    }
}
