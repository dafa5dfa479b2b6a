//! `budget.toml` -> lines of a comparison with limits; for a limit that is broken, the unit that is to blame and the figure
//! that says so. docs/pipelines.md is normative.

use std::path::{Path, PathBuf};

use gem_runtime::regular;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::limits::{Limit, Line, Part};
use super::model::Model;
use super::{Failure, numbers};
use crate::graph::Unit;
use crate::pack::layout::Source;
use crate::plan::file::PlanFile;
use crate::planner::Predicted;
use crate::verify::report::Report;
use crate::work;

/// Bytes of a budget at most.
const LONGEST: u64 = 1 << 20;

/// What is wrong with a budget's file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct BudgetError {
    path: PathBuf,
    what: String,
}

/// Limits, as far as they are given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    #[serde(deserialize_with = "bytes")]
    bytes: Option<u64>,
    kl: Option<f64>,
    worst_domain_kl: Option<f64>,
    top1: Option<f64>,
    predicted_ms: Option<f64>,
}

/// A number of bytes, or a text such as `7.5M`.
fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = match toml::Value::deserialize(from)? {
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::String(text) => text,
        other => other.to_string(),
    };
    let read = numbers::bytes(&text).map(Some);
    read.map_err(|allowed| D::Error::custom(format!("bytes is {text}; {allowed}")))
}

/// A budget's file.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    path: PathBuf,
    limits: Limits,
}

/// What its lines are about.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its plan's file, where it has one.
    pub plan: Option<&'a Path>,
    /// The comparison.
    pub report: &'a Report,
}

impl Budget {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, has an unknown key, a number out of range or no limit at all.
    pub fn read(path: &Path) -> Result<Self, BudgetError> {
        let failed = |what: String| BudgetError {
            path: path.to_owned(),
            what,
        };
        let text = regular::read_text(path, LONGEST).map_err(|e| failed(regular::why(&e)))?;
        let text = str::from_utf8(&text).map_err(|e| failed(format!("is not UTF-8: {e}")))?;
        let limits = parse(text).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            limits,
        })
    }

    /// Whether every limit can be judged; asked before the work.
    ///
    /// # Errors
    /// When a time is limited and the target's costs, or those of a format, are not known.
    pub fn check(&self, model: &Model) -> Result<(), Failure> {
        match self.limits.predicted_ms {
            Some(_) => predicted(model).map(|_| ()).map_err(|why| {
                Failure::usage(format!("{}: predicted_ms: {why}", self.path.display()))
            }),
            None => Ok(()),
        }
    }

    /// A line for each limit.
    ///
    /// # Errors
    /// When the plan's file cannot be read.
    pub fn lines(&self, compared: &Compared<'_>) -> Result<Vec<Line>, Failure> {
        let plan = compared.plan.map(PlanFile::read).transpose()?;
        let (report, limits) = (compared.report, &self.limits);
        let layout = &compared.model.compiled.layout;
        let domains = report.domains.iter();
        let domains = domains.filter_map(|(name, figures)| Some((name, figures.kl_mean?)));
        let worst = domains.max_by(|a, b| a.1.total_cmp(&b.1));
        let kl = || of_plan(plan.as_ref());
        let of_domain =
            |name: &String| format!("it is that of {}; {}", crate::import::shown(name), kl());
        let mut lines = Vec::new();
        let mut add =
            |measure, found: Option<f64>, limit: Option<Limit>, remark: &dyn Fn() -> String| {
                let mut line = Line {
                    part: Part::Budget,
                    measure,
                    found,
                    limit,
                    remark: None,
                };
                if line.broken().is_some() {
                    line.remark = Some(remark());
                }
                lines.extend(limit.map(|_| line));
            };
        let file = layout.file_bytes() as f64;
        let most = |limit: Option<f64>| limit.map(Limit::AtMost);
        add(
            "bytes",
            Some(file),
            most(limits.bytes.map(|b| b as f64)),
            &|| heaviest(compared.model),
        );
        add("kl", report.all.kl_mean, most(limits.kl), &kl);
        add(
            "worst_domain_kl",
            worst.map(|(_, kl)| kl),
            most(limits.worst_domain_kl),
            &|| {
                worst.map_or_else(
                    || "the texts have no domains".to_owned(),
                    |(name, _)| of_domain(name),
                )
            },
        );
        add(
            "top1",
            report.all.top1_agreement,
            limits.top1.map(Limit::AtLeast),
            &kl,
        );
        if limits.predicted_ms.is_some() {
            let predicted = predicted(compared.model).map_err(Failure::usage)?;
            let planned = plan.as_ref().and_then(|plan| plan_ms(plan, compared.model));
            let ms = planned.unwrap_or(predicted.ms);
            add("predicted_ms", Some(ms), most(limits.predicted_ms), &|| {
                slowest(compared.model, &predicted)
            });
        }
        Ok(lines)
    }
}

fn parse(text: &str) -> Result<Limits, String> {
    let limits: Limits = toml::from_str(text).map_err(|e| e.to_string())?;
    let range = |name: &str, number: Option<f64>, check: fn(&str) -> Result<f64, &'static str>| {
        let wrong = number
            .map(|n| check(&n.to_string()).map_err(|allowed| format!("{name} is {n}; {allowed}")));
        wrong.transpose().map(|_| ())
    };
    range("kl", limits.kl, numbers::from_zero)?;
    range(
        "worst_domain_kl",
        limits.worst_domain_kl,
        numbers::from_zero,
    )?;
    range("top1", limits.top1, numbers::share)?;
    range("predicted_ms", limits.predicted_ms, numbers::above_zero)?;
    if limits == Limits::default() {
        return Err(
            "has no limit; allowed are bytes, kl, worst_domain_kl, top1 and predicted_ms"
                .to_owned(),
        );
    }
    Ok(limits)
}

/// What the target's costs say of a model.
fn predicted(model: &Model) -> Result<Predicted, String> {
    let target = &model.target.name;
    let measured = format!("`gemc targets {target} --measure` on the device finds them");
    let Some(costs) = model.costs() else {
        return Err(format!("target {target} has no costs; {measured}"));
    };
    let phases = work::of(&model.compiled);
    let predicted = Predicted::new(&model.loaded.graph, &phases, &model.plan, &costs);
    predicted.map_err(|codec| {
        format!(
            "target {target} has no costs of {}; {measured}",
            codec.name()
        )
    })
}

/// What a plan predicts, where it is for this target: it knows which modules text visits.
fn plan_ms(plan: &PlanFile, model: &Model) -> Option<f64> {
    plan.predicted_ms
        .filter(|_| plan.target == model.target.name && plan.overrides.is_empty())
}

fn percent(part: f64, whole: f64) -> String {
    format!("{:.0} %", 100.0 * part / whole)
}

/// The unit with the most bytes.
fn heaviest(model: &Model) -> String {
    let records = model.compiled.layout.records().iter();
    let matrices = records.filter_map(|record| match &record.source {
        Source::Matrix(matrix) => Some((matrix, record.bytes)),
        Source::Vector(_) => None,
    });
    let total = model.compiled.layout.file_bytes() as f64;
    match matrices.max_by_key(|(_, bytes)| *bytes) {
        Some((matrix, bytes)) => format!(
            "most is of {} ({}): {bytes} bytes, {} of the file",
            model.loaded.graph.units()[matrix.unit].name,
            matrix.codec.name(),
            percent(bytes as f64, total)
        ),
        None => "no unit is quantised".to_owned(),
    }
}

/// The unit that its plan predicts to add most KL.
fn of_plan(plan: Option<&PlanFile>) -> String {
    let Some(plan) = plan else {
        return "no unit is blamed without a plan, which predicts what each adds: `gemc plan`, then --plan".to_owned();
    };
    let units = plan.units.iter();
    let predicted = units.filter_map(|unit| Some((unit, unit.predicted_kl?)));
    let worst = predicted.clone().max_by(|a, b| a.1.total_cmp(&b.1));
    let sum: f64 = predicted.map(|(_, kl)| kl).sum();
    match worst.filter(|_| sum > 0.0) {
        Some((unit, kl)) => format!(
            "most is of {} ({}): its plan predicts {:.1e} nats, {} of all",
            unit.name,
            unit.format,
            kl,
            percent(kl, sum)
        ),
        None => "no unit is blamed: its plan predicts no KL".to_owned(),
    }
}

/// The unit that is predicted to take longest.
fn slowest(model: &Model, predicted: &Predicted) -> String {
    let units = model.loaded.graph.units();
    let of = |unit: &Unit| predicted.units[unit.id];
    match units.iter().max_by(|a, b| of(a).total_cmp(&of(b))) {
        Some(unit) => format!(
            "most is of {} ({}): {:.4} ms by the {}costs of {}, {} of {:.4}",
            unit.name,
            model.plan.codec(unit.id).name(),
            of(unit),
            match &model.target.costs {
                Some(costs) if costs.projected => "projected ",
                _ => "",
            },
            model.target.name,
            percent(of(unit), predicted.ms),
            predicted.ms
        ),
        None => "no unit is quantised".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_wrong_ones_are_named() {
        let limits = parse("bytes = \"7.5M\"\nkl = 1\ntop1 = 0.5").expect("good");
        assert_eq!(
            (limits.bytes, limits.kl, limits.top1),
            (Some(7_500_000), Some(1.0), Some(0.5))
        );
        assert_eq!(parse("bytes = 1200").expect("good").bytes, Some(1200));
        for (text, says) in [
            ("", "has no limit; allowed are bytes, kl, "),
            (
                "kls = 1",
                "expected one of `bytes`, `kl`, `worst_domain_kl`, `top1`, `predicted_ms`",
            ),
            ("kl = -1", "kl is -1; allowed are numbers from 0"),
            ("kl = nan", "kl is NaN; allowed"),
            ("top1 = 95", "top1 is 95; allowed are numbers from 0 to 1"),
            (
                "predicted_ms = 0",
                "predicted_ms is 0; allowed are numbers above 0",
            ),
            (
                "bytes = \"lots\"",
                "bytes is lots; allowed are numbers of bytes from 1",
            ),
            ("bytes = -5", "bytes is -5; allowed"),
            ("kl = \"x\"", "expected f64"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
