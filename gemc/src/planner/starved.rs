//! Modules that the calibration text hardly reached: named, and an error when the text itself is to blame.
//!
//! A module that was never reached is rounded by the moments of its site (its last map by the site's mean square), and
//! counts as if one token in a thousand had visited it, so that it gets few bits and not none.

use super::PlannerError;
use crate::calibrate::Stats;
use crate::graph::Units;

/// Rows below which a module's own moments say next to nothing.
const LEAST: u64 = 32;

/// A text of fewer tokens than this for every module of a layer is too short to starve one.
const TOKENS_PER_MODULE: u64 = 256;

/// The first of many names, and how many more there are.
#[must_use]
pub fn some_of(names: &[String]) -> String {
    const TOLD: usize = 8;
    let told = names[..names.len().min(TOLD)].join(", ");
    match names.len().saturating_sub(TOLD) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}

/// Names of starved modules.
///
/// # Errors
/// When the text is so short that it had to be so, and planning would have taken more: `most_tokens`.
pub(super) fn check(
    units: &Units,
    stats: &Stats,
    most_tokens: usize,
) -> Result<Vec<String>, PlannerError> {
    let modules = units.iter().filter(|unit| unit.module.is_some());
    let mut starved: Vec<String> = modules
        .filter(|unit| {
            stats
                .unit(unit.id)
                .is_none_or(|inputs| inputs.rows() < LEAST)
        })
        .map(|unit| {
            let name = unit.name.as_str();
            let module = name.rsplit_once('.').map_or(name, |(module, _)| module);
            module.to_owned()
        })
        .collect();
    starved.dedup();
    let most = units
        .iter()
        .filter_map(|unit| unit.module)
        .max()
        .map_or(0, |m| u64::from(m) + 1);
    let needed = (TOKENS_PER_MODULE * most).min(most_tokens as u64);
    let short = stats.tokens < needed;
    if short && !starved.is_empty() || stats.tokens == 0 {
        return Err(PlannerError::Short {
            tokens: stats.tokens,
            least: LEAST,
            modules: some_of(&starved),
        });
    }
    Ok(starved)
}
