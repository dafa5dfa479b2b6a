//! A patch and the bytes of a weight file -> whether it fits them, and the same bytes with the module replaced.

use std::ops::Range;

use super::{Patch, PatchFault};
use crate::error::{Error, Result};
use crate::file::{Checksum, FIXED_BYTES, HEAD_DIGEST_BYTES, RECORD_BYTES, WeightFile, record_at};

/// How weights and a patch that is for them stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The module is what the patch replaces.
    Applicable,
    /// The module is what the patch makes of it.
    Applied,
}

impl Patch {
    /// Whether these weights have the patch or could have it. Reads the module's part, and records that several modules share.
    ///
    /// # Errors
    /// [`Error::Patch`] when the patch is for other weights, or for another state of the module.
    pub fn state(&self, weights: &WeightFile<'_>) -> Result<State> {
        let wrong = |fault: PatchFault| Err(fault.of(&self.name()));
        let head = &self.head;
        if *weights.plan_hash() != head.plan_hash {
            return wrong(PatchFault::Plan);
        }
        if weights.layout() != head.layout {
            return wrong(PatchFault::Layout);
        }
        if rest_digest(weights, &self.parts)? != head.rest {
            return wrong(PatchFault::Rest);
        }
        match part_digest(weights, &self.pieces)? {
            found if found == head.before => Ok(State::Applicable),
            found if found == head.after => Ok(State::Applied),
            _ => wrong(PatchFault::Module(head.module.clone())),
        }
    }

    /// Puts the module into the bytes of a weight file; nothing is changed where that is refused.
    ///
    /// # Errors
    /// As [`Patch::state`]; [`Error::Patch`] when it is applied already.
    pub fn apply(&self, file: &mut [u8]) -> Result<()> {
        let weights = WeightFile::parse(file)?;
        self.check(&weights)?;
        let body = weights.body_range().start;
        let records: Vec<Range<usize>> = (weights.records())
            .map(|record| {
                body + record.offset as usize..body + (record.offset + record.bytes) as usize
            })
            .collect();
        let mut changed = vec![false; records.len()];
        for (piece, bytes) in self.contents() {
            // `check` read all pieces, so that they lie in the body.
            let range = body + piece.start as usize..body + piece.end as usize;
            for (record, changed) in records.iter().zip(&mut changed) {
                *changed |= record.start < range.end && range.start < record.end;
            }
            file[range].copy_from_slice(bytes);
        }
        for (i, record) in records.into_iter().enumerate().filter(|(i, _)| changed[*i]) {
            let digest = Checksum::of(&file[record]).to_le_bytes();
            let at = FIXED_BYTES + i * RECORD_BYTES + record_at::DIGEST;
            file[at..at + digest.len()].copy_from_slice(&digest);
        }
        let (covered, rest) = file.split_at_mut(body - HEAD_DIGEST_BYTES);
        rest[..HEAD_DIGEST_BYTES].copy_from_slice(&Checksum::of(covered).to_le_bytes());
        Ok(())
    }

    /// That the weights are what the patch replaces a module of.
    pub(super) fn check(&self, weights: &WeightFile<'_>) -> Result<()> {
        match self.state(weights)? {
            State::Applicable => Ok(()),
            State::Applied => Err(PatchFault::Applied(self.head.module.clone()).of(&self.name())),
        }
    }

    fn name(&self) -> String {
        format!("the patch of module `{}`", self.head.module)
    }
}

/// Bytes of a body, which may be those of a patch for another one.
fn bytes<'a>(weights: &WeightFile<'a>, range: &Range<u64>) -> Result<&'a [u8]> {
    let ends = usize::try_from(range.start)
        .ok()
        .zip(usize::try_from(range.end).ok());
    ends.and_then(|(start, end)| weights.body().get(start..end))
        .ok_or_else(|| Error::WeightFile("is shorter than what a patch replaces".to_owned()))
}

/// Digest of a module's part.
pub(super) fn part_digest(weights: &WeightFile<'_>, pieces: &[Range<u64>]) -> Result<u64> {
    let mut sum = Checksum::default();
    for piece in pieces {
        sum.update(bytes(weights, piece)?);
    }
    Ok(sum.finish())
}

/// Digest of what belongs to no module: see [`super`].
pub(super) fn rest_digest(weights: &WeightFile<'_>, parts: &[Range<u64>]) -> Result<u64> {
    let mut sum = Checksum::default();
    for (i, record) in weights.records().enumerate() {
        let (mut at, end) = (record.offset, record.offset + record.bytes);
        let from = parts.partition_point(|part| part.end <= at);
        let mut inside = parts[from..]
            .iter()
            .take_while(|part| part.start < end)
            .peekable();
        if inside.peek().is_none() {
            let digest = weights.digest(i).unwrap_or_default();
            sum.update(&digest.to_le_bytes());
            continue;
        }
        for part in inside {
            sum.update(bytes(weights, &(at..part.start.max(at)))?);
            at = part.end.min(end);
        }
        sum.update(bytes(weights, &(at..end))?);
    }
    Ok(sum.finish())
}
