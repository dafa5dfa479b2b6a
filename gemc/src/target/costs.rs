//! What decoding takes on a device, as its target file says -> the time that weights take.

use std::collections::BTreeMap;

use gem_runtime::format::Codec;
use serde::{Deserialize, Serialize};

/// What weights cost when one token is decoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Threads that decode.
    pub threads: u32,
    /// GB/s that they read together from memory.
    pub bandwidth: f64,
    /// Nanoseconds that one of them takes for a thousand weights in its cache, by format.
    pub weights: BTreeMap<String, f64>,
}

impl Costs {
    /// Seconds for a matrix that is read once: its bytes come while the weights before them are computed, so the slower of
    /// both counts.
    #[must_use]
    pub fn seconds(&self, weights: usize, bytes: u64, codec: Codec) -> f64 {
        let computing = self.weights.get(codec.name()).copied().unwrap_or_default();
        let computing = weights as f64 * computing * 1e-12 / f64::from(self.threads);
        computing.max(bytes as f64 / (1e9 * self.bandwidth))
    }

    /// Whether figures are there and are figures.
    ///
    /// # Errors
    /// In words, with what is allowed.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=1024).contains(&self.threads) {
            return Err(format!(
                "costs.threads is {}, allowed are 1 to 1024",
                self.threads
            ));
        }
        let positive = |what: &str, x: f64| {
            let good = x.is_finite() && x > 0.0;
            let words = format!("{what} is {x}, allowed are numbers above 0");
            good.then_some(()).ok_or(words)
        };
        positive("costs.bandwidth", self.bandwidth)?;
        for (name, cost) in &self.weights {
            positive(&format!("costs.weights.{name}"), *cost)?;
        }
        let names: Vec<&str> = Codec::ALL.iter().map(|codec| codec.name()).collect();
        if let Some(missing) = names.iter().find(|n| !self.weights.contains_key(**n)) {
            return Err(format!("costs.weights has no {missing}"));
        }
        match self.weights.keys().find(|n| !names.contains(&n.as_str())) {
            Some(unknown) => {
                let known = names.join(", ");
                Err(format!("costs.weights.{unknown}: formats are {known}"))
            }
            None => Ok(()),
        }
    }
}
