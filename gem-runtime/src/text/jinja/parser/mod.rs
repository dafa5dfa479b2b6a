//! Tokens -> statements.
//!
//! `generation` blocks are Hugging Face's own: they mark what the model says for training, and write what is in them.

mod expression;

use std::sync::Arc;

use super::ast::{Expression, Filter, For, Macro, Statement, StatementKind, Target};
use super::lexer::Token;
use super::{Fault, JinjaResult};

/// How deep a template may nest: more than any real one, and little stack.
const DEPTH: u32 = 64;

/// The statements of a template.
pub(super) fn template(tokens: Vec<(Token, u32)>) -> JinjaResult<Vec<Statement>> {
    let last = tokens.last().map_or(1, |(_, line)| *line);
    let mut parser = Parser {
        tokens,
        at: 0,
        last,
        depth: 0,
        loops: 0,
    };
    let (body, _) = parser.body(&[])?;
    Ok(body)
}

struct Parser {
    tokens: Vec<(Token, u32)>,
    at: usize,
    /// The line of the last token.
    last: u32,
    depth: u32,
    /// Loops around, for `break` and `continue`.
    loops: u32,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn peek_at(&self, offset: usize) -> Option<&Token> {
        self.tokens.get(self.at + offset).map(|(token, _)| token)
    }

    fn line(&self) -> u32 {
        self.tokens
            .get(self.at)
            .map_or(self.last, |(_, line)| *line)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).map(|(token, _)| token.clone());
        self.at += 1;
        token
    }

    fn fault<T>(&self, what: impl AsRef<str>) -> JinjaResult<T> {
        Err(Fault::new(what).at(self.line()))
    }

    /// Whatever is there was not expected.
    fn unexpected<T>(&self, expected: &str) -> JinjaResult<T> {
        let found = match self.peek() {
            None => "the end of the template".to_owned(),
            Some(Token::Data(_)) => "text".to_owned(),
            Some(Token::BlockBegin) => "{%".to_owned(),
            Some(Token::BlockEnd) => "%}".to_owned(),
            Some(Token::PrintBegin) => "{{".to_owned(),
            Some(Token::PrintEnd) => "}}".to_owned(),
            Some(Token::Name(name)) => format!("`{name}`"),
            Some(Token::Text(_)) => "a text".to_owned(),
            Some(Token::Int(n)) => n.to_string(),
            Some(Token::Float(n)) => n.to_string(),
            Some(Token::Operator(o)) => format!("`{o}`"),
        };
        self.fault(format!("expected {expected}, found {found}"))
    }

    fn skip(&mut self, operator: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Operator(o)) if *o == operator);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, operator: &str) -> JinjaResult<()> {
        if self.skip(operator) {
            return Ok(());
        }
        self.unexpected(&format!("`{operator}`"))
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(n)) if n == name)
    }

    fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    fn name(&mut self) -> JinjaResult<String> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => self.unexpected("a name"),
        }
    }

    /// One level deeper in what follows.
    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> JinjaResult<T>) -> JinjaResult<T> {
        if self.depth >= DEPTH {
            return self.fault(format!("nests deeper than {DEPTH} levels"));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Statements up to a block with one of these names, which is passed up to behind its name; without names, up to
    /// the end of the template.
    fn body(&mut self, ends: &[&'static str]) -> JinjaResult<(Vec<Statement>, &'static str)> {
        self.deeper(|parser| parser.statements(ends))
    }

    fn statements(&mut self, ends: &[&'static str]) -> JinjaResult<(Vec<Statement>, &'static str)> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let kind = match self.next() {
                None if ends.is_empty() => return Ok((body, "")),
                None => {
                    let ends = ends.join(" or ");
                    return self.fault(format!("a block has no {ends}"));
                }
                Some(Token::Data(text)) => StatementKind::Raw(text),
                Some(Token::PrintBegin) => {
                    let value = self.tuple()?;
                    self.end(&Token::PrintEnd, "}}")?;
                    StatementKind::Emit(value)
                }
                Some(Token::BlockBegin) => {
                    if let Some(end) = ends.iter().find(|end| self.is_name(end)) {
                        self.at += 1;
                        return Ok((body, end));
                    }
                    self.statement()?
                }
                Some(_) => {
                    self.at -= 1;
                    return self.unexpected("text or a tag");
                }
            };
            body.push(Statement { line, kind });
        }
    }

    fn end(&mut self, token: &Token, shown: &str) -> JinjaResult<()> {
        if self.peek() == Some(token) {
            self.at += 1;
            return Ok(());
        }
        self.unexpected(&format!("`{shown}`"))
    }

    fn block_end(&mut self) -> JinjaResult<()> {
        self.end(&Token::BlockEnd, "%}")
    }

    /// Statements up to one end, whose tag holds nothing else.
    fn until(&mut self, end: &'static str) -> JinjaResult<Vec<Statement>> {
        self.block_end()?;
        let (body, _) = self.body(&[end])?;
        self.block_end()?;
        Ok(body)
    }

    fn statement(&mut self) -> JinjaResult<StatementKind> {
        let name = self.name()?;
        match name.as_str() {
            "if" => self.condition(),
            "for" => self.for_loop(),
            "set" => self.set(),
            "with" => self.with(),
            "macro" => self.macro_block(),
            "call" => self.call_block(),
            "filter" => {
                let filters = self.filters_of_block()?;
                Ok(StatementKind::FilterBlock(
                    filters,
                    self.until("endfilter")?,
                ))
            }
            "generation" => Ok(StatementKind::Scope(self.until("endgeneration")?)),
            "block" => self.named_block(),
            "break" | "continue" => {
                if self.loops == 0 {
                    return self.fault(format!("`{name}` outside of a loop"));
                }
                self.block_end()?;
                Ok(if name == "break" {
                    StatementKind::Break
                } else {
                    StatementKind::Continue
                })
            }
            _ => {
                self.at -= 1;
                self.fault(format!("unknown tag `{name}`"))
            }
        }
    }

    fn condition(&mut self) -> JinjaResult<StatementKind> {
        let mut branches = Vec::new();
        loop {
            let when = self.expression()?;
            self.block_end()?;
            let (body, end) = self.body(&["elif", "else", "endif"])?;
            branches.push((when, body));
            match end {
                "elif" => {}
                "else" => {
                    let otherwise = self.until("endif")?;
                    return Ok(StatementKind::If {
                        branches,
                        otherwise,
                    });
                }
                _ => {
                    self.block_end()?;
                    return Ok(StatementKind::If {
                        branches,
                        otherwise: Vec::new(),
                    });
                }
            }
        }
    }

    fn for_loop(&mut self) -> JinjaResult<StatementKind> {
        let target = self.targets()?;
        if !self.skip_name("in") {
            return self.unexpected("`in`");
        }
        let items = self.tuple_without_condition()?;
        let only = match self.skip_name("if") {
            true => Some(self.expression()?),
            false => None,
        };
        let recursive = self.skip_name("recursive");
        self.block_end()?;
        self.loops += 1;
        let (body, end) = self.body(&["endfor", "else"])?;
        self.loops -= 1;
        let otherwise = if end == "else" {
            self.until("endfor")?
        } else {
            self.block_end()?;
            Vec::new()
        };
        Ok(StatementKind::For(Box::new(For {
            target,
            items,
            only,
            body,
            otherwise,
            recursive,
        })))
    }

    fn set(&mut self) -> JinjaResult<StatementKind> {
        let target = self.targets()?;
        if self.skip("=") {
            let value = self.tuple()?;
            self.block_end()?;
            return Ok(StatementKind::Set(target, value));
        }
        let filters = self.filters()?;
        let body = self.until("endset")?;
        Ok(StatementKind::SetBlock(target, filters, body))
    }

    fn with(&mut self) -> JinjaResult<StatementKind> {
        let mut variables = Vec::new();
        while self.peek() != Some(&Token::BlockEnd) {
            if !variables.is_empty() {
                self.expect(",")?;
            }
            let target = self.target()?;
            self.expect("=")?;
            variables.push((target, self.expression()?));
        }
        Ok(StatementKind::With(variables, self.until("endwith")?))
    }

    fn macro_block(&mut self) -> JinjaResult<StatementKind> {
        let name = self.name()?;
        let parameters = self.parameters()?;
        let body = self.macro_body("endmacro")?;
        Ok(StatementKind::Macro(Arc::new(Macro {
            name,
            parameters,
            body,
        })))
    }

    /// A loop around a macro is none of its own.
    fn macro_body(&mut self, end: &'static str) -> JinjaResult<Vec<Statement>> {
        let loops = std::mem::take(&mut self.loops);
        self.block_end()?;
        let (body, _) = self.body(&[end])?;
        self.loops = loops;
        // `{% endmacro name %}` is allowed.
        if end == "endmacro" && matches!(self.peek(), Some(Token::Name(_))) {
            self.at += 1;
        }
        self.block_end()?;
        Ok(body)
    }

    fn parameters(&mut self) -> JinjaResult<Vec<(String, Option<Expression>)>> {
        self.expect("(")?;
        let mut parameters = Vec::new();
        while !self.skip(")") {
            if !parameters.is_empty() {
                self.expect(",")?;
                if self.skip(")") {
                    break;
                }
            }
            let name = self.name()?;
            let default = match self.skip("=") {
                true => Some(self.expression()?),
                false => None,
            };
            parameters.push((name, default));
        }
        Ok(parameters)
    }

    fn call_block(&mut self) -> JinjaResult<StatementKind> {
        let has_parameters = matches!(self.peek(), Some(Token::Operator("(")));
        let parameters = if has_parameters {
            self.parameters()?
        } else {
            Vec::new()
        };
        let call = self.expression()?;
        let body = self.macro_body("endcall")?;
        let caller = Macro {
            name: "caller".to_owned(),
            parameters,
            body,
        };
        Ok(StatementKind::CallBlock(call, Arc::new(caller)))
    }

    fn named_block(&mut self) -> JinjaResult<StatementKind> {
        self.name()?;
        self.skip_name("scoped");
        self.block_end()?;
        let (body, _) = self.body(&["endblock"])?;
        if matches!(self.peek(), Some(Token::Name(_))) {
            self.at += 1;
        }
        self.block_end()?;
        Ok(StatementKind::Scope(body))
    }

    fn filters_of_block(&mut self) -> JinjaResult<Vec<Filter>> {
        let mut filters = vec![self.filter()?];
        filters.extend(self.filters()?);
        Ok(filters)
    }

    /// `| name(arguments)`, any number of them.
    fn filters(&mut self) -> JinjaResult<Vec<Filter>> {
        let mut filters = Vec::new();
        while self.skip("|") {
            filters.push(self.filter()?);
        }
        Ok(filters)
    }

    fn targets(&mut self) -> JinjaResult<Target> {
        let first = self.target()?;
        if !matches!(self.peek(), Some(Token::Operator(","))) {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.skip(",") {
            if !matches!(self.peek(), Some(Token::Name(_) | Token::Operator("("))) {
                break;
            }
            if self.is_name("in") {
                break;
            }
            all.push(self.target()?);
        }
        Ok(Target::Several(all))
    }

    fn target(&mut self) -> JinjaResult<Target> {
        if self.skip("(") {
            let inner = self.deeper(Self::targets)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let name = self.name()?;
        if matches!(
            name.as_str(),
            "true" | "false" | "none" | "True" | "False" | "None"
        ) {
            return self.fault(format!("cannot assign to `{name}`"));
        }
        if self.skip(".") {
            return Ok(Target::Attribute(name, self.name()?));
        }
        Ok(Target::Name(name))
    }
}
