//! Values of a template: what they are, whether they hold, how they compare.
//!
//! Invariant: lists nest at most [`LEVELS`] deep. Namespaces, macros and loops are numbers into the evaluator's tables,
//! so that no value can hold itself.

use std::cmp::Ordering;
use std::sync::Arc;

use super::meter::Meter;
use super::{Fault, JinjaResult};

/// How deep lists and dicts nest at most.
const LEVELS: u32 = 64;

/// A value.
#[derive(Clone, Debug)]
pub(in crate::text) enum Value {
    /// Nothing, and the words for who needs it.
    Undefined(Arc<str>),
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    List(Arc<List>),
    Dict(Arc<Dict>),
    /// A namespace of the evaluator.
    Namespace(usize),
    /// A macro of the evaluator.
    Macro(usize),
    /// A running loop of the evaluator.
    Loop(usize),
    /// A cycler or joiner of the evaluator.
    Turner(usize),
    /// A function that is there from the start.
    Function(Function),
    /// A method of a value.
    Method(Arc<(Value, String)>),
}

/// A list or tuple.
#[derive(Debug)]
pub(in crate::text) struct List {
    pub items: Vec<Value>,
    pub tuple: bool,
    levels: u32,
}

/// A dict, in the order in which keys came.
#[derive(Debug)]
pub(in crate::text) struct Dict {
    pub pairs: Vec<(Value, Value)>,
    levels: u32,
}

/// Functions that are there from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::text) enum Function {
    Range,
    Dict,
    Namespace,
    Cycler,
    Joiner,
    RaiseException,
    StrftimeNow,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl Value {
    /// What a name stands for that nothing was said of; counted.
    pub fn undefined(name: &str, meter: &Meter) -> JinjaResult<Self> {
        Self::lacking(&format!("`{}` is undefined", shown(name)), meter)
    }

    /// What a value does not have; counted.
    pub fn missing(&self, name: &str, meter: &Meter) -> JinjaResult<Self> {
        let why = format!("a {} has no `{}`", self.kind(), shown(name));
        Self::lacking(&why, meter)
    }

    fn lacking(why: &str, meter: &Meter) -> JinjaResult<Self> {
        meter.text(why.len())?;
        Ok(Self::Undefined(why.into()))
    }

    /// A list; counted.
    pub fn list(items: Vec<Self>, meter: &Meter) -> JinjaResult<Self> {
        Self::sequence(items, false, meter)
    }

    /// A tuple; counted.
    pub fn tuple(items: Vec<Self>, meter: &Meter) -> JinjaResult<Self> {
        Self::sequence(items, true, meter)
    }

    /// A list or tuple; counted.
    pub fn sequence(items: Vec<Self>, tuple: bool, meter: &Meter) -> JinjaResult<Self> {
        meter.items(items.len())?;
        let levels = levels(items.iter())?;
        Ok(Self::List(Arc::new(List {
            items,
            tuple,
            levels,
        })))
    }

    /// A dict; of equal keys the last value counts.
    pub fn dict(pairs: Vec<(Self, Self)>, meter: &Meter) -> JinjaResult<Self> {
        meter.items(pairs.len())?;
        let mut unique: Vec<(Self, Self)> = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            if matches!(key, Self::List(ref list) if !list.tuple) || matches!(key, Self::Dict(_)) {
                let kind = key.kind();
                return Err(Fault::new(format!("a {kind} cannot be a key")));
            }
            match find(&unique, &key, meter)? {
                Some(at) => unique[at].1 = value,
                None => unique.push((key, value)),
            }
        }
        let levels = levels(unique.iter().flat_map(|(key, value)| [key, value]))?;
        Ok(Self::Dict(Arc::new(Dict {
            pairs: unique,
            levels,
        })))
    }

    /// A text; counted.
    pub fn text(text: &str, meter: &Meter) -> JinjaResult<Self> {
        meter.text(text.len())?;
        Ok(Self::from(text))
    }

    /// Name of its type in Python.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::List(list) if list.tuple => "tuple",
            Self::List(_) => "list",
            Self::Dict(_) => "dict",
            Self::Namespace(_) => "Namespace",
            Self::Macro(_) => "Macro",
            Self::Loop(_) => "LoopContext",
            Self::Turner(_) => "Cycler",
            Self::Function(_) => "function",
            Self::Method(_) => "method",
        }
    }

    /// Whether it holds as a condition.
    pub fn holds(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(b) => *b,
            Self::Int(n) => *n != 0,
            Self::Float(n) => *n != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Dict(dict) => !dict.pairs.is_empty(),
            _ => true,
        }
    }

    /// Its text, where it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number; booleans are 0 and 1.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Bool(b) => Some(i64::from(*b)),
            _ => None,
        }
    }

    /// Any number.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(n) => Some(*n),
            other => other.as_int().map(|n| n as f64),
        }
    }

    /// The value of a key of a dict.
    pub fn of_key(&self, key: &Self, meter: &Meter) -> JinjaResult<Option<Self>> {
        let Self::Dict(dict) = self else {
            return Ok(None);
        };
        Ok(find(&dict.pairs, key, meter)?.map(|at| dict.pairs[at].1.clone()))
    }

    /// Items of what can be gone through.
    pub fn items(&self, meter: &Meter) -> JinjaResult<Vec<Self>> {
        let items: Vec<Self> = match self {
            Self::List(list) => {
                meter.items(list.items.len())?;
                list.items.clone()
            }
            Self::Dict(dict) => {
                meter.items(dict.pairs.len())?;
                dict.pairs.iter().map(|(key, _)| key.clone()).collect()
            }
            Self::Text(text) => {
                // Every character is a text of its own.
                meter.items(text.len().saturating_mul(2))?;
                let mut buffer = [0; 4];
                text.chars()
                    .map(|c| Self::from(&*c.encode_utf8(&mut buffer)))
                    .collect()
            }
            Self::Undefined(_) => Vec::new(),
            other => return Err(Fault::new(format!("a {} has no items", other.kind()))),
        };
        Ok(items)
    }

    /// How many items it has.
    pub fn length(&self, meter: &Meter) -> JinjaResult<usize> {
        match self {
            Self::Text(text) => {
                meter.scan(text.len())?;
                Ok(text.chars().count())
            }
            Self::List(list) => Ok(list.items.len()),
            Self::Dict(dict) => Ok(dict.pairs.len()),
            Self::Undefined(_) => Ok(0),
            other => Err(Fault::new(format!("a {} has no length", other.kind()))),
        }
    }

    /// Whether both are equal, as Python has it.
    pub fn equals(&self, other: &Self, meter: &Meter) -> JinjaResult<bool> {
        meter.step()?;
        Ok(match (self, other) {
            (Self::Undefined(_), Self::Undefined(_)) | (Self::None, Self::None) => true,
            (Self::Text(a), Self::Text(b)) => {
                meter.scan(a.len().min(b.len()))?;
                a == b
            }
            (Self::List(a), Self::List(b)) => {
                if a.tuple != b.tuple || a.items.len() != b.items.len() {
                    return Ok(false);
                }
                for (a, b) in a.items.iter().zip(&b.items) {
                    if !a.equals(b, meter)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Dict(a), Self::Dict(b)) => {
                if a.pairs.len() != b.pairs.len() {
                    return Ok(false);
                }
                for (key, value) in &a.pairs {
                    match find(&b.pairs, key, meter)? {
                        Some(at) if value.equals(&b.pairs[at].1, meter)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Self::Namespace(a), Self::Namespace(b))
            | (Self::Macro(a), Self::Macro(b))
            | (Self::Loop(a), Self::Loop(b))
            | (Self::Turner(a), Self::Turner(b)) => a == b,
            (Self::Function(a), Self::Function(b)) => a == b,
            (a, b) => numbers(a, b) == Some(Ordering::Equal),
        })
    }

    /// Order of two values, as Python has it.
    pub fn order(&self, other: &Self, meter: &Meter) -> JinjaResult<Ordering> {
        meter.step()?;
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => {
                meter.scan(a.len().min(b.len()))?;
                Ok(a.cmp(b))
            }
            (Self::List(a), Self::List(b)) if a.tuple == b.tuple => {
                for (x, y) in a.items.iter().zip(&b.items) {
                    if !x.equals(y, meter)? {
                        return x.order(y, meter);
                    }
                }
                Ok(a.items.len().cmp(&b.items.len()))
            }
            (a, b) if a.as_float().is_some() && b.as_float().is_some() => {
                // What is no number comes last, so that sorting has an order.
                Ok(numbers(a, b).unwrap_or(Ordering::Greater))
            }
            (Self::Undefined(why), _) | (_, Self::Undefined(why)) => Err(Fault::new(&**why)),
            (a, b) => Err(Fault::new(format!(
                "a {} and a {} have no order",
                a.kind(),
                b.kind()
            ))),
        }
    }
}

/// A name as messages have it: its beginning.
fn shown(name: &str) -> &str {
    const LONGEST: usize = 80;
    let end = name.char_indices().nth(LONGEST);
    &name[..end.map_or(name.len(), |(at, _)| at)]
}

/// Order of two numbers; `None` when one is none.
fn numbers(a: &Value, b: &Value) -> Option<Ordering> {
    match (a.as_int(), b.as_int()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_float()?.partial_cmp(&b.as_float()?),
    }
}

/// Where a key is.
fn find(pairs: &[(Value, Value)], key: &Value, meter: &Meter) -> JinjaResult<Option<usize>> {
    for (at, (found, _)) in pairs.iter().enumerate() {
        if found.equals(key, meter)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Levels of what holds these values.
fn levels<'v>(values: impl Iterator<Item = &'v Value>) -> JinjaResult<u32> {
    let inside = values.map(|value| match value {
        Value::List(list) => list.levels,
        Value::Dict(dict) => dict.levels,
        Value::Method(method) => match &method.0 {
            Value::List(list) => list.levels,
            Value::Dict(dict) => dict.levels,
            _ => 0,
        },
        _ => 0,
    });
    let levels = 1 + inside.max().unwrap_or(0);
    if levels > LEVELS {
        return Err(Fault::new(format!(
            "lists nest deeper than {LEVELS} levels"
        )));
    }
    Ok(levels)
}

/// Sorts by keys, equal ones staying in order.
pub(super) fn sort(mut items: Vec<(Value, Value)>, meter: &Meter) -> JinjaResult<Vec<Value>> {
    // The library's sort takes an order that cannot fail, and may panic for one that is none.
    let mut width = 1;
    while width < items.len() {
        let mut merged = Vec::with_capacity(items.len());
        for pair in items.chunks(2 * width) {
            let (left, right) = pair.split_at(width.min(pair.len()));
            merge(left, right, &mut merged, meter)?;
        }
        items = merged;
        width *= 2;
    }
    Ok(items.into_iter().map(|(_, value)| value).collect())
}

fn merge(
    left: &[(Value, Value)],
    right: &[(Value, Value)],
    to: &mut Vec<(Value, Value)>,
    meter: &Meter,
) -> JinjaResult<()> {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let from = match a.0.order(&b.0, meter)? {
            Ordering::Greater => &mut right,
            _ => &mut left,
        };
        to.extend(from.next().cloned());
    }
    to.extend(left.chain(right).cloned());
    Ok(())
}

/// Values for a template, made outside of it; they are the caller's and not counted.
impl Value {
    /// A list.
    pub fn of_list(items: Vec<Self>) -> JinjaResult<Self> {
        Self::list(items, &Meter::default())
    }

    /// A dict.
    pub fn of_dict(pairs: Vec<(&str, Self)>) -> JinjaResult<Self> {
        let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value));
        Self::dict(pairs.collect(), &Meter::default())
    }
}
