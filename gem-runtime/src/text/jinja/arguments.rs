//! Arguments of a call -> values by the names of parameters.

use super::value::Value;
use super::{Fault, JinjaResult};

/// What a function, filter, test or macro is called with.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub positional: Vec<Value>,
    pub named: Vec<(String, Value)>,
}

impl Arguments {
    /// The values of these parameters of `what`, as far as they are given.
    pub fn bind<const N: usize>(
        self,
        what: &str,
        names: [&str; N],
    ) -> JinjaResult<[Option<Value>; N]> {
        let mut values = [const { None }; N];
        let given = self.positional.len();
        if given > N {
            let what = format!("{what} takes at most {N} arguments, {given} are given");
            return Err(Fault::new(what));
        }
        for (place, value) in values.iter_mut().zip(self.positional) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            let place = names.iter().position(|known| *known == name);
            match place {
                Some(at) if values[at].is_none() => values[at] = Some(value),
                Some(_) => return Err(Fault::new(format!("{what} gets `{name}` twice"))),
                None => return Err(Fault::new(format!("{what} has no argument `{name}`"))),
            }
        }
        Ok(values)
    }
}

/// A value that must be given.
pub(super) fn needed(value: Option<Value>, what: &str, name: &str) -> JinjaResult<Value> {
    value.ok_or_else(|| Fault::new(format!("{what} needs an argument `{name}`")))
}

/// A whole number; none given: the default.
pub(super) fn int(value: Option<Value>, default: i64, what: &str) -> JinjaResult<i64> {
    match value {
        None => Ok(default),
        Some(value) => value.as_int().ok_or_else(|| {
            let kind = value.kind();
            Fault::new(format!("{what} needs a whole number, not a {kind}"))
        }),
    }
}

/// A size: a negative number is none.
pub(super) fn size(value: Option<Value>, default: usize, what: &str) -> JinjaResult<usize> {
    let given = int(value, i64::try_from(default).unwrap_or(i64::MAX), what)?;
    Ok(usize::try_from(given).unwrap_or(0))
}

/// Whether an option is on.
pub(super) fn is_on(value: Option<Value>) -> bool {
    value.is_some_and(|value| value.holds())
}

/// A text that must be one.
pub(super) fn text(value: &Value, what: &str) -> JinjaResult<std::sync::Arc<str>> {
    match value {
        Value::Text(text) => Ok(std::sync::Arc::clone(text)),
        Value::Undefined(why) => Err(Fault::new(&**why)),
        other => {
            let kind = other.kind();
            Err(Fault::new(format!("{what} needs a text, not a {kind}")))
        }
    }
}
