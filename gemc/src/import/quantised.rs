//! `quantization_config` -> how weights in two tensors are stored. What is not read is refused before (`refusals.rs`).

use serde_json::{Map, Value};

use super::error::{Finding, Place};
use super::files::Scheme;
use super::{CONFIG, json};

/// How the weights of a config are quantised; `None` where they are not.
///
/// # Errors
/// When the size of blocks is none.
pub fn scheme(config: &Map<String, Value>) -> Result<Option<Scheme>, Finding> {
    let value = config.get("quantization_config");
    let method = value.and_then(|value| value.get("quant_method"));
    match (value, method.and_then(Value::as_str)) {
        (_, Some("mxfp4")) => Ok(Some(Scheme::Mxfp4)),
        (Some(value), Some("fp8")) => fp8(value.get("weight_block_size").unwrap_or(&Value::Null)),
        _ => Ok(None),
    }
}

fn fp8(size: &Value) -> Result<Option<Scheme>, Finding> {
    if size.is_null() {
        return Ok(Some(Scheme::Fp8([128, 128])));
    }
    let side = |side: &Value| side.as_u64().filter(|n| (1..=1 << 16).contains(n));
    let sides = size
        .as_array()
        .map(|sides| sides.iter().map(side).collect());
    match sides {
        Some(Some(sides)) if Vec::len(&sides) == 2 => {
            Ok(Some(Scheme::Fp8([sides[0] as usize, sides[1] as usize])))
        }
        _ => {
            let place = Place::Key {
                file: CONFIG.to_owned(),
                key: "quantization_config.weight_block_size".to_owned(),
            };
            let what = format!("found {}", json::listed(size));
            Err(Finding::at(place, what).allowed("rows and columns of a block"))
        }
    }
}
