//! Text in, tokens out. `;` starts a remark that is skipped; `//` a comment that belongs to the program.

use super::parse::ParseError;

/// A token and where it stands, counted from 1.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Word(String),
    /// An integer or float as written.
    Number(String),
    Text(String),
    Comment(String),
    /// One of `{ } ( ) [ ] : , = * +` and `..`, `..=`.
    Mark(&'static str),
    NewLine,
    End,
}

impl Kind {
    /// How the token is named in an error.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(s) | Self::Number(s) => format!("`{s}`"),
            Self::Text(_) => "a string".to_owned(),
            Self::Comment(_) => "a comment".to_owned(),
            Self::Mark(s) => format!("`{s}`"),
            Self::NewLine => "the end of the line".to_owned(),
            Self::End => "the end of the text".to_owned(),
        }
    }
}

/// Whether a name needs no quotes.
pub(super) fn is_identifier(s: &str) -> bool {
    let mut bytes = s.bytes();
    bytes.next().is_some_and(is_start) && bytes.all(is_rest) && s != "in" && s != "of"
}

const fn is_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_'
}

const fn is_rest(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

const MARKS: [&str; 13] = [
    "..=", "..", "{", "}", "(", ")", "[", "]", ":", ",", "=", "*", "+",
];

/// All tokens; every line ends with [`Kind::NewLine`], the text with [`Kind::End`].
pub(super) fn lex(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut tokens = Vec::new();
    let mut lines = 0;
    for (i, line) in text.split('\n').enumerate() {
        lines = i as u32 + 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        Line {
            text: line,
            number: lines,
            at: 0,
        }
        .lex(&mut tokens)?;
    }
    tokens.push(Token {
        kind: Kind::End,
        line: lines,
        column: 1,
    });
    Ok(tokens)
}

struct Line<'a> {
    text: &'a str,
    number: u32,
    at: usize,
}

impl Line<'_> {
    fn lex(&mut self, tokens: &mut Vec<Token>) -> Result<(), ParseError> {
        loop {
            let rest = &self.text[self.at..];
            self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
            let column = self.column();
            let kind = self.token()?;
            let last = kind == Kind::NewLine;
            tokens.push(Token {
                kind,
                line: self.number,
                column,
            });
            if last {
                return Ok(());
            }
        }
    }

    fn column(&self) -> u32 {
        self.text[..self.at].chars().count() as u32 + 1
    }

    fn error(&self, found: String, expected: &str) -> ParseError {
        ParseError {
            line: self.number,
            column: self.column(),
            found,
            expected: expected.to_owned(),
        }
    }

    fn token(&mut self) -> Result<Kind, ParseError> {
        let rest = &self.text[self.at..];
        let Some(first) = rest.bytes().next() else {
            return Ok(Kind::NewLine);
        };
        if first == b';' {
            self.at = self.text.len();
            return Ok(Kind::NewLine);
        }
        if let Some(comment) = rest.strip_prefix("//") {
            let comment = comment.strip_prefix(' ').unwrap_or(comment);
            let start = self.text.len() - comment.len();
            let text = self.unescape(start, None)?;
            return Ok(Kind::Comment(text));
        }
        if first == b'"' {
            return Ok(Kind::Text(self.unescape(self.at + 1, Some('"'))?));
        }
        if first.is_ascii_digit() || first == b'-' {
            return Ok(Kind::Number(self.take(number_len(rest))));
        }
        if is_start(first) {
            let len = rest.bytes().take_while(|b| is_rest(*b)).count();
            return Ok(Kind::Word(self.take(len)));
        }
        match MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            Some(mark) => {
                self.at += mark.len();
                Ok(Kind::Mark(mark))
            }
            None => {
                let found = rest.chars().next().unwrap_or(' ');
                let expected = "a word, number, string or one of {}()[]:,=*+ ..";
                Err(self.error(format!("{found:?}"), expected))
            }
        }
    }

    fn take(&mut self, len: usize) -> String {
        let text = self.text[self.at..self.at + len].to_owned();
        self.at += len;
        text
    }

    /// The text from byte `start` to the quote, or to the end of the line.
    fn unescape(&mut self, start: usize, quote: Option<char>) -> Result<String, ParseError> {
        let mut out = String::new();
        let mut chars = self.text[start..].char_indices();
        while let Some((i, c)) = chars.next() {
            self.at = start + i;
            match c {
                c if Some(c) == quote => {
                    self.at += c.len_utf8();
                    return Ok(out);
                }
                '\\' => {
                    let escaped = chars.as_str();
                    let (c, len) = escape(escaped).ok_or_else(|| {
                        self.error(
                            "an unknown escape".to_owned(),
                            r#"\\, \n, \" or \u{HEX} after the backslash"#,
                        )
                    })?;
                    out.push(c);
                    for _ in 0..len {
                        chars.next();
                    }
                }
                c => out.push(c),
            }
        }
        self.at = self.text.len();
        match quote {
            None => Ok(out),
            Some(_) => Err(self.error("the end of the line".to_owned(), "a closing `\"`")),
        }
    }
}

/// The character that an escape stands for, and the escape's length in characters.
fn escape(s: &str) -> Option<(char, usize)> {
    match s.chars().next()? {
        'n' => Some(('\n', 1)),
        c @ ('\\' | '"') => Some((c, 1)),
        'u' => {
            let (hex, _) = s.strip_prefix("u{")?.split_once('}')?;
            if hex.len() > 6 {
                return None;
            }
            let c = char::from_u32(u32::from_str_radix(hex, 16).ok()?)?;
            Some((c, hex.len() + 3))
        }
        _ => None,
    }
}

/// Length of a number: sign, digits or `inf`, a fraction, an exponent. A range's dots are no fraction.
fn number_len(s: &str) -> usize {
    let b = s.as_bytes();
    let word = |from: usize| b[from..].iter().take_while(|b| is_rest(**b)).count();
    let mut n = usize::from(b[0] == b'-');
    n += word(n);
    if b.get(n) == Some(&b'.') && b.get(n + 1).is_some_and(u8::is_ascii_digit) {
        n += 1 + word(n + 1);
    }
    // A hexadecimal number may end in e, but nothing adds a sign to it.
    if n > 0 && matches!(b[n - 1], b'e' | b'E') && matches!(b.get(n), Some(b'-' | b'+')) {
        n += 1 + word(n + 1);
    }
    n.max(1)
}
