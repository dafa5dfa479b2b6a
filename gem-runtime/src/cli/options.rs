//! Arguments -> [`Options`].
//!
//! Invariant: options that parse say exactly one thing to do, and every number is one that some model takes; what one
//! model does not take, its session refuses.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt as _;

use crate::sample::{Allowed, Sampling};
use crate::team::MOST_THREADS;

/// What `--help` shows; NAME stands for the program.
pub(super) const HELP: &str = "\
Runs the model that this program was built for.

Usage: NAME --prompt TEXT [options]    continues TEXT
       NAME --chat [options]           answers what is typed, line by line
       NAME --messages FILE [options]  answers a conversation: a JSON list of messages, as chat interfaces have them
       NAME --text TEXT [options]      classifies TEXT, or each of its tokens
       NAME --text TEXT --pair TEXT    classifies a pair, such as a question and an answer
       NAME --embed TEXT [options]     prints the vector of TEXT
       NAME --check [--json]           reads all weights and the tokenizer, and says whether they are whole

Options; those of sampling are the model's own (generation_config.json) where they are not given:
  -n N             tokens of an answer at most
  --temp T         0: always the most probable token; above: the higher, the more varied
  --top-k K        choose among the K most probable tokens; 0: all
  --top-p P        choose among the most probable tokens that together have probability P
  --min-p P        choose among tokens at least P times as probable as the best one
  --repeat R       above 1: tokens of the last 64 become less probable
  --stop TEXT      end the answer before TEXT; may be given several times
  --chat-template T
                   the chat template of this name, where the model has several
  --chat-var K=V   gives variable K of the chat template the value V: JSON, else text; may be given several times
  --tools FILE     tools that the chat template offers: a JSON list
  --documents FILE documents that the chat template quotes: a JSON list
  --prompt-name T  the prompt of this name before the text, where the model has prompts (with --embed)
  --seed S         start of the random numbers; the same seed gives the same answer
  --threads N      threads; one for each fast core that it may use if not given
  --context N      tokens that prompt and answer can have together
  --weights PATH   the weight file; if not given, a model that was bundled with the program, else model.gemw beside the
                   program or in the folder above
  --json           one JSON value instead of text (not with --chat)
  --quiet          no line at the end about speed and memory
  --help           this text

Exit codes: 0 done, 1 the input is at fault, 2 usage.
";

/// What the program is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Continue a text.
    Prompt(String),
    /// Classify a text.
    Text(String),
    /// Print a text's vector.
    Embed(String),
    /// Answer line by line.
    Chat,
    /// Answer the conversation of a file.
    Messages(PathBuf),
    /// Compare the weights with their digests.
    Check,
    /// Answer requests of `gemc`, as [`crate::protocol`] describes.
    Serve,
}

/// Sampling options as far as they are given; the model's own count for the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SamplingOptions {
    /// `-n`.
    pub max_tokens: Option<u32>,
    /// `--temp`.
    pub temperature: Option<f32>,
    /// `--top-k`.
    pub top_k: Option<u32>,
    /// `--top-p`.
    pub top_p: Option<f32>,
    /// `--min-p`.
    pub min_p: Option<f32>,
    /// `--repeat`.
    pub repetition_penalty: Option<f32>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--stop`, each.
    pub stop: Vec<String>,
}

impl SamplingOptions {
    /// The options over the model's own.
    #[must_use]
    pub fn over(&self, model: &Sampling) -> Sampling {
        let stop = if self.stop.is_empty() {
            &model.stop
        } else {
            &self.stop
        };
        Sampling {
            temperature: self.temperature.unwrap_or(model.temperature),
            top_k: self.top_k.unwrap_or(model.top_k),
            top_p: self.top_p.unwrap_or(model.top_p),
            min_p: self.min_p.unwrap_or(model.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(model.repetition_penalty),
            seed: self.seed.unwrap_or(model.seed),
            max_tokens: self.max_tokens.unwrap_or(model.max_tokens),
            stop: stop.clone(),
        }
    }
}

/// How conversations are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatArguments {
    /// `--chat-template`.
    pub template: Option<String>,
    /// `--chat-var`, each: name and value.
    pub variables: Vec<(String, String)>,
    /// `--tools`.
    pub tools: Option<PathBuf>,
    /// `--documents`.
    pub documents: Option<PathBuf>,
}

/// What the command is to do, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What the program is asked to do.
    pub mode: Mode,
    /// How to choose tokens.
    pub sampling: SamplingOptions,
    /// `--chat-template` and what else shapes a conversation.
    pub chat: ChatArguments,
    /// `--prompt-name`.
    pub prompt_name: Option<String>,
    /// `--pair`.
    pub pair: Option<String>,
    /// `--threads`.
    pub threads: Option<usize>,
    /// `--context`.
    pub context: Option<u32>,
    /// `--weights`.
    pub weights: Option<PathBuf>,
    /// `--json`.
    pub json: bool,
    /// `--quiet`.
    pub quiet: bool,
}

/// What the arguments ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// Something to be run.
    Run(Box<Options>),
    /// `--help` was given.
    Help,
}

/// What is wrong with the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What is wrong, and what is allowed.
    pub message: String,
    /// Exit code: 1 for text that is not UTF-8, else 2.
    pub code: u8,
}

impl Usage {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 2,
        }
    }
}

impl From<lexopt::Error> for Usage {
    fn from(error: lexopt::Error) -> Self {
        match error {
            lexopt::Error::NonUnicodeValue(value) => Self {
                message: format!("an argument is not UTF-8: {}", value.display()),
                code: 1,
            },
            other => Self::new(other.to_string()),
        }
    }
}

/// What has been parsed so far.
#[derive(Default)]
struct Draft {
    modes: Vec<Mode>,
    sampling: SamplingOptions,
    chat: ChatArguments,
    prompt_name: Option<String>,
    pair: Option<String>,
    threads: Option<usize>,
    context: Option<u32>,
    weights: Option<PathBuf>,
    json: bool,
    quiet: bool,
}

impl Options {
    /// Reads arguments, without the program's name.
    ///
    /// # Errors
    /// [`Usage`], with the option it is about.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Usage> {
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut draft = Draft::default();
        while let Some(argument) = parser.next()? {
            // The name is kept for messages, since a value borrows the parser.
            let name = match argument {
                Short('h') | Long("help") => return Ok(Parsed::Help),
                Short('n') => "-n".to_owned(),
                Long(name) => format!("--{name}"),
                Short(_) | Value(_) => return Err(argument.unexpected().into()),
            };
            draft.take(&name, &mut parser)?;
        }
        draft.finish().map(|options| Parsed::Run(Box::new(options)))
    }
}

impl Draft {
    fn take(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), Usage> {
        let sampling = &mut self.sampling;
        match name {
            "--prompt" => self.modes.push(Mode::Prompt(parser.value()?.string()?)),
            "--text" => self.modes.push(Mode::Text(parser.value()?.string()?)),
            "--embed" => self.modes.push(Mode::Embed(parser.value()?.string()?)),
            "--chat" => self.modes.push(Mode::Chat),
            "--messages" => self.modes.push(Mode::Messages(parser.value()?.into())),
            "--check" => self.modes.push(Mode::Check),
            "--serve" => self.modes.push(Mode::Serve),
            "-n" => sampling.max_tokens = Some(whole(name, parser, 0, u32::MAX)?),
            "--temp" => sampling.temperature = Some(real(name, parser, Sampling::TEMPERATURE)?),
            "--top-k" => sampling.top_k = Some(whole(name, parser, 0, u32::MAX)?),
            "--top-p" => sampling.top_p = Some(real(name, parser, Sampling::TOP_P)?),
            "--min-p" => sampling.min_p = Some(real(name, parser, Sampling::MIN_P)?),
            "--repeat" => {
                sampling.repetition_penalty = Some(real(name, parser, Sampling::PENALTY)?);
            }
            "--seed" => sampling.seed = Some(whole(name, parser, 0, u64::MAX)?),
            "--stop" => sampling.stop.push(stop(parser)?),
            "--chat-template" => self.chat.template = Some(parser.value()?.string()?),
            "--chat-var" => self.chat.variables.push(variable(parser)?),
            "--tools" => self.chat.tools = Some(parser.value()?.into()),
            "--documents" => self.chat.documents = Some(parser.value()?.into()),
            "--pair" => self.pair = Some(parser.value()?.string()?),
            "--prompt-name" => self.prompt_name = Some(parser.value()?.string()?),
            "--threads" => self.threads = Some(whole(name, parser, 1, MOST_THREADS)?),
            "--context" => self.context = Some(whole(name, parser, 1, u32::MAX)?),
            "--weights" => self.weights = Some(parser.value()?.into()),
            "--json" => self.json = true,
            "--quiet" => self.quiet = true,
            _ => return Err(Usage::new(format!("there is no option {name}"))),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Options, Usage> {
        let mode = match (self.modes.pop(), self.modes.is_empty()) {
            (Some(mode), true) => mode,
            _ => {
                let message = "exactly one of --prompt, --text, --embed, --chat, --messages and --check must be given";
                return Err(Usage::new(message));
            }
        };
        if self.json && mode == Mode::Chat {
            return Err(Usage::new("--json does not go with --chat"));
        }
        let talks = matches!(mode, Mode::Chat | Mode::Messages(_));
        if self.chat != ChatArguments::default() && !talks {
            let message = "--chat-template, --chat-var, --tools and --documents go with --chat and --messages alone";
            return Err(Usage::new(message));
        }
        if self.prompt_name.is_some() && !matches!(mode, Mode::Embed(_)) {
            return Err(Usage::new("--prompt-name goes with --embed alone"));
        }
        if self.pair.is_some() && !matches!(mode, Mode::Text(_)) {
            return Err(Usage::new("--pair goes with --text alone"));
        }
        Ok(Options {
            mode,
            sampling: self.sampling,
            chat: self.chat,
            prompt_name: self.prompt_name,
            pair: self.pair,
            threads: self.threads,
            context: self.context,
            weights: self.weights,
            json: self.json,
            quiet: self.quiet,
        })
    }
}

/// The value of an option that takes whole numbers.
fn whole<T: FromStr + PartialOrd + Display>(
    name: &str,
    parser: &mut lexopt::Parser,
    least: T,
    most: T,
) -> Result<T, Usage> {
    let allowed = format!("whole numbers from {least} to {most}");
    number(name, parser, &allowed, |n| (&least..=&most).contains(&n))
}

/// The value of an option that takes other numbers.
fn real(name: &str, parser: &mut lexopt::Parser, allowed: Allowed) -> Result<f32, Usage> {
    number(name, parser, allowed.words, |n| (allowed.holds)(*n))
}

/// Whatever follows the option is its value, a `-` at its beginning or not.
fn number<T: FromStr>(
    name: &str,
    parser: &mut lexopt::Parser,
    allowed: &str,
    holds: impl Fn(&T) -> bool,
) -> Result<T, Usage> {
    let value = parser.value()?;
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.filter(holds).ok_or_else(|| {
        let value = value.display();
        Usage::new(format!("{name} {value}: allowed are {allowed}"))
    })
}

fn variable(parser: &mut lexopt::Parser) -> Result<(String, String), Usage> {
    let given = parser.value()?.string()?;
    match given.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Usage::new(format!(
            "--chat-var {given}: allowed are NAME=VALUE"
        ))),
    }
}

fn stop(parser: &mut lexopt::Parser) -> Result<String, Usage> {
    let text = parser.value()?.string()?;
    match text.is_empty() {
        true => Err(Usage::new(
            "--stop \"\": allowed are texts that are not empty",
        )),
        false => Ok(text),
    }
}
