//! A finished program and folders with models -> one file: the program with the models behind it, as
//! `gem_runtime::bundle` reads them.
//!
//! Nothing of the program itself changes. Models are compared with their digests before they are copied.

use std::collections::HashSet;
use std::fs::{File, Permissions};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use gem_runtime::bundle::{self, Bundle, Fault, Part, is_bundle};
use gem_runtime::regular;
use gem_runtime::storage::Weights;
use gem_runtime::text::TextFolder;
use object::FileKind;
use serde::Serialize;

use super::{MANIFEST, Manifest, WEIGHTS};
use crate::import::folder_name;
use crate::output::{Kind, OutputError, OutputFile, place_all};

/// What a bundle looks like: a program that has one already is never somebody's own work.
pub const BUNDLE: Kind = Kind {
    name: "a bundle",
    is: is_bundle,
};

/// Bytes by which the kind of a program is known.
const KNOWN_BY: u64 = 4096;

/// Permissions that a program passes on; those that make it run as somebody else stay behind.
const PASSED_ON: u32 = 0o777;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file cannot be read.
    #[error("{}: {}", path.display(), regular::why(source))]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program is none that models can be appended to.
    #[error("{}: {what}", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// Why, and what is allowed.
        what: String,
    },
    /// Files about text of a model.
    #[error("{}: {what}", path.display())]
    Text {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Two models have one name.
    #[error("two models are called `{0}`; give one another name, as in NAME=MODEL")]
    Twice(String),
    /// Weights that are damaged, an old bundle, or names that cannot be.
    #[error(transparent)]
    Runtime(#[from] gem_runtime::Error),
    /// The result cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// What was bundled.
#[derive(Debug, Serialize)]
pub struct Bundled {
    /// The file.
    pub output: String,
    /// Bytes of all of it.
    pub bytes: u64,
    /// Bytes of the program alone.
    pub program_bytes: u64,
    /// Where the models begin: a multiple of 64 KiB.
    pub payload: u64,
    /// The models.
    pub models: Vec<BundledModel>,
}

/// A model that was bundled.
#[derive(Debug, Serialize)]
pub struct BundledModel {
    /// What it is called.
    pub name: String,
    /// Bytes of its weight file.
    pub weight_bytes: u64,
    /// Names of its files about text.
    pub texts: Vec<String>,
}

/// A model on its way.
struct Model {
    name: String,
    weights: File,
    weight_bytes: u64,
    texts: Vec<(String, Vec<u8>)>,
}

/// Puts models behind a program. Each is a folder with `model.gemw`, or a weight file with its texts beside it; its name is
/// the one given, else the one in the folder's manifest, else the folder's. Models that the program carries already are left
/// out.
///
/// # Errors
/// [`BundleError`]; nothing is written then.
pub fn bundle(
    program: &Path,
    models: &[(Option<String>, PathBuf)],
    to: &OutputFile,
) -> Result<Bundled, BundleError> {
    let (mut file, program_bytes, permissions) = open_program(program)?;
    let models = models
        .iter()
        .map(|(name, path)| Model::open(name.as_deref(), path));
    let mut models: Vec<Model> = models.collect::<Result<_, _>>()?;
    let mut names = HashSet::new();
    if let Some(model) = models.iter().find(|model| !names.insert(&model.name)) {
        return Err(BundleError::Twice(model.name.clone()));
    }
    let (written, bytes) = to.write_with(Some(permissions), |out| {
        let copied = io::copy(&mut (&mut file).take(program_bytes), out);
        let copied = copied.map_err(|source| OutputError::Io {
            path: to.place().to_owned(),
            source,
        })?;
        if copied != program_bytes {
            return Err(not_a_program(program, "became shorter while it was read"));
        }
        append(program_bytes, &mut models, out)
    })?;
    place_all([written])?;
    let payload = Bundle::open(to.place())?.payload();
    Ok(Bundled {
        output: to.place().display().to_string(),
        bytes,
        program_bytes,
        payload,
        models: models.into_iter().map(Model::told).collect(),
    })
}

/// Writes the payload; bytes of the whole file.
fn append(program_bytes: u64, models: &mut [Model], out: &mut File) -> Result<u64, BundleError> {
    let mut contents: Vec<(&str, &str, u64, Box<dyn Read + '_>)> = Vec::new();
    for model in models {
        let Model {
            name,
            weights,
            weight_bytes,
            texts,
        } = model;
        let name: &str = name;
        contents.push((name, WEIGHTS, *weight_bytes, Box::new(weights)));
        contents.extend(texts.iter().map(|(file, bytes)| {
            let content: Box<dyn Read> = Box::new(&**bytes);
            (name, &**file, bytes.len() as u64, content)
        }));
    }
    let parts = contents
        .iter_mut()
        .map(|(model, name, bytes, content)| Part {
            model,
            name,
            bytes: *bytes,
            content: &mut **content,
        });
    Ok(bundle::write(
        program_bytes,
        &mut parts.collect::<Vec<_>>(),
        out,
    )?)
}

impl Model {
    fn open(name: Option<&str>, path: &Path) -> Result<Self, BundleError> {
        let (folder, file) = match path.is_dir() {
            true => (path, path.join(WEIGHTS)),
            false => (path.parent().unwrap_or(Path::new("")), path.to_owned()),
        };
        // What is copied was sound.
        Weights::open_checked(&file)?;
        let io = |source| BundleError::Io {
            path: file.clone(),
            source,
        };
        let weights = regular::open(&file).map_err(io)?;
        let weight_bytes = weights.metadata().map_err(io)?.len();
        let here = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        let texts = TextFolder::read(here).map_err(|wrong| BundleError::Text {
            path: here.to_owned(),
            what: wrong.to_string(),
        })?;
        let own = || match Manifest::read(&here.join(MANIFEST)) {
            Some(manifest) => manifest.name,
            None => folder_name(here),
        };
        Ok(Self {
            name: name.map_or_else(own, str::to_owned),
            weights,
            weight_bytes,
            texts: texts.into_files(),
        })
    }

    fn told(self) -> BundledModel {
        BundledModel {
            name: self.name,
            weight_bytes: self.weight_bytes,
            texts: self.texts.into_iter().map(|(name, _)| name).collect(),
        }
    }
}

/// A program's file at its start, its length without models that it carries, and what a copy is allowed to do.
fn open_program(path: &Path) -> Result<(File, u64, Permissions), BundleError> {
    let io = |source| BundleError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = regular::open(path).map_err(io)?;
    let about = file.metadata().map_err(io)?;
    let mut start = Vec::new();
    (&mut file)
        .take(KNOWN_BY)
        .read_to_end(&mut start)
        .map_err(io)?;
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    check_kind(&start).map_err(|what| not_a_program(path, what))?;
    let bytes = match Bundle::open(path) {
        Ok(bundle) => bundle.program_bytes(),
        Err(gem_runtime::Error::Bundle {
            fault: Fault::Absent,
            ..
        }) => about.len(),
        Err(error) => return Err(error.into()),
    };
    let permissions = Permissions::from_mode(about.mode() & PASSED_ON);
    Ok((file, bytes, permissions))
}

fn not_a_program(path: &Path, what: impl Into<String>) -> BundleError {
    BundleError::Program {
        path: path.to_owned(),
        what: what.into(),
    }
}

/// Whether a file that begins so is a program whose system does not mind what stands behind it.
fn check_kind(start: &[u8]) -> Result<(), &'static str> {
    const ALLOWED: &str = "is no program for Linux or Windows; allowed: an ELF or PE executable";
    match FileKind::parse(start) {
        Ok(FileKind::Elf32 | FileKind::Elf64) if is_executable(start) => Ok(()),
        Ok(FileKind::Pe32 | FileKind::Pe64) => Ok(()),
        Ok(FileKind::MachO32 | FileKind::MachO64 | FileKind::MachOFat32 | FileKind::MachOFat64) => {
            Err(
                "is a program for macOS, whose signature covers its whole file, so that nothing can be appended; ship \
             model.gemw beside it",
            )
        }
        _ => Err(ALLOWED),
    }
}

/// Whether an ELF file is linked: its type is ET_EXEC or ET_DYN, as position-independent programs have it.
fn is_executable(start: &[u8]) -> bool {
    let big_endian = start.get(5) == Some(&2);
    let field = start
        .get(16..18)
        .and_then(|field| <[u8; 2]>::try_from(field).ok());
    let read = match big_endian {
        true => u16::from_be_bytes,
        false => u16::from_le_bytes,
    };
    matches!(field.map(read), Some(2 | 3))
}
