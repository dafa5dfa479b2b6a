//! `domains`, `router`, `scar`, `modules` and `general_path` -> validated values and the rules that tie them together.

use serde_json::{Map, Value};

use super::super::json::kind;
use super::keys::Keys;
use super::{GeneralPath, Modules, RouterConfig, RouterPlace, ScarConfig};
use crate::graph::{ScarMask, Score};

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
    let mut nested = keys.nested("router", empty);
    let place = router_place(&mut nested, layers);
    let router = router(&mut nested, place.clone(), domains.as_deref());
    keys.absorb(nested);
    let place = place.as_ref();
    let mut nested = keys.nested("scar", empty);
    let scar = scar(&mut nested, place, hidden);
    keys.absorb(nested);
    let mut nested = keys.nested("modules", empty);
    let modules = modules(&mut nested, place);
    keys.absorb(nested);
    let general_path = keys.choice("general_path", &PATHS, Some(GeneralPath::Always));
    if matches!(place, Some(RouterPlace::Nowhere | RouterPlace::Final)) {
        keys.ignore("general_path", "no layer is routed");
    }
    if let (Some(domains), Some(place)) = (&domains, place) {
        tie_domains(keys, domains, place);
    }
    Some(Routing {
        domains: domains?,
        router: router?,
        scar: scar?,
        modules: modules?,
        general_path: general_path?,
    })
}

fn tie_domains(keys: &mut Keys<'_>, domains: &[String], place: &RouterPlace) {
    let routed = *place != RouterPlace::Nowhere;
    if routed && domains.is_empty() {
        keys.refuse("domains", "is empty", "one name per module of the router");
    }
    if !routed && !domains.is_empty() {
        let what = format!("names {} domains", domains.len());
        keys.refuse("domains", what, "none, since `router.layers` is empty");
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
    let allowed = "\"all\", \"final\" or a list of ascending layer indices";
    match keys.get("layers") {
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
                let allowed = format!("{allowed} below {below}");
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

/// A short list as it was written.
fn listed(value: &Value) -> String {
    match value {
        Value::Array(items) if items.len() <= 16 => {
            let items: Vec<String> = items.iter().map(kind).collect();
            format!("[{}]", items.join(", "))
        }
        other => kind(other),
    }
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
    let Some(mask) = mask? else {
        for key in ["layers", "heads", "residual"] {
            keys.ignore(key, "`scar.mask` is \"off\"");
        }
        return Some(None);
    };
    let layers = scar_layers(keys, place);
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

fn scar_layers(keys: &mut Keys<'_>, place: Option<&RouterPlace>) -> Option<Vec<usize>> {
    let written = keys.get("layers");
    let routed: &[usize] = match place? {
        RouterPlace::Nowhere => {
            let what = "is on, but `router.layers` is empty";
            keys.refuse("mask", what, "\"off\" in a model without routed layers");
            return None;
        }
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

fn modules(keys: &mut Keys<'_>, place: Option<&RouterPlace>) -> Option<Modules> {
    const KINDS: [(&str, u8); 3] = [("off", 0), ("mlp", 1), ("lora", 2)];
    let which = keys.choice("kind", &KINDS, Some(0))?;
    if which != 0 && place == Some(&RouterPlace::Nowhere) {
        let what = "is on, but `router.layers` is empty";
        keys.refuse("kind", what, "\"off\" in a model without routed layers");
    }
    match which {
        0 => {
            keys.ignore("intermediate_size", "`modules.kind` is \"off\"");
            keys.ignore("rank", "`modules.kind` is \"off\"");
            Some(Modules::Off)
        }
        1 => {
            keys.ignore("rank", "`modules.kind` is \"mlp\"");
            let intermediate_size = keys.count("intermediate_size", 1..=MOST_MODULE_WIDTH, None)?;
            Some(Modules::Mlp { intermediate_size })
        }
        _ => {
            keys.ignore("intermediate_size", "`modules.kind` is \"lora\"");
            let rank = keys.count("rank", 1..=MOST_MODULE_WIDTH, None)?;
            Some(Modules::Lora { rank })
        }
    }
}
