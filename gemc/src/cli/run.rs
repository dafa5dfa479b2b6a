//! `gemc run`: text out of a checkpoint at once, through machine code, a compiled program or the interpreter.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;

use gem_runtime::cli::{Options, Parsed};

use super::model::{Backend, ModelArgs};
use super::{Failure, Outcome, Run as Verb, Ui};
use crate::backend;
use crate::package::PackageError;

/// Generate text, chat, or classify with a checkpoint
#[derive(clap::Args, Debug)]
pub struct Run {
    #[command(flatten)]
    model: ModelArgs,
    /// What runs the kernels
    #[arg(long, value_enum, default_value_t = Backend::Jit)]
    backend: Backend,
    #[command(flatten)]
    program: ProgramFlags,
}

/// The flags of a compiled program; it parses them itself, so they are only passed on.
#[derive(clap::Args, Debug)]
struct ProgramFlags {
    /// Continue this text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, group = "what")]
    prompt: Option<OsString>,
    /// Classify this text, or each of its tokens
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, group = "what")]
    text: Option<OsString>,
    /// Print the vector of this text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, group = "what")]
    embed: Option<OsString>,
    /// Talk, line by line, with the model's template
    #[arg(long, group = "what")]
    chat: bool,
    /// Answer a conversation: a JSON list of messages, as chat interfaces have them
    #[arg(long, value_name = "FILE", group = "what")]
    messages: Option<OsString>,
    /// Tokens to generate at most; like the options of sampling, the model's own (generation_config.json) if not given
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
    /// Which of the model's chat templates is used; `default` if not given
    #[arg(long, value_name = "NAME")]
    chat_template: Option<OsString>,
    /// Classify the pair of --text and this text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pair: Option<OsString>,
    /// Which of the model's prompts stands before the text, with --embed; its default if not given
    #[arg(long, value_name = "NAME")]
    prompt_name: Option<OsString>,
    /// Give variable K of the chat template the value V: JSON, else text; may be given several times
    #[arg(long, value_name = "K=V")]
    chat_var: Vec<OsString>,
    /// Tools that the chat template offers: a JSON list
    #[arg(long, value_name = "FILE")]
    tools: Option<OsString>,
    /// Documents that the chat template quotes: a JSON list
    #[arg(long, value_name = "FILE")]
    documents: Option<OsString>,
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
    /// No line at the end about speed and memory
    #[arg(long)]
    quiet: bool,
}

impl ProgramFlags {
    fn arguments(self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let valued = [
            ("--prompt", self.prompt),
            ("--text", self.text),
            ("--embed", self.embed),
            ("--messages", self.messages),
            ("-n", self.n),
            ("--temp", self.temp),
            ("--top-k", self.top_k),
            ("--top-p", self.top_p),
            ("--min-p", self.min_p),
            ("--repeat", self.repeat),
            ("--seed", self.seed),
            ("--chat-template", self.chat_template),
            ("--pair", self.pair),
            ("--prompt-name", self.prompt_name),
            ("--tools", self.tools),
            ("--documents", self.documents),
            ("--threads", self.threads),
            ("--context", self.context),
        ];
        let stops = self.stop.into_iter().map(|stop| ("--stop", Some(stop)));
        let variables = self.chat_var.into_iter();
        let variables = variables.map(|given| ("--chat-var", Some(given)));
        for (name, value) in valued.into_iter().chain(stops).chain(variables) {
            if let Some(value) = value {
                arguments.extend([name.into(), value]);
            }
        }
        let switches = [
            ("--chat", self.chat),
            ("--json", self.json),
            ("--quiet", self.quiet),
        ];
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
        let model = self.model.compile_as_planned(ui)?;
        let text = model.text();
        let (info, shape) = (model.info(), model.compiled.program.program().shape);
        // Making weights, or a program, may take minutes.
        gem_runtime::cli::check(&info, &shape, text.as_deref(), &options)?;
        match self.backend {
            Backend::Rust => {
                let program = model.program(ui)?;
                ui.finish();
                // This process becomes the program: signals and exit codes are its own, and nothing is left when it goes.
                let failed = backend::command(&program.path, &program.weights)
                    .args(arguments)
                    .exec();
                Err(PackageError::io(&program.path)(failed).into())
            }
            Backend::Jit | Backend::Interp => {
                let engine = model.engine(self.backend, ui)?.with_text(text);
                ui.finish();
                gem_runtime::cli::run(&engine, &options, io::stdin().lock(), io::stdout().lock())?;
                Ok(Outcome::Done)
            }
        }
    }
}
