//! `manifest.json`: what a package was made from, by what, and what it contains, all by SHA-256.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use gem_runtime::{hex, regular};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{About, Files, MANIFEST, PackageError, WEIGHTS};
use crate::cache::digest_of;

/// The value of [`Manifest::tool`].
const TOOL: &str = "gemc";

/// Contents of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always `gemc`.
    pub tool: String,
    /// Version of the gemc that built it.
    pub version: String,
    /// Name of the model.
    pub name: String,
    /// The device it was compiled for.
    pub target: String,
    /// Hash of the plan, as in the weight file; empty without one.
    pub plan_hash: String,
    /// SHA-256 of the input files, by name.
    pub inputs: BTreeMap<String, String>,
    /// SHA-256 of the package's files, by path.
    pub outputs: BTreeMap<String, String>,
    /// Licence texts of the checkpoint, by the file that they are from; absent when there are none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub licenses: BTreeMap<String, String>,
}

impl Manifest {
    pub(super) fn new(
        about: About<'_>,
        files: &Files,
        weights: &Path,
    ) -> Result<Self, PackageError> {
        let (name, target) = (&about.info.name, &about.info.target);
        let plan_hash = hex(&about.info.plan_hash);
        let mut manifest = Self::of_files(files, about.inputs.clone(), name, target, plan_hash);
        manifest.licenses = about.licenses.iter().cloned().collect();
        manifest
            .outputs
            .insert(WEIGHTS.to_owned(), hash_file(weights)?);
        Ok(manifest)
    }

    pub(super) fn of_files(
        files: &Files,
        inputs: BTreeMap<String, String>,
        name: &str,
        target: &str,
        plan_hash: String,
    ) -> Self {
        let hash = |(path, bytes): (&String, &Vec<u8>)| (path.clone(), hash_bytes(bytes));
        Self {
            tool: TOOL.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.to_owned(),
            target: target.to_owned(),
            plan_hash,
            inputs,
            outputs: files.iter().map(hash).collect(),
            licenses: BTreeMap::new(),
        }
    }

    /// Reads the manifest of a folder; `None` when there is none that gemc wrote.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        const LONGEST: u64 = 16 << 20;
        let mut text = String::new();
        let file = regular::open(path).ok()?;
        file.take(LONGEST).read_to_string(&mut text).ok()?;
        let manifest: Self = serde_json::from_str(&text).ok()?;
        (manifest.tool == TOOL).then_some(manifest)
    }

    /// Of the folder that a locked build is for.
    ///
    /// # Errors
    /// [`PackageError::Unlocked`] when it has none.
    pub fn locked(dir: &Path) -> Result<Self, PackageError> {
        Self::read(&dir.join(MANIFEST)).ok_or_else(|| PackageError::Unlocked {
            dir: dir.to_owned(),
        })
    }

    /// Whether this is the manifest that a folder is locked to.
    ///
    /// # Errors
    /// [`PackageError::Locked`], with what differs.
    pub(super) fn check(&self, locked: &Self, dir: &Path) -> Result<(), PackageError> {
        let facts = [
            ("gemc's version", &self.version, &locked.version),
            ("name", &self.name, &locked.name),
            ("target", &self.target, &locked.target),
            ("plan", &self.plan_hash, &locked.plan_hash),
        ];
        let facts = facts.into_iter().filter(|(_, ours, theirs)| ours != theirs);
        let mut differences: Vec<String> = facts.map(|(what, ..)| what.to_owned()).collect();
        for (ours, theirs) in [
            (&self.inputs, &locked.inputs),
            (&self.outputs, &locked.outputs),
        ] {
            let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
            let differing = names
                .into_iter()
                .filter(|name| ours.get(*name) != theirs.get(*name));
            differences.extend(differing.cloned());
        }
        differences.dedup();
        match differences.as_slice() {
            [] => Ok(()),
            _ => Err(PackageError::Locked {
                dir: dir.to_owned(),
                differences: differences.join(", "),
            }),
        }
    }

    /// The text of the file.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("strings and maps of strings");
        text.push('\n');
        text
    }
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn hash_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file in hexadecimal.
///
/// # Errors
/// [`PackageError::Io`].
pub fn hash_file(path: &Path) -> Result<String, PackageError> {
    let digest = digest_of(path).map_err(PackageError::io(path))?;
    Ok(hex(&digest))
}
