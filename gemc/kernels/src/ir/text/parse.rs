//! The parser's core: a cursor over tokens, and errors that say what would have been allowed.

use super::lex::{Kind, Token, lex};
use super::{MAX_TEXT, items};
use crate::ir::Program;

/// Text that is no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: found {found}, expected {expected}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1, in characters.
    pub column: u32,
    /// What stands there.
    pub found: String,
    /// What is allowed there.
    pub expected: String,
}

/// Reads a program.
///
/// # Errors
/// The first place where the text is not of the form that [`super::print()`] writes.
pub fn parse(text: &str) -> Result<Program, ParseError> {
    if text.len() > MAX_TEXT {
        return Err(ParseError {
            line: 1,
            column: 1,
            found: format!("{} bytes", text.len()),
            expected: format!("at most {MAX_TEXT} bytes"),
        });
    }
    let tokens = lex(text)?;
    items::program(&mut Parser { tokens, at: 0 })
}

pub(super) type Result<T, E = ParseError> = std::result::Result<T, E>;

/// A cursor over tokens. The last token is the end, which is never passed.
pub(super) struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn token(&self) -> &Token {
        &self.tokens[self.at]
    }

    pub(super) fn peek(&self) -> &Kind {
        &self.token().kind
    }

    fn advance(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    pub(super) fn fail<T>(&self, expected: impl Into<String>) -> Result<T> {
        let Token { kind, line, column } = self.token();
        Err(ParseError {
            line: *line,
            column: *column,
            found: kind.describe(),
            expected: expected.into(),
        })
    }

    pub(super) fn skip_lines(&mut self) {
        while *self.peek() == Kind::NewLine {
            self.advance();
        }
    }

    pub(super) fn end_line(&mut self) -> Result<()> {
        match self.peek() {
            Kind::NewLine => {
                self.advance();
                Ok(())
            }
            Kind::End => Ok(()),
            _ => self.fail("the end of the line"),
        }
    }

    pub(super) fn at_mark(&self, mark: &str) -> bool {
        matches!(self.peek(), Kind::Mark(m) if *m == mark)
    }

    /// Passes a mark if it stands here.
    pub(super) fn eat(&mut self, mark: &str) -> bool {
        let found = self.at_mark(mark);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn mark(&mut self, mark: &str) -> Result<()> {
        if self.eat(mark) {
            return Ok(());
        }
        self.fail(format!("`{mark}`"))
    }

    pub(super) fn at_word(&self, word: &str) -> bool {
        matches!(self.peek(), Kind::Word(w) if w == word)
    }

    /// Passes a word if it stands here.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn keyword(&mut self, word: &str) -> Result<()> {
        if self.eat_word(word) {
            return Ok(());
        }
        self.fail(format!("`{word}`"))
    }

    /// Any of some words, by the value it stands for.
    pub(super) fn choice<T: Copy>(
        &mut self,
        choices: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Result<T> {
        if let Kind::Word(w) = self.peek()
            && let Some(found) = choices.iter().find(|c| name(**c) == w)
        {
            let found = *found;
            self.advance();
            return Ok(found);
        }
        let names: Vec<_> = choices.iter().map(|c| name(*c)).collect();
        self.fail(format!("one of {}", names.join(", ")))
    }

    /// An identifier or a string.
    pub(super) fn name(&mut self) -> Result<String> {
        match self.peek() {
            Kind::Word(s) | Kind::Text(s) => {
                let s = s.clone();
                self.advance();
                Ok(s)
            }
            _ => self.fail("a name"),
        }
    }

    pub(super) fn text(&mut self) -> Result<String> {
        let Kind::Text(s) = self.peek() else {
            return self.fail("a string in quotes");
        };
        let s = s.clone();
        self.advance();
        Ok(s)
    }

    /// A comment statement, if one stands here.
    pub(super) fn comment(&mut self) -> Option<String> {
        let Kind::Comment(s) = self.peek() else {
            return None;
        };
        let s = s.clone();
        self.advance();
        Some(s)
    }

    /// A decimal or hexadecimal integer that fits `T`.
    pub(super) fn integer<T: TryFrom<i128>>(&mut self, expected: &str) -> Result<T> {
        if let Kind::Number(s) = self.peek() {
            let parsed = match s.strip_prefix("0x") {
                Some(hex) => i128::from_str_radix(hex, 16),
                None => s.parse::<i128>(),
            };
            if let Some(n) = parsed.ok().and_then(|n| T::try_from(n).ok()) {
                self.advance();
                return Ok(n);
            }
        }
        self.fail(expected)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.integer("a number in 0..4294967296")
    }

    /// The bits of an f32: a decimal number, `inf`, `-inf` or `nan(BITS)`.
    pub(super) fn float(&mut self) -> Result<u32> {
        let expected = "a float such as 1.5, inf, -inf or nan(0x7fc00000)";
        let bits = match self.peek() {
            Kind::Word(w) if w == "inf" => f32::INFINITY.to_bits(),
            Kind::Number(s) if s == "-inf" => f32::NEG_INFINITY.to_bits(),
            Kind::Word(w) if w == "nan" => return self.nan(),
            Kind::Number(s) if !s.bytes().any(|b| b.is_ascii_alphabetic() && b != b'e') => {
                match s.parse::<f32>() {
                    Ok(x) if x.is_finite() => x.to_bits(),
                    _ => return self.fail(expected),
                }
            }
            _ => return self.fail(expected),
        };
        self.advance();
        Ok(bits)
    }

    fn nan(&mut self) -> Result<u32> {
        self.advance();
        self.mark("(")?;
        if let Kind::Number(s) = self.peek()
            && let Some(hex) = s.strip_prefix("0x")
            && let Ok(bits) = u32::from_str_radix(hex, 16)
            && f32::from_bits(bits).is_nan()
        {
            self.advance();
            self.mark(")")?;
            return Ok(bits);
        }
        self.fail("the bits of a NaN, such as 0x7fc00000")
    }

    /// The number of an id such as `v12`.
    pub(super) fn id(&mut self, prefix: &str) -> Result<u32> {
        if let Some(n) = self.at_id(prefix) {
            self.advance();
            return Ok(n);
        }
        self.fail(format!("an id such as {prefix}0"))
    }

    /// The number of the id that stands here, if it has this prefix.
    pub(super) fn at_id(&self, prefix: &str) -> Option<u32> {
        let Kind::Word(w) = self.peek() else {
            return None;
        };
        let digits = w.strip_prefix(prefix)?;
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let canonical = plain && (digits == "0" || !digits.starts_with('0'));
        canonical.then(|| digits.parse().ok()).flatten()
    }

    /// An id that must be the next of its table.
    pub(super) fn next_id(&mut self, prefix: &str, next: usize) -> Result<()> {
        if self.at_id(prefix).map(|n| n as usize) == Some(next) {
            self.advance();
            return Ok(());
        }
        self.fail(format!("{prefix}{next}, as ids are in order"))
    }
}
