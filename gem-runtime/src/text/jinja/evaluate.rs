//! The state of a rendering, and expressions -> values.

use std::collections::HashMap;
use std::sync::Arc;

use super::arguments::Arguments;
use super::ast::{Argument, Comparison, Expression, ExpressionKind as Kind, Macro, Statement};
use super::meter::Meter;
use super::print::text_of;
use super::value::{Function, Value};
use super::{Date, Fault, JinjaResult, methods, operators};

/// Names of a scope.
pub(super) type Scope<'t> = HashMap<&'t str, Value>;

/// A rendering under way.
pub(super) struct Evaluator<'t> {
    pub meter: &'t Meter,
    pub date: Option<Date>,
    /// Variables of the caller, and what the template sets outside of blocks.
    pub globals: Scope<'t>,
    /// Blocks around, the innermost last.
    pub scopes: Vec<Scope<'t>>,
    /// Where text goes: the output, or what a block collects, the innermost last.
    pub out: Vec<String>,
    pub namespaces: Vec<Vec<(String, Value)>>,
    pub macros: Vec<Closure<'t>>,
    pub loops: Vec<Loop<'t>>,
    pub turners: Vec<Turner>,
}

/// A macro with the blocks it was defined in.
#[derive(Clone)]
pub(super) struct Closure<'t> {
    pub definition: &'t Macro,
    pub scopes: Arc<Vec<Scope<'t>>>,
}

/// A loop under way.
pub(super) struct Loop<'t> {
    pub statement: &'t super::ast::For,
    pub items: Arc<Vec<Value>>,
    pub index: usize,
    pub depth: usize,
    /// What `changed` was called with last.
    pub last: Option<Value>,
}

/// A cycler, or a joiner.
pub(super) enum Turner {
    Cycler { items: Vec<Value>, at: usize },
    Joiner { separator: Value, used: bool },
}

/// Renders a template.
pub(super) fn render(
    body: &[Statement],
    variables: Vec<(&str, Value)>,
    date: Option<Date>,
) -> JinjaResult<String> {
    const FUNCTIONS: [(&str, Function); 7] = [
        ("range", Function::Range),
        ("dict", Function::Dict),
        ("namespace", Function::Namespace),
        ("cycler", Function::Cycler),
        ("joiner", Function::Joiner),
        ("raise_exception", Function::RaiseException),
        ("strftime_now", Function::StrftimeNow),
    ];
    let meter = Meter::default();
    let functions = FUNCTIONS.map(|(name, function)| (name, Value::Function(function)));
    let mut evaluator = Evaluator {
        meter: &meter,
        date,
        globals: functions.into_iter().chain(variables).collect(),
        scopes: Vec::new(),
        out: vec![String::new()],
        namespaces: Vec::new(),
        macros: Vec::new(),
        loops: Vec::new(),
        turners: Vec::new(),
    };
    evaluator.run(body)?;
    Ok(evaluator.out.pop().unwrap_or_default())
}

impl<'t> Evaluator<'t> {
    /// What a name stands for.
    pub fn name(&self, name: &str) -> JinjaResult<Value> {
        let scopes = self.scopes.iter().rev();
        let found = scopes.chain([&self.globals]).find_map(|s| s.get(name));
        found.map_or_else(|| Value::undefined(name, self.meter), |v| Ok(v.clone()))
    }

    /// The value of an expression.
    pub fn value(&mut self, expression: &'t Expression) -> JinjaResult<Value> {
        let value = self.meter.step().and_then(|()| self.meter.down());
        let value = value.and_then(|()| self.value_of_kind(&expression.kind));
        self.meter.up();
        value.map_err(|fault| fault.at(expression.line))
    }

    fn value_of_kind(&mut self, kind: &'t Kind) -> JinjaResult<Value> {
        match kind {
            Kind::None => Ok(Value::None),
            Kind::Bool(b) => Ok(Value::Bool(*b)),
            Kind::Int(n) => Ok(Value::Int(*n)),
            Kind::Float(n) => Ok(Value::Float(*n)),
            Kind::Text(text) => Ok(Value::Text(Arc::clone(text))),
            Kind::Name(name) => self.name(name),
            Kind::List(items) => self.sequence(items, false),
            Kind::Tuple(items) => self.sequence(items, true),
            Kind::Dict(pairs) => self.dict(pairs),
            Kind::Attribute(value, name) => {
                let value = self.value(value)?;
                self.attribute(&value, name)
            }
            Kind::Item(value, index) => {
                let value = self.value(value)?;
                let index = self.value(index)?;
                self.item(&value, &index)
            }
            Kind::Slice(value, bounds) => self.slice(value, bounds),
            Kind::Call(callee, arguments) => {
                let callee = self.value(callee)?;
                let arguments = self.arguments(arguments)?;
                self.call(&callee, arguments)
            }
            Kind::Filter(value, filter) => {
                let value = self.value(value)?;
                let arguments = self.arguments(&filter.arguments)?;
                self.filter(&filter.name, value, arguments)
            }
            Kind::Test {
                value,
                name,
                arguments,
                negated,
            } => {
                let value = self.value(value)?;
                let arguments = self.arguments(arguments)?;
                let holds = self.test(name, &value, arguments)?;
                Ok(Value::Bool(holds != *negated))
            }
            Kind::Negative(value) => operators::signed(&self.value(value)?, true),
            Kind::Positive(value) => operators::signed(&self.value(value)?, false),
            Kind::Not(value) => Ok(Value::Bool(!self.value(value)?.holds())),
            Kind::Binary(operator, a, b) => {
                let a = self.value(a)?;
                let b = self.value(b)?;
                operators::binary(*operator, &a, &b, self.meter)
            }
            Kind::And(a, b) => {
                let a = self.value(a)?;
                if a.holds() { self.value(b) } else { Ok(a) }
            }
            Kind::Or(a, b) => {
                let a = self.value(a)?;
                if a.holds() { Ok(a) } else { self.value(b) }
            }
            Kind::Compare(first, others) => self.compare(first, others),
            Kind::Concat(parts) => self.concat(parts),
            Kind::Condition {
                when,
                then,
                otherwise,
            } => {
                if self.value(when)?.holds() {
                    return self.value(then);
                }
                match otherwise {
                    Some(otherwise) => self.value(otherwise),
                    None => Ok(Value::Undefined(
                        "a condition without `else` does not hold".into(),
                    )),
                }
            }
        }
    }

    fn values(&mut self, expressions: &'t [Expression]) -> JinjaResult<Vec<Value>> {
        expressions.iter().map(|e| self.value(e)).collect()
    }

    fn sequence(&mut self, items: &'t [Expression], tuple: bool) -> JinjaResult<Value> {
        let items = self.values(items)?;
        Value::sequence(items, tuple, self.meter)
    }

    fn dict(&mut self, pairs: &'t [(Expression, Expression)]) -> JinjaResult<Value> {
        let mut values = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            values.push((self.value(key)?, self.value(value)?));
        }
        Value::dict(values, self.meter)
    }

    fn concat(&mut self, parts: &'t [Expression]) -> JinjaResult<Value> {
        let mut texts = Vec::with_capacity(parts.len());
        for part in parts {
            let value = self.value(part)?;
            texts.push(text_of(&value, self.meter)?);
        }
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        operators::joined(&texts, self.meter)
    }

    fn compare(
        &mut self,
        first: &'t Expression,
        others: &'t [(Comparison, Expression)],
    ) -> JinjaResult<Value> {
        let mut left = self.value(first)?;
        for (comparison, right) in others {
            let right = self.value(right)?;
            if !holds(*comparison, &left, &right, self.meter)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn slice(
        &mut self,
        value: &'t Expression,
        bounds: &'t [Option<Box<Expression>>; 3],
    ) -> JinjaResult<Value> {
        let value = self.value(value)?;
        let mut places = [None; 3];
        for (place, bound) in places.iter_mut().zip(bounds) {
            let Some(bound) = bound else { continue };
            let bound = self.value(bound)?;
            if !matches!(bound, Value::None) {
                let kind = bound.kind();
                let what = || Fault::new(format!("a bound of a slice is a {kind}"));
                *place = Some(bound.as_int().ok_or_else(what)?);
            }
        }
        operators::slice(&value, places, self.meter)
    }

    /// Arguments of a call.
    pub fn arguments(&mut self, arguments: &'t [Argument]) -> JinjaResult<Arguments> {
        let mut values = Arguments::default();
        for argument in arguments {
            match argument {
                Argument::Positional(value) => values.positional.push(self.value(value)?),
                Argument::Named(name, value) => {
                    self.meter.text(name.len())?;
                    values.named.push((name.clone(), self.value(value)?));
                }
                Argument::Star(value) => {
                    let more = self.value(value)?.items(self.meter)?;
                    values.positional.extend(more);
                }
                Argument::DoubleStar(value) => {
                    let dict = self.value(value)?;
                    values.named.extend(operators::named(&dict, self.meter)?);
                }
            }
        }
        Ok(values)
    }

    /// `value.name`: what Python finds as an attribute, else as an item.
    pub fn attribute(&mut self, value: &Value, name: &str) -> JinjaResult<Value> {
        self.meter.step()?;
        let found = match value {
            Value::Undefined(why) => return Err(Fault::new(&**why)),
            Value::Namespace(at) => {
                let values = &self.namespaces[*at];
                place(values, name, self.meter)?.map(|at| values[at].1.clone())
            }
            Value::Loop(at) => self.loop_attribute(*at, name),
            Value::Turner(at) => self.turner_attribute(*at, name),
            Value::Macro(at) if name == "name" => {
                Some(Value::text(&self.macros[*at].definition.name, self.meter)?)
            }
            _ if methods::has(value, name) => {
                self.meter.text(name.len())?;
                Some(Value::Method(Arc::new((value.clone(), name.to_owned()))))
            }
            _ => value.of_key(&name.into(), self.meter)?,
        };
        found.map_or_else(|| value.missing(name, self.meter), Ok)
    }

    /// `value[index]`: what Python finds as an item, else as an attribute.
    pub fn item(&mut self, value: &Value, index: &Value) -> JinjaResult<Value> {
        self.meter.step()?;
        if let Value::Undefined(why) = value {
            return Err(Fault::new(&**why));
        }
        if let Some(found) = value.of_key(index, self.meter)? {
            return Ok(found);
        }
        if let Some(index) = index.as_int()
            && let Some(found) = operators::at(value, index, self.meter)?
        {
            return Ok(found);
        }
        match index.as_text() {
            Some(name) if !matches!(value, Value::Dict(_)) || methods::has(value, name) => {
                self.attribute(value, name)
            }
            Some(name) => value.missing(name, self.meter),
            None => value.missing(&text_of(index, self.meter)?, self.meter),
        }
    }

    fn loop_attribute(&self, at: usize, name: &str) -> Option<Value> {
        let current = self.loops.get(at)?;
        let (index, length) = (current.index, current.items.len());
        let int = |n: usize| Some(Value::Int(n as i64));
        let neighbour = |at: Option<usize>, what: &str| {
            let found = at.and_then(|at| current.items.get(at)).cloned();
            let none = || Value::Undefined(format!("there is no {what} item").into());
            Some(found.unwrap_or_else(none))
        };
        match name {
            "index" => int(index + 1),
            "index0" => int(index),
            "revindex" => int(length - index),
            "revindex0" => int(length - index - 1),
            "first" => Some(Value::Bool(index == 0)),
            "last" => Some(Value::Bool(index + 1 == length)),
            "length" => int(length),
            "depth" => int(current.depth + 1),
            "depth0" => int(current.depth),
            "previtem" => neighbour(index.checked_sub(1), "previous"),
            "nextitem" => neighbour(Some(index + 1), "next"),
            "cycle" | "changed" => {
                let method = (Value::Loop(at), name.to_owned());
                Some(Value::Method(Arc::new(method)))
            }
            _ => None,
        }
    }

    fn turner_attribute(&self, at: usize, name: &str) -> Option<Value> {
        match (&self.turners[at], name) {
            (Turner::Cycler { items, at }, "current") => items.get(*at).cloned(),
            (Turner::Cycler { .. }, "next" | "reset") => {
                let method = (Value::Turner(at), name.to_owned());
                Some(Value::Method(Arc::new(method)))
            }
            _ => None,
        }
    }
}

/// Where a name is among named values.
pub(super) fn place(
    values: &[(String, Value)],
    name: &str,
    meter: &Meter,
) -> JinjaResult<Option<usize>> {
    meter.steps(values.len() as u64)?;
    Ok(values.iter().position(|(known, _)| known == name))
}

fn holds(comparison: Comparison, a: &Value, b: &Value, meter: &Meter) -> JinjaResult<bool> {
    Ok(match comparison {
        Comparison::Equal => a.equals(b, meter)?,
        Comparison::NotEqual => !a.equals(b, meter)?,
        Comparison::In => operators::contains(b, a, meter)?,
        Comparison::NotIn => !operators::contains(b, a, meter)?,
        Comparison::Less => a.order(b, meter)?.is_lt() && !unordered(a, b),
        Comparison::LessOrEqual => a.order(b, meter)?.is_le() && !unordered(a, b),
        Comparison::Greater => a.order(b, meter)?.is_gt() && !unordered(a, b),
        Comparison::GreaterOrEqual => a.order(b, meter)?.is_ge() && !unordered(a, b),
    })
}

/// Whether one of two numbers is none.
fn unordered(a: &Value, b: &Value) -> bool {
    [a, b]
        .into_iter()
        .any(|value| matches!(value, Value::Float(n) if n.is_nan()))
}
