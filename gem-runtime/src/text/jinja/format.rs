//! `%` and `str.format` -> text: Python's two ways to put values into a text.

use super::arguments::Arguments;
use super::evaluate::place;
use super::meter::{Meter, Text};
use super::print::{float, text_of, write_repr};
use super::value::Value;
use super::{Fault, JinjaResult};

/// Digits behind the point at most.
const PRECISION: usize = 1000;

/// How one value is written.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    plus: Option<char>,
    alternate: bool,
    width: usize,
    /// Between groups of three digits.
    separator: Option<char>,
    precision: Option<usize>,
    kind: char,
}

/// `text % values`.
pub(super) fn printf(text: &str, values: &Arguments, meter: &Meter) -> JinjaResult<String> {
    let mut out = Text::new(meter);
    let mut next = 0;
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        meter.step()?;
        out.push(&rest[..at])?;
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('%') {
            out.push("%")?;
            rest = behind;
            continue;
        }
        let mut name = None;
        if let Some(inside) = rest.strip_prefix('(') {
            let end = inside.find(')').ok_or_else(|| bad(text))?;
            name = Some(&inside[..end]);
            rest = &inside[end + 1..];
        }
        let (mut spec, behind) = printf_spec(rest).ok_or_else(|| bad(text))?;
        rest = behind;
        let value = match name {
            Some(name) => named(values, name, meter)?,
            None => {
                next += 1;
                let value = values.positional.get(next - 1);
                value.ok_or_else(|| Fault::new("a format has too few values"))?
            }
        };
        if spec.kind == 'i' || spec.kind == 'u' {
            spec.kind = 'd';
        }
        if spec.kind == 'd' && matches!(value, Value::Float(_)) {
            let whole = value.as_float().map_or(0, |n| n as i64);
            write(&Value::Int(whole), &spec, &mut out)?;
        } else {
            write(value, &spec, &mut out)?;
        }
    }
    out.push(rest)?;
    let dict = matches!(values.positional.first(), Some(Value::Dict(_)));
    if next < values.positional.len() && !dict {
        return Err(Fault::new("a format has too many values"));
    }
    Ok(out.finish())
}

fn bad(text: &str) -> Fault {
    let shown: String = text.chars().take(40).collect();
    Fault::new(format!("{shown:?} is not a format"))
}

fn named<'v>(values: &'v Arguments, name: &str, meter: &Meter) -> JinjaResult<&'v Value> {
    let found = place(&values.named, name, meter)?;
    found
        .map(|at| &values.named[at].1)
        .ok_or_else(|| Fault::new(format!("a format has no value `{name}`")))
}

/// `[flags][width][.precision]kind`, and what is behind it.
fn printf_spec(text: &str) -> Option<(Spec, &str)> {
    let mut spec = Spec {
        align: Some('>'),
        ..Spec::default()
    };
    let mut rest = text;
    while let Some(flag) = rest.chars().next().filter(|c| "-+ #0".contains(*c)) {
        match flag {
            '-' => spec.align = Some('<'),
            '+' | ' ' => spec.plus = Some(flag),
            '#' => spec.alternate = true,
            _ if spec.align == Some('>') => (spec.fill, spec.align) = (Some('0'), Some('=')),
            _ => {}
        }
        rest = &rest[1..];
    }
    (spec.width, rest) = digits(rest)?;
    if let Some(behind) = rest.strip_prefix('.') {
        let (precision, behind) = digits(behind)?;
        spec.precision = Some(precision);
        rest = behind;
    }
    spec.kind = rest
        .chars()
        .next()
        .filter(|c| "sradiufFeEgGxXoc".contains(*c))?;
    Some((spec, &rest[1..]))
}

/// A number, 0 where there is none, and what is behind it.
fn digits(text: &str) -> Option<(usize, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number = match end {
        0 => 0,
        _ => text[..end].parse().ok()?,
    };
    Some((number, &text[end..]))
}

/// `text.format(values)`.
pub(super) fn str_format(text: &str, values: &Arguments, meter: &Meter) -> JinjaResult<String> {
    let mut out = Text::new(meter);
    let mut next = 0;
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        meter.step()?;
        out.push(&rest[..at])?;
        let (brace, behind) = rest[at..].split_at(1);
        if let Some(behind) = behind.strip_prefix(brace) {
            out.push(brace)?;
            rest = behind;
            continue;
        }
        if brace == "}" {
            return Err(bad(text));
        }
        let end = behind.find('}').ok_or_else(|| bad(text))?;
        field(&behind[..end], values, &mut next, &mut out).map_err(|f| match f {
            None => bad(text),
            Some(fault) => fault,
        })?;
        rest = &behind[end + 1..];
    }
    out.push(rest)?;
    Ok(out.finish())
}

/// What is between two braces; `None` as error where it is no field.
fn field(
    field: &str,
    values: &Arguments,
    next: &mut usize,
    out: &mut Text<'_>,
) -> Result<(), Option<Fault>> {
    let (field, spec) = field.split_once(':').unwrap_or((field, ""));
    let (name, conversion) = field.split_once('!').unwrap_or((field, ""));
    let value = match name.parse::<usize>() {
        Ok(index) => values.positional.get(index),
        Err(_) if name.is_empty() => {
            *next += 1;
            values.positional.get(*next - 1)
        }
        Err(_) => Some(named(values, name, out.meter())?),
    };
    let value = value.ok_or_else(|| Fault::new("a format has too few values"))?;
    let mut spec = format_spec(spec).ok_or(None)?;
    match conversion {
        "" => {}
        "r" | "a" => spec.kind = 'r',
        "s" => spec.kind = 's',
        _ => return Err(None),
    }
    Ok(write(value, &spec, out)?)
}

/// `[[fill]align][sign][#][0][width][,][.precision][kind]`.
fn format_spec(text: &str) -> Option<Spec> {
    let mut spec = Spec::default();
    let is_align = |c: char| "<>=^".contains(c);
    let mut chars = text.chars();
    let (first, second) = (chars.next(), chars.next());
    let mut rest = text;
    if second.is_some_and(is_align) {
        (spec.fill, spec.align) = (first, second);
        rest = chars.as_str();
    } else if first.is_some_and(is_align) {
        spec.align = first;
        rest = &text[1..];
    }
    if let Some(sign) = rest.chars().next().filter(|c| "+- ".contains(*c)) {
        spec.plus = Some(sign).filter(|c| *c != '-');
        rest = &rest[1..];
    }
    if let Some(behind) = rest.strip_prefix('#') {
        spec.alternate = true;
        rest = behind;
    }
    if let Some(behind) = rest.strip_prefix('0') {
        spec.fill = spec.fill.or(Some('0'));
        spec.align = spec.align.or(Some('='));
        rest = behind;
    }
    (spec.width, rest) = digits(rest)?;
    if let Some(behind) = rest.strip_prefix([',', '_']) {
        spec.separator = rest.chars().next();
        rest = behind;
    }
    if let Some(behind) = rest.strip_prefix('.') {
        let (precision, behind) = digits(behind)?;
        spec.precision = Some(precision);
        rest = behind;
    }
    let mut kind = rest.chars();
    spec.kind = kind.next().unwrap_or('\0');
    let known = "\0sdfFeEgGxXobc%nr".contains(spec.kind);
    (known && kind.as_str().is_empty()).then_some(spec)
}

fn write(value: &Value, spec: &Spec, out: &mut Text<'_>) -> JinjaResult<()> {
    if spec.precision.is_some_and(|p| p > PRECISION) {
        return Err(Fault::new(format!("a precision is above {PRECISION}")));
    }
    let number = !matches!(spec.kind, 's' | 'r' | 'a' | 'c') && value.as_float().is_some();
    let plain = spec.kind == '\0' && matches!(value, Value::Bool(_));
    if !number || plain {
        if !matches!(spec.kind, 's' | 'r' | 'a' | 'c' | '\0') {
            let (kind, letter) = (value.kind(), spec.kind);
            return Err(Fault::new(format!(
                "a {kind} cannot be written as {letter:?}"
            )));
        }
        let text = plain_text(value, spec, out.meter())?;
        return pad("", &text, spec, '<', out);
    }
    let (negative, digits) = digits_of(value, spec)?;
    let sign = match (negative, spec.plus) {
        (true, _) => "-",
        (false, Some('+')) => "+",
        (false, Some(_)) => " ",
        (false, None) => "",
    };
    let digits = match spec.separator {
        Some(separator) => grouped(&digits, separator),
        None => digits,
    };
    pad(sign, &digits, spec, '>', out)
}

fn plain_text(value: &Value, spec: &Spec, meter: &Meter) -> JinjaResult<String> {
    let mut text = match (spec.kind, value) {
        ('r' | 'a', value) => {
            let mut text = Text::new(meter);
            write_repr(value, &mut text)?;
            text.finish()
        }
        ('c', Value::Int(n)) => {
            let c = u32::try_from(*n).ok().and_then(char::from_u32);
            c.ok_or_else(|| Fault::new(format!("{n} is not a character")))?
                .to_string()
        }
        _ => text_of(value, meter)?.to_string(),
    };
    meter.bytes(text.len())?;
    if let Some(precision) = spec.precision
        && let Some((end, _)) = text.char_indices().nth(precision)
    {
        text.truncate(end);
    }
    Ok(text)
}

/// Whether a number is below 0, and its digits without sign.
fn digits_of(value: &Value, spec: &Spec) -> JinjaResult<(bool, String)> {
    let prefix = |plain: &'static str| if spec.alternate { plain } else { "" };
    if let Some(n) = value.as_int()
        && matches!(spec.kind, '\0' | 'd' | 'n' | 'x' | 'X' | 'o' | 'b')
    {
        let size = n.unsigned_abs();
        let digits = match spec.kind {
            'x' => format!("{}{size:x}", prefix("0x")),
            'X' => format!("{}{size:X}", prefix("0X")),
            'o' => format!("{}{size:o}", prefix("0o")),
            'b' => format!("{}{size:b}", prefix("0b")),
            _ => size.to_string(),
        };
        return Ok((n < 0, digits));
    }
    let n = value.as_float().unwrap_or(0.0);
    let (negative, size) = (n.is_sign_negative() && !n.is_nan(), n.abs());
    if !size.is_finite() {
        return Ok((negative, float(size)));
    }
    let precision = spec.precision.unwrap_or(6);
    let digits = match spec.kind {
        'f' | 'F' => format!("{size:.precision$}"),
        '%' => format!("{:.precision$}%", size * 100.0),
        'e' => exponential(size, precision),
        'E' => exponential(size, precision).to_uppercase(),
        'g' | 'n' => general(size, precision),
        'G' => general(size, precision).to_uppercase(),
        '\0' if spec.precision.is_none() => float(size),
        '\0' => general(size, precision),
        other => {
            return Err(Fault::new(format!(
                "a float cannot be written as {other:?}"
            )));
        }
    };
    Ok((negative, digits))
}

fn exponential(n: f64, precision: usize) -> String {
    let text = format!("{n:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// So many digits that count, without zeros at the end.
fn general(n: f64, precision: usize) -> String {
    let precision = precision.max(1);
    let text = exponential(n, precision - 1);
    let exponent = text
        .split_once('e')
        .and_then(|(_, e)| e.parse::<i32>().ok());
    let exponent = exponent.unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= i32::try_from(precision).unwrap_or(i32::MAX) {
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
        return format!("{}e{exponent}", trimmed(digits));
    }
    let decimals = usize::try_from(i64::try_from(precision).unwrap_or(0) - 1 - i64::from(exponent));
    trimmed(&format!("{n:.*}", decimals.unwrap_or(0)))
}

fn grouped(digits: &str, separator: char) -> String {
    let whole = digits.find(|c: char| !c.is_ascii_digit());
    let (whole, rest) = digits.split_at(whole.unwrap_or(digits.len()));
    let mut out = String::new();
    for (index, c) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(separator);
        }
        out.push(c);
    }
    out + rest
}

fn pad(sign: &str, text: &str, spec: &Spec, default: char, out: &mut Text<'_>) -> JinjaResult<()> {
    let length = sign.len() + text.chars().count();
    let missing = spec.width.saturating_sub(length);
    let mut buffer = [0; 4];
    let fill = &*spec.fill.unwrap_or(' ').encode_utf8(&mut buffer);
    let (before, between, behind) = match spec.align.unwrap_or(default) {
        '<' => (0, 0, missing),
        '^' => (missing / 2, 0, missing - missing / 2),
        '=' => (0, missing, 0),
        _ => (missing, 0, 0),
    };
    out.repeat(fill, before)?;
    out.push(sign)?;
    out.repeat(fill, between)?;
    out.push(text)?;
    out.repeat(fill, behind)
}
