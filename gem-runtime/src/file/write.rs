//! Streams records into a weight file, in file order, padding between them; the digests are patched in at the end.
//!
//! Until [`Writer::finish`] the file has no valid header, so that one left by a killed run is refused.

use std::io::{Seek, SeekFrom, Write};

use super::encode::{encode, head_bytes};
use super::header::{Header, check_records};
use super::{Checksum, Record};
use crate::error::{Error, Result};

/// Writes a weight file.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    header: Header,
    records: Vec<Record>,
    /// Bytes of the body written so far.
    written: u64,
    /// Of the records before the one being written.
    digests: Vec<u64>,
    /// Of what is written of the record after those.
    sum: Checksum,
}

impl<W: Write + Seek> Writer<W> {
    /// Starts a file whose records are known beforehand: ascending, aligned, in the body.
    ///
    /// # Errors
    /// [`Error::WeightFile`] when they are not, [`Error::Io`] from `to`.
    pub fn new(mut to: W, header: Header, records: Vec<Record>) -> Result<Self> {
        check_records(records.iter().copied(), header.body_bytes)?;
        let mut names: Vec<u64> = records.iter().map(|r| r.name_hash).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::WeightFile(
                "would have two records of one name (or hash)".to_owned(),
            ));
        }
        // What does not fit the format is refused before anything is written.
        encode(&header, &records, &[])?;
        to.write_all(&vec![0; head_bytes(records.len())])
            .map_err(io)?;
        Ok(Self {
            to,
            header,
            records,
            written: 0,
            digests: Vec::new(),
            sum: Checksum::default(),
        })
    }

    /// Appends bytes of record `index`. The pieces of a record come in order, records come in order.
    ///
    /// # Errors
    /// [`Error::WeightFile`] for a record out of order or with more bytes than announced, [`Error::Io`].
    pub fn write(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        let Some(&record) = self.records.get(index) else {
            return Err(misuse("there is no record", index));
        };
        if self.written < self.end_of(index) {
            return Err(misuse("the one before is not complete at record", index));
        }
        self.complete(index);
        if self.written < record.offset {
            self.pad_to(record.offset)?;
        }
        if record.offset + record.bytes < self.written + bytes.len() as u64 {
            return Err(misuse("too many bytes in record", index));
        }
        self.append(bytes)?;
        self.sum.update(bytes);
        Ok(())
    }

    /// Takes the digests of all records before `index`; those without bytes may have been passed over.
    fn complete(&mut self, index: usize) {
        while self.digests.len() < index {
            let sum = std::mem::take(&mut self.sum);
            self.digests.push(sum.finish());
        }
    }

    /// Completes the file.
    ///
    /// # Errors
    /// [`Error::WeightFile`] when bytes of a record are missing, [`Error::Io`].
    pub fn finish(mut self) -> Result<W> {
        if self.written < self.end_of(self.records.len()) {
            return Err(misuse(
                "bytes are missing of record",
                self.records.len() - 1,
            ));
        }
        self.complete(self.records.len());
        self.pad_to(self.header.body_bytes)?;
        let head = encode(&self.header, &self.records, &self.digests)?;
        self.to.rewind().map_err(io)?;
        self.to.write_all(&head).map_err(io)?;
        self.to.seek(SeekFrom::End(0)).map_err(io)?;
        self.to.flush().map_err(io)?;
        Ok(self.to)
    }

    /// Where the records before `index` end; those without bytes need nothing to be written.
    fn end_of(&self, index: usize) -> u64 {
        let mut before = self.records[..index].iter();
        let last = before.rfind(|record| record.bytes > 0);
        last.map_or(0, |record| record.offset + record.bytes)
    }

    fn pad_to(&mut self, offset: u64) -> Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        while self.written < offset {
            let bytes = (offset - self.written).min(ZEROS.len() as u64);
            self.append(&ZEROS[..bytes as usize])?;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).map_err(io)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

fn io(source: std::io::Error) -> Error {
    Error::Io {
        path: "weight file".to_owned(),
        source,
    }
}

fn misuse(what: &str, index: usize) -> Error {
    Error::WeightFile(format!("cannot be written: {what} {index}"))
}
