//! `gem_check`: all of a weight file, compared with its digests.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_module::FuncId;
use gem_runtime::c::Status;
use gem_runtime::file::{
    FIXED_BYTES, HEAD_DIGEST_BYTES, RECORD_BYTES, SMALL_RECORD_ALIGN, at, record_at,
};

use super::code::Code;
use super::open::{check_weights, is_ragged};
use super::{ALIGNMENT, Facts};

/// `int gem_check(const void *weights, size_t weights_bytes)`.
pub(super) fn check(c: &mut Code<'_>, facts: &Facts<'_>, digest: FuncId, params: &[Value]) {
    let &[weights, size] = params else { return };
    let null = c.is_zero(I64, weights);
    c.fail_if(null, Status::Null);
    let ragged = is_ragged(c, weights, ALIGNMENT);
    c.fail_if(ragged, Status::Alignment);
    let body = check_weights(c, facts, digest, weights, size);
    let count = records(c, weights);
    let length = c.load(I64, weights, at::BODY_BYTES as i32);
    let table = c.offset(weights, FIXED_BYTES as u64);
    let zero = c.wide(0);
    let end = c.variable(I64, zero);
    c.each(zero, count, |c, index| {
        let bytes = c.wide(RECORD_BYTES as u64);
        let offset = c.ins().imul(index, bytes);
        let record = c.ins().iadd(table, offset);
        let before = c.get(end);
        let after = check_record(c, digest, record, [body, length, before]);
        c.set(end, after);
    });
    let last = c.get(end);
    check_zeros(c, body, last, length);
    c.status(Status::Ok);
}

/// The number of records; their table ends before the header's digest.
fn records(c: &mut Code<'_>, weights: Value) -> Value {
    let count = c.load(I32, weights, at::RECORDS as i32);
    let count = c.ins().uextend(I64, count);
    let bytes = c.wide(RECORD_BYTES as u64);
    // No overflow: the count has 32 bits.
    let table = c.ins().imul(count, bytes);
    let needed = c.offset(table, (FIXED_BYTES + HEAD_DIGEST_BYTES) as u64);
    let head = c.load(I64, weights, at::BODY_OFFSET as i32);
    let long = c.is(needed, IntCC::UnsignedGreaterThan, head);
    c.fail_if(long, Status::WeightFile);
    count
}

/// Checks a record and what lies between it and the end of the one before; where it ends.
fn check_record(
    c: &mut Code<'_>,
    digest: FuncId,
    record: Value,
    [body, length, before]: [Value; 3],
) -> Value {
    let [offset, bytes, said] = [record_at::OFFSET, record_at::BYTES, record_at::DIGEST]
        .map(|at| c.load(I64, record, at as i32));
    let overlaps = c.is(offset, IntCC::UnsignedLessThan, before);
    c.fail_if(overlaps, Status::WeightFile);
    let ragged = is_ragged(c, offset, SMALL_RECORD_ALIGN);
    c.fail_if(ragged, Status::WeightFile);
    let outside = c.is(offset, IntCC::UnsignedGreaterThan, length);
    c.fail_if(outside, Status::WeightFile);
    let room = c.ins().isub(length, offset);
    let past = c.is(bytes, IntCC::UnsignedGreaterThan, room);
    c.fail_if(past, Status::WeightFile);
    check_zeros(c, body, before, offset);
    let start = c.ins().iadd(body, offset);
    let found = c.called(digest, &[start, bytes]);
    let differs = c.is(found, IntCC::NotEqual, said);
    c.fail_if(differs, Status::WeightFile);
    c.ins().iadd(offset, bytes)
}

/// Checks padding: bytes of the body from one offset up to but not including another.
fn check_zeros(c: &mut Code<'_>, body: Value, from: Value, to: Value) {
    c.each(from, to, |c, index| {
        let at = c.ins().iadd(body, index);
        let byte = c.load(I8, at, 0);
        let zero = c.ins().iconst(I8, 0);
        let set = c.is(byte, IntCC::NotEqual, zero);
        c.fail_if(set, Status::WeightFile);
    });
}
