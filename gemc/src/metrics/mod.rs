//! Logits of a reference and of a candidate in, figures of their difference out. Everything accumulates in f64.

mod classes;
mod tokens;
mod vectors;

use crate::graph::Task;

pub use classes::macro_f1;
pub use tokens::{
    argmax, at_least_zero, kl_divergence, log_softmax, negative_log_likelihood, top2_gap,
};
pub use vectors::cosine_error;

/// How far an output is from the reference's, 0 where they agree: KL of logits in nats, cosine error of vectors.
#[must_use]
pub fn divergence(task: Task) -> fn(&[f32], &[f32]) -> f64 {
    match task {
        Task::CausalLm | Task::SequenceClassification | Task::TokenClassification => kl_divergence,
        Task::Embedding => cosine_error,
    }
}

/// A sample of some figure: collects values, gives statistics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    values: Vec<f64>,
}

impl Sample {
    /// Adds a value to the sums.
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

    /// The value below which this share of the values lies (0.99: the 99th percentile), linear between neighbours;
    /// `None` of no values. NaN where a value is NaN.
    ///
    /// # Panics
    /// For a share outside `0..=1`, which is a percentage given by mistake.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        assert!((0.0..=1.0).contains(&share), "a share, not a percentage");
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        if sorted.iter().any(|value| value.is_nan()) {
            return Some(f64::NAN);
        }
        let at = share * last as f64;
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
        assert_eq!(sample.quantile(0.5), Some(2.5));
        assert_eq!(sample.quantile(1.0), Some(4.0));
        assert_eq!(sample.quantile(0.0), Some(1.0));
        let stderr = sample.standard_error().unwrap();
        assert!((stderr - (5.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn too_few_values_have_no_statistics() {
        let mut sample = Sample::default();
        assert_eq!((sample.mean(), sample.quantile(0.5)), (None, None));
        sample.push(7.0);
        assert_eq!((sample.mean(), sample.standard_error()), (Some(7.0), None));
        assert_eq!(sample.quantile(0.99), Some(7.0));
        sample.push(f64::NAN);
        let nan = |value: Option<f64>| value.is_some_and(f64::is_nan);
        assert!(nan(sample.mean()) && nan(sample.quantile(0.1)));
    }

    proptest::proptest! {
        /// Of n values, at least the share lies at or below its quantile and at least the rest at or above: counted.
        #[test]
        fn quantiles_are_those_of_a_count(
            values in proptest::collection::vec(-50_i32..50, 1..60),
            percent in 0_u32..=100,
        ) {
            let share = f64::from(percent) / 100.0;
            let sample: Sample = values.iter().map(|v| f64::from(*v)).collect();
            let quantile = sample.quantile(share).expect("there are values");
            let count = values.len() as f64;
            let below = values.iter().filter(|v| f64::from(**v) <= quantile).count() as f64;
            let above = values.iter().filter(|v| f64::from(**v) >= quantile).count() as f64;
            // A quantile between two neighbours leaves at most one value of slack on either side.
            proptest::prop_assert!(below + 1.0 >= share * (count - 1.0) + 1.0 - 1e-9);
            proptest::prop_assert!(above + 1.0 >= (1.0 - share) * (count - 1.0) + 1.0 - 1e-9);
            let sorted = {
                let mut sorted = values.clone();
                sorted.sort_unstable();
                sorted
            };
            if sorted.len() % 2 == 1 {
                let middle = f64::from(sorted[sorted.len() / 2]);
                proptest::prop_assert_eq!(sample.quantile(0.5), Some(middle));
            }
            // Thousandths from the top: the plain rank of the nearest values brackets it.
            let rank = share * (count - 1.0);
            let bracket = f64::from(sorted[rank.floor() as usize])..=f64::from(sorted[rank.ceil() as usize]);
            proptest::prop_assert!(bracket.contains(&quantile));
        }
    }
}
