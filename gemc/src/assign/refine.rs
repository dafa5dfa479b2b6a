//! A plan -> a better one by measured KL.
//!
//! Slopes of single groups in an otherwise perfect model miss how errors of one layer meet those of others. Here every
//! group of the plan is moved by one format, all else as planned, and what that does to the KL of the whole is its slope
//! from then on.

use super::Formats;
use super::predict::Predictor;
use crate::graph::{NodeId, UnitId, Units};
use crate::progress::Progress;
use crate::reference::{Reference, ReferenceError};
use crate::sensitivity::{Judge, Ladder};

/// How much of a new slope is believed at once: measured differences of small KLs are noisy, and slopes move with the plan.
const TRUST: f64 = 0.7;

/// A plan that was measured.
#[derive(Clone, Debug)]
pub struct RefinedPlan {
    /// Formats by unit.
    pub formats: Formats,
    /// Measured KL, routing forced.
    pub kl: f64,
    /// Measured KL of the plan it started from.
    pub start_kl: f64,
    /// Rounds that lowered it.
    pub gains: usize,
    /// Every plan that was tried: name, KL predicted before it was measured, and measured.
    pub trials: Vec<(String, f64, f64)>,
}

/// Measures a selection.
///
/// # Errors
/// Never for units of the ladder's reference.
pub fn measured(
    reference: &Reference,
    units: &Units,
    ladder: &Ladder<'_>,
    formats: &Formats,
    judge: &Judge,
    progress: &dyn Progress,
) -> Result<(Reference, f64), ReferenceError> {
    let mut candidate = reference.clone();
    let formats: Vec<_> = units.iter().map(|unit| (unit, formats[unit.id])).collect();
    progress.start("rounding the plan's weights", formats.len() as u64);
    ladder.apply_all(&mut candidate, &formats, progress)?;
    let kl = judge.judge(&candidate, NodeId(0), true)?.mean();
    Ok((candidate, kl))
}

/// Lowers the measured KL of a plan under its budget in at most so many rounds.
///
/// # Errors
/// Never for units of the ladder's reference.
#[expect(
    clippy::too_many_arguments,
    reason = "one call site; each is a stage's own result"
)]
pub fn refine(
    reference: &Reference,
    units: &Units,
    ladder: &Ladder<'_>,
    judge: &Judge,
    predictor: &mut Predictor,
    budget: u64,
    rounds: usize,
    progress: &dyn Progress,
) -> Result<Option<RefinedPlan>, ReferenceError> {
    let Some(formats) = predictor.best(budget) else {
        return Ok(None);
    };
    let (mut model, kl) = measured(reference, units, ladder, &formats, judge, progress)?;
    let mut best = RefinedPlan {
        formats,
        kl,
        start_kl: kl,
        gains: 0,
        trials: Vec::new(),
    };
    best.trials.push((
        "by single groups".to_owned(),
        predictor.kl(&best.formats),
        kl,
    ));
    let groups = units.groups();
    for round in 1..=rounds {
        progress.start(
            &format!("refining the plan, round {round}"),
            groups.len() as u64,
        );
        let mut trial = predictor.clone();
        for members in groups.iter().map(|group| &group.units) {
            let slope = in_place(&mut model, units, ladder, judge, predictor, &best, members)?;
            if let Some(slope) = slope {
                for &unit in members {
                    let error = predictor
                        .error(unit, best.formats[unit])
                        .max(f64::MIN_POSITIVE);
                    let old = predictor.cost(unit, best.formats[unit]) / error;
                    trial.straighten(unit, TRUST * slope + (1.0 - TRUST) * old);
                }
            }
            progress.advance(1);
        }
        let Some(formats) = trial.best(budget) else {
            break;
        };
        if formats == best.formats {
            *predictor = trial;
            break;
        }
        // Its weights go before the next model's come; when that is no better, nothing needs them any more.
        drop(model);
        let (candidate, kl) = measured(reference, units, ladder, &formats, judge, progress)?;
        best.trials
            .push((format!("round {round}"), trial.kl(&formats), kl));
        if kl >= best.kl {
            break;
        }
        *predictor = trial;
        model = candidate;
        best = RefinedPlan {
            formats,
            kl,
            gains: best.gains + 1,
            ..best
        };
    }
    Ok(Some(best))
}

/// KL per error of a group in the plan's surroundings: all its units one format up, or down where none is above.
fn in_place(
    model: &mut Reference,
    units: &Units,
    ladder: &Ladder<'_>,
    judge: &Judge,
    predictor: &Predictor,
    best: &RefinedPlan,
    members: &[UnitId],
) -> Result<Option<f64>, ReferenceError> {
    let mut change = 0.0;
    let mut moved = Vec::new();
    for &unit in members {
        let current = best.formats[unit];
        let above = predictor.allowed(unit).skip_while(|c| *c != current).nth(1);
        let below = predictor.allowed(unit).take_while(|c| *c != current).last();
        if let Some(codec) = above.or(below) {
            change += predictor.error(unit, codec) - predictor.error(unit, current);
            moved.push((unit, codec));
        }
    }
    if change == 0.0 {
        return Ok(None);
    }
    for (unit, codec) in &moved {
        ladder.apply(model, &units[*unit], *codec)?;
    }
    // The texts' wires are those of the original, so that only a run of the whole sees the plan.
    let kl = judge.judge(model, NodeId(0), true)?.mean();
    for (unit, _) in &moved {
        ladder.apply(model, &units[*unit], best.formats[*unit])?;
    }
    let slope = (kl - best.kl) / change;
    Ok((slope > 0.0).then_some(slope))
}
