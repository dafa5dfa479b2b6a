//! Every kind of kernel at the edges of vectors, blocks, chunks and lists.

mod products;

use gemc_format::{ActivationFormat, Codec};

use super::any::{Any, MAX_ROWS};
use super::{STEP_ROWS, matmul};
use crate::choices::DotStrategy;
use crate::choices::KvFormat;
use crate::choices::{Activation, NormKind, Pooling, QkNormOver, Score};
use crate::kernels::attention::{Attention, CHUNK, Mask};
use crate::kernels::clusters::Clusters;
use crate::kernels::combine::{Base, Combine};
use crate::kernels::conv::{ConvInputs, ConvSums, ShortConv};
use crate::kernels::dispatch::{CallModules, CountItems, Dispatch, Tags};
use crate::kernels::elementwise::{Elementwise, Function};
use crate::kernels::embed::Embed;
use crate::kernels::norm::Norm;
use crate::kernels::pool::{Normalize, Pool};
use crate::kernels::quantise::{QuantiseRows, SelectRows};
use crate::kernels::rope::{HeadNorm, Heads, RopeTable};
use crate::kernels::route::{Router, Sum};
use crate::kernels::spec::Spec;

/// Below, at and above 16 lanes and a block, and more than one block.
const WIDTHS: [usize; 8] = [1, 2, 15, 16, 17, 31, 33, 257];

/// Heads that ask, heads of keys, their width: equal and shared, below, at and above 16 lanes.
const HEADS: [(usize, usize, usize); 6] = [
    (1, 1, 2),
    (2, 1, 16),
    (3, 3, 18),
    (6, 2, 14),
    (2, 2, 48),
    (4, 1, 64),
];

const KV: [KvFormat; 3] = [KvFormat::F32, KvFormat::F16, KvFormat::Int8];

/// Kernels of all kinds that run once for each of the step's rows, or as often as given.
struct List(Vec<Any>);

impl List {
    fn add(&mut self, spec: impl Into<Spec>, items: u32) {
        self.add_with(spec, items, no_ints);
    }

    fn add_with(&mut self, spec: impl Into<Spec>, items: u32, ints: fn(&Spec, &str, usize) -> i32) {
        let spec = spec.into();
        self.0.push(Any {
            name: format!("kind_{}_{}", self.0.len(), spec.name()),
            spec,
            items,
            ints,
            called: None,
        });
    }
}

/// Integers that a kernel only calculates with.
fn no_ints(_: &Spec, _: &str, index: usize) -> i32 {
    (index as i32 * 37) % 501 - 250
}

/// All, as a target has them.
pub(super) fn all(dot: DotStrategy, row_block: u32) -> Vec<Any> {
    let mut list = List(Vec::new());
    embeddings(&mut list);
    norms(&mut list);
    quantisations(&mut list);
    rope_tables(&mut list);
    heads(&mut list);
    convolutions(&mut list);
    attentions(&mut list);
    pools(&mut list);
    routers(&mut list);
    dispatches(&mut list);
    combines(&mut list);
    clusters(&mut list);
    products::products(&mut list, dot, row_block);
    products::strips(&mut list, dot, row_block);
    list.0
}

/// One item a row.
const ROWS: u32 = STEP_ROWS as u32;

fn embeddings(list: &mut List) {
    for (cols, positions, token_types) in [(1, 300, 0), (33, 0, 1), (64, 300, 1), (64, 300, 2)] {
        let spec = Embed {
            codec: Codec::N4,
            vocab: 32 / token_types.max(1),
            tiles: 2,
            cols,
            positions,
            token_types,
            scale: if cols == 33 { 1.5 } else { 1.0 }.into(),
            max_rows: MAX_ROWS,
        };
        list.add(spec, ROWS);
    }
}

fn norms(list: &mut List) {
    let formats = ActivationFormat::ALL.into_iter().map(Some).chain([None]);
    let formats: Vec<Option<ActivationFormat>> = formats.collect();
    for (i, cols) in WIDTHS.into_iter().enumerate() {
        for kind in [NormKind::Rms, NormKind::Layer] {
            let quantised = formats[(i + kind as usize) % formats.len()];
            let spec = Norm {
                kind,
                cols,
                eps: 1e-5.into(),
                max_rows: MAX_ROWS,
                floats: quantised.is_none() || i % 2 == 0,
                quantised,
                bias: kind == NormKind::Layer,
            };
            list.add(spec, ROWS);
        }
    }
}

fn quantisations(list: &mut List) {
    for format in ActivationFormat::ALL {
        for stride in [32, 256, 288] {
            list.add(
                QuantiseRows {
                    max_rows: MAX_ROWS,
                    stride,
                    format,
                },
                ROWS,
            );
            list.add(
                SelectRows {
                    max_rows: MAX_ROWS,
                    max_outputs: 4,
                    stride,
                    format,
                },
                2,
            );
        }
    }
}

fn rope_tables(list: &mut List) {
    for half in [1, 8, 15, 16, 17, 64] {
        let max_rows = MAX_ROWS;
        for factor in [1.0, 1.25] {
            let table = RopeTable {
                half,
                factor: factor.into(),
                max_rows,
            };
            list.add(table, ROWS);
        }
    }
}

fn heads(list: &mut List) {
    let norms = [
        None,
        Some(QkNormOver::HeadBeforeRope),
        Some(QkNormOver::HeadAfterRope),
        Some(QkNormOver::AllHeads),
    ];
    for (i, (heads, kv_heads, head_dim)) in HEADS.into_iter().enumerate() {
        for (j, kv) in KV.into_iter().enumerate() {
            let width = (heads + 2 * kv_heads) * head_dim;
            let spec = Heads {
                heads,
                kv_heads,
                kv,
                ring: ((i + j) % 2 == 0).then_some(CHUNK),
                head_dim,
                columns: [0, heads * head_dim, (heads + kv_heads) * head_dim],
                stride: width.next_multiple_of(32),
                max_rows: MAX_ROWS,
                rope: [Some(head_dim / 2), None, Some(head_dim / 4)][(i + 2 * j) % 3]
                    .filter(|half| *half > 0),
                qk_norm: norms[(i + j) % norms.len()].map(|over| HeadNorm {
                    eps: 1e-6.into(),
                    over,
                }),
            };
            list.add(spec, ROWS * spec.items_per_row());
        }
    }
}

fn convolutions(list: &mut List) {
    for (i, (width, taps)) in [(16, 1), (48, 3), (64, 4)].into_iter().enumerate() {
        let spec = ShortConv {
            width,
            columns: [0, width, 2 * width],
            stride: (3 * width).next_multiple_of(32),
            taps,
            bias: i != 1,
            // Rows of the samples lie within it.
            ring: 512,
            max_rows: MAX_ROWS,
        };
        list.add(ConvInputs(spec), ROWS);
        list.add(ConvSums(spec), ROWS);
    }
}

fn attentions(list: &mut List) {
    let masks = [None, Some(false), Some(true)];
    for (i, (heads, kv_heads, head_dim)) in HEADS.into_iter().enumerate() {
        for (j, kv) in KV.into_iter().enumerate() {
            let mask = masks[(i + j) % masks.len()];
            let spec = |window: Option<usize>, softcap: Option<f32>, sinks, mask: Option<bool>| {
                Attention {
                    heads,
                    kv_heads,
                    kv,
                    // Rows of the samples lie within one ring of its end.
                    ring: window
                        .filter(|_| (i + j) % 2 == 0)
                        .map(|n| (n + MAX_ROWS).next_multiple_of(CHUNK)),
                    head_dim,
                    stride: (heads * head_dim).next_multiple_of(32),
                    max_rows: MAX_ROWS,
                    scale: (1.0 / (head_dim as f32).sqrt()).into(),
                    causal: window.is_some() && i % 2 == 0,
                    window,
                    softcap: softcap.map(Into::into),
                    sinks,
                    mask: mask.map(|clusters| Mask { clusters }),
                }
            };
            let windows = [Some(1), Some(2), Some(CHUNK), Some(CHUNK + 1), None];
            let window = windows[(i + 2 * j) % windows.len()];
            for spec in [
                spec(None, None, false, mask),
                spec(window, (j % 2 == 0).then_some(5.0), (i + j) % 2 == 0, None),
            ] {
                // Some positions share tags, some clusters.
                list.add_with(spec, ROWS * heads as u32, |_, _, index| index as i32 % 3);
            }
        }
    }
}

fn pools(list: &mut List) {
    for (i, stride) in [32, 64, 288].into_iter().enumerate() {
        for pooling in [
            Pooling::First,
            Pooling::Last,
            Pooling::Mean,
            Pooling::MeanSqrt,
            Pooling::Weighted,
            Pooling::Max,
        ] {
            let pool = Pool {
                pooling,
                stride,
                max_rows: MAX_ROWS,
                max_outputs: 1,
            };
            list.add(pool, pool.items());
        }
        let max_outputs = i + 1;
        list.add(
            Normalize {
                stride,
                max_outputs,
            },
            max_outputs as u32,
        );
        // The last item has fewer columns.
        for function in [
            Function::Softcap(3.0.into()),
            Function::Activation(Activation::Gelu),
            Function::Activation(Activation::Tanh),
        ] {
            let elementwise = Elementwise {
                function,
                stride: stride + 1024 * i,
                max_rows: max_outputs,
            };
            list.add(
                elementwise,
                max_outputs as u32 * elementwise.items_per_row(),
            );
        }
    }
}

fn routers(list: &mut List) {
    for (i, modules) in [1, 3, 15, 16, 17, 33].into_iter().enumerate() {
        for (j, score) in [Score::Softmax, Score::Sigmoid].into_iter().enumerate() {
            let spec = Router {
                modules,
                top_k: [1, 2, modules][(i + j) % 3].min(modules),
                stride: [32, 64][j],
                max_rows: MAX_ROWS,
                score,
                threshold: [0.0, 0.3, 0.9][i % 3].into(),
                renormalize: [None, Some(0.0), Some(1e-3)][i % 3].map(|added: f32| Sum {
                    added: added.into(),
                    least: if i % 2 == 0 { 0.0 } else { 0.5 }.into(),
                }),
                scale: if i % 2 == 0 { 1.0 } else { 2.5 }.into(),
                bias: j == 0,
                select_bias: (i + j) % 3 == 0,
                base_gate: (i + j) % 2 == 0,
            };
            list.add(spec, ROWS);
        }
    }
}

/// Modules that fired for a row's slots: distinct, and none on the second row.
fn fired(spec: &Spec, name: &str, index: usize) -> i32 {
    let (modules, top_k) = match spec {
        Spec::Dispatch(spec) => (spec.modules, spec.top_k),
        Spec::Combine(spec) => (spec.top_k + 2, spec.top_k),
        _ => return no_ints(spec, name, index),
    };
    let (row, slot) = (index / top_k, index % top_k);
    match row {
        1 => -1,
        // The last slot is empty where there are several.
        2 if slot > 0 && slot + 1 == top_k => -1,
        _ => ((row + slot) % modules) as i32,
    }
}

fn dispatches(list: &mut List) {
    for (modules, top_k) in [(1, 1), (3, 2), (16, 1), (17, 4), (5, 5)] {
        let max_rows = MAX_ROWS;
        let spec = Dispatch {
            modules,
            top_k,
            max_rows,
            sparse: false,
        };
        list.add_with(spec, 1, fired);
        let sparse = true;
        list.add_with(Dispatch { sparse, ..spec }, 1, fired);
        for (by_flag, clusters) in [(false, true), (true, false)] {
            let spec = Tags {
                modules,
                by_flag,
                clusters,
                max_rows,
            };
            let some = |_: &Spec, name: &str, index| match name {
                "domain" | "clusters" => [0, 1, 16][index % 3],
                _ => 5,
            };
            list.add_with(spec, ROWS, some);
        }
    }
    // More active modules than its limit allows, and fewer.
    list.add_with(CountItems { each: 3 }, 1, |_, _, _| 5);
    list.add_with(CountItems { each: 1 }, 1, |_, _, _| 999);
    // The last module and the first.
    for modules in [2, 17] {
        let spec = CallModules {
            modules,
            each: ROWS,
        };
        let active = |spec: &Spec, _: &str, index| match (spec, index) {
            (_, 0) => 2,
            (Spec::CallModules(spec), 1) => spec.modules as i32 - 1,
            _ => 0,
        };
        list.add_with(spec, 2 * ROWS, active);
        let called = QuantiseRows {
            max_rows: MAX_ROWS,
            stride: 32,
            format: ActivationFormat::Int8,
        };
        if let Some(last) = list.0.last_mut() {
            last.called = Some(called.into());
        }
    }
}

fn combines(list: &mut List) {
    for (i, base) in [Base::None, Base::Always, Base::Fallback]
        .into_iter()
        .enumerate()
    {
        for (j, modules) in [true, false].into_iter().enumerate() {
            for residual in [false, true] {
                let spec = Combine {
                    stride: [32, 64, 96][i],
                    top_k: [1, 2, 4][(i + j) % 3],
                    modules,
                    base,
                    base_gate: base == Base::Always && j == 0,
                    residual,
                    max_rows: MAX_ROWS,
                    sparse: false,
                };
                list.add_with(spec, ROWS, fired);
                if modules {
                    let sparse = true;
                    list.add_with(Combine { sparse, ..spec }, ROWS, fired);
                }
            }
        }
    }
}

fn clusters(list: &mut List) {
    for (count, stride) in [(1, 32), (15, 64), (16, 32), (17, 96), (40, 32)] {
        let spec = Clusters {
            count,
            stride,
            max_rows: MAX_ROWS,
        };
        list.add(spec, ROWS);
    }
}
