//! A compiled checkpoint -> its package, and the folder of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gem_runtime::format::Rounding;

use super::{Manifest, Package, PackageError, Runtime, hash_file, write};
use crate::emit;
use crate::facts;
use crate::pack::{self, Origin};
use crate::pipeline::{Compiled, Loaded};
use crate::plan::BitPlan;
use crate::target::Target;

/// Files of a checkpoint that a package carries along.
const TEXTS: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
];

/// What a package is made from, all of one checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The model's name.
    pub name: &'a str,
    /// The checkpoint.
    pub loaded: &'a Loaded,
    /// Its program and the layout of its weights.
    pub compiled: &'a Compiled,
    /// The formats of its weights.
    pub plan: &'a BitPlan,
    /// The device.
    pub target: &'a Target,
    /// How weights are rounded.
    pub rounding: Rounding,
}

impl Parts<'_> {
    /// The package: generated sources, facts and texts. Reads all input files, for their hashes.
    ///
    /// # Errors
    /// [`PackageError::Io`] when a file of the checkpoint went away meanwhile.
    pub fn package(&self, runtime: Runtime) -> Result<Package, PackageError> {
        let Self {
            name,
            loaded,
            compiled,
            plan,
            target,
            ..
        } = *self;
        let dir = loaded.checkpoint.dir();
        let mut texts = Vec::new();
        for file in TEXTS {
            let path = dir.join(file);
            if path.exists() {
                let bytes = fs::read(&path).map_err(PackageError::io(&path))?;
                texts.push(((*file).to_owned(), bytes));
            }
        }
        Ok(Package {
            info: facts::model_info(name, loaded, plan, target, &compiled.layout),
            sources: emit::rust::program(&compiled.program, target.level),
            inputs: self.inputs(&texts)?,
            texts,
            runtime,
        })
    }

    fn inputs(
        &self,
        texts: &[(String, Vec<u8>)],
    ) -> Result<BTreeMap<String, String>, PackageError> {
        let checkpoint = &self.loaded.checkpoint;
        let tensors = checkpoint.weights().files().files();
        tensors
            .map(|(name, _)| name)
            .chain(texts.iter().map(|(name, _)| name.as_str()))
            .chain(["config.json"])
            .map(|name| Ok((name.to_owned(), hash_file(&checkpoint.dir().join(name))?)))
            .collect()
    }

    /// Writes the package to a folder, weights included. `progress` hears the bytes of weights done so far, of
    /// `compiled.layout.body_bytes()`.
    ///
    /// # Errors
    /// As of [`write`].
    pub fn write(
        &self,
        dir: &Path,
        package: &Package,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Manifest, PackageError> {
        let origin = Origin {
            target: self.target.name.clone(),
            plan_hash: self.plan.hash(),
        };
        write(dir, package, |file| {
            let Loaded { graph, checkpoint } = self.loaded;
            let layout = &self.compiled.layout;
            let weights = checkpoint.weights();
            pack::write(
                file,
                origin,
                layout,
                graph,
                weights,
                self.rounding,
                progress,
            )?;
            Ok(())
        })
    }
}
