//! Planes that memory has no room for -> a file without a name, mapped piece by piece: it goes when the process does.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::MmapOptions;

use crate::quantise::{PlaneBytes, Planes};

/// Where a piece may begin: a page of any machine.
const ALIGNMENT: u64 = 1 << 16;

/// The file.
#[derive(Debug)]
pub struct Spill {
    file: File,
    end: Mutex<u64>,
}

impl Spill {
    /// A new one in a folder.
    pub fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(folder)?,
            end: Mutex::default(),
        })
    }

    /// The same planes, in the file; in memory where that takes no more.
    pub fn keep(&self, planes: Planes) -> Planes {
        match self.mapped(&planes.bytes) {
            Ok(bytes) => Planes { bytes, ..planes },
            Err(_) => planes,
        }
    }

    /// Bytes of it so far.
    #[cfg(test)]
    pub fn bytes(&self) -> u64 {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mapped(&self, bytes: &[u8]) -> io::Result<PlaneBytes> {
        self.written(bytes.len(), |write| write(bytes))
    }

    /// So many bytes that `fill` hands over piece by piece, so that they are never in memory together.
    ///
    /// # Errors
    /// From the file, and where the pieces are not as long together.
    pub fn written(
        &self,
        length: usize,
        fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<PlaneBytes> {
        let offset = {
            let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            let offset = *end;
            *end += (length as u64).next_multiple_of(ALIGNMENT);
            offset
        };
        let mut done = 0;
        fill(&mut |piece| {
            if piece.len() > length - done {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            self.file.write_all_at(piece, offset + done as u64)?;
            done += piece.len();
            Ok(())
        })?;
        if done < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut options = MmapOptions::new();
        options.offset(offset).len(length);
        // SAFETY: the file has no name, so that nobody else has it; this piece of it was written above, and `end` lets nobody
        // write it again.
        let map = unsafe { options.map(&self.file) }?;
        Ok(PlaneBytes::Mapped(Arc::new(map)))
    }
}

#[cfg(test)]
mod tests {
    use gemc_format::{Codec, Inputs, Rounding, Shape};

    use super::*;
    use crate::quantise::quantise;

    #[test]
    fn gives_back_what_it_took() {
        let folder = tempfile::tempdir().expect("a folder");
        let spill = Spill::new(folder.path()).expect("a file");
        let planes = |seed: f32| {
            let shape = Shape {
                parts: vec![33],
                cols: 96,
            };
            let weights: Vec<f32> = (0..shape.weights())
                .map(|i| (i as f32 * seed).sin())
                .collect();
            quantise(
                &weights,
                &shape,
                Codec::N4,
                Inputs::Unknown(Rounding::Plain),
            )
        };
        let made: Vec<Planes> = (1..9).map(|i| planes(0.1 * i as f32)).collect();
        let kept: Vec<Planes> = made
            .iter()
            .map(|planes| spill.keep(planes.clone()))
            .collect();
        assert_eq!(made, kept);
        assert!(
            kept.iter()
                .all(|planes| matches!(planes.bytes, PlaneBytes::Mapped(_)))
        );
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
    }

    #[test]
    fn pieces_follow_each_other_and_are_as_long_as_was_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let spill = Spill::new(folder.path()).expect("a file");
        let of = |pieces: &[&[u8]]| {
            spill.written(5, |write| pieces.iter().try_for_each(|piece| write(piece)))
        };
        let first = of(&[b"ab", b"", b"cde"]).expect("as long");
        assert!(of(&[b"ab"]).is_err() && of(&[b"ab", b"cdef"]).is_err());
        let second = of(&[b"fghij"]).expect("as long");
        assert_eq!((&*first, &*second), (&b"abcde"[..], &b"fghij"[..]));
    }
}
