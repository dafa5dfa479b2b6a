//! The plan that was made last for a checkpoint folder and a target -> the one `gemc run` takes when it is told none.
//!
//! `planned/KEY/plan.toml` and `plan.codes`, sealed, KEY of the folder's place and the target's name: whether the
//! checkpoint there is still the planned one is what the plan itself says.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gem_runtime::hex;
use sha2::{Digest as _, Sha256};

use super::{Cache, is_sealed, seal, used};
use crate::output::{OutputError, OutputFolder};
use crate::plan::file::codes_path;

/// Folder of plans.
pub(super) const KIND: &str = "planned";

/// Name of a plan in its folder.
const PLAN: &str = "plan.toml";

/// A kept plan that is not as it was kept.
#[derive(Debug, thiserror::Error)]
#[error("{}: damaged; `gemc plan` makes it again", .0.display())]
pub struct DamagedPlan(PathBuf);

impl Cache {
    /// Keeps a plan with its codes; where.
    ///
    /// # Errors
    /// From the system. Whoever planned can go on without.
    pub fn keep_plan(
        &self,
        checkpoint: &Path,
        target: &str,
        text: &[u8],
        codes: &dyn Fn(&mut dyn Write) -> io::Result<()>,
    ) -> Result<PathBuf, OutputError> {
        let kept = self.write_plan(checkpoint, target, text, codes);
        if let Err(OutputError::Io { source, .. }) = &kept {
            self.failed(source);
        }
        kept
    }

    fn write_plan(
        &self,
        checkpoint: &Path,
        target: &str,
        text: &[u8],
        codes: &dyn Fn(&mut dyn Write) -> io::Result<()>,
    ) -> Result<PathBuf, OutputError> {
        let key = plan_key(checkpoint, target);
        let folder = self.root().join(KIND).join(&key);
        let making = OutputFolder::after_others(&folder)?;
        let write = |name: &str, bytes: &[u8]| {
            let written = fs::write(making.path().join(name), bytes);
            written.map_err(|e| making.error(name, e))
        };
        write(PLAN, text)?;
        let codes_name = codes_path(Path::new(PLAN));
        let codes_name = codes_name.to_string_lossy();
        let written =
            File::create(making.path().join(&*codes_name)).and_then(|mut file| codes(&mut file));
        written.map_err(|e| making.error(&codes_name, e))?;
        seal(making.path(), &key).map_err(|e| making.error(PLAN, e))?;
        making.commit()?;
        Ok(folder.join(PLAN))
    }

    /// The plan's file, if one is kept.
    ///
    /// # Errors
    /// When it is not as it was kept.
    pub fn kept_plan(
        &self,
        checkpoint: &Path,
        target: &str,
    ) -> Result<Option<PathBuf>, DamagedPlan> {
        let key = plan_key(checkpoint, target);
        let folder = self.root().join(KIND).join(&key);
        let plan = folder.join(PLAN);
        if !folder.exists() {
            return Ok(None);
        }
        if !(plan.is_file() && is_sealed(&folder, &key)) {
            return Err(DamagedPlan(plan));
        }
        used(&plan);
        Ok(Some(plan))
    }
}

fn plan_key(checkpoint: &Path, target: &str) -> String {
    let place = checkpoint.canonicalize();
    let place = place.unwrap_or_else(|_| checkpoint.to_owned());
    let mut hash = Sha256::new();
    hash.update(place.as_os_str().as_encoded_bytes());
    hash.update([0]);
    hash.update(target);
    hex(&hash.finalize())
}
