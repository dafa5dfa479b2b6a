//! Texts as Python looks at them: what is a space, a line, a word.

use super::JinjaResult;
use super::meter::Meter;

/// What `str.isspace` holds for.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// A text without certain characters around it; `None`: without spaces.
pub(super) fn stripped<'t>(text: &'t str, chars: Option<&str>, left: bool, right: bool) -> &'t str {
    let out = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if left {
        text.trim_start_matches(out)
    } else {
        text
    };
    if right {
        text.trim_end_matches(out)
    } else {
        text
    }
}

/// Lines as `str.splitlines` gives them, with their ends or without.
pub(super) fn lines<'t>(text: &'t str, ends: bool, meter: &Meter) -> JinjaResult<Vec<&'t str>> {
    let breaks = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'
                ..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(breaks) {
        let length = if rest[at..].starts_with("\r\n") {
            2
        } else {
            rest[at..].chars().next().map_or(1, char::len_utf8)
        };
        meter.items(1)?;
        lines.push(&rest[..if ends { at + length } else { at }]);
        rest = &rest[at + length..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    Ok(lines)
}

/// Pieces between separators, at most `most` cuts from the left; without a separator, between spaces.
pub(super) fn split<'t>(
    text: &'t str,
    separator: Option<&str>,
    most: Option<usize>,
    meter: &Meter,
) -> JinjaResult<Vec<&'t str>> {
    let most = most.unwrap_or(usize::MAX);
    match separator {
        Some(separator) => collected(text.splitn(most.saturating_add(1), separator), meter),
        None => collected(words(text, most), meter),
    }
}

/// The same with the cuts counted from the right.
pub(super) fn rsplit<'t>(
    text: &'t str,
    separator: Option<&str>,
    most: Option<usize>,
    meter: &Meter,
) -> JinjaResult<Vec<&'t str>> {
    let most = most.unwrap_or(usize::MAX);
    let mut pieces = match separator {
        Some(separator) => collected(text.rsplitn(most.saturating_add(1), separator), meter),
        None => collected(words_from_the_right(text, most), meter),
    }?;
    pieces.reverse();
    Ok(pieces)
}

/// Pieces in a list, each counted before it is there.
fn collected<'t>(
    pieces: impl Iterator<Item = &'t str>,
    meter: &Meter,
) -> JinjaResult<Vec<&'t str>> {
    pieces.map(|piece| meter.items(1).map(|()| piece)).collect()
}

/// What is between spaces; after so many, the rest with the spaces behind it.
fn words(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = text.trim_start_matches(is_space);
    let mut left = most;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = match left {
            0 => rest.len(),
            _ => rest.find(is_space).unwrap_or(rest.len()),
        };
        left = left.saturating_sub(1);
        let (word, behind) = rest.split_at(end);
        rest = behind.trim_start_matches(is_space);
        Some(word)
    })
}

/// The same from the end.
fn words_from_the_right(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = text.trim_end_matches(is_space);
    let mut left = most;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let last = rest.char_indices().rev().find(|(_, c)| is_space(*c));
        let begin = match (left, last) {
            (0, _) | (_, None) => 0,
            (_, Some((at, c))) => at + c.len_utf8(),
        };
        left = left.saturating_sub(1);
        let (before, word) = rest.split_at(begin);
        rest = before.trim_end_matches(is_space);
        Some(word)
    })
}

/// First letter large, the others small.
pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        None => String::new(),
        Some(first) => first.to_uppercase().collect::<String>() + &chars.as_str().to_lowercase(),
    }
}

/// Every word with a large first letter; `begins` says behind which character a word begins.
pub(super) fn titled(text: &str, begins: fn(char) -> bool) -> String {
    let mut out = String::new();
    let mut begin = true;
    for c in text.chars() {
        if begin {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        begin = begins(c);
    }
    out
}
