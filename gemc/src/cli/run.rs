//! `gemc run`: text out of a checkpoint at once, through a compiled program, machine code or the interpreter.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use gem_runtime::cli::{Options, Parsed};
use gem_runtime::text::Text;

use super::build::model_name;
use super::choices::{Device, Formats};
use super::{Failure, Outcome, Run as Verb, Ui};
use crate::backend;
use crate::package::Parts;
use crate::pipeline;

/// Generate text, chat, or classify with a checkpoint
#[derive(clap::Args, Debug)]
pub struct Run {
    /// Folder with config.json and model.safetensors
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    #[command(flatten)]
    device: Device,
    #[command(flatten)]
    formats: Formats,
    /// What runs the kernels
    #[arg(long, value_enum, default_value_t = Backend::Rust)]
    backend: Backend,
    #[command(flatten)]
    program: ProgramFlags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Backend {
    /// The generated crate, compiled once and cached
    Rust,
    /// Machine code made in this process, without a Rust toolchain
    Jit,
    /// The interpreter: slow, and checks every access
    Interp,
}

/// The flags of a compiled program; it parses them itself, so they are only passed on.
#[derive(clap::Args, Debug)]
struct ProgramFlags {
    /// Continue this text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, group = "what")]
    prompt: Option<OsString>,
    /// Classify this text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, group = "what")]
    text: Option<OsString>,
    /// Talk, line by line, with the model's template
    #[arg(long, group = "what")]
    chat: bool,
    /// Tokens to generate at most
    #[arg(short = 'n', value_name = "N")]
    n: Option<OsString>,
    /// Temperature; 0 is greedy
    #[arg(long, value_name = "T")]
    temp: Option<OsString>,
    /// Only the K most likely tokens
    #[arg(long, value_name = "K")]
    top_k: Option<OsString>,
    /// Only the most likely tokens that make up this probability
    #[arg(long, value_name = "P")]
    top_p: Option<OsString>,
    /// Only tokens at least this likely, relative to the best
    #[arg(long, value_name = "P")]
    min_p: Option<OsString>,
    /// Repetition penalty
    #[arg(long, value_name = "R")]
    repeat: Option<OsString>,
    /// End before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<OsString>,
    /// Seed of the choice of tokens
    #[arg(long, value_name = "S")]
    seed: Option<OsString>,
    /// Threads
    #[arg(long, value_name = "N")]
    threads: Option<OsString>,
    /// Positions to reserve memory for
    #[arg(long, value_name = "N")]
    context: Option<OsString>,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

impl ProgramFlags {
    fn arguments(self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let valued = [
            ("--prompt", self.prompt),
            ("--text", self.text),
            ("-n", self.n),
            ("--temp", self.temp),
            ("--top-k", self.top_k),
            ("--top-p", self.top_p),
            ("--min-p", self.min_p),
            ("--repeat", self.repeat),
            ("--seed", self.seed),
            ("--threads", self.threads),
            ("--context", self.context),
        ];
        let stops = self.stop.into_iter().map(|stop| ("--stop", Some(stop)));
        for (name, value) in valued.into_iter().chain(stops) {
            if let Some(value) = value {
                arguments.extend([name.into(), value]);
            }
        }
        let switches = [("--chat", self.chat), ("--json", self.json)];
        arguments.extend(
            switches
                .into_iter()
                .filter(|(_, on)| *on)
                .map(|(name, _)| name.into()),
        );
        arguments
    }
}

impl Verb for Run {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let arguments = self.program.arguments();
        let options = match Options::parse(arguments.clone()) {
            Ok(Parsed::Run(options)) => options,
            Ok(Parsed::Help) => return Ok(Outcome::Done),
            Err(usage) => {
                return Err(Failure::Words {
                    words: usage.message,
                    code: usage.code,
                });
            }
        };
        let target = self.device.find()?;
        let loaded = pipeline::load(&self.checkpoint)?;
        let plan = self.formats.plan(&loaded.graph)?;
        let compiled = pipeline::compile(&loaded.graph, &plan, &target)?;
        let name = model_name(&self.checkpoint);
        let rounding = self.formats.rounding();
        let parts = Parts {
            name: &name,
            loaded: &loaded,
            compiled: &compiled,
            plan: &plan,
            target: &target,
            rounding,
        };
        ui.note(&format!(
            "uniform {} bits for {}",
            self.formats.bits, target.name
        ));
        match self.backend {
            Backend::Rust => {
                let program = backend::program(&parts, ui)?;
                ui.finish();
                let status = backend::command(&program.path, &program.weights)
                    .args(arguments)
                    .status()?;
                match status.code() {
                    Some(0) => Ok(Outcome::Done),
                    // It has said why on standard error.
                    code => Err(Failure::Told(
                        code.and_then(|c| u8::try_from(c).ok()).unwrap_or(1),
                    )),
                }
            }
            Backend::Jit | Backend::Interp => {
                let engine = match self.backend {
                    Backend::Jit => backend::jitted(&parts)?,
                    _ => backend::interpreted(&parts)?,
                };
                let facts = loaded.graph.facts();
                let engine =
                    engine.with_text(Text::open(&self.checkpoint, facts.vocab_size as u32)?);
                ui.finish();
                gem_runtime::cli::run(&engine, &options, io::stdin().lock(), io::stdout().lock())?;
                Ok(Outcome::Done)
            }
        }
    }
}
