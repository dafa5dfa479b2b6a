//! Counts in, entropies and mutual information in nats out.

use std::collections::BTreeMap;

/// Entropy of the distribution that the counts stand for; `None` when they add up to nothing.
pub(super) fn entropy(counts: impl IntoIterator<Item = u64>) -> Option<f64> {
    let (mut total, mut weighted) = (0u64, 0.0);
    for count in counts.into_iter().filter(|count| *count > 0) {
        total += count;
        weighted += count as f64 * (count as f64).ln();
    }
    (total > 0).then(|| positive((total as f64).ln() - weighted / total as f64))
}

/// Entropy of a row of p, divided by its sum first: sigmoid scores do not add up to one. 0 when all are 0.
pub(super) fn entropy_of_scores(p: &[f32]) -> f64 {
    let total: f64 = p.iter().map(|p| f64::from(*p)).sum();
    if total <= 0.0 {
        return 0.0;
    }
    let terms = p.iter().map(|p| f64::from(*p) / total).filter(|q| *q > 0.0);
    positive(terms.map(|q| -q * q.ln()).sum())
}

/// Mutual information over the mean of the two entropies. `None` when either side never changes: nothing can be told.
pub(super) fn normalised_mutual_information<A: Ord + Copy, B: Ord + Copy>(
    joint: impl IntoIterator<Item = ((A, B), u64)>,
) -> Option<f64> {
    let mut first: BTreeMap<A, u64> = BTreeMap::new();
    let mut second: BTreeMap<B, u64> = BTreeMap::new();
    let mut both: BTreeMap<(A, B), u64> = BTreeMap::new();
    for ((a, b), count) in joint {
        *first.entry(a).or_default() += count;
        *second.entry(b).or_default() += count;
        *both.entry((a, b)).or_default() += count;
    }
    if !changes(first.values()) || !changes(second.values()) {
        return None;
    }
    let a = entropy(first.into_values())?;
    let b = entropy(second.into_values())?;
    let together = entropy(both.into_values())?;
    Some((2.0 * (a + b - together) / (a + b)).clamp(0.0, 1.0))
}

/// Rounding may leave an entropy below 0, or at -0.
fn positive(entropy: f64) -> f64 {
    if entropy > 0.0 { entropy } else { 0.0 }
}

/// Whether more than one state occurs.
fn changes<'a>(counts: impl Iterator<Item = &'a u64>) -> bool {
    counts.filter(|count| **count > 0).count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: Option<f64>, b: f64) {
        assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} {b}");
    }

    #[test]
    fn entropies_of_known_distributions() {
        near(entropy([5, 5, 0, 0]), 2f64.ln());
        near(entropy([7]), 0.0);
        near(entropy([1, 3]), 4f64.ln() - 0.75 * 3f64.ln());
        assert_eq!(entropy([]), None);
        assert_eq!(entropy([0, 0]), None);
        assert!((entropy_of_scores(&[0.5, 0.5, 0.0]) - 2f64.ln()).abs() < 1e-12);
        // Sigmoid scores that are all alike say nothing, however large they are.
        assert!((entropy_of_scores(&[0.9, 0.9, 0.9]) - 3f64.ln()).abs() < 1e-7);
        assert_eq!(entropy_of_scores(&[1.0]), 0.0);
        assert_eq!(entropy_of_scores(&[0.0, 0.0]), 0.0);
    }

    #[test]
    fn mutual_information_of_dependence_independence_and_constants() {
        let nmi =
            |joint: &[((u32, u32), u64)]| normalised_mutual_information(joint.iter().copied());
        near(nmi(&[((0, 1), 4), ((1, 0), 4)]), 1.0);
        near(
            nmi(&[((0, 0), 1), ((0, 1), 3), ((1, 0), 2), ((1, 1), 6)]),
            0.0,
        );
        // H(A) = H(B) = ln 2; joint 3/8 3/8 1/8 1/8.
        let joint = -2.0 * (0.375 * 0.375f64.ln() + 0.125 * 0.125f64.ln());
        let want = (2.0 * 2f64.ln() - joint) / 2f64.ln();
        near(
            nmi(&[((0, 0), 3), ((1, 1), 3), ((0, 1), 1), ((1, 0), 1)]),
            want,
        );
        assert_eq!(nmi(&[((0, 0), 3), ((0, 1), 3)]), None);
        assert_eq!(nmi(&[((0, 0), 3), ((1, 0), 0)]), None);
        assert_eq!(nmi(&[]), None);
    }
}
