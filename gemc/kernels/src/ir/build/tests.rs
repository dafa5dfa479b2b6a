//! What builders fold, reuse and refuse.

use super::{FunctionBuilder, FunctionRef, KernelBuilder};
use crate::ir::text::kernel_to_string;
use crate::ir::{Elem, Extent, FuncId, KernelId, Space, Ty};

/// Lines of the body that `body` writes.
fn lines(body: impl FnOnce(&KernelBuilder)) -> Vec<String> {
    let kernel = KernelBuilder::build("k", "", 8, body);
    let text = kernel_to_string(KernelId(0), &kernel);
    let lines = text.lines().map(|l| l.trim().to_owned());
    let body = lines.skip_while(|l| !l.ends_with("item")).skip(1);
    body.collect()
}

#[test]
fn literals_fold_and_neutral_operands_vanish() {
    let lines = lines(|k| {
        let same = k.item() * 1 + 0;
        assert_eq!(same.id(), k.item().id());
        let zero = (k.item() + 3 + 4) * k.lit(0);
        assert_eq!(zero.literal(), Some(0));
    });
    assert_eq!(
        lines,
        [
            "v1: i32 = i32 1",
            "v2: i32 = i32 0",
            "v3: i32 = i32 3",
            "v4: i32 = add v0, v3",
            "v5: i32 = i32 4",
            "v6: i32 = i32 7",
            "v7: i32 = add v0, v6",
            "}"
        ]
    );
}

#[test]
fn numbers_beside_vectors_stand_in_every_lane() {
    let lines = lines(|k| {
        let x = k.splat(1.5);
        let _ = 2.0 - x;
        let _ = x.bits(Ty::I8x64) & 15u8;
    });
    assert_eq!(
        lines,
        [
            "v1: f32 = f32 1.5",
            "v2: f32x16 = splat v1",
            "v3: f32 = f32 2.0",
            "v4: f32x16 = splat v3",
            "v5: f32x16 = sub v4, v2",
            "v6: i8x64 = bits i8x64 v2",
            "v7: i32 = i32 252645135",
            "v8: i32x16 = splat v7",
            "v9: i8x64 = bits i8x64 v8",
            "v10: i8x64 = and v6, v9",
            "}"
        ]
    );
}

#[test]
fn what_was_computed_is_reused_in_scope_only() {
    let _ = lines(|k| {
        let x = k.region("x", Space::Arena, Elem::I32, Extent::fixed(8), true);
        let item = k.item();
        let twice = item + item;
        let mut inner = None;
        k.for_n(2, |i| {
            assert_eq!((item + item).id(), twice.id());
            inner = Some((i * item).id());
            // Memory and locals may change between two reads.
            assert_ne!(x.get(item).id(), x.get(item).id());
        });
        let again = item * item;
        assert_ne!(Some(again.id()), inner);
        assert_eq!((item * item).id(), again.id());
    });
}

#[test]
fn loops_of_one_or_no_iteration_are_not_loops() {
    let lines = lines(|k| {
        k.for_n(0, |_| unreachable!("never built"));
        k.for_n(1, |i| assert_eq!(i.literal(), Some(0)));
    });
    assert_eq!(lines, ["v1: i32 = i32 0", "v2: i32 = i32 1", "}"]);
}

#[test]
#[should_panic(expected = "v2 is not defined in an open block")]
fn values_end_with_their_block() {
    let _ = lines(|k| {
        let item = k.item();
        let mut inside = item;
        k.when(item.lt(item), || inside = item + item);
        let _ = inside + item;
    });
}

#[test]
#[should_panic(expected = "`add`: v0 is i32 but v1 is f32; expected one type")]
fn types_are_checked_where_they_are_wrong() {
    let _ = lines(|k| _ = k.item() + 1.0);
}

#[test]
#[should_panic(expected = "arguments of f0 differ from its parameters")]
fn arguments_are_checked() {
    let f = FunctionBuilder::build("f", "", |f| f.param("x", Ty::F32));
    let f = FunctionRef::new(FuncId(0), &f);
    let _ = lines(|k| _ = f.call(&[k.item()]));
}
