//! The interval arithmetic, against all small cases.

use super::Range;
use crate::ir::Extent;
use gem_runtime::abi::MAX_CONTEXT;

/// Every interval within -3..=3.
fn intervals() -> impl Iterator<Item = (i64, i64)> + Clone {
    (-3..=3i64).flat_map(|lo| (lo..=3).map(move |hi| (lo, hi)))
}

/// Checks that the result of ranges contains the results of all their members that `allowed` lets through.
fn contains(
    op: impl Fn(Range, Range) -> Range,
    exact: impl Fn(i64, i64) -> i64,
    allowed: impl Fn(i64, i64) -> bool,
) {
    for ((alo, ahi), (blo, bhi)) in intervals().flat_map(|a| intervals().map(move |b| (a, b))) {
        if !allowed(alo, blo) {
            continue;
        }
        let range = op(Range::new(alo, ahi), Range::new(blo, bhi));
        for (a, b) in (alo..=ahi).flat_map(|a| (blo..=bhi).map(move |b| (a, b))) {
            let result = exact(a, b);
            assert!(
                range.lo <= result && result <= range.hi,
                "{a} in {alo}..={ahi}, {b} in {blo}..={bhi}: {result} not {range}"
            );
        }
    }
}

#[test]
fn ranges_contain_every_result() {
    let any = |_, _| true;
    contains(Range::add, |a, b| a + b, any);
    contains(Range::sub, |a, b| a - b, any);
    contains(Range::mul, |a, b| a * b, any);
    contains(Range::min, i64::min, any);
    contains(Range::max, i64::max, any);
    contains(Range::and, |a, b| a & b, any);
    contains(Range::or, |a, b| a | b, any);
    contains(Range::or, |a, b| a ^ b, any);
    contains(Range::div, |a, b| a / b, |a, b| a >= 0 && b >= 1);
    contains(Range::rem, |a, b| a % b, |a, b| a >= 0 && b >= 1);
    let bounded = |a: i64, n: i64| i64::from((a as u32).min(n as u32 - 1));
    contains(Range::bounded, bounded, |_, n| n >= 1);
    for by in 0..4 {
        contains(|a, _| a.shl(by), |a, _| a << by, any);
        contains(|a, _| a.shr_s(by), |a, _| a >> by, any);
        let unsigned = |a: i64, _| i64::from((a as u32 >> by) as i32);
        contains(|a, _| a.shr_u(by), unsigned, any);
    }
}

#[test]
fn what_may_wrap_is_unknown() {
    let most = Range::exactly(i32::MAX.into());
    assert_eq!(most.add(Range::exactly(1)), Range::ANY);
    assert_eq!(most.mul(Range::new(-2, 2)), Range::ANY);
    let context = Range::context();
    assert_eq!(context.mul(context), Range::ANY);
    let most = i64::from(i32::MAX) / i64::from(MAX_CONTEXT);
    assert_ne!(context.mul(Range::exactly(most)), Range::ANY);
    assert_eq!(context.mul(Range::exactly(most + 1)), Range::ANY);
}

#[test]
fn bounds_grow_with_the_context() {
    let context = Range::context();
    let positions = Extent::per_context(16);
    let position = Range::new(0, i32::MAX.into()).bounded(context);
    let index = position.mul(Range::exactly(16));
    assert!(index.fits(16, positions));
    assert!(!index.fits(17, positions));
    assert!(index.add(Range::new(0, 8)).fits(8, positions));
    // A constant bound helps where the context's would not.
    let early = position.min(Range::exactly(255));
    assert!(early.fits(1, Extent::fixed(256)));
    assert!(early.fits(1, Extent::per_context(1)));
    assert!(!early.add(Range::exactly(1)).fits(1, Extent::per_context(1)));
    // A constant index fits only what even the smallest context has.
    assert!(Range::exactly(15).fits(1, positions));
    assert!(!Range::exactly(16).fits(1, positions));
    assert!(Range::exactly(15).join(index).fits(1, positions));
}
