//! Series of points -> a chart with two axes: scatter plots, curves, and measures by site.

use super::figure::figure;
use super::scale::{Kind, Scale};
use super::svg::{Shape, Svg, shortened, text_width};

const WIDTH: f64 = 680.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const PLOT: f64 = 260.0;
const BOTTOM: f64 = 46.0;
const LEGEND: f64 = 20.0;

/// A plot with two axes: size, scales and what is drawn on them.
#[derive(Clone, Debug)]
pub(super) struct Chart<'a> {
    pub title: &'a str,
    pub x: Axis<'a>,
    pub y: Axis<'a>,
    pub series: Vec<Series>,
    /// A line where both axes are equal.
    pub diagonal: bool,
}

/// One axis, its unit in the label.
#[derive(Clone, Debug)]
pub(super) struct Axis<'a> {
    pub label: &'a str,
    pub kind: Kind,
    /// Whether 0 must be on it.
    pub zero: bool,
    /// Names of the places 0, 1, ...; the axis has no numbers then.
    pub names: Option<Vec<String>>,
}

impl<'a> Axis<'a> {
    pub fn linear(label: &'a str) -> Self {
        Self {
            label,
            kind: Kind::Linear,
            zero: true,
            names: None,
        }
    }

    pub fn log(label: &'a str) -> Self {
        Self {
            label,
            kind: Kind::Log,
            zero: false,
            names: None,
        }
    }
}

/// Points of one colour and mark.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub name: String,
    pub points: Vec<Point>,
    /// Whether a line joins the points in their order.
    pub joined: bool,
}

/// A point of a plot, in values, with its label.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
    /// Shown when pointed at, before the values.
    pub label: String,
    /// Drawn large, with its label beside it.
    pub marked: bool,
}

impl Chart<'_> {
    /// The SVG; `None` when no point can be drawn.
    pub fn draw(&self) -> Option<String> {
        let points = || self.series.iter().flat_map(|s| &s.points);
        let drawn = |p: &&Point| self.x.kind.draws(p.x) && self.y.kind.draws(p.y);
        let places = self.x.names.as_ref().map(|names| names.len());
        let shared = |own: fn(&Point) -> f64, other: fn(&Point) -> f64, axis: &Axis<'_>| {
            let zero = (axis.zero && axis.names.is_none()).then_some(0.0);
            let both = points().filter(drawn).flat_map(move |p| {
                // Equal axes when there is a diagonal to compare with.
                let second = self.diagonal.then(|| other(p));
                [Some(own(p)), second].into_iter().flatten()
            });
            both.chain(zero).collect::<Vec<f64>>()
        };
        points().find(drawn)?;
        let x_pixels = (LEFT, WIDTH - RIGHT);
        let x = Scale::over(self.x.kind, shared(|p| p.x, |p| p.y, &self.x), x_pixels)?;
        let y_pixels = (TOP + PLOT, TOP);
        let y = Scale::over(self.y.kind, shared(|p| p.y, |p| p.x, &self.y), y_pixels)?;
        let rows = legend_rows(&self.series);
        let height = TOP + PLOT + BOTTOM + LEGEND * rows as f64;
        let mut svg = Svg::new(WIDTH, height, self.title);
        svg.add(Shape::text((LEFT, 18.0), self.title).class("title"));
        self.axes(&mut svg, &x, &y, places);
        let place = |p: &Point| Some((place_x(p.x, &x, places)?, y.at(p.y)?));
        if self.diagonal
            && let (Some(a), Some(b)) = (x.at(x.ends().0), y.at(y.ends().0))
            && let (Some(c), Some(d)) = (x.at(x.ends().1), y.at(y.ends().1))
        {
            svg.add(Shape::line((a, b), (c, d)).class("diagonal"));
        }
        for (i, series) in self.series.iter().enumerate() {
            draw_series(&mut svg, series, i, &place);
        }
        if self.series.len() > 1 {
            legend(&mut svg, &self.series, TOP + PLOT + BOTTOM);
        }
        Some(svg.finish())
    }

    fn axes(&self, svg: &mut Svg, x: &Scale, y: &Scale, places: Option<usize>) {
        let (bottom, right) = (TOP + PLOT, WIDTH - RIGHT);
        for (pixel, text) in y.ticks() {
            svg.add(Shape::line((LEFT, pixel), (right, pixel)).class("grid"));
            svg.add(Shape::text((LEFT - 6.0, pixel + 4.0), &text).class("tick end"));
        }
        match &self.x.names {
            None => {
                for (pixel, text) in x.ticks() {
                    svg.add(Shape::line((pixel, TOP), (pixel, bottom)).class("grid"));
                    svg.add(Shape::text((pixel, bottom + 16.0), &text).class("tick middle"));
                }
            }
            Some(names) => {
                let longest = names.iter().map(|n| text_width(&shortened(n, 12)));
                let room = longest.fold(24.0, f64::max) + 8.0;
                let every = (room * names.len() as f64 / (right - LEFT)).ceil().max(1.0) as usize;
                for (i, name) in names.iter().enumerate().step_by(every) {
                    if let Some(pixel) = place_x(i as f64, x, places) {
                        let text = shortened(name, 12);
                        svg.add(Shape::text((pixel, bottom + 16.0), &text).class("tick middle"));
                    }
                }
            }
        }
        svg.add(Shape::line((LEFT, bottom), (right, bottom)).class("axis"));
        svg.add(Shape::line((LEFT, TOP), (LEFT, bottom)).class("axis"));
        let middle = ((LEFT + right) / 2.0, bottom + 36.0);
        svg.add(Shape::text(middle, self.x.label).class("label middle"));
        let side = (16.0, TOP + PLOT / 2.0);
        svg.add(
            Shape::text(side, self.y.label)
                .class("label middle")
                .upright(side),
        );
    }
}

/// Named places are spread evenly, whatever the scale says.
fn place_x(value: f64, scale: &Scale, places: Option<usize>) -> Option<f64> {
    match places {
        None => scale.at(value),
        Some(count) => {
            let step = (WIDTH - RIGHT - LEFT) / count.max(1) as f64;
            Some(LEFT + step * (value + 0.5)).filter(|pixel| pixel.is_finite())
        }
    }
}

fn draw_series(
    svg: &mut Svg,
    series: &Series,
    index: usize,
    place: &dyn Fn(&Point) -> Option<(f64, f64)>,
) {
    let class = format!("s{}", index % 8);
    let placed: Vec<(&Point, (f64, f64))> = series
        .points
        .iter()
        .filter_map(|p| Some((p, place(p)?)))
        .collect();
    if series.joined && placed.len() > 1 {
        let line: Vec<(f64, f64)> = placed.iter().map(|(_, at)| *at).collect();
        svg.add(Shape::polyline(&line).class(&format!("curve {class}")));
    }
    for (point, at) in placed {
        let tip = format!(
            "{}{}{}: {}, {}",
            series.name,
            if series.name.is_empty() { "" } else { " · " },
            point.label,
            figure(point.x),
            figure(point.y)
        );
        let size = if point.marked { 7.0 } else { 3.5 };
        let marked = if point.marked { "mark marked" } else { "mark" };
        svg.add(
            Shape::mark(index, at, size)
                .class(&format!("{marked} {class}"))
                .tip(tip),
        );
        if point.marked {
            let text = shortened(&point.label, 28);
            let class = if at.0 > WIDTH * 0.7 {
                "tick end"
            } else {
                "tick"
            };
            let dx = if at.0 > WIDTH * 0.7 { -10.0 } else { 10.0 };
            svg.add(Shape::text((at.0 + dx, at.1 - 8.0), &text).class(class));
        }
    }
}

/// Where each name of a legend goes: row and pixel.
fn legend_places(series: &[Series]) -> Vec<(usize, f64)> {
    let (mut row, mut x) = (0, LEFT);
    let mut places = Vec::new();
    for series in series {
        let width = 26.0 + text_width(&shortened(&series.name, 40));
        if x + width > WIDTH && x > LEFT {
            (row, x) = (row + 1, LEFT);
        }
        places.push((row, x));
        x += width;
    }
    places
}

fn legend_rows(series: &[Series]) -> usize {
    if series.len() < 2 {
        return 0;
    }
    legend_places(series).last().map_or(0, |(row, _)| row + 1)
}

fn legend(svg: &mut Svg, series: &[Series], top: f64) {
    for (i, (series, (row, x))) in series.iter().zip(legend_places(series)).enumerate() {
        let y = top + LEGEND * row as f64 + 8.0;
        svg.add(Shape::mark(i, (x + 5.0, y - 4.0), 4.0).class(&format!("mark s{}", i % 8)));
        svg.add(Shape::text((x + 14.0, y), &shortened(&series.name, 40)).class("tick"));
    }
}
