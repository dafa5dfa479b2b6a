//! A comparison and the bounds for it -> a line a figure: what was found, what is allowed, and in words what is wrong.
//!
//! Invariant: a bound holds only where it can be seen to hold: not where a figure is missing or is no number.

use std::fmt;

use crate::import::shown;
use crate::verify::report::{Figures, Report};

/// What a figure may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Limit {
    fn holds(self, found: f64) -> bool {
        match self {
            Self::AtMost(most) => found <= most,
            Self::AtLeast(least) => found >= least,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::AtMost(bound) | Self::AtLeast(bound)) = self;
        write!(f, "bound {bound}")
    }
}

/// What a figure is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything that was compared.
    All,
    /// The text of a domain.
    Domain(String),
    /// A budget's file.
    Budget,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Domain(name) => f.write_str(&shown(name)),
            Self::Budget => f.write_str("budget"),
        }
    }
}

/// A figure with what is allowed of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it is of.
    pub part: Part,
    /// What it is.
    pub measure: &'static str,
    /// What was found, if anything was.
    pub found: Option<f64>,
    /// What is allowed, if anything is asked for.
    pub limit: Option<Limit>,
    /// Where the figure is missing, why; where it is beyond its limit, whose fault it is.
    pub remark: Option<String>,
}

impl Line {
    fn new(part: Part, measure: &'static str, found: Option<f64>, limit: Option<Limit>) -> Self {
        Self {
            part,
            measure,
            found,
            limit,
            remark: None,
        }
    }

    /// The figure, as far as anybody reads it.
    #[must_use]
    pub fn figure(&self) -> Option<String> {
        self.found.map(|found| match found.fract() == 0.0 {
            true => found.to_string(),
            false => format!("{found:.6}"),
        })
    }

    /// In words what is wrong; nothing where the limit holds, or there is none.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        let limit = self.limit?;
        let what = match &self.part {
            Part::All => self.measure.to_owned(),
            Part::Domain(name) => format!("{} of {}", self.measure, shown(name)),
            Part::Budget => format!("budget: {}", self.measure),
        };
        let remark = self.remark.as_deref();
        match (self.found, self.figure()) {
            (Some(found), _) if limit.holds(found) => None,
            (_, Some(figure)) => {
                let remark = remark.map_or_else(String::new, |remark| format!("; {remark}"));
                Some(format!("{what} is {figure}, {limit}{remark}"))
            }
            (_, None) => {
                let why = remark.unwrap_or("this model has none, or the texts have no labels");
                Some(format!("there is no {what}: {why}"))
            }
        }
    }
}

/// The bounds of the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Of the mean KL.
    pub max_kl: Option<f64>,
    /// Of the share of equal choices.
    pub min_top1: Option<f64>,
    /// Of macro-F1.
    pub min_f1: Option<f64>,
}

/// Every figure of a report that it has, or that a bound is given for: of all, then of each domain.
#[must_use]
pub fn lines(report: &Report, bounds: &Bounds) -> Vec<Line> {
    let mut lines = of_part(&Part::All, &report.all, bounds);
    for (name, figures) in &report.domains {
        let part = Part::Domain(name.clone());
        lines.extend(of_part(&part, figures, &Bounds::default()));
    }
    lines.retain(|line| line.found.is_some() || line.limit.is_some());
    lines
}

fn of_part(part: &Part, figures: &Figures, bounds: &Bounds) -> Vec<Line> {
    let line = |measure, found, limit| Line::new(part.clone(), measure, found, limit);
    vec![
        line("mean KL", figures.kl_mean, bounds.max_kl.map(Limit::AtMost)),
        line(
            "top-1 agreement",
            figures.top1_agreement,
            bounds.min_top1.map(Limit::AtLeast),
        ),
        line("macro-F1", figures.f1, bounds.min_f1.map(Limit::AtLeast)),
        line("perplexity", figures.ppl, None),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_holds_only_where_it_is_seen_to() {
        let line = |found, limit| Line::new(Part::All, "mean KL", found, Some(limit));
        let broken = |found, limit| line(found, limit).broken().unwrap_or_default();
        assert_eq!(broken(Some(0.5), Limit::AtMost(0.5)), "");
        assert_eq!(broken(Some(0.5), Limit::AtLeast(0.5)), "");
        let above = "mean KL is 0.500000, bound 0.25";
        assert_eq!(broken(Some(0.5), Limit::AtMost(0.25)), above);
        assert!(broken(Some(f64::NAN), Limit::AtMost(1.0)).contains("NaN"));
        assert!(broken(Some(f64::NAN), Limit::AtLeast(1.0)).contains("NaN"));
        assert!(broken(None, Limit::AtMost(1.0)).starts_with("there is no mean KL: "));
        let mut blamed = line(Some(7.0), Limit::AtMost(6.0));
        blamed.part = Part::Budget;
        blamed.remark = Some("most is of u".to_owned());
        let words = "budget: mean KL is 7, bound 6; most is of u";
        assert_eq!(blamed.broken().as_deref(), Some(words));
        blamed.limit = None;
        assert_eq!(blamed.broken(), None);
    }

    #[test]
    fn domains_have_lines_of_their_own() {
        let figures = |kl| Figures {
            kl_mean: Some(kl),
            ..Figures::default()
        };
        let report = Report {
            all: figures(0.5),
            domains: [("law".to_owned(), figures(0.75))].into(),
            ..Report::default()
        };
        let bounds = Bounds {
            min_f1: Some(0.5),
            ..Bounds::default()
        };
        let lines = lines(&report, &bounds);
        let names: Vec<String> = lines
            .iter()
            .map(|l| format!("{}: {}", l.part, l.measure))
            .collect();
        assert_eq!(names, ["all: mean KL", "all: macro-F1", "law: mean KL"]);
        assert!(lines[1].broken().is_some(), "there is none");
    }
}
