//! [`Routes`] and a cost a node -> what a decoded token is expected to cost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::table::{Measures, Routes};
use crate::graph::{Graph, Guard, NodeId, Op, Typed};

/// Expected cost of one token, in the unit of the costs given (bytes read, nanoseconds).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExpectedCost {
    /// Over all text; none without text.
    pub all: Option<f64>,
    /// By domain of the text.
    pub domains: BTreeMap<String, f64>,
}

impl Routes {
    /// Expected cost of a decoded token: `sum over units of cost x share of tokens that compute it`.
    ///
    /// `cost(node)` is asked of every `Linear` and `Embed` node and is what computing it for one token costs: of an
    /// embedding one row, of its tied head the whole matrix. A node with a guard counts by the share of tokens that
    /// fire its module, or of those on which nothing fires.
    #[must_use]
    pub fn expected(&self, graph: &Graph<Typed>, cost: impl Fn(NodeId) -> f64) -> ExpectedCost {
        let mut expected = ExpectedCost {
            all: (self.tokens() > 0).then_some(0.0),
            domains: self.texts.keys().map(|name| (name.clone(), 0.0)).collect(),
        };
        for (id, node) in graph.topo() {
            if !matches!(node.op, Op::Linear { .. } | Op::Embed { .. }) {
                continue;
            }
            let cost = cost(id);
            if let Some(all) = &mut expected.all {
                *all += cost * self.share(graph, node.guard, None);
            }
            for (name, total) in &mut expected.domains {
                *total += cost * self.share(graph, node.guard, Some(name));
            }
        }
        expected
    }

    /// Share of the tokens of a domain of the text, or of all, on which a guard lets compute. 0 where there is no
    /// text.
    #[must_use]
    pub fn share(&self, graph: &Graph<Typed>, guard: Guard, domain: Option<&str>) -> f64 {
        let of = |routing: NodeId, share: &dyn Fn(&Measures) -> f64| {
            let site = self.site(graph.node(routing).site);
            let measures = site.and_then(|s| domain.map_or(Some(&s.all), |d| s.domains.get(d)));
            measures.map_or(0.0, share)
        };
        match guard {
            Guard::Always => 1.0,
            Guard::Module { routing, module } => of(routing, &|m| {
                m.traffic.get(module as usize).map_or(0.0, |t| t.share)
            }),
            Guard::Fallback { routing } => of(routing, &|m| m.fired.map_or(0.0, |f| 1.0 - f)),
        }
    }
}
