//! Intervals of integers, with an upper bound that may grow with the context: what the verifier knows of a value.
//!
//! A [`Range`] is an over-approximation that holds for every context capacity in `1..=MAX_CONTEXT`. An operation whose
//! exact result may leave 32 bits gives [`Range::ANY`], since it may wrap.

use crate::ir::Extent;
use gem_runtime::abi::MAX_CONTEXT;
use std::fmt;

const CONTEXT: i64 = MAX_CONTEXT as i64;
/// Larger coefficients than any region has; beyond them a linear bound is dropped, so that products fit 64 bits.
const MAX_COEFFICIENT: i64 = 1 << 31;

/// Bounds of an I32, or of every lane of an integer vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Lower bound, inclusive.
    pub lo: i64,
    /// Upper bound, inclusive, for every context.
    pub hi: i64,
    /// Another upper bound, inclusive, that grows with the context.
    pub linear: Option<Extent>,
}

impl Range {
    /// Any 32-bit integer.
    pub const ANY: Self = Self::new(i32::MIN as i64, i32::MAX as i64);

    /// A constant interval.
    #[must_use]
    pub const fn new(lo: i64, hi: i64) -> Self {
        Self {
            lo,
            hi,
            linear: None,
        }
    }

    /// One number.
    #[must_use]
    pub const fn exactly(n: i64) -> Self {
        Self::new(n, n)
    }

    /// The capacity of a slot.
    #[must_use]
    pub const fn context() -> Self {
        Self {
            lo: 1,
            hi: CONTEXT,
            linear: Some(Extent::per_context(1)),
        }
    }

    /// Whether every value lies in `lo..=hi`.
    #[must_use]
    pub const fn within(&self, lo: i64, hi: i64) -> bool {
        lo <= self.lo && self.hi <= hi
    }

    /// Whether `value + count <= len` for every context.
    #[must_use]
    pub fn fits(&self, count: i64, len: Extent) -> bool {
        // Both sides are linear in the context, so the ends of its interval decide.
        let fixed = self.hi + count <= at(len, 1).min(at(len, CONTEXT));
        let linear = self
            .linear
            .is_some_and(|l| [1, CONTEXT].iter().all(|&c| at(l, c) + count <= at(len, c)));
        fixed || linear
    }

    /// Values of either.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            lo: self.lo.min(other.lo),
            hi: self.hi.max(other.hi),
            linear: join_linear(&self, &other),
        }
    }

    /// Values of both; either if there are none, for then the value is never computed.
    #[must_use]
    pub fn meet(self, other: Self) -> Self {
        let met = Self {
            lo: self.lo.max(other.lo),
            hi: self.hi.min(other.hi),
            linear: tighter(self.linear, other.linear),
        };
        if met.lo <= met.hi { met } else { self }
    }

    /// Bounds `lo..=hi` as a 32-bit result, which may have wrapped.
    fn wrapping(lo: i64, hi: i64, linear: Option<Extent>) -> Self {
        let linear = linear.filter(|l| {
            l.per_context > 0 && l.per_context < MAX_COEFFICIENT && l.fixed.abs() < MAX_COEFFICIENT
        });
        let hi = linear.map_or(hi, |l| hi.min(at(l, CONTEXT)));
        let range = Self { lo, hi, linear };
        if range.within(Self::ANY.lo, Self::ANY.hi) {
            range
        } else {
            Self::ANY
        }
    }

    pub(super) fn add(self, other: Self) -> Self {
        let linear = match (self.linear, other.linear) {
            (Some(a), Some(b)) => {
                let both = extent(a.per_context + b.per_context, a.fixed + b.fixed);
                let left = extent(a.per_context, a.fixed + other.hi);
                let right = extent(b.per_context, b.fixed + self.hi);
                // A constant that stems from the context's maximum is a bad trade, however few contexts it saves.
                let loose = |r: &Self| r.linear.is_some_and(|l| r.hi >= at(l, CONTEXT));
                match (loose(&self), loose(&other)) {
                    (true, true) => Some(both),
                    (true, false) => Some(left),
                    (false, true) => Some(right),
                    (false, false) => tighter(Some(left), Some(right)),
                }
            }
            (Some(a), None) => Some(extent(a.per_context, a.fixed + other.hi)),
            (None, Some(b)) => Some(extent(b.per_context, b.fixed + self.hi)),
            (None, None) => None,
        };
        Self::wrapping(self.lo + other.lo, self.hi + other.hi, linear)
    }

    pub(super) fn sub(self, other: Self) -> Self {
        let linear = self
            .linear
            .map(|a| extent(a.per_context, a.fixed - other.lo));
        Self::wrapping(self.lo - other.hi, self.hi - other.lo, linear)
    }

    /// Upper bounds one less, of a value that is known not to be the least.
    pub(super) fn less_one(self) -> Self {
        Self {
            lo: self.lo,
            hi: self.hi - 1,
            linear: self.linear.map(|l| extent(l.per_context, l.fixed - 1)),
        }
    }

    pub(super) fn mul(self, other: Self) -> Self {
        let corners = [
            self.lo * other.lo,
            self.lo * other.hi,
            self.hi * other.lo,
            self.hi * other.hi,
        ];
        let (lo, hi) = hull(&corners);
        let linear = if self.lo >= 0 && other.lo >= 0 {
            let scale = |l: Extent, k: i64| extent(l.per_context * k, l.fixed * k);
            tighter(
                self.linear.map(|l| scale(l, other.hi)),
                other.linear.map(|l| scale(l, self.hi)),
            )
        } else {
            None
        };
        Self::wrapping(lo, hi, linear)
    }

    /// `self / other`, of `self >= 0` and `other >= 1`.
    pub(super) fn div(self, other: Self) -> Self {
        let k = other.lo.max(1);
        Self::new(self.lo.max(0) / other.hi.max(1), self.hi.max(0) / k).with_linear(
            self.linear.map(|l| {
                // floor((a*C + b) / k) <= ceil(a / k)*C + floor(b / k)
                let up = l.per_context.div_euclid(k) + i64::from(l.per_context % k != 0);
                extent(up, l.fixed.div_euclid(k))
            }),
        )
    }

    /// `self % other`, of `self >= 0` and `other >= 1`.
    pub(super) fn rem(self, other: Self) -> Self {
        if self.hi < other.lo {
            return self;
        }
        let below = other.linear.map(|l| extent(l.per_context, l.fixed - 1));
        Self::new(0, self.hi.min(other.hi - 1)).with_linear(tighter(self.linear, below))
    }

    pub(super) fn min(self, other: Self) -> Self {
        Self::new(self.lo.min(other.lo), self.hi.min(other.hi))
            .with_linear(tighter(self.linear, other.linear))
    }

    pub(super) fn max(self, other: Self) -> Self {
        Self::new(self.lo.max(other.lo), self.hi.max(other.hi))
            .with_linear(join_linear(&self, &other))
    }

    /// `min(self, other - 1)` compared as unsigned, of `other >= 1`.
    pub(super) fn bounded(self, other: Self) -> Self {
        let last = other.sub(Self::exactly(1));
        if self.lo >= 0 {
            self.min(last)
        } else {
            Self { lo: 0, ..last }
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self.lo >= 0, other.lo >= 0) {
            (true, true) => Self {
                lo: 0,
                ..self.min(other)
            },
            (true, false) => Self { lo: 0, ..self },
            (false, true) => Self { lo: 0, ..other },
            (false, false) => self.of_bits(other),
        }
    }

    /// Of `or` and exclusive `or`.
    pub(super) fn or(self, other: Self) -> Self {
        if self.lo >= 0 && other.lo >= 0 {
            let bits = 64 - (self.hi | other.hi).leading_zeros();
            Self::new(0, (1i64 << bits) - 1)
        } else {
            self.of_bits(other)
        }
    }

    /// What any operation on bits gives: above as many bits as both need, all bits are the sign.
    fn of_bits(self, other: Self) -> Self {
        let ends = [self.lo, self.hi, other.lo, other.hi];
        let bits = |end: i64| 64 - (end ^ (end >> 63)).leading_zeros();
        let bits = ends.map(bits).into_iter().max().unwrap_or(0);
        Self::new(-(1i64 << bits), (1i64 << bits) - 1)
    }

    pub(super) fn shl(self, by: u32) -> Self {
        self.mul(Self::exactly(1 << by))
    }

    pub(super) fn shr_s(self, by: u32) -> Self {
        Self::new(self.lo >> by, self.hi >> by).with_linear(if self.lo >= 0 {
            self.div(Self::exactly(1 << by)).linear
        } else {
            None
        })
    }

    pub(super) fn shr_u(self, by: u32) -> Self {
        match by {
            _ if self.lo >= 0 => self.shr_s(by),
            0 => self,
            _ => Self::new(0, i64::from(u32::MAX >> by)),
        }
    }

    /// Whether all lanes are all ones or zero.
    pub(super) const fn is_mask(&self) -> bool {
        self.within(-1, 0)
    }

    fn with_linear(self, linear: Option<Extent>) -> Self {
        Self::wrapping(self.lo, self.hi, linear)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANY {
            return f.write_str("any integer");
        }
        match self.linear {
            Some(l) if self.hi >= at(l, CONTEXT) => write!(f, "in {}..={l}", self.lo),
            Some(l) => write!(f, "in {}..={} and at most {l}", self.lo, self.hi),
            None if self.lo == self.hi => write!(f, "{}", self.lo),
            None => write!(f, "in {}..={}", self.lo, self.hi),
        }
    }
}

/// Smallest and largest of four.
pub(super) fn hull(corners: &[i64; 4]) -> (i64, i64) {
    let [a, b, c, d] = *corners;
    (a.min(b).min(c.min(d)), a.max(b).max(c.max(d)))
}

/// Value of an extent for a context.
pub(super) const fn at(e: Extent, context: i64) -> i64 {
    e.per_context * context + e.fixed
}

const fn extent(per_context: i64, fixed: i64) -> Extent {
    Extent { per_context, fixed }
}

/// The one that grows less; both are valid.
fn tighter(a: Option<Extent>, b: Option<Extent>) -> Option<Extent> {
    match (a, b) {
        (Some(a), Some(b)) => {
            let key = |e: Extent| (e.per_context, e.fixed);
            Some(if key(a) <= key(b) { a } else { b })
        }
        (a, b) => a.or(b),
    }
}

/// A linear bound of both ranges, if one of them has one.
fn join_linear(a: &Range, b: &Range) -> Option<Extent> {
    match (a.linear, b.linear) {
        (Some(x), Some(y)) => Some(extent(
            x.per_context.max(y.per_context),
            x.fixed.max(y.fixed),
        )),
        // The context is at least 1, so a constant may be paid by the first `per_context`.
        (Some(x), None) => Some(extent(x.per_context, x.fixed.max(b.hi - x.per_context))),
        (None, Some(y)) => Some(extent(y.per_context, y.fixed.max(a.hi - y.per_context))),
        (None, None) => None,
    }
}
