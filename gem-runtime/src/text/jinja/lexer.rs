//! The text of a template -> tokens with their lines, whitespace around tags dealt with.
//!
//! As Jinja2 does with `trim_blocks` and `lstrip_blocks`: line ends become `\n`, one at the very end is dropped, the one
//! behind a block or comment too, and so are blanks between the start of a line and a block; `-` takes all whitespace
//! on its side, `+` leaves what is there.

use std::iter::Peekable;
use std::str::CharIndices;

use super::{Fault, JinjaResult};

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Text between tags.
    Data(String),
    BlockBegin,
    BlockEnd,
    PrintBegin,
    PrintEnd,
    Name(String),
    Text(String),
    Int(i64),
    Float(f64),
    Operator(&'static str),
}

/// Longest first.
const OPERATORS: [&str; 26] = [
    "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", "|", ".", ":",
    ",", "(", ")", "[", "]", "{", "}", ";",
];

/// Tokens of a whole template, each with its line.
pub(super) fn tokens(source: &str) -> JinjaResult<Vec<(Token, u32)>> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut lexer = Lexer {
        source,
        at: 0,
        line: 1,
        tokens: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    tokens: Vec<(Token, u32)>,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.source[self.at..self.at + bytes];
        let lines = passed.bytes().filter(|byte| *byte == b'\n').count();
        self.line = self.line.saturating_add(lines as u32);
        self.at += bytes;
    }

    fn push(&mut self, token: Token) {
        self.tokens.push((token, self.line));
    }

    fn fault(&self, what: impl AsRef<str>) -> Fault {
        Fault::new(what).at(self.line)
    }

    fn run(&mut self) -> JinjaResult<()> {
        while !self.rest().is_empty() {
            let Some((offset, kind)) = next_tag(self.rest()) else {
                let text = self.rest().to_owned();
                self.push(Token::Data(text));
                return Ok(());
            };
            let sign = self.rest()[offset + 2..].chars().next();
            self.data(offset, kind, sign);
            let signed = usize::from(matches!(sign, Some('-' | '+')));
            // `{{+` has no meaning of its own: the sign belongs to the expression.
            let signed = if kind == Tag::Print && sign == Some('+') {
                0
            } else {
                signed
            };
            let begin = self.line;
            self.advance(2 + signed);
            match kind {
                Tag::Comment => self.comment(begin)?,
                Tag::Block if is_raw(self.rest()) => self.raw(begin)?,
                Tag::Block => self.tag(Token::BlockBegin, "%}", Token::BlockEnd, begin)?,
                Tag::Print => self.tag(Token::PrintBegin, "}}", Token::PrintEnd, begin)?,
            }
        }
        Ok(())
    }

    /// The text before a tag.
    fn data(&mut self, offset: usize, kind: Tag, sign: Option<char>) {
        let text = &self.rest()[..offset];
        let kept = stripped(text, kind, sign, self.at == 0 || self.starts_line(0));
        if !kept.is_empty() {
            let kept = kept.to_owned();
            self.push(Token::Data(kept));
        }
        self.advance(offset);
    }

    /// Whether a line begins at an offset from here.
    fn starts_line(&self, offset: usize) -> bool {
        self.source[..self.at + offset].ends_with('\n')
    }

    fn comment(&mut self, begin: u32) -> JinjaResult<()> {
        let Some(end) = self.rest().find("#}") else {
            return Err(Fault::new("a comment has no end").at(begin));
        };
        let minus = end > 0 && self.rest()[..end].ends_with('-');
        let plus = end > 0 && self.rest()[..end].ends_with('+');
        self.advance(end + 2);
        self.behind(minus, !plus);
        Ok(())
    }

    /// Whitespace behind a tag.
    fn behind(&mut self, all: bool, line_end: bool) {
        let rest = self.rest();
        if all {
            self.advance(rest.len() - rest.trim_start().len());
        } else if line_end && rest.starts_with('\n') {
            self.advance(1);
        }
    }

    /// `{% raw %}…{% endraw %}`; the beginning is passed up to the name.
    fn raw(&mut self, begin: u32) -> JinjaResult<()> {
        let open = self.rest().find("%}").unwrap_or_default();
        let minus = self.rest()[..open].ends_with('-');
        self.advance(open + 2);
        // A line end behind the beginning is a part of what is raw.
        self.behind(minus, false);
        let Some((end, sign, length, trims)) = end_of_raw(self.rest()) else {
            return Err(Fault::new("a raw block has no end").at(begin));
        };
        let starts = self.starts_line(0);
        let text = stripped(&self.rest()[..end], Tag::Block, sign, starts).to_owned();
        self.push(Token::Data(text));
        self.advance(end + length);
        self.behind(trims == Some('-'), trims != Some('+'));
        Ok(())
    }

    /// What is between the marks of a tag.
    fn tag(&mut self, open: Token, close: &str, end: Token, begin: u32) -> JinjaResult<()> {
        self.push(open);
        let block = end == Token::BlockEnd;
        let mut brackets = Vec::new();
        loop {
            let rest = self.rest();
            self.advance(rest.len() - rest.trim_start().len());
            let rest = self.rest();
            if rest.is_empty() {
                let what = if block { "%}" } else { "}}" };
                return Err(Fault::new(format!("a tag has no {what}")).at(begin));
            }
            let minus = rest.strip_prefix('-').is_some_and(|r| r.starts_with(close));
            let plus = block && rest.strip_prefix('+').is_some_and(|r| r.starts_with(close));
            // A brace that is open takes the first brace of `}}`.
            let inside = !block && !brackets.is_empty();
            if !inside && (minus || plus || rest.starts_with(close)) {
                self.push(end);
                self.advance(close.len() + usize::from(minus || plus));
                self.behind(minus, block && !plus);
                return Ok(());
            }
            self.token(&mut brackets)?;
        }
    }

    fn token(&mut self, brackets: &mut Vec<char>) -> JinjaResult<()> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(());
        };
        if first == '"' || first == '\'' {
            return self.text(first);
        }
        if first.is_ascii_digit() {
            return self.number();
        }
        if first == '_' || first.is_alphabetic() {
            let end = rest
                .find(|c: char| c != '_' && !c.is_alphanumeric())
                .unwrap_or(rest.len());
            self.push(Token::Name(rest[..end].to_owned()));
            self.advance(end);
            return Ok(());
        }
        let Some(operator) = OPERATORS.iter().find(|o| rest.starts_with(**o)) else {
            return Err(self.fault(format!("unexpected character {first:?}")));
        };
        self.balance(first, brackets)?;
        self.push(Token::Operator(operator));
        self.advance(operator.len());
        Ok(())
    }

    fn balance(&self, bracket: char, open: &mut Vec<char>) -> JinjaResult<()> {
        let expected = match bracket {
            '(' | '[' | '{' => {
                open.push(bracket);
                return Ok(());
            }
            ')' => '(',
            ']' => '[',
            '}' => '{',
            _ => return Ok(()),
        };
        if open.pop() == Some(expected) {
            return Ok(());
        }
        Err(self.fault(format!("unexpected {bracket:?}")))
    }

    fn text(&mut self, quote: char) -> JinjaResult<()> {
        let rest = self.rest();
        let mut text = String::new();
        let mut chars = rest.char_indices().peekable();
        chars.next();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.push(Token::Text(text));
                self.advance(at + 1);
                return Ok(());
            }
            if c == '\\' {
                escape(&mut chars, &mut text).map_err(|e| e.at(self.line))?;
            } else {
                text.push(c);
            }
        }
        Err(self.fault("a text has no end"))
    }

    fn number(&mut self) -> JinjaResult<()> {
        let rest = self.rest();
        let digits = |text: &str| {
            text.find(|c: char| !c.is_ascii_digit() && c != '_')
                .unwrap_or(text.len())
        };
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            let lower = rest.get(..2).map(str::to_ascii_lowercase);
            if lower.as_deref() == Some(prefix) {
                let body = &rest[2..];
                let end = body
                    .find(|c: char| !c.is_digit(radix) && c != '_')
                    .unwrap_or(body.len());
                let value = i64::from_str_radix(&body[..end].replace('_', ""), radix);
                return self.numeral(2 + end, value.ok().map(Token::Int));
            }
        }
        let mut end = digits(rest);
        let mut float = false;
        let fraction = rest[end..].strip_prefix('.').map_or(0, digits);
        if fraction > 0 {
            (end, float) = (end + 1 + fraction, true);
        }
        if let Some(exponent) = rest[end..].strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let length = digits(&exponent[sign..]);
            if length > 0 {
                (end, float) = (end + 1 + sign + length, true);
            }
        }
        let text = rest[..end].replace('_', "");
        let token = if float {
            text.parse().ok().map(Token::Float)
        } else {
            text.parse().ok().map(Token::Int)
        };
        self.numeral(end, token)
    }

    fn numeral(&mut self, length: usize, token: Option<Token>) -> JinjaResult<()> {
        let text = &self.rest()[..length];
        let token = token.ok_or_else(|| self.fault(format!("the number {text} is too large")))?;
        self.push(token);
        self.advance(length);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Block,
    Print,
    Comment,
}

/// The first tag of a text.
fn next_tag(text: &str) -> Option<(usize, Tag)> {
    let mut from = 0;
    while let Some(found) = text[from..].find('{') {
        let at = from + found;
        let kind = match text.as_bytes().get(at + 1) {
            Some(b'%') => Some(Tag::Block),
            Some(b'{') => Some(Tag::Print),
            Some(b'#') => Some(Tag::Comment),
            _ => None,
        };
        match kind {
            Some(kind) => return Some((at, kind)),
            None => from = at + 1,
        }
    }
    None
}

/// What stays of the text before a tag. `starts_line`: the text begins a line of the template.
fn stripped(text: &str, kind: Tag, sign: Option<char>, starts_line: bool) -> &str {
    match (sign, kind) {
        (Some('-'), _) => text.trim_end(),
        (Some('+'), _) | (_, Tag::Print) => text,
        _ => {
            let begin = text.rfind('\n').map(|at| at + 1);
            let begin = begin.or(starts_line.then_some(0));
            match begin {
                Some(begin) if text[begin..].trim().is_empty() => &text[..begin],
                _ => text,
            }
        }
    }
}

/// Whether a block, after its mark, is `raw`.
fn is_raw(rest: &str) -> bool {
    let Some(rest) = rest.trim_start().strip_prefix("raw") else {
        return false;
    };
    let rest = rest.trim_start();
    rest.strip_prefix(['-', '+'])
        .unwrap_or(rest)
        .starts_with("%}")
}

/// Where `{% endraw %}` begins, its first sign, its length, its last sign.
fn end_of_raw(text: &str) -> Option<(usize, Option<char>, usize, Option<char>)> {
    let sign = |text: &str| text.chars().next().filter(|c| matches!(c, '-' | '+'));
    let mut from = 0;
    while let Some(found) = text[from..].find("{%") {
        let at = from + found;
        let rest = &text[at + 2..];
        let first = sign(rest);
        let rest = rest[usize::from(first.is_some())..].trim_start();
        if let Some(rest) = rest.strip_prefix("endraw") {
            let rest = rest.trim_start();
            let last = sign(rest);
            if let Some(behind) = rest[usize::from(last.is_some())..].strip_prefix("%}") {
                let length = text.len() - at - behind.len();
                return Some((at, first, length, last));
            }
        }
        from = at + 2;
    }
    None
}

/// A character by one to three octal digits.
fn octal(first: u32, chars: &mut Peekable<CharIndices<'_>>) -> char {
    let mut code = first;
    for _ in 0..2 {
        let Some(digit) = chars.peek().and_then(|(_, c)| c.to_digit(8)) else {
            break;
        };
        chars.next();
        code = 8 * code + digit;
    }
    // At most 0o777.
    char::from_u32(code).unwrap_or('\0')
}

/// One escape of a Python text; the backslash is passed.
fn escape(chars: &mut Peekable<CharIndices<'_>>, to: &mut String) -> JinjaResult<()> {
    let Some((_, c)) = chars.next() else {
        return Ok(());
    };
    if let Some(first) = c.to_digit(8) {
        to.push(octal(first, chars));
        return Ok(());
    }
    let mut code = |digits: usize| {
        let text: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
        u32::from_str_radix(&text, 16)
            .ok()
            .filter(|_| text.len() == digits)
            .and_then(char::from_u32)
            .ok_or_else(|| Fault::new(format!("\\{c}{text} is not a character")))
    };
    match c {
        'n' => to.push('\n'),
        't' => to.push('\t'),
        'r' => to.push('\r'),
        'a' => to.push('\u{7}'),
        'b' => to.push('\u{8}'),
        'f' => to.push('\u{c}'),
        'v' => to.push('\u{b}'),
        '\\' | '\'' | '"' => to.push(c),
        '\n' => {}
        'x' => to.push(code(2)?),
        'u' => to.push(code(4)?),
        'U' => to.push(code(8)?),
        'N' => {
            return Err(Fault::new("\\N{…}: names of characters are not known"));
        }
        other => to.extend(['\\', other]),
    }
    Ok(())
}
