//! A checkpoint and a plan -> the files that a module is made from, and what makes rustc watch them.

use std::path::{Path, PathBuf};

use proc_macro2::TokenStream;
use quote::quote;

use super::BuildError;
use crate::import::hub::Located;
use crate::import::license_files;
use crate::package::{PackageError, in_folder};
use crate::pipeline::LoadedCheckpoint;
use crate::plan::file::codes_path;
use crate::prepared::Formats;

/// Bytes that rustc may read again whenever it checks.
const LARGEST: u64 = 64 << 20;

/// A file.
#[derive(Debug)]
pub(super) struct Input {
    /// Absolute.
    pub(super) path: PathBuf,
    bytes: u64,
}

/// Every file that is there.
pub(super) fn of(loaded: &LoadedCheckpoint, formats: &Formats) -> Result<Vec<Input>, BuildError> {
    let dir = loaded.checkpoint.dir();
    let names = loaded.checkpoint.input_files().into_iter();
    let mut paths: Vec<PathBuf> = names.map(|name| dir.join(name)).collect();
    let licenses = license_files(dir).map_err(|wrong| in_folder(dir, wrong))?;
    paths.extend(licenses.into_iter().map(|name| dir.join(name)));
    let index = dir.join("model.safetensors.index.json");
    if index.is_file() {
        paths.push(index);
    }
    if let Formats::File(plan) = formats {
        paths.push(plan.clone());
        let codes = codes_path(plan);
        if codes.is_file() {
            paths.push(codes);
        }
    }
    paths.iter().map(|path| input(path)).collect()
}

/// What says which snapshot of a hub's model is meant.
pub(super) fn reference(located: &Located) -> Result<Option<Input>, BuildError> {
    located.reference.as_deref().map(input).transpose()
}

fn input(path: &Path) -> Result<Input, BuildError> {
    let absolute = path.canonicalize().map_err(PackageError::io(path))?;
    let bytes = absolute.metadata().map_err(PackageError::io(path))?.len();
    Ok(Input {
        path: absolute,
        bytes,
    })
}

/// Refuses what rustc should not read at every turn.
pub(super) fn trackable(inputs: &[Input], checkpoint: &Path) -> Result<(), BuildError> {
    let bytes: u64 = inputs.iter().map(|input| input.bytes).sum();
    if bytes <= LARGEST {
        return Ok(());
    }
    Err(BuildError::TooLargeToTrack {
        checkpoint: checkpoint.to_owned(),
        megabytes: bytes.div_ceil(1 << 20),
        largest: LARGEST >> 20,
    })
}

/// An item that has rustc read a file, which cargo then watches.
pub(super) fn included(path: &Path) -> Result<TokenStream, BuildError> {
    let path = text(path)?;
    Ok(quote!(
        const _: &[u8] = include_bytes!(#path);
    ))
}

/// A path as a literal.
pub(super) fn text(path: &Path) -> Result<&str, BuildError> {
    path.to_str()
        .ok_or_else(|| BuildError::Path(path.to_owned()))
}
