//! `quantization_config` -> how weights are stored, or why they are not read.

use serde_json::{Map, Value};

use super::error::{Finding, Place, shown};
use super::files::Scheme;
use super::{CONFIG, json};

/// The key.
pub const KEY: &str = "quantization_config";

/// What is allowed.
pub const ALLOWED: &str = "null, or an object with `quant_method` \"mxfp4\" or \"fp8\"";

/// How the weights of a config are quantised; `None` where they are not.
///
/// # Errors
/// For methods that are not read, by name.
pub fn scheme(config: &Map<String, Value>) -> Result<Option<Scheme>, Finding> {
    let value = config.get(KEY).filter(|value| !value.is_null());
    let place = || Place::Key {
        file: CONFIG.to_owned(),
        key: KEY.to_owned(),
    };
    let read = value.map(method).transpose();
    read.map_err(|what| Finding::at(place(), what).allowed(ALLOWED))
}

/// The value of the key.
///
/// # Errors
/// With what it says, where that is not read.
pub fn method(value: &Value) -> Result<Scheme, String> {
    match value.get("quant_method").and_then(Value::as_str) {
        Some("mxfp4") => Ok(Scheme::Mxfp4),
        Some("fp8") => fp8(value.get("weight_block_size").unwrap_or(&Value::Null)),
        found => {
            let found = found.map_or("no method".to_owned(), |name| {
                format!("`quant_method` \"{}\"", shown(name))
            });
            Err(format!(
                "found {found}: weights quantised so are not read; take the checkpoint that they were made from"
            ))
        }
    }
}

fn fp8(size: &Value) -> Result<Scheme, String> {
    if size.is_null() {
        return Ok(Scheme::Fp8([128, 128]));
    }
    let side = |side: &Value| side.as_u64().filter(|n| (1..=1 << 16).contains(n));
    let sides = size
        .as_array()
        .map(|sides| sides.iter().map(side).collect());
    match sides {
        Some(Some(sides)) if Vec::len(&sides) == 2 => {
            Ok(Scheme::Fp8([sides[0] as usize, sides[1] as usize]))
        }
        _ => Err(format!(
            "found `weight_block_size` {}; rows and columns of a block are needed",
            json::listed(size)
        )),
    }
}
