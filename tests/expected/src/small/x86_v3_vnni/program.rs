//! What this model runs, in order.

use super::kernels;
use gem_runtime::abi::{
    CompiledProgram, HalfTap, Phase, ProgramShape, RoutingTap, Table, Items,
};
use gem_runtime::kernel as k;

/// The whole model.
pub static PROGRAM: CompiledProgram = CompiledProgram {
    shape: SHAPE,
    body: &BODY,
    body_items: &BODY_UNITS,
    head: &HEAD,
    head_items: &HEAD_UNITS,
    tables: TABLES,
    taps: TAPS,
    halves: HALVES,
};

/// Sizes, in bytes and elements.
const SHAPE: ProgramShape = ProgramShape {
    arena_bytes: 10112,
    kv_bytes_per_position: 64,
    ring_bytes: 0,
    rewind: ProgramShape::ANY,
    max_rows: 4,
    max_outputs: 2,
    logits: 1792,
    logits_stride: 16,
    weight_bytes: 1216,
};

/// Embedding and layers.
static BODY: [Phase; 3] = BODY_PHASES;
static BODY_UNITS: [Items; 3] = k::items(&BODY_PHASES);
const BODY_PHASES: [Phase; 3] = [
    // layers.0.mlp.up [32, 64] N4
    k::phase(kernels::matmul_n4_32x64, &[0, 16, 17, 0, 4, 5, 6], Items::Fixed(2)),
    // every operation on [3, 16] floats, integers and [3, 64] bytes
    k::phase(kernels::operations, &[14, 17, 20, 30], Items::Fixed(1)),
    // layers.0.router [4, 16]
    k::phase(kernels::statements, &[0, 6, 23, 3, 0], Items::PerRow(1)),
];

/// Final projection to logits.
static HEAD: [Phase; 1] = HEAD_PHASES;
static HEAD_UNITS: [Items; 1] = k::items(&HEAD_PHASES);
const HEAD_PHASES: [Phase; 1] = [
    // lm_head [outputs, 16]
    k::phase(kernels::lm_head_16, &[23, 28], Items::PerOutput(1)),
];

/// Indirect calls.
static TABLES: &[Table] = &[
    // modules of layers.0: [MAX_ROWS] in place
    Table::new(const {
        &[k::entry(kernels::double_row, &[27]), k::entry(kernels::triple_row, &[27])]
    }),
];

/// Where routing decisions stand.
static TAPS: &[RoutingTap] = &[
    RoutingTap {
        site: "layers.0",
        after: 2,
        modules: 2,
        top_k: 1,
        p: 1472,
        fired: 1728,
        gates: 1472,
        domain: 1728,
        cluster: None,
    },
];

/// Keys and values kept as f16.
static HALVES: &[HalfTap] = &[];
