//! Routing between the runtime's taps and the executor's records: what a program decided is read, and the decisions of
//! another run are put in its place.

use std::sync::Arc;

use gem_runtime::abi::RoutingTap;
use gem_runtime::routing::{RoutingHook, RoutingView};

use crate::graph::{Graph, Op, Site, Typed, WireType};
use crate::reference::{ClusterIds, Decisions, RouterRule, RoutingRecords, SiteRouting};

/// Reads the routing of a run of one sequence, row after row, and forces another's where it has one.
#[derive(Debug)]
pub struct Exchange<'a> {
    forced: Option<&'a RoutingRecords>,
    sites: Vec<SiteInfo>,
    own: Vec<Decided>,
}

/// What the graph says about a routed site.
#[derive(Clone, Debug)]
struct SiteInfo {
    name: String,
    site: Site,
    rule: RouterRule,
    modules: usize,
    clusters: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Decided {
    p: Vec<f32>,
    fired: Vec<bool>,
    domain: Vec<u32>,
    clusters: Vec<u32>,
}

impl<'a> Exchange<'a> {
    /// For runs of this model; `forced` are the records of one sequence.
    #[must_use]
    pub fn new(graph: &Graph<Typed>, forced: Option<&'a RoutingRecords>) -> Self {
        let sites: Vec<SiteInfo> = graph
            .topo()
            .filter_map(|(id, node)| site(graph, id, node))
            .collect();
        let own = vec![Decided::default(); sites.len()];
        Self { forced, sites, own }
    }

    /// What the program itself decided, before anything was forced.
    #[must_use]
    pub fn into_records(self) -> RoutingRecords {
        let mut records = RoutingRecords::default();
        for (info, own) in self.sites.into_iter().zip(self.own) {
            let rows = own.domain.len();
            let clusters = info.clusters.map(|count| {
                Arc::new(ClusterIds {
                    count,
                    ids: own.clusters,
                    margins: vec![f32::INFINITY; rows],
                })
            });
            let decisions = Decisions {
                modules: info.modules,
                rule: info.rule,
                p: own.p,
                fired: own.fired,
                domain: own.domain,
            };
            records.insert(
                info.site,
                SiteRouting {
                    decisions: Arc::new(decisions),
                    clusters,
                },
            );
        }
        records
    }
}

fn site(
    graph: &Graph<Typed>,
    id: crate::graph::NodeId,
    node: &crate::graph::Node,
) -> Option<SiteInfo> {
    let Op::Router {
        score,
        top_k,
        threshold,
        renormalize,
        ..
    } = node.op
    else {
        return None;
    };
    let WireType::Routing { modules } = graph.wire(id) else {
        return None;
    };
    let clusters = graph.topo().find_map(|(other, n)| match graph.wire(other) {
        WireType::Clusters { count } if n.site == node.site => Some(count),
        _ => None,
    });
    let rule = RouterRule {
        score,
        top_k: top_k as usize,
        threshold,
        renormalize,
    };
    Some(SiteInfo {
        name: node.site.to_string(),
        site: node.site,
        rule,
        modules,
        clusters,
    })
}

impl RoutingHook for Exchange<'_> {
    fn routed(&mut self, tap: &RoutingTap, mut view: RoutingView<'_>) {
        let Some(index) = self.sites.iter().position(|s| s.name == tap.site) else {
            return;
        };
        let (info, own) = (&self.sites[index], &mut self.own[index]);
        for row in 0..view.rows().len() {
            read(info, own, &view, row);
            let position = view.rows()[row].position as usize;
            if let Some(forced) = self.forced.and_then(|records| records.get(info.site)) {
                force(forced, &mut view, row, position);
            }
        }
    }
}

fn read(info: &SiteInfo, own: &mut Decided, view: &RoutingView<'_>, row: usize) {
    own.p.extend(view.p(row).unwrap_or_default());
    let start = own.fired.len();
    own.fired.resize(start + info.modules, false);
    for &module in view.fired(row).unwrap_or_default() {
        if let Ok(module) = usize::try_from(module) {
            own.fired[start + module] = true;
        }
    }
    own.domain.push(view.domain(row).unwrap_or_default() as u32);
    own.clusters.extend(view.cluster(row).map(|c| c as u32));
}

/// Puts the decision of row `position` of `forced` in the place of the program's.
fn force(forced: &SiteRouting, view: &mut RoutingView<'_>, row: usize, position: usize) {
    let decisions = &forced.decisions;
    let p = decisions.p_row(position);
    let fired: Vec<usize> = decisions
        .fired_row(position)
        .iter()
        .enumerate()
        .filter(|(_, f)| **f)
        .map(|(m, _)| m)
        .collect();
    let total: f32 = if decisions.rule.renormalize {
        fired.iter().map(|&m| p[m]).sum()
    } else {
        1.0
    };
    if let Some(out) = view.p_mut(row) {
        out.copy_from_slice(p);
    }
    if let Some(out) = view.fired_mut(row) {
        for (slot, out) in out.iter_mut().enumerate() {
            *out = fired.get(slot).map_or(-1, |&m| m as i32);
        }
    }
    if let Some(out) = view.gates_mut(row) {
        for (slot, out) in out.iter_mut().enumerate() {
            *out = fired.get(slot).map_or(0.0, |&m| p[m] / total);
        }
    }
    if let Some(out) = view.domain_mut(row) {
        *out = decisions.domain[position] as i32;
    }
    if let (Some(clusters), Some(out)) = (&forced.clusters, view.cluster_mut(row)) {
        *out = clusters.ids[position] as i32;
    }
}
