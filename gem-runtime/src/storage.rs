//! Where the weights are: a mapped file, memory of our own, or the program itself -> one aligned, checked body.
//!
//! Opening checks the header: that the file is whole in length, and which program it is for. It does not read the weights;
//! [`Weights::verify`] does, and compares them with their digests.

#[cfg(feature = "std")]
pub(crate) mod part;

use alloc::format;
use alloc::string::String;
use core::ops::Range;

use crate::error::{Error, Result};
use crate::file::WeightFile;
#[cfg(feature = "std")]
use crate::file::{FIXED_BYTES, check_fixed};
use crate::memory::{BUFFER_ALIGN, Buffer};

/// Gives embedded bytes the alignment that weights need:
/// `static W: &Aligned<[u8]> = &Aligned(*include_bytes!("model.gemw"));`
///
/// ```
/// use gem_runtime::storage::Aligned;
///
/// static BYTES: &Aligned<[u8]> = &Aligned([1, 2, 3]);
/// assert_eq!(BYTES.0.as_ptr().addr() % 64, 0);
/// ```
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Aligned<T: ?Sized>(pub T);

/// The weights of a model, ready to be read by kernels.
///
/// ```
/// use gem_runtime::storage::Weights;
///
/// /// What a caller does who does not trust the disk.
/// fn intact(path: &std::path::Path) -> gem_runtime::Result<Weights> {
///     let weights = Weights::open(path)?;
///     weights.verify()?;
///     Ok(weights)
/// }
///
/// assert!(Weights::copied(b"no weight file").is_err());
/// assert!(intact("no/file.gemw".as_ref()).is_err());
/// ```
#[derive(Debug)]
pub struct Weights {
    bytes: Bytes,
    body: Range<usize>,
    plan_hash: [u8; 32],
    layout: u64,
    /// The file they are from, as the caller named it.
    file: Option<String>,
    /// Where they begin in another file, if that is why they were read instead of mapped.
    misplaced: Option<u64>,
}

#[derive(Debug)]
enum Bytes {
    #[cfg(feature = "mmap")]
    Mapped(memmap2::Mmap),
    /// Pages of a file, some of which are changed for this process alone.
    #[cfg(feature = "mmap")]
    Changed(memmap2::MmapMut),
    Owned(Buffer),
    Embedded(&'static [u8]),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            #[cfg(feature = "mmap")]
            Self::Mapped(map) => map,
            #[cfg(feature = "mmap")]
            Self::Changed(map) => map,
            Self::Owned(buffer) => buffer.as_slice(),
            Self::Embedded(bytes) => bytes,
        }
    }
}

impl Weights {
    /// Opens a weight file: mapped with feature `mmap`, else read in one piece. Checks its header; the weights themselves
    /// are checked by [`Weights::open_checked`] or [`Weights::verify`].
    ///
    /// A mapped file must stay as it is while it is in use. Replacing it by another of its name (`rename`, as `gemc` does) is
    /// safe. Writing to it changes what the model computes; cutting it short, or a disk that fails, ends the process with
    /// SIGBUS when a kernel touches what is gone. Who cannot rule that out takes [`Weights::read`].
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::WeightFile`], [`Error::Memory`], each with the path.
    #[cfg(feature = "std")]
    pub fn open(path: &std::path::Path) -> Result<Self> {
        #[cfg(feature = "mmap")]
        return Self::map(path);
        #[cfg(not(feature = "mmap"))]
        Self::read(path)
    }

    /// Opens a weight file as [`Weights::open`] does, and reads all of it to compare it with its digests.
    ///
    /// # Errors
    /// As [`Weights::open`]; [`Error::WeightFile`] that says where it is damaged.
    #[cfg(feature = "std")]
    pub fn open_checked(path: &std::path::Path) -> Result<Self> {
        let weights = Self::open(path)?;
        weights.verify()?;
        Ok(weights)
    }

    /// Opens a weight file as [`Weights::open`] does, with patches applied in this order, for this process alone: the file stays as
    /// it is. Mapped, only pages that a patch changes take memory.
    ///
    /// # Errors
    /// As [`Weights::open`]; [`Error::Patch`] for the first patch that does not fit.
    #[cfg(feature = "std")]
    pub fn open_patched(path: &std::path::Path, patches: &[crate::patch::Patch]) -> Result<Self> {
        #[cfg(feature = "mmap")]
        let mut bytes = {
            let file = crate::regular::open(path).map_err(|e| Error::io(path, e))?;
            // SAFETY: as in `map`; what is written here is written to private copies of pages.
            let map = unsafe { memmap2::MmapOptions::new().map_copy(&file) };
            Bytes::Changed(map.map_err(|e| Error::io(path, e))?)
        };
        #[cfg(not(feature = "mmap"))]
        let mut bytes = Self::read(path)?.bytes;
        for patch in patches {
            let whole: &mut [u8] = match &mut bytes {
                #[cfg(feature = "mmap")]
                Bytes::Changed(map) => map,
                Bytes::Owned(buffer) => buffer.as_mut_slice(),
                #[cfg(feature = "mmap")]
                Bytes::Mapped(_) => unreachable!("mapped to be changed"),
                Bytes::Embedded(_) => unreachable!("opened as a file"),
            };
            patch.apply(whole).map_err(|e| of_file(path, e))?;
        }
        Self::from_file(path, bytes)
    }

    /// The bytes of the whole weight file.
    #[cfg(feature = "std")]
    pub(crate) fn file_contents(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Maps a weight file: pages are read when a kernel first touches them, and can be dropped by the system.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::WeightFile`], each with the path.
    #[cfg(feature = "mmap")]
    pub fn map(path: &std::path::Path) -> Result<Self> {
        let file = crate::regular::open(path).map_err(|e| Error::io(path, e))?;
        // SAFETY: the map is read-only; that nobody changes the file meanwhile is the documented duty of the caller, as
        // for every mapped file.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
        Self::from_file(path, Bytes::Mapped(map))
    }

    /// Reads a weight file in one piece, into memory of this process: what happens to the file afterwards does not matter.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::WeightFile`], each with the path; [`Error::Memory`].
    #[cfg(feature = "std")]
    pub fn read(path: &std::path::Path) -> Result<Self> {
        use std::io::Read as _;
        let io = |e| Error::io(path, e);
        let mut file = crate::regular::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut fixed = [0; FIXED_BYTES];
        if length >= FIXED_BYTES as u64 {
            file.read_exact(&mut fixed).map_err(io)?;
            // Before memory is reserved: a file of another kind may be of any size.
            check_fixed(&fixed, length).map_err(|e| of_file(path, e))?;
        }
        let mut buffer = Buffer::zeroed(length)?;
        let (start, rest) = buffer
            .as_mut_slice()
            .split_at_mut(FIXED_BYTES.min(length as usize));
        start.copy_from_slice(&fixed[..start.len()]);
        file.read_exact(rest).map_err(io)?;
        Self::from_file(path, Bytes::Owned(buffer))
    }

    /// Copies a weight file from memory.
    ///
    /// # Errors
    /// [`Error::WeightFile`], [`Error::Memory`].
    pub fn copied(bytes: &[u8]) -> Result<Self> {
        let mut buffer = Buffer::zeroed(bytes.len() as u64)?;
        buffer.as_mut_slice().copy_from_slice(bytes);
        Self::checked(Bytes::Owned(buffer))
    }

    /// Uses a weight file that is part of the program.
    ///
    /// # Errors
    /// [`Error::WeightFile`].
    pub fn embedded(bytes: &'static Aligned<[u8]>) -> Result<Self> {
        Self::checked(Bytes::Embedded(&bytes.0))
    }

    #[cfg(feature = "std")]
    fn from_file(path: &std::path::Path, bytes: Bytes) -> Result<Self> {
        let weights = Self::checked(bytes).map_err(|e| of_file(path, e))?;
        Ok(Self {
            file: Some(path.display().to_string()),
            ..weights
        })
    }

    fn checked(bytes: Bytes) -> Result<Self> {
        let file = WeightFile::parse(bytes.as_slice())?;
        if !file.body().as_ptr().addr().is_multiple_of(BUFFER_ALIGN) {
            return Err(Error::Program("the weights are not aligned in memory"));
        }
        let (body, plan_hash, layout) = (file.body_range(), *file.plan_hash(), file.layout());
        Ok(Self {
            body,
            plan_hash,
            layout,
            bytes,
            file: None,
            misplaced: None,
        })
    }

    /// What kernels read; aligned at 64 bytes.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes.as_slice()[self.body.clone()]
    }

    /// Hash of the plan they were made by.
    #[must_use]
    pub const fn plan_hash(&self) -> &[u8; 32] {
        &self.plan_hash
    }

    /// Says what stands where in the body: see [`layout_digest`](crate::file::layout_digest).
    #[must_use]
    pub const fn layout(&self) -> u64 {
        self.layout
    }

    /// The file they are from, as the caller named it; `None` for memory.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// What is worth telling a user or a packager about where the weights are: that they had to be read into memory because
    /// they are a part of another file that does not lie on 64 bytes. `None` otherwise.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let offset = self.misplaced?;
        let bytes = self.file_bytes();
        Some(format!(
            "the weights begin at byte {offset} of a file, which is no multiple of {BUFFER_ALIGN}, so that their {bytes} \
             bytes were read into memory instead of mapped; align them when the file is packed"
        ))
    }

    /// Bytes of the whole weight file, header included.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.bytes.as_slice().len() as u64
    }

    /// The whole weight file: its records and their digests.
    ///
    /// # Errors
    /// [`Error::WeightFile`] when it is no longer what was opened.
    pub fn as_file(&self) -> Result<WeightFile<'_>> {
        WeightFile::parse(self.bytes.as_slice()).map_err(|error| self.named(error))
    }

    /// Compares the weights with their digests; reads all of them, on several threads with feature `threads`.
    ///
    /// # Errors
    /// [`Error::WeightFile`], saying which file is damaged and where.
    pub fn verify(&self) -> Result<()> {
        let sound = self.as_file()?.verify_body();
        sound.map_err(|error| self.named(error))
    }

    /// An error about these weights, with their file.
    fn named(&self, error: Error) -> Error {
        match &self.file {
            Some(file) => error.of_file(file),
            None => error,
        }
    }
}

/// An error about the weight file at a path.
#[cfg(feature = "std")]
fn of_file(path: &std::path::Path, error: Error) -> Error {
    error.of_file(&path.display().to_string())
}
