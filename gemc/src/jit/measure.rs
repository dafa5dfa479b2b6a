//! This machine -> the costs of a target that it runs: a product of every format as machine code, and a pass over memory.

use std::ptr;
use std::time::Instant;

use gem_runtime::abi::{Ctx, Executable as _, Part, Row};
use gem_runtime::memory::Buffer;
use gem_runtime::protocol::{ProbeRequest, probe};
use gemc_format::{ALIGN, ActivationFormat, BLOCK, Codec, PackedSize};
use gemc_kernels::ir::verify::verify;
use gemc_kernels::ir::{Items, KernelId, Phase, Program, ProgramShape, TableEntry};
use gemc_kernels::kernels::matmul::{Epilogue, Matmul, Rows};

use super::{JitError, JitProgram};
use crate::emit::cranelift::Effort;
use crate::target::{Costs, Target};

/// Rows in tiles and columns of the matrix that is measured: small enough for a core's own cache in every format.
const TILES: usize = 16;
const COLUMNS: usize = 1024;

/// Bytes that each thread reads: more than caches hold, and no more than small devices have.
const SCANNED: u64 = 256 << 20;

/// Rows of a batch: whole blocks of rows for every target.
const MANY: u32 = 8;

/// The best of so many times counts.
const TIMES: usize = 40;

/// Products of one time, so that the clock's steps do not show.
const PRODUCTS: usize = 20;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The machine code could not be made.
    #[error(transparent)]
    Jit(#[from] JitError),
    /// There is not enough memory, or no thread.
    #[error(transparent)]
    Runtime(#[from] gem_runtime::Error),
    /// A fault of gemc.
    #[error("internal fault, please report: a kernel failed verification: {0}")]
    Kernel(String),
}

/// Measures this machine; products are those of the target, which must run here. Takes seconds.
///
/// # Errors
/// When machine code cannot be made, or memory or threads are not to be had.
pub fn measure(target: &Target, threads: Option<u32>) -> Result<Costs, MeasureError> {
    let found = probe(&ProbeRequest {
        threads,
        bytes_per_thread: SCANNED,
        ..ProbeRequest::default()
    })?;
    let measured = |rows: u32| {
        let of = |codec: &Codec| {
            let count = TILES * 16 * COLUMNS * rows as usize;
            let nanoseconds = product(*codec, target, rows)? * 1e12 / count as f64;
            Ok((codec.name().to_owned(), round(nanoseconds)))
        };
        Codec::ALL
            .iter()
            .map(of)
            .collect::<Result<_, MeasureError>>()
    };
    Ok(Costs {
        projected: false,
        threads: found.threads,
        bandwidth: round(found.bytes_per_second / 1e9),
        weights: measured(1)?,
        batch: measured(MANY)?,
    })
}

/// Three digits: more would say more than was measured.
fn round(x: f64) -> f64 {
    let digits = 10f64.powi(2 - x.log10().floor() as i32);
    (x * digits).round() / digits
}

/// Seconds of the product of rows with a matrix in the cache, on one thread.
fn product(codec: Codec, target: &Target, rows: u32) -> Result<f64, MeasureError> {
    let count = rows as usize;
    let matmul = Matmul {
        codec,
        tiles: TILES,
        cols: COLUMNS,
        bias: false,
        rows: Rows::All,
        input_rows: count,
        input_format: ActivationFormat::Int8,
        output_rows: count,
        epilogue: Epilogue::Store,
        dot: target.dot,
        row_block: target.row_block,
    };
    let kernel = matmul.kernel();
    let size = PackedSize::new(codec, TILES * 16, COLUMNS);
    let blocks = COLUMNS / BLOCK;
    // Codes, scales and sums of the rows, then what they are multiplied to.
    let buffers = [COLUMNS, 4 * blocks, 4 * blocks, 4 * TILES * 16];
    let buffers = buffers.map(|bytes| count * bytes);
    let mut at = 0;
    let places = buffers.map(|bytes| {
        let place = (at / ALIGN) as u32;
        at = (at + bytes).next_multiple_of(ALIGN);
        place
    });
    let planes = size.planes().map(|at| (at / ALIGN) as u32);
    let entry = TableEntry {
        kernel: KernelId(0),
        args: planes.chain(places).collect(),
    };
    let program = Program {
        shape: ProgramShape {
            arena_bytes: at as u32,
            kv_bytes_per_position: 0,
            ring_bytes: 0,
            rewind: u32::MAX,
            max_rows: rows,
            max_outputs: 1,
            logits: 0,
            logits_stride: 0,
            weight_bytes: size.bytes as u64,
        },
        functions: Vec::new(),
        kernels: vec![kernel],
        tables: Vec::new(),
        body: vec![Phase {
            entry,
            items: Items::Fixed(matmul.items()),
            doc: String::new(),
        }],
        head: Vec::new(),
        taps: Vec::new(),
        halves: Vec::new(),
    };
    let verified = verify(program).map_err(|e| MeasureError::Kernel(format!("{e:?}")))?;
    let jit = JitProgram::with_effort(&verified, Effort::High)?;
    best_time(&jit, matmul.items(), rows)
}

/// Seconds of the only phase of a program, at best.
fn best_time(jit: &JitProgram, items: u32, n_rows: u32) -> Result<f64, MeasureError> {
    let shape = *jit.shape();
    let weights = Buffer::zeroed(shape.weight_bytes)?;
    let mut arena = Buffer::zeroed(u64::from(shape.arena_bytes))?;
    let row = Row {
        token: 0,
        slot: 0,
        position: 0,
        visible: 1,
    };
    let rows = vec![row; n_rows as usize];
    let ctx = Ctx {
        weights: weights.as_slice().as_ptr(),
        arena: arena.as_mut_slice().as_mut_ptr(),
        kv: ptr::null(),
        rows: rows.as_ptr(),
        outputs: ptr::null(),
        tables: ptr::null(),
        n_rows,
        n_slots: 0,
        n_outputs: 0,
        context: 1,
    };
    let mut best = f64::INFINITY;
    for _ in 0..TIMES {
        let start = Instant::now();
        for _ in 0..PRODUCTS {
            // SAFETY: the context has weights and arena of the program's shape and its rows, which outlive this; the
            // program has no slots, outputs and tables, and items of its one phase run once.
            unsafe { jit.run(Part::Body, 0, &ctx, 0, items) };
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    // A clock that does not advance must not give zero.
    Ok(best.max(1e-9) / PRODUCTS as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_a_target_s_costs() {
        let costs = measure(&Target::host(), Some(1)).unwrap();
        assert_eq!(costs.threads, 1);
        let target = Target {
            costs: Some(costs),
            ..Target::host()
        };
        let text = toml::to_string_pretty(&target).unwrap();
        assert_eq!(Target::parse("board.toml", &text).unwrap(), target);
    }
}
