//! The weight file of a model in the cache, with the checkpoint's texts beside it: `weights/KEY/`, sealed.
//!
//! Programs may include it (`include_bytes!`), and cargo compiles what includes a file anew when the file is younger than
//! the build before. So it is dated long before any build, and its use is marked at the seal.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gem_runtime::hex;
use gem_runtime::storage::Weights;

use super::{PackageError, WEIGHTS};
use crate::cache::{self, Cache, SEAL};
use crate::output::OutputFolder;
use crate::prepared::PreparedModel;
use crate::progress::Progress;

/// The year 2000: later than what archives and file systems cannot tell from no time at all.
fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800)
}

/// The weight file in the cache, if it is there.
///
/// # Errors
/// When a file of the checkpoint went away.
pub fn found_weights(
    model: &PreparedModel,
    cache: &Cache,
) -> Result<Option<PathBuf>, PackageError> {
    let key = hex(&model.weights_key()?);
    let folder = folder(cache, &key);
    let whole = cache::is_sealed(&folder, &key);
    if whole {
        cache::used(&folder.join(SEAL));
    }
    Ok(whole.then(|| folder.join(WEIGHTS)))
}

fn folder(cache: &Cache, key: &str) -> PathBuf {
    cache.root().join("weights").join(key)
}

/// The weight file in the cache, made if need be; the checkpoint's texts lie beside it.
///
/// # Errors
/// When the cache cannot be written.
pub fn kept_weights(
    model: &PreparedModel,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<PathBuf, PackageError> {
    if let Some(file) = found_weights(model, cache)? {
        return Ok(file);
    }
    let key = hex(&model.weights_key()?);
    let folder = folder(cache, &key);
    let file = folder.join(WEIGHTS);
    let whole = |folder: &Path| cache::is_sealed(folder, &key);
    let waiting = || progress.note("waiting for another gemc, which is making these weights");
    let Some(making) = OutputFolder::in_turn(&folder, &waiting, whole)? else {
        return Ok(file);
    };
    make_weights(model, &making, &key, progress)?;
    making.commit()?;
    cache.trim();
    Ok(file)
}

/// Weights and texts, sealed.
fn make_weights(
    model: &PreparedModel,
    making: &OutputFolder,
    key: &str,
    progress: &dyn Progress,
) -> Result<(), PackageError> {
    for (name, bytes) in model.texts() {
        let written = fs::write(making.path().join(&name), bytes);
        written.map_err(|e| making.error(&name, e))?;
    }
    let layout = &model.compiled.layout;
    progress.start("quantising and packing weights", layout.body_bytes());
    let mut before = 0;
    let mut to = File::create(making.path().join(WEIGHTS)).map_err(|e| making.error(WEIGHTS, e))?;
    let name = making.target().join(WEIGHTS);
    model.write_weight_file(&mut to, &name, &mut |done| {
        progress.advance(done.saturating_sub(before));
        before = done;
    })?;
    // What is sealed is what was made, not what a disk made of it.
    Weights::open_checked(&making.path().join(WEIGHTS))?;
    to.set_modified(long_ago())
        .map_err(|e| making.error(WEIGHTS, e))?;
    let sealed = cache::seal(making.path(), key);
    Ok(sealed.map_err(|e| making.error(SEAL, e))?)
}
