//! What can be wrong with a patch, in words.

use std::fmt;

/// Why a patch cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatchFault {
    /// It is none, or not as it was written.
    Damaged(&'static str),
    /// Another version of the format.
    Version(u32),
    /// Made for weights of another plan.
    Plan,
    /// Made for weights in which something else stands elsewhere.
    Layout,
    /// What belongs to no module is not what the patch was made for.
    Rest,
    /// The module is neither what the patch replaces nor what it makes: another patch came before, or an older one is applied
    /// anew.
    Module(String),
    /// The weights have it already.
    Applied(String),
}

impl fmt::Display for PatchFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "{what}; copy it again"),
            Self::Version(version) => {
                let known = super::VERSION;
                write!(
                    f,
                    "has version {version}, this program reads version {known}; make it again with its gemc"
                )
            }
            Self::Plan => f.write_str(
                "is for weights of another plan; make it from the weights that it is to change",
            ),
            Self::Layout => f.write_str(
                "is for weights of another layout; make it from the weights that it is to change",
            ),
            Self::Rest => f.write_str(
                "is for other weights: what belongs to no module differs; make it from the weights that it is to change",
            ),
            Self::Module(module) => write!(
                f,
                "replaces another state of module `{module}` than these weights have: patches of a module apply in the \
                 order in which they were made, each once"
            ),
            Self::Applied(module) => {
                write!(f, "is applied: module `{module}` is what it makes of it")
            }
        }
    }
}
