//! The sections about routing: graph, traffic, measures by site, and what modules are worth.

use super::{Section, Table};
use crate::report::chart::{Axis, Chart, Point, Series};
use crate::report::figure::{figure, optional, percent};
use crate::report::page::{Page, SiteRow, TrafficMap};
use crate::report::{heatmap, network};

/// Where tokens go from site to site.
pub(super) fn graph(page: &Page) -> Option<Section> {
    let graph = page.routing.as_ref()?;
    let plot = network::draw(graph)?;
    let states = graph.columns.iter().flat_map(|column| {
        column.states.iter().map(|state| {
            vec![
                column.site.clone(),
                state.name.clone(),
                percent(state.share),
            ]
        })
    });
    let name = |column: usize, state: usize| {
        let column = graph.columns.get(column)?;
        Some((column.site.clone(), column.states.get(state)?.name.clone()))
    };
    let mut listed = network::strongest(graph, network::LISTED);
    listed.sort_by_key(|edge| network::place(edge));
    let steps = listed.into_iter().filter_map(|edge| {
        let (site, from) = name(edge.column, edge.from)?;
        let (next, to) = name(edge.column + 1, edge.to)?;
        let shares = [figure(edge.probability), percent(edge.share)];
        Some([site, from, next, to].into_iter().chain(shares).collect())
    });
    let mut note = String::from(
        "A token's place in a column is the module of its largest p, or the last row where nothing fired.",
    );
    let beyond = |limit: usize| graph.edges.len().saturating_sub(limit);
    if beyond(network::EDGES) > 0 {
        note += &format!(
            " The weakest {} transitions are not drawn.",
            beyond(network::EDGES)
        );
    }
    if beyond(network::LISTED) > 0 {
        note += &format!(
            " The table leaves out the weakest {}.",
            beyond(network::LISTED)
        );
    }
    let head = [
        "site",
        "state",
        "next site",
        "next state",
        "probability",
        "of tokens",
    ];
    Some(Section {
        id: "routing",
        title: "Routing graph",
        note,
        plots: vec![plot],
        tables: vec![
            Table::new("States", &["site", "state", "of tokens"], states),
            Table::new("Transitions", &head, steps),
        ],
    })
}

/// A map of shares for each site.
pub(super) fn traffic(page: &Page) -> Option<Section> {
    let maps: Vec<_> = page
        .traffic
        .iter()
        .filter_map(|map| Some((map, heatmap::draw(map)?)))
        .collect();
    if maps.is_empty() {
        return None;
    }
    let table = |map: &TrafficMap| {
        let head: Vec<&str> = ["domain"]
            .into_iter()
            .chain(map.states.iter().map(String::as_str))
            .collect();
        let rows = map.rows.iter().map(|(domain, shares)| {
            let shares = shares.iter().map(|share| percent(*share));
            [domain.clone()].into_iter().chain(shares).collect()
        });
        Table::new(&map.site, &head, rows)
    };
    Some(Section {
        id: "traffic",
        title: "Traffic by domain",
        note: "Share of the tokens of each domain of the text that chose each module.".into(),
        tables: maps.iter().map(|(map, _)| table(map)).collect(),
        plots: maps.into_iter().map(|(_, plot)| plot).collect(),
    })
}

/// Name of a curve over sites, and its values.
type Curve = (&'static str, fn(&SiteRow) -> Option<f64>);

/// Measures over sites.
pub(super) fn sites(page: &Page) -> Option<Section> {
    if page.sites.is_empty() {
        return None;
    }
    let shares: [Curve; 5] = [
        ("tokens that fire", |s| s.fired),
        ("SCAR density, one domain", |s| s.density_single),
        ("SCAR density, mixed domains", |s| s.density_mixed),
        ("SCAR density across domains", |s| s.density_across),
        ("clusters in use", |s| s.occupied),
    ];
    let information: [Curve; 2] = [
        ("domain and choice", |s| s.domain_nmi),
        ("choice and next choice", |s| s.next_nmi),
    ];
    let entropies: [Curve; 2] = [
        ("of p, mean", |s| s.entropy_p),
        ("of the choice", |s| s.entropy_states),
    ];
    let plots = [
        by_site(page, "Shares by site", "share", &shares),
        by_site(page, "Entropy by site", "entropy, nats", &entropies),
        by_site(
            page,
            "Normalised mutual information by site",
            "NMI",
            &information,
        ),
    ];
    let rows = page.sites.iter().map(|s| {
        let figures = [
            s.fired,
            s.entropy_p,
            s.entropy_states,
            s.domain_nmi,
            s.next_nmi,
            s.density_single,
            s.density_mixed,
            s.density_across,
            s.occupied,
        ];
        let row = [s.site.clone()].into_iter().chain(figures.map(optional));
        row.chain([s.unreached.join(", ")]).collect()
    });
    let head = [
        "site",
        "fired",
        "entropy of p, nats",
        "entropy of the choice, nats",
        "NMI of domain",
        "NMI of next choice",
        "density",
        "density, mixed",
        "density across",
        "clusters in use",
        "modules never reached",
    ];
    Some(Section {
        id: "sites",
        title: "Routed sites",
        note: "What the routers do, from the first routed layer to the last.".into(),
        plots: plots.into_iter().flatten().collect(),
        tables: vec![Table::new("Sites", &head, rows)],
    })
}

/// Curves over sites; those without a value are left out.
fn by_site(page: &Page, title: &str, label: &str, curves: &[Curve]) -> Option<String> {
    let series = curves.iter().map(|(name, of)| Series {
        name: (*name).to_owned(),
        points: page
            .sites
            .iter()
            .enumerate()
            .filter_map(|(i, site)| {
                Some(Point {
                    x: i as f64,
                    y: of(site)?,
                    label: site.site.clone(),
                    marked: false,
                })
            })
            .collect(),
        joined: true,
    });
    let chart = Chart {
        title,
        x: Axis {
            names: Some(page.sites.iter().map(|s| s.site.clone()).collect()),
            ..Axis::linear("routed site")
        },
        y: Axis::linear(label),
        series: series.filter(|s| !s.points.is_empty()).collect(),
        diagonal: false,
    };
    chart.draw()
}

/// Cost of modules beside their traffic.
pub(super) fn causal(page: &Page) -> Option<Section> {
    if page.causal.is_empty() {
        return None;
    }
    let mut sites: Vec<&str> = page.causal.iter().map(|row| row.site.as_str()).collect();
    sites.dedup();
    let series = sites.iter().map(|site| Series {
        name: (*site).to_owned(),
        points: page
            .causal
            .iter()
            .filter(|row| row.site == *site)
            .map(|row| Point {
                x: 100.0 * row.share,
                y: row.kl,
                label: row.module.clone(),
                marked: false,
            })
            .collect(),
        joined: false,
    });
    let chart = Chart {
        title: "Cost of a module by its traffic",
        x: Axis::linear("tokens that it serves, %"),
        y: Axis::log("KL when switched off, nats a token"),
        series: series.collect(),
        diagonal: false,
    };
    let rows = page.causal.iter().map(|row| {
        vec![
            row.site.clone(),
            row.module.clone(),
            percent(row.share),
            figure(row.kl),
            optional(row.kl_free),
        ]
    });
    let head = [
        "site",
        "module",
        "of tokens",
        "KL, nats",
        "KL with free routing, nats",
    ];
    Some(Section {
        id: "causal",
        title: "What modules are worth",
        note: "Modules that cost nothing are in the table only.".into(),
        plots: chart.draw().into_iter().collect(),
        tables: vec![Table::new("Modules", &head, rows)],
    })
}
