//! `value is …`: the tests of Jinja.

use super::arguments::{Arguments, needed};
use super::evaluate::Evaluator;
use super::print::text_of;
use super::value::Value;
use super::{Fault, JinjaResult, operators};

impl Evaluator<'_> {
    /// Whether a value passes a test.
    pub fn test(&mut self, name: &str, value: &Value, arguments: Arguments) -> JinjaResult<bool> {
        if let Some(passes) = plain(name, value) {
            let [] = arguments.bind(name, [])?;
            return Ok(passes);
        }
        let meter = self.meter;
        match name {
            "lower" | "upper" => {
                let [] = arguments.bind(name, [])?;
                let text = text_of(value, meter)?;
                meter.scan(text.len())?;
                let (lower, upper) = (
                    text.chars().any(char::is_lowercase),
                    text.chars().any(char::is_uppercase),
                );
                return Ok(match name {
                    "lower" => lower && !upper,
                    _ => upper && !lower,
                });
            }
            "filter" => {
                let [] = arguments.bind(name, [])?;
                return Ok(value.as_text().is_some_and(super::filters::is_known));
            }
            _ => {}
        }
        let [other] = arguments.bind(name, ["other"])?;
        let other = needed(other, name, "other");
        match name {
            "eq" | "equalto" | "==" => value.equals(&other?, meter),
            "ne" | "!=" => Ok(!value.equals(&other?, meter)?),
            "sameas" => {
                let other = other?;
                Ok(value.kind() == other.kind() && value.equals(&other, meter)?)
            }
            "lt" | "lessthan" | "<" => Ok(value.order(&other?, meter)?.is_lt()),
            "le" | "<=" => Ok(value.order(&other?, meter)?.is_le()),
            "gt" | "greaterthan" | ">" => Ok(value.order(&other?, meter)?.is_gt()),
            "ge" | ">=" => Ok(value.order(&other?, meter)?.is_ge()),
            "in" => operators::contains(&other?, value, meter),
            "divisibleby" => {
                let (a, b) = (value.as_int(), other?.as_int());
                match (a, b) {
                    (Some(a), Some(b)) if b != 0 => Ok(a.wrapping_rem(b) == 0),
                    _ => Err(Fault::new(
                        "divisibleby needs whole numbers, the second not 0",
                    )),
                }
            }
            _ => Err(Fault::new(format!("there is no test `{name}`"))),
        }
    }
}

/// Tests without arguments that look at a value alone; `None` for others.
fn plain(name: &str, value: &Value) -> Option<bool> {
    let number = matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_));
    Some(match name {
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => number,
        "string" => matches!(value, Value::Text(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        "sequence" | "iterable" => matches!(
            value,
            Value::Text(_) | Value::List(_) | Value::Dict(_) | Value::Undefined(_)
        ),
        "callable" => matches!(
            value,
            Value::Function(_)
                | Value::Macro(_)
                | Value::Method(_)
                | Value::Loop(_)
                | Value::Turner(_)
        ),
        "odd" => value.as_int()?.rem_euclid(2) == 1,
        "even" => value.as_int()?.rem_euclid(2) == 0,
        "escaped" => false,
        _ => return None,
    })
}
