//! Products and embeddings of every format against the rule of [`gem_runtime::format`], to the bit, and the text of one
//! product per format.

use gem_runtime::format::{BLOCK, Codec, QuantisedRow, unpack_row};

use super::samples::{COLUMNS, Launch, STEP_ROWS, TOKENS, embedding, matmul, product};
use crate::executions::run_program;
use crate::kernel::KernelId;
use crate::kernel::text::kernel_to_string;
use crate::target::DotStrategy;

const STRATEGIES: [DotStrategy; 3] = [
    DotStrategy::Pairs,
    DotStrategy::Bytes4,
    DotStrategy::SignedBytes4,
];

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

/// Runs a kernel; what it writes.
fn run(launch: &Launch) -> Vec<f32> {
    let mut memory = launch.memory();
    run_program(&mut memory, launch.program()).expect("verified, and no trap");
    launch.output(&mut memory)
}

fn check_product(codec: Codec, cols: usize, dot: DotStrategy, row_block: u32) {
    let (launch, x) = product(codec, cols, dot, row_block);
    let (size, found) = (&launch.size, run(&launch));
    let (padded, width) = (size.blocks * BLOCK, size.rows);
    let mut row = QuantisedRow::default();
    for out in 0..width {
        unpack_row(size, &launch.unit, out, &mut row);
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
    let launch = embedding(codec, cols);
    let (size, found) = (&launch.size, run(&launch));
    let stride = size.blocks * BLOCK;
    let mut row = QuantisedRow::default();
    for (i, &token) in TOKENS.iter().enumerate() {
        unpack_row(size, &launch.unit, token as usize, &mut row);
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
