//! Where the weights are: a mapped file, memory of our own, or the program itself -> one aligned, checked body.

use alloc::string::String;
use core::ops::Range;

use crate::error::{Error, Result};
use crate::file::WeightFile;
use crate::memory::{BUFFER_ALIGN, Buffer};

/// Gives embedded bytes the alignment that weights need:
/// `static W: &Aligned<[u8]> = &Aligned(*include_bytes!("model.gemw"));`
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Aligned<T: ?Sized>(pub T);

/// The weights of a model, ready to be read by kernels.
#[derive(Debug)]
pub struct Weights {
    bytes: Bytes,
    body: Range<usize>,
    target: String,
    plan_hash: [u8; 32],
}

#[derive(Debug)]
enum Bytes {
    #[cfg(feature = "mmap")]
    Mapped(memmap2::Mmap),
    Owned(Buffer),
    Embedded(&'static [u8]),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            #[cfg(feature = "mmap")]
            Self::Mapped(map) => map,
            Self::Owned(buffer) => buffer.as_slice(),
            Self::Embedded(bytes) => bytes,
        }
    }
}

impl Weights {
    /// Opens a weight file: mapped with feature `mmap`, else read in one piece.
    ///
    /// The file must not be changed while it is in use.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::WeightFile`], [`Error::Memory`].
    #[cfg(feature = "std")]
    pub fn open(path: &std::path::Path) -> Result<Self> {
        #[cfg(feature = "mmap")]
        return Self::map(path);
        #[cfg(not(feature = "mmap"))]
        Self::read(path)
    }

    /// Maps a weight file: pages are read when a kernel first touches them, and can be dropped by the system.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::WeightFile`].
    #[cfg(feature = "mmap")]
    pub fn map(path: &std::path::Path) -> Result<Self> {
        let file = crate::regular::open(path).map_err(|e| Error::io(path, e))?;
        // SAFETY: the map is read-only; that nobody changes the file meanwhile is the documented duty of the caller, as
        // for every mapped file.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
        Self::checked(Bytes::Mapped(map))
    }

    /// Reads a weight file in one piece.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::WeightFile`], [`Error::Memory`].
    #[cfg(feature = "std")]
    pub fn read(path: &std::path::Path) -> Result<Self> {
        use std::io::Read as _;
        let io = |e| Error::io(path, e);
        let mut file = crate::regular::open(path).map_err(io)?;
        let mut buffer = Buffer::zeroed(file.metadata().map_err(io)?.len())?;
        file.read_exact(buffer.as_mut_slice()).map_err(io)?;
        Self::checked(Bytes::Owned(buffer))
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

    fn checked(bytes: Bytes) -> Result<Self> {
        let file = WeightFile::parse(bytes.as_slice())?;
        if !file.body().as_ptr().addr().is_multiple_of(BUFFER_ALIGN) {
            return Err(Error::Program("the weights are not aligned in memory"));
        }
        let (body, target, plan_hash) =
            (file.body_range(), file.target().into(), *file.plan_hash());
        Ok(Self {
            body,
            target,
            plan_hash,
            bytes,
        })
    }

    /// What kernels read; aligned at 64 bytes.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes.as_slice()[self.body.clone()]
    }

    /// Name of the device the weights are laid out for.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Hash of the plan they were made by.
    #[must_use]
    pub const fn plan_hash(&self) -> &[u8; 32] {
        &self.plan_hash
    }

    /// Compares the weights with their checksum; reads all of them.
    ///
    /// # Errors
    /// [`Error::WeightFile`] when they are damaged.
    pub fn verify(&self) -> Result<()> {
        WeightFile::parse(self.bytes.as_slice())?.verify_body()
    }
}
