//! [`UnitRow`]s -> bits per unit in evaluation order, a bar per unit in the colour of its format.

use super::figure::{figure, optional};
use super::page::UnitRow;
use super::scale::{Kind, Scale};
use super::svg::{Shape, Svg, shortened, text_width};

const LEFT: f64 = 62.0;
const TOP: f64 = 34.0;
const PLOT: f64 = 200.0;
const WIDTH: f64 = 920.0;

/// The SVG; `None` when no unit has a width that can be drawn.
pub(super) fn draw(units: &[UnitRow]) -> Option<String> {
    let bits = || {
        units
            .iter()
            .map(|u| u.bits)
            .filter(|b| Kind::Linear.draws(*b))
    };
    bits().next()?;
    let scale = Scale::over(Kind::Linear, bits().chain([0.0]), (TOP + PLOT, TOP))?;
    let formats = formats(units);
    let bar = ((WIDTH - LEFT - 10.0) / units.len() as f64).min(22.0);
    let right = LEFT + bar * units.len() as f64;
    let bottom = TOP + PLOT;
    let title = "Bits per unit, in evaluation order";
    let mut svg = Svg::new(WIDTH, bottom + 66.0, title);
    svg.add(Shape::text((LEFT, 18.0), title).class("title"));
    for (pixel, text) in scale.ticks() {
        svg.add(Shape::line((LEFT, pixel), (right, pixel)).class("grid"));
        svg.add(Shape::text((LEFT - 6.0, pixel + 4.0), &text).class("tick end"));
    }
    for (i, unit) in units.iter().enumerate() {
        let Some(top) = scale.at(unit.bits) else {
            continue;
        };
        let x = LEFT + bar * i as f64;
        let format = formats.iter().position(|f| *f == unit.format).unwrap_or(0);
        let gap = if bar > 4.0 { 1.0 } else { 0.0 };
        svg.add(
            Shape::rect((x, top), (bar - gap, bottom - top))
                .class(&format!("mark s{}", format % 8))
                .tip(tip(unit)),
        );
    }
    layers(&mut svg, units, bar, bottom);
    svg.add(Shape::line((LEFT, bottom), (right, bottom)).class("axis"));
    svg.add(Shape::text((LEFT, bottom + 38.0), "units, by place in the model").class("label"));
    let side = (16.0, TOP + PLOT / 2.0);
    svg.add(
        Shape::text(side, "bits per weight")
            .class("label middle")
            .upright(side),
    );
    let mut x = LEFT;
    for (i, name) in formats.iter().enumerate() {
        let name = shortened(name, 20);
        let y = bottom + 58.0;
        svg.add(Shape::rect((x, y - 9.0), (10.0, 10.0)).class(&format!("mark s{}", i % 8)));
        svg.add(Shape::text((x + 14.0, y), &name).class("tick"));
        x += 30.0 + text_width(&name);
    }
    Some(svg.finish())
}

/// Names of the formats, most bits first.
fn formats(units: &[UnitRow]) -> Vec<&str> {
    let mut found: Vec<(f64, &str)> = Vec::new();
    for unit in units {
        if !found.iter().any(|(_, name)| *name == unit.format) {
            found.push((unit.bits, &unit.format));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    found.into_iter().map(|(_, name)| name).collect()
}

/// A line and a name where a place in the model begins, as far as names have room.
fn layers(svg: &mut Svg, units: &[UnitRow], bar: f64, bottom: f64) {
    let mut free = 0.0;
    for (i, unit) in units.iter().enumerate() {
        if i > 0 && units[i - 1].layer == unit.layer {
            continue;
        }
        let x = LEFT + bar * i as f64;
        svg.add(Shape::line((x, bottom), (x, bottom + 6.0)).class("axis"));
        let name = shortened(&unit.layer, 12);
        if x >= free && x + text_width(&name) < WIDTH {
            svg.add(Shape::text((x, bottom + 18.0), &name).class("tick"));
            free = x + text_width(&name) + 6.0;
        }
    }
}

fn tip(unit: &UnitRow) -> String {
    format!(
        "{} · {}: {} ({} bits), {} bytes, predicted KL {} · {}",
        unit.unit,
        unit.kind,
        unit.format,
        figure(unit.bits),
        unit.bytes,
        optional(unit.predicted_kl),
        unit.reason
    )
}
