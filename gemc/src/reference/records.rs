//! Routing records: what every routed site decided for every row, and how close each decision was.
//!
//! Records of one run are the forced routing of another ([`super::RoutingSource::Forced`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::graph::{Gates, Score, Site};

/// A decision whose margin is below this may differ between correct executions (docs/checkpoint.md, near-ties).
pub const NEAR_TIE: f32 = 1e-4;

/// How a router turns p into decisions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RouterRule {
    /// How logits become probabilities.
    pub score: Score,
    /// At most so many modules fire.
    pub top_k: usize,
    /// A module fires when p is strictly above.
    pub threshold: f32,
    /// How gates follow from p.
    pub gates: Gates,
}

/// What one router decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decisions {
    /// Number of modules, D.
    pub modules: usize,
    /// The rule it followed.
    pub rule: RouterRule,
    /// Probabilities, `[rows, D]`.
    pub p: Vec<f32>,
    /// Added to p for the choice of modules, `[D]`; empty where nothing is.
    pub select_bias: Vec<f32>,
    /// Whether a module fired for a row, `[rows, D]`.
    pub fired: Vec<bool>,
    /// argmax p where something fired, else D.
    pub domain: Vec<u32>,
}

impl Decisions {
    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.domain.len()
    }

    /// Whether anything fired.
    #[must_use]
    pub fn flag(&self, row: usize) -> bool {
        self.domain[row] as usize != self.modules
    }

    /// p of a row.
    #[must_use]
    pub fn p_row(&self, row: usize) -> &[f32] {
        &self.p[row * self.modules..][..self.modules]
    }

    /// Fired modules of a row.
    #[must_use]
    pub fn fired_row(&self, row: usize) -> &[bool] {
        &self.fired[row * self.modules..][..self.modules]
    }

    /// How far p of a row is from another decision: the smallest of |p - threshold| over the top-k, of k-th against
    /// next p, and of first against second p (the domain). Two p below the threshold may change places freely.
    #[must_use]
    pub fn margin(&self, row: usize) -> f32 {
        let mut sorted = self.p_row(row).to_vec();
        if !self.select_bias.is_empty() {
            return self.margin_of_choice(&sorted);
        }
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let threshold = self.rule.threshold;
        let order = |i: usize| match sorted.get(i) {
            Some(next) => (sorted[i - 1] - next).max(threshold - sorted[i - 1]),
            None => f32::INFINITY,
        };
        let k = self.rule.top_k.clamp(1, sorted.len());
        sorted[..k]
            .iter()
            .map(|p| (p - threshold).abs())
            .chain([order(k), order(1)])
            .fold(f32::INFINITY, f32::min)
    }

    /// The gap between the last that is chosen and the next, with what is added for the choice.
    fn margin_of_choice(&self, p: &[f32]) -> f32 {
        let biased = p.iter().zip(&self.select_bias).map(|(p, bias)| p + bias);
        let mut sorted: Vec<f32> = biased.collect();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let k = self.rule.top_k.clamp(1, sorted.len());
        sorted
            .get(k)
            .map_or(f32::INFINITY, |next| sorted[k - 1] - next)
    }

    /// Whether rounding alone may change the decision of a row.
    #[must_use]
    pub fn near_tie(&self, row: usize) -> bool {
        self.margin(row) < NEAR_TIE
    }
}

/// Clusters of one SCAR site.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterIds {
    /// Ids are below.
    pub count: usize,
    /// Nearest centroid by row.
    pub ids: Vec<u32>,
    /// Relative distance of the two nearest centroids, `1 - d1/d2` of squared distances, by row; infinite when there
    /// is one centroid or the ids were forced.
    pub margins: Vec<f32>,
}

impl ClusterIds {
    /// Whether rounding alone may change the cluster of a row.
    #[must_use]
    pub fn near_tie(&self, row: usize) -> bool {
        self.margins[row] < NEAR_TIE
    }
}

/// Everything decided at one routed site.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteRouting {
    /// What the site's router decided.
    pub decisions: Arc<Decisions>,
    /// Of a SCAR site with clusters.
    pub clusters: Option<Arc<ClusterIds>>,
}

impl SiteRouting {
    /// Whether rounding alone may change anything decided for a row.
    #[must_use]
    pub fn near_tie(&self, row: usize) -> bool {
        self.decisions.near_tie(row) || self.clusters.as_ref().is_some_and(|c| c.near_tie(row))
    }

    /// Whether both decided the same for a row: fired, domain and cluster.
    ///
    /// # Panics
    /// When the two are of different shapes.
    #[must_use]
    pub fn agrees(&self, other: &Self, row: usize) -> bool {
        let cluster = |s: &Self| s.clusters.as_ref().map(|c| c.ids[row]);
        self.decisions.fired_row(row) == other.decisions.fired_row(row)
            && self.decisions.domain[row] == other.decisions.domain[row]
            && cluster(self) == cluster(other)
    }
}

/// The decisions of a run, by site in evaluation order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutingRecords(BTreeMap<Site, SiteRouting>);

impl RoutingRecords {
    /// What a site decided.
    #[must_use]
    pub fn get(&self, site: Site) -> Option<&SiteRouting> {
        self.0.get(&site)
    }

    /// All sites in evaluation order.
    pub fn iter(&self) -> impl Iterator<Item = (Site, &SiteRouting)> {
        self.0.iter().map(|(site, routing)| (*site, routing))
    }

    /// Sets what a site decided.
    pub fn insert(&mut self, site: Site, routing: SiteRouting) {
        self.0.insert(site, routing);
    }

    pub(super) fn insert_clusters(&mut self, site: Site, clusters: Arc<ClusterIds>) {
        if let Some(routing) = self.0.get_mut(&site) {
            routing.clusters = Some(clusters);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn margin(p: &[f32], top_k: usize, threshold: f32) -> f32 {
        let rule = RouterRule {
            score: Score::Softmax,
            top_k,
            threshold,
            gates: Gates::plain(false),
        };
        Decisions {
            select_bias: Vec::new(),
            modules: p.len(),
            rule,
            p: p.to_vec(),
            fired: vec![false; p.len()],
            domain: vec![0],
        }
        .margin(0)
    }

    #[test]
    fn margins_of_order_and_threshold() {
        let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-6, "{a} {b}");
        near(margin(&[0.5, 0.3, 0.2], 1, 0.0), 0.2);
        near(margin(&[0.3, 0.5, 0.2], 2, 0.0), 0.1);
        near(margin(&[0.5, 0.45, 0.05], 1, 0.4), 0.05);
        // The threshold is closest.
        near(margin(&[0.5, 0.3, 0.2], 1, 0.49), 0.01);
        // Nothing can fire: the equal leaders do not matter, their distance to the threshold does.
        near(margin(&[0.4, 0.4, 0.2], 1, 0.7), 0.3);
        near(margin(&[1.0], 1, 0.3), 0.7);
    }
}
