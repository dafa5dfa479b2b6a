//! What went wrong -> a report on standard error and an exit code. Rich rendering happens here and nowhere else: on a
//! terminal with a line of its own for what is allowed, otherwise one plain line per finding, so that scripts can read it.

use std::error::Error;
use std::io;

use anstyle::{AnsiColor, Style};

use super::Ui;
use crate::backend::JitEngineError;
use crate::cache::CacheError;
use crate::fake::FakeError;
use crate::import::published::PublishedError;
use crate::import::{Finding, ImportError};
use crate::output::OutputError;
use crate::package::{BundleError, PackageError};
use crate::patch::PatchError;
use crate::pipeline::CompileError;
use crate::plan::file::PlanError;
use crate::planner::PlannerError;
use crate::prepared::FormatsError;
use crate::reference::ReferenceError;
use crate::synth::SynthError;
use crate::target::TargetError;
use crate::texts::TextsError;
use crate::verify::candidate::CandidateError;

/// Why a verb ended early.
#[derive(Debug)]
pub enum Failure {
    /// The arguments; also help and version, which clap treats alike.
    Usage(clap::Error),
    /// A checkpoint, with everything that is wrong with it.
    Import(ImportError),
    /// What is wrong has been said; the exit code.
    Told(u8),
    /// Words of another command line, with its exit code.
    Words {
        /// The message, without `error:`.
        words: String,
        /// Exit code: 1 where the input is at fault, 2 for usage.
        code: u8,
    },
    /// Anything else about the input or the system, already in words.
    Input(Box<dyn Error + Send + Sync>),
    /// Standard output does not take the result; a closed pipe is none of our business.
    Output(io::Error),
}

impl Failure {
    /// The value of an option is wrong: in words that name both, and what is allowed.
    pub fn usage(words: impl Into<String>) -> Self {
        Self::Words {
            words: words.into(),
            code: 2,
        }
    }

    /// Tells it; gives the exit code.
    pub fn report(self, ui: &Ui) -> u8 {
        match self {
            Self::Usage(error) => match (error.print(), error.use_stderr()) {
                // Help and version are results.
                (Err(error), false) => Self::Output(error).report(ui),
                // When standard error is gone there is nobody to tell.
                _ => u8::try_from(error.exit_code()).unwrap_or(2),
            },
            Self::Told(code) => code,
            Self::Words { words, code } => {
                ui.note(&format!("error: {words}"));
                code
            }
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(error) => {
                ui.note(&format!("error: standard output: {error}"));
                1
            }
            Self::Import(error) => {
                let more = error.omitted();
                error
                    .findings()
                    .iter()
                    .for_each(|f| tell(ui, &FindingText::of(f)));
                if more > 0 {
                    ui.note(&format!("and {more} more findings"));
                }
                1
            }
            Self::Input(error) => {
                let what = error.to_string();
                tell(
                    ui,
                    &FindingText {
                        what,
                        allowed: None,
                    },
                );
                1
            }
        }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Self::Import(error)
    }
}

impl From<CompileError> for Failure {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Import(error) => error.into(),
            other => Self::Input(Box::new(other)),
        }
    }
}

/// Errors of which some are about the value of an option. Those have the same exit code wherever they are found.
macro_rules! usage_or_input {
    ($($error:ty: $usage:pat),* $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                match error {
                    $usage => Self::usage(error.to_string()),
                    _ => Self::Input(Box::new(error)),
                }
            }
        }
    )*};
}

usage_or_input!(
    gem_runtime::Error: gem_runtime::Error::Options(_),
    CandidateError: CandidateError::Engine(gem_runtime::Error::Options(_)),
    JitEngineError: JitEngineError::Runtime(gem_runtime::Error::Options(_)),
    FormatsError: FormatsError::Bits(_),
    PatchError: PatchError::Module { .. },
    TargetError: TargetError::Unknown { .. },
    PlannerError: PlannerError::Bits(_)
        | PlannerError::FewBits { .. }
        | PlannerError::Budget { .. }
        | PlannerError::Latency(_)
        | PlannerError::Slow { .. }
        | PlannerError::Override(_)
        | PlannerError::Activations(_),
);

/// Errors that are told as they read.
macro_rules! in_words {
    ($($(#[$only:meta])* $error:ty),* $(,)?) => {$(
        $(#[$only])*
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Input(Box::new(error))
            }
        }
    )*};
}

in_words!(
    super::budget::BudgetError,
    crate::emit::cranelift::EmitError,
    crate::emit::cranelift::IsaError,
    crate::emit::cranelift::object::ObjectError,
    BundleError,
    CacheError,
    FakeError,
    #[cfg(feature = "hub")]
    crate::hub::HubError,
    OutputError,
    PackageError,
    PlanError,
    ReferenceError,
);

impl From<gem_runtime::cli::Failure> for Failure {
    fn from(failure: gem_runtime::cli::Failure) -> Self {
        match failure {
            gem_runtime::cli::Failure::Unread => Self::Output(io::ErrorKind::BrokenPipe.into()),
            gem_runtime::cli::Failure::Output(error) => Self::Output(error),
            gem_runtime::cli::Failure::Told => Self::Told(1),
            gem_runtime::cli::Failure::Error(error) => error.into(),
        }
    }
}

impl From<TextsError> for Failure {
    fn from(error: TextsError) -> Self {
        match error {
            TextsError::Import(error) => error.into(),
            other => Self::Input(Box::new(other)),
        }
    }
}

impl From<PublishedError> for Failure {
    fn from(error: PublishedError) -> Self {
        match error {
            PublishedError::Import(error) => error.into(),
            PublishedError::Output(error) => error.into(),
        }
    }
}

impl From<SynthError> for Failure {
    fn from(error: SynthError) -> Self {
        match error {
            SynthError::Config(error) => error.into(),
            SynthError::Output(error) => error.into(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// A finding as it is told.
struct FindingText {
    what: String,
    allowed: Option<String>,
}

impl FindingText {
    fn of(finding: &Finding) -> Self {
        Self {
            what: format!("{}: {}", finding.place, finding.what),
            allowed: finding.allowed.as_ref().map(|a| format!("allowed: {a}")),
        }
    }
}

fn tell(ui: &Ui, shown: &FindingText) {
    let what = &shown.what;
    let Some(allowed) = &shown.allowed else {
        return ui.note(&format!("{}: {what}", error_label(ui)));
    };
    if ui.rich() {
        ui.note(&format!("{}: {what}\n  {allowed}", error_label(ui)));
    } else {
        ui.note(&format!("error: {what}; {allowed}"));
    }
}

/// `error`, in red where that can be seen.
fn error_label(ui: &Ui) -> String {
    let style = match ui.rich() {
        true => AnsiColor::Red.on_default().bold(),
        false => Style::new(),
    };
    format!("{style}error{style:#}")
}
