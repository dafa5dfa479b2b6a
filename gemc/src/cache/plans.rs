//! The plan that was made last for a checkpoint folder and a target -> the one `gemc run` takes when it is told none.
//!
//! `plans/KEY.toml` and `plans/KEY.codes`, KEY of the folder's place and the target's name: whether the checkpoint there
//! is still the planned one is what the plan itself says.

use std::io;
use std::path::{Path, PathBuf};

use gem_runtime::hex;
use sha2::{Digest as _, Sha256};

use super::{Cache, used};
use crate::output::{OutputError, replace_file};
use crate::plan::file::codes_path;

/// Folder of plans.
pub(super) const KIND: &str = "plans";

impl Cache {
    /// Keeps a plan with its codes.
    ///
    /// # Errors
    /// From the system. Whoever planned can go on without.
    pub fn keep_plan(
        &self,
        checkpoint: &Path,
        target: &str,
        text: &[u8],
        codes: &[u8],
    ) -> Result<(), OutputError> {
        let path = self.plan_path(checkpoint, target);
        let path = path.and_then(|path| {
            std::fs::create_dir_all(self.root().join(KIND))?;
            Ok(path)
        });
        let path = path.map_err(|source| OutputError::Io {
            path: checkpoint.to_owned(),
            source,
        })?;
        // The codes first: a plan without codes would look whole.
        replace_file(&codes_path(&path), codes)?;
        replace_file(&path, text)
    }

    /// The plan's file, if one is kept.
    #[must_use]
    pub fn kept_plan(&self, checkpoint: &Path, target: &str) -> Option<PathBuf> {
        let path = self.plan_path(checkpoint, target).ok()?;
        let codes = codes_path(&path);
        if !(path.is_file() && codes.is_file()) {
            return None;
        }
        used(&path);
        used(&codes);
        Some(path)
    }

    fn plan_path(&self, checkpoint: &Path, target: &str) -> io::Result<PathBuf> {
        let mut hash = Sha256::new();
        hash.update(checkpoint.canonicalize()?.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(target);
        let name = format!("{}.toml", hex(&hash.finalize()));
        Ok(self.root().join(KIND).join(name))
    }
}
