//! Figures of single rows of logits.

/// log of the softmax of a row, in f64.
#[must_use]
pub fn log_softmax(row: &[f32]) -> Vec<f64> {
    let normaliser = log_sum_exp(row);
    row.iter().map(|x| f64::from(*x) - normaliser).collect()
}

/// Kullback-Leibler divergence KL(reference || candidate) in nats of two rows of logits; never negative, and NaN where a
/// logit of either is not a number.
///
/// # Panics
/// When the rows differ in length.
#[must_use]
pub fn kl_divergence(reference: &[f32], candidate: &[f32]) -> f64 {
    assert_eq!(reference.len(), candidate.len());
    let (p_normaliser, q_normaliser) = (log_sum_exp(reference), log_sum_exp(candidate));
    let terms = reference.iter().zip(candidate).map(|(p, q)| {
        let log_p = f64::from(*p) - p_normaliser;
        log_p.exp() * (log_p - (f64::from(*q) - q_normaliser))
    });
    at_least_zero(terms.sum())
}

/// A divergence that rounding made negative is zero; NaN stays, which `f64::max` would replace by the other operand.
#[must_use]
pub fn at_least_zero(divergence: f64) -> f64 {
    if divergence < 0.0 { 0.0 } else { divergence }
}

/// Negative log-likelihood of `target` in nats.
///
/// # Panics
/// When the target is no index of the row.
#[must_use]
pub fn negative_log_likelihood(row: &[f32], target: usize) -> f64 {
    log_sum_exp(row) - f64::from(row[target])
}

/// Index of the largest value, the lower one of equals; 0 of an empty row.
#[must_use]
pub fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, x) in row.iter().enumerate() {
        if *x > row[best] {
            best = i;
        }
    }
    best
}

/// Difference of the two largest values; infinite of fewer than two.
#[must_use]
pub fn top2_gap(row: &[f32]) -> f32 {
    let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for x in row {
        if *x > first {
            (first, second) = (*x, first);
        } else if *x > second {
            second = *x;
        }
    }
    first - second
}

fn log_sum_exp(row: &[f32]) -> f64 {
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|x| (f64::from(*x) - largest).exp()).sum();
    largest + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_softmax_is_normalised_and_shift_invariant() {
        let row = log_softmax(&[100.0, 101.0, 99.5]);
        assert!((row.iter().map(|x| x.exp()).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((row[1] - row[0] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn divergence_of_known_distributions() {
        let p = [0.5f32.ln(), 0.5f32.ln()];
        let q = [0.25f32.ln(), 0.75f32.ln()];
        let want = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
        assert!((kl_divergence(&p, &q) - want).abs() < 1e-7);
        assert_eq!(kl_divergence(&p, &p), 0.0);
        // Not symmetric.
        assert!((kl_divergence(&q, &p) - want).abs() > 1e-3);
    }

    #[test]
    fn likelihood_argmax_and_gap() {
        assert!((negative_log_likelihood(&[0.0, 0.0], 1) - 2f64.ln()).abs() < 1e-12);
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(top2_gap(&[1.0, 3.0, 2.5]), 0.5);
        assert_eq!(top2_gap(&[3.0, 3.0]), 0.0);
    }

    #[test]
    fn what_is_not_a_number_is_a_difference() {
        let sound = [1.0, 2.0, 3.0];
        for bad in [f32::NAN, f32::INFINITY] {
            let row = [1.0, bad, 3.0];
            assert!(kl_divergence(&sound, &row).is_nan(), "{bad}");
            assert!(kl_divergence(&row, &sound).is_nan(), "{bad}");
            assert!(kl_divergence(&row, &row).is_nan(), "{bad}");
        }
        assert_eq!(at_least_zero(-1e-9), 0.0);
        assert!(at_least_zero(f64::NAN).is_nan());
    }
}
