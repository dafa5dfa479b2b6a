//! Kernels that write quantised rows, in every format of activations, against the rule of
//! [`gemc_format::activation`].

use gem_runtime::abi::Row;
use gemc_format::activation::quantise_block;
use gemc_format::{ALIGN, ActivationFormat, BLOCK, Codec, PackedSize, TILE_ROWS};

use gemc::executions::run_kernel;
use gemc_kernels::choices::DotStrategy;
use gemc_kernels::choices::NormKind;
use gemc_kernels::ir::Kernel;
use gemc_kernels::ir::testing::{Memory, shape};
use gemc_kernels::kernels::matmul::{Epilogue, Matmul, Rows};
use gemc_kernels::kernels::norm::Norm;
use gemc_kernels::kernels::quantise::{QuantiseRows, SelectRows, scales_per_row};
use gemc_kernels::kernels::samples::{STEP_ROWS, matrix, places};

/// Below, at and above a wide block, and above two.
const WIDTHS: [usize; 6] = [32, 224, 256, 288, 512, 544];

/// Rows that fit buffers.
const MAX_ROWS: usize = 8;

/// Values of all magnitudes, and a row of zeros.
fn floats(width: usize) -> Vec<f32> {
    let value = |i: usize| {
        let far = if i % 97 == 3 { 40.0 } else { 1.0 };
        far * ((i * 37 % 101) as f32 - 50.0) * 0.013
    };
    let mut values: Vec<f32> = (0..STEP_ROWS * width).map(value).collect();
    values[width..2 * width].fill(0.0);
    values
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Bytes of codes, scales and sums of rows, buffers one behind the other.
fn sizes(width: usize, format: ActivationFormat) -> [usize; 3] {
    let rows = MAX_ROWS * format.terms();
    [
        rows * width,
        4 * rows * scales_per_row(width, format),
        4 * rows * (width / BLOCK),
    ]
}

/// Codes, scales and sums of rows by the rule.
fn by_the_rule(values: &[f32], width: usize, format: ActivationFormat) -> [Vec<u8>; 3] {
    let mut written: [Vec<u8>; 3] = Default::default();
    for row in values.chunks(width) {
        let mut left = row.to_vec();
        for _ in 0..format.terms() {
            for values in left.chunks_mut(format.columns()) {
                let mut codes = vec![0; values.len()];
                let scale = quantise_block(values, &mut codes);
                written[0].extend(codes.iter().map(|c| *c as u8));
                written[1].extend(scale.to_le_bytes());
                for codes in codes.chunks(BLOCK) {
                    let sum: i32 = codes.iter().map(|c| i32::from(*c)).sum();
                    written[2].extend(sum.to_le_bytes());
                }
                for (x, code) in values.iter_mut().zip(codes) {
                    *x -= f32::from(code) * scale;
                }
            }
        }
    }
    written
}

/// A kernel's run: the arena after it. `args` are places of the arena or of the weights.
fn run(
    kernel: Kernel,
    weights: &[u8],
    arena: &[(usize, &[u8])],
    end: usize,
    args: &[usize],
    items: u32,
) -> Vec<u8> {
    let shape = shape(end.next_multiple_of(ALIGN) as u32, weights.len() as u64, 0);
    let mut memory = Memory::new(shape, 8, 1);
    memory.weights().copy_from_slice(weights);
    for (at, bytes) in arena {
        memory.arena()[*at..][..bytes.len()].copy_from_slice(bytes);
    }
    let row = |position| Row {
        token: 0,
        slot: 0,
        position,
        visible: position + 1,
    };
    let rows: Vec<Row> = (0..STEP_ROWS as u32).map(row).collect();
    memory.set_rows(&rows, &[2, 0]);
    let args: Vec<u32> = args.iter().map(|at| (at / ALIGN) as u32).collect();
    run_kernel(&mut memory, Vec::new(), kernel, &args, items).expect("verified, and no trap");
    memory.arena().to_vec()
}

fn check(arena: &[u8], at: &[usize], expected: &[Vec<u8>; 3], what: &str) {
    for (part, (at, expected)) in ["codes", "scales", "sums"]
        .iter()
        .zip(at.iter().zip(expected))
    {
        assert_eq!(
            &arena[*at..][..expected.len()],
            expected,
            "{part} of {what}"
        );
    }
}

#[test]
fn rows_are_quantised_by_the_rule() {
    for format in ActivationFormat::ALL {
        for width in WIDTHS {
            let values = floats(width);
            let [codes, scales, sums] = sizes(width, format);
            let at = places([4 * MAX_ROWS * width, codes, scales, sums, 0]);
            let input = (at[0], &bytes(&values)[..]);
            let what = format!("{width} columns, {format:?}");
            let kernel = QuantiseRows {
                max_rows: MAX_ROWS,
                stride: width,
                format,
            }
            .kernel();
            let arena = run(kernel, &[], &[input], at[4], &at[..4], STEP_ROWS as u32);
            check(
                &arena,
                &at[1..],
                &by_the_rule(&values, width, format),
                &what,
            );

            let kernel = SelectRows {
                max_rows: MAX_ROWS,
                max_outputs: 4,
                stride: width,
                format,
            }
            .kernel();
            let arena = run(kernel, &[], &[input], at[4], &at[..4], 2);
            let wanted = [&values[2 * width..], &values[..width]].concat();
            check(
                &arena,
                &at[1..],
                &by_the_rule(&wanted, width, format),
                &what,
            );
        }
    }
}

#[test]
fn norms_quantise_what_they_store() {
    for (kind, format, width) in [NormKind::Rms, NormKind::Layer]
        .into_iter()
        .flat_map(|kind| ActivationFormat::ALL.map(|format| (kind, format)))
        .flat_map(|(kind, format)| WIDTHS.map(|width| (kind, format, width)))
    {
        let mut norm = Norm {
            kind,
            cols: width,
            eps: 1e-5.into(),
            max_rows: MAX_ROWS,
            floats: true,
            quantised: Some(format),
            bias: false,
        };
        let rows = 4 * MAX_ROWS * width;
        let [codes, scales, sums] = sizes(width, format);
        let at = places([rows, rows, codes, scales, sums, 0]);
        let weight = bytes(
            &(0..width)
                .map(|i| 0.5 + i as f32 * 0.01)
                .collect::<Vec<_>>(),
        );
        let input = (at[0], &bytes(&floats(width))[..]);
        let args = [0, at[0], at[1], at[2], at[3], at[4]];
        let arena = run(
            norm.kernel(),
            &weight,
            &[input],
            at[5],
            &args,
            STEP_ROWS as u32,
        );
        let words = arena[at[1]..][..4 * STEP_ROWS * width].as_chunks::<4>().0;
        let stored: Vec<f32> = words.iter().map(|w| f32::from_le_bytes(*w)).collect();
        let expected = by_the_rule(&stored, width, format);
        let what = format!("{kind:?} norm of {width}, {format:?}");
        check(&arena, &at[2..], &expected, &what);

        norm.floats = false;
        let args = [0, at[0], at[2], at[3], at[4]];
        let arena = run(
            norm.kernel(),
            &weight,
            &[input],
            at[5],
            &args,
            STEP_ROWS as u32,
        );
        check(&arena, &at[2..], &expected, &what);
    }
}

/// A product's sums, stored, then gated and quantised by hand, are what its own epilogue writes.
#[test]
fn products_quantise_what_they_would_store() {
    const COLS: usize = 64;
    for gated in [false, true] {
        for width in WIDTHS {
            for (format, row_block) in ActivationFormat::ALL
                .map(|b| [(b, 1), (b, 2), (b, 32)])
                .concat()
            {
                let outputs = if gated { 2 * width } else { width };
                let mut product = Matmul {
                    codec: Codec::N4,
                    tiles: outputs / TILE_ROWS,
                    cols: COLS,
                    bias: false,
                    rows: Rows::All,
                    input_format: ActivationFormat::Int8,
                    input_rows: MAX_ROWS,
                    output_rows: MAX_ROWS,
                    epilogue: Epilogue::Store,
                    dot: DotStrategy::Pairs,
                    row_block,
                };
                let size = PackedSize::new(product.codec, outputs, COLS);
                let weights = matrix(&size);
                let x = by_the_rule(&floats(COLS), COLS, ActivationFormat::Int8);
                let [a, b, c] = sizes(COLS, ActivationFormat::Int8);
                let [codes, scales, sums] = sizes(width, format);
                let at = places([a, b, c, 4 * MAX_ROWS * outputs, codes, scales, sums, 0]);
                let input = [0, 1, 2].map(|i| (at[i], &x[i][..]));
                let mut args: Vec<usize> = size.planes().collect();
                args.extend(&at[..4]);
                let run = |product: &Matmul, args: &[usize]| {
                    let kernel = product.kernel();
                    run(kernel, &weights, &input, at[7], args, product.items())
                };
                let arena = run(&product, &args);
                let words = arena[at[3]..][..4 * STEP_ROWS * outputs].as_chunks::<4>().0;
                let stored: Vec<f32> = words.iter().map(|w| f32::from_le_bytes(*w)).collect();
                let values: Vec<f32> = match gated {
                    false => stored,
                    true => stored
                        .chunks(outputs)
                        .flat_map(|row| row[..width].iter().zip(&row[width..]).map(|(g, u)| g * u))
                        .collect(),
                };
                product.epilogue = Epilogue::Quantise {
                    act: None,
                    gated,
                    format,
                };
                args.truncate(6);
                args.extend(&at[4..7]);
                let arena = run(&product, &args);
                let what = format!("{width} outputs, gated {gated}, {format:?}, {row_block} rows");
                check(
                    &arena,
                    &at[4..],
                    &by_the_rule(&values, width, format),
                    &what,
                );
            }
        }
    }
}
