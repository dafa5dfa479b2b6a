//! `gem_memory` and `gem_open`: how much memory a model needs, and a model in it once weights and memory are found good.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_module::FuncId;
use gem_runtime::c::Status;
use gem_runtime::file::{BODY_ALIGN, FIXED_BYTES, HEAD_DIGEST_BYTES, MAGIC, VERSION, at};

use super::code::Code;
use super::{ALIGNMENT, Facts, state};
use crate::emit::cranelift::layout::CTX;

/// `size_t gem_memory(uint32_t context)`.
pub(super) fn memory(c: &mut Code<'_>, facts: &Facts<'_>, params: &[Value]) {
    let &[context] = params else { return };
    let wrong = wrong_context(c, facts, context);
    c.when(wrong, |c| {
        let nothing = c.wide(0);
        c.ret(&[nothing]);
        false
    });
    let bytes = bytes(c, facts, context);
    c.ret(&[bytes]);
}

/// `int gem_open(gem_model **out, void *memory, size_t bytes, const void *weights, size_t weights_bytes, uint32_t
/// context)`.
pub(super) fn open(c: &mut Code<'_>, facts: &Facts<'_>, digest: FuncId, params: &[Value]) {
    let &[out, memory, size, weights, weights_size, context] = params else {
        return;
    };
    for pointer in [out, memory, weights] {
        let null = c.is_zero(I64, pointer);
        c.fail_if(null, Status::Null);
    }
    let wrong = wrong_context(c, facts, context);
    c.fail_if(wrong, Status::Context);
    for pointer in [memory, weights] {
        let ragged = is_ragged(c, pointer, ALIGNMENT);
        c.fail_if(ragged, Status::Alignment);
    }
    let needed = bytes(c, facts, context);
    let small = c.is(size, IntCC::UnsignedLessThan, needed);
    c.fail_if(small, Status::Memory);
    let body = check_weights(c, facts, digest, weights, weights_size);
    fill(c, facts, memory, body, context);
    c.store(memory, out, 0);
    c.status(Status::Ok);
}

fn wrong_context(c: &mut Code<'_>, facts: &Facts<'_>, context: Value) -> Value {
    // Zero wraps around to the largest number.
    let one = c.word(1);
    let less = c.ins().isub(context, one);
    let most = c.word(facts.max_context());
    c.is(less, IntCC::UnsignedGreaterThanOrEqual, most)
}

/// Bytes of memory for a good context. No overflow: both factors are below 2^32, and what precedes is below 2^35.
fn bytes(c: &mut Code<'_>, facts: &Facts<'_>, context: Value) -> Value {
    let context = c.ins().uextend(I64, context);
    let each = c.wide(u64::from(
        facts.contents.program.shape.kv_bytes_per_position,
    ));
    let kv = c.ins().imul(context, each);
    c.offset(kv, facts.kv())
}

/// Whether a number is no multiple of a power of two.
pub(super) fn is_ragged(c: &mut Code<'_>, value: Value, of: u64) -> Value {
    let mask = c.wide(of - 1);
    let rest = c.ins().band(value, mask);
    let zero = c.wide(0);
    c.is(rest, IntCC::NotEqual, zero)
}

/// Checks all of a weight file but its body and its records, which kernels do not read; gives the body's address.
pub(super) fn check_weights(
    c: &mut Code<'_>,
    facts: &Facts<'_>,
    digest: FuncId,
    weights: Value,
    size: Value,
) -> Value {
    let fixed = c.wide(FIXED_BYTES as u64);
    let short = c.is(size, IntCC::UnsignedLessThan, fixed);
    c.fail_if(short, Status::WeightFile);
    let start = [u32::from_le_bytes(MAGIC), VERSION];
    for (offset, expected) in [0, at::VERSION].into_iter().zip(start) {
        let found = c.load(I32, weights, offset as i32);
        let expected = c.word(expected);
        let differs = c.is(found, IntCC::NotEqual, expected);
        c.fail_if(differs, Status::WeightFile);
    }
    let offset = c.load(I64, weights, at::BODY_OFFSET as i32);
    let none = c.is_zero(I64, offset);
    c.fail_if(none, Status::WeightFile);
    let ragged = is_ragged(c, offset, BODY_ALIGN);
    c.fail_if(ragged, Status::WeightFile);
    let past = c.is(offset, IntCC::UnsignedGreaterThan, size);
    c.fail_if(past, Status::WeightFile);
    let body = c.ins().isub(size, offset);
    let said = c.load(I64, weights, at::BODY_BYTES as i32);
    let differs = c.is(body, IntCC::NotEqual, said);
    c.fail_if(differs, Status::WeightFile);
    let behind = c.wide(HEAD_DIGEST_BYTES as u64);
    let covered = c.ins().isub(offset, behind);
    let sum = c.called(digest, &[weights, covered]);
    let last = c.ins().iadd(weights, covered);
    let said = c.load(I64, last, 0);
    let differs = c.is(sum, IntCC::NotEqual, said);
    c.fail_if(differs, Status::WeightFile);
    check_program(c, facts, weights);
    c.ins().iadd(weights, offset)
}

/// Checks that an intact file belongs to the program.
fn check_program(c: &mut Code<'_>, facts: &Facts<'_>, weights: Value) {
    let layout = facts.contents.info.layout.to_le_bytes();
    let bytes = facts.contents.program.shape.weight_bytes.to_le_bytes();
    let expected: [(usize, &[u8]); 3] = [
        (at::PLAN_HASH, &facts.contents.info.plan_hash),
        (at::LAYOUT, &layout),
        (at::BODY_BYTES, &bytes),
    ];
    for (offset, bytes) in expected {
        for (i, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let found = c.load(I64, weights, (offset + 8 * i) as i32);
            let expected = c.wide(u64::from_le_bytes(*word));
            let differs = c.is(found, IntCC::NotEqual, expected);
            c.fail_if(differs, Status::WrongWeights);
        }
    }
}

/// Writes a model that holds no tokens; kernels expect scratch memory that starts as zeros.
fn fill(c: &mut Code<'_>, facts: &Facts<'_>, memory: Value, body: Value, context: Value) {
    let shape = &facts.contents.program.shape;
    let arena = c.offset(memory, facts.arena());
    let kv = c.offset(memory, facts.kv());
    let rows = c.offset(memory, state::ROWS);
    let slots = c.offset(memory, u64::from(state::SLOT.unsigned_abs()));
    let outputs = c.offset(memory, u64::from(state::OUTPUT.unsigned_abs()));
    let tables = facts.table(c, facts.places.calls);
    let [zero, one] = [0, 1].map(|n| c.word(n));
    for (value, offset) in [
        (body, CTX.weights),
        (arena, CTX.arena),
        (slots, CTX.kv),
        (rows, CTX.rows),
        (outputs, CTX.outputs),
        (tables, CTX.tables),
        (zero, CTX.n_rows),
        (one, CTX.n_slots),
        (zero, CTX.n_outputs),
        (context, CTX.context),
    ] {
        c.store(value, memory, state::CTX + offset);
    }
    c.store(kv, memory, state::SLOT);
    c.store(zero, memory, state::POSITION);
    c.store(zero, memory, state::WRITTEN);
    c.store(zero, memory, state::OUTPUT);
    let start = c.wide(0);
    // The arena ends at a multiple of 64 bytes, or before one that precedes a slot's memory.
    let end = c.wide(u64::from(shape.arena_bytes).div_ceil(8));
    c.each(start, end, |c, index| {
        let eight = c.wide(8);
        let at = c.ins().imul(index, eight);
        let at = c.ins().iadd(arena, at);
        let nothing = c.wide(0);
        c.store(nothing, at, 0);
    });
}
