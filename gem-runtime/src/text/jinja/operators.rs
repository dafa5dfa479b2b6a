//! Arithmetic, membership, items and slices, as Python has them.

use super::arguments::Arguments;
use super::ast::Binary;
use super::meter::{Meter, Text};
use super::value::Value;
use super::{Fault, JinjaResult, format};

/// The result of an operator.
pub(super) fn binary(operator: Binary, a: &Value, b: &Value, meter: &Meter) -> JinjaResult<Value> {
    for value in [a, b] {
        if let Value::Undefined(why) = value {
            return Err(Fault::new(&**why));
        }
    }
    match (operator, a, b) {
        (Binary::Add, Value::Text(a), Value::Text(b)) => joined(&[a, b], meter),
        (Binary::Add, Value::List(a), Value::List(b)) if a.tuple == b.tuple => {
            let items = a.items.iter().chain(&b.items);
            meter.items(a.items.len().saturating_add(b.items.len()))?;
            Value::sequence(items.cloned().collect(), a.tuple, meter)
        }
        (Binary::Multiply, value @ (Value::Text(_) | Value::List(_)), times)
        | (Binary::Multiply, times, value @ (Value::Text(_) | Value::List(_)))
            if times.as_int().is_some() =>
        {
            let times = times.as_int().and_then(|n| usize::try_from(n).ok());
            repeated(value, times.unwrap_or(0), meter)
        }
        (Binary::Remainder, Value::Text(text), values) => {
            let arguments = match values {
                Value::List(list) if list.tuple => positional(list.items.clone()),
                Value::Dict(_) => Arguments {
                    positional: vec![values.clone()],
                    named: named(values, meter)?,
                },
                one => positional(vec![one.clone()]),
            };
            Ok(format::printf(text, &arguments, meter)?.into())
        }
        _ => number(operator, a, b),
    }
}

fn positional(positional: Vec<Value>) -> Arguments {
    Arguments {
        positional,
        named: Vec::new(),
    }
}

/// Keys of a dict that are texts, as names; counted.
pub(super) fn named(dict: &Value, meter: &Meter) -> JinjaResult<Vec<(String, Value)>> {
    let Value::Dict(dict) = dict else {
        return Ok(Vec::new());
    };
    meter.items(dict.pairs.len().saturating_mul(2))?;
    let mut named = Vec::with_capacity(dict.pairs.len());
    for (key, value) in &dict.pairs {
        if let Some(name) = key.as_text() {
            meter.text(name.len())?;
            named.push((name.to_owned(), value.clone()));
        }
    }
    Ok(named)
}

/// Texts one after the other.
pub(super) fn joined(parts: &[&str], meter: &Meter) -> JinjaResult<Value> {
    let mut text = Text::new(meter);
    for part in parts {
        text.push(part)?;
    }
    Ok(text.finish().into())
}

fn repeated(value: &Value, times: usize, meter: &Meter) -> JinjaResult<Value> {
    match value {
        Value::List(list) => {
            let count = list.items.len().saturating_mul(times);
            meter.items(count)?;
            let items = list.items.iter().cycle().take(count).cloned().collect();
            Value::sequence(items, list.tuple, meter)
        }
        other => {
            let mut text = Text::new(meter);
            text.repeat(other.as_text().unwrap_or_default(), times)?;
            Ok(text.finish().into())
        }
    }
}

fn number(operator: Binary, a: &Value, b: &Value) -> JinjaResult<Value> {
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int())
        && let Some(result) = whole(operator, x, y)
    {
        return result;
    }
    let (Some(x), Some(y)) = (a.as_float(), b.as_float()) else {
        let (operator, a, b) = (operator.symbol(), a.kind(), b.kind());
        let what = format!("`{operator}` is not for a {a} and a {b}");
        return Err(Fault::new(what));
    };
    let divides = matches!(
        operator,
        Binary::Divide | Binary::FloorDivide | Binary::Remainder
    );
    if divides && y == 0.0 {
        return Err(Fault::new("division by zero"));
    }
    Ok(Value::Float(match operator {
        Binary::Add => x + y,
        Binary::Subtract => x - y,
        Binary::Multiply => x * y,
        Binary::Divide => x / y,
        Binary::FloorDivide => (x / y).floor(),
        Binary::Remainder => x - y * (x / y).floor(),
        Binary::Power => x.powf(y),
    }))
}

/// Whole numbers; `None` where the result is a float.
fn whole(operator: Binary, x: i64, y: i64) -> Option<JinjaResult<Value>> {
    let result = match operator {
        Binary::Add => x.checked_add(y),
        Binary::Subtract => x.checked_sub(y),
        Binary::Multiply => x.checked_mul(y),
        Binary::FloorDivide | Binary::Remainder if y == 0 => {
            return Some(Err(Fault::new("division by zero")));
        }
        Binary::FloorDivide => floor_division(x, y),
        Binary::Remainder => floor_division(x, y)
            .and_then(|quotient| quotient.checked_mul(y))
            .and_then(|product| x.checked_sub(product)),
        Binary::Power if y >= 0 => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
        Binary::Divide | Binary::Power => return None,
    };
    let too_large = || Fault::new("a number is too large");
    Some(result.map(Value::Int).ok_or_else(too_large))
}

fn floor_division(x: i64, y: i64) -> Option<i64> {
    let quotient = x.checked_div(y)?;
    let inexact = x % y != 0;
    Some(quotient - i64::from(inexact && (x < 0) != (y < 0)))
}

/// `-value` or `+value`.
pub(super) fn signed(value: &Value, negative: bool) -> JinjaResult<Value> {
    let what = || Fault::new(format!("a {} has no sign", value.kind()));
    match value {
        Value::Undefined(why) => Err(Fault::new(&**why)),
        Value::Float(n) => Ok(Value::Float(if negative { -n } else { *n })),
        other => {
            let n = other.as_int().ok_or_else(what)?;
            let n = if negative { n.checked_neg() } else { Some(n) };
            n.map(Value::Int).ok_or_else(what)
        }
    }
}

/// Whether a value is in another.
pub(super) fn contains(whole: &Value, part: &Value, meter: &Meter) -> JinjaResult<bool> {
    match (whole, part) {
        (Value::Text(whole), Value::Text(part)) => {
            meter.scan(whole.len())?;
            Ok(whole.contains(&**part))
        }
        (Value::Dict(_), key) => Ok(whole.of_key(key, meter)?.is_some()),
        (Value::List(list), value) => {
            for item in &list.items {
                if item.equals(value, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::Undefined(_), _) => Ok(false),
        (whole, part) => {
            let (whole, part) = (whole.kind(), part.kind());
            Err(Fault::new(format!("a {part} cannot be in a {whole}")))
        }
    }
}

/// The item at an index, which may count from the end.
pub(super) fn at(value: &Value, index: i64, meter: &Meter) -> JinjaResult<Option<Value>> {
    match value {
        Value::List(list) => Ok(place(list.items.len(), index).map(|at| list.items[at].clone())),
        Value::Text(text) => {
            meter.scan(text.len())?;
            let place = place(text.chars().count(), index);
            let found = place.and_then(|at| text.chars().nth(at));
            Ok(found.map(|c| c.to_string().into()))
        }
        _ => Ok(None),
    }
}

fn place(length: usize, index: i64) -> Option<usize> {
    let index = if index < 0 {
        i64::try_from(length).ok()?.checked_add(index)?
    } else {
        index
    };
    usize::try_from(index).ok().filter(|at| *at < length)
}

/// `value[begin:end:step]`.
pub(super) fn slice(value: &Value, bounds: [Option<i64>; 3], meter: &Meter) -> JinjaResult<Value> {
    match value {
        Value::List(list) => {
            let places = places(list.items.len(), bounds)?;
            let items = places.map(|at| list.items[at].clone()).collect();
            Value::sequence(items, list.tuple, meter)
        }
        Value::Text(text) => {
            meter.items(text.len() / 16)?;
            let chars: Vec<char> = text.chars().collect();
            let cut: String = places(chars.len(), bounds)?.map(|at| chars[at]).collect();
            Value::text(&cut, meter)
        }
        Value::Undefined(why) => Err(Fault::new(&**why)),
        other => Err(Fault::new(format!("a {} cannot be cut", other.kind()))),
    }
}

/// The places a slice takes, in its order.
fn places(
    length: usize,
    [begin, end, step]: [Option<i64>; 3],
) -> JinjaResult<impl Iterator<Item = usize>> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Fault::new("the step of a slice is 0"));
    }
    let (lowest, highest) = if step > 0 {
        (0, length)
    } else {
        (-1, length - 1)
    };
    let bound = |given: Option<i64>, default: i64| match given {
        None => default,
        Some(n) if n < 0 => n.saturating_add(length).max(lowest),
        Some(n) => n.min(highest),
    };
    let (begin, end) = if step > 0 {
        (bound(begin, 0), bound(end, length))
    } else {
        (bound(begin, length - 1), bound(end, -1))
    };
    let mut at = begin;
    Ok(std::iter::from_fn(move || {
        let inside = if step > 0 { at < end } else { at > end };
        let place = inside.then_some(at)?;
        at = at.saturating_add(step);
        usize::try_from(place).ok()
    }))
}
