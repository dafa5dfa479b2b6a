//! Everything that can go wrong at run time, as one error type whose message says what, where and what is allowed.
//!
//! Nothing in this crate panics on user input: what a user can get wrong ends here.

use alloc::string::String;
use core::fmt;

use crate::simd::Level;

/// Result with [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why the runtime could not do what it was asked.
///
/// ```
/// use gem_runtime::{Error, Sampling};
///
/// let wrong = Sampling { temperature: -1.0, ..Sampling::default() };
/// let error = wrong.check().unwrap_err();
/// assert!(matches!(error, Error::Options { .. }), "{error}");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Bytes that should be a weight file are not one, or are damaged: what follows "weight file", beginning with its path
    /// where it has one.
    WeightFile(String),
    /// The weight file is sound, but made for another program.
    WrongWeights {
        /// The file, if they are from one.
        file: Option<String>,
        /// Which property differs: plan, layout or size.
        what: &'static str,
        /// What the program was compiled for.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// The program's own tables contradict each other; a defect of the compiler.
    Program(&'static str),
    /// The CPU lacks instructions that the program was compiled with.
    Cpu {
        /// The level the program needs.
        needed: Level,
    },
    /// The models that a program should carry.
    #[cfg(feature = "std")]
    Bundle {
        /// The program.
        program: String,
        /// What is wrong.
        fault: crate::bundle::Fault,
    },
    /// A patch cannot be used for these weights.
    #[cfg(feature = "std")]
    Patch {
        /// The patch: its file, or the module it replaces.
        patch: String,
        /// What is wrong.
        fault: crate::patch::PatchFault,
    },
    /// A file could not be used.
    #[cfg(feature = "std")]
    Io {
        /// The file, as the caller named it.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Memory could not be reserved.
    Memory {
        /// Bytes asked for; saturated where the size itself overflows.
        bytes: u64,
    },
    /// An option has a value that is not allowed.
    Options(String),
    /// No token at all where at least one is needed.
    Empty,
    /// A token id outside the vocabulary.
    Token {
        /// The token id that was given.
        id: u32,
        /// Ids are below this.
        vocab: u32,
    },
    /// More tokens than there is room for; the session is as it was.
    Context {
        /// Tokens that would have to be held.
        needed: u64,
        /// Tokens that can be held.
        limit: u32,
    },
    /// A logit is not a finite number, so there is no most probable token or label. The session is as it was.
    Logits {
        /// Position of the token after which it stands; 0 for a classified text.
        position: u32,
        /// The token or label.
        id: u32,
        /// NaN or an infinity.
        value: f32,
    },
    /// The model is for something else.
    Task {
        /// What was asked of it.
        asked: &'static str,
        /// What the model does.
        task: &'static str,
    },
    /// The session's [`Cancel`](crate::Cancel) handle stopped the call; the session can be used as before.
    Cancelled {
        /// Tokens of the call that the session holds now; the others it never saw.
        taken: u32,
    },
    /// A routing hook left a decision that no router makes.
    Routing {
        /// Name of the site, such as `layers.3`.
        site: &'static str,
        /// The row of the step.
        row: usize,
    },
    /// A kernel panicked; the session cannot be used any more.
    Poisoned,
    /// Tokenizer, chat template or text itself.
    Text(String),
    /// What came over the wire between `gemc` and a model's program is not what the protocol says.
    Protocol(String),
    /// The program at the other end of the wire could not do what it was asked; its own message.
    Remote(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WeightFile(what) => write!(f, "weight file {what}"),
            Self::WrongWeights {
                file,
                what,
                expected,
                found,
            } => {
                f.write_str("weight file ")?;
                if let Some(file) = file {
                    write!(f, "{file} ")?;
                }
                write!(
                    f,
                    "is for another program: {what} is {found}, expected {expected}; take the file that was built with the \
                     program, or build both again"
                )
            }
            Self::Program(what) => write!(f, "inconsistent program: {what}"),
            Self::Cpu { needed } => {
                let level = needed.name();
                write!(
                    f,
                    "this CPU lacks instructions of `{level}` that the program was compiled for"
                )?;
                let mut between = ": ";
                needed.missing().try_for_each(|feature| {
                    let before = core::mem::replace(&mut between, ", ");
                    write!(f, "{before}{feature}")
                })
            }
            #[cfg(feature = "std")]
            Self::Bundle { program, fault } => write!(f, "{program} {fault}"),
            #[cfg(feature = "std")]
            Self::Patch { patch, fault } => write!(f, "{patch} {fault}"),
            #[cfg(feature = "std")]
            Self::Io { path, source } => write!(f, "{path}: {source}"),
            Self::Memory { bytes } => write!(f, "cannot reserve {bytes} bytes of memory"),
            Self::Options(what) => write!(f, "option {what}"),
            Self::Empty => f.write_str("no tokens: at least one is needed"),
            Self::Token { id, vocab } => {
                write!(f, "token id {id} is outside the vocabulary of {vocab}")
            }
            Self::Context { needed, limit } => {
                write!(f, "{needed} tokens do not fit: the limit is {limit}")
            }
            Self::Logits {
                position,
                id,
                value,
            } => write!(
                f,
                "logit {id} after position {position} is {value}, not a finite number: values of the model overflow, \
                 or its weights are damaged"
            ),
            Self::Task { asked, task } => {
                write!(f, "cannot {asked} with a model made for {task}")
            }
            Self::Cancelled { taken } => {
                write!(f, "cancelled: the session took {taken} tokens of this call")
            }
            Self::Routing { site, row } => write!(
                f,
                "forced routing of `{site}`, row {row}: modules must ascend, then -1"
            ),
            Self::Poisoned => {
                f.write_str("a kernel panicked earlier; this session cannot be used any more")
            }
            Self::Text(what) => f.write_str(what),
            Self::Protocol(what) => {
                write!(f, "protocol between gemc and a model's program: {what}")
            }
            Self::Remote(what) => write!(f, "the model's program: {what}"),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            #[cfg(feature = "std")]
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Error {
    /// An error about a weight file, with its path.
    pub(crate) fn of_file(self, path: &str) -> Self {
        match self {
            Self::WeightFile(what) => Self::WeightFile(alloc::format!("{path} {what}")),
            other => other,
        }
    }
}

#[cfg(feature = "tokenizer")]
impl Error {
    /// An error about text or what makes it: `what` failed with `why`.
    pub(crate) fn text(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Text(alloc::format!("{what}: {why}"))
    }
}

#[cfg(feature = "std")]
impl Error {
    /// An error about a file.
    pub fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.display().to_string(),
            source,
        }
    }
}
