//! `gem_step`: token ids to logits, and the loop over a program's phases.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_module::FuncId;
use gem_runtime::c::Status;

use super::code::Code;
use super::{Facts, ROW_BYTES, state};
use crate::emit::cranelift::layout::{CTX, ENTRY_ARGS};

/// Bytes of a `Phase`, which begins with its entry.
const PHASE_BYTES: u32 = 32;
/// The tag of a phase's items, their number, and the bound of a loaded number.
const PHASE_UNITS: [i32; 3] = [16, 20, 24];

/// `run(const Ctx *, const Phase *, uint32_t count)`: every phase, each with all its items at once.
pub(super) fn run(c: &mut Code<'_>, params: &[Value]) {
    let &[ctx, phases, count] = params else {
        return;
    };
    let start = c.wide(0);
    let end = c.ins().uextend(I64, count);
    c.each(start, end, |c, index| {
        let index = c.ins().ireduce(I32, index);
        let phase = c.element(phases, index, PHASE_BYTES);
        let items = items(c, ctx, phase);
        let kernel = c.load(I64, phase, 0);
        let args = c.load(I64, phase, ENTRY_ARGS);
        let begin = c.word(0);
        c.call_kernel(kernel, &[ctx, args, begin, items]);
    });
    c.ret(&[]);
}

/// The items of a phase, by its tag.
fn items(c: &mut Code<'_>, ctx: Value, phase: Value) -> Value {
    let [kind, n, max] = PHASE_UNITS.map(|at| c.load(I32, phase, at));
    let items = c.variable(I32, n);
    for (tag, factor) in [(1, CTX.n_rows), (2, CTX.n_outputs)] {
        let tag = c.word(tag);
        let is = c.is(kind, IntCC::Equal, tag);
        c.when(is, |c| {
            let factor = c.load(I32, ctx, factor);
            let product = c.ins().imul(n, factor);
            c.set(items, product);
            true
        });
    }
    let tag = c.word(3);
    let is = c.is(kind, IntCC::Equal, tag);
    c.when(is, |c| {
        let arena = c.load(I64, ctx, CTX.arena);
        let at = c.element(arena, n, 1);
        let loaded = c.load(I32, at, 0);
        let bounded = c.ins().umin(loaded, max);
        c.set(items, bounded);
        true
    });
    c.get(items)
}

/// `int gem_step(gem_model *model, const uint32_t *ids, uint32_t n, const float **logits)`.
pub(super) fn step(c: &mut Code<'_>, facts: &Facts<'_>, run: FuncId, params: &[Value]) {
    let &[model, ids, n, logits] = params else {
        return;
    };
    let held = check(c, facts, model, ids, n);
    if facts.grows() {
        write(c, facts, model, held, n);
    }
    let shape = &facts.contents.program.shape;
    // A good `n` is at most the context, so that nothing overflows.
    let round = c.word(shape.max_rows - 1);
    let rounded = c.ins().iadd(n, round);
    let most = c.word(shape.max_rows);
    let chunks = c.ins().udiv(rounded, most);
    let chunks = c.ins().uextend(I64, chunks);
    let start = c.wide(0);
    c.each(start, chunks, |c, chunk| {
        let chunk = c.ins().ireduce(I32, chunk);
        let most = c.word(shape.max_rows);
        let before = c.ins().imul(chunk, most);
        let left = c.ins().isub(n, before);
        let count = c.ins().umin(left, most);
        rows(c, facts, model, ids, [n, held, before, count]);
        let none = c.word(0);
        c.store(count, model, state::CTX + CTX.n_rows);
        c.store(none, model, state::CTX + CTX.n_outputs);
        let body = facts.table(c, facts.places.body);
        let phases = c.word(facts.contents.program.body.len() as u32);
        c.call(run, &[model, body, phases]);
    });
    let advance = |c: &mut Code<'_>| {
        if facts.grows() {
            let position = c.ins().iadd(held, n);
            c.store(position, model, state::POSITION);
        }
    };
    let unwanted = c.is_zero(I64, logits);
    c.when(unwanted, |c| {
        advance(c);
        c.status(Status::Ok);
        false
    });
    head(c, facts, run, model);
    let arena = c.load(I64, model, state::CTX + CTX.arena);
    let found = c.offset(arena, u64::from(shape.logits));
    check_logits(c, facts, found);
    advance(c);
    c.store(found, logits, 0);
    c.status(Status::Ok);
}

/// Counts positions as written, whatever comes of them. After a step without a good end, rings may have lost what the tokens
/// before it need.
fn write(c: &mut Code<'_>, facts: &Facts<'_>, model: Value, held: Value, n: Value) {
    let none = c.is_zero(I32, held);
    c.when(none, |c| {
        let nothing = c.word(0);
        c.store(nothing, model, state::WRITTEN);
        true
    });
    let written = c.load(I32, model, state::WRITTEN);
    let back = c.ins().isub(written, held);
    let most = c.word(facts.contents.program.shape.rewind);
    let lost = c.is(back, IntCC::UnsignedGreaterThan, most);
    c.fail_if(lost, Status::Overwritten);
    let position = c.ins().iadd(held, n);
    let written = c.ins().umax(written, position);
    c.store(written, model, state::WRITTEN);
}

/// Refuses logits that are not finite: those whose exponent is all ones.
fn check_logits(c: &mut Code<'_>, facts: &Facts<'_>, logits: Value) {
    let start = c.wide(0);
    let end = c.wide(facts.contents.info.output_width());
    c.each(start, end, |c, index| {
        let index = c.ins().ireduce(I32, index);
        let at = c.element(logits, index, 4);
        let bits = c.load(I32, at, 0);
        let exponent = c.word(f32::INFINITY.to_bits());
        let found = c.ins().band(bits, exponent);
        let exponent = c.word(f32::INFINITY.to_bits());
        let infinite = c.is(found, IntCC::Equal, exponent);
        c.fail_if(infinite, Status::Logits);
    });
}

/// Refuses what cannot be done; gives the tokens the sequence holds.
fn check(c: &mut Code<'_>, facts: &Facts<'_>, model: Value, ids: Value, n: Value) -> Value {
    for pointer in [model, ids] {
        let null = c.is_zero(I64, pointer);
        c.fail_if(null, Status::Null);
    }
    let none = c.is_zero(I32, n);
    c.fail_if(none, Status::Empty);
    let held = if facts.grows() {
        c.load(I32, model, state::POSITION)
    } else {
        c.word(0)
    };
    let context = c.load(I32, model, state::CTX + CTX.context);
    let room = c.ins().isub(context, held);
    let full = c.is(n, IntCC::UnsignedGreaterThan, room);
    c.fail_if(full, Status::Full);
    let start = c.wide(0);
    let end = c.ins().uextend(I64, n);
    c.each(start, end, |c, index| {
        let index = c.ins().ireduce(I32, index);
        let at = c.element(ids, index, 4);
        let id = c.load(I32, at, 0);
        let vocabulary = c.word(facts.contents.info.ids());
        let foreign = c.is(id, IntCC::UnsignedGreaterThanOrEqual, vocabulary);
        c.fail_if(foreign, Status::Token);
    });
    held
}

/// Writes the rows of a chunk: `count` of `n` tokens, `before` of which are done.
fn rows(c: &mut Code<'_>, facts: &Facts<'_>, model: Value, ids: Value, numbers: [Value; 4]) {
    let [n, held, before, count] = numbers;
    let first = c.ins().iadd(held, before);
    let ids = c.element(ids, before, 4);
    let rows = c.offset(model, state::ROWS);
    let start = c.wide(0);
    let end = c.ins().uextend(I64, count);
    c.each(start, end, |c, index| {
        let index = c.ins().ireduce(I32, index);
        let id = c.element(ids, index, 4);
        let id = c.load(I32, id, 0);
        let row = c.element(rows, index, ROW_BYTES);
        let slot = c.word(0);
        let position = c.ins().iadd(first, index);
        let visible = if facts.grows() {
            let one = c.word(1);
            c.ins().iadd(position, one)
        } else {
            n
        };
        for (field, value) in [id, slot, position, visible].into_iter().enumerate() {
            c.store(value, row, 4 * field as i32);
        }
    });
}

/// Runs the head for the last row of a text that goes on, or the first of one that is whole.
fn head(c: &mut Code<'_>, facts: &Facts<'_>, run: FuncId, model: Value) {
    let one = c.word(1);
    let row = if facts.grows() {
        let rows = c.load(I32, model, state::CTX + CTX.n_rows);
        c.ins().isub(rows, one)
    } else {
        c.word(0)
    };
    c.store(row, model, state::OUTPUT);
    c.store(one, model, state::CTX + CTX.n_outputs);
    let head = facts.table(c, facts.places.head);
    let phases = c.word(facts.contents.program.head.len() as u32);
    c.call(run, &[model, head, phases]);
}
