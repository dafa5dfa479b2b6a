//! Programs built by hand for the tests of backends: every operation, every statement, every space.

#[path = "expected/src/small/layout.rs"]
mod layout;
#[path = "programs/operations.rs"]
mod operations;

use gemc::target::DotStrategy;
use gemc_format::{ActivationFormat, Codec, PackedSize};
use gemc_kernels::ir::build::old::{KernelBuilder, Ops};
use gemc_kernels::ir::build::{FunctionBuilder, FunctionRef};
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
    let product = [
        0,
        size.scales_offset as u32 / 64,
        size.row_scales_offset as u32 / 64,
        at(place::CODES),
        at(place::SCALES),
        at(place::SUMS),
        at(place::PRODUCT),
    ];
    Program {
        shape: ProgramShape {
            arena_bytes: place::END,
            kv_bytes_per_position: KV_BYTES,
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

fn fixed(n: i64) -> Extent {
    Extent::fixed(n)
}

/// One item is a row: remembers it in the slot's memory, sums what the slot remembers, calls a module.
fn statements(cube: &FunctionRef) -> Kernel {
    let mut b = KernelBuilder::new(
        "statements",
        "y [rows, 16]: sums over a slot's positions, through every statement",
        MAX_ROWS as u32,
    );
    let rows = b.region(
        "rows",
        Space::Rows,
        Elem::I32,
        fixed(4 * MAX_ROWS as i64),
        false,
    );
    let memory = b.region(
        "memory",
        Space::Kv,
        Elem::F32,
        Extent::per_context(16),
        true,
    );
    let x = b.region(
        "x",
        Space::Arena,
        Elem::F32,
        fixed((MAX_ROWS * 32) as i64),
        false,
    );
    let y = b.region(
        "y",
        Space::Arena,
        Elem::F32,
        fixed((MAX_ROWS * 16) as i64),
        true,
    );
    let repeat = b.scalar("repeat", 8);
    let modules = b.table("modules", 2);
    let scratch = b.local("scratch", Elem::F32, 32);
    let row = b.item();
    let four = b.mul_const(row, 4);
    let field = |b: &mut KernelBuilder, field: i32, name: &str| {
        let at = b.add_const(four, field);
        let v = b.load(Ty::I32, rows, at);
        b.name(v, name)
    };
    let token = field(&mut b, 0, "token");
    let slot = field(&mut b, 1, "slot");
    let position = field(&mut b, 2, "position");
    let context = b.context();
    let position = b.bounded(position, context);
    b.comment("Remember the row");
    let at = b.mul_const(row, 32);
    let v = b.load(Ty::F32x16, x, at);
    let at = b.mul_const(position, 16);
    b.store_kv(memory, slot, at, v);
    b.comment("Sum what the slot remembers, up to this position");
    let zero = b.splat_f32(0.0);
    let sum = b.named_var("sum", zero);
    let first = b.i32(0);
    let end = b.add_const(position, 1);
    b.for_(first, end, |b, index| {
        let at = b.mul_const(index, 16);
        let v = b.load_kv(Ty::F32x16, memory, slot, at);
        let before = b.get(sum);
        let after = b.add(before, v);
        b.set(sum, after);
    });
    let count = b.row_count();
    let many = b.i32(2);
    let many = b.gt(count, many);
    b.if_(
        many,
        |b| {
            let bias = b.f32(0.5);
            let before = b.get(sum);
            let after = b.call_fn(cube, &[before, bias]);
            b.set(sum, after);
        },
        |b| {
            let before = b.get(sum);
            let after = b.neg(before);
            b.set(sum, after);
        },
    );
    b.for_(first, repeat, |b, _| {
        let at = b.i32(16);
        let v = b.load(Ty::F32x16, scratch, at);
        let before = b.get(sum);
        let after = b.add(v, before);
        b.store(scratch, at, after);
    });
    let at = b.i32(16);
    let total = b.load(Ty::F32x16, scratch, at);
    let at = b.mul_const(row, 16);
    b.store(y, at, total);
    let two = b.i32(2);
    let low = b.i32(1);
    let odd = b.and(token, low);
    let entry = b.bounded(odd, two);
    let next = b.add_const(row, 1);
    b.call_table(modules, entry, row, next);
    b.finish()
}

fn called(name: &str, factor: i32) -> Kernel {
    let mut b = KernelBuilder::new(name, "y[row] = factor * (y[row] + row)", MAX_ROWS as u32);
    let y = b.region("y", Space::Arena, Elem::I32, fixed(MAX_ROWS as i64), true);
    let row = b.item();
    let before = b.load(Ty::I32, y, row);
    let sum = b.add(before, row);
    let factor = b.i32(factor);
    let after = b.mul(sum, factor);
    b.store(y, row, after);
    b.finish()
}

fn head() -> Kernel {
    let mut b = KernelBuilder::new(
        "lm_head_16",
        "logits [outputs, 16] = x [rows, 16] of the wanted rows",
        2,
    );
    let outputs = b.region("outputs", Space::Outputs, Elem::I32, fixed(2), false);
    let x = b.region(
        "x",
        Space::Arena,
        Elem::F32,
        fixed((MAX_ROWS * 16) as i64),
        false,
    );
    let logits = b.region("logits", Space::Arena, Elem::F32, fixed(32), true);
    let item = b.item();
    let row = b.load(Ty::I32, outputs, item);
    let row = b.bounded_const(row, MAX_ROWS as i32);
    let at = b.mul_const(row, 16);
    let v = b.load(Ty::F32x16, x, at);
    let at = b.mul_const(item, 16);
    b.store(logits, at, v);
    b.finish()
}
