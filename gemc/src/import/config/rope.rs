//! Rotary embedding keys in both spellings of Hugging Face -> one [`Rope`]. When both are written they must agree.

use serde_json::{Map, Value};

use super::super::json::kind;
use super::keys::Keys;
use crate::graph::{Rope, RopeScaling};

const DEFAULT_THETA: f64 = 10_000.0;

fn positive(v: f64) -> bool {
    v > 0.0 && v <= 1e12
}

const POSITIVE: &str = "a number above 0, at most 1e12";

/// `rope_theta` + `rope_scaling`, or `rope_parameters`, or both when they say the same.
pub fn read<'a>(keys: &mut Keys<'a>, empty: &'a Map<String, Value>) -> Option<Rope> {
    let old_theta = keys.number("rope_theta", positive, POSITIVE, Some(DEFAULT_THETA));
    let mut old = keys.nested("rope_scaling", empty);
    let old_scaling = scaling(&mut old);
    keys.absorb(old);
    if keys.get("rope_parameters").is_none() {
        return Some(Rope {
            theta: old_theta?,
            scaling: old_scaling?,
        });
    }
    let mut new = keys.nested("rope_parameters", empty);
    let theta = new.number("rope_theta", positive, POSITIVE, old_theta);
    let scaling = scaling(&mut new);
    keys.absorb(new);
    let rope = Rope {
        theta: theta?,
        scaling: scaling?,
    };
    if keys.written("rope_theta") && Some(rope.theta) != old_theta {
        disagree(keys, "rope_theta");
    }
    if keys.written("rope_scaling") && Some(rope.scaling) != old_scaling {
        disagree(keys, "rope_scaling");
    }
    Some(rope)
}

fn disagree(keys: &mut Keys<'_>, old: &'static str) {
    let what = format!("disagrees with `{old}`");
    keys.refuse(
        "rope_parameters",
        what,
        "one of the two spellings, or the same values in both",
    );
}

/// One scaling object; an empty one means none.
fn scaling(keys: &mut Keys<'_>) -> Option<RopeScaling> {
    const KINDS: [(&str, u8); 3] = [("default", 0), ("linear", 1), ("llama3", 2)];
    let older = keys.choice("type", &KINDS, Some(0))?;
    let default = if keys.written("type") { older } else { 0 };
    let which = keys.choice("rope_type", &KINDS, Some(default))?;
    if keys.written("type") && older != which {
        let found = keys.get("type").map(kind).unwrap_or_default();
        keys.refuse(
            "type",
            format!("found {found}"),
            "the same value as `rope_type`",
        );
        return None;
    }
    match which {
        0 => Some(RopeScaling::None),
        1 => Some(RopeScaling::Linear {
            factor: keys.number("factor", positive, POSITIVE, None)?,
        }),
        _ => llama3(keys),
    }
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
