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

    fn mapped(&self, bytes: &[u8]) -> io::Result<PlaneBytes> {
        let length = bytes.len() as u64;
        let offset = {
            let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            let offset = *end;
            *end += length.next_multiple_of(ALIGNMENT);
            offset
        };
        self.file.write_all_at(bytes, offset)?;
        let mut options = MmapOptions::new();
        options.offset(offset).len(bytes.len());
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
}
