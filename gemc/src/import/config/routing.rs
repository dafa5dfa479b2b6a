//! `domains`, `router`, `scar`, `modules` and `general_path` -> validated values and the rules that tie them together.

use serde_json::{Map, Value};

use super::super::json::listed;
use super::super::keys::Keys;
use super::{GeneralPath, Modules, RouterConfig, RouterPlace, ScarConfig};
use crate::graph::{ScarMask, Score};

const LAYERS: &str = "\"all\", \"final\" or a list of ascending layer indices";
const MOST_DOMAINS: usize = 1024;
const MOST_CLUSTERS: usize = 1 << 16;
const MOST_MODULE_WIDTH: usize = 1 << 20;

/// The routed part of a config.
#[derive(Debug)]
pub struct Routing {
    pub domains: Vec<String>,
    pub router: RouterConfig,
    pub scar: Option<ScarConfig>,
    pub modules: Modules,
    pub general_path: GeneralPath,
}

/// Reads all of it. `layers` and `hidden` are `None` when they were wrong themselves.
pub fn read<'a>(
    keys: &mut Keys<'a>,
    empty: &'a Map<String, Value>,
    layers: Option<usize>,
    hidden: Option<usize>,
) -> Option<Routing> {
    const PATHS: [(&str, GeneralPath); 3] = [
        ("always", GeneralPath::Always),
        ("fallback", GeneralPath::Fallback),
        ("none", GeneralPath::None),
    ];
    let domains = keys.names("domains", MOST_DOMAINS);
    let mut router_keys = keys.nested("router", empty);
    let place = router_place(&mut router_keys, layers);
    let router = router(&mut router_keys, place.clone(), domains.as_deref());
    let place = place.as_ref();
    let mut scar_keys = keys.nested("scar", empty);
    let scar = scar(&mut scar_keys, place, hidden);
    let mut module_keys = keys.nested("modules", empty);
    let modules = modules(&mut module_keys);
    let general_path = keys.choice("general_path", &PATHS, Some(GeneralPath::Always));
    if matches!(place, Some(RouterPlace::Nowhere | RouterPlace::Final)) {
        keys.ignore("general_path", "no layer is routed");
    }
    unused(&mut router_keys, place, scar.as_ref(), modules);
    for nested in [router_keys, scar_keys, module_keys] {
        keys.absorb(nested);
    }
    if place == Some(&RouterPlace::Nowhere) {
        let on = [
            ("domains", domains.as_ref().is_some_and(|d| !d.is_empty())),
            ("scar.mask", matches!(scar, Some(Some(_)))),
            ("modules.kind", modules.is_some_and(|m| m != Modules::Off)),
        ];
        nothing_routed(keys, &on)?;
    } else if place.is_some() && domains.as_ref().is_some_and(Vec::is_empty) {
        keys.refuse("domains", "is empty", "one name per module of the router");
        return None;
    }
    Some(Routing {
        domains: domains?,
        router: router?,
        scar: scar?,
        modules: modules?,
        general_path: general_path?,
    })
}

/// Refuses what makes no sense without routed layers. Where several keys want them, `router.layers` is what is wrong.
fn nothing_routed(keys: &mut Keys<'_>, on: &[(&'static str, bool)]) -> Option<()> {
    let on: Vec<&str> = on
        .iter()
        .filter(|(_, on)| *on)
        .map(|(key, _)| *key)
        .collect();
    match on[..] {
        [] => return Some(()),
        ["domains"] => {
            let allowed = "none, since `router.layers` is empty";
            keys.refuse("domains", "names domains", allowed);
        }
        [one] => {
            let what = "is on, but `router.layers` is empty";
            keys.refuse(one, what, "\"off\" in a model without routed layers");
        }
        _ => {
            let what = format!("is empty, but {} are set", quoted(&on));
            let allowed = format!("{LAYERS}; or none of the other keys in a model without");
            keys.refuse("router.layers", what, allowed);
        }
    }
    None
}

fn quoted(keys: &[&str]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    quoted.join(" and ")
}

/// Notes keys of the router that nothing reads.
fn unused(
    router: &mut Keys<'_>,
    place: Option<&RouterPlace>,
    scar: Option<&Option<ScarConfig>>,
    modules: Option<Modules>,
) {
    if place == Some(&RouterPlace::Nowhere) {
        for key in [
            "score",
            "top_k",
            "threshold",
            "renormalize",
            "clusters",
            "bias",
        ] {
            router.ignore(key, "no layer is routed");
        }
        return;
    }
    if scar.is_some_and(Option::is_none) {
        router.ignore("clusters", "`scar.mask` is \"off\"");
    }
    if modules == Some(Modules::Off) {
        router.ignore(
            "renormalize",
            "`modules.kind` is \"off\", so nothing is weighted",
        );
    }
}

fn router(
    keys: &mut Keys<'_>,
    place: Option<RouterPlace>,
    domains: Option<&[String]>,
) -> Option<RouterConfig> {
    const SCORES: [(&str, Score); 2] = [("softmax", Score::Softmax), ("sigmoid", Score::Sigmoid)];
    let score = keys.choice("score", &SCORES, Some(Score::Softmax));
    // An empty list is a finding of its own, or there is no router.
    let domains = domains.filter(|d| !d.is_empty());
    let most = domains.map_or(MOST_DOMAINS, <[String]>::len);
    let top_k = keys.count("top_k", 1..=most, Some(1));
    let in_unit = "a number in [0, 1)";
    let threshold = keys.number("threshold", |t| (0.0..1.0).contains(&t), in_unit, Some(0.0));
    let renormalize = keys.flag("renormalize", Some(false));
    let clusters = keys.count("clusters", 0..=MOST_CLUSTERS, Some(0));
    let bias = keys.flag("bias", Some(false));
    Some(RouterConfig {
        place: place?,
        score: score?,
        top_k: u32::try_from(top_k?).ok()?,
        threshold: threshold? as f32,
        renormalize: renormalize?,
        clusters: clusters?,
        bias: bias?,
    })
}

fn router_place(keys: &mut Keys<'_>, layers: Option<usize>) -> Option<RouterPlace> {
    match keys.get("layers") {
        None if keys.is_refused() => None,
        None => Some(RouterPlace::Nowhere),
        Some(Value::String(s)) if s == "all" => {
            layers.map(|n| RouterPlace::Layers((0..n).collect()))
        }
        Some(Value::String(s)) if s == "final" => Some(RouterPlace::Final),
        Some(Value::Array(items)) if items.is_empty() => Some(RouterPlace::Nowhere),
        Some(value) => {
            let below = layers.unwrap_or(usize::MAX);
            let found = indices(value, |l| l < below);
            if found.is_none() {
                let allowed = match layers {
                    Some(n) => format!("{LAYERS} below `num_hidden_layers` = {n}"),
                    None => LAYERS.to_owned(),
                };
                keys.refuse("layers", format!("found {}", listed(value)), allowed);
            }
            found.map(RouterPlace::Layers)
        }
    }
}

/// Ascending indices, each accepted by `holds`.
fn indices(value: &Value, holds: impl Fn(usize) -> bool) -> Option<Vec<usize>> {
    let items = value.as_array()?;
    let mut found: Vec<usize> = Vec::new();
    for item in items {
        let l = usize::try_from(item.as_u64()?).ok()?;
        if !holds(l) || found.last().is_some_and(|&last| last >= l) {
            return None;
        }
        found.push(l);
    }
    Some(found)
}

/// Outer `None`: something is wrong; inner `None`: SCAR is off.
fn scar(
    keys: &mut Keys<'_>,
    place: Option<&RouterPlace>,
    hidden: Option<usize>,
) -> Option<Option<ScarConfig>> {
    const MASKS: [(&str, Option<ScarMask>); 3] = [
        ("cluster_or_flag", Some(ScarMask::ClusterOrFlag)),
        ("cluster_or_domain", Some(ScarMask::ClusterOrDomain)),
        ("off", None),
    ];
    let mask = keys.choice("mask", &MASKS, Some(None));
    let heads = keys.count("heads", 1..=4096, Some(1));
    let residual = keys.flag("residual", Some(false));
    let written = keys.get("layers");
    let mask = mask.filter(|_| !keys.is_refused())?;
    let Some(mask) = mask else {
        for key in ["layers", "heads", "residual"] {
            keys.ignore(key, "`scar.mask` is \"off\"");
        }
        return Some(None);
    };
    let layers = scar_layers(keys, written, place);
    if let (Some(h), Some(d)) = (heads, hidden)
        && d % h != 0
    {
        let allowed = format!("a divisor of `hidden_size` = {d}");
        keys.refuse("heads", format!("found {h}"), allowed);
    }
    Some(Some(ScarConfig {
        layers: layers?,
        heads: u32::try_from(heads?).ok()?,
        mask,
        residual: residual?,
    }))
}

fn scar_layers(
    keys: &mut Keys<'_>,
    written: Option<&Value>,
    place: Option<&RouterPlace>,
) -> Option<Vec<usize>> {
    let routed: &[usize] = match place? {
        // What is wrong then is told elsewhere.
        RouterPlace::Nowhere => return Some(Vec::new()),
        RouterPlace::Final => &[],
        RouterPlace::Layers(layers) => layers,
    };
    match written {
        None => Some(routed.to_vec()),
        Some(Value::String(s)) if s == "routed" => Some(routed.to_vec()),
        Some(value) => {
            let found = indices(value, |l| routed.binary_search(&l).is_ok());
            let found = found.filter(|f| !f.is_empty());
            if found.is_none() {
                let allowed = "\"routed\" or a non-empty ascending list of routed layers";
                keys.refuse("layers", format!("found {}", listed(value)), allowed);
            }
            found
        }
    }
}

fn modules(keys: &mut Keys<'_>) -> Option<Modules> {
    const KINDS: [(&str, u8); 3] = [("off", 0), ("mlp", 1), ("lora", 2)];
    const WIDTHS: std::ops::RangeInclusive<usize> = 1..=MOST_MODULE_WIDTH;
    let which = keys.choice("kind", &KINDS, Some(0));
    // Known whatever the kind is.
    for key in ["intermediate_size", "rank"] {
        keys.get(key);
    }
    let which = which.filter(|_| !keys.is_refused())?;
    match which {
        0 => {
            keys.ignore("intermediate_size", "`modules.kind` is \"off\"");
            keys.ignore("rank", "`modules.kind` is \"off\"");
            Some(Modules::Off)
        }
        1 => {
            keys.ignore("rank", "`modules.kind` is \"mlp\"");
            let intermediate_size = keys.count("intermediate_size", WIDTHS, None)?;
            Some(Modules::Mlp { intermediate_size })
        }
        _ => {
            keys.ignore("intermediate_size", "`modules.kind` is \"lora\"");
            let rank = keys.count("rank", WIDTHS, None)?;
            Some(Modules::Lora { rank })
        }
    }
}
