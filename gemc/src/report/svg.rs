//! Shapes -> SVG text. The only place that writes markup of plots: every text is escaped here, every number is finite
//! and has at most two decimals, so that bytes do not depend on the last bit of a sum.

use std::fmt::Write as _;

/// A drawing: what stands inside one `<svg>`.
#[derive(Clone, Debug)]
pub(super) struct Svg {
    width: f64,
    height: f64,
    title: String,
    body: String,
}

/// One shape or text.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    name: &'static str,
    attributes: String,
    tip: Option<String>,
    content: Option<String>,
}

impl Svg {
    /// An empty drawing with a title for those who cannot see it.
    pub fn new(width: f64, height: f64, title: &str) -> Self {
        Self {
            width,
            height,
            title: title.to_owned(),
            body: String::new(),
        }
    }

    /// Adds a shape on top.
    pub fn add(&mut self, shape: Shape) {
        let Shape {
            name,
            attributes,
            tip,
            content,
        } = shape;
        let _ = write!(self.body, "<{name}{attributes}");
        if tip.is_none() && content.is_none() {
            self.body.push_str("/>\n");
            return;
        }
        self.body.push('>');
        if let Some(tip) = tip {
            let _ = write!(self.body, "<title>{}</title>", escape(&tip));
        }
        self.body
            .push_str(&content.map(|text| escape(&text)).unwrap_or_default());
        let _ = writeln!(self.body, "</{name}>");
    }

    /// The document as SVG markup.
    pub fn finish(self) -> String {
        format!(
            "<svg viewBox=\"0 0 {} {}\" width=\"{0}\" height=\"{1}\" role=\"img\">\n<title>{}</title>\n{}</svg>\n",
            number(self.width),
            number(self.height),
            escape(&self.title),
            self.body
        )
    }
}

impl Shape {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            attributes: String::new(),
            tip: None,
            content: None,
        }
    }

    pub fn line(from: (f64, f64), to: (f64, f64)) -> Self {
        Self::new("line")
            .at("x1", from.0)
            .at("y1", from.1)
            .at("x2", to.0)
            .at("y2", to.1)
    }

    /// A rectangle by its corner and size; sizes below zero count as zero.
    pub fn rect(corner: (f64, f64), size: (f64, f64)) -> Self {
        Self::new("rect")
            .at("x", corner.0)
            .at("y", corner.1)
            .at("width", size.0.max(0.0))
            .at("height", size.1.max(0.0))
    }

    pub fn circle(centre: (f64, f64), radius: f64) -> Self {
        Self::new("circle")
            .at("cx", centre.0)
            .at("cy", centre.1)
            .at("r", radius.max(0.0))
    }

    /// Straight lines through points.
    pub fn polyline(points: &[(f64, f64)]) -> Self {
        let text: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{},{}", number(*x), number(*y)))
            .collect();
        Self::new("polyline").raw("points", &text.join(" "))
    }

    /// A curve that leaves and arrives level.
    pub fn link(from: (f64, f64), to: (f64, f64)) -> Self {
        let middle = number((from.0 + to.0) / 2.0);
        let (y, end) = (number(from.1), number(to.1));
        let path = format!(
            "M{} {y} C{middle} {y} {middle} {end} {} {end}",
            number(from.0),
            number(to.0)
        );
        Self::new("path").raw("d", &path)
    }

    /// One of four marks of about the same size, so that series differ without colours.
    pub fn mark(which: usize, (x, y): (f64, f64), size: f64) -> Self {
        let at = |dx: f64, dy: f64| format!("{} {}", number(x + dx * size), number(y + dy * size));
        let path = |points: &[(f64, f64)]| {
            let corners: Vec<String> = points.iter().map(|(dx, dy)| at(*dx, *dy)).collect();
            Self::new("path").raw("d", &format!("M{}Z", corners.join("L")))
        };
        match which % 4 {
            0 => Self::circle((x, y), size),
            1 => path(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
            2 => path(&[(0.0, -1.2), (1.1, 0.9), (-1.1, 0.9)]),
            _ => path(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]),
        }
    }

    pub fn text(at: (f64, f64), content: &str) -> Self {
        let mut shape = Self::new("text").at("x", at.0).at("y", at.1);
        shape.content = Some(content.to_owned());
        shape
    }

    /// A class of the style sheet.
    pub fn class(self, class: &str) -> Self {
        self.raw("class", class)
    }

    /// Adds an attribute whose value is a number.
    pub fn at(self, name: &str, value: f64) -> Self {
        let value = number(value);
        self.raw(name, &value)
    }

    /// Turned by a quarter to the left, for the text of a vertical axis.
    pub fn upright(self, (x, y): (f64, f64)) -> Self {
        let turn = format!("rotate(-90 {} {})", number(x), number(y));
        self.raw("transform", &turn)
    }

    /// What is shown when pointed at.
    pub fn tip(mut self, text: String) -> Self {
        self.tip = Some(text);
        self
    }

    fn raw(mut self, name: &str, value: &str) -> Self {
        let _ = write!(self.attributes, " {name}=\"{}\"", escape(value));
        self
    }
}

/// At most two decimals; what is not finite lies at 0, though no caller draws it.
fn number(value: f64) -> String {
    debug_assert!(value.is_finite(), "values without a place are not drawn");
    let value = if value.is_finite() { value } else { 0.0 };
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

/// Text without characters that XML forbids or that change the direction of what follows.
pub(super) fn clean(text: &str) -> String {
    let replaced = |c: char| {
        c.is_control()
            || matches!(c, '\u{FFFE}' | '\u{FFFF}')
            || ('\u{202A}'..='\u{202E}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    text.chars()
        .map(|c| if replaced(c) { '\u{FFFD}' } else { c })
        .collect()
}

/// Text as it stands between tags or quotes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// At most so many characters, the last one an ellipsis when some are missing.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let kept = text.chars().take(limit.saturating_sub(1));
    kept.chain(['…']).collect()
}

/// About how wide a small text is, in pixels.
pub(super) fn text_width(text: &str) -> f64 {
    6.3 * text.chars().count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_no_minus_zero() {
        assert_eq!(number(1.0), "1");
        assert_eq!(number(-0.001), "0");
        assert_eq!(number(2.5), "2.5");
        assert_eq!(number(1.0 / 3.0), "0.33");
        assert_eq!(number(100.0), "100");
    }

    #[test]
    fn texts_are_escaped_and_cleaned() {
        assert_eq!(escape("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
        assert_eq!(
            clean("a\u{0}b\u{202E}c\u{FFFF}\n"),
            "a\u{FFFD}b\u{FFFD}c\u{FFFD}\u{FFFD}"
        );
        assert_eq!(shortened("äöüß", 3), "äö…");
        assert_eq!(shortened("äöü", 3), "äöü");
    }
}
