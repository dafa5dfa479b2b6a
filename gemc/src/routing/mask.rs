//! Flags, domains and clusters of the rows of a context -> how many pairs of them SCAR lets see each other.
//!
//! The mask of docs/checkpoint.md is symmetric but for `j <= i`, and everyone sees themselves. So visible pairs follow
//! from the sizes of groups and clusters alone, `sum of n_g^2 + sum of n_c^2 - sum of n_gc^2`, in linear time.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::graph::ScarMask;
use crate::reference::SiteRouting;

/// Pairs of rows that SCAR may compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pairs {
    /// Those that see each other.
    pub visible: u64,
    /// All.
    pub all: u64,
}

impl Pairs {
    pub fn add(&mut self, other: Self) {
        self.visible += other.visible;
        self.all += other.all;
    }

    /// The share that is visible; none of no pairs.
    pub fn density(self) -> Option<f64> {
        (self.all > 0).then(|| self.visible as f64 / self.all as f64)
    }
}

/// What the mask compares, by row: flag or domain, and the cluster. Without clusters groups alone count.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Marks(Vec<(u32, u32)>);

impl Marks {
    /// Of some rows of a site's record.
    pub fn of(routing: &SiteRouting, mask: ScarMask, rows: Range<usize>) -> Self {
        let decisions = &routing.decisions;
        let mark = |row: usize| {
            let group = match mask {
                ScarMask::ClusterOrFlag => decisions.flag(row).into(),
                ScarMask::ClusterOrDomain => decisions.domain[row],
            };
            (
                group,
                routing.clusters.as_ref().map_or(group, |c| c.ids[row]),
            )
        };
        Self(rows.map(mark).collect())
    }

    /// The first half of the rows, rounded down.
    pub fn first_half(&self) -> Self {
        Self(self.0[..self.0.len() / 2].to_vec())
    }

    /// The rest.
    pub fn second_half(&self) -> Self {
        Self(self.0[self.0.len() / 2..].to_vec())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Pairs of one context.
    pub fn pairs(&self, causal: bool) -> Pairs {
        let rows = self.0.len() as u64;
        let ordered = Pairs {
            visible: self.ordered(),
            all: rows * rows,
        };
        if causal {
            // Half of the ordered pairs of different rows, and every row itself.
            Pairs {
                visible: (ordered.visible + rows) / 2,
                all: (ordered.all + rows) / 2,
            }
        } else {
            ordered
        }
    }

    /// Pairs of which one row is in `self` and the other in `next`, the context going on.
    pub fn across(&self, next: &Self, causal: bool) -> Pairs {
        let visible = self.followed_by(next).ordered() - self.ordered() - next.ordered();
        let all = 2 * self.0.len() as u64 * next.0.len() as u64;
        let each = if causal { 2 } else { 1 };
        Pairs {
            visible: visible / each,
            all: all / each,
        }
    }

    /// One context of both.
    pub fn followed_by(&self, next: &Self) -> Self {
        Self(self.0.iter().chain(&next.0).copied().collect())
    }

    /// Ordered pairs, with oneself, that share group or cluster.
    fn ordered(&self) -> u64 {
        let squares = |key: fn(&(u32, u32)) -> (u32, u32)| {
            let mut counts: BTreeMap<(u32, u32), u64> = BTreeMap::new();
            for mark in &self.0 {
                *counts.entry(key(mark)).or_default() += 1;
            }
            counts.into_values().map(|n| n * n).sum::<u64>()
        };
        squares(|m| (m.0, 0)) + squares(|m| (m.1, 0)) - squares(|m| *m)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(rows: usize, seed: usize) -> Marks {
        let mark = |i: usize| {
            let h = (i * 31 + seed * 17 + i * i) as u32;
            (h % 3, h / 3 % 5)
        };
        Marks((0..rows).map(mark).collect())
    }

    /// The definition, pair by pair; `counts(i, j)` says which pairs are meant.
    fn plain(marks: &Marks, causal: bool, counts: impl Fn(usize, usize) -> bool) -> Pairs {
        let mut pairs = Pairs::default();
        for i in 0..marks.0.len() {
            for j in 0..marks.0.len() {
                if (j <= i || !causal) && counts(i, j) {
                    let (a, b) = (marks.0[i], marks.0[j]);
                    pairs.all += 1;
                    pairs.visible += u64::from(i == j || a.0 == b.0 || a.1 == b.1);
                }
            }
        }
        pairs
    }

    #[test]
    fn counting_sizes_gives_what_counting_pairs_gives() {
        for causal in [true, false] {
            for rows in [0, 1, 2, 7, 40] {
                let one = marks(rows, 1);
                assert_eq!(one.pairs(causal), plain(&one, causal, |_, _| true));
                let two = marks(9, 2);
                let both = one.followed_by(&two);
                let crosses = |i: usize, j: usize| (i < rows) != (j < rows);
                assert_eq!(one.across(&two, causal), plain(&both, causal, crosses));
            }
        }
    }

    #[test]
    fn halves_are_the_whole() {
        for rows in [0, 1, 2, 5] {
            let whole = marks(rows, 3);
            assert_eq!(whole.first_half().0.len(), rows / 2);
            assert_eq!(whole.first_half().followed_by(&whole.second_half()), whole);
        }
    }
}
