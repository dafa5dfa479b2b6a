//! Any kernel by its spec, with memory to run on: regions one after the other, as the kernel declares them.

use gem_runtime::abi::Row;
use gemc_format::{ALIGN, Codec, Scales};

use super::super::spec::Spec;
use super::scale_bytes;
use crate::functions;
use crate::ir::testing::{Bytes, Memory, shape};
use crate::ir::{
    Elem, Extent, Items, Kernel, KernelId, Param, Phase, Program, ProgramShape, Space, Table,
    TableEntry,
};

/// Rows that fit buffers.
pub(super) const MAX_ROWS: usize = 8;

/// Positions of a slot: more than a chunk of attention.
const CONTEXT: u32 = 300;

/// Sequences of a step.
const SLOTS: usize = 2;

/// A kernel, and what is in its memory.
pub(super) struct Any {
    /// Name of the sample, an identifier.
    pub name: String,
    pub spec: Spec,
    pub items: u32,
    /// What integers of a region are, by its name and the element's index.
    pub ints: fn(&Spec, &str, usize) -> i32,
    /// What a table's entries call; as many items as the caller's.
    pub called: Option<Spec>,
}

/// Memory in the making.
#[derive(Default)]
struct Laid {
    weights: Vec<u8>,
    arena: Vec<u8>,
    /// What fills each region that grows with the context: its element, and how many of them a position has.
    kv: Vec<(String, Elem, usize)>,
    /// Bytes of those per position.
    kv_bytes: u32,
    /// The other regions of a slot, the last first: elements.
    rings: Vec<(String, Elem, usize)>,
    ring_bytes: u32,
}

impl Any {
    /// A program of the kernel, and of what it calls.
    pub fn program(&self) -> (Program, Memory) {
        let mut laid = Laid::default();
        let mut kernels = vec![self.spec.kernel()];
        let args = self.args(&mut laid, &kernels[0]);
        let mut tables = Vec::new();
        if let Some(called) = &self.called {
            let kernel = called.kernel();
            let entry = |_| TableEntry {
                kernel: KernelId(1),
                args: self.args(&mut laid, &kernel),
            };
            let entries = (0..table_len(&kernels[0])).map(entry).collect();
            tables.push(Table {
                doc: String::new(),
                entries,
            });
            kernels.push(kernel);
        }
        let program = Program {
            shape: ProgramShape {
                ring_bytes: laid.ring_bytes,
                ..shape(
                    laid.arena.len() as u32,
                    laid.weights.len() as u64,
                    laid.kv_bytes,
                )
            },
            functions: functions::link(&mut kernels),
            kernels,
            tables,
            body: vec![Phase {
                entry: TableEntry {
                    kernel: KernelId(0),
                    args,
                },
                items: Items::Fixed(self.items),
                doc: String::new(),
            }],
            head: Vec::new(),
            taps: Vec::new(),
            halves: Vec::new(),
        };
        let memory = self.memory(&program, &laid);
        (program, memory)
    }

    /// Lays a kernel's regions out; its arguments.
    fn args(&self, laid: &mut Laid, kernel: &Kernel) -> Vec<u32> {
        let params = kernel.params.iter();
        params
            .filter(|param| param.takes_argument())
            .map(|param| match param {
                Param::Region {
                    name,
                    space,
                    elem,
                    len,
                    ..
                } => self.region(laid, name, *space, *elem, *len),
                Param::Scalar { name: _, max } => (*max).min(9),
                Param::Table { .. } => 0,
            })
            .collect()
    }

    fn region(&self, laid: &mut Laid, name: &str, space: Space, elem: Elem, len: Extent) -> u32 {
        if space == Space::Kv && len.per_context == 0 {
            let bytes = len.fixed as usize * elem.bytes() as usize;
            laid.rings.push((name.to_owned(), elem, len.fixed as usize));
            laid.ring_bytes += bytes.next_multiple_of(ALIGN) as u32;
            return laid.ring_bytes / ALIGN as u32;
        }
        if space == Space::Kv {
            let before = laid.kv_bytes;
            let per_position = len.per_context as usize;
            laid.kv.push((name.to_owned(), elem, per_position));
            // Every region begins at an argument unit, whatever the context.
            let bytes = per_position * elem.bytes() as usize;
            laid.kv_bytes += bytes.next_multiple_of(ALIGN) as u32;
            return before;
        }
        let count = len.fixed + len.per_context * i64::from(CONTEXT);
        let bytes = self.content(name, elem, count as usize, 0);
        let to = match space {
            Space::Weights => &mut laid.weights,
            _ => &mut laid.arena,
        };
        let at = to.len();
        to.extend(bytes);
        to.resize(to.len().next_multiple_of(ALIGN), 0);
        (at / ALIGN) as u32
    }

    /// Elements of a region; a row of zeros, or none, is among those of every name.
    fn content(&self, name: &str, elem: Elem, count: usize, seed: u64) -> Vec<u8> {
        let letters = name.bytes().map(u64::from);
        let seed = letters.fold(seed + 1, |h, b| h.wrapping_mul(31).wrapping_add(b));
        let random = Bytes::random(seed, 8 * count);
        let mut bytes = Bytes::new(&random);
        let mut out = Vec::with_capacity(count * elem.bytes() as usize);
        if let (true, Some(codec)) = (name == "scales", self.powers_of_two()) {
            return (0..count).map(|_| bytes.pick(scale_bytes(codec))).collect();
        }
        for i in 0..count {
            match elem {
                Elem::F32 => out.extend(float(&mut bytes).to_le_bytes()),
                Elem::I32 => out.extend((self.ints)(&self.spec, name, i).to_le_bytes()),
                // Half numbers of any sign that are finite.
                Elem::I16 => {
                    let half = bytes.word() as u16;
                    let exponent = if half & 0x7c00 == 0x7c00 {
                        0x3c00
                    } else {
                        half & 0x7c00
                    };
                    out.extend((half & 0x83ff | exponent).to_le_bytes());
                }
                // Codes: -128 is none.
                Elem::I8 => out.push(match bytes.byte() {
                    0x80 => 0x81,
                    code => code,
                }),
            }
        }
        out
    }

    /// The format of its matrix, if its scale bytes stand for powers of two: not any of them will do.
    fn powers_of_two(&self) -> Option<Codec> {
        let codec = match (&self.spec, &self.called) {
            (Spec::Matmul(product), _) | (_, Some(Spec::Matmul(product))) => product.codec,
            (Spec::Embed(embedding), _) => embedding.codec,
            _ => return None,
        };
        matches!(codec.spec().scales, Scales::PowersOfTwo { .. }).then_some(codec)
    }

    fn memory(&self, program: &Program, laid: &Laid) -> Memory {
        let mut memory = Memory::new(program.shape, CONTEXT, SLOTS);
        memory.weights().copy_from_slice(&laid.weights);
        memory.arena().copy_from_slice(&laid.arena);
        for slot in 0..SLOTS {
            let mut at = laid.ring_bytes as usize;
            for (name, elem, count) in &laid.rings {
                let bytes = self.content(name, *elem, *count, 7 + slot as u64);
                at -= bytes.len().next_multiple_of(ALIGN);
                memory.kv(slot)[at..][..bytes.len()].copy_from_slice(&bytes);
            }
            let mut at = laid.ring_bytes as usize;
            for (name, elem, per_position) in &laid.kv {
                let count = per_position * CONTEXT as usize;
                let bytes = self.content(name, *elem, count, 7 + slot as u64);
                memory.kv(slot)[at..][..bytes.len()].copy_from_slice(&bytes);
                at += (per_position * elem.bytes() as usize).next_multiple_of(ALIGN)
                    * CONTEXT as usize;
            }
        }
        let row = |token, slot, position, visible| Row {
            token,
            slot,
            position,
            visible,
        };
        // The first position, one behind a chunk, the last.
        let rows = [
            row(0, 0, 0, 1),
            row(17, 1, 256, 257),
            row(31, 0, CONTEXT - 1, CONTEXT),
        ];
        memory.set_rows(&rows, &[2, 0]);
        memory
    }
}

/// A number of any size that models have; now and then 0, or one far from the others.
fn float(bytes: &mut Bytes<'_>) -> f32 {
    let item = bytes.word() as i32 as f32 / i32::MAX as f32;
    match bytes.below(32) {
        0 => 0.0,
        1 => 100.0 * item,
        2 => 1e-6 * item,
        _ => 2.0 * item,
    }
}

/// Entries of the table that a kernel calls.
fn table_len(kernel: &Kernel) -> u32 {
    let tables = kernel.params.iter().filter_map(|param| match param {
        Param::Table { len, .. } => Some(*len),
        _ => None,
    });
    tables.sum()
}
