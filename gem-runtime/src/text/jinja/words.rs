//! Texts as Python looks at them: what is a space, a line, a word.

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
pub(super) fn lines(text: &str, ends: bool) -> Vec<&str> {
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
        lines.push(&rest[..if ends { at + length } else { at }]);
        rest = &rest[at + length..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// Pieces between separators, at most `most` cuts from the left; without a separator, between spaces.
pub(super) fn split<'t>(
    text: &'t str,
    separator: Option<&str>,
    most: Option<usize>,
) -> Vec<&'t str> {
    let Some(separator) = separator else {
        return split_spaces(text, most);
    };
    match most {
        Some(most) => text.splitn(most.saturating_add(1), separator).collect(),
        None => text.split(separator).collect(),
    }
}

fn split_spaces(text: &str, most: Option<usize>) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        if most.is_some_and(|most| pieces.len() >= most) {
            // Python keeps the spaces behind the last piece then.
            pieces.push(rest);
            break;
        }
        let end = rest.find(is_space).unwrap_or(rest.len());
        pieces.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(is_space);
    }
    pieces
}

/// The same with the cuts counted from the right.
pub(super) fn rsplit<'t>(
    text: &'t str,
    separator: Option<&str>,
    most: Option<usize>,
) -> Vec<&'t str> {
    let Some(most) = most else {
        return split(text, separator, None);
    };
    let mut pieces: Vec<&str> = match separator {
        Some(separator) => text.rsplitn(most.saturating_add(1), separator).collect(),
        None => {
            let mut pieces = Vec::new();
            let mut rest = text.trim_end_matches(is_space);
            while !rest.is_empty() {
                if pieces.len() >= most {
                    pieces.push(rest);
                    break;
                }
                let last = rest.char_indices().rev().find(|(_, c)| is_space(*c));
                let begin = last.map_or(0, |(at, c)| at + c.len_utf8());
                pieces.push(&rest[begin..]);
                rest = rest[..begin].trim_end_matches(is_space);
            }
            pieces
        }
    };
    pieces.reverse();
    pieces
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
