//! The side table itself: what was measured, by routed site and by domain of the text, ready for JSON.
//!
//! Sites and transitions stand in evaluation order, maps are sorted, lists of pairs and edges ascend. A *state* is what
//! a token chose at a site: the module of its largest p where something fired, else D, "nothing".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::graph::Site;

/// A module is rare that serves a smaller share of the fired tokens.
pub const RARE: f64 = 0.005;

/// Everything that routing did on some text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Routes {
    /// Tokens by domain of the text.
    pub texts: BTreeMap<String, u64>,
    /// Names of the model's domains = modules.
    pub modules: Vec<String>,
    /// Routed sites in evaluation order.
    pub sites: Vec<SiteRoutes>,
    /// From each routed site to the next.
    pub transitions: Vec<Transition>,
}

/// What serves a token on which nothing fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unrouted {
    /// The general path: no module fired.
    General,
    /// Nothing; the final placement passes its input on.
    None,
}

impl std::fmt::Display for Unrouted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::General => "general",
            Self::None => "none",
        })
    }
}

/// One routed site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteRoutes {
    /// `layers.3` or `final`.
    pub site: String,
    /// At most so many modules fire.
    pub top_k: usize,
    /// What serves the tokens of state D.
    pub unrouted: Unrouted,
    /// Modules that no token reached.
    pub unreached: Vec<usize>,
    /// Modules that were reached by less than [`RARE`] of the fired tokens.
    pub rare: Vec<usize>,
    /// Normalised mutual information of the text's domain and the state.
    pub domain_nmi: Option<f64>,
    /// Over all text.
    pub all: Measures,
    /// By domain of the text.
    pub domains: BTreeMap<String, Measures>,
}

/// What a site did with some tokens. Shares are of these tokens; entropies are in nats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Number of tokens counted.
    pub tokens: u64,
    /// Share on which something fires.
    pub fired: Option<f64>,
    /// What each module saw, by its index.
    pub traffic: Vec<Traffic>,
    /// Pairs of modules that fire together; only where `top_k` > 1.
    pub coselection: Vec<CoSelection>,
    /// Tokens by module of the largest p, fired or not.
    pub argmax: Vec<u64>,
    /// Tokens by state: D modules, then "nothing".
    pub states: Vec<u64>,
    /// Mean entropy of p.
    pub entropy_p: Option<f64>,
    /// Entropy of `states`.
    pub entropy_states: Option<f64>,
    /// Of a site with clusters.
    pub clusters: Option<Occupancy>,
    /// Of a site with SCAR.
    pub density: Option<Density>,
}

/// Traffic of one module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Tokens on which it fires.
    pub tokens: u64,
    /// Their share; 0 of no text.
    pub share: f64,
    /// Sum of its gates.
    pub gate: f64,
    /// Sum of the squares of its gates: what its output error counts for.
    pub gate_squared: f64,
}

/// Two modules that fire together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoSelection {
    /// Index of the first module, the lower one.
    pub first: usize,
    /// Index of the second module, the higher one.
    pub second: usize,
    /// Tokens on which both fire.
    pub tokens: u64,
}

/// How clusters are used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Occupancy {
    /// Number of centroids.
    pub clusters: usize,
    /// Share of them that is nearest to some token.
    pub occupied: f64,
    /// Entropy of the counts.
    pub entropy: Option<f64>,
    /// Tokens by cluster, without the empty ones.
    pub tokens: BTreeMap<u32, u64>,
}

/// Visible share of the pairs of tokens that SCAR may compare, oneself included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Density {
    /// In windows as given: of one domain.
    pub single: Option<f64>,
    /// In contexts of half a window of another domain and half a window of this one.
    pub mixed: Option<f64>,
    /// In those, of the pairs across the two domains.
    pub across: Option<f64>,
}

/// From one routed site to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Name of the earlier site.
    pub from: String,
    /// Name of the later site.
    pub to: String,
    /// Over all text.
    pub all: Flow,
    /// By domain of the text.
    pub domains: BTreeMap<String, Flow>,
}

/// States of one site and of the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Normalised mutual information of the two states.
    pub nmi: Option<f64>,
    /// Those that occur, ascending.
    pub edges: Vec<Edge>,
}

/// Tokens that go from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// State at the earlier site.
    pub from: usize,
    /// State at the later one.
    pub to: usize,
    /// Number of tokens counted.
    pub tokens: u64,
    /// Of those in `from`, the share that goes to `to`.
    pub probability: f64,
}

impl Routes {
    /// Tokens of all text.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.texts.values().sum()
    }

    /// A routed site.
    #[must_use]
    pub fn site(&self, site: Site) -> Option<&SiteRoutes> {
        let name = site.to_string();
        self.sites.iter().find(|s| s.site == name)
    }

    /// The name of a state of a site: a module's, `general` or `none`.
    #[must_use]
    pub fn state_name(&self, site: &SiteRoutes, state: usize) -> String {
        let module = self.modules.get(state);
        module.map_or_else(|| site.unrouted.to_string(), Clone::clone)
    }

    /// The table as JSON, ending in a line break.
    #[must_use]
    pub fn json(&self) -> String {
        // String keys and finite numbers: serde_json has nothing to refuse.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl Measures {
    /// Tokens on which both modules fire; of a module and itself, its traffic.
    #[must_use]
    pub fn together(&self, a: usize, b: usize) -> u64 {
        if a == b {
            return self.traffic.get(a).map_or(0, |t| t.tokens);
        }
        let (first, second) = (a.min(b), a.max(b));
        let found = self
            .coselection
            .binary_search_by_key(&(first, second), |c| (c.first, c.second));
        found.map_or(0, |at| self.coselection[at].tokens)
    }
}

impl Flow {
    /// Probability of the later state given the earlier one; 0 of what never occurs.
    #[must_use]
    pub fn probability(&self, from: usize, to: usize) -> f64 {
        let found = self
            .edges
            .binary_search_by_key(&(from, to), |e| (e.from, e.to));
        found.map_or(0.0, |at| self.edges[at].probability)
    }
}
