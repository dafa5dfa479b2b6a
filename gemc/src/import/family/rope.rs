//! Rotary keys of both generations of configs -> a rule.
//!
//! transformers 5 writes `rope_parameters`; older versions wrote `rope_theta` and `rope_scaling`. Where both are written the
//! older dictionary replaces the newer, as in `convert_rope_params_to_dict` of transformers 5.24.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::super::keys::Keys;
use super::super::rope::{RopeRule, RopeScaling, Yarn};
use super::keys::Common;
use crate::graph::Rope;

/// What a family's rotary embedding starts from.
#[derive(Clone, Copy, Debug)]
pub struct RopeDefaults {
    /// Base of the frequencies.
    pub theta: f64,
    /// Columns of a head.
    pub head_dim: usize,
    /// Positions of the model.
    pub positions: usize,
    /// Whether `partial_rotary_factor` counts without scaling, too.
    pub partial: bool,
    /// Whether there may be a divisor for each pair (`longrope`).
    pub long: bool,
    /// Positions of the original training, where the config does not say them beside its dictionary.
    pub original: Option<usize>,
}

impl RopeDefaults {
    /// Of a decoder.
    pub fn of(common: &Common, theta: f64) -> Self {
        Self {
            theta,
            head_dim: common.head_dim,
            positions: common.positions,
            partial: false,
            long: false,
            original: None,
        }
    }
}

/// A rule and how many columns of a head it rotates.
#[derive(Clone, Debug)]
pub struct ReadRope {
    /// How frequencies are made.
    pub rule: RopeRule,
    /// Columns of a head that are rotated.
    pub width: usize,
}

/// What a dictionary that is not there reads as.
static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl ReadRope {
    /// The table.
    pub fn rope(&self) -> Rope {
        self.rule.rope(self.width)
    }
}

const POSITIVE: &str = "a number above 0, at most 1e12";

fn positive(v: f64) -> bool {
    v > 0.0 && v <= 1e12
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Default,
    Linear,
    Dynamic,
    Llama3,
    Yarn,
    Long,
    Proportional,
    Divisors,
}

const KINDS: [(&str, Kind); 9] = [
    // As GGUF files have it: a divisor for each pair.
    ("divisors", Kind::Divisors),
    ("default", Kind::Default),
    ("linear", Kind::Linear),
    ("dynamic", Kind::Dynamic),
    ("llama3", Kind::Llama3),
    ("yarn", Kind::Yarn),
    ("longrope", Kind::Long),
    ("su", Kind::Long),
    ("proportional", Kind::Proportional),
];

/// Reads the keys of one rotary embedding for all layers.
pub fn read(keys: &mut Keys<'_>, defaults: RopeDefaults) -> Option<ReadRope> {
    let (outer, used) = outer(keys, defaults)?;
    let mut inner = keys.nested(used, &EMPTY);
    let rope = parameters(&mut inner, outer, defaults);
    keys.absorb(inner);
    rope
}

/// Reads those of layers that see all positions, and of layers that slide, whose base is under the key `local` in older configs.
///
/// The older dictionary `rope_scaling` is that of the first alone, as in Gemma 3, unless it is `shared`.
pub fn read_by_type(
    keys: &mut Keys<'_>,
    defaults: [RopeDefaults; 2],
    local: &'static str,
    shared: bool,
) -> Option<[ReadRope; 2]> {
    let theta = keys.number(local, positive, POSITIVE, Some(defaults[1].theta))?;
    let nested = |value: &Value| {
        value.get("full_attention").is_some() || value.get("sliding_attention").is_some()
    };
    if !keys.get("rope_parameters").is_some_and(nested) {
        let full = read(keys, defaults[0])?;
        let local = match shared {
            true => ReadRope {
                rule: RopeRule {
                    theta,
                    ..full.rule.clone()
                },
                width: full.width,
            },
            false => ReadRope {
                rule: RopeRule {
                    theta,
                    scaling: RopeScaling::None,
                },
                width: defaults[1].head_dim,
            },
        };
        return Some([full, local]);
    }
    if keys.get("rope_scaling").is_some() {
        let allowed = "one of the two";
        keys.refuse(
            "rope_scaling",
            "stands beside `rope_parameters` of each layer type",
            allowed,
        );
        return None;
    }
    let global = keys.number("rope_theta", positive, POSITIVE, Some(defaults[0].theta))?;
    let mut all = keys.nested("rope_parameters", &EMPTY);
    let mut of = |key, theta, defaults| {
        let mut inner = all.nested(key, &EMPTY);
        let outer = Outer {
            theta,
            partial: 1.0,
            original: None,
        };
        let rope = parameters(&mut inner, outer, defaults);
        all.absorb(inner);
        rope
    };
    let full = of("full_attention", global, defaults[0]);
    let sliding = of("sliding_attention", theta, defaults[1]);
    keys.absorb(all);
    Some([full?, sliding?])
}

/// What stands outside of the dictionary of rotary keys, and the name of that.
fn outer(keys: &mut Keys<'_>, defaults: RopeDefaults) -> Option<(Outer, &'static str)> {
    let theta = keys.number("rope_theta", positive, POSITIVE, Some(defaults.theta));
    let partial = keys.number("partial_rotary_factor", part, PART, Some(1.0));
    let original = keys.count("original_max_position_embeddings", 1..=1 << 24, Some(1));
    let outer = Outer {
        theta: theta?,
        partial: partial?,
        original: match keys.get("original_max_position_embeddings") {
            Some(_) => Some(original?),
            None => defaults.original,
        },
    };
    let older = matches!(keys.get("rope_scaling"), Some(Value::Object(map)) if !map.is_empty());
    let (used, other) = match older {
        true => ("rope_scaling", "rope_parameters"),
        false => ("rope_parameters", "rope_scaling"),
    };
    if keys.written(other) {
        keys.ignore(other, "the other dictionary of rotary keys replaces it");
    }
    Some((outer, used))
}

/// What stands outside of the dictionary.
#[derive(Clone, Copy)]
struct Outer {
    theta: f64,
    partial: f64,
    original: Option<usize>,
}

const PART: &str = "a number above 0, at most 1";

fn part(v: f64) -> bool {
    v > 0.0 && v <= 1.0
}

fn parameters(keys: &mut Keys<'_>, outer: Outer, defaults: RopeDefaults) -> Option<ReadRope> {
    let older = keys.choice("type", &KINDS, Some(Kind::Default));
    let kind = keys.choice("rope_type", &KINDS, older);
    let theta = keys.number("rope_theta", positive, POSITIVE, Some(outer.theta));
    let partial = keys.number("partial_rotary_factor", part, PART, Some(outer.partial));
    let (Some(kind), false) = (kind, keys.is_refused()) else {
        keys.allow_unknown();
        return None;
    };
    let partial = match (kind, defaults.partial) {
        (Kind::Default, false) => 1.0,
        _ => partial?,
    };
    let scaling = match kind {
        // Frequencies change beyond the model's positions alone.
        Kind::Default => RopeScaling::None,
        Kind::Dynamic => {
            keys.ignore("factor", "contexts end where it begins to count");
            RopeScaling::None
        }
        Kind::Linear => RopeScaling::Linear {
            factor: keys.number("factor", positive, POSITIVE, None)?,
        },
        Kind::Proportional => RopeScaling::Proportional {
            factor: keys.number("factor", positive, POSITIVE, Some(1.0))?,
            pairs: (partial * defaults.head_dim as f64 / 2.0) as usize,
        },
        Kind::Llama3 => llama3(keys, outer, defaults)?,
        Kind::Divisors => RopeScaling::Long {
            divisors: keys.numbers("divisors", positive, POSITIVE, defaults.head_dim / 2)?,
            attention_factor: 1.0,
            positions: defaults.positions,
        },
        Kind::Yarn | Kind::Long if defaults.long => long(keys, outer, defaults, partial)?,
        Kind::Yarn => RopeScaling::Yarn(yarn(keys, outer, defaults)?),
        Kind::Long => {
            let found = "found \"longrope\"";
            keys.refuse(
                "rope_type",
                found,
                "another one: this family has no such rule",
            );
            return None;
        }
    };
    if !matches!(kind, Kind::Llama3 | Kind::Yarn | Kind::Long) {
        let why = "`rope_type` does not ask for it";
        keys.ignore("original_max_position_embeddings", why);
    }
    let rotated = (defaults.head_dim as f64 * partial) as usize;
    let width = match kind {
        Kind::Proportional => defaults.head_dim,
        _ => rotated,
    };
    if !width.is_multiple_of(2) {
        let what = format!("rotates {width} of {} columns of a head", defaults.head_dim);
        keys.refuse("partial_rotary_factor", what, "an even number of columns");
        return None;
    }
    Some(ReadRope {
        rule: RopeRule {
            theta: theta?,
            scaling,
        },
        width,
    })
}

/// Positions of the original training: the key outside wins.
fn original(keys: &mut Keys<'_>, outer: Outer, defaults: RopeDefaults) -> Option<usize> {
    let key = "original_max_position_embeddings";
    let inner = keys.count(key, 1..=1 << 24, Some(defaults.positions))?;
    Some(outer.original.unwrap_or(inner))
}

fn llama3(keys: &mut Keys<'_>, outer: Outer, defaults: RopeDefaults) -> Option<RopeScaling> {
    let factor = keys.number("factor", positive, POSITIVE, None);
    let low = keys.number("low_freq_factor", positive, POSITIVE, None);
    let high = keys.number("high_freq_factor", positive, POSITIVE, None);
    let original = original(keys, outer, defaults);
    let (low, high) = (low?, high?);
    if high <= low {
        let allowed = format!("a number above `low_freq_factor` = {low}");
        keys.refuse("high_freq_factor", format!("found {high}"), allowed);
        return None;
    }
    Some(RopeScaling::Llama3 {
        factor: factor?,
        low_freq_factor: low,
        high_freq_factor: high,
        original_max_position: u32::try_from(original?).ok()?,
    })
}

/// Contexts end with the positions of the original training: beyond them the longer divisors would serve all positions.
fn long(
    keys: &mut Keys<'_>,
    outer: Outer,
    defaults: RopeDefaults,
    partial: f64,
) -> Option<RopeScaling> {
    let original = original(keys, outer, defaults)?;
    let pairs = (defaults.head_dim as f64 * partial) as usize / 2;
    let short = keys.numbers("short_factor", positive, POSITIVE, pairs);
    let long = keys.numbers("long_factor", positive, POSITIVE, pairs);
    keys.ignore("long_factor", "contexts end where it begins to count");
    let ratio = defaults.positions as f64 / original as f64;
    let factor = keys.number("factor", positive, POSITIVE, Some(ratio))?;
    let computed = match factor {
        factor if factor <= 1.0 => 1.0,
        factor => (1.0 + factor.ln() / (original as f64).ln()).sqrt(),
    };
    long?;
    Some(RopeScaling::Long {
        divisors: short?,
        attention_factor: keys.number("attention_factor", positive, POSITIVE, Some(computed))?,
        positions: original,
    })
}

fn yarn(keys: &mut Keys<'_>, outer: Outer, defaults: RopeDefaults) -> Option<Yarn> {
    let original = original(keys, outer, defaults)? as f64;
    let ratio = defaults.positions as f64 / original;
    let factor = keys.number("factor", positive, POSITIVE, Some(ratio))?;
    let mut optional = |key| {
        let written = keys.get(key).is_some();
        let value = keys.number(
            key,
            |v| (0.0..=1e12).contains(&v),
            "a number in 0..=1e12",
            Some(0.0),
        );
        Some(value?).filter(|v| written && *v != 0.0)
    };
    let mscale = optional("mscale").zip(optional("mscale_all_dim"));
    let computed = match mscale {
        Some((one, all)) => Yarn::scale(factor, one) / Yarn::scale(factor, all),
        None => Yarn::scale(factor, 1.0),
    };
    let (fast, slow) = (optional("beta_fast"), optional("beta_slow"));
    let attention_factor = keys.number("attention_factor", positive, POSITIVE, Some(computed))?;
    Some(Yarn {
        factor,
        beta_fast: fast.unwrap_or(32.0),
        beta_slow: slow.unwrap_or(1.0),
        original_max_position: original,
        truncate: keys.flag("truncate", Some(true))?,
        attention_factor,
    })
}
