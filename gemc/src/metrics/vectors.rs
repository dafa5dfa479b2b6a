//! Figures of vectors of texts.

/// One less the cosine of two vectors; NaN where one is no vector of finite numbers or has no length.
#[must_use]
pub fn cosine_error(reference: &[f32], candidate: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y));
        products.sum()
    };
    let lengths = dot(reference, reference) * dot(candidate, candidate);
    1.0 - dot(reference, candidate) / lengths.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_count_and_lengths_do_not() {
        let error = |a: [f32; 2], b: [f32; 2]| cosine_error(&a, &b);
        assert!(error([1.0, 0.0], [3.0, 0.0]).abs() < 1e-12);
        assert!((error([1.0, 0.0], [0.0, 2.0]) - 1.0).abs() < 1e-12);
        assert!((error([1.0, 0.0], [-1.0, 0.0]) - 2.0).abs() < 1e-12);
        assert!((error([1.0, 0.0], [1.0, 1.0]) - 1.0 + 0.5f64.sqrt()).abs() < 1e-12);
        assert!(error([0.0, 0.0], [1.0, 1.0]).is_nan());
        assert!(error([f32::NAN, 0.0], [1.0, 1.0]).is_nan());
    }
}
