//! Kernels with memory to run on: what tests hold every execution against, to the bit. Products and embeddings of every
//! format, whose results are compared with a plain computation, too; and kernels of every kind at the edges of what they do.

mod any;
mod kinds;

use gem_runtime::abi::Row;
use gemc_format::{
    ALIGN, ActivationFormat, BLOCK, Codec, PackedSize, PackedTile, QuantisedRow, Scales, TILE_ROWS,
    planes_of,
};

use super::embed::Embed;
use super::matmul::{Epilogue, Matmul, Rows};
use super::quantise::{reading_name, scales_per_row};
use crate::choices::DotStrategy;
use crate::ir::testing::{Bytes, Memory, program_of, shape};
use crate::ir::{Items, Kernel, Program};

/// Below, at and above a block; and more than one.
pub const COLUMNS: [usize; 5] = [1, 31, 32, 33, 96];

/// The same for wide activation blocks.
pub const WIDE_COLUMNS: [usize; 4] = [33, 255, 257, 544];

/// Columns to try with a format of activations.
#[must_use]
pub const fn columns(format: ActivationFormat) -> &'static [usize] {
    match format {
        ActivationFormat::Int8 => &COLUMNS,
        ActivationFormat::Int8Wide => &WIDE_COLUMNS,
        ActivationFormat::Int16 => &[33, 96],
    }
}

/// Rows of a step: more than two share a pass where the target has it so, and one is left over.
pub const STEP_ROWS: usize = 3;

/// A code of a range: its ends as often as all others together.
fn code(bytes: &mut Bytes<'_>, (lo, hi): (i8, i8)) -> i8 {
    let span = (i32::from(hi) - i32::from(lo) + 1) as usize;
    match bytes.below(4) {
        0 => lo,
        1 => hi,
        _ => (i32::from(lo) + bytes.below(span) as i32) as i8,
    }
}

/// Scale bytes of a matrix: the ends of their range, and such as kernels could take for others. Of those that stand for powers
/// of two, none whose products no f32 holds.
const fn scale_bytes(codec: Codec) -> &'static [u8] {
    match codec.spec().scales {
        Scales::Integers { .. } => &[0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff, 0x33],
        Scales::PowersOfTwo { .. } => &[0, 0x60, 0x7d, 0x7e, 0x7f, 0x80, 0x81, 0x90],
    }
}

/// A packed matrix of any codes and scales, the largest of both among them.
#[must_use]
pub fn matrix(size: &PackedSize) -> Vec<u8> {
    let seed = (size.codec as u64) << 32 | size.cols as u64;
    let random = Bytes::random(seed, 4 * size.tiles * TILE_ROWS * size.blocks * BLOCK);
    let mut bytes = Bytes::new(&random);
    let scales = scale_bytes(size.codec);
    let tile = |_| {
        let mut tile = PackedTile::new(size);
        for row in 0..TILE_ROWS {
            let mut quantised = QuantisedRow::default();
            let codes = size.codec.spec().codes;
            quantised.codes = (0..size.blocks * BLOCK)
                .map(|_| code(&mut bytes, codes))
                .collect();
            quantised.scales = (0..size.blocks).map(|_| bytes.pick(scales)).collect();
            quantised.row_scale = 0.001 * (1 + row) as f32;
            tile.set_row(size, row, &quantised);
        }
        tile
    };
    planes_of(size, (0..size.tiles).map(tile))
}

/// Activations as products read them.
#[derive(Debug)]
pub struct Activations {
    /// Row after row, padded to blocks.
    pub codes: Vec<i8>,
    /// One an activation block.
    pub scales: Vec<f32>,
    /// Scales of one row: one for each activation block.
    pub scales_per_row: usize,
}

impl Activations {
    fn new(blocks: usize, format: ActivationFormat) -> Self {
        let scales_per_row = scales_per_row(blocks * BLOCK, format);
        let rows = STEP_ROWS * format.terms();
        let random = Bytes::random(7, 4 * rows * blocks * BLOCK);
        let mut bytes = Bytes::new(&random);
        Self {
            codes: (0..rows * blocks * BLOCK)
                .map(|_| code(&mut bytes, (-127, 127)))
                .collect(),
            scales: (0..rows * scales_per_row)
                .map(|i| 0.01 + 0.003 * i as f32)
                .collect(),
            scales_per_row,
        }
    }

    fn sums(&self) -> Vec<i32> {
        let blocks = self.codes.chunks(BLOCK);
        blocks
            .map(|block| block.iter().map(|c| i32::from(*c)).sum())
            .collect()
    }
}

/// The product of two tiles.
#[must_use]
pub fn matmul(
    codec: Codec,
    cols: usize,
    format: ActivationFormat,
    dot: DotStrategy,
    row_block: u32,
) -> Matmul {
    Matmul {
        codec,
        tiles: 2,
        cols,
        bias: false,
        rows: Rows::All,
        input_format: format,
        input_rows: 8,
        output_rows: 8,
        epilogue: Epilogue::Store,
        dot,
        row_block,
    }
}

/// A kernel with its arguments, the matrix, and the memory it starts from.
#[derive(Debug)]
pub struct Launch {
    /// Rows, columns and format of the matrix.
    pub size: PackedSize,
    /// The matrix as a weight file stores it: codes, block scales, row scales.
    pub item: Vec<u8>,
    kernel: Kernel,
    args: Vec<u32>,
    items: u32,
    tokens: Vec<u32>,
    input: Vec<(usize, Vec<u8>)>,
    /// Byte offset and number of the floats that it writes.
    output: (usize, usize),
}

impl Launch {
    /// A program of the kernel alone.
    #[must_use]
    pub fn program(&self) -> Program {
        let (shape, items) = (self.memory().shape, Items::Fixed(self.items));
        program_of(shape, Vec::new(), self.kernel.clone(), &self.args, items)
    }

    /// What it starts from.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let (start, len) = self.output;
        let arena = (start + 4 * len).next_multiple_of(ALIGN);
        let mut memory = Memory::new(shape(arena as u32, self.size.bytes as u64, 0), 8, 1);
        memory.weights().copy_from_slice(&self.item);
        for (at, bytes) in &self.input {
            memory.arena()[*at..][..bytes.len()].copy_from_slice(bytes);
        }
        let row = |(position, &token): (u32, &u32)| Row {
            token,
            slot: 0,
            position,
            visible: position + 1,
        };
        let rows: Vec<Row> = (0..).zip(&self.tokens).map(row).collect();
        memory.set_rows(&rows, &[]);
        memory
    }

    /// What a run wrote.
    #[must_use]
    pub fn output(&self, memory: &mut Memory) -> Vec<f32> {
        let (start, len) = self.output;
        let words = memory.arena()[start..][..4 * len].as_chunks::<4>().0;
        words.iter().map(|word| f32::from_le_bytes(*word)).collect()
    }
}

/// Places of regions of these many bytes, one after the other.
#[must_use]
pub fn places<const N: usize>(bytes: [usize; N]) -> [usize; N] {
    let mut at = 0;
    bytes.map(|bytes| {
        let start = at;
        at = (at + bytes).next_multiple_of(ALIGN);
        start
    })
}

/// Arguments of a matrix' planes, at the beginning of the weights.
fn planes(size: &PackedSize) -> Vec<u32> {
    size.planes().map(|at| (at / ALIGN) as u32).collect()
}

/// Rows times a matrix, with the rows.
#[must_use]
pub fn product(
    codec: Codec,
    cols: usize,
    format: ActivationFormat,
    dot: DotStrategy,
    row_block: u32,
) -> (Launch, Activations) {
    let spec = matmul(codec, cols, format, dot, row_block);
    let size = PackedSize::new(codec, spec.tiles * TILE_ROWS, cols);
    let (item, x) = (matrix(&size), Activations::new(size.blocks, format));
    let padded = size.blocks * BLOCK;
    let (rows, blocks) = (8 * format.terms(), size.blocks);
    let at = places([rows * padded, 4 * rows * blocks, 4 * rows * blocks, 0]);
    let input = vec![
        (at[0], x.codes.iter().map(|c| *c as u8).collect()),
        (
            at[1],
            x.scales.iter().flat_map(|s| s.to_le_bytes()).collect(),
        ),
        (
            at[2],
            x.sums().iter().flat_map(|s| s.to_le_bytes()).collect(),
        ),
    ];
    let mut args = planes(&size);
    args.extend(at.map(|at| (at / ALIGN) as u32));
    let launch = Launch {
        size,
        item,
        kernel: spec.kernel(),
        args,
        items: spec.items(),
        tokens: vec![0; STEP_ROWS],
        input,
        output: (at[3], 8 * spec.output_width()),
    };
    (launch, x)
}

/// Tokens that [`embedding`] looks up.
pub const TOKENS: [u32; 6] = [0, 5, 15, 16, 18, 31];

/// Rows of a matrix by token.
#[must_use]
pub fn embedding(codec: Codec, cols: usize) -> Launch {
    let size = PackedSize::new(codec, 2 * TILE_ROWS, cols);
    let spec = Embed {
        codec,
        vocab: size.rows,
        tiles: size.tiles,
        cols,
        positions: 0,
        token_types: 0,
        scale: 1.0.into(),
        max_rows: 8,
    };
    let mut args = planes(&size);
    args.push(0);
    Launch {
        item: matrix(&size),
        kernel: spec.kernel(),
        args,
        items: TOKENS.len() as u32,
        tokens: TOKENS.to_vec(),
        input: Vec::new(),
        output: (0, 8 * size.blocks * BLOCK),
        size,
    }
}

/// All by name, with the memory that they start from, as a target has them.
#[must_use]
pub fn all(dot: DotStrategy, row_block: u32) -> Vec<(String, Program, Memory)> {
    let launches = launches(dot, row_block).into_iter();
    let launches = launches.map(|(name, launch)| (name, launch.program(), launch.memory()));
    let kinds = kinds::all(dot, row_block).into_iter().map(|any| {
        let (program, memory) = any.program();
        (any.name, program, memory)
    });
    launches.chain(kinds).collect()
}

/// The kinds of kernels that have samples.
#[must_use]
pub fn kinds() -> std::collections::BTreeSet<&'static str> {
    let all = kinds::all(DotStrategy::Pairs, 1);
    all.iter().map(|any| any.spec.kind()).collect()
}

/// Every product and embedding.
fn launches(dot: DotStrategy, row_block: u32) -> Vec<(String, Launch)> {
    let mut all = Vec::new();
    for &codec in Codec::ALL {
        let name = codec.name().to_lowercase();
        for format in ActivationFormat::ALL {
            for &cols in columns(format) {
                let (launch, _) = product(codec, cols, format, dot, row_block);
                let reading = reading_name(format);
                all.push((format!("product_{name}_{cols}{reading}"), launch));
            }
        }
        for cols in COLUMNS {
            all.push((format!("embedding_{name}_{cols}"), embedding(codec, cols)));
        }
    }
    all
}
