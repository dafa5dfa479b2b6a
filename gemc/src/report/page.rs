//! The data of a page, as plain as it gets: what a caller fills in. Everything may be empty.

/// A report. Each field but the first two is a section, left out when it is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Heading, such as `gem-lm at 3.25 bits for a76`.
    pub title: String,
    /// Names and values for the table at the top: checkpoint, target, bits, bytes, KL.
    pub facts: Vec<(String, String)>,
    /// The routing graph.
    pub routing: Option<RoutingGraph>,
    /// Domain of the text by state, one map a routed site.
    pub traffic: Vec<TrafficMap>,
    /// Measures of routed sites, in evaluation order.
    pub sites: Vec<SiteRow>,
    /// Cost of switching modules off.
    pub causal: Vec<CausalRow>,
    /// Quantised units in evaluation order.
    pub units: Vec<UnitRow>,
    /// Sensitivity by group of units.
    pub sensitivity: Vec<SlopeRow>,
    /// Predicted against measured KL of plans.
    pub predictions: Vec<Prediction>,
    /// Size, KL and latency of plans.
    pub frontier: Vec<FrontierPoint>,
    /// KL by domain of the text.
    pub domains: Vec<DomainRow>,
    /// What leaving out branches costs.
    pub dead: Option<DeadRows>,
}

/// What was found of branches that may go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeadRows {
    /// What the figures mean.
    pub note: String,
    /// Branch, verdict, and what is known of it.
    pub rows: Vec<[String; 3]>,
}

/// Sites as columns, states as nodes, transitions as edges between neighbouring columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutingGraph {
    /// In evaluation order.
    pub columns: Vec<RouteColumn>,
    /// Any order.
    pub edges: Vec<RouteStep>,
}

/// One routed site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteColumn {
    /// `layers.3` or `final`.
    pub site: String,
    /// Modules in order, then what serves everything else.
    pub states: Vec<RouteState>,
}

/// One state of a site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteState {
    /// Module, `general` or `none`.
    pub name: String,
    /// Share of the tokens.
    pub share: f64,
}

/// Tokens that go from a state of column `column` to one of the next column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RouteStep {
    /// Index of the earlier column.
    pub column: usize,
    /// Index of the state at the earlier site.
    pub from: usize,
    /// State in the next column.
    pub to: usize,
    /// Given the earlier state.
    pub probability: f64,
    /// Share of all tokens.
    pub share: f64,
}

/// Shares of states by domain of the text, at one site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrafficMap {
    /// `layers.3` or `final`.
    pub site: String,
    /// Names of the states.
    pub states: Vec<String>,
    /// Domains of the text with the share of each state.
    pub rows: Vec<(String, Vec<f64>)>,
}

/// Measures of one routed site; absent ones do not apply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteRow {
    /// `layers.3` or `final`.
    pub site: String,
    /// Share of tokens on which something fires.
    pub fired: Option<f64>,
    /// Mean entropy of p, nats.
    pub entropy_p: Option<f64>,
    /// Entropy of the states, nats.
    pub entropy_states: Option<f64>,
    /// Normalised mutual information of the text's domain and the state.
    pub domain_nmi: Option<f64>,
    /// Normalised mutual information of this site's state and the next's.
    pub next_nmi: Option<f64>,
    /// SCAR mask density in single-domain contexts.
    pub density_single: Option<f64>,
    /// In mixed-domain contexts.
    pub density_mixed: Option<f64>,
    /// Of the pairs across domains in those.
    pub density_across: Option<f64>,
    /// Share of clusters in use.
    pub occupied: Option<f64>,
    /// Modules that nothing reached, by name.
    pub unreached: Vec<String>,
}

/// What switching one module off costs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CausalRow {
    /// `layers.3` or `final`.
    pub site: String,
    /// Name of the module, its domain.
    pub module: String,
    /// Share of the tokens on which it fires.
    pub share: f64,
    /// Mean KL in nats, routing forced.
    pub kl: f64,
    /// The same with later layers routing anew.
    pub kl_free: Option<f64>,
}

/// One quantised unit of the plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitRow {
    /// Path, such as `model.layers.3.modules.2.gate_up`.
    pub unit: String,
    /// `layers.3`, `embedding`, `head`.
    pub layer: String,
    /// Such as `module gate+up`.
    pub kind: String,
    /// Such as `N4`.
    pub format: String,
    /// Nominal bits per weight.
    pub bits: f64,
    /// What the kernels read.
    pub bytes: u64,
    /// Its part of the predicted KL, nats.
    pub predicted_kl: Option<f64>,
    /// Why it has this format.
    pub reason: String,
}

/// Sensitivity of one group of units.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SlopeRow {
    /// Such as `layers.3 module down`.
    pub group: String,
    /// KL in nats per unit of `tr(dW H dW^T)`; nothing where what was measured cannot be told from noise.
    pub slope: Option<f64>,
    /// Ratio of the slope at low bits to this one.
    pub curvature: Option<f64>,
    /// KL in nats that the slope was measured from.
    pub measured_kl: Option<f64>,
}

/// A plan whose KL was both predicted and measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// Names the plan.
    pub label: String,
    /// Nats.
    pub predicted: f64,
    /// Nats.
    pub measured: f64,
}

/// A plan by what it costs and what it loses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrontierPoint {
    /// Points of one series are joined, such as `plan`, `uniform`.
    pub series: String,
    /// Names the point.
    pub label: String,
    /// `weight_bytes`.
    pub bytes: u64,
    /// Nats.
    pub kl: f64,
    /// Predicted time of a token on the target, milliseconds.
    pub latency_ms: Option<f64>,
    /// Whether it is the plan that the page is about.
    pub chosen: bool,
}

/// KL on one domain of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DomainRow {
    /// Domain of the text.
    pub domain: String,
    /// Of the plan, nats.
    pub kl: f64,
    /// Of the best uniform format of the same size, nats.
    pub uniform: Option<f64>,
}
