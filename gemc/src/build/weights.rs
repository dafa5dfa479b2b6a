//! A compiled model -> its weight file, kept where the next build finds it; and the files of its text.

use std::path::PathBuf;

use gem_runtime::text::TextFolder;

use super::{BuildError, installed};
use crate::cache::Cache;
use crate::output::OutputError;
use crate::package::{PackageError, found_weights, in_folder, kept_weights};
use crate::prepared::{Formats, PreparedModel};
use crate::progress::Silent;

/// Weights that are rounded without optimisation at most.
const MOST_UNOPTIMISED: u64 = 16_000_000;

/// The weight file in the first of these caches that can be written.
pub(super) fn kept(
    prepared: &mut PreparedModel,
    formats: &Formats,
    caches: impl Iterator<Item = Cache>,
) -> Result<PathBuf, BuildError> {
    let mut reason = "there is no folder to keep them in".to_owned();
    for cache in caches {
        prepared.cache = Some(cache.clone());
        if gemc_format::is_slow() && found_weights(prepared, &cache)?.is_none() {
            installed::keep(prepared, formats, &cache);
            if found_weights(prepared, &cache)?.is_none() {
                few_enough(prepared)?;
            }
        }
        match kept_weights(prepared, &cache, &Silent) {
            Ok(file) => return Ok(file),
            Err(error) if is_about_the_cache(&error) => reason = error.to_string(),
            Err(error) => return Err(error.into()),
        }
    }
    Err(BuildError::NoPlace(reason))
}

/// Refuses what would take minutes.
fn few_enough(prepared: &PreparedModel) -> Result<(), BuildError> {
    let units = prepared.loaded.graph.units().iter();
    let weights = units.map(|unit| unit.shape.weights()).sum::<usize>() as u64;
    match weights > MOST_UNOPTIMISED {
        true => Err(BuildError::Unoptimised {
            checkpoint: prepared.loaded.checkpoint.dir().to_owned(),
            millions: weights / 1_000_000,
        }),
        false => Ok(()),
    }
}

/// Whether another folder may do.
fn is_about_the_cache(error: &PackageError) -> bool {
    matches!(
        error,
        PackageError::Output(OutputError::Io { .. })
            | PackageError::Weights(gem_runtime::Error::Io { .. })
    )
}

/// The files of the checkpoint's text: name, path.
pub(super) fn texts(prepared: &PreparedModel) -> Result<Vec<(String, PathBuf)>, BuildError> {
    let dir = prepared.loaded.checkpoint.dir();
    let dir = dir.canonicalize().map_err(PackageError::io(dir))?;
    let names = TextFolder::names(&dir).map_err(|wrong| in_folder(&dir, wrong))?;
    Ok(names
        .into_iter()
        .map(|name| (name.clone(), dir.join(name)))
        .collect())
}
