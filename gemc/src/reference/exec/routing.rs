//! The deciding nodes, router and clusters: rows of x in, own or forced decisions out.

use std::sync::Arc;

use super::Exec;
use crate::graph::{Node, Op, Site};
use crate::reference::matmul::{Store, Threads, View, ViewMut, multiply};
use crate::reference::records::{ClusterIds, RouterRule, RoutingRecords, SiteRouting};
use crate::reference::router::{self, Dispatch};
use crate::reference::weights::NodeWeights;
use crate::reference::wire::{Matrix, Wire};
use crate::reference::{ReferenceError, RoutingSource, linear, math, ops};

impl Exec<'_, '_> {
    pub fn router(&mut self, node: &Node, weights: &NodeWeights) -> Result<Wire, ReferenceError> {
        let (
            Op::Router {
                // Loaded with the node.
                weight: _,
                bias: _,
                score,
                top_k,
                threshold,
                gates,
                // Loaded with the node.
                select_bias: _,
                base_gate: _,
            },
            NodeWeights::Router {
                weight,
                bias,
                select_bias,
                base_gate,
            },
        ) = (&node.op, weights)
        else {
            unreachable!("`weights::load` made these weights for this operation")
        };
        let x = self.floats(node.inputs[0]);
        let modules = weight.len() / x.width();
        let decisions = match self.options.routing {
            RoutingSource::Forced(records) => {
                self.forced(records, node.site, modules)?.decisions.clone()
            }
            RoutingSource::Own => {
                let rule = RouterRule {
                    score: *score,
                    top_k: *top_k as usize,
                    threshold: *threshold,
                    gates: *gates,
                };
                let mut logits = Matrix::new(vec![0.0; x.rows() * modules], modules);
                linear::apply(&x, weight, bias.as_deref(), &mut logits);
                let select_bias = select_bias.as_deref().unwrap_or_default();
                let logits = logits.into_values();
                Arc::new(router::decide(logits, modules, rule, select_bias))
            }
        };
        let base = base_gate.as_deref().map(|weight| {
            let mut products = Matrix::new(vec![0.0; x.rows()], 1);
            linear::apply(&x, weight, None, &mut products);
            let products = products.into_values().into_iter();
            products.map(math::sigmoid).collect()
        });
        let dispatch = Arc::new(Dispatch::new(&decisions, base.unwrap_or_default()));
        let record = SiteRouting {
            decisions: decisions.clone(),
            clusters: None,
        };
        self.routing.insert(node.site, record);
        Ok(Wire::Routing(decisions, dispatch))
    }

    pub fn clusters(&mut self, node: &Node, weights: &NodeWeights) -> Result<Wire, ReferenceError> {
        let NodeWeights::Clusters { centroids, norms } = weights else {
            unreachable!("`weights::load` made these weights for this operation")
        };
        let clusters = match self.options.routing {
            RoutingSource::Forced(records) => {
                self.forced_clusters(records, node.site, norms.len())?
            }
            RoutingSource::Own => {
                let x = self.floats(node.inputs[0]);
                let (rows, width, count) = (x.rows(), x.width(), norms.len());
                let mut products = vec![0.0; rows * count];
                multiply(
                    ViewMut::new(&mut products, rows, count, count),
                    Store::Set,
                    1.0,
                    View::new(x.values(), rows, width, width),
                    View::new(centroids, count, width, width).transposed(),
                    Threads::All,
                );
                Arc::new(router::nearest(&products, norms, &ops::squared_norms(&x)))
            }
        };
        self.routing.insert_clusters(node.site, clusters.clone());
        Ok(Wire::Clusters(clusters))
    }

    fn forced<'a>(
        &self,
        records: &'a RoutingRecords,
        site: Site,
        modules: usize,
    ) -> Result<&'a SiteRouting, ReferenceError> {
        let refuse = |what: String| Err(ReferenceError::Forced { site, what });
        let Some(record) = records.get(site) else {
            return refuse("no record of this site".into());
        };
        let decisions = &record.decisions;
        let rows = self.batch.rows();
        let complete =
            decisions.p.len() == rows * modules && decisions.fired.len() == rows * modules;
        if decisions.rows() != rows || decisions.modules != modules || !complete {
            let (found, of) = (decisions.rows(), decisions.modules);
            return refuse(format!(
                "expected {rows} rows over {modules} modules, found {found} over {of}"
            ));
        }
        Ok(record)
    }

    fn forced_clusters(
        &self,
        records: &RoutingRecords,
        site: Site,
        count: usize,
    ) -> Result<Arc<ClusterIds>, ReferenceError> {
        let rows = self.batch.rows();
        match records
            .get(site)
            .and_then(|record| record.clusters.as_ref())
        {
            Some(clusters) if clusters.ids.len() == rows && clusters.count == count => {
                Ok(clusters.clone())
            }
            _ => Err(ReferenceError::Forced {
                site,
                what: format!("expected clusters of {rows} rows, ids below {count}"),
            }),
        }
    }
}
