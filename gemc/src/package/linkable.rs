//! An object file -> a folder that a C program links: the object or a library of it, `gem.h`, weights, texts, manifest.

use gem_runtime::ModelInfo;

use super::{About, Files, Manifest, PackageError, cargo};

/// Text of the header, the same for every model.
pub const HEADER: &str = gem_runtime::sources::HEADER;

/// Name of the header.
pub const HEADER_NAME: &str = "gem.h";

/// How the code is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `NAME.o`.
    Object,
    /// `libNAME.a`.
    Library,
}

/// What such a folder is made from.
#[derive(Clone, Debug)]
pub struct LinkableObject {
    /// Facts; the file gets its name from them.
    pub info: ModelInfo,
    /// How the code is wrapped.
    pub form: Form,
    /// Bytes of the object file.
    pub object: Vec<u8>,
    /// Tokenizer files and the like, copied as they are: name, contents.
    pub texts: Vec<(String, Vec<u8>)>,
    /// Licence texts of the checkpoint: name of the file, what it says.
    pub licenses: Vec<(String, String)>,
    /// SHA-256 of the files it was made from, by name, in hexadecimal.
    pub inputs: std::collections::BTreeMap<String, String>,
    /// What the manifest must be, where that is fixed.
    pub locked: Option<Manifest>,
}

impl LinkableObject {
    /// Name of the file with the code.
    #[must_use]
    pub fn file_name(&self) -> String {
        let name = cargo::crate_name(&self.info.name);
        match self.form {
            Form::Object => format!("{name}.o"),
            Form::Library => format!("lib{name}.a"),
        }
    }

    pub(super) fn about(&self) -> About<'_> {
        About {
            info: &self.info,
            inputs: &self.inputs,
            licenses: &self.licenses,
            locked: self.locked.as_ref(),
        }
    }

    /// All files but the weights and the manifest.
    ///
    /// # Errors
    /// When two parts claim one path, or the library cannot be made of the object.
    pub fn render(&self) -> Result<Files, PackageError> {
        let code = match self.form {
            Form::Object => self.object.clone(),
            Form::Library => library(&self.object, cargo::crate_name(&self.info.name))?,
        };
        let own = [
            (self.file_name(), code),
            (HEADER_NAME.to_owned(), HEADER.into()),
        ];
        let copied = self.texts.iter().cloned();
        let licenses = super::license_files(&self.licenses);
        super::files(own.into_iter().chain(copied).chain(licenses))
    }
}

/// An archive of one object, with its symbols, without dates or owners.
#[cfg(feature = "object")]
fn library(object: &[u8], name: String) -> Result<Vec<u8>, PackageError> {
    use ar_archive_writer::{
        ArchiveKind, DEFAULT_OBJECT_READER, NewArchiveMember, write_archive_to_stream,
    };

    // A Mach-O file begins with this number, and Apple's linker wants an archive of its own kind.
    const MACH_O: [u8; 4] = 0xfeed_facf_u32.to_le_bytes();
    let kind = if object.starts_with(&MACH_O) {
        ArchiveKind::Darwin
    } else {
        ArchiveKind::Gnu
    };
    let member = NewArchiveMember::new(object, &DEFAULT_OBJECT_READER, format!("{name}.o"));
    let mut library = std::io::Cursor::new(Vec::new());
    write_archive_to_stream(&mut library, &[member], kind, false, None).map_err(|e| {
        PackageError::Malformed {
            what: "library",
            reason: e.to_string(),
        }
    })?;
    Ok(library.into_inner())
}

#[cfg(not(feature = "object"))]
fn library(_: &[u8], _: String) -> Result<Vec<u8>, PackageError> {
    Err(PackageError::Malformed {
        what: "library",
        reason: "this gemc was built without object files".to_owned(),
    })
}
