//! [`Routes`] and [`Causal`] -> the routing sections of a page.

use super::page::{
    CausalRow, Page, RouteColumn, RouteState, RouteStep, RoutingGraph, SiteRow, TrafficMap,
};
use crate::routing::{Causal, Density, Measures, Routes, SiteRoutes};

impl Page {
    /// Fills routing graph, traffic and sites.
    pub fn set_routes(&mut self, routes: &Routes) {
        self.routing = (!routes.sites.is_empty()).then(|| graph(routes));
        self.traffic = routes
            .sites
            .iter()
            .map(|site| traffic(routes, site))
            .collect();
        let next = routes.transitions.iter().map(|t| t.all.nmi).chain([None]);
        let sites = routes.sites.iter().zip(next);
        self.sites = sites.map(|(site, next)| row(routes, site, next)).collect();
    }

    /// Fills what modules are worth.
    pub fn set_causal(&mut self, causal: &Causal) {
        let modules = causal.modules.iter();
        self.causal = modules
            .map(|module| CausalRow {
                site: module.site.clone(),
                module: module.name.clone(),
                share: module.tokens as f64 / causal.tokens.max(1) as f64,
                kl: module.kl,
                kl_free: module.kl_free,
            })
            .collect();
    }
}

fn graph(routes: &Routes) -> RoutingGraph {
    let column = |site: &SiteRoutes| {
        let shares = shares(&site.all);
        RouteColumn {
            site: site.site.clone(),
            states: shares
                .enumerate()
                .map(|(state, share)| RouteState {
                    name: routes.state_name(site, state),
                    share,
                })
                .collect(),
        }
    };
    let tokens = routes.tokens().max(1) as f64;
    let edges = routes.transitions.iter().enumerate().flat_map(|(i, t)| {
        t.all.edges.iter().map(move |edge| RouteStep {
            column: i,
            from: edge.from,
            to: edge.to,
            probability: edge.probability,
            share: edge.tokens as f64 / tokens,
        })
    });
    RoutingGraph {
        columns: routes.sites.iter().map(column).collect(),
        edges: edges.collect(),
    }
}

/// Share of the tokens by state.
fn shares(measures: &Measures) -> impl Iterator<Item = f64> + '_ {
    let tokens = measures.tokens.max(1) as f64;
    measures.states.iter().map(move |n| *n as f64 / tokens)
}

fn traffic(routes: &Routes, site: &SiteRoutes) -> TrafficMap {
    let states = 0..site.all.states.len();
    let rows = site.domains.iter();
    TrafficMap {
        site: site.site.clone(),
        states: states.map(|state| routes.state_name(site, state)).collect(),
        rows: rows
            .map(|(domain, measures)| (domain.clone(), shares(measures).collect()))
            .collect(),
    }
}

fn row(routes: &Routes, site: &SiteRoutes, next_nmi: Option<f64>) -> SiteRow {
    let density = |of: fn(&Density) -> Option<f64>| site.all.density.as_ref().and_then(of);
    SiteRow {
        site: site.site.clone(),
        fired: site.all.fired,
        entropy_p: site.all.entropy_p,
        entropy_states: site.all.entropy_states,
        domain_nmi: site.domain_nmi,
        next_nmi,
        density_single: density(|d| d.single),
        density_mixed: density(|d| d.mixed),
        density_across: density(|d| d.across),
        occupied: site.all.clusters.as_ref().map(|c| c.occupied),
        unreached: site
            .unreached
            .iter()
            .map(|module| routes.state_name(site, *module))
            .collect(),
    }
}
