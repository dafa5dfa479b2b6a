//! Arguments -> one verb -> an exit code. Each verb is a file here and a line in [`VERBS`].
//!
//! Exit codes: 0 done, 1 the input is at fault, 2 usage, 3 a bound did not hold; never 101. Standard output carries the
//! result (one JSON value with `--json`), standard error everything else.

mod allocator;
mod apply;
mod bench;
mod budget;
mod build;
mod bundle;
mod cache;
mod choices;
mod comparison;
mod completions;
mod doctor;
mod emit;
mod explain;
mod failure;
mod files;
mod import_published;
mod inspect;
mod junit;
mod kit;
mod limits;
mod logits;
mod man;
mod model;
mod numbers;
mod patch;
mod plan;
mod plan_report;
mod planned;
#[cfg(feature = "hub")]
mod pull;
mod run;
mod runtime;
mod synth;
mod targets;
mod ui;
mod verify;
mod weights;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Args, ColorChoice, Command};

pub use failure::Failure;
pub use ui::Ui;

use crate::workers;

/// How a verb ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it was asked: exit code 0.
    Done,
    /// A bound that the caller gave does not hold.
    BoundFailed,
}

/// One verb of the command.
#[derive(Clone, Copy)]
pub struct Verb {
    name: &'static str,
    arguments: fn(Command) -> Command,
    run: fn(&ArgMatches, &Ui) -> Result<Outcome, Failure>,
}

/// What a verb's arguments do: parsed by clap, run with the terminal at hand.
pub trait Run: Args {
    /// Does it.
    ///
    /// # Errors
    /// When the input is at fault.
    fn run(self, ui: &Ui) -> Result<Outcome, Failure>;
}

impl Verb {
    /// The verb with these arguments; the doc comment of `A` is its help.
    const fn new<A: Run>(name: &'static str) -> Self {
        Self {
            name,
            arguments: A::augment_args,
            run: |matches, ui| {
                let arguments = A::from_arg_matches(matches).map_err(Failure::Usage)?;
                arguments.run(ui)
            },
        }
    }
}

/// Every verb, in the order of the help.
const VERBS: &[Verb] = &[
    Verb::new::<apply::Apply>("apply"),
    Verb::new::<bench::Bench>("bench"),
    Verb::new::<build::Build>("build"),
    Verb::new::<bundle::Bundle>("bundle"),
    Verb::new::<cache::CacheArgs>("cache"),
    Verb::new::<completions::Completions>("completions"),
    Verb::new::<doctor::Doctor>("doctor"),
    Verb::new::<explain::Explain>("explain"),
    Verb::new::<import_published::ImportPublished>("import-published"),
    Verb::new::<inspect::Inspect>("inspect"),
    Verb::new::<logits::Logits>("logits"),
    Verb::new::<man::Man>("man"),
    Verb::new::<patch::Patch>("patch"),
    Verb::new::<plan::Plan>("plan"),
    #[cfg(feature = "hub")]
    Verb::new::<pull::Pull>("pull"),
    Verb::new::<run::Run>("run"),
    Verb::new::<runtime::Runtime>("runtime"),
    Verb::new::<synth::Synth>("synth"),
    Verb::new::<targets::Targets>("targets"),
    Verb::new::<verify::Verify>("verify"),
    Verb::new::<weights::Weights>("weights"),
];

/// The command with all its verbs.
#[must_use]
pub fn command() -> Command {
    let command = Command::new("gemc")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(
            "Exit codes: 0 done, 1 the input is at fault, 2 usage, 3 a bound did not hold.",
        );
    VERBS.iter().fold(command, |command, verb| {
        let verb = (verb.arguments)(Command::new(verb.name));
        command.subcommand(verb.mut_args(with_any_value))
    })
}

/// Whatever follows an option is its value, `-1` and `---` too, as in the programs that are built. Only where a path is
/// wanted, what looks like an option is taken for one.
fn with_any_value(argument: Arg) -> Arg {
    let path = ValueParser::path_buf().type_id();
    let valued = argument.get_action().takes_values() && !argument.is_positional();
    let any = valued && argument.get_value_parser().type_id() != path;
    match any {
        true => argument.allow_hyphen_values(true),
        false => argument,
    }
}

/// Runs the command with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    allocator::give_back();
    gem_runtime::cli::report_file_limits();
    gem_runtime::text::hide_caught_panics();
    gem_runtime::cli::end_at_lost_files(
        "error: a file of the checkpoint or of the cache was cut short while it was in use, or its disk failed",
    );
    ExitCode::from(run(std::env::args_os(), &Ui::of_process()))
}

/// Runs the command; gives its exit code.
pub fn run<I: IntoIterator<Item = OsString>>(arguments: I, ui: &Ui) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let result = catch_unwind(AssertUnwindSafe(|| {
        workers::within(|| dispatch(arguments, ui))
    }));
    match result {
        Ok(Ok(Outcome::Done)) => 0,
        Ok(Ok(Outcome::BoundFailed)) => 3,
        Ok(Err(failure)) => failure.report(ui),
        Err(_) => {
            ui.note("internal error: this is a fault of gemc, not of your input; please report it");
            1
        }
    }
}

fn dispatch(arguments: Vec<OsString>, ui: &Ui) -> Result<Outcome, Failure> {
    // What clap says follows the same rules as what we say.
    let colour = match ui.rich() {
        true => ColorChoice::Auto,
        false => ColorChoice::Never,
    };
    let matches = command()
        .color(colour)
        .try_get_matches_from(arguments)
        .map_err(Failure::Usage)?;
    let chosen = matches.subcommand().and_then(|(name, matches)| {
        let verb = VERBS.iter().find(|v| v.name == name)?;
        Some((verb, matches))
    });
    match chosen {
        Some((verb, matches)) => (verb.run)(matches, ui),
        // clap has refused everything else; were it not so, the help is the right answer.
        None => Err(Failure::Usage(command().error(
            clap::error::ErrorKind::MissingSubcommand,
            "a verb is needed",
        ))),
    }
}

#[cfg(test)]
mod tests;
