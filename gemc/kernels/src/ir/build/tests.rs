//! What builders fold, reuse and refuse.

use super::{FunctionBuilder, FunctionRef, KernelBuilder, Ops};
use crate::ir::text::kernel_to_string;
use crate::ir::{Elem, Extent, FuncId, KernelId, Space, Ty};

fn body(b: KernelBuilder) -> Vec<String> {
    let text = kernel_to_string(KernelId(0), &b.finish());
    let lines = text.lines().map(|l| l.trim().to_owned());
    let body = lines.skip_while(|l| !l.ends_with("item")).skip(1);
    body.collect()
}

#[test]
fn literals_fold_and_neutral_operands_vanish() {
    let mut b = KernelBuilder::new("k", "", 8);
    let item = b.item();
    let same = b.mul_const(item, 1);
    let same = b.add_const(same, 0);
    assert_eq!(same, item);
    let first = b.add_const(item, 3);
    let second = b.add_const(first, 4);
    let zero = b.mul_const(second, 0);
    assert_eq!(b.literal(zero), Some(0));
    let lines = body(b);
    assert_eq!(
        lines,
        [
            "v1: i32 = i32 3",
            "v2: i32 = add v0, v1",
            "v3: i32 = i32 4",
            "v4: i32 = i32 7",
            "v5: i32 = add v0, v4",
            "v6: i32 = i32 0",
            "}"
        ]
    );
}

#[test]
fn what_was_computed_is_reused_in_scope_only() {
    let mut b = KernelBuilder::new("k", "", 8);
    let x = b.region("x", Space::Arena, Elem::I32, Extent::fixed(8), true);
    let item = b.item();
    let twice = b.add(item, item);
    let mut inner = None;
    b.for_n(2, |b, i| {
        assert_eq!(b.add(item, item), twice);
        inner = Some(b.mul(i, item));
        // Memory and locals may change between two reads.
        assert_ne!(b.load(Ty::I32, x, item), b.load(Ty::I32, x, item));
    });
    let again = b.mul(item, item);
    assert_ne!(Some(again), inner);
    assert_eq!(b.mul(item, item), again);
}

#[test]
fn loops_of_one_or_no_iteration_are_not_loops() {
    let mut b = KernelBuilder::new("k", "", 8);
    b.for_n(0, |_, _| unreachable!("never built"));
    b.for_n(1, |b, i| assert_eq!(b.literal(i), Some(0)));
    assert_eq!(body(b), ["v1: i32 = i32 0", "v2: i32 = i32 1", "}"]);
}

#[test]
#[should_panic(expected = "v2 is not defined in an open block")]
fn values_end_with_their_block() {
    let mut b = KernelBuilder::new("k", "", 8);
    let item = b.item();
    let cond = b.lt(item, item);
    let mut inside = item;
    b.if_(cond, |b| inside = b.add(item, item), |_| {});
    b.add(inside, item);
}

#[test]
#[should_panic(expected = "`add`: v0 is i32 but v1 is f32; expected one type")]
fn types_are_checked_where_they_are_wrong() {
    let mut b = KernelBuilder::new("k", "", 8);
    let item = b.item();
    let x = b.f32(1.0);
    b.add(item, x);
}

#[test]
#[should_panic(expected = "arguments of f0 differ from its parameters")]
fn arguments_are_checked() {
    let mut f = FunctionBuilder::new("f", "");
    let x = f.param("x", Ty::F32);
    let f = FunctionRef::new(FuncId(0), &f.finish(x));
    let mut b = KernelBuilder::new("k", "", 8);
    let item = b.item();
    b.call_fn(&f, &[item]);
}
