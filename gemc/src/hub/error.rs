//! Why a model was not fetched, and what helps.

use std::io;
use std::path::PathBuf;

use crate::import::printable;
use crate::output::is_full;

/// Why a model was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// `HF_ENDPOINT` is no address.
    #[error("HF_ENDPOINT {0}: is not an address; allowed: https://HOST or http://HOST:PORT")]
    Endpoint(String),
    /// The user wants nothing to be fetched.
    #[error("HF_HUB_OFFLINE is set, so nothing is fetched")]
    Offline,
    /// There is no place for it.
    #[error("there is no folder for the hub's cache: set HF_HUB_CACHE")]
    NoCache,
    /// The hub knows no such model, or does not say so to strangers.
    #[error(
        "{repository}: the hub has no such model, or it is private; allowed: the name of a model, and for a private one a \
         token of its owner in HF_TOKEN"
    )]
    NoModel {
        /// Owner and name.
        repository: String,
    },
    /// The model has no such revision.
    #[error("{repository}: has no revision {revision}; allowed: a branch, a tag or a commit")]
    NoRevision {
        /// Owner and name.
        repository: String,
        /// What was asked for.
        revision: String,
    },
    /// A file that was listed, or named, is not there.
    #[error("{repository}: has no file {file}")]
    NoFile {
        /// Owner and name.
        repository: String,
        /// What was asked for.
        file: String,
    },
    /// Its owner gives it to those alone who agreed to something.
    #[error(
        "{repository}: is given to those who accept its conditions: do so at {page}, then set HF_TOKEN to a token of that \
         account"
    )]
    Gated {
        /// Owner and name.
        repository: String,
        /// Where the conditions are.
        page: String,
    },
    /// The token does not do.
    #[error("{repository}: the hub refuses the token in HF_TOKEN or in the token file{}", told(.said))]
    Token {
        /// Owner and name.
        repository: String,
        /// What the hub said.
        said: String,
    },
    /// Nothing in it can be read.
    #[error("{repository}: {what}")]
    Unread {
        /// Owner and name.
        repository: String,
        /// What is there instead, and what helps.
        what: String,
    },
    /// An answer that has no place in the protocol.
    #[error("{url}: {}", printable(.what))]
    Answer {
        /// What was asked for.
        url: String,
        /// What came.
        what: String,
    },
    /// The connection failed again and again.
    #[error("{url}: {}; what was fetched is kept, and the next `gemc pull` goes on from there", printable(.what))]
    Connection {
        /// What was asked for.
        url: String,
        /// What the system said.
        what: String,
    },
    /// The contents are not what the hub says they are.
    #[error(
        "{file}: was damaged on its way: its hash is {found}, not {expected}; it was removed, fetch it again"
    )]
    Damaged {
        /// The file.
        file: String,
        /// What the hub says.
        expected: String,
        /// Of what came.
        found: String,
    },
    /// There is no room.
    #[error(
        "{}: the disk is full: {missing} bytes of {file} are still missing; what was fetched is kept, and the next `gemc pull` \
         goes on from there",
        path.display()
    )]
    Full {
        /// What was written.
        path: PathBuf,
        /// The file.
        file: String,
        /// Bytes that did not find room.
        missing: u64,
    },
    /// The system refused something else.
    #[error("{}: cannot be written: {source}", path.display())]
    Io {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn told(said: &str) -> String {
    match said {
        "" => String::new(),
        said => format!(" ({})", printable(said)),
    }
}

impl HubError {
    /// A file that cannot be written, of which so many bytes are missing.
    pub(super) fn writing(path: PathBuf, file: &str, missing: u64, source: io::Error) -> Self {
        match is_full(&source) {
            true => Self::Full {
                path,
                file: file.to_owned(),
                missing,
            },
            false => Self::Io { path, source },
        }
    }
}
