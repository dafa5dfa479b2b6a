//! Routing records, window by window -> [`Routes`]. Holds counts and half a window a domain, never the records.

use std::collections::BTreeMap;
use std::ops::Range;

use super::counts::{Counts, Shape, Steps};
use super::information::normalised_mutual_information;
use super::mask::Marks;
use super::table::{RARE, Routes, SiteRoutes, Transition, Unrouted};
use crate::graph::{Graph, NodeId, Op, ScarMask, Site, Typed, WireType};
use crate::reference::{RoutingRecords, SiteRouting};
use crate::sequences::Sequence;

/// Records that are not of this model or not of these rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoutesError {
    /// A routed site has no record, as after a resumed run.
    #[error("routing records without {site}: they must come from a whole run of this model")]
    MissingSite {
        /// The routed site that the record is about.
        site: Site,
    },
    /// A record has other modules or clusters than the site.
    #[error("routing records of {site}: expected {expected}, found {found}")]
    Shape {
        /// The routed site that the record is about.
        site: Site,
        /// What the graph says.
        expected: String,
        /// What the record holds.
        found: String,
    },
    /// Rows that the records do not have.
    #[error("rows {}..{} of routing records of {site}, which hold {found}", rows.start, rows.end)]
    Rows {
        /// The routed site that the record is about.
        site: Site,
        /// The rows asked for.
        rows: Range<usize>,
        /// Rows of the record.
        found: usize,
    },
}

/// Collects decisions.
#[derive(Clone, Debug)]
pub struct Collector {
    modules: Vec<String>,
    texts: BTreeMap<String, u64>,
    sites: Vec<SiteCounts>,
    /// From site i to site i + 1, by domain of the text.
    steps: Vec<BTreeMap<String, Steps>>,
}

/// One routed site.
#[derive(Clone, Debug)]
struct SiteCounts {
    site: Site,
    modules: usize,
    top_k: usize,
    unrouted: Unrouted,
    clusters: Option<usize>,
    /// With the causal flag.
    scar: Option<(ScarMask, bool)>,
    domains: BTreeMap<String, Counts>,
    /// The first half of each domain's latest window.
    halves: BTreeMap<String, Marks>,
}

impl Collector {
    /// For records of runs of this graph.
    #[must_use]
    pub fn new(graph: &Graph<Typed>) -> Self {
        let routers = graph.routers();
        let sites: Vec<SiteCounts> = routers
            .iter()
            .map(|(router, site)| SiteCounts::new(graph, *router, *site))
            .collect();
        Self {
            modules: graph.facts().domains.clone(),
            texts: BTreeMap::new(),
            steps: vec![BTreeMap::new(); sites.len().saturating_sub(1)],
            sites,
        }
    }

    /// Adds one window of text of a domain: some rows of the records, one context. No rows, no change.
    ///
    /// # Errors
    /// When the records are not of this model or lack the rows; nothing is counted then.
    pub fn push(
        &mut self,
        domain: &str,
        records: &RoutingRecords,
        rows: Range<usize>,
    ) -> Result<(), RoutesError> {
        let found = self
            .sites
            .iter()
            .map(|site| site.check(records, &rows))
            .collect::<Result<Vec<_>, _>>()?;
        if rows.is_empty() {
            return Ok(());
        }
        *self.texts.entry(domain.to_owned()).or_default() += rows.len() as u64;
        for (site, routing) in self.sites.iter_mut().zip(&found) {
            site.count(domain, routing, rows.clone());
        }
        for (steps, pair) in self.steps.iter_mut().zip(found.windows(2)) {
            let steps = steps.entry(domain.to_owned()).or_default();
            let [from, to] = [&pair[0].decisions.domain, &pair[1].decisions.domain];
            for row in rows.clone() {
                steps.token(from[row], to[row]);
            }
        }
        Ok(())
    }

    /// Adds every sequence of a batch, whose records hold their rows in this order.
    ///
    /// # Errors
    /// As [`Collector::push`]; sequences before the faulty one are counted.
    pub fn push_batch(
        &mut self,
        sequences: &[Sequence],
        records: &RoutingRecords,
    ) -> Result<(), RoutesError> {
        let mut start = 0;
        for sequence in sequences {
            let rows = start..start + sequence.ids.len();
            start = rows.end;
            self.push(&sequence.domain, records, rows)?;
        }
        Ok(())
    }

    /// The table of everything added.
    #[must_use]
    pub fn finish(self) -> Routes {
        let names: Vec<String> = self.sites.iter().map(|s| s.site.to_string()).collect();
        let pairs = names.windows(2).zip(self.steps);
        let transitions = pairs.map(|(pair, steps)| transition(&pair[0], &pair[1], &steps));
        Routes {
            texts: self.texts,
            modules: self.modules,
            transitions: transitions.collect(),
            sites: self.sites.into_iter().map(SiteCounts::finish).collect(),
        }
    }
}

impl SiteCounts {
    fn new(graph: &Graph<Typed>, router: NodeId, site: Site) -> Self {
        let here = || graph.topo().filter(move |(_, node)| node.site == site);
        let (modules, top_k) = match (graph.wire(router), &graph.node(router).op) {
            (WireType::Routing { modules }, Op::Router { top_k, .. }) => (modules, *top_k as usize),
            _ => unreachable!("`Graph::routers` lists Router nodes, which typing gives such wires"),
        };
        Self {
            site,
            modules,
            top_k,
            unrouted: unrouted(graph, router, site),
            clusters: here().find_map(|(id, _)| match graph.wire(id) {
                WireType::Clusters { count } => Some(count),
                _ => None,
            }),
            scar: here().find_map(|(_, node)| match node.op {
                Op::ScarAttention { mask, causal, .. } => Some((mask, causal)),
                _ => None,
            }),
            domains: BTreeMap::new(),
            halves: BTreeMap::new(),
        }
    }

    /// The record of this site, when it is of this model and holds the rows.
    fn check<'r>(
        &self,
        records: &'r RoutingRecords,
        rows: &Range<usize>,
    ) -> Result<&'r SiteRouting, RoutesError> {
        let site = self.site;
        let routing = records.get(site).ok_or(RoutesError::MissingSite { site })?;
        let found = routing.decisions.rows();
        if rows.end > found {
            let rows = rows.clone();
            return Err(RoutesError::Rows { site, rows, found });
        }
        let clusters = routing.clusters.as_ref().map(|c| c.count);
        if (routing.decisions.modules, clusters) != (self.modules, self.clusters) {
            return Err(RoutesError::Shape {
                site,
                expected: shape(self.modules, self.clusters),
                found: shape(routing.decisions.modules, clusters),
            });
        }
        Ok(routing)
    }

    fn count(&mut self, domain: &str, routing: &SiteRouting, rows: Range<usize>) {
        let modules = self.modules;
        let counts = self
            .domains
            .entry(domain.to_owned())
            .or_insert_with(|| Counts::new(modules));
        for row in rows.clone() {
            counts.token(&routing.decisions, row);
        }
        if let Some(clusters) = &routing.clusters {
            rows.clone()
                .for_each(|row| counts.cluster(clusters.ids[row]));
        }
        if let Some((mask, causal)) = self.scar {
            let marks = Marks::of(routing, mask, rows);
            counts.single.add(marks.pairs(causal));
            let second = marks.second_half();
            for (_, first) in self.halves.iter().filter(|(other, _)| *other != domain) {
                counts.mixed.add(first.followed_by(&second).pairs(causal));
                counts.across.add(first.across(&second, causal));
            }
            let first = marks.first_half();
            if !first.is_empty() {
                self.halves.insert(domain.to_owned(), first);
            }
        }
    }

    fn finish(self) -> SiteRoutes {
        let shape = Shape {
            clusters: self.clusters,
            scar: self.scar.is_some(),
        };
        let mut all = Counts::new(self.modules);
        self.domains.values().for_each(|counts| all.add(counts));
        let joint = self
            .domains
            .values()
            .enumerate()
            .flat_map(|(text, counts)| {
                let states = counts.states.iter().enumerate();
                states.map(move |(state, tokens)| ((text, state), *tokens))
            });
        let (unreached, rare) = all.seldom(RARE);
        SiteRoutes {
            site: self.site.to_string(),
            top_k: self.top_k,
            unrouted: self.unrouted,
            unreached,
            rare,
            domain_nmi: normalised_mutual_information(joint),
            all: all.measures(shape),
            domains: self
                .domains
                .iter()
                .map(|(name, counts)| (name.clone(), counts.measures(shape)))
                .collect(),
        }
    }
}

/// What serves a token on which nothing fires. The base of the final placement is its input: no path at all.
fn unrouted(graph: &Graph<Typed>, router: NodeId, site: Site) -> Unrouted {
    let combine = graph.topo().find_map(|(_, node)| match node.op {
        Op::Combine { base } if node.inputs.first() == Some(&router) => Some(base),
        _ => None,
    });
    match (site, combine) {
        (Site::Final, _) | (_, Some(false)) => Unrouted::None,
        // Without modules a general path that covers every row needs no combination.
        (_, Some(true) | None) => Unrouted::General,
    }
}

fn shape(modules: usize, clusters: Option<usize>) -> String {
    match clusters {
        Some(count) => format!("{modules} modules and {count} clusters"),
        None => format!("{modules} modules without clusters"),
    }
}

fn transition(from: &str, to: &str, steps: &BTreeMap<String, Steps>) -> Transition {
    let mut all = Steps::default();
    steps.values().for_each(|steps| all.add(steps));
    Transition {
        from: from.to_owned(),
        to: to.to_owned(),
        all: all.flow(),
        domains: steps
            .iter()
            .map(|(name, steps)| (name.clone(), steps.flow()))
            .collect(),
    }
}
