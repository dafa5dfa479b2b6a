//! A target -> a program that has a product of a format in every phase, which is what costs are measured with: here as machine
//! code (`gemc targets --measure`), and on a board as emitted Rust (`gemc bench --pack`).

use gem_runtime::protocol::{BATCH, Product};
use gemc_format::{ALIGN, ActivationFormat, BLOCK, Codec, PackedSize};
use gemc_kernels::choices::Activation;
use gemc_kernels::functions;
use gemc_kernels::ir::verify::{Verified, verify};
use gemc_kernels::ir::{Items, KernelId, Phase, Program, ProgramShape, TableEntry};
use gemc_kernels::kernels::matmul::{Epilogue, Matmul, Rows};

use crate::target::{Target, WorkKind};

/// Rows in tiles and columns of the matrix that is measured: small enough for a core's own cache in every format.
const TILES: usize = 16;
const COLUMNS: usize = 1024;

/// The program, and what its phases multiply.
///
/// # Errors
/// In words; a defect of gemc.
pub fn program(target: &Target) -> Result<(Verified, Vec<Product>), String> {
    let rows = BATCH as usize;
    // Codes, scales and sums of the rows, then what they are multiplied to.
    let blocks = COLUMNS / BLOCK;
    let buffers = [COLUMNS, 4 * blocks, 4 * blocks, 4 * TILES * 16];
    let mut at = 0;
    let mut place = |bytes: usize| {
        let place = (at / ALIGN) as u32;
        at = (at + rows * bytes).next_multiple_of(ALIGN);
        place
    };
    let places = buffers.map(&mut place);
    let outputs = TILES * 16;
    let rounded = [outputs, 4 * outputs / BLOCK, 4 * outputs / BLOCK].map(&mut place);
    let size = |codec: Codec| PackedSize::new(codec, TILES * 16, COLUMNS);
    let mut kernels = Vec::new();
    let mut body = Vec::new();
    let mut products = Vec::new();
    let mut add = |codec: Codec, epilogue: Epilogue, kind: Option<WorkKind>| {
        let matmul = matmul(codec, epilogue, target);
        // All matrices lie in one place: what they hold does not matter.
        let planes = size(codec).planes().map(|at| (at / ALIGN) as u32);
        // Where outputs are rounded, they are codes, scales and sums.
        let outputs = if kind.is_some() {
            &rounded[..]
        } else {
            &places[3..]
        };
        let inputs = places[..3].iter().chain(outputs);
        body.push(Phase {
            entry: TableEntry {
                kernel: KernelId(kernels.len() as u32),
                args: planes.chain(inputs.copied()).collect(),
            },
            items: Items::Fixed(matmul.items()),
            doc: format!("the product in {}", codec.name()),
        });
        products.push(Product {
            format: codec.name(),
            weights: (TILES * 16 * COLUMNS) as u32,
            activation: kind.map(|kind| (kind.name(), matmul.output_width() as u32)),
        });
        kernels.push(matmul.kernel());
    };
    let quantise = |act, gated| Epilogue::Quantise {
        act: Some(act),
        gated,
        format: ActivationFormat::Int8,
    };
    for codec in Codec::ALL {
        add(*codec, Epilogue::Store, None);
        // What activations take is told from the product before them.
        if *codec == Codec::B8 {
            add(
                *codec,
                quantise(Activation::Silu, true),
                Some(WorkKind::Silu),
            );
            add(
                *codec,
                quantise(Activation::Gelu, false),
                Some(WorkKind::Gelu),
            );
        }
    }
    let bytes = Codec::ALL.iter().map(|codec| size(*codec).bytes as u64);
    let program = Program {
        shape: ProgramShape {
            arena_bytes: at as u32,
            kv_bytes_per_position: 0,
            ring_bytes: 0,
            rewind: u32::MAX,
            max_rows: BATCH,
            max_outputs: 1,
            logits: 0,
            logits_stride: 0,
            weight_bytes: bytes.max().unwrap_or(0),
        },
        functions: functions::link(&mut kernels),
        kernels,
        tables: Vec::new(),
        body,
        head: Vec::new(),
        taps: Vec::new(),
        halves: Vec::new(),
    };
    let verified = verify(program).map_err(|errors| format!("{errors:?}"))?;
    Ok((verified, products))
}

fn matmul(codec: Codec, epilogue: Epilogue, target: &Target) -> Matmul {
    let rows = BATCH as usize;
    Matmul {
        codec,
        tiles: TILES,
        cols: COLUMNS,
        bias: false,
        rows: Rows::All,
        input_rows: rows,
        input_format: ActivationFormat::Int8,
        output_rows: rows,
        epilogue,
        dot: target.dot,
        row_block: target.row_block,
    }
}
