//! Named values -> horizontal rows: bars from zero, or dots on a log scale.

use super::figure::figure;
use super::scale::{Kind, Scale};
use super::svg::{Shape, Svg, shortened};

const WIDTH: f64 = 680.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 60.0;

/// Rows with one value for each series.
#[derive(Clone, Debug)]
pub(super) struct Ranking<'a> {
    pub title: &'a str,
    /// With the unit.
    pub label: &'a str,
    pub kind: Kind,
    pub series: Vec<&'a str>,
    pub rows: Vec<(String, Vec<Option<f64>>)>,
}

impl Ranking<'_> {
    /// The SVG; `None` when no value can be drawn.
    pub fn draw(&self) -> Option<String> {
        let values = || {
            let rows = self.rows.iter();
            rows.flat_map(|(_, v)| v.iter().copied().flatten())
        };
        values().find(|v| self.kind.draws(*v))?;
        let zero = (self.kind == Kind::Linear).then_some(0.0);
        let scale = Scale::over(self.kind, values().chain(zero), (LEFT, WIDTH - RIGHT))?;
        let step = 12.0 * self.series.len() as f64 + 6.0;
        let bottom = TOP + step * self.rows.len() as f64;
        let mut svg = Svg::new(WIDTH, bottom + BOTTOM, self.title);
        svg.add(Shape::text((16.0, 18.0), self.title).class("title"));
        for (pixel, text) in scale.ticks() {
            svg.add(Shape::line((pixel, TOP), (pixel, bottom)).class("grid"));
            svg.add(Shape::text((pixel, bottom + 16.0), &text).class("tick middle"));
        }
        for (i, (name, values)) in self.rows.iter().enumerate() {
            let top = TOP + step * i as f64 + 3.0;
            let middle = top + (step - 6.0) / 2.0 + 4.0;
            let short = shortened(name, 30);
            svg.add(
                Shape::text((LEFT - 8.0, middle), &short)
                    .class("tick end")
                    .tip(name.clone()),
            );
            for (series, value) in values.iter().enumerate() {
                if let Some(value) = value {
                    let top = top + 12.0 * series as f64;
                    self.value(&mut svg, &scale, name, series, *value, top);
                }
            }
        }
        svg.add(Shape::line((LEFT, TOP), (LEFT, bottom)).class("axis"));
        let middle = ((LEFT + WIDTH - RIGHT) / 2.0, bottom + 34.0);
        svg.add(Shape::text(middle, self.label).class("label middle"));
        if self.series.len() > 1 {
            for (i, name) in self.series.iter().enumerate() {
                let x = LEFT + 150.0 * i as f64;
                let y = bottom + 52.0;
                svg.add(Shape::mark(i, (x, y - 4.0), 4.0).class(&format!("mark s{}", i % 8)));
                svg.add(Shape::text((x + 9.0, y), name).class("tick"));
            }
        }
        Some(svg.finish())
    }

    fn value(&self, svg: &mut Svg, scale: &Scale, name: &str, series: usize, value: f64, top: f64) {
        let Some(pixel) = scale.at(value) else {
            return;
        };
        let class = format!("s{}", series % 8);
        let tip = format!("{name}: {} {}", figure(value), self.series[series]);
        let tip = tip.trim_end().to_owned();
        let shape = match self.kind {
            Kind::Log => {
                let middle = top + 6.0;
                svg.add(Shape::line((LEFT, middle), (pixel, middle)).class("grid"));
                Shape::mark(series, (pixel, middle), 4.0)
            }
            Kind::Linear => {
                let zero = scale.at(0.0).unwrap_or(LEFT);
                let from = zero.min(pixel);
                Shape::rect((from, top + 1.0), ((pixel - zero).abs(), 10.0))
            }
        };
        svg.add(shape.class(&format!("mark {class}")).tip(tip));
        let text = figure(value);
        svg.add(Shape::text((pixel.max(LEFT) + 8.0, top + 10.0), &text).class("tick"));
    }
}
