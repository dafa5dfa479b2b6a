//! Two states of weights, and which of their bytes are a module's -> the patch from one to the other.

use std::ops::Range;

use super::apply::{part_digest, rest_digest};
use super::parse::Head;
use super::{DIGEST_BYTES, FIXED_BYTES, MAGIC, PIECE_BYTES, Patch, PatchFault, VERSION, at};
use crate::error::Result;
use crate::file::{Checksum, WeightFile};

impl Patch {
    /// The patch that makes `module` of `before` what it is in `after`. `pieces` are the module's ranges of the body, `parts` those
    /// of all modules; each ascending and apart.
    ///
    /// # Errors
    /// [`Error::Patch`](crate::Error::Patch) when plan, layout or what belongs to no module differ.
    pub fn between(
        module: &str,
        before: &WeightFile<'_>,
        after: &WeightFile<'_>,
        pieces: &[Range<u64>],
        parts: &[Range<u64>],
    ) -> Result<Self> {
        let wrong = |fault: PatchFault| Err(fault.of("the patch"));
        if before.plan_hash() != after.plan_hash() {
            return wrong(PatchFault::Plan);
        }
        if before.layout() != after.layout() {
            return wrong(PatchFault::Layout);
        }
        let [rest, other] = [before, after].map(|file| rest_digest(file, parts));
        if rest? != other? {
            return wrong(PatchFault::Rest);
        }
        let [head_before, head_after] = [before, after].map(|file| part_digest(file, pieces));
        let head = Head {
            module: module.to_owned(),
            plan_hash: *before.plan_hash(),
            layout: before.layout(),
            rest: rest_digest(before, parts)?,
            before: head_before?,
            after: head_after?,
        };
        Self::parse(encode(&head, pieces, parts, after))
    }

    /// The patch that takes this one back from the weights that have it, given those that do not.
    ///
    /// # Errors
    /// [`Error::Patch`](crate::Error::Patch) when `before` is not what this patch replaces.
    pub fn reversed(&self, before: &WeightFile<'_>) -> Result<Self> {
        self.check(before)?;
        let head = Head {
            before: self.head.after,
            after: self.head.before,
            ..self.head.clone()
        };
        Self::parse(encode(&head, &self.pieces, &self.parts, before))
    }
}

fn encode(
    head: &Head,
    pieces: &[Range<u64>],
    parts: &[Range<u64>],
    contents: &WeightFile<'_>,
) -> Vec<u8> {
    let mut bytes = vec![0; (FIXED_BYTES + head.module.len()).next_multiple_of(8)];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &MAGIC);
    put(at::VERSION, &VERSION.to_le_bytes());
    put(at::NAME_BYTES, &(head.module.len() as u32).to_le_bytes());
    put(at::PIECES, &(pieces.len() as u32).to_le_bytes());
    put(at::PLAN_HASH, &head.plan_hash);
    for (at, digest) in [
        (at::LAYOUT, head.layout),
        (at::REST, head.rest),
        (at::BEFORE, head.before),
        (at::AFTER, head.after),
    ] {
        put(at, &digest.to_le_bytes());
    }
    put(at::PARTS, &(parts.len() as u32).to_le_bytes());
    put(FIXED_BYTES, head.module.as_bytes());
    let replaced: u64 = pieces.iter().map(|piece| piece.end - piece.start).sum();
    bytes.reserve(PIECE_BYTES * (pieces.len() + parts.len()) + replaced as usize + DIGEST_BYTES);
    for range in pieces.iter().chain(parts) {
        bytes.extend(range.start.to_le_bytes());
        bytes.extend((range.end - range.start).to_le_bytes());
    }
    for piece in pieces {
        // Both files were asked for these bytes before.
        bytes.extend(&contents.body()[piece.start as usize..piece.end as usize]);
    }
    let digest = Checksum::of(&bytes);
    bytes.extend(digest.to_le_bytes());
    bytes
}
