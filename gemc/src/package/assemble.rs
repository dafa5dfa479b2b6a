//! A compiled checkpoint -> its package, and the folder of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;

use gem_runtime::text::Wrong;
use gem_runtime::{ModelInfo, hex};

use super::{
    Destination, Form, LinkableObject, Manifest, Package, PackageError, Runtime, WEIGHTS, write,
    write_linkable,
};
use crate::cache::{self, Key};
#[cfg(feature = "object")]
use crate::emit::cranelift::{
    Effort, Isa, compile,
    object::{self, Contents, ObjectError},
};
use crate::facts;
use crate::import::{license_files, licenses};
use crate::output::is_full;
use crate::pack::{self, Packer};
use crate::prepared::PreparedModel;

/// An error about a file of a folder.
pub(crate) fn in_folder(dir: &Path, wrong: Wrong) -> PackageError {
    PackageError::Io {
        path: dir.join(&wrong.file),
        source: std::io::Error::other(wrong.what),
    }
}

impl PreparedModel {
    /// The package: generated sources, facts and texts. Reads all input files, for their digests, unless the cache
    /// remembers those.
    ///
    /// # Errors
    /// [`PackageError::Io`] when a file of the checkpoint went away meanwhile.
    pub fn package(&self, runtime: Runtime) -> Result<Package, PackageError> {
        Ok(Package {
            info: self.info(),
            sources: gemc_kernels::rust::program(&self.compiled.program, self.target.level),
            better: self.better()?,
            kit: None,
            inputs: self.inputs()?,
            texts: self.texts(),
            licenses: self.licenses()?,
            runtime,
            locked: None,
        })
    }

    /// Facts about the model.
    #[must_use]
    pub fn info(&self) -> ModelInfo {
        let layout = &self.compiled.layout;
        facts::model_info(&self.name, &self.loaded, &self.plan, &self.target, layout)
    }

    /// The model as an object file whose symbols begin with `prefix`.
    ///
    /// # Errors
    /// When there is no machine code for the target.
    #[cfg(feature = "object")]
    pub fn object(&self, prefix: &str) -> Result<Vec<u8>, ObjectError> {
        let isa = Isa::of_target(&self.target, Effort::default())?;
        let machine_code = compile(&self.compiled.program, &isa, false)?;
        let contents = Contents {
            program: self.compiled.program.program(),
            info: &self.info(),
            target: &self.target,
            prefix,
        };
        object::object(&machine_code, &isa, &contents)
    }

    /// What a folder for C programs is made from, with an object file of this model. Reads as [`PreparedModel::package`].
    ///
    /// # Errors
    /// As there.
    pub fn linkable(&self, form: Form, object: Vec<u8>) -> Result<LinkableObject, PackageError> {
        Ok(LinkableObject {
            info: self.info(),
            form,
            object,
            inputs: self.inputs()?,
            texts: self.texts(),
            licenses: self.licenses()?,
            locked: None,
        })
    }

    /// The checkpoint's tokenizer and its settings: name, contents.
    #[must_use]
    pub fn texts(&self) -> Vec<(String, Vec<u8>)> {
        self.loaded.checkpoint.text_files().clone().into_files()
    }

    /// The checkpoint's licence texts: name of the file, what it says.
    ///
    /// # Errors
    /// [`PackageError::Io`].
    pub fn licenses(&self) -> Result<Vec<(String, String)>, PackageError> {
        let dir = self.loaded.checkpoint.dir();
        licenses(dir).map_err(|wrong| in_folder(dir, wrong))
    }

    fn inputs(&self) -> Result<BTreeMap<String, String>, PackageError> {
        let dir = self.loaded.checkpoint.dir();
        let licenses = license_files(dir).map_err(|wrong| in_folder(dir, wrong))?;
        // They change no weights, and so are no part of the key of these.
        let licenses = licenses.into_iter().map(|name| self.digest(&name));
        let digests = self.digests()?.into_iter().map(Ok).chain(licenses);
        let named = |(name, digest): (String, Key)| (name, hex(&digest));
        digests.map(|digest| digest.map(named)).collect()
    }

    /// SHA-256 of every file of the checkpoint that the result depends on.
    fn digests(&self) -> Result<Vec<(String, Key)>, PackageError> {
        let names = self.loaded.checkpoint.input_files();
        names.iter().map(|name| self.digest(name)).collect()
    }

    /// A file's name with its SHA-256.
    fn digest(&self, name: &str) -> Result<(String, Key), PackageError> {
        let path = self.loaded.checkpoint.dir().join(name);
        let digest = match &self.cache {
            Some(cache) => cache.digest(&path),
            None => cache::digest_of(&path),
        };
        Ok((name.to_owned(), digest.map_err(PackageError::io(&path))?))
    }

    /// Identifies the weight file and the texts beside it.
    ///
    /// # Errors
    /// [`PackageError::Io`] when a file of the checkpoint went away meanwhile.
    pub fn weights_key(&self) -> Result<Key, PackageError> {
        let digests = self.digests()?.into_iter();
        let checkpoint: Vec<Key> = digests.map(|(_, digest)| digest).collect();
        let layout = &self.compiled.layout;
        Ok(pack::key(&self.plan, layout, self.rounding, &checkpoint))
    }

    /// Writes the weight file. `progress` hears the bytes done so far, of `compiled.layout.body_bytes()`.
    ///
    /// # Errors
    /// From `to`.
    pub fn write_weights<W: Write + Seek>(
        &self,
        to: W,
        progress: &mut dyn FnMut(u64),
    ) -> Result<W, gem_runtime::Error> {
        let packer = Packer {
            graph: &self.loaded.graph,
            weights: self.loaded.checkpoint.weights(),
            rounding: self.rounding,
            plan: &self.plan,
            cache: self.cache.as_ref(),
        };
        packer.write(to, &self.compiled.layout, progress)
    }

    /// Writes the weight file to a file, which is called `name` in errors. Where that fills the disk, the cache makes
    /// room, and the file is written once more; `progress` then begins anew.
    ///
    /// # Errors
    /// From the system.
    pub(crate) fn write_weight_file(
        &self,
        to: &mut File,
        name: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), gem_runtime::Error> {
        let mut write = |to: &mut File| {
            let written = self.write_weights(BufWriter::new(to), progress);
            written.map(drop).map_err(|error| match error {
                gem_runtime::Error::Io { source, .. } => gem_runtime::Error::io(name, source),
                other => other,
            })
        };
        match (write(to), &self.cache) {
            (Err(gem_runtime::Error::Io { source, .. }), Some(cache)) if is_full(&source) => {
                cache.failed(&source);
                let emptied = to.set_len(0).and_then(|()| to.rewind());
                emptied.map_err(|e| gem_runtime::Error::io(name, e))?;
                write(to)
            }
            (written, _) => written,
        }
    }

    /// Writes the package to a folder, weights included; `progress` as in [`PreparedModel::write_weights`].
    ///
    /// # Errors
    /// As of [`write()`].
    pub fn write(
        &self,
        to: Destination,
        package: &Package,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Manifest, PackageError> {
        let name = to.target().join(WEIGHTS);
        let manifest = write(to, package, |file| {
            Ok::<(), PackageError>(self.write_weight_file(file, &name, progress)?)
        })?;
        if let Some(cache) = &self.cache {
            cache.trim();
        }
        Ok(manifest)
    }

    /// Writes a folder for C programs, weights included; `progress` as in [`PreparedModel::write_weights`].
    ///
    /// # Errors
    /// As of [`write()`].
    pub fn write_linkable(
        &self,
        to: Destination,
        linkable: &LinkableObject,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Manifest, PackageError> {
        let name = to.target().join(WEIGHTS);
        let manifest = write_linkable(to, linkable, |file| {
            Ok::<(), PackageError>(self.write_weight_file(file, &name, progress)?)
        })?;
        if let Some(cache) = &self.cache {
            cache.trim();
        }
        Ok(manifest)
    }
}
