//! The text of a template and its variables -> what it writes: Jinja as chat templates use it.
//!
//! Templates are written for Python's Jinja2 as Hugging Face sets it up (`trim_blocks`, `lstrip_blocks`, loop controls,
//! sandbox, `generation` blocks); values print as Python prints them. A template is data from a checkpoint, so that
//! everything it does is counted by a [`meter::Meter`]: steps, bytes that it makes, and how deep it nests. Nothing grows
//! before it is counted; that is why this is not a general engine, which bounds steps at most.
//!
//! Invariant: whatever template and variables are, rendering ends with a text or a [`Fault`], within the limits of the
//! meter.

mod arguments;
mod ast;
mod calls;
mod evaluate;
mod filters;
mod format;
mod json;
mod lexer;
mod meter;
mod methods;
mod operators;
mod parser;
mod print;
mod statements;
mod tests_of_values;
mod value;
mod words;

use std::fmt;

pub(super) use value::Value;

use super::date::Date;

/// Result with [`Fault`].
pub(super) type JinjaResult<T> = Result<T, Fault>;

/// Why a template cannot be read or does not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The line it happened in, counted from 1.
    pub line: Option<u32>,
    /// What happened.
    pub what: String,
}

impl Fault {
    /// A fault whose line is added where it is known. Words of the template in it are of readable length then, and
    /// without power over a terminal.
    pub fn new(what: impl AsRef<str>) -> Self {
        const LONGEST: usize = 1000;
        let what = what.as_ref();
        let mut told: String = what
            .chars()
            .take(LONGEST)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        if told.len() < what.len() && what.chars().nth(LONGEST).is_some() {
            told.push('\u{2026}');
        }
        Self {
            line: None,
            what: told,
        }
    }

    /// The same at a line, unless it has one.
    fn at(mut self, line: u32) -> Self {
        self.line = self.line.or(Some(line));
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// A template that parses.
#[derive(Debug)]
pub(super) struct Template {
    body: Vec<ast::Statement>,
}

impl Template {
    /// Reads a template.
    pub fn parse(source: &str) -> JinjaResult<Self> {
        let tokens = lexer::tokens(source)?;
        Ok(Self {
            body: parser::template(tokens)?,
        })
    }

    /// Renders it with these variables; `date` is what `strftime_now` tells.
    pub fn render(&self, variables: Vec<(&str, Value)>, date: Option<Date>) -> JinjaResult<String> {
        evaluate::render(&self.body, variables, date)
    }
}
