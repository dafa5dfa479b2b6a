//! Products and embeddings of every format against the rule of [`gemc_format`], to the bit, and the text of one
//! product per format.

mod copies;
mod interp;
mod rows;

use gemc_format::{ActivationFormat, BLOCK, BlockSums, Codec, QuantisedRow, unpack_row};

use gemc::executions::run_program;
use gemc_kernels::choices::DotStrategy;
use gemc_kernels::ir::KernelId;
use gemc_kernels::ir::text::kernel_to_string;
use gemc_kernels::kernels::samples::{
    self, COLUMNS, Launch, STEP_ROWS, TOKENS, columns, embedding, matmul, product,
};
use gemc_kernels::kernels::spec::Spec;

/// A new kind of kernel has samples, or this fails.
#[test]
fn every_kind_of_kernel_has_samples() {
    let all: Vec<&str> = Spec::KINDS.to_vec();
    let with: Vec<&str> = all
        .iter()
        .copied()
        .filter(|kind| samples::kinds().contains(kind))
        .collect();
    assert_eq!(with, all);
}

/// The rule: blocks ascending, accumulated as the codec says, one fused accumulator, the row scale last.
fn expected(
    codec: Codec,
    row: &QuantisedRow,
    codes: &[i8],
    scales: &[f32],
    format: ActivationFormat,
) -> f32 {
    let mut acc = 0.0f32;
    for (group, scale) in scales.iter().enumerate() {
        let first = group * format.columns();
        let columns = first..(first + format.columns()).min(codes.len());
        let blocks = columns.step_by(BLOCK).map(|first| {
            let byte = row.scales[first / BLOCK];
            let product = |k: usize| codec.value(row.codes[k], byte) * i32::from(codes[k]);
            let isum: i32 = (first..first + BLOCK).map(product).sum();
            (codec.scale(byte), isum)
        });
        match codec.spec().sums {
            BlockSums::Integers => {
                let sum: i32 = blocks.map(|(s, isum)| s as i32 * isum).sum();
                acc = (sum as f32).mul_add(*scale, acc);
            }
            BlockSums::Floats => {
                acc = blocks.fold(acc, |acc, (s, isum)| (s * isum as f32).mul_add(*scale, acc));
            }
        }
    }
    acc * row.row_scale
}

/// Runs a kernel; what it writes.
fn run(launch: &Launch) -> Vec<f32> {
    let mut memory = launch.memory();
    run_program(&mut memory, launch.program()).expect("verified, and no trap");
    launch.output(&mut memory)
}

fn check_product(
    codec: Codec,
    cols: usize,
    format: ActivationFormat,
    dot: DotStrategy,
    row_block: u32,
) {
    let (launch, x) = product(codec, cols, format, dot, row_block);
    let (size, found) = (&launch.size, run(&launch));
    let (padded, width) = (size.blocks * BLOCK, size.rows);
    let mut row = QuantisedRow::default();
    for out in 0..width {
        unpack_row(size, &launch.item, out, &mut row);
        for step in 0..STEP_ROWS {
            let terms = (0..format.terms()).map(|term| {
                let place = step * format.terms() + term;
                let codes = &x.codes[place * padded..][..padded];
                let scales = &x.scales[place * x.scales_per_row..][..x.scales_per_row];
                expected(codec, &row, codes, scales, format)
            });
            let want = terms.reduce(|first, second| first + second).expect("terms");
            let got = found[step * width + out];
            assert_eq!(
                got.to_bits(),
                want.to_bits(),
                "{codec:?} {cols} columns {format:?} {dot:?}: row {step}, output {out}: {got} {want}"
            );
        }
    }
}

#[test]
fn products_follow_the_rule_of_the_format_to_the_bit() {
    for &codec in Codec::ALL {
        for format in ActivationFormat::ALL {
            for &cols in columns(format) {
                for dot in DotStrategy::ALL {
                    check_product(codec, cols, format, dot, 1);
                    // Rows pass by.
                    check_product(codec, cols, format, dot, 32);
                }
            }
            for row_block in [2, 4] {
                check_product(codec, 64, format, DotStrategy::Pairs, row_block);
            }
        }
    }
}

fn check_embedding(codec: Codec, cols: usize) {
    let launch = embedding(codec, cols);
    let (size, found) = (&launch.size, run(&launch));
    let stride = size.blocks * BLOCK;
    let mut row = QuantisedRow::default();
    for (i, &token) in TOKENS.iter().enumerate() {
        unpack_row(size, &launch.item, token as usize, &mut row);
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
        let kernel = matmul(codec, 64, ActivationFormat::Int8, DotStrategy::Pairs, 1).kernel();
        let text = kernel_to_string(KernelId(0), &kernel);
        insta::assert_snapshot!(
            format!("matmul_{}_pairs", codec.name().to_lowercase()),
            text
        );
    }
}
