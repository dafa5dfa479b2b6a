//! Products and embeddings of every format against the rule of [`gem_runtime::format`], to the bit, and the text of one
//! product per format.

use gem_runtime::abi::Row;
use gem_runtime::format::{
    ALIGN, BLOCK, Codec, PackedSize, PackedTile, QuantisedRow, TILE_ROWS, unpack_row,
};

use super::embed::Embed;
use super::matmul::{Epilogue, Matmul, Rows};
use crate::executions::run_kernel;
use crate::kernel::testing::{Bytes, Memory, shape};
use crate::kernel::text::kernel_to_string;
use crate::kernel::{Kernel, KernelId};
use crate::target::DotStrategy;

const STRATEGIES: [DotStrategy; 2] = [DotStrategy::Pairs, DotStrategy::Bytes4];

/// Below, at and above a block; and more than one.
const COLUMNS: [usize; 5] = [1, 31, 32, 33, 96];

/// Rows of a step: more than two share a pass where the target has it so, and one is left over.
const STEP_ROWS: usize = 3;

/// A code of a range: its ends as often as all others together.
fn code(bytes: &mut Bytes<'_>, (lo, hi): (i8, i8)) -> i8 {
    let span = (i32::from(hi) - i32::from(lo) + 1) as usize;
    match bytes.below(4) {
        0 => lo,
        1 => hi,
        _ => (i32::from(lo) + bytes.below(span) as i32) as i8,
    }
}

/// A packed matrix of any codes and scales, the largest of both among them.
fn matrix(size: &PackedSize) -> Vec<u8> {
    let seed = (size.codec as u64) << 32 | size.cols as u64;
    let random = Bytes::random(seed, 4 * size.tiles * TILE_ROWS * size.blocks * BLOCK);
    let mut bytes = Bytes::new(&random);
    let mut unit = vec![0; size.bytes];
    for tile in 0..size.tiles {
        let mut packed = PackedTile::new(size);
        for row in 0..TILE_ROWS {
            let mut quantised = QuantisedRow::default();
            let codes = size.codec.spec().codes;
            quantised.codes = (0..size.blocks * BLOCK)
                .map(|_| code(&mut bytes, codes))
                .collect();
            quantised.scales = (0..size.blocks)
                .map(|_| bytes.pick(&[0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff, 0x33]))
                .collect();
            quantised.row_scale = 0.001 * (1 + row) as f32;
            packed.set_row(size, row, &quantised);
        }
        unit[size.codes(tile)].copy_from_slice(&packed.codes);
        unit[size.scales(tile)].copy_from_slice(&packed.scales);
        unit[size.row_scales(tile)].copy_from_slice(&packed.row_scales);
    }
    unit
}

/// Activations as products read them.
struct Activations {
    codes: Vec<i8>,
    scales: Vec<f32>,
}

impl Activations {
    fn new(blocks: usize) -> Self {
        let random = Bytes::random(7, 4 * STEP_ROWS * blocks * BLOCK);
        let mut bytes = Bytes::new(&random);
        Self {
            codes: (0..STEP_ROWS * blocks * BLOCK)
                .map(|_| code(&mut bytes, (-127, 127)))
                .collect(),
            scales: (0..STEP_ROWS * blocks)
                .map(|i| 0.01 + 0.003 * i as f32)
                .collect(),
        }
    }

    fn sums(&self) -> Vec<i32> {
        let blocks = self.codes.chunks(BLOCK);
        blocks
            .map(|block| block.iter().map(|c| i32::from(*c)).sum())
            .collect()
    }
}

/// The rule: blocks ascending, one fused accumulator, the row scale last.
fn expected(codec: Codec, row: &QuantisedRow, codes: &[i8], scales: &[f32]) -> f32 {
    let mut acc = 0.0f32;
    for (block, scale) in scales.iter().enumerate() {
        let byte = row.scales[block];
        let sum: i32 = (block * BLOCK..(block + 1) * BLOCK)
            .map(|k| codec.value(row.codes[k], byte) * i32::from(codes[k]))
            .sum();
        acc = ((codec.scale(byte) * sum) as f32).mul_add(*scale, acc);
    }
    acc * row.row_scale
}

fn matmul(codec: Codec, cols: usize) -> Matmul {
    Matmul {
        codec,
        tiles: 2,
        cols,
        bias: false,
        rows: Rows::All,
        input_rows: 8,
        output_rows: 8,
        epilogue: Epilogue::Store,
        act_name: "",
    }
}

/// A kernel with its arguments, and the arena before it.
struct Launch {
    kernel: Kernel,
    args: Vec<u32>,
    units: u32,
    tokens: Vec<u32>,
    input: Vec<(usize, Vec<u8>)>,
    /// Byte offset and number of the floats that it writes.
    output: (usize, usize),
}

/// Runs a kernel on a packed matrix; what it writes.
fn run(size: &PackedSize, unit: &[u8], launch: Launch) -> Vec<f32> {
    let (start, len) = launch.output;
    let arena = (start + 4 * len).next_multiple_of(ALIGN);
    let mut memory = Memory::new(shape(arena as u32, size.bytes as u64, 0), 8, 1);
    memory.weights().copy_from_slice(unit);
    for (at, bytes) in &launch.input {
        memory.arena()[*at..][..bytes.len()].copy_from_slice(bytes);
    }
    let rows: Vec<Row> = (0..)
        .zip(&launch.tokens)
        .map(|(position, &token)| Row {
            token,
            slot: 0,
            position,
            visible: position + 1,
        })
        .collect();
    memory.set_rows(&rows, &[]);
    let Launch {
        kernel,
        args,
        units,
        ..
    } = launch;
    run_kernel(&mut memory, Vec::new(), kernel, &args, units).expect("verified, and no trap");
    let words = memory.arena()[start..][..4 * len].as_chunks::<4>().0;
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

/// Places of regions of these many bytes, one after the other.
fn places<const N: usize>(bytes: [usize; N]) -> [usize; N] {
    let mut at = 0;
    bytes.map(|bytes| {
        let start = at;
        at = (at + bytes).next_multiple_of(ALIGN);
        start
    })
}

fn planes(size: &PackedSize) -> [u32; 3] {
    [0, size.scales_offset, size.row_scales_offset].map(|at| (at / ALIGN) as u32)
}

fn check_product(codec: Codec, cols: usize, dot: DotStrategy, row_block: u32) {
    let spec = matmul(codec, cols);
    let size = PackedSize::new(codec, spec.tiles * TILE_ROWS, cols);
    let (unit, x) = (matrix(&size), Activations::new(size.blocks));
    let padded = size.blocks * BLOCK;
    let width = spec.output_width();
    let at = places([8 * padded, 32 * size.blocks, 32 * size.blocks, 0]);
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
    let mut args = planes(&size).to_vec();
    args.extend(at.map(|at| (at / ALIGN) as u32));
    let launch = Launch {
        kernel: spec.kernel(dot, row_block),
        args,
        units: spec.units(),
        tokens: vec![0; STEP_ROWS],
        input,
        output: (at[3], 8 * width),
    };
    let found = run(&size, &unit, launch);
    let mut row = QuantisedRow::default();
    for out in 0..width {
        unpack_row(&size, &unit, out, &mut row);
        for step in 0..STEP_ROWS {
            let codes = &x.codes[step * padded..][..padded];
            let scales = &x.scales[step * size.blocks..][..size.blocks];
            let want = expected(codec, &row, codes, scales);
            let got = found[step * width + out];
            assert_eq!(
                got.to_bits(),
                want.to_bits(),
                "{codec:?} {cols} columns {dot:?}: row {step}, output {out}: {got} {want}"
            );
        }
    }
}

#[test]
fn products_follow_the_rule_of_the_format_to_the_bit() {
    for &codec in Codec::ALL {
        for cols in COLUMNS {
            for dot in STRATEGIES {
                check_product(codec, cols, dot, 1);
            }
        }
        check_product(codec, 64, DotStrategy::Pairs, 2);
    }
}

fn check_embedding(codec: Codec, cols: usize) {
    let size = PackedSize::new(codec, 2 * TILE_ROWS, cols);
    let unit = matrix(&size);
    let spec = Embed {
        codec,
        vocab: size.rows,
        tiles: size.tiles,
        cols,
        positions: 0,
        token_type: false,
        max_rows: 8,
    };
    let tokens = [0, 5, 15, 16, 18, 31];
    let stride = size.blocks * BLOCK;
    let mut args = planes(&size).to_vec();
    args.push(0);
    let launch = Launch {
        kernel: spec.kernel(),
        args,
        units: tokens.len() as u32,
        tokens: tokens.to_vec(),
        input: Vec::new(),
        output: (0, 8 * stride),
    };
    let found = run(&size, &unit, launch);
    let mut row = QuantisedRow::default();
    for (i, &token) in tokens.iter().enumerate() {
        unpack_row(&size, &unit, token as usize, &mut row);
        for col in 0..stride {
            let want = if col < cols {
                row.weight(codec, col)
            } else {
                0.0
            };
            let got = found[i * stride + col];
            assert_eq!(got, want, "{codec:?} {cols} columns: token {token}, {col}");
        }
    }
}

#[test]
fn embeddings_are_rows_of_the_matrix_to_the_bit() {
    for &codec in Codec::ALL {
        for cols in COLUMNS {
            check_embedding(codec, cols);
        }
    }
}

#[test]
fn kernels_of_every_format_are_as_expected() {
    for &codec in Codec::ALL {
        let kernel = matmul(codec, 64).kernel(DotStrategy::Pairs, 1);
        let text = kernel_to_string(KernelId(0), &kernel);
        insta::assert_snapshot!(
            format!("matmul_{}_pairs", codec.name().to_lowercase()),
            text
        );
    }
}
