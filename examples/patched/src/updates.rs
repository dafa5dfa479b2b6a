//! Bytes that claim to be a patch -> the patch in a file of its own and a model that has it; or the runtime's error, and all
//! is as before.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gem_runtime::patch::{Patch, State};
use gem_runtime::{Error, Result};

use crate::newest::Newest;

/// Applies patches to the newest model.
pub struct Updates {
    newest: Arc<Newest>,
    /// The patch that came last and fitted.
    kept: PathBuf,
}

impl Updates {
    /// Those that are kept in the folder `state`.
    pub fn new(newest: Arc<Newest>, state: &Path) -> Self {
        let kept = state.join("law.gemp");
        Self { newest, kept }
    }

    /// Applies a patch, and says so; where the weights have it, nothing is done and said.
    ///
    /// # Errors
    /// [`Error::Patch`] for bytes that are damaged, foreign or overtaken; [`Error::Io`] where files cannot be written. The
    /// model is what it was.
    pub fn take(&self, bytes: Vec<u8>) -> Result<Option<String>> {
        let patch = Patch::parse(bytes)?;
        if self.state(&patch)? == State::Applied {
            return Ok(None);
        }
        write(&self.kept, patch.as_bytes()).map_err(|source| Error::Io {
            path: self.kept.display().to_string(),
            source,
        })?;
        self.newest.apply(&patch)?;
        self.told(&patch).map(Some)
    }

    /// Applies the kept patch where the weights lack it: the power failed before they were written, or a new version of the
    /// app brought others. Says whether the weights have a patch.
    ///
    /// # Errors
    /// As of [`Updates::take`].
    pub fn resume(&self) -> Result<String> {
        if !self.kept.exists() {
            return Ok("no patch is applied".to_owned());
        }
        let patch = Patch::open(&self.kept)?;
        if self.state(&patch)? == State::Applicable {
            self.newest.apply(&patch)?;
        }
        self.told(&patch)
    }

    /// Bytes of the weights, more than which no patch of them has.
    pub fn most_bytes(&self) -> u64 {
        self.newest.engine().weights().file_bytes()
    }

    fn state(&self, patch: &Patch) -> Result<State> {
        patch.state(&self.newest.engine().weights().as_file()?)
    }

    fn told(&self, patch: &Patch) -> Result<String> {
        let state = match self.state(patch)? {
            State::Applied => "is applied",
            State::Applicable => "is not applied",
        };
        Ok(format!("the patch of module `{}` {state}", patch.module()))
    }
}

/// Writes a file that appears whole or not at all.
fn write(to: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = to.with_extension(format!("{}.new", std::process::id()));
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, to)
}
