//! What a plan is and why -> one self-contained HTML page: plots as inline SVG, a table behind every plot.
//!
//! The page loads nothing and runs nothing, follows the reader's light or dark setting, and is a function of
//! [`Page`] alone, byte for byte. Names are untrusted: they are escaped wherever they go. Numbers that are not finite
//! are left out of plots and spelled out in tables. Sections without data are left out.
//!
//! Plots are written as SVG by hand because colours must come from the page's style sheet (light, dark), shapes carry
//! tooltips without script, and half of the plots are no charts (routing graph, heat maps, bars per unit). plotters
//! writes colours into its shapes and guesses text sizes without a font library; the axes here need a hundred lines.

mod chart;
mod figure;
mod heatmap;
mod network;
mod page;
mod ranking;
#[cfg(feature = "calibrate")]
mod routes;
mod scale;
mod sections;
mod svg;
mod units;

#[cfg(test)]
mod tests;

pub use page::{
    CausalRow, DeadRows, DomainRow, FrontierPoint, Page, Prediction, RouteColumn, RouteState,
    RouteStep, RoutingGraph, SiteRow, SlopeRow, TrafficMap, UnitRow,
};

use minijinja::{Environment, UndefinedBehavior, context};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// What tells a page of gemc from those of others, near its beginning.
const MARK: &str = r#"<meta name="generator" content="gemc plan"/>"#;

/// Bytes that the mark is looked for in.
const HEAD: usize = 1024;

/// Whether the content of a file is a page that was rendered here.
#[must_use]
pub fn is_report(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(HEAD)];
    head.windows(MARK.len()).any(|part| part == MARK.as_bytes())
}

/// A fault of gemc: its own template did not render.
#[derive(Debug, thiserror::Error)]
#[error("internal fault, please report: the report's template failed")]
pub struct ReportError(#[from] minijinja::Error);

/// The page as HTML that is also well-formed XML.
///
/// # Errors
/// Only for faults of gemc itself.
pub fn render(page: &Page) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    // The name's ending turns escaping on.
    environment.add_template("page.html", TEMPLATE)?;
    let facts: Vec<[String; 2]> = page
        .facts
        .iter()
        .map(|(name, value)| [svg::clean(name), svg::clean(value)])
        .collect();
    let text = environment.get_template("page.html")?.render(context! {
        title => svg::clean(&page.title),
        style => STYLE,
        facts => facts,
        sections => sections::all(page),
    })?;
    Ok(text)
}
