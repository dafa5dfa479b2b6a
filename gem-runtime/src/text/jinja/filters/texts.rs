//! Filters of texts.

use super::super::arguments::{Arguments, int, is_on, needed, size, text};
use super::super::evaluate::Evaluator;
use super::super::meter::{Meter, Text};
use super::super::print::{text_of, write_repr};
use super::super::value::Value;
use super::super::{Fault, JinjaResult, format, methods, words};

/// How long `truncate` lets a text be beyond what is asked for.
const LEEWAY: usize = 5;

impl Evaluator<'_> {
    /// Filters that take anything as its text.
    pub(super) fn filter_of_text(
        &mut self,
        name: &str,
        value: &Value,
        arguments: Arguments,
    ) -> JinjaResult<Value> {
        let meter = self.meter;
        if !super::is_known(name) {
            return Err(Fault::new(format!("there is no filter `{name}`")));
        }
        if name == "pprint" {
            let [] = arguments.bind(name, [])?;
            let mut out = Text::new(meter);
            write_repr(value, &mut out)?;
            return Ok(out.finish().into());
        }
        let whole = text_of(value, meter)?;
        match name {
            "format" => Ok(format::printf(&whole, &arguments, meter)?.into()),
            "string" | "safe" => {
                let [] = arguments.bind(name, [])?;
                Ok(Value::Text(whole))
            }
            "trim" => {
                let [chars] = arguments.bind(name, ["chars"])?;
                let chars = match chars {
                    None | Some(Value::None) => None,
                    Some(chars) => Some(text(&chars, name)?),
                };
                meter.scan(
                    whole
                        .len()
                        .saturating_mul(chars.as_ref().map_or(1, |c| c.len())),
                )?;
                Value::text(words::stripped(&whole, chars.as_deref(), true, true), meter)
            }
            "replace" => {
                let [old, new, count] = arguments.bind(name, ["old", "new", "count"])?;
                let old = text_of(&needed(old, name, "old")?, meter)?;
                let new = text_of(&needed(new, name, "new")?, meter)?;
                let count = count.filter(|count| !matches!(count, Value::None));
                let count = usize::try_from(int(count, -1, name)?).ok();
                methods::replace(&whole, &old, &new, count, meter)
            }
            "indent" => indent(&whole, arguments, meter),
            "truncate" => truncate(&whole, arguments, meter),
            "center" => {
                let [width] = arguments.bind(name, ["width"])?;
                let arguments = Arguments {
                    positional: vec![width.unwrap_or(Value::Int(80))],
                    named: Vec::new(),
                };
                methods::call(&Value::Text(whole), "center", arguments, meter)
            }
            "title" => {
                let [] = arguments.bind(name, [])?;
                meter.bytes(3 * whole.len())?;
                let begins = |c: char| c.is_whitespace() || "-({[<".contains(c);
                Ok(words::titled(&whole, begins).into())
            }
            "wordcount" => {
                let [] = arguments.bind(name, [])?;
                meter.scan(whole.len())?;
                let pieces = whole.split(|c: char| c != '_' && !c.is_alphanumeric());
                let count = pieces.filter(|piece| !piece.is_empty()).count();
                Ok(Value::Int(count as i64))
            }
            "escape" | "e" | "forceescape" => {
                let [] = arguments.bind(name, [])?;
                escape(&whole, meter)
            }
            "urlencode" => {
                let [] = arguments.bind(name, [])?;
                percent(&whole, meter)
            }
            // What is left has the name of a method without arguments.
            _ => methods::call(&Value::Text(whole), name, arguments, meter),
        }
    }
}

fn indent(whole: &str, arguments: Arguments, meter: &Meter) -> JinjaResult<Value> {
    let [width, first, blank] = arguments.bind("indent", ["width", "first", "blank"])?;
    let (first, blank) = (is_on(first), is_on(blank));
    let margin: std::sync::Arc<str> = match width {
        Some(Value::Text(margin)) => margin,
        width => {
            let width = size(width, 4, "indent")?;
            meter.bytes(width)?;
            " ".repeat(width).into()
        }
    };
    let mut out = Text::new(meter);
    let mut lines = words::lines(whole, false, meter)?;
    // Python's filter adds a line end first, so that one at the end gives an empty line.
    if whole.is_empty() || whole.ends_with('\n') {
        lines.push("");
    }
    for (index, line) in lines.iter().enumerate() {
        let indented = match index {
            0 => first,
            _ => blank || !line.is_empty(),
        };
        out.push(if index > 0 { "\n" } else { "" })?;
        out.push(if indented { &margin } else { "" })?;
        out.push(line)?;
    }
    Ok(out.finish().into())
}

fn truncate(whole: &str, arguments: Arguments, meter: &Meter) -> JinjaResult<Value> {
    let names = ["length", "killwords", "end", "leeway"];
    let [length, kill, end, leeway] = arguments.bind("truncate", names)?;
    let length = size(length, 255, "truncate")?;
    let leeway = size(leeway, LEEWAY, "truncate")?;
    let end = match end {
        Some(end) => text(&end, "truncate")?,
        None => "...".into(),
    };
    meter.scan(whole.len())?;
    if whole.chars().count() <= length.saturating_add(leeway) {
        return Value::text(whole, meter);
    }
    let Some(kept) = length.checked_sub(end.chars().count()) else {
        return Err(Fault::new(
            "the length of truncate is below that of its end",
        ));
    };
    let cut = whole
        .char_indices()
        .nth(kept)
        .map_or(whole.len(), |(at, _)| at);
    let cut = &whole[..cut];
    let cut = match cut.rsplit_once(' ') {
        Some((before, _)) if !is_on(kill) => before,
        _ => cut,
    };
    let mut out = Text::new(meter);
    out.push(cut)?;
    out.push(&end)?;
    Ok(out.finish().into())
}

fn escape(whole: &str, meter: &Meter) -> JinjaResult<Value> {
    let mut out = Text::new(meter);
    for c in whole.chars() {
        match c {
            '&' => out.push("&amp;")?,
            '<' => out.push("&lt;")?,
            '>' => out.push("&gt;")?,
            '\'' => out.push("&#39;")?,
            '"' => out.push("&#34;")?,
            c => out.push(c.encode_utf8(&mut [0; 4]))?,
        }
    }
    Ok(out.finish().into())
}

fn percent(whole: &str, meter: &Meter) -> JinjaResult<Value> {
    let mut out = Text::new(meter);
    for byte in whole.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~/".contains(&byte) {
            out.push(char::from(byte).encode_utf8(&mut [0; 4]))?;
        } else {
            out.push(&format!("%{byte:02X}"))?;
        }
    }
    Ok(out.finish().into())
}
