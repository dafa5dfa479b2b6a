//! Rotary embedding keys in both spellings of Hugging Face -> one [`RopeRule`]. When both are written they must agree.

use serde_json::{Map, Value};

use super::super::json::kind;
use super::super::keys::Keys;
use super::super::rope::{RopeRule, RopeScaling};

const DEFAULT_THETA: f64 = 10_000.0;

fn positive(v: f64) -> bool {
    v > 0.0 && v <= 1e12
}

const POSITIVE: &str = "a number above 0, at most 1e12";

/// `rope_theta` + `rope_scaling`, or `rope_parameters`, or both when they say the same.
pub fn read<'a>(keys: &mut Keys<'a>, empty: &'a Map<String, Value>) -> Option<RopeRule> {
    let old_theta = keys.number("rope_theta", positive, POSITIVE, Some(DEFAULT_THETA));
    let mut old = keys.nested("rope_scaling", empty);
    let old_scaling = scaling(&mut old);
    keys.absorb(old);
    if keys.get("rope_parameters").is_none() {
        return Some(RopeRule {
            theta: old_theta?,
            scaling: old_scaling?,
        });
    }
    let mut new = keys.nested("rope_parameters", empty);
    // Where the old one was refused, there is nothing to complain of here.
    let default = old_theta.unwrap_or(DEFAULT_THETA);
    let theta = new.number("rope_theta", positive, POSITIVE, Some(default));
    let scaling = scaling(&mut new);
    keys.absorb(new);
    // Only values that are right by themselves can disagree.
    let (theta, scaling) = (theta?, scaling?);
    let (old_theta, old_scaling) = (old_theta?, old_scaling?);
    if keys.written("rope_theta") && theta != old_theta {
        disagree(keys, "rope_theta");
    }
    if keys.written("rope_scaling") && scaling != old_scaling {
        disagree(keys, "rope_scaling");
    }
    Some(RopeRule { theta, scaling })
}

fn disagree(keys: &mut Keys<'_>, old: &'static str) {
    let what = format!("disagrees with `{old}`");
    keys.refuse(
        "rope_parameters",
        what,
        "one of the two spellings, or the same values in both",
    );
}

/// Keys that belong to one type of scaling or another.
const OF_SCALINGS: [&str; 4] = [
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
];

/// One scaling object; an empty one means none.
fn scaling(keys: &mut Keys<'_>) -> Option<RopeScaling> {
    let which = which(keys);
    if which.is_none() {
        // Another type has other keys.
        keys.allow_unknown();
    }
    if keys.is_refused() {
        return None;
    }
    let used: &[&str] = match which? {
        0 => &[],
        1 => &OF_SCALINGS[..1],
        _ => &OF_SCALINGS,
    };
    for key in OF_SCALINGS.iter().filter(|key| !used.contains(key)) {
        keys.ignore(key, "`rope_type` does not ask for it");
    }
    match which? {
        0 => Some(RopeScaling::None),
        1 => Some(RopeScaling::Linear {
            factor: keys.number("factor", positive, POSITIVE, None)?,
        }),
        _ => llama3(keys),
    }
}

/// The type, in both spellings.
fn which(keys: &mut Keys<'_>) -> Option<u8> {
    const KINDS: [(&str, u8); 3] = [("default", 0), ("linear", 1), ("llama3", 2)];
    let older = keys.choice("type", &KINDS, Some(0));
    let default = if keys.written("type") { older } else { Some(0) };
    // The older one was refused already where it is no default.
    let which = keys.choice("rope_type", &KINDS, default.or(Some(0)));
    let (older, which) = (older?, which?);
    if keys.written("type") && older != which {
        let found = keys.get("type").map(kind).unwrap_or_default();
        keys.refuse(
            "type",
            format!("found {found}"),
            "the same value as `rope_type`",
        );
        return None;
    }
    Some(which)
}

fn llama3(keys: &mut Keys<'_>) -> Option<RopeScaling> {
    const CONTEXT: std::ops::RangeInclusive<usize> = 1..=(1 << 24);
    let factor = keys.number("factor", positive, POSITIVE, None);
    let low = keys.number("low_freq_factor", positive, POSITIVE, None);
    let high = keys.number("high_freq_factor", positive, POSITIVE, None);
    let original = keys.count("original_max_position_embeddings", CONTEXT, None);
    let (low, high) = (low?, high?);
    if high <= low {
        keys.refuse(
            "high_freq_factor",
            format!("found {high}"),
            format!("a number above `low_freq_factor` = {low}"),
        );
        return None;
    }
    Some(RopeScaling::Llama3 {
        factor: factor?,
        low_freq_factor: low,
        high_freq_factor: high,
        original_max_position: u32::try_from(original?).ok()?,
    })
}
