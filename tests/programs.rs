//! Programs built by hand for the tests of backends: every operation, every statement, every space.

#[path = "expected/src/small/layout.rs"]
mod layout;
#[path = "programs/operations.rs"]
mod operations;

use gemc::target::DotStrategy;
use gemc_format::{ActivationFormat, Codec, PackedSize};
use gemc_kernels::ir::build::{FunctionBuilder, FunctionRef, KernelBuilder};
use gemc_kernels::ir::{
    Elem, Extent, FuncId, Items, Kernel, KernelId, Phase, Program, ProgramShape, Space, Table,
    TableEntry, Tap, Ty,
};
use gemc_kernels::kernels::matmul::{Epilogue, Matmul, Rows};
use layout::{KV_BYTES, MATRIX, MAX_ROWS, place};

/// Format of the matrix.
const CODEC: Codec = Codec::N4;

/// A program of one matrix product, one kernel with every operation, one with every statement, and a head.
#[must_use]
pub fn small(dot: DotStrategy) -> Program {
    let (square, cube) = functions();
    let cube_ref = FunctionRef::new(FuncId(1), &cube);
    let size = PackedSize::new(CODEC, MATRIX[0], MATRIX[1]);
    let at = |offset: u32| offset / 64;
    let entry = |kernel: u32, args: &[u32]| TableEntry {
        kernel: KernelId(kernel),
        args: args.to_vec(),
    };
    let phase = |doc: &str, items, entry| Phase {
        entry,
        items,
        doc: doc.to_owned(),
    };
    let product = [place::CODES, place::SCALES, place::SUMS, place::PRODUCT];
    let planes = size.planes().map(|plane| plane as u32);
    let product: Vec<u32> = planes.chain(product).map(at).collect();
    Program {
        shape: ProgramShape {
            arena_bytes: place::END,
            kv_bytes_per_position: KV_BYTES,
            ring_bytes: 0,
            rewind: u32::MAX,
            max_rows: MAX_ROWS as u32,
            max_outputs: 2,
            logits: place::LOGITS,
            logits_stride: 16,
            weight_bytes: size.bytes as u64,
        },
        functions: vec![square, cube],
        kernels: vec![
            product_kernel(dot),
            operations::operations(),
            statements(&cube_ref),
            called("double_row", 2),
            called("triple_row", 3),
            head(),
        ],
        tables: vec![Table {
            doc: "modules of layers.0: [MAX_ROWS] in place".to_owned(),
            entries: vec![
                entry(3, &[at(place::CALLED)]),
                entry(4, &[at(place::CALLED)]),
            ],
        }],
        body: vec![
            phase(
                "layers.0.mlp.up [32, 64] N4",
                Items::Fixed(2),
                entry(0, &product),
            ),
            phase(
                "every operation on [3, 16] floats, integers and [3, 64] bytes",
                Items::Fixed(1),
                entry(
                    1,
                    &[
                        at(place::FLOATS),
                        at(place::INTS),
                        at(place::BYTES),
                        at(place::RESULTS),
                    ],
                ),
            ),
            phase(
                "layers.0.router [4, 16]",
                Items::PerRow(1),
                entry(2, &[0, at(place::PRODUCT), at(place::ROWS), 3, 0]),
            ),
        ],
        head: vec![phase(
            "lm_head [outputs, 16]",
            Items::PerOutput(1),
            entry(5, &[at(place::ROWS), at(place::LOGITS)]),
        )],
        taps: vec![Tap {
            site: "layers.0".to_owned(),
            after: 2,
            modules: 2,
            top_k: 1,
            p: place::ROWS,
            fired: place::CALLED,
            gates: place::ROWS,
            domain: place::CALLED,
            cluster: None,
        }],
        halves: Vec::new(),
    }
}

fn functions() -> (gemc_kernels::ir::Function, gemc_kernels::ir::Function) {
    let square = FunctionBuilder::build("square", "x * x, one rounding", |f| {
        let x = f.param("x", Ty::F32x16);
        x * x
    });
    let square_of = FunctionRef::new(FuncId(0), &square);
    let cube = FunctionBuilder::build("cube", "x * x * x + bias, in two steps", |f| {
        let x = f.param("x", Ty::F32x16);
        let bias = f.param("bias", Ty::F32);
        square_of.call(&[x]).mul_add(x, bias.splat())
    });
    (square, cube)
}

fn product_kernel(dot: DotStrategy) -> Kernel {
    let matmul = Matmul {
        codec: CODEC,
        tiles: MATRIX[0] / 16,
        cols: MATRIX[1],
        bias: false,
        rows: Rows::All,
        input_rows: MAX_ROWS,
        input_format: ActivationFormat::Int8,
        output_rows: MAX_ROWS,
        epilogue: Epilogue::Store,
        dot,
        row_block: 2,
    };
    matmul.kernel()
}

/// One item is a row: remembers it in the slot's memory, sums what the slot remembers, calls a module.
fn statements(cube: &FunctionRef) -> Kernel {
    let doc = "y [rows, 16]: sums over a slot's positions, through every statement";
    KernelBuilder::build("statements", doc, MAX_ROWS as u32, |k| {
        let fields = Extent::fixed(4 * MAX_ROWS as i64);
        let rows = k.region("rows", Space::Rows, Elem::I32, fields, false);
        let memory = k.memory("memory", Elem::F32, 16, true);
        let x = k.input("x", Elem::F32, MAX_ROWS * 32);
        let y = k.output("y", Elem::F32, MAX_ROWS * 16);
        let repeat = k.scalar("repeat", 8);
        let modules = k.table("modules", 2);
        let scratch = k.local("scratch", Elem::F32, 32);
        let row = k.item();
        let fields = rows.row(row, 4);
        let token = fields.get(0).named("token");
        let slot = fields.get(1).named("slot");
        let position = fields.get(2).named("position").bounded(k.context());
        k.comment("Remember the row");
        let remembered = memory.of(slot);
        let v = x.row(row, 32).lanes(0);
        remembered.row(position, 16).store(0, v);
        k.comment("Sum what the slot remembers, up to this position");
        let sum = k.var("sum", k.splat(0.0));
        k.for_n(position + 1, |index| {
            let v = remembered.row(index, 16).lanes(0);
            sum.update(|sum| sum + v);
        });
        k.if_(
            k.row_count().gt(2),
            || {
                let bias = k.lit(0.5);
                sum.update(|sum| cube.call(&[sum, bias]));
            },
            || sum.update(|sum| -sum),
        );
        k.for_n(repeat, |_| {
            scratch.store(16, scratch.lanes(16) + sum.get());
        });
        let total = scratch.lanes(16);
        y.row(row, 16).store(0, total);
        let odd = token & 1;
        k.call_table(modules, odd.bounded(2), row, row + 1);
    })
}

fn called(name: &str, factor: i32) -> Kernel {
    let doc = "y[row] = factor * (y[row] + row)";
    KernelBuilder::build(name, doc, MAX_ROWS as u32, |k| {
        let y = k.output("y", Elem::I32, MAX_ROWS);
        let row = k.item();
        y.store(row, (y.get(row) + row) * factor);
    })
}

fn head() -> Kernel {
    let doc = "logits [outputs, 16] = x [rows, 16] of the wanted rows";
    KernelBuilder::build("lm_head_16", doc, 2, |k| {
        let outputs = k.region(
            "outputs",
            Space::Outputs,
            Elem::I32,
            Extent::fixed(2),
            false,
        );
        let x = k.input("x", Elem::F32, MAX_ROWS * 16);
        let logits = k.output("logits", Elem::F32, 32);
        let row = outputs.get(k.item()).bounded(MAX_ROWS);
        let v = x.row(row, 16).lanes(0);
        logits.row(k.item(), 16).store(0, v);
    })
}
