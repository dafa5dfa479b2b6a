//! [`Page`] -> sections as the template shows them: plots, and the tables behind them.

mod routing;

use serde::Serialize;

use super::chart::{Axis, Chart, Point, Series};
use super::figure::{figure, optional};
use super::page::{DomainRow, FrontierPoint, Page, SlopeRow};
use super::ranking::Ranking;
use super::scale::Kind;
use super::{svg, units};

/// One part of the page.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Section {
    id: &'static str,
    title: &'static str,
    /// What is seen, in a sentence or two.
    note: String,
    /// Plots as SVG markup.
    plots: Vec<String>,
    tables: Vec<Table>,
}

/// A table: its caption, heads of columns, and rows of text.
#[derive(Clone, Debug, Serialize)]
struct Table {
    caption: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(caption: &str, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        let clean = |row: Vec<String>| row.iter().map(|cell| svg::clean(cell)).collect();
        Self {
            caption: svg::clean(caption),
            head: head.iter().map(|name| svg::clean(name)).collect(),
            rows: rows.into_iter().map(clean).collect(),
        }
    }
}

/// The sections that have data, in the order of the page.
pub(super) fn all(page: &Page) -> Vec<Section> {
    let sections = [
        frontier(page),
        domains(page),
        bits(page),
        predictions(page),
        sensitivity(page),
        routing::graph(page),
        routing::traffic(page),
        routing::sites(page),
        routing::causal(page),
        dead(page),
    ];
    sections.into_iter().flatten().collect()
}

fn frontier(page: &Page) -> Option<Section> {
    if page.frontier.is_empty() {
        return None;
    }
    let by_size = frontier_chart(page, "KL by size", "weight bytes, MB (10^6)", |p| {
        Some(p.bytes as f64 / 1e6)
    });
    let by_time = frontier_chart(
        page,
        "KL by predicted time of a token",
        "latency, ms",
        |p| p.latency_ms,
    );
    let rows = page.frontier.iter().map(|p| {
        vec![
            p.series.clone(),
            p.label.clone(),
            p.bytes.to_string(),
            figure(p.kl),
            optional(p.latency_ms),
            if p.chosen { "yes" } else { "" }.to_owned(),
        ]
    });
    let head = [
        "series",
        "point",
        "bytes",
        "KL, nats",
        "latency, ms",
        "the plan",
    ];
    Some(Section {
        id: "frontier",
        title: "Size, time and KL",
        note: "Lower and further left is better. The large mark is the plan of this page.".into(),
        plots: by_size.draw().into_iter().chain(by_time.draw()).collect(),
        tables: vec![Table::new("Points", &head, rows)],
    })
}

fn frontier_chart<'a>(
    page: &Page,
    title: &'a str,
    x: &'a str,
    of: impl Fn(&FrontierPoint) -> Option<f64>,
) -> Chart<'a> {
    let mut series: Vec<Series> = Vec::new();
    for point in &page.frontier {
        let Some(x) = of(point) else { continue };
        let place = series.iter().position(|s| s.name == point.series);
        let place = place.unwrap_or_else(|| {
            series.push(Series {
                name: point.series.clone(),
                points: Vec::new(),
                joined: true,
            });
            series.len() - 1
        });
        series[place].points.push(Point {
            x,
            y: point.kl,
            label: point.label.clone(),
            marked: point.chosen,
        });
    }
    for series in &mut series {
        series.points.sort_by(|a, b| a.x.total_cmp(&b.x));
    }
    Chart {
        title,
        x: Axis {
            zero: false,
            ..Axis::linear(x)
        },
        y: Axis::log("KL, nats a token"),
        series,
        diagonal: false,
    }
}

fn domains(page: &Page) -> Option<Section> {
    let worst = page.domains.iter().max_by(|a, b| a.kl.total_cmp(&b.kl))?;
    let uniform = page.domains.iter().any(|d| d.uniform.is_some());
    let values = |d: &DomainRow| match uniform {
        true => vec![Some(d.kl), d.uniform],
        false => vec![Some(d.kl)],
    };
    let ranking = Ranking {
        title: "KL by domain of the text",
        label: "KL, nats a token",
        kind: Kind::Linear,
        series: if uniform {
            vec!["plan", "uniform"]
        } else {
            vec!["plan"]
        },
        rows: page
            .domains
            .iter()
            .map(|d| (d.domain.clone(), values(d)))
            .collect(),
    };
    let rows = page
        .domains
        .iter()
        .map(|d| vec![d.domain.clone(), figure(d.kl), optional(d.uniform)]);
    let head = ["domain", "plan: KL, nats", "uniform: KL, nats"];
    Some(Section {
        id: "domains",
        title: "Domains",
        note: format!("The worst domain is {}.", svg::clean(&worst.domain)),
        plots: ranking.draw().into_iter().collect(),
        tables: vec![Table::new("Domains", &head, rows)],
    })
}

fn bits(page: &Page) -> Option<Section> {
    if page.units.is_empty() {
        return None;
    }
    let rows = page.units.iter().map(|u| {
        vec![
            u.unit.clone(),
            u.layer.clone(),
            u.kind.clone(),
            u.format.clone(),
            figure(u.bits),
            u.bytes.to_string(),
            optional(u.predicted_kl),
            u.reason.clone(),
        ]
    });
    let head = [
        "unit",
        "place",
        "kind",
        "format",
        "bits",
        "bytes",
        "predicted KL, nats",
        "reason",
    ];
    Some(Section {
        id: "bits",
        title: "Bits per unit",
        note: "Each bar is a unit: weights that share one format.".into(),
        plots: units::draw(&page.units).into_iter().collect(),
        tables: vec![Table::new("Units", &head, rows)],
    })
}

fn dead(page: &Page) -> Option<Section> {
    let dead = page.dead.as_ref()?;
    let rows = dead.rows.iter().map(|row| row.to_vec());
    Some(Section {
        id: "dead",
        title: "Dead weight",
        note: svg::clean(&dead.note),
        plots: Vec::new(),
        tables: vec![Table::new(
            "Branches",
            &["branch", "verdict", "found"],
            rows,
        )],
    })
}

fn predictions(page: &Page) -> Option<Section> {
    if page.predictions.is_empty() {
        return None;
    }
    let points = page.predictions.iter().map(|p| Point {
        x: p.predicted,
        y: p.measured,
        label: p.label.clone(),
        marked: false,
    });
    let chart = Chart {
        title: "Predicted against measured KL",
        x: Axis::log("predicted KL, nats a token"),
        y: Axis::log("measured KL, nats a token"),
        series: vec![Series {
            name: String::new(),
            points: points.collect(),
            joined: false,
        }],
        diagonal: true,
    };
    let rows = page.predictions.iter().map(|p| {
        vec![
            p.label.clone(),
            figure(p.predicted),
            figure(p.measured),
            figure(p.measured / p.predicted),
        ]
    });
    let head = [
        "plan",
        "predicted, nats",
        "measured, nats",
        "measured / predicted",
    ];
    Some(Section {
        id: "predictions",
        title: "Predicted against measured",
        note: "On the line a prediction is right; above it the plan is worse than predicted."
            .into(),
        plots: chart.draw().into_iter().collect(),
        tables: vec![Table::new("Plans", &head, rows)],
    })
}

/// What a group's slope is where nothing was measured.
const NOISE: &str = "not distinguishable from noise";

fn sensitivity(page: &Page) -> Option<Section> {
    if page.sensitivity.is_empty() {
        return None;
    }
    let ranked = |title, label, of: fn(&SlopeRow) -> Option<f64>| Ranking {
        title,
        label,
        kind: Kind::Log,
        series: vec![""],
        rows: page
            .sensitivity
            .iter()
            .map(|row| (row.group.clone(), vec![of(row)]))
            .collect(),
    };
    let slopes = ranked(
        "Slope of the KL by group of units",
        "KL in nats per unit of tr(ΔW H ΔWᵀ), log scale",
        |row| row.slope,
    );
    let measured = ranked(
        "KL that each group costs alone",
        "KL, nats a token, log scale",
        |row| row.measured_kl,
    );
    let rows = page.sensitivity.iter().map(|row| {
        vec![
            row.group.clone(),
            row.slope.map_or_else(|| NOISE.to_owned(), figure),
            optional(row.curvature),
            optional(row.measured_kl),
        ]
    });
    let head = [
        "group",
        "slope",
        "slope at low bits / slope",
        "measured KL, nats",
    ];
    Some(Section {
        id: "sensitivity",
        title: "Sensitivity",
        note: "How much the output suffers from the same error in different places.".into(),
        plots: slopes.draw().into_iter().chain(measured.draw()).collect(),
        tables: vec![Table::new("Groups", &head, rows)],
    })
}
