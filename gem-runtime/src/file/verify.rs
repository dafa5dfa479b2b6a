//! The body of a weight file -> every part of it that is not as it was written: records by their digests, padding by being
//! zero. With feature `threads` several threads share the work.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use super::header::{WeightFile, damaged};
use super::{Checksum, Record};
use crate::error::Result;

/// A part of a weight file's body that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The record with its place among the records; `None` for padding, which no kernel reads.
    pub record: Option<(usize, Record)>,
    /// Where it is, in bytes of the file.
    pub range: Range<u64>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.record {
            None => f.write_str("padding")?,
            Some((index, record)) => {
                let hash = record.name_hash;
                write!(f, "record {index} (name hash {hash:016x})")?;
            }
        }
        write!(
            f,
            " at bytes {} to {} of the file",
            self.range.start, self.range.end
        )
    }
}

impl WeightFile<'_> {
    /// Compares all of the body with what the header says of it.
    ///
    /// # Errors
    /// [`Error::WeightFile`](crate::Error::WeightFile) with the first part that is damaged.
    pub fn verify_body(&self) -> Result<()> {
        let damage = self.damage();
        let Some(first) = damage.first() else {
            return Ok(());
        };
        let more = match damage.len() {
            1 => String::new(),
            n => format!(", and {} more", n - 1),
        };
        Err(damaged(format!(
            "is damaged: {first}{more}; copy or build it again"
        )))
    }

    /// Everything in the body that is damaged, in file order; reads all of it.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        let parts = self.records().len() + 1;
        #[cfg(feature = "threads")]
        return shared::damage(self, parts);
        #[cfg(not(feature = "threads"))]
        (0..parts).flat_map(|part| self.damage_in(part)).collect()
    }

    /// What is damaged in a part of the body: a record and the padding before it; after the last one, the padding alone.
    fn damage_in(&self, part: usize) -> impl Iterator<Item = Damage> {
        let before = part.checked_sub(1).and_then(|i| self.record(i));
        let record = self.record(part);
        let gap = before.map_or(0, |r| r.offset + r.bytes)
            ..record.map_or(self.body().len() as u64, |r| r.offset);
        let padded = self.slice(&gap).iter().all(|byte| *byte == 0);
        let padding = (!padded).then(|| self.damaged_at(None, gap));
        let record = record.and_then(|record| {
            let range = record.offset..record.offset + record.bytes;
            let sound = self.digest(part) == Some(Checksum::of(self.slice(&range)));
            (!sound).then(|| self.damaged_at(Some((part, record)), range))
        });
        padding.into_iter().chain(record)
    }

    /// Bytes of the body; records and what lies between them are inside, as `parse` has checked.
    fn slice(&self, range: &Range<u64>) -> &[u8] {
        &self.body()[range.start as usize..range.end as usize]
    }

    fn damaged_at(&self, record: Option<(usize, Record)>, range: Range<u64>) -> Damage {
        let body = self.body_range().start as u64;
        Damage {
            record,
            range: body + range.start..body + range.end,
        }
    }
}

#[cfg(feature = "threads")]
mod shared {
    //! Parts of a body to threads, each taking the next part that nobody has.

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, PoisonError};
    use std::thread;

    use super::{Damage, WeightFile};

    /// More threads wait for memory.
    const MOST_THREADS: usize = 16;
    /// A thread is worth starting for this many bytes.
    const BYTES_PER_THREAD: usize = 16 << 20;
    /// Hashing needs next to none.
    const STACK: usize = 128 << 10;

    pub(super) fn damage(file: &WeightFile<'_>, parts: usize) -> Vec<Damage> {
        let machine = thread::available_parallelism().map_or(1, usize::from);
        let useful = file.body().len() / BYTES_PER_THREAD;
        damage_by(machine.min(useful).min(MOST_THREADS), file, parts)
    }

    /// As many threads as asked for, this one included, or as can be had.
    fn damage_by(threads: usize, file: &WeightFile<'_>, parts: usize) -> Vec<Damage> {
        let next = AtomicUsize::new(0);
        let found = Mutex::new(Vec::new());
        let work = || {
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                if part >= parts {
                    return;
                }
                // Only what is damaged is worth the lock.
                for damage in file.damage_in(part) {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.push(damage);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                let thread = thread::Builder::new().stack_size(STACK);
                if thread.spawn_scoped(scope, work).is_err() {
                    // This thread does what no other can be had for.
                    break;
                }
            }
            work();
        });
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|damage| damage.range.start);
        found
    }

    #[cfg(test)]
    mod tests {
        use std::io::Cursor;

        use super::*;
        use crate::file::{Header, Record, Writer, name_hash};

        /// 40 records of 64 bytes, all from the fifth on damaged.
        fn damaged() -> Vec<u8> {
            let header = Header {
                plan_hash: [7; 32],
                body_bytes: 40 * 64,
            };
            let record = |i: u64| Record {
                name_hash: name_hash(&i.to_string()),
                codec: 0,
                layout: 0,
                offset: 64 * i,
                bytes: 64,
            };
            let records = (0..40).map(record).collect();
            let mut writer = Writer::new(Cursor::new(Vec::new()), header, records).expect("valid");
            for i in 0..40 {
                writer.write(i, &[i as u8; 64]).expect("in order");
            }
            let mut bytes = writer.finish().expect("complete").into_inner();
            let body = bytes.len() - 40 * 64;
            for record in bytes[body..].as_chunks_mut::<64>().0.iter_mut().skip(5) {
                record[9] ^= 0x80;
            }
            bytes
        }

        #[test]
        fn any_number_of_threads_finds_the_same() {
            let bytes = damaged();
            let file = WeightFile::parse(&bytes).expect("an intact header");
            for threads in [0, 1, 2, 3, 16] {
                let found = damage_by(threads, &file, 41);
                let records: Vec<_> = found.iter().filter_map(|d| d.record).collect();
                let places: Vec<_> = records.iter().map(|(place, _)| *place).collect();
                assert_eq!(places, (5..40).collect::<Vec<_>>(), "{threads} threads");
            }
        }
    }
}
