//! Routing between the programs' protocol (lists of fired modules and gates) and the executor's records (flags by
//! module), both ways.

use std::sync::Arc;

use gem_runtime::protocol::RoutingRecord;

use crate::graph::{Graph, Op, Site, Typed, WireType};
use crate::reference::{ClusterIds, Decisions, RouterRule, RoutingRecords, SiteRouting};

/// The executor's records as a program of a graph is forced to follow them, which may do without a site.
#[must_use]
pub fn to_program(records: &RoutingRecords, graph: &Graph<Typed>) -> Vec<RoutingRecord> {
    let routers = graph.routers();
    let sites = routers.iter().map(|(_, site)| *site);
    let there: Vec<Site> = sites.collect();
    records
        .iter()
        .filter(|(site, _)| there.contains(site))
        .map(|(site, routing)| site_to_program(site, routing))
        .collect()
}

fn site_to_program(site: Site, routing: &SiteRouting) -> RoutingRecord {
    let decisions = &routing.decisions;
    let top_k = decisions.rule.top_k;
    let mut record = RoutingRecord {
        site: site.to_string(),
        modules: decisions.modules as u32,
        top_k: top_k as u32,
        p: decisions.p.clone(),
        domain: decisions.domain.iter().map(|d| *d as i32).collect(),
        cluster: routing
            .clusters
            .iter()
            .flat_map(|c| c.ids.iter().map(|id| *id as i32))
            .collect(),
        ..RoutingRecord::default()
    };
    for row in 0..decisions.rows() {
        let p = decisions.p_row(row);
        let fired = decisions
            .fired_row(row)
            .iter()
            .enumerate()
            .filter(|(_, f)| **f)
            .map(|(m, _)| m);
        let fired: Vec<usize> = fired.collect();
        let sum: f32 = fired.iter().map(|&m| p[m]).sum();
        let gate = |m: usize| decisions.rule.gates.gate(p[m], sum);
        for slot in 0..top_k {
            record.fired.push(fired.get(slot).map_or(-1, |&m| m as i32));
            record.gates.push(fired.get(slot).map_or(0.0, |&m| gate(m)));
        }
    }
    record
}

/// What a program decided, as the executor records it. Sites that the graph does not have are left out.
#[must_use]
pub fn from_program(graph: &Graph<Typed>, records: Vec<RoutingRecord>) -> RoutingRecords {
    let mut result = RoutingRecords::default();
    for record in records {
        let router = graph.topo().find_map(|(_, node)| match node.op {
            Op::Router {
                score,
                top_k,
                threshold,
                gates,
                ..
            } if node.site.to_string() == record.site => Some((
                node.site,
                RouterRule {
                    score,
                    top_k: top_k as usize,
                    threshold,
                    gates,
                },
            )),
            _ => None,
        });
        if let Some((site, rule)) = router {
            result.insert(site, site_from_program(graph, site, rule, record));
        }
    }
    result
}

fn site_from_program(
    graph: &Graph<Typed>,
    site: Site,
    rule: RouterRule,
    record: RoutingRecord,
) -> SiteRouting {
    let modules = record.modules as usize;
    let rows = record.positions();
    let mut fired = vec![false; rows * modules];
    for (row, slots) in record
        .fired
        .chunks(record.top_k.max(1) as usize)
        .enumerate()
    {
        for module in slots.iter().filter_map(|m| usize::try_from(*m).ok()) {
            fired[row * modules + module] = true;
        }
    }
    let count = graph.topo().find_map(|(id, node)| match graph.wire(id) {
        WireType::Clusters { count } if node.site == site => Some(count),
        _ => None,
    });
    let clusters = count.map(|count| {
        let ids = record.cluster.iter().map(|c| *c as u32).collect();
        Arc::new(ClusterIds {
            count,
            ids,
            margins: vec![f32::INFINITY; rows],
        })
    });
    let domain = record.domain.iter().map(|d| *d as u32).collect();
    let decisions = Decisions {
        // What was chosen is known; what nearly was is judged by p.
        select_bias: Vec::new(),
        modules,
        rule,
        p: record.p,
        fired,
        domain,
    };
    SiteRouting {
        decisions: Arc::new(decisions),
        clusters,
    }
}
