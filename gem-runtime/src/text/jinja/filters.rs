//! `value | …`: the filters of Jinja, and `tojson` as Hugging Face has it.

mod lists;
mod texts;

use super::arguments::{Arguments, int, is_on, needed, size};
use super::evaluate::Evaluator;
use super::json::{self, Style};
use super::methods;
use super::print::text_of;
use super::value::Value;
use super::{Fault, JinjaResult};

const NAMES: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "wordcount",
];

/// Whether there is such a filter.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

impl Evaluator<'_> {
    /// What a filter makes of a value.
    pub fn filter(&mut self, name: &str, value: Value, arguments: Arguments) -> JinjaResult<Value> {
        self.meter.step()?;
        match name {
            "default" | "d" => {
                let [default, boolean] = arguments.bind(name, ["default_value", "boolean"])?;
                let missing = matches!(value, Value::Undefined(_));
                if missing || (is_on(boolean) && !value.holds()) {
                    return Ok(default.unwrap_or_else(|| "".into()));
                }
                Ok(value)
            }
            "tojson" => self.to_json(&value, arguments),
            "attr" => {
                let [attribute] = arguments.bind(name, ["name"])?;
                let attribute = text_of(&needed(attribute, name, "name")?, self.meter)?;
                self.attribute(&value, &attribute)
            }
            "abs" | "int" | "float" | "round" => number(name, &value, arguments),
            "length" | "count" => {
                let [] = arguments.bind(name, [])?;
                Ok(Value::Int(value.length(self.meter)? as i64))
            }
            "items" => {
                let [] = arguments.bind(name, [])?;
                match &value {
                    Value::Dict(dict) => methods::items(&dict.pairs, self.meter),
                    Value::Undefined(_) => Value::list(Vec::new(), self.meter),
                    other => Err(Fault::new(format!("a {} has no pairs", other.kind()))),
                }
            }
            _ => match self.filter_of_list(name, &value, arguments)? {
                Ok(value) => Ok(value),
                Err(arguments) => self.filter_of_text(name, &value, arguments),
            },
        }
    }

    /// `json.dumps` with its options, in the order in which Hugging Face has them.
    fn to_json(&self, value: &Value, arguments: Arguments) -> JinjaResult<Value> {
        let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
        let [ascii, indent, separators, sorted] = arguments.bind("tojson", names)?;
        let indent = match indent {
            None | Some(Value::None) => None,
            Some(Value::Text(text)) => Some(text.to_string()),
            given => {
                let width = size(given, 0, "tojson")?;
                self.meter.bytes(width)?;
                Some(" ".repeat(width))
            }
        };
        let (item, key) = match separators {
            None | Some(Value::None) => {
                let item = if indent.is_some() { "," } else { ", " };
                (item.to_owned(), ": ".to_owned())
            }
            Some(pair) => match pair.items(self.meter)?.as_slice() {
                [Value::Text(item), Value::Text(key)] => (item.to_string(), key.to_string()),
                _ => return Err(Fault::new("separators are two texts")),
            },
        };
        let style = Style {
            indent,
            item,
            key,
            ascii: is_on(ascii),
            sorted: is_on(sorted),
        };
        Ok(json::dumps(value, &style, self.meter)?.into())
    }
}

fn number(name: &str, value: &Value, arguments: Arguments) -> JinjaResult<Value> {
    match name {
        "abs" => {
            let [] = arguments.bind(name, [])?;
            match (value.as_int(), value.as_float()) {
                (Some(n), _) => n
                    .checked_abs()
                    .map(Value::Int)
                    .ok_or_else(|| Fault::new("a number is too large")),
                (None, Some(n)) => Ok(Value::Float(n.abs())),
                _ => Err(Fault::new(format!(
                    "abs needs a number, not a {}",
                    value.kind()
                ))),
            }
        }
        "int" => {
            let [default, base] = arguments.bind(name, ["default", "base"])?;
            let base = u32::try_from(int(base, 10, name)?).unwrap_or(0);
            Ok(whole(value, base).or(default).unwrap_or(Value::Int(0)))
        }
        "float" => {
            let [default] = arguments.bind(name, ["default"])?;
            let parsed = match value.as_text() {
                Some(text) => text.trim().replace('_', "").parse().ok(),
                None => value.as_float(),
            };
            let default = default.unwrap_or(Value::Float(0.0));
            Ok(parsed.map_or(default, Value::Float))
        }
        _ => {
            let [precision, method] = arguments.bind(name, ["precision", "method"])?;
            let precision = int(precision, 0, name)?;
            let method = method.as_ref().and_then(Value::as_text).unwrap_or("common");
            rounded(value, precision, method)
        }
    }
}

/// A whole number, also one that a text spells.
fn whole(value: &Value, base: u32) -> Option<Value> {
    let cut = |n: f64| (n.abs() < 9.2e18).then_some(Value::Int(n as i64));
    match value {
        Value::Text(text) => {
            let text = text.trim().replace('_', "");
            let digits = match base {
                16 => text.trim_start_matches("0x"),
                8 => text.trim_start_matches("0o"),
                2 => text.trim_start_matches("0b"),
                _ => &text,
            };
            let base = if (2..=36).contains(&base) { base } else { 10 };
            let parsed = i64::from_str_radix(digits, base).ok().map(Value::Int);
            parsed.or_else(|| text.parse().ok().and_then(cut))
        }
        Value::Float(n) => cut(*n),
        other => other.as_int().map(Value::Int),
    }
}

fn rounded(value: &Value, precision: i64, method: &str) -> JinjaResult<Value> {
    let what = || Fault::new(format!("round needs a number, not a {}", value.kind()));
    if !(-300..=300).contains(&precision) {
        return Err(Fault::new("the precision of round is out of range"));
    }
    let n = value.as_float().ok_or_else(what)?;
    let scale = 10f64.powi(precision as i32);
    Ok(match (method, value) {
        ("common", Value::Int(_)) if precision >= 0 => value.clone(),
        // A float is written with the nearest digits, of equally near ones the even, as Python rounds.
        ("common", _) if precision >= 0 => {
            let digits = format!("{n:.*}", precision as usize);
            Value::Float(digits.parse().unwrap_or(n))
        }
        ("common", _) => Value::Float((n * scale).round_ties_even() / scale),
        ("ceil", _) => Value::Float((n * scale).ceil() / scale),
        ("floor", _) => Value::Float((n * scale).floor() / scale),
        _ => return Err(Fault::new("round knows common, ceil and floor")),
    })
}
