//! Filters of lists.

use super::super::arguments::{Arguments, is_on, needed, size};
use super::super::ast::Binary;
use super::super::evaluate::Evaluator;
use super::super::meter::Text;
use super::super::print::{text_of, write_text};
use super::super::value::{Value, sort};
use super::super::{Fault, JinjaResult, operators};

impl Evaluator<'_> {
    /// Filters that go through items; arguments come back where the name is none of theirs.
    pub(super) fn filter_of_list(
        &mut self,
        name: &str,
        value: &Value,
        arguments: Arguments,
    ) -> JinjaResult<Result<Value, Arguments>> {
        let meter = self.meter;
        Ok(Ok(match name {
            "first" | "last" => {
                let [] = arguments.bind(name, [])?;
                let items = value.items(meter)?;
                let found = if name == "first" {
                    items.first()
                } else {
                    items.last()
                };
                found
                    .cloned()
                    .unwrap_or_else(|| Value::Undefined(format!("there is no {name} item").into()))
            }
            "list" => {
                let [] = arguments.bind(name, [])?;
                Value::list(value.items(meter)?, meter)?
            }
            "reverse" => {
                let [] = arguments.bind(name, [])?;
                if let Value::Text(text) = value {
                    meter.bytes(text.len())?;
                    return Ok(Ok(text.chars().rev().collect::<String>().into()));
                }
                let mut items = value.items(meter)?;
                items.reverse();
                Value::list(items, meter)?
            }
            "join" => {
                let [separator, attribute] = arguments.bind(name, ["d", "attribute"])?;
                let separator = match separator {
                    Some(separator) => text_of(&separator, meter)?,
                    None => "".into(),
                };
                let items = value.items(meter)?;
                let items = self.attributes(items, attribute.as_ref())?;
                let mut out = Text::new(meter);
                for (index, item) in items.iter().enumerate() {
                    out.push(if index > 0 { &separator } else { "" })?;
                    write_text(item, &mut out)?;
                }
                out.finish().into()
            }
            "sum" => {
                let [attribute, start] = arguments.bind(name, ["attribute", "start"])?;
                let items = value.items(meter)?;
                let mut sum = start.unwrap_or(Value::Int(0));
                for item in self.attributes(items, attribute.as_ref())? {
                    sum = operators::binary(Binary::Add, &sum, &item, meter)?;
                }
                sum
            }
            "min" | "max" => self.extreme(name, value, arguments)?,
            "sort" => self.sorted(value, arguments)?,
            "unique" => self.unique(value, arguments)?,
            "dictsort" => self.dictsort(value, arguments)?,
            "groupby" => self.groups(value, arguments)?,
            "map" => self.mapped(value, arguments)?,
            "select" | "reject" | "selectattr" | "rejectattr" => {
                self.selected(name, value, arguments)?
            }
            "batch" | "slice" => self.portions(name, value, arguments)?,
            _ => return Ok(Err(arguments)),
        }))
    }

    /// An attribute of an item, `a.b` of one of its attributes; without a name the item itself.
    fn attribute_of(&mut self, item: &Value, attribute: Option<&Value>) -> JinjaResult<Value> {
        match attribute {
            None | Some(Value::None) => Ok(item.clone()),
            Some(Value::Text(path)) => {
                let mut value = item.clone();
                self.meter.scan(path.len())?;
                for part in path.split('.') {
                    let key = match part.parse() {
                        Ok(index) => Value::Int(index),
                        Err(_) => part.into(),
                    };
                    value = self.item(&value, &key)?;
                }
                Ok(value)
            }
            Some(key) => self.item(item, key),
        }
    }

    fn attributes(
        &mut self,
        items: Vec<Value>,
        attribute: Option<&Value>,
    ) -> JinjaResult<Vec<Value>> {
        let items = items.iter();
        items
            .map(|item| self.attribute_of(item, attribute))
            .collect()
    }

    /// Items with what they are sorted by: texts in small letters, unless case counts.
    fn keyed(
        &mut self,
        items: Vec<Value>,
        attribute: Option<&Value>,
        case: bool,
    ) -> JinjaResult<Vec<(Value, Value)>> {
        let mut keyed = Vec::with_capacity(items.len());
        for item in items {
            let mut key = self.attribute_of(&item, attribute)?;
            if let Value::Text(text) = &key
                && !case
            {
                self.meter.bytes(3 * text.len())?;
                key = text.to_lowercase().into();
            }
            keyed.push((key, item));
        }
        Ok(keyed)
    }

    fn sorted(&mut self, value: &Value, arguments: Arguments) -> JinjaResult<Value> {
        let names = ["reverse", "case_sensitive", "attribute"];
        let [reverse, case, attribute] = arguments.bind("sort", names)?;
        let items = value.items(self.meter)?;
        let keyed = self.keyed(items, attribute.as_ref(), is_on(case))?;
        self.in_order(keyed, is_on(reverse))
    }

    /// Equal ones stay in order, also when the order is reversed.
    fn in_order(&mut self, mut keyed: Vec<(Value, Value)>, reverse: bool) -> JinjaResult<Value> {
        if reverse {
            keyed.reverse();
        }
        let mut items = sort(keyed, self.meter)?;
        if reverse {
            items.reverse();
        }
        Value::list(items, self.meter)
    }

    fn extreme(&mut self, name: &str, value: &Value, arguments: Arguments) -> JinjaResult<Value> {
        let [case, attribute] = arguments.bind(name, ["case_sensitive", "attribute"])?;
        let items = value.items(self.meter)?;
        let mut best: Option<(Value, Value)> = None;
        for (key, item) in self.keyed(items, attribute.as_ref(), is_on(case))? {
            let better = match &best {
                None => true,
                Some((held, _)) if name == "min" => key.order(held, self.meter)?.is_lt(),
                Some((held, _)) => key.order(held, self.meter)?.is_gt(),
            };
            if better {
                best = Some((key, item));
            }
        }
        let none = || Value::Undefined(format!("an empty list has no {name}").into());
        Ok(best.map_or_else(none, |(_, item)| item))
    }

    fn unique(&mut self, value: &Value, arguments: Arguments) -> JinjaResult<Value> {
        let [case, attribute] = arguments.bind("unique", ["case_sensitive", "attribute"])?;
        let items = value.items(self.meter)?;
        let mut seen: Vec<Value> = Vec::new();
        let mut kept = Vec::new();
        'items: for (key, item) in self.keyed(items, attribute.as_ref(), is_on(case))? {
            for other in &seen {
                if other.equals(&key, self.meter)? {
                    continue 'items;
                }
            }
            seen.push(key);
            kept.push(item);
        }
        Value::list(kept, self.meter)
    }

    fn dictsort(&mut self, value: &Value, arguments: Arguments) -> JinjaResult<Value> {
        let names = ["case_sensitive", "by", "reverse"];
        let [case, by, reverse] = arguments.bind("dictsort", names)?;
        let Value::Dict(dict) = value else {
            return Err(Fault::new(format!(
                "dictsort needs a dict, not a {}",
                value.kind()
            )));
        };
        let place = match by.as_ref().and_then(Value::as_text) {
            Some("value") => 1,
            _ => 0,
        };
        let pairs = super::methods::items(&dict.pairs, self.meter)?.items(self.meter)?;
        let keyed = self.keyed(pairs, Some(&Value::Int(place)), is_on(case))?;
        self.in_order(keyed, is_on(reverse))
    }

    fn groups(&mut self, value: &Value, arguments: Arguments) -> JinjaResult<Value> {
        let names = ["attribute", "default", "case_sensitive"];
        let [attribute, default, case] = arguments.bind("groupby", names)?;
        let attribute = needed(attribute, "groupby", "attribute")?;
        let mut keyed = Vec::new();
        for item in value.items(self.meter)? {
            let mut key = self.attribute_of(&item, Some(&attribute))?;
            if let (Value::Undefined(_), Some(default)) = (&key, &default) {
                key = default.clone();
            }
            let pair = Value::tuple(vec![key.clone(), item], self.meter)?;
            keyed.push((key, pair));
        }
        let case = is_on(case);
        if !case {
            for (key, _) in &mut keyed {
                if let Value::Text(text) = key {
                    self.meter.bytes(3 * text.len())?;
                    *key = text.to_lowercase().into();
                }
            }
        }
        let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
        for pair in sort(keyed, self.meter)? {
            let pair = pair.items(self.meter)?;
            let [key, item] = pair.as_slice() else {
                continue;
            };
            let same = match groups.last() {
                Some((held, _)) => self.same_group(held, key, case)?,
                None => false,
            };
            match groups.last_mut() {
                Some((_, items)) if same => items.push(item.clone()),
                _ => groups.push((key.clone(), vec![item.clone()])),
            }
        }
        let mut list = Vec::with_capacity(groups.len());
        for (key, items) in groups {
            let items = Value::list(items, self.meter)?;
            list.push(Value::tuple(vec![key, items], self.meter)?);
        }
        Value::list(list, self.meter)
    }

    fn same_group(&self, a: &Value, b: &Value, case: bool) -> JinjaResult<bool> {
        if let (Value::Text(a), Value::Text(b), false) = (a, b, case) {
            self.meter.bytes(3 * (a.len() + b.len()))?;
            return Ok(a.to_lowercase() == b.to_lowercase());
        }
        a.equals(b, self.meter)
    }

    /// Items of what `map`, `select` and their kin go through: what does not hold, such as no tools, has none.
    fn items_of_any(&self, value: &Value) -> JinjaResult<Vec<Value>> {
        match value.holds() {
            true => value.items(self.meter),
            false => Ok(Vec::new()),
        }
    }

    fn mapped(&mut self, value: &Value, arguments: Arguments) -> JinjaResult<Value> {
        let items = self.items_of_any(value)?;
        let Arguments {
            mut positional,
            named,
        } = arguments;
        let mut made = Vec::with_capacity(items.len());
        if positional.is_empty() {
            let arguments = Arguments { positional, named };
            let [attribute, default] = arguments.bind("map", ["attribute", "default"])?;
            let attribute = needed(attribute, "map", "attribute")?;
            for item in items {
                let found = self.attribute_of(&item, Some(&attribute))?;
                made.push(match (found, &default) {
                    (Value::Undefined(_), Some(default)) => default.clone(),
                    (found, _) => found,
                });
            }
        } else {
            let name = text_of(&positional.remove(0), self.meter)?;
            let names: usize = named.iter().map(|(name, _)| name.len()).sum();
            for item in items {
                self.meter.items(positional.len() + 2 * named.len())?;
                self.meter.bytes(names)?;
                let arguments = Arguments {
                    positional: positional.clone(),
                    named: named.clone(),
                };
                made.push(self.filter(&name, item, arguments)?);
            }
        }
        Value::list(made, self.meter)
    }

    fn selected(&mut self, name: &str, value: &Value, arguments: Arguments) -> JinjaResult<Value> {
        let mut positional = arguments.positional;
        let attribute = if name.ends_with("attr") {
            if positional.is_empty() {
                return Err(Fault::new(format!("{name} needs the name of an attribute")));
            }
            Some(positional.remove(0))
        } else {
            None
        };
        let test = if positional.is_empty() {
            None
        } else {
            Some(text_of(&positional.remove(0), self.meter)?)
        };
        let wanted = name.starts_with("select");
        let mut kept = Vec::new();
        for item in self.items_of_any(value)? {
            let tested = self.attribute_of(&item, attribute.as_ref())?;
            let passes = match &test {
                None => tested.holds(),
                Some(test) => {
                    self.meter.items(positional.len())?;
                    let arguments = Arguments {
                        positional: positional.clone(),
                        named: Vec::new(),
                    };
                    self.test(test, &tested, arguments)?
                }
            };
            if passes == wanted {
                kept.push(item);
            }
        }
        Value::list(kept, self.meter)
    }

    /// `batch`: lists of so many items; `slice`: so many lists.
    fn portions(&mut self, name: &str, value: &Value, arguments: Arguments) -> JinjaResult<Value> {
        let [count, fill] = arguments.bind(name, ["count", "fill_with"])?;
        let count = size(Some(needed(count, name, "count")?), 0, name)?;
        if count == 0 {
            return Err(Fault::new(format!("{name} needs a count above 0")));
        }
        let items = value.items(self.meter)?;
        let mut lists = Vec::new();
        if name == "batch" {
            for chunk in items.chunks(count) {
                let mut chunk = chunk.to_vec();
                if let Some(fill) = &fill {
                    self.meter.items(count - chunk.len())?;
                    chunk.resize(count, fill.clone());
                }
                lists.push(Value::list(chunk, self.meter)?);
            }
        } else {
            self.meter.items(count)?;
            let (each, more) = (items.len() / count, items.len() % count);
            let mut rest = items.as_slice();
            for index in 0..count {
                let (part, behind) = rest.split_at(each + usize::from(index < more));
                rest = behind;
                let mut part = part.to_vec();
                if index >= more
                    && more > 0
                    && let Some(fill) = &fill
                {
                    part.push(fill.clone());
                }
                lists.push(Value::list(part, self.meter)?);
            }
        }
        Value::list(lists, self.meter)
    }
}
