//! Logits of a reference and of a candidate in, figures of their difference out. Everything accumulates in f64.

mod classes;
mod tokens;

pub use classes::macro_f1;
pub use tokens::{argmax, kl_divergence, log_softmax, negative_log_likelihood, top2_gap};

/// A sample of some figure: collects values, gives statistics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    values: Vec<f64>,
}

impl Sample {
    /// Adds a value.
    pub fn push(&mut self, value: f64) {
        self.values.push(value);
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Arithmetic mean; `None` of no values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.values.iter().sum::<f64>() / self.len() as f64)
    }

    /// Standard error of the mean; `None` of fewer than two values.
    #[must_use]
    pub fn standard_error(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.len() > 1)?;
        let squares: f64 = self.values.iter().map(|v| (v - mean).powi(2)).sum();
        let count = self.len() as f64;
        Some((squares / (count - 1.0) / count).sqrt())
    }

    /// The `q`-th percentile, `0..=100`, linear between neighbours; `None` of no values.
    #[must_use]
    pub fn percentile(&self, q: f64) -> Option<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = (q / 100.0).clamp(0.0, 1.0) * last as f64;
        let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
        Some(below + (above - below) * at.fract())
    }
}

impl Extend<f64> for Sample {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        self.values.extend(values);
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self {
            values: values.into_iter().collect(),
        }
    }
}

/// Perplexity of a mean negative log-likelihood in nats.
#[must_use]
pub fn perplexity(mean_nll: f64) -> f64 {
    mean_nll.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_a_sample() {
        let sample: Sample = [4.0, 1.0, 3.0, 2.0].into_iter().collect();
        assert_eq!(sample.mean(), Some(2.5));
        assert_eq!(sample.percentile(50.0), Some(2.5));
        assert_eq!(sample.percentile(100.0), Some(4.0));
        assert_eq!(sample.percentile(0.0), Some(1.0));
        let stderr = sample.standard_error().unwrap();
        assert!((stderr - (5.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn too_few_values_have_no_statistics() {
        let mut sample = Sample::default();
        assert_eq!((sample.mean(), sample.percentile(50.0)), (None, None));
        sample.push(7.0);
        assert_eq!((sample.mean(), sample.standard_error()), (Some(7.0), None));
    }
}
