//! [`TrafficMap`] -> a map of shares: a row per domain of the text, a column per state.

use super::figure::{figure, percent};
use super::page::TrafficMap;
use super::svg::{Shape, Svg, shortened};

const LEFT: f64 = 120.0;
const TOP: f64 = 84.0;
const ROW: f64 = 22.0;

/// The SVG; `None` without rows or states.
pub(super) fn draw(map: &TrafficMap) -> Option<String> {
    if map.rows.is_empty() || map.states.is_empty() {
        return None;
    }
    let cell = (520.0 / map.states.len() as f64).clamp(4.0, 46.0);
    let width = (LEFT + cell * map.states.len() as f64 + 40.0).max(460.0);
    let height = TOP + ROW * map.rows.len() as f64 + 24.0;
    let title = format!("{}: share of tokens, % by domain of the text", map.site);
    let mut svg = Svg::new(width, height, &title);
    svg.add(Shape::text((8.0, 18.0), &title).class("title"));
    let every = (14.0 / cell).ceil().max(1.0) as usize;
    for (i, state) in map.states.iter().enumerate().step_by(every) {
        let at = (LEFT + cell * (i as f64 + 0.5) + 4.0, TOP - 6.0);
        let name = Shape::text(at, &shortened(state, 9)).class("tick");
        svg.add(name.upright(at).tip(state.clone()));
    }
    for (row, (domain, shares)) in map.rows.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let name = Shape::text((LEFT - 6.0, y + 15.0), &shortened(domain, 17));
        svg.add(name.class("tick end").tip(domain.clone()));
        for (i, (share, state)) in shares.iter().zip(&map.states).enumerate() {
            if !share.is_finite() {
                continue;
            }
            let corner = (LEFT + cell * i as f64, y);
            let tip = format!("{domain} → {state}: {}", percent(*share));
            svg.add(
                Shape::rect(corner, (cell - 1.0, ROW - 1.0))
                    .class("heat")
                    .at("fill-opacity", share.clamp(0.0, 1.0) * 0.95 + 0.03)
                    .tip(tip),
            );
            if cell >= 26.0 {
                let at = (corner.0 + cell / 2.0 - 0.5, y + 15.0);
                let text = if (0.0..=1.0).contains(share) {
                    format!("{:.0}", 100.0 * share)
                } else {
                    figure(100.0 * share)
                };
                svg.add(Shape::text(at, &text).class("cell middle"));
            }
        }
    }
    let foot = "by the module that the router chose; last column: nothing fired";
    svg.add(Shape::text((8.0, height - 6.0), foot).class("label"));
    Some(svg.finish())
}
