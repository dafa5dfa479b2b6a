//! What is left of repetitions, arrays and strips.

use super::{ExpandedKernel, expand};
use crate::ir::build::{KernelBuilder, Region, Val};
use crate::ir::{Count, Elem, Kernel, Stmt, Ty, walk};

/// A kernel over 64 words, written out.
fn of(body: impl for<'k> FnOnce(&'k KernelBuilder, Region<'k>)) -> Kernel {
    let kernel = KernelBuilder::build("k", "", 1, |k| body(k, k.output("y", Elem::I32, 64)));
    let ExpandedKernel { kernel, .. } = expand(&kernel).expect("sound");
    kernel
}

/// How many statements of a kernel are so.
fn count(kernel: &Kernel, is: impl Fn(&Stmt) -> bool) -> usize {
    let mut found = 0;
    walk(&kernel.body, &mut |stmt| found += usize::from(is(stmt)));
    found
}

fn assignments(kernel: &Kernel) -> usize {
    count(kernel, |stmt| matches!(stmt, Stmt::Var(..) | Stmt::Set(..)))
}

#[test]
fn in_a_stretch_without_branches_elements_are_names_of_values() {
    let kernel = of(|k, y| {
        let four = Count::of(4);
        let sums = k.array("sums", &four, 0);
        k.comment("once");
        for _ in 0..2 {
            k.repeat(&four, "i", |i| {
                k.comment("in the first turn");
                sums.update(i, |sum| sum + y.get(i));
            });
        }
        k.repeat(&four, "i", |i| y.store(i, sums.get(i)));
    });
    assert_eq!(assignments(&kernel), 0);
    assert_eq!(count(&kernel, |stmt| matches!(stmt, Stmt::Store { .. })), 4);
    let comments = count(&kernel, |stmt| matches!(stmt, Stmt::Comment(_)));
    assert_eq!(comments, 3);
}

#[test]
fn what_a_loop_carries_is_a_local_for_each_element() {
    let kernel = of(|k, y| {
        let rows = Count::named(3, "rows");
        let sums = k.array("sums", &rows, 0);
        k.for_n(5, |at| {
            k.repeat(&rows, "row", |row| sums.update(row, |sum| sum + at))
        });
        k.repeat(&rows, "row", |row| y.store(row, sums.get(row)));
    });
    assert_eq!(kernel.vars.len(), 3);
    // Declared, and assigned once in the loop.
    assert_eq!(assignments(&kernel), 6);
}

#[test]
fn strips_are_a_loop_over_whole_ones_and_a_loop_over_the_rest() {
    let kernel = of(|k, y| {
        let end = y.get(0).bounded(32);
        k.strips(end, &Count::named(4, "rows"), |first, size| {
            let rows = Count::named(4, "rows");
            k.repeat(&rows, "row", |row| y.store(first + row, size));
        });
    });
    let bodies: Vec<usize> = kernel
        .body
        .iter()
        .filter_map(|stmt| match stmt {
            Stmt::For { body, .. } => Some(body),
            _ => None,
        })
        .map(|body| {
            body.iter()
                .filter(|s| matches!(s, Stmt::Store { .. }))
                .count()
        })
        .collect();
    assert_eq!(bodies, [4, 1]);
}

#[test]
fn strips_of_one_are_a_loop() {
    let kernel = KernelBuilder::build("k", "", 1, |k| {
        let y = k.output("y", Elem::I32, 64);
        let end = y.get(0).bounded(32);
        k.strips(end, &Count::named(1, "rows"), |first: Val<'_>, size| {
            assert_eq!((first.ty(), size.literal()), (Ty::I32, Some(1)));
        });
    });
    assert!(super::is_expanded(&kernel));
}
