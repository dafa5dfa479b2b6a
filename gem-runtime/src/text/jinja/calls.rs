//! Calls of functions, macros, methods and loops.

use super::arguments::{Arguments, int, needed, text};
use super::evaluate::{Evaluator, Scope, Turner, place};
use super::meter::Meter;
use super::print::text_of;
use super::value::{Function, Value};
use super::{Fault, JinjaResult, methods};

/// Numbers of a `range` at most, as in the sandbox of Jinja2.
const LONGEST_RANGE: u64 = 100_000;

impl Evaluator<'_> {
    /// Calls a value.
    pub fn call(&mut self, callee: &Value, arguments: Arguments) -> JinjaResult<Value> {
        self.meter.down()?;
        let result = match callee {
            Value::Function(function) => self.function(*function, arguments),
            Value::Macro(at) => self.call_macro(*at, arguments),
            Value::Method(method) => match &method.0 {
                Value::Loop(at) => self.loop_method(*at, &method.1, arguments),
                Value::Turner(at) => Ok(self.turner_method(*at, &method.1)),
                value => methods::call(value, &method.1, arguments, self.meter),
            },
            Value::Loop(at) => self.recurse(*at, arguments),
            Value::Turner(at) => Ok(self.turner_method(*at, "call")),
            Value::Undefined(why) => Err(Fault::new(&**why)),
            other => Err(Fault::new(format!("a {} cannot be called", other.kind()))),
        };
        self.meter.up();
        result
    }

    fn function(&mut self, function: Function, arguments: Arguments) -> JinjaResult<Value> {
        match function {
            Function::Range => range(arguments, self.meter),
            Function::Dict => {
                let mut pairs = Vec::new();
                if let Some(first) = arguments.positional.first() {
                    pairs = pairs_of(first, self.meter)?;
                }
                let named = arguments.named.into_iter();
                pairs.extend(named.map(|(name, value)| (name.into(), value)));
                Value::dict(pairs, self.meter)
            }
            Function::Namespace => self.namespace(arguments),
            Function::Cycler => {
                let items = arguments.positional;
                if items.is_empty() {
                    return Err(Fault::new("cycler needs at least one item"));
                }
                self.turner(items.len(), Turner::Cycler { items, at: 0 })
            }
            Function::Joiner => {
                let [separator] = arguments.bind("joiner", ["sep"])?;
                let separator = separator.unwrap_or_else(|| ", ".into());
                let used = false;
                self.turner(1, Turner::Joiner { separator, used })
            }
            Function::RaiseException => {
                let [message] = arguments.bind("raise_exception", ["message"])?;
                let message = needed(message, "raise_exception", "message")?;
                Err(Fault::new(&*text_of(&message, self.meter)?))
            }
            Function::StrftimeNow => {
                let [format] = arguments.bind("strftime_now", ["format"])?;
                let format = text(&needed(format, "strftime_now", "format")?, "strftime_now")?;
                let Some(date) = self.date else {
                    let what = "`strftime_now` asks for the date, and none was given";
                    return Err(Fault::new(what));
                };
                // The longest code becomes some thirty bytes.
                self.meter.bytes(16 * format.len())?;
                Ok(date.format(&format).into())
            }
        }
    }

    /// A namespace; of equal names the last value counts.
    fn namespace(&mut self, arguments: Arguments) -> JinjaResult<Value> {
        let mut values = Vec::new();
        if let Some(first) = arguments.positional.first() {
            for (key, value) in pairs_of(first, self.meter)? {
                let key = text_of(&key, self.meter)?;
                self.meter.text(key.len())?;
                values.push((key.to_string(), value));
            }
        }
        values.extend(arguments.named);
        self.meter.items(values.len().saturating_mul(2))?;
        let mut unique: Vec<(String, Value)> = Vec::with_capacity(values.len());
        for (name, value) in values {
            match place(&unique, &name, self.meter)? {
                Some(at) => unique[at].1 = value,
                None => unique.push((name, value)),
            }
        }
        self.namespaces.push(unique);
        Ok(Value::Namespace(self.namespaces.len() - 1))
    }

    fn turner(&mut self, items: usize, turner: Turner) -> JinjaResult<Value> {
        self.meter.items(items)?;
        self.turners.push(turner);
        Ok(Value::Turner(self.turners.len() - 1))
    }

    fn turner_method(&mut self, at: usize, name: &str) -> Value {
        match (&mut self.turners[at], name) {
            (Turner::Cycler { items, at }, "next") => {
                let value = items[*at].clone();
                *at = (*at + 1) % items.len();
                value
            }
            (Turner::Cycler { at, .. }, _) => {
                *at = 0;
                Value::None
            }
            (Turner::Joiner { separator, used }, _) => {
                if std::mem::replace(used, true) {
                    separator.clone()
                } else {
                    "".into()
                }
            }
        }
    }

    fn call_macro(&mut self, at: usize, arguments: Arguments) -> JinjaResult<Value> {
        let closure = self.macros[at].clone();
        let names: usize = closure.scopes.iter().map(|scope| scope.len()).sum();
        self.meter.steps(names as u64)?;
        let outside = std::mem::replace(&mut self.scopes, closure.scopes.to_vec());
        let definition = closure.definition;
        // What a macro closes over was there before its own name was, by which it may call itself.
        self.scopes.push(Scope::new());
        if !closure
            .scopes
            .iter()
            .any(|scope| scope.contains_key(&*definition.name))
        {
            self.set(&definition.name, Value::Macro(at));
        }
        self.scopes.push(Scope::new());
        let Arguments {
            positional,
            mut named,
        } = arguments;
        let mut positional = positional.into_iter();
        for (name, default) in &definition.parameters {
            let given = match positional.next() {
                Some(value) => Some(value),
                None => place(&named, name, self.meter)?.map(|at| named.swap_remove(at).1),
            };
            let value = match (given, default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.value(default)?,
                (None, None) => Value::Undefined(
                    format!("parameter `{name}` of `{}` is not given", definition.name).into(),
                ),
            };
            self.set(name, value);
        }
        if let Some(at) = place(&named, "caller", self.meter)? {
            let caller = named.swap_remove(at).1;
            self.set("caller", caller);
        }
        let rest = Value::tuple(positional.collect(), self.meter)?;
        self.set("varargs", rest);
        let named = named.into_iter().map(|(name, value)| (name.into(), value));
        let named = Value::dict(named.collect(), self.meter)?;
        self.set("kwargs", named);
        let (text, _) = self.collected(&definition.body)?;
        self.scopes = outside;
        Ok(text)
    }

    /// A loop inside its own body, over other items.
    fn recurse(&mut self, at: usize, arguments: Arguments) -> JinjaResult<Value> {
        let Some(current) = self.loops.get(at).filter(|l| l.statement.recursive) else {
            return Err(Fault::new("this loop is not `recursive`"));
        };
        let (statement, depth) = (current.statement, current.depth + 1);
        let [items] = arguments.bind("loop", ["items"])?;
        let items = needed(items, "loop", "items")?;
        self.out.push(String::new());
        self.for_loop(statement, &items, depth)?;
        Ok(self.out.pop().unwrap_or_default().into())
    }

    fn loop_method(&mut self, at: usize, name: &str, arguments: Arguments) -> JinjaResult<Value> {
        let ended = || Fault::new("this loop has ended");
        let values = arguments.positional;
        if name == "cycle" {
            let current = self.loops.get(at).ok_or_else(ended)?;
            if values.is_empty() {
                return Err(Fault::new("cycle needs at least one item"));
            }
            return Ok(values[current.index % values.len()].clone());
        }
        let values = Value::tuple(values, self.meter)?;
        let current = self.loops.get_mut(at).ok_or_else(ended)?;
        let same = match &current.last {
            Some(last) => last.equals(&values, self.meter)?,
            None => false,
        };
        current.last = Some(values);
        Ok(Value::Bool(!same))
    }
}

impl<'t> Evaluator<'t> {
    /// Gives a name a value in the innermost block.
    fn set(&mut self, name: &'t str, value: Value) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name, value);
        }
    }
}

fn range(arguments: Arguments, meter: &Meter) -> JinjaResult<Value> {
    let [first, second, step] = arguments.bind("range", ["start", "stop", "step"])?;
    let first = int(Some(needed(first, "range", "stop")?), 0, "range")?;
    let (begin, end) = match second {
        Some(end) => (first, int(Some(end), 0, "range")?),
        None => (0, first),
    };
    let step = int(step, 1, "range")?;
    if step == 0 {
        return Err(Fault::new("the step of a range is 0"));
    }
    let distance = if step > 0 {
        end.saturating_sub(begin)
    } else {
        begin.saturating_sub(end)
    };
    let count = u64::try_from(distance)
        .unwrap_or(0)
        .div_ceil(step.unsigned_abs());
    if count > LONGEST_RANGE {
        let what = format!("a range has {count} numbers, above {LONGEST_RANGE}");
        return Err(Fault::new(what));
    }
    let numbers =
        (0..count as i64).map(|n| Value::Int(begin.saturating_add(n.saturating_mul(step))));
    Value::list(numbers.collect(), meter)
}

/// Pairs of a dict, or of a list of pairs.
fn pairs_of(value: &Value, meter: &Meter) -> JinjaResult<Vec<(Value, Value)>> {
    if let Value::Dict(dict) = value {
        meter.items(dict.pairs.len())?;
        return Ok(dict.pairs.clone());
    }
    let mut pairs = Vec::new();
    for item in value.items(meter)? {
        match item.items(meter)?.as_slice() {
            [key, value] => pairs.push((key.clone(), value.clone())),
            _ => return Err(Fault::new("a dict is made of pairs")),
        }
    }
    Ok(pairs)
}
