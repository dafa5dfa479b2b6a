//! A weight file inside another file, an APK or a program -> [`Weights`]: mapped where its body lands on 64 bytes, else
//! read into memory that is aligned so.
//!
//! Invariant: nothing is mapped or reserved before the part is known to lie in the file.

use std::fs::File;
use std::io;

use alloc::format;
use alloc::string::String;

use super::{Bytes, Weights};
use crate::error::{Error, Result};
use crate::file::{FIXED_BYTES, check_fixed};
#[cfg(feature = "mmap")]
use crate::memory::BUFFER_ALIGN;
use crate::memory::Buffer;

impl Weights {
    /// Opens a weight file that is `len` bytes of another file from byte `offset` on, such as an entry of an APK that is
    /// stored without compression. Checks its header, as [`Weights::open`] does, and the same holds for a file that
    /// changes. The file may be closed afterwards; where it was being read from (its cursor) does not change.
    ///
    /// With feature `mmap` it is mapped where `offset` is a multiple of 64, for that is what kernels need of its
    /// body. Otherwise it is read in one piece, which [`Weights::warning`] tells.
    ///
    /// # Errors
    /// [`Error::WeightFile`] for a part that is not within the file, or no weight file; [`Error::Io`],
    /// [`Error::Memory`]. Each names the part.
    pub fn open_at(file: &File, offset: u64, len: u64) -> Result<Self> {
        Self::part(
            file,
            offset,
            len,
            format!("at byte {offset} of another file"),
        )
    }

    /// [`Weights::open_at`], called `name` in errors.
    pub(crate) fn part(file: &File, offset: u64, len: u64, name: String) -> Result<Self> {
        let opened = Part { file, offset, len }.open(&name)?;
        Ok(Self {
            file: Some(name),
            ..opened
        })
    }
}

/// Bytes of a file.
struct Part<'a> {
    file: &'a File,
    offset: u64,
    len: u64,
}

impl Part<'_> {
    fn open(&self, name: &str) -> Result<Weights> {
        let io = |source| Error::Io {
            path: String::from(name),
            source,
        };
        let about = self.file.metadata().map_err(io)?;
        if !about.is_file() {
            let what = "is in no regular file; allowed: regular files";
            return Err(io(io::Error::new(io::ErrorKind::InvalidInput, what)));
        }
        self.check(about.len()).map_err(|e| e.of_file(name))?;
        let mut fixed = [0; FIXED_BYTES];
        let start = FIXED_BYTES.min(usize::try_from(self.len).unwrap_or(FIXED_BYTES));
        read_at(self.file, &mut fixed[..start], self.offset).map_err(io)?;
        if start == FIXED_BYTES {
            // Before memory is reserved: what is no weight file may be of any size.
            check_fixed(&fixed, self.len).map_err(|e| e.of_file(name))?;
        }
        let bytes = match self.mapped() {
            Some(mapped) => mapped.map_err(io)?,
            None => self.read().map_err(|e| match e {
                Failure::Io(e) => io(e),
                Failure::Memory(e) => e,
            })?,
        };
        let weights = Weights::checked(bytes).map_err(|e| e.of_file(name))?;
        Ok(Weights {
            misplaced: self.misplaced(),
            ..weights
        })
    }

    fn check(&self, file: u64) -> Result<()> {
        let Self { offset, len, .. } = *self;
        match offset.checked_add(len) {
            Some(end) if end <= file => Ok(()),
            _ => Err(Error::WeightFile(format!(
                "would be {len} bytes from byte {offset} on of a file of {file}: it lies outside"
            ))),
        }
    }

    /// The offset, if it is why the part is not mapped.
    #[cfg(feature = "mmap")]
    fn misplaced(&self) -> Option<u64> {
        // The body begins at a multiple of 16 KiB in the part, and pages are aligned at more than 64 bytes.
        (!self.offset.is_multiple_of(BUFFER_ALIGN as u64)).then_some(self.offset)
    }

    #[cfg(not(feature = "mmap"))]
    #[allow(clippy::unused_self, reason = "the other one has a use for it")]
    fn misplaced(&self) -> Option<u64> {
        None
    }

    #[cfg(feature = "mmap")]
    fn mapped(&self) -> Option<io::Result<Bytes>> {
        if self.misplaced().is_some() {
            return None;
        }
        let Ok(len) = usize::try_from(self.len) else {
            return Some(Err(io::ErrorKind::FileTooLarge.into()));
        };
        let mut options = memmap2::MmapOptions::new();
        options.offset(self.offset).len(len);
        // SAFETY: the map is read-only and within the file, as was checked; that nobody changes the file meanwhile is the
        // documented duty of the caller, as for every mapped file.
        Some(unsafe { options.map(self.file) }.map(Bytes::Mapped))
    }

    #[cfg(not(feature = "mmap"))]
    #[allow(clippy::unused_self, reason = "the other one has a use for it")]
    fn mapped(&self) -> Option<io::Result<Bytes>> {
        None
    }

    fn read(&self) -> Result<Bytes, Failure> {
        let mut buffer = Buffer::zeroed(self.len).map_err(Failure::Memory)?;
        read_at(self.file, buffer.as_mut_slice(), self.offset).map_err(Failure::Io)?;
        Ok(Bytes::Owned(buffer))
    }
}

enum Failure {
    Io(io::Error),
    Memory(Error),
}

/// Fills a buffer from a place in a file, without moving the cursor that other users of the file share.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills a buffer from a place in a file. On Windows this moves the cursor, which nobody here relies on.
#[cfg(windows)]
pub(crate) fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt as _;
    while !buffer.is_empty() {
        match file.seek_read(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                buffer = &mut buffer[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Fills a buffer from a place in a file, by its cursor: there is no other way on this system.
#[cfg(not(any(unix, windows)))]
pub(crate) fn read_at(mut file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}

#[cfg(all(test, feature = "mmap"))]
mod tests {
    use std::io::{Cursor, Seek as _, Write as _};

    use super::*;
    use crate::file::{Header, Record, Writer, name_hash};

    fn weight_file() -> Vec<u8> {
        let header = Header {
            plan_hash: [7; 32],
            body_bytes: 64,
        };
        let record = Record {
            name_hash: name_hash("a"),
            codec: 0,
            layout: 0,
            offset: 0,
            bytes: 64,
        };
        let to = Cursor::new(Vec::new());
        let mut writer = Writer::new(to, header, vec![record]).expect("a record");
        writer.write(0, &[5; 64]).expect("in order");
        writer.finish().expect("complete").into_inner()
    }

    /// The weight file in another, with bytes before and behind it.
    fn inside(before: usize) -> (File, u64) {
        let file = weight_file();
        let mut whole = tempfile::tempfile().expect("a file");
        for bytes in [&vec![0xee; before][..], &file, &[0xee; 99]] {
            whole.write_all(bytes).expect("space");
        }
        (whole, file.len() as u64)
    }

    #[test]
    fn a_part_is_mapped_where_its_body_lands_on_64_bytes_and_read_elsewhere() {
        for (before, mapped) in [
            (0, true),
            (64, true),
            (4096 + 192, true),
            (65_536, true),
            (1, false),
            (32, false),
            (4097, false),
        ] {
            let (mut file, len) = inside(before);
            let weights = Weights::open_at(&file, before as u64, len).expect("sound");
            assert_eq!(
                file.stream_position().expect("a cursor"),
                before as u64 + len + 99
            );
            drop(file);
            assert_eq!(weights.body(), [5; 64], "at {before}");
            assert!(weights.body().as_ptr().addr().is_multiple_of(BUFFER_ALIGN));
            assert_eq!(
                matches!(weights.bytes, Bytes::Mapped(_)),
                mapped,
                "at {before}"
            );
            let warning = weights.warning();
            assert_eq!(warning.is_none(), mapped, "{warning:?}");
            assert!(warning.is_none_or(|w| w.contains(&format!("byte {before} "))));
            weights.verify().expect("undamaged");
            assert_eq!(weights.file_bytes(), len);
        }
    }

    #[test]
    fn a_part_outside_its_file_is_an_error_before_memory_is_reserved() {
        let (file, len) = inside(64);
        let end = file.metadata().expect("open").len();
        for (offset, len) in [
            (64, end),
            (end, 1),
            (end + 1, 0),
            (u64::MAX, 1),
            (1, u64::MAX),
            (64, u64::MAX),
        ] {
            let error = Weights::open_at(&file, offset, len).expect_err("outside");
            let words = error.to_string();
            assert!(matches!(error, Error::WeightFile(_)), "{words}");
            assert!(words.contains("lies outside"), "{words}");
        }
        // Within the file, and no weight file: at a wrong place, too short, empty.
        for (offset, len) in [(63, len), (0, len), (64, len - 1), (64, 20), (end, 0)] {
            let error = Weights::open_at(&file, offset, len).expect_err("none");
            assert!(matches!(error, Error::WeightFile(_)), "{error}");
            assert!(error.to_string().contains("of another file"), "{error}");
        }
        #[cfg(unix)]
        {
            let device = File::open("/dev/zero").expect("there");
            let error = Weights::open_at(&device, 0, 4096).expect_err("endless");
            assert!(matches!(error, Error::Io { .. }), "{error}");
        }
    }
}
