//! What can be wrong with a program's bundle, in words.

use std::fmt;
use std::io;

/// Why a program's models cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// There are none. An appended payload is dropped by tools that write a program anew, and nothing in the program shows
    /// that it was there.
    Absent,
    /// The end is missing.
    Truncated {
        /// Bytes of the payload.
        needed: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// Something is not as it was written.
    Damaged(String),
    /// A bundle cannot have such parts.
    Impossible(String),
    /// Another version of the format.
    Version(u32),
    /// The program may be run and not be read, as with mode 111, or the system does not show it.
    Unreadable(io::Error),
    /// No model of this name.
    Model {
        /// What was asked for.
        asked: String,
        /// What there is, with commas.
        known: String,
    },
}

impl Fault {
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ORDER: &str = "the order is strip, `gemc bundle`, sign";
        match self {
            Self::Absent => write!(
                f,
                "carries no models: none were bundled with it, or strip, llvm-strip or objcopy dropped them; {ORDER}"
            ),
            Self::Truncated { needed, found } => write!(
                f,
                "has {found} of the {needed} bytes of its models: it was cut short; copy it again, and remember that {ORDER}"
            ),
            Self::Damaged(what) => write!(f, "has damaged models: {what}; copy or bundle it again"),
            Self::Impossible(what) => write!(f, "cannot be made: {what}"),
            Self::Version(version) => {
                let known = super::VERSION;
                write!(
                    f,
                    "has models in version {version} of a bundle; this program reads version {known}"
                )
            }
            Self::Unreadable(e) => write!(
                f,
                "cannot be read ({e}), so that its models cannot be used; who runs it must be allowed to read it, as with \
                 mode 755, and /proc must be there"
            ),
            Self::Model { asked, known } => {
                write!(f, "carries no model `{asked}`; it carries: {known}")
            }
        }
    }
}
