//! [`RoutingGraph`] -> columns of circles, as large as their traffic, joined by curves as wide as they are probable.

use super::figure::{figure, percent};
use super::page::{RouteStep, RoutingGraph};
use super::svg::{Shape, Svg, shortened};

const LEFT: f64 = 130.0;
const TOP: f64 = 62.0;
/// Curves drawn at most; the strongest.
pub(super) const EDGES: usize = 1500;
/// Transitions listed at most; a large model has millions.
pub(super) const LISTED: usize = 20_000;

/// The SVG; `None` without a state.
pub(super) fn draw(graph: &RoutingGraph) -> Option<String> {
    let states = graph.columns.iter().map(|c| c.states.len()).max()?;
    if states == 0 {
        return None;
    }
    let row = if states <= 20 { 30.0 } else { 14.0 };
    let step = (760.0 / graph.columns.len().max(2) as f64).clamp(70.0, 150.0);
    let width = LEFT + step * (graph.columns.len() - 1) as f64 + 60.0;
    let height = TOP + row * states as f64 + 14.0;
    let title = "Routing graph: where tokens go from site to site";
    let mut svg = Svg::new(width.max(460.0), height, title);
    svg.add(Shape::text((8.0, 18.0), title).class("title"));
    let legend = "circle area: share of tokens · line width: transition probability";
    svg.add(Shape::text((8.0, 34.0), legend).class("label"));
    let place = |column: usize, state: usize| {
        let x = LEFT + step * column as f64;
        (x, TOP + row * (state as f64 + 0.5))
    };
    edges(&mut svg, graph, &place);
    for (c, column) in graph.columns.iter().enumerate() {
        let head = (place(c, 0).0, TOP - 8.0);
        svg.add(Shape::text(head, &shortened(&column.site, 12)).class("tick middle"));
        for (s, state) in column.states.iter().enumerate() {
            let at = place(c, s);
            if c == 0 {
                let name = Shape::text((LEFT - 22.0, at.1 + 4.0), &shortened(&state.name, 17));
                svg.add(name.class("tick end").tip(state.name.clone()));
            }
            let share = if state.share.is_finite() {
                state.share.clamp(0.0, 1.0)
            } else {
                0.0
            };
            let class = if share > 0.0 { "node" } else { "node empty" };
            let tip = format!(
                "{} {}: {} of tokens",
                column.site,
                state.name,
                percent(state.share)
            );
            let radius = 2.0 + (row * 0.5 - 3.0) * share.sqrt();
            svg.add(Shape::circle(at, radius).class(class).tip(tip));
        }
    }
    Some(svg.finish())
}

/// The edges that most tokens take, at most so many, the strongest first; equal ones by place.
pub(super) fn strongest(graph: &RoutingGraph, limit: usize) -> Vec<&RouteStep> {
    let mut edges: Vec<&RouteStep> = graph.edges.iter().collect();
    edges.sort_by(|a, b| b.share.total_cmp(&a.share).then(place(a).cmp(&place(b))));
    edges.truncate(limit);
    edges
}

/// Where an edge stands in lists.
pub(super) fn place(edge: &RouteStep) -> (usize, usize, usize) {
    (edge.column, edge.from, edge.to)
}

/// The strongest edges, the weaker ones first, so that the strongest lie on top.
fn edges(svg: &mut Svg, graph: &RoutingGraph, place: &dyn Fn(usize, usize) -> (f64, f64)) {
    let state = |column: usize, state: usize| graph.columns.get(column)?.states.get(state);
    for edge in strongest(graph, EDGES).into_iter().rev() {
        let ends = (
            state(edge.column, edge.from),
            state(edge.column + 1, edge.to),
        );
        let (Some(from), Some(to), true) = (ends.0, ends.1, edge.probability.is_finite()) else {
            continue;
        };
        let probability = edge.probability.clamp(0.0, 1.0);
        let tip = format!(
            "{} {} → {} {}: probability {}, {} of tokens",
            graph.columns[edge.column].site,
            from.name,
            graph.columns[edge.column + 1].site,
            to.name,
            figure(edge.probability),
            percent(edge.share)
        );
        let link = Shape::link(
            place(edge.column, edge.from),
            place(edge.column + 1, edge.to),
        );
        svg.add(
            link.class("link")
                .at("stroke-width", 0.3 + 5.0 * probability)
                .at("stroke-opacity", 0.12 + 0.5 * probability)
                .tip(tip),
        );
    }
}
