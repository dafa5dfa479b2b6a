//! Keys that say which layers see a window of positions, and which rotate.

use serde_json::Value;

use super::super::json;
use super::super::keys::Keys;

/// How a family says which layers have a window.
#[derive(Clone, Copy, PartialEq)]
pub enum Windows {
    /// None has.
    None,
    /// `sliding_window` of all layers; this many positions where nothing is written.
    All(Option<usize>),
    /// `sliding_window` of the layers that `layer_types` names, else of every second from the first on.
    EverySecond(Option<usize>),
    /// `use_sliding_window`, and `layer_types` or `max_window_layers` say which layers have one.
    Some,
    /// `use_sliding_window`, and `layer_types`; else the layers that do not rotate.
    Unrotated,
    /// `use_sliding_window`, and `layer_types`; else every second layer below `max_window_layers`.
    Alternating,
    /// `use_sliding_window` for all layers.
    AllIfUsed,
    /// Every layer is attention, as `layer_types` must say.
    AttentionOnly,
}

const WINDOW: std::ops::RangeInclusive<usize> = 1..=(1 << 24);

/// The window of each layer.
pub fn read(windows: Windows, keys: &mut Keys<'_>, layers: usize) -> Option<Vec<Option<usize>>> {
    match windows {
        Windows::None => Some(vec![None; layers]),
        Windows::All(default) => {
            let window = keys.count_or_none("sliding_window", WINDOW, default)?;
            Some(vec![window; layers])
        }
        Windows::EverySecond(default) => {
            let window = keys.count_or_none("sliding_window", WINDOW, default)?;
            by_type(keys, window, (0..layers).map(|l| l % 2 == 0).collect())
        }
        Windows::AttentionOnly => attention_only(keys, layers),
        Windows::AllIfUsed => {
            let used = keys.flag("use_sliding_window", Some(false))?;
            let window = keys.count_or_none("sliding_window", 0..=1 << 24, Some(4096))?;
            Some(vec![window.filter(|n| used && *n > 0); layers])
        }
        Windows::Some | Windows::Unrotated | Windows::Alternating => {
            let used = keys.flag("use_sliding_window", Some(false))?;
            let default = (windows != Windows::Unrotated).then_some(4096);
            let window = keys.count_or_none("sliding_window", 0..=1 << 24, default)?;
            let window = window.filter(|n| used && *n > 0);
            let slides = match windows {
                Windows::Some => {
                    let most = keys.count("max_window_layers", 0..=1 << 16, Some(28))?;
                    (0..layers).map(|l| l >= most).collect()
                }
                Windows::Alternating => {
                    let most = keys.count("max_window_layers", 0..=1 << 16, Some(28))?;
                    (0..layers).map(|l| l % 2 == 0 && l < most).collect()
                }
                _ => rotated(keys, layers)?
                    .into_iter()
                    .map(|rotates| !rotates)
                    .collect(),
            };
            by_type(keys, window, slides)
        }
    }
}

/// Windows by `layer_types`, where that is written.
fn by_type(
    keys: &mut Keys<'_>,
    window: Option<usize>,
    slides: Vec<bool>,
) -> Option<Vec<Option<usize>>> {
    let of = |slides: Vec<bool>| {
        slides
            .into_iter()
            .map(|slides| window.filter(|_| slides))
            .collect()
    };
    let Some(types) = layer_types(keys, slides.len())? else {
        return Some(of(slides));
    };
    keys.ignore("max_window_layers", "`layer_types` says it");
    if window.is_none() && types.contains(&true) {
        let what = "has \"sliding_attention\", but no window is used";
        let allowed = "\"full_attention\", or `use_sliding_window` and `sliding_window`";
        keys.refuse("layer_types", what, allowed);
        return None;
    }
    Some(of(types))
}

/// Which layers slide, where `layer_types` says it.
pub fn layer_types(keys: &mut Keys<'_>, layers: usize) -> Option<Option<Vec<bool>>> {
    let Some(value) = keys.get("layer_types") else {
        return Some(None);
    };
    let slides = |item: &Value| match item.as_str() {
        Some("full_attention" | "attention") => Some(false),
        Some("sliding_attention") => Some(true),
        _ => None,
    };
    let items = value.as_array().filter(|items| items.len() == layers);
    let types: Option<Vec<bool>> = items.and_then(|items| items.iter().map(slides).collect());
    if types.is_none() {
        let allowed =
            format!("\"full_attention\" or \"sliding_attention\" for each of {layers} layers");
        keys.refuse(
            "layer_types",
            format!("found {}", json::listed(value)),
            allowed,
        );
    }
    types.map(Some)
}

/// No windows, where every layer is attention; others are refused.
fn attention_only(keys: &mut Keys<'_>, layers: usize) -> Option<Vec<Option<usize>>> {
    let value = keys.get("layer_types");
    let attends = |item: &Value| matches!(item.as_str(), Some("attention" | "full_attention"));
    let items = value
        .and_then(Value::as_array)
        .filter(|items| items.len() == layers);
    if !items.is_some_and(|items| items.iter().all(attends)) {
        let found = value.map_or("is missing".to_owned(), |v| {
            format!("found {}", json::listed(v))
        });
        let allowed =
            format!("\"attention\" for each of {layers} layers: state-space layers are not built");
        keys.refuse("layer_types", found, allowed);
        return None;
    }
    for key in [
        "mamba_n_heads",
        "mamba_n_groups",
        "mamba_d_state",
        "mamba_d_head",
        "mamba_d_conv",
        "mamba_expand",
        "mamba_chunk_size",
        "mamba_conv_bias",
        "mamba_proj_bias",
        "time_step_limit",
    ] {
        keys.ignore(key, "no layer is a state space");
    }
    Some(vec![None; layers])
}

/// All layers or none, by `position_embedding_type`; null rotates none.
pub fn by_name(keys: &mut Keys<'_>, layers: usize) -> Option<Vec<bool>> {
    if keys.is_null("position_embedding_type") {
        return Some(vec![false; layers]);
    }
    let rotates = keys.choice(
        "position_embedding_type",
        &[("rope", true), ("nope", false)],
        Some(false),
    )?;
    Some(vec![rotates; layers])
}

/// Which layers rotate queries and keys: `no_rope_layers` has 1 for those that do; else all but every n-th.
pub fn rotated(keys: &mut Keys<'_>, layers: usize) -> Option<Vec<bool>> {
    let every = keys.count("no_rope_layer_interval", 1..=1 << 16, Some(4))?;
    let Some(value) = keys.get("no_rope_layers") else {
        return Some((0..layers).map(|l| (l + 1) % every != 0).collect());
    };
    keys.ignore("no_rope_layer_interval", "`no_rope_layers` says it");
    let rotates = |item: &Value| match item.as_u64() {
        Some(0) => Some(false),
        Some(1) => Some(true),
        _ => None,
    };
    let items = value.as_array().filter(|items| items.len() == layers);
    let found: Option<Vec<bool>> = items.and_then(|items| items.iter().map(rotates).collect());
    if found.is_none() {
        let allowed = format!("0 or 1 for each of {layers} layers; 1 rotates");
        keys.refuse(
            "no_rope_layers",
            format!("found {}", json::listed(value)),
            allowed,
        );
    }
    found
}
