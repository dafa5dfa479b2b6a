//! A program written by hand: bigram logits, a routed phase, and a key/value memory that makes every position count.
//!
//! Body: phase 0 stores each row's token in its slot; phase 1 routes (module = token % 3, gate 0.5); phase 2 computes
//! per row a state: sum of the visible tokens, weighted by place, plus what the fired module adds. Head: logits
//! `weights[token] * state + i`.

use std::borrow::Cow;
use std::io::Cursor;

use gem_runtime::abi::{
    Ctx, Executable, HalfTap, Items, Part, ProgramShape, RoutingTap, Row, Table,
};
use gem_runtime::file::{Header, Record, Writer, layout_digest, name_hash};
use gem_runtime::simd::Level;
use gem_runtime::storage::Weights;
use gem_runtime::{Engine, ModelInfo, Task};

pub const VOCAB: u32 = 11;
pub const MAX_ROWS: u32 = 4;
pub const MAX_OUTPUTS: u32 = 3;
pub const MODULES: u32 = 3;
const LOGITS: u32 = 0;
const STRIDE: u32 = 16;
const P: u32 = LOGITS + MAX_OUTPUTS * STRIDE * 4;
const FIRED: u32 = P + MAX_ROWS * MODULES * 4;
const GATES: u32 = FIRED + MAX_ROWS * 4;
const DOMAIN: u32 = GATES + MAX_ROWS * 4;
const STATE: u32 = DOMAIN + MAX_ROWS * 4;
const ARENA: u32 = STATE + MAX_ROWS * 4;

pub struct Toy {
    pub shape: ProgramShape,
    pub taps: Vec<RoutingTap>,
    pub halves: Vec<HalfTap>,
}

impl Default for Toy {
    fn default() -> Self {
        Self {
            shape: ProgramShape {
                arena_bytes: ARENA,
                kv_bytes_per_position: 4,
                ring_bytes: 0,
                rewind: u32::MAX,
                max_rows: MAX_ROWS,
                max_outputs: MAX_OUTPUTS,
                logits: LOGITS,
                logits_stride: STRIDE,
                weight_bytes: 64,
            },
            taps: vec![RoutingTap {
                site: "layers.0",
                after: 1,
                modules: MODULES,
                top_k: 1,
                p: P,
                fired: FIRED,
                gates: GATES,
                domain: DOMAIN,
                cluster: None,
            }],
            halves: Vec::new(),
        }
    }
}

/// What the toy's state is, written down a second time.
pub fn expected_state(tokens: &[u32], module: Option<u32>) -> f32 {
    let sum: f32 = (1_u16..)
        .zip(tokens)
        .map(|(i, t)| f32::from(i) * *t as f32)
        .sum();
    sum + module.map_or(0.0, |m| 100.0 * (m + 1) as f32 * 0.5)
}

pub fn weight(token: u32) -> f32 {
    token as f32 + 0.25
}

impl Executable for Toy {
    fn shape(&self) -> &ProgramShape {
        &self.shape
    }

    fn phases(&self, part: Part) -> &[Items] {
        match part {
            Part::Body => &[Items::PerRow(1), Items::Fixed(1), Items::PerRow(1)],
            Part::Head => &[Items::PerOutput(VOCAB)],
        }
    }

    fn taps(&self) -> &[RoutingTap] {
        &self.taps
    }

    fn halves(&self) -> &[HalfTap] {
        &self.halves
    }

    fn tables(&self) -> &[Table] {
        &[]
    }

    unsafe fn run(&self, part: Part, phase: usize, ctx: &Ctx, begin: u32, end: u32) {
        for item in begin..end {
            // SAFETY: the context's sizes are those of `shape`, and items touch their own elements only.
            unsafe {
                match (part, phase) {
                    (Part::Body, 0) => store(ctx, item),
                    (Part::Body, 1) => (0..ctx.n_rows).for_each(|row| route(ctx, row)),
                    (Part::Body, _) => state(ctx, item),
                    (Part::Head, _) => logit(ctx, item / VOCAB, item % VOCAB),
                }
            }
        }
    }
}

unsafe fn row(ctx: &Ctx, i: u32) -> Row {
    assert!(i < ctx.n_rows);
    // SAFETY: in range.
    unsafe { *ctx.rows.add(i as usize) }
}

unsafe fn cell<T>(ctx: &Ctx, base: u32, i: u32) -> *mut T {
    assert!(base + 4 * i < ARENA);
    // SAFETY: in range.
    unsafe { ctx.arena.add((base + 4 * i) as usize).cast() }
}

unsafe fn store(ctx: &Ctx, i: u32) {
    // SAFETY: the slot has room for `context` positions.
    unsafe {
        let row = row(ctx, i);
        assert!(row.position < ctx.context && row.slot < ctx.n_slots);
        let kv = (*ctx.kv.add(row.slot as usize)).cast::<u32>();
        *kv.add(row.position as usize) = row.token;
    }
}

unsafe fn route(ctx: &Ctx, i: u32) {
    // SAFETY: the toy's arrays lie in the arena.
    unsafe {
        let module = row(ctx, i).token % MODULES;
        for m in 0..MODULES {
            *cell(ctx, P, i * MODULES + m) = if m == module { 0.75_f32 } else { 0.125 };
        }
        *cell(ctx, FIRED, i) = module as i32;
        *cell(ctx, GATES, i) = 0.5_f32;
        *cell(ctx, DOMAIN, i) = module as i32;
    }
}

unsafe fn state(ctx: &Ctx, i: u32) {
    // SAFETY: visible positions have been stored in phase 0 of this step or an earlier one.
    unsafe {
        let row = row(ctx, i);
        let kv = (*ctx.kv.add(row.slot as usize)).cast::<u32>();
        let mut sum = 0.0_f32;
        for position in 0..row.visible {
            sum += (position + 1) as f32 * *kv.add(position as usize) as f32;
        }
        let fired: i32 = *cell(ctx, FIRED, i);
        if fired >= 0 {
            sum += 100.0 * (fired + 1) as f32 * *cell::<f32>(ctx, GATES, i);
        }
        *cell(ctx, STATE, i) = sum;
    }
}

unsafe fn logit(ctx: &Ctx, output: u32, token: u32) {
    // SAFETY: outputs name rows of the step; the weights are 16 floats.
    unsafe {
        let i = *ctx.outputs.add(output as usize);
        let weight = *ctx.weights.cast::<f32>().add(token as usize);
        let state: f32 = *cell(ctx, STATE, i);
        *cell(ctx, LOGITS, output * STRIDE + token) = weight * state + i as f32 * 0.0;
    }
}

pub fn info(task: Task) -> ModelInfo {
    ModelInfo {
        name: Cow::Borrowed("toy"),
        task,
        target: Cow::Borrowed("portable"),
        level: Level::Portable,
        vocab_size: VOCAB,
        hidden_size: 1,
        max_positions: 20,
        domains: Cow::Borrowed(&[Cow::Borrowed("a"), Cow::Borrowed("b"), Cow::Borrowed("c")]),
        labels: match task {
            Task::CausalLm | Task::Embedding => Cow::Borrowed(&[]),
            Task::SequenceClassification | Task::TokenClassification => {
                Cow::Borrowed(&[Cow::Borrowed("x"), Cow::Borrowed("y")])
            }
        },
        embedding: 0,
        conventions: gem_runtime::Conventions::PLAIN,
        bits_per_weight: 32.0,
        weight_bytes: 44,
        plan_hash: [3; 32],
        layout: layout_digest([record()]),
        bos: None,
        eos: Cow::Borrowed(&[0]),
    }
}

fn record() -> Record {
    Record {
        name_hash: name_hash("logits"),
        codec: 0,
        layout: 0,
        offset: 0,
        bytes: 44,
    }
}

pub fn weight_file() -> Vec<u8> {
    let header = Header {
        plan_hash: [3; 32],
        body_bytes: 64,
    };
    let mut writer =
        Writer::new(Cursor::new(Vec::new()), header, vec![record()]).expect("one good record");
    for token in 0..VOCAB {
        writer
            .write(0, &weight(token).to_le_bytes())
            .expect("in order");
    }
    writer.finish().expect("complete").into_inner()
}

pub fn engine(task: Task) -> Engine {
    let weights = Weights::copied(&weight_file()).expect("own file");
    Engine::new(info(task), Box::new(Toy::default()), weights).expect("they fit")
}
