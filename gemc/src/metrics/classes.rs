//! Figures of classified texts.

/// Macro-averaged F1 over the classes `0..classes`; a class that neither occurs nor is predicted is left out, as
/// scikit-learn does. `None` when there is no text.
///
/// # Panics
/// When the two lists differ in length or hold a class that is not below `classes`.
#[must_use]
pub fn macro_f1(truth: &[usize], predicted: &[usize], classes: usize) -> Option<f64> {
    assert_eq!(truth.len(), predicted.len());
    let (mut hits, mut occurs, mut named) = (
        vec![0u64; classes],
        vec![0u64; classes],
        vec![0u64; classes],
    );
    for (t, p) in truth.iter().zip(predicted) {
        occurs[*t] += 1;
        named[*p] += 1;
        hits[*t] += u64::from(t == p);
    }
    let scores: Vec<f64> = (0..classes)
        .filter(|c| occurs[*c] + named[*c] > 0)
        .map(|c| 2.0 * hits[c] as f64 / (occurs[c] + named[c]) as f64)
        .collect();
    (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_classes_not_texts() {
        // Class 0: 2 hits, 2 named, 3 true -> 0.8; class 1: 1 hit, 2 named, 1 true -> 2/3; class 2 unseen.
        let f1 = macro_f1(&[0, 0, 0, 1], &[0, 0, 1, 1], 3).unwrap();
        assert!((f1 - (0.8 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert_eq!(macro_f1(&[], &[], 3), None);
    }
}
