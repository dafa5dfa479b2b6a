//! What products take on a device, as its target file says -> the time of a unit.

use std::collections::BTreeMap;

use gemc_format::Codec;
use serde::{Deserialize, Serialize};

/// How fast the device reads and computes weights, for `--latency`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Whether nobody measured them on the device: they are projections from static cycles of the emitted loops.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub projected: bool,
    /// Threads that compute.
    pub threads: u32,
    /// GB/s that they read together from memory.
    pub bandwidth: f64,
    /// Microseconds that a phase of a step takes beyond its work where they share it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub barrier: f64,
    /// Nanoseconds that one of them takes for a thousand weights in its cache and one row, by format. Of a format that is not
    /// there nothing is known: it is never chosen for its speed.
    pub weights: BTreeMap<String, f64>,
    /// The same per row of many.
    pub batch: BTreeMap<String, f64>,
    /// Nanoseconds that one of them takes for a thousand values of other work, by kind ([`WorkKind`]). What is not there is not
    /// counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<String, f64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

/// Work of a step beside products, counted in values; `gemc::work` says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkKind {
    /// Elements of a head at every position that is seen.
    Attention,
    /// Elements of queries, keys and values.
    Heads,
    /// Elements that are normalised, and rounded where that follows.
    Norm,
    /// Elements that are rounded alone.
    Rounding,
    /// Outputs that SiLU or less is applied to, and that are rounded.
    Silu,
    /// The same with GELU or the hyperbolic tangent.
    Gelu,
    /// Elements of a router's matrix.
    Router,
    /// Elements of centroids.
    Clusters,
    /// Elements that are added up.
    Combine,
    /// Elements of a token's row.
    Embedding,
}

impl WorkKind {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Attention,
        Self::Heads,
        Self::Norm,
        Self::Rounding,
        Self::Silu,
        Self::Gelu,
        Self::Router,
        Self::Clusters,
        Self::Combine,
        Self::Embedding,
    ];

    /// Its name in target files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Heads => "heads",
            Self::Norm => "norm",
            Self::Rounding => "rounding",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::Router => "router",
            Self::Clusters => "clusters",
            Self::Combine => "combine",
            Self::Embedding => "embedding",
        }
    }
}

impl Costs {
    /// What a time that follows from them is.
    #[must_use]
    pub const fn word(projected: bool) -> &'static str {
        if projected { "projected" } else { "predicted" }
    }

    /// Seconds for a matrix of so many weights and bytes that each of `rows` rows visits with a probability: bytes come while
    /// the weights before them are computed, but not all of them, so that both count ([`Costs::together`]). A matrix that no row visits is not read. `None`
    /// where nothing is known of the format.
    #[must_use]
    pub fn seconds(
        &self,
        (weights, bytes): (usize, u64),
        codec: Codec,
        rows: u32,
        visits: f64,
    ) -> Option<f64> {
        let costs = if rows == 1 {
            &self.weights
        } else {
            &self.batch
        };
        let cost = costs.get(codec.name())?;
        let products = f64::from(rows) * visits * weights as f64;
        let computing = products * cost * 1e-12 / f64::from(self.threads);
        let read = 1.0 - (1.0 - visits.clamp(0.0, 1.0)).powf(f64::from(rows));
        Some(Self::together(computing, read * self.reading(bytes)))
    }

    /// Seconds for computing with what is read meanwhile: the root of the sum of squares, which is hardly more than the longer
    /// of two that differ, and 1.4 times as long as either of two alike. Measured, such were 1.3 to 1.5 times as long
    /// (docs/results/performance.md).
    #[must_use]
    pub fn together(computing: f64, reading: f64) -> f64 {
        computing.hypot(reading)
    }

    /// Seconds for reading so many bytes of memory.
    #[must_use]
    pub fn reading(&self, bytes: u64) -> f64 {
        bytes as f64 / (1e9 * self.bandwidth)
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
        if !(self.barrier.is_finite() && self.barrier >= 0.0) {
            let barrier = self.barrier;
            return Err(format!(
                "costs.barrier is {barrier}, allowed are numbers from 0"
            ));
        }
        for (name, cost) in &self.others {
            positive(&format!("costs.others.{name}"), *cost)?;
            if !WorkKind::ALL.iter().any(|kind| kind.name() == name) {
                let known = WorkKind::ALL.map(WorkKind::name).join(", ");
                return Err(format!("costs.others.{name}: kinds are {known}"));
            }
        }
        let names: Vec<&str> = Codec::ALL.iter().map(|codec| codec.name()).collect();
        for (table, costs) in [("weights", &self.weights), ("batch", &self.batch)] {
            for (name, cost) in costs {
                positive(&format!("costs.{table}.{name}"), *cost)?;
            }
            if let Some(unknown) = costs.keys().find(|n| !names.contains(&n.as_str())) {
                let known = names.join(", ");
                return Err(format!("costs.{table}.{unknown}: formats are {known}"));
            }
        }
        let lacks = |a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>| {
            a.keys().find(|name| !b.contains_key(*name)).cloned()
        };
        for (table, a, b) in [
            ("batch", &self.weights, &self.batch),
            ("weights", &self.batch, &self.weights),
        ] {
            if let Some(name) = lacks(a, b) {
                return Err(format!(
                    "costs.{table} has no {name}, which the other table has"
                ));
            }
        }
        if self.weights.is_empty() {
            return Err("costs.weights has no format".to_owned());
        }
        Ok(())
    }
}
