//! A plan with what it was made from -> the data of its report page.

use gemc_format::Codec;

use super::FinishedPlan;
use crate::assign::{Formats, budget_of_bits, bytes};
use crate::graph::{Role, Unit};
use crate::plan::dead::FoundBranch;
use crate::report::{DeadRows, DomainRow, FrontierPoint, Page, Prediction, SlopeRow, UnitRow};
use crate::routing::{Causal, Routes};
use crate::sensitivity::Slope;

/// Budgets of the frontier, in quarters of a bit.
const QUARTERS: std::ops::RangeInclusive<u32> = 9..=33;

/// The page of a plan.
#[must_use]
pub fn page(title: &str, made: &FinishedPlan, routes: &Routes, causal: Option<&Causal>) -> Page {
    let file = &made.file;
    let mut page = Page {
        title: title.to_owned(),
        facts: vec![
            (
                "target".to_owned(),
                match file.projected {
                    true => format!("{} (its times are projected, not measured)", file.target),
                    false => file.target.clone(),
                },
            ),
            ("rounding".to_owned(), file.rounding.clone()),
            (
                "bits per weight".to_owned(),
                format!("{:.4}", file.bits_per_weight),
            ),
            (
                "bytes of quantised units".to_owned(),
                file.unit_bytes.to_string(),
            ),
            (
                "predicted KL".to_owned(),
                file.predicted_kl
                    .map_or("none".to_owned(), |kl| format!("{kl:.3e} nats")),
            ),
            ("checkpoint".to_owned(), file.checkpoint.clone()),
            ("calibration".to_owned(), file.calibration.clone()),
            (
                "calibration text".to_owned(),
                file.calibration_text
                    .clone()
                    .unwrap_or_else(|| "the checkpoint's own".to_owned()),
            ),
        ],
        units: units(made),
        sensitivity: slopes(made),
        frontier: frontier(made),
        domains: made
            .domains
            .iter()
            .map(|(domain, kl)| DomainRow {
                domain: domain.clone(),
                kl: *kl,
                uniform: None,
            })
            .collect(),
        dead: file.dead.as_ref().map(|dead| DeadRows {
            note: dead.note(),
            rows: dead.found.iter().map(row).collect(),
        }),
        ..Page::default()
    };
    if let Some(kl) = file.measured_kl {
        page.facts
            .insert(5, ("measured KL".to_owned(), format!("{kl:.3e} nats")));
        page.predictions = made
            .trials
            .iter()
            .map(|(label, predicted, measured)| Prediction {
                label: label.clone(),
                predicted: *predicted,
                measured: *measured,
            })
            .collect();
    }
    page.set_routes(routes);
    if let Some(causal) = causal {
        page.set_causal(causal);
    }
    page
}

fn row(branch: &FoundBranch) -> [String; 3] {
    let verdict = branch.verdict.name().to_owned();
    [branch.name.clone(), verdict, branch.reason()]
}

fn units(made: &FinishedPlan) -> Vec<UnitRow> {
    let lines = made.file.units.iter().zip(made.units.iter());
    lines
        .map(|(line, unit)| {
            let codec = Codec::from_name(&line.format);
            UnitRow {
                unit: line.name.clone(),
                layer: unit.site.to_string(),
                kind: kind(unit),
                format: line.format.clone(),
                bits: codec.map_or(0.0, |codec| codec.bits_per_weight()),
                bytes: line.bytes,
                predicted_kl: line.predicted_kl,
                reason: line.reason.clone(),
            }
        })
        .collect()
}

/// What a unit is for, and which of the maps that are for it.
fn kind(unit: &Unit) -> String {
    let role = unit.role.name();
    match (unit.role, unit.name.rsplit_once('.')) {
        (Role::Embedding | Role::Head, _) | (_, None) => role.to_owned(),
        (_, Some((_, map))) => format!("{role} {map}"),
    }
}

/// Groups by name.
fn slopes(made: &FinishedPlan) -> Vec<SlopeRow> {
    let row = |(group, slope): (_, &Slope)| SlopeRow {
        group: made.units.group(group).name.clone(),
        slope: (!slope.is_noise()).then(|| slope.secant(0.0)),
        curvature: None,
        measured_kl: Some(slope.largest()),
    };
    let mut rows: Vec<SlopeRow> = made.slopes.iter().map(row).collect();
    rows.sort_by(|a, b| a.group.cmp(&b.group));
    rows
}

/// Predicted KL of the best plan at many sizes, and of uniform formats.
fn frontier(made: &FinishedPlan) -> Vec<FrontierPoint> {
    let file = &made.file;
    let predictor = made.predictor.clone().without_limit();
    let point = |series: &str, label: String, formats: &Formats| FrontierPoint {
        series: series.to_owned(),
        label,
        bytes: bytes(&made.units, formats),
        kl: predictor.kl(formats),
        latency_ms: file
            .predicted_ms
            .map(|_| 1e3 * predictor.seconds(formats))
            .filter(|ms| ms.is_finite()),
        chosen: false,
    };
    let mut points = Vec::new();
    for bits in QUARTERS.map(|quarters| f64::from(quarters) / 4.0) {
        if let Some(formats) = predictor.best(budget_of_bits(&made.units, bits)) {
            points.push(point(
                "plan, predicted",
                format!("{bits:.2} bits"),
                &formats,
            ));
        }
    }
    for codec in Codec::LADDER {
        let formats = Formats::all(&made.units, codec);
        points.push(point(
            "uniform, predicted",
            codec.name().to_owned(),
            &formats,
        ));
    }
    points.retain(|point| point.kl.is_finite());
    points.push(FrontierPoint {
        series: "this plan".to_owned(),
        label: "this plan".to_owned(),
        bytes: made.file.unit_bytes,
        kl: made
            .file
            .measured_kl
            .or(made.file.predicted_kl)
            .unwrap_or(f64::NAN),
        latency_ms: file.predicted_ms,
        chosen: true,
    });
    points
}
