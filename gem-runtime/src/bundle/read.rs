//! A program's file -> its [`Bundle`]: which models it carries, and their weights, mapped, and texts.

use std::fs::File;
use std::io;
use std::path::Path;

use super::index::{Entry, Head, decode};
use super::{ALIGN, Fault, HEAD_BYTES};
use crate::error::{Error, Result};
use crate::file::Checksum;
use crate::model::WEIGHTS;
use crate::regular;
use crate::storage::{Weights, part::read_at};
#[cfg(feature = "config")]
use crate::text::TextFolder;

/// Bytes of one text file at most, as of files beside the weights.
const LONGEST_TEXT: u64 = 256 << 20;

/// Bytes that are read at once to compare a file with its digest.
const PIECE: usize = 1 << 20;

/// The models that a program carries.
///
/// ```
/// use gem_runtime::Error;
/// use gem_runtime::bundle::Bundle;
///
/// // This program was not made by `gemc bundle`.
/// let error = Bundle::of_this_program().unwrap_err();
/// assert!(matches!(error, Error::Bundle { .. }), "{error}");
/// ```
#[derive(Debug)]
pub struct Bundle {
    file: File,
    /// What the file is called in errors.
    program: String,
    program_bytes: u64,
    /// Where the payload begins in the file.
    payload: u64,
    entries: Vec<Entry>,
}

impl Bundle {
    /// The models of the program that runs. On Linux it is opened as what runs, by `/proc/self/exe`, so that it does not matter
    /// whether its file was renamed, replaced or deleted since it was started; elsewhere by its path.
    ///
    /// # Errors
    /// [`Error::Bundle`].
    pub fn of_this_program() -> Result<Self> {
        Self::opened(this_program(), "this program".to_owned())
    }

    /// The models of a program's file.
    ///
    /// # Errors
    /// [`Error::Bundle`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::opened(regular::open(path), path.display().to_string())
    }

    fn opened(file: io::Result<File>, program: String) -> Result<Self> {
        let read = || -> Result<_, Fault> {
            let file = file.map_err(Fault::Unreadable)?;
            let found = find(&file)?;
            Ok((file, found))
        };
        match read() {
            Err(fault) => Err(Error::Bundle { program, fault }),
            Ok((file, (payload, head, entries))) => Ok(Self {
                file,
                program,
                program_bytes: head.program_bytes,
                payload,
                entries,
            }),
        }
    }

    /// Names of the models, in the order they were bundled in.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        let weights = self.entries.iter().filter(|entry| entry.name == WEIGHTS);
        weights.map(|entry| &*entry.model)
    }

    /// The model for a program that calls its own one `name`: the only one there is, whatever it is called, else the one
    /// of this name.
    ///
    /// # Errors
    /// [`Error::Bundle`] with the names that there are.
    pub fn model(&self, name: &str) -> Result<&str> {
        let mut models = self.models();
        match (models.next(), models.next()) {
            (Some(only), None) => Ok(only),
            _ => self.entry(name, WEIGHTS).map(|entry| &*entry.model),
        }
    }

    /// Bytes of the program, without what was appended to it.
    #[must_use]
    pub const fn program_bytes(&self) -> u64 {
        self.program_bytes
    }

    /// Where the payload begins in the file: a multiple of 64 KiB.
    #[must_use]
    pub const fn payload(&self) -> u64 {
        self.payload
    }

    /// The weights of a model, mapped with feature `mmap`; checked as by [`Weights::open`].
    ///
    /// # Errors
    /// [`Error::Bundle`] for a name that is none, and as of [`Weights::open_at`].
    pub fn weights(&self, model: &str) -> Result<Weights> {
        let entry = self.entry(model, WEIGHTS)?;
        let name = format!("{} (model `{model}`)", self.program);
        Weights::part(&self.file, self.payload + entry.offset, entry.bytes, name)
    }

    /// The files about text of a model, compared with their digests: name, contents.
    ///
    /// # Errors
    /// [`Error::Bundle`] for a model that is none, or a file that is damaged; [`Error::Io`].
    pub fn texts(&self, model: &str) -> Result<Vec<(String, Vec<u8>)>> {
        self.entry(model, WEIGHTS)?;
        let own = |entry: &&Entry| entry.model == model && entry.name != WEIGHTS;
        let read = |entry: &Entry| Ok((entry.name.clone(), self.text_file(entry)?));
        self.entries.iter().filter(own).map(read).collect()
    }

    /// [`Bundle::texts`] as the files of a folder.
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "config")]
    pub fn text_folder(&self, model: &str) -> Result<TextFolder> {
        self.texts(model).map(TextFolder::of)
    }

    fn text_file(&self, entry: &Entry) -> Result<Vec<u8>> {
        if entry.bytes > LONGEST_TEXT {
            let what = format!("`{}` is longer than {LONGEST_TEXT} bytes", entry.name);
            return Err(self.fault(Fault::Damaged(what)));
        }
        // It lies in the file, so that no more is reserved than there is.
        let mut bytes = vec![0; entry.bytes as usize];
        self.read(&mut bytes, entry.offset)?;
        self.compare(entry, Checksum::of(&bytes))?;
        Ok(bytes)
    }

    /// Compares every file with its digest; reads all of them.
    ///
    /// # Errors
    /// [`Error::Bundle`] naming the first that is damaged; [`Error::Io`].
    pub fn verify(&self) -> Result<()> {
        let mut piece = vec![0; PIECE];
        for entry in &self.entries {
            let mut sum = Checksum::default();
            let mut done = 0;
            while done < entry.bytes {
                let length = (entry.bytes - done).min(PIECE as u64);
                let piece = &mut piece[..length as usize];
                self.read(piece, entry.offset + done)?;
                sum.update(piece);
                done += length;
            }
            self.compare(entry, sum.finish())?;
        }
        Ok(())
    }

    fn read(&self, to: &mut [u8], offset: u64) -> Result<()> {
        let read = read_at(&self.file, to, self.payload + offset);
        read.map_err(|source| Error::Io {
            path: self.program.clone(),
            source,
        })
    }

    fn compare(&self, entry: &Entry, digest: u64) -> Result<()> {
        if digest == entry.digest {
            return Ok(());
        }
        let Entry { model, name, .. } = entry;
        let what = format!("`{name}` of model `{model}` differs from its checksum");
        Err(self.fault(Fault::Damaged(what)))
    }

    fn entry(&self, model: &str, name: &str) -> Result<&Entry> {
        let mut entries = self.entries.iter();
        let found = entries.find(|entry| entry.model == model && entry.name == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.models().collect();
            self.fault(Fault::Model {
                asked: model.to_owned(),
                known: known.join(", "),
            })
        })
    }

    fn fault(&self, fault: Fault) -> Error {
        Error::Bundle {
            program: self.program.clone(),
            fault,
        }
    }
}

/// The file that runs, whatever became of its name.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn this_program() -> io::Result<File> {
    File::open("/proc/self/exe")
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn this_program() -> io::Result<File> {
    regular::open(&std::env::current_exe()?)
}

/// Where the payload begins, and what is in it.
fn find(file: &File) -> Result<(u64, Head, Vec<Entry>), Fault> {
    let length = file.metadata().map_err(Fault::Unreadable)?.len();
    let mut at = ALIGN;
    while at
        .checked_add(HEAD_BYTES as u64)
        .is_some_and(|end| end <= length)
    {
        let mut bytes = [0; HEAD_BYTES];
        read_at(file, &mut bytes, at).map_err(Fault::Unreadable)?;
        if let Some(head) = Head::decode(&bytes, at) {
            let head = head?;
            let entries = entries(file, at, &head, length - at)?;
            return Ok((at, head, entries));
        }
        at += ALIGN;
    }
    Err(Fault::Absent)
}

/// The files of a payload of which `found` bytes are there.
fn entries(file: &File, at: u64, head: &Head, found: u64) -> Result<Vec<Entry>, Fault> {
    let needed = head.payload_bytes;
    if needed > found {
        return Err(Fault::Truncated { needed, found });
    }
    // The head has bounded it.
    let mut index = vec![0; head.index_bytes as usize];
    read_at(file, &mut index, at + HEAD_BYTES as u64).map_err(Fault::Unreadable)?;
    if Checksum::of(&index) != head.index_digest {
        return Err(Fault::damaged("their index differs from its checksum"));
    }
    decode(head, &index)
}

/// Whether models were bundled with a program that begins with these bytes.
#[must_use]
pub fn is_bundle(bytes: &[u8]) -> bool {
    let chunks = bytes
        .chunks(ALIGN as usize)
        .zip((0..).step_by(ALIGN as usize));
    let mut heads = chunks.filter_map(|(chunk, at)| Some((chunk.first_chunk()?, at)));
    heads.any(|(head, at)| Head::decode(head, at).is_some())
}

/// Reads whatever is given as head and index; for fuzzing.
pub fn fuzz_bundle(bytes: &[u8]) {
    let Some((head, index)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return;
    };
    let _ = Head::decode(head, ALIGN);
    let any = Head {
        records: u32::from(head[0]),
        index_bytes: index.len() as u64,
        payload_bytes: u64::from(u32::MAX),
        program_bytes: 1,
        index_digest: 0,
    };
    let _ = decode(&any, index);
}
