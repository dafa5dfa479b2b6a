//! Kernel definitions: each file writes one kind of kernel in IR, once, for every target.
//!
//! A kernel's [`spec::Spec`] is its key: equal kernels are shared by all layers. Its name is for people.

pub mod attention;
pub mod cache;
pub mod clusters;
pub mod codes;
pub mod combine;
pub mod conv;
pub mod dispatch;
pub mod dot;
pub mod elementwise;
pub mod embed;
pub mod matmul;
pub mod norm;
pub mod planes;
pub mod pool;
pub mod quantise;
pub mod rope;
pub mod route;
pub mod rows;
#[cfg(any(test, feature = "testing"))]
pub mod samples;
mod scales;
pub mod spec;
pub mod standing;
pub mod vector;

use gemc_format::{ActivationFormat, Codec};

use crate::choices::{DotStrategy, KvFormat};
use crate::functions;
use crate::ir::{Program, ProgramShape};

/// Kernels that hold every outline which kernels of a target have copies of, in a program without phases.
#[must_use]
pub fn with_outlines(dot: DotStrategy, row_block: u32) -> Program {
    let mut kernels = Vec::new();
    let blocks = ActivationFormat::ALL.into_iter();
    let entries = matmul::MAX_ROW_BLOCK;
    let input_div = 1;
    let rows = [matmul::Rows::All, matmul::Rows::List { input_div, entries }];
    let products = blocks.flat_map(|b| Codec::ALL.iter().map(move |c| (b, c)));
    for ((input_format, &codec), rows) in products.flat_map(|p| rows.map(|rows| (p, rows))) {
        let product = matmul::Matmul {
            codec,
            tiles: 2,
            cols: 32,
            bias: false,
            rows,
            input_rows: matmul::MAX_ROW_BLOCK,
            input_format,
            output_rows: matmul::MAX_ROW_BLOCK,
            epilogue: matmul::Epilogue::Store,
            dot,
            row_block,
        };
        kernels.push(product.kernel());
    }
    let formats = KvFormat::ALL.into_iter();
    for (kv, &head_dim) in formats.flat_map(|kv| head_dims(kv).iter().map(move |d| (kv, d))) {
        for mask in [None, Some(attention::Mask { clusters: false })] {
            let attention = attention::Attention {
                heads: 1,
                kv_heads: 1,
                kv,
                ring: None,
                head_dim,
                stride: head_dim,
                max_rows: 1,
                scale: 1.0.into(),
                causal: false,
                window: None,
                softcap: None,
                sinks: false,
                mask,
            };
            kernels.push(attention.kernel());
        }
    }
    for (i, kernel) in kernels.iter_mut().enumerate() {
        kernel.name = format!("{}_{i}", kernel.name);
    }
    Program {
        shape: ProgramShape {
            arena_bytes: 0,
            kv_bytes_per_position: 0,
            ring_bytes: 0,
            rewind: u32::MAX,
            max_rows: matmul::MAX_ROW_BLOCK as u32,
            max_outputs: 1,
            logits: 0,
            logits_stride: 0,
            weight_bytes: 0,
        },
        functions: functions::link(&mut kernels),
        kernels,
        tables: Vec::new(),
        body: Vec::new(),
        head: Vec::new(),
        taps: Vec::new(),
        halves: Vec::new(),
    }
}

/// Widths of heads that attention has outlines for: those of the families that run on small devices.
const fn head_dims(kv: KvFormat) -> &'static [usize] {
    match kv {
        KvFormat::F32 => &[16, 32, 64, 96, 128, 256],
        // The commonest: copies are compiled with every gemc.
        KvFormat::F16 | KvFormat::Int8 => &[32, 64, 128],
    }
}
