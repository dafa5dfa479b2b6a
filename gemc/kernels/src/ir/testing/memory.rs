//! The buffers of one step, as the runtime would make them.

use super::Bytes;
use crate::ir::ProgramShape;
use gem_runtime::abi::{Ctx, Row};
use std::ptr;

/// Cache line: what the runtime aligns buffers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([[u8; 32]; 2]);

/// Aligned bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    fn new(len: usize) -> Self {
        Self {
            lines: vec![Line::default(); len.div_ceil(64).max(1)],
            len,
        }
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

/// Memory of one step.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Sizes it was made for.
    pub shape: ProgramShape,
    /// Capacity of each slot.
    pub context: u32,
    weights: Buffer,
    arena: Buffer,
    kv: Vec<Buffer>,
    kv_starts: Vec<*mut u8>,
    rows: Vec<Row>,
    outputs: Vec<u32>,
}

/// The numbers of a step, for runtimes of another language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Four words a row: token, slot, position, visible.
    pub rows: Vec<u32>,
    /// Wanted rows.
    pub outputs: Vec<u32>,
    /// Sequences that have keys and values.
    pub n_slots: u32,
    /// Positions that each slot has room for.
    pub context: u32,
    /// Bytes of rings, which stand before what the pointer of a slot points at.
    pub ring_bytes: u32,
}

/// What a run may have changed, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The whole arena.
    pub arena: Vec<u8>,
    /// Keys and values, one allocation a slot.
    pub kv: Vec<Vec<u8>>,
}

impl Image {
    /// Bytes of arena and slots, one after the other, as an image of the same sizes; what is missing is zero.
    #[must_use]
    pub fn like(&self, bytes: &[u8]) -> Self {
        let mut rest = bytes;
        let mut take = |n: usize| {
            let (first, after) = rest.split_at(n.min(rest.len()));
            rest = after;
            let mut taken = first.to_vec();
            taken.resize(n, 0);
            taken
        };
        Self {
            arena: take(self.arena.len()),
            kv: self.kv.iter().map(|slot| take(slot.len())).collect(),
        }
    }

    /// Where two runs of one program differ first, as text; words that are both NaN are the same, for which NaN an
    /// operation yields is the machine's choice.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let named = |(i, (a, b))| (format!("kv{i}"), a, b);
        let slots = self.kv.iter().zip(&other.kv).enumerate().map(named);
        let mut buffers =
            std::iter::once(("arena".to_owned(), &self.arena, &other.arena)).chain(slots);
        buffers.find_map(|(name, a, b)| {
            let (at, a, b) = first_difference(a, b)?;
            Some(format!("{name} @{at}: {a:#010x} and {b:#010x}"))
        })
    }
}

/// The first 32-bit words that differ.
fn first_difference(a: &[u8], b: &[u8]) -> Option<(usize, u32, u32)> {
    let word = |bytes: &[u8]| {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        u32::from_le_bytes(word)
    };
    let nan = |word: u32| f32::from_bits(word).is_nan();
    let words = a
        .chunks(4)
        .zip(b.chunks(4))
        .map(|(a, b)| (word(a), word(b)));
    let mut numbered = words.enumerate();
    let (i, (a, b)) = numbered.find(|(_, (a, b))| a != b && !(nan(*a) && nan(*b)))?;
    Some((4 * i, a, b))
}

impl Memory {
    /// Zeroed memory for a program's shape, with one row (token 0 at position 0 of slot 0) and no outputs.
    #[must_use]
    pub fn new(shape: ProgramShape, context: u32, slots: usize) -> Self {
        let slot = shape.slot_bytes(context) as usize;
        Self {
            shape,
            context,
            weights: Buffer::new(shape.weight_bytes as usize),
            arena: Buffer::new(shape.arena_bytes as usize),
            kv: vec![Buffer::new(slot); slots],
            kv_starts: Vec::new(),
            rows: vec![Row {
                token: 0,
                slot: 0,
                position: 0,
                visible: 1,
            }],
            outputs: Vec::new(),
        }
    }

    /// Memory of random bytes, for programs of [`super::valid_program`]: two slots of five positions, three rows, two
    /// outputs.
    #[must_use]
    pub fn random(shape: ProgramShape, seed: u64) -> Self {
        let mut memory = Self::new(shape, 5, 2);
        let weights = Bytes::random(seed ^ 1, memory.weights().len());
        memory.weights().copy_from_slice(&weights);
        let arena = Bytes::random(seed ^ 2, memory.arena().len());
        memory.arena().copy_from_slice(&arena);
        let row = |token, slot, position| Row {
            token,
            slot,
            position,
            visible: position + 1,
        };
        memory.set_rows(&[row(7, 0, 4), row(9, 1, 0), row(1, 1, 1)], &[2, 0]);
        memory
    }

    /// Replaces the rows and outputs.
    ///
    /// # Panics
    /// If there are more than the shape allows, or a row names a slot or position that does not exist.
    pub fn set_rows(&mut self, rows: &[Row], outputs: &[u32]) {
        assert!(rows.len() <= self.shape.max_rows as usize, "too many rows");
        assert!(
            outputs.len() <= self.shape.max_outputs as usize,
            "too many outputs"
        );
        for row in rows {
            assert!((row.slot as usize) < self.kv.len(), "{row:?}: no such slot");
            assert!(row.position < self.context, "{row:?}: no such position");
            assert!(row.visible <= self.context, "{row:?}: sees too much");
        }
        self.rows = rows.to_vec();
        self.outputs = outputs.to_vec();
    }

    /// Bytes of the weight file.
    pub fn weights(&mut self) -> &mut [u8] {
        self.weights.bytes_mut()
    }

    /// Bytes of the arena.
    pub fn arena(&mut self) -> &mut [u8] {
        self.arena.bytes_mut()
    }

    /// Bytes of a slot, those of rings first.
    pub fn kv(&mut self, slot: usize) -> &mut [u8] {
        self.kv[slot].bytes_mut()
    }

    /// What kernels get; valid until the memory is moved or changed.
    #[must_use]
    pub fn ctx(&mut self) -> Ctx {
        let ring = self.shape.ring_bytes as usize;
        self.kv_starts = self
            .kv
            .iter_mut()
            .map(|slot| slot.bytes_mut()[ring..].as_mut_ptr())
            .collect();
        Ctx {
            weights: self.weights.lines.as_ptr().cast(),
            arena: self.arena.lines.as_mut_ptr().cast(),
            kv: self.kv_starts.as_ptr(),
            rows: self.rows.as_ptr(),
            outputs: self.outputs.as_ptr(),
            tables: ptr::null(),
            n_rows: self.rows.len() as u32,
            n_slots: self.kv.len() as u32,
            n_outputs: self.outputs.len() as u32,
            context: self.context,
        }
    }

    /// The numbers of the step, as plain words.
    #[must_use]
    pub fn step(&self) -> Step {
        Step {
            rows: self
                .rows
                .iter()
                .flat_map(|row| [row.token, row.slot, row.position, row.visible])
                .collect(),
            outputs: self.outputs.clone(),
            n_slots: self.kv.len() as u32,
            context: self.context,
            ring_bytes: self.shape.ring_bytes,
        }
    }

    /// A copy of what a run may have changed.
    #[must_use]
    pub fn image(&self) -> Image {
        Image {
            arena: self.arena.bytes().to_vec(),
            kv: self.kv.iter().map(|slot| slot.bytes().to_vec()).collect(),
        }
    }
}
