//! Memory of machine code over many programs. Alone in its process, so that nothing else makes code meanwhile.
#![cfg(all(feature = "jit", target_os = "linux"))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use gem_runtime::{Model as _, SessionOptions};
use gemc::emit::cranelift::Effort;
use gemc::jit::JitProgram;
use gemc::model::Model;
use gemc_format::Rounding;
use gemc_kernels::ir::text::parse;
use gemc_kernels::ir::verify::verify;

/// Loads and drops, as many as a server that switches models makes in a day.
const CYCLES: usize = 1000;

/// Loads and drops of whole models, which take longer.
const MODELS: usize = 20;

const PROGRAM: &str = r#"
shape arena_bytes 64 kv_bytes_per_position 0 max_rows 1 max_outputs 1 logits 0 logits_stride 0 weight_bytes 0

kernel k0 double items 16 {
  doc "x[u] = 2 x[u]"
  p0 = region x arena f32 len 16 mut
  value v0: i32 = item
  v1: f32 = load p0[v0]
  v2: f32 = add v1, v1
  store p0[v0] = v2
}

body {
  k0(0) fixed 16 ""
}
"#;

/// Bytes of this process that are executable and come from no file.
fn executable() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux tells");
    let hexadecimal = |text: &str| usize::from_str_radix(text, 16).expect("an address");
    let mut bytes = 0;
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields[1].contains('x') && fields[4] == "0" && fields.len() == 5 {
            let (start, end) = fields[0].split_once('-').expect("a range");
            bytes += hexadecimal(end) - hexadecimal(start);
        }
    }
    bytes
}

/// Parts of the address space: what was mapped and never unmapped shows here.
fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux tells");
    maps.lines().count()
}

/// Counts what is allocated. Resident memory would not do: how much an allocator keeps for itself depends on which thread
/// asked when.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's pointer, which came from `alloc`, and its layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that are allocated now.
fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

#[test]
fn memory_is_given_back() {
    let verified = verify(parse(PROGRAM).expect("a program")).expect("a good program");
    let make = || JitProgram::with_effort(&verified, Effort::default()).expect("machine code");
    let before = executable();
    let program = make();
    assert!(executable() > before && program.code_bytes() > 0);
    drop(program);
    assert_eq!(executable(), before);
    (0..50).for_each(|_| drop(make()));
    let (bytes, parts) = (live(), mappings());
    (0..CYCLES).for_each(|_| drop(make()));
    assert_eq!(executable(), before);
    let grown = live().saturating_sub(bytes);
    assert!(
        grown < 16 * CYCLES,
        "{grown} bytes more after {CYCLES} programs"
    );
    let grown = mappings().saturating_sub(parts);
    assert!(
        grown < CYCLES / 10,
        "{grown} mappings more after {CYCLES} programs"
    );
    models();
}

/// Whole models, with weights, threads and tokenizer.
fn models() {
    let checkpoint = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/checkpoints/lm-dense-pre-rope"
    );
    let cycle = || {
        let options = Model::options().rounding(Rounding::Plain).without_cache();
        let model = options.open(checkpoint).expect("a good checkpoint");
        let mut session = model.session(SessionOptions::default()).expect("small");
        session.forward(&[1, 5, 9]).expect("ids of the model");
    };
    let before = executable();
    (0..3).for_each(|_| cycle());
    let (bytes, parts) = (live(), mappings());
    (0..MODELS).for_each(|_| cycle());
    assert_eq!(executable(), before);
    let grown = live().saturating_sub(bytes);
    assert!(
        grown < 1024 * MODELS,
        "{grown} bytes more after {MODELS} models"
    );
    let grown = mappings().saturating_sub(parts);
    assert!(
        grown < MODELS,
        "{grown} mappings more after {MODELS} models"
    );
}
