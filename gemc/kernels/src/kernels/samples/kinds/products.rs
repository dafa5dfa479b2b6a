//! Products with every end of theirs, and those that run a list of rows.

use gemc_format::{ActivationFormat, Codec};

use super::{List, MAX_ROWS, matmul, no_ints};
use crate::choices::{Activation, DotStrategy};
use crate::kernels::matmul::{Epilogue, Matmul, Rows};
use crate::kernels::spec::Spec;

/// What products do with their sums and rows; `product` has their formats and columns.
pub(super) fn products(list: &mut List, dot: DotStrategy, row_block: u32) {
    let quantise = |act, gated, format| Epilogue::Quantise { act, gated, format };
    let [int8, wide, int16] = [
        ActivationFormat::Int8,
        ActivationFormat::Int8Wide,
        ActivationFormat::Int16,
    ];
    let epilogues = [
        Epilogue::Store,
        Epilogue::Residual,
        quantise(Some(Activation::Silu), true, int8),
        quantise(Some(Activation::GeluTanh), false, wide),
        quantise(Some(Activation::Gelu), true, wide),
        quantise(Some(Activation::Relu), false, int16),
        quantise(Some(Activation::Tanh), false, wide),
        quantise(Some(Activation::ClampedSilu), true, int8),
        quantise(None, false, int8),
    ];
    let entries = MAX_ROWS;
    let list_of = |input_div| Rows::List { input_div, entries };
    let rows = [Rows::All, Rows::Outputs, list_of(1), list_of(2)];
    for (i, epilogue) in epilogues.into_iter().enumerate() {
        for (j, rows) in rows.into_iter().enumerate() {
            let format = ActivationFormat::ALL[(i + j) % ActivationFormat::ALL.len()];
            let codec = Codec::ALL[(i * 3 + j) % Codec::ALL.len()];
            let spec = Matmul {
                bias: (i + j) % 2 == 0,
                tiles: 4,
                rows,
                epilogue,
                ..matmul(codec, [33, 96][j % 2], format, dot, row_block)
            };
            // Entries of a list are distinct; there are four.
            let entry = |_: &Spec, name: &str, index: usize| match name {
                "list" => [3, 0, 5, 1, 0, 0, 0, 0][index],
                "count" => 4,
                _ => (index as i32 * 37) % 501 - 250,
            };
            list.add_with(spec, spec.items(), entry);
        }
    }
}

/// Products of lists one below, at and above the rows that share a pass, and one above two of those; and of all rows, where no
/// number of rows in a pass divides how many there may be.
pub(super) fn strips(list: &mut List, dot: DotStrategy, row_block: u32) {
    let block = row_block as usize;
    let gated = |format| Epilogue::Quantise {
        act: Some(Activation::Silu),
        gated: true,
        format,
    };
    let epilogues = [
        Epilogue::Residual,
        gated(ActivationFormat::Int8),
        gated(ActivationFormat::Int8Wide),
    ];
    let entries = [block - 1, block, block + 1, 2 * block + 1];
    for (i, entries) in entries.into_iter().filter(|n| *n > 0).enumerate() {
        for (j, epilogue) in epilogues.into_iter().enumerate() {
            let format = ActivationFormat::ALL[(i + j) % ActivationFormat::ALL.len()];
            let codec = Codec::ALL[(i * 3 + j) % Codec::ALL.len()];
            let input_div = 1;
            let spec = Matmul {
                tiles: 4,
                rows: Rows::List { input_div, entries },
                input_rows: entries,
                output_rows: entries,
                epilogue,
                ..matmul(codec, 33, format, dot, row_block)
            };
            list.add_with(spec, spec.items(), every_entry);
        }
    }
    // Rows that follow one another, but no passes of equal size hold so many.
    let rows = 37;
    let spec = Matmul {
        tiles: 4,
        input_rows: rows,
        output_rows: rows,
        epilogue: Epilogue::Residual,
        ..matmul(Codec::L4, 33, ActivationFormat::Int8, dot, row_block)
    };
    list.add_with(spec, spec.items(), every_entry);
}

/// A list that is full, backwards.
fn every_entry(spec: &Spec, name: &str, index: usize) -> i32 {
    match (spec, name) {
        (Spec::Matmul(product), "list") => (product.input_rows - 1 - index) as i32,
        (Spec::Matmul(product), "count") => product.input_rows as i32,
        _ => no_ints(spec, name, index),
    }
}
