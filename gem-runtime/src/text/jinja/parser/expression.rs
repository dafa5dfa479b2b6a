//! Expressions, by Jinja's own precedence: condition, or, and, not, comparison, sum, `~`, product, power, sign, filter.

use super::super::ast::{Argument, Binary, Comparison, Expression, ExpressionKind as Kind, Filter};
use super::super::lexer::Token;
use super::super::{Fault, JinjaResult};
use super::Parser;

/// Levels of an expression at most; `a + b + c` has three.
const LEVELS: u32 = 120;

impl Parser {
    /// A node; one that nests too deeply is refused, since trees are walked and dropped by recursion.
    fn node(line: u32, kind: Kind) -> JinjaResult<Expression> {
        let depth = kind.depth();
        if depth > LEVELS {
            let what = format!("an expression has more than {LEVELS} levels");
            return Err(Fault::new(what).at(line));
        }
        Ok(Expression { line, depth, kind })
    }

    /// An expression, with `… if … else …`.
    pub(super) fn expression(&mut self) -> JinjaResult<Expression> {
        self.deeper(|parser| {
            let line = parser.line();
            let mut value = parser.or()?;
            while parser.skip_name("if") {
                let when = Box::new(parser.or()?);
                let otherwise = match parser.skip_name("else") {
                    true => Some(Box::new(parser.expression()?)),
                    false => None,
                };
                let then = Box::new(value);
                value = Self::node(
                    line,
                    Kind::Condition {
                        when,
                        then,
                        otherwise,
                    },
                )?;
            }
            Ok(value)
        })
    }

    /// An expression, or several with commas between.
    pub(super) fn tuple(&mut self) -> JinjaResult<Expression> {
        self.tuple_of(Self::expression)
    }

    /// The same without `… if …` at the outermost level, as after `in`.
    pub(super) fn tuple_without_condition(&mut self) -> JinjaResult<Expression> {
        self.tuple_of(Self::or)
    }

    fn tuple_of(
        &mut self,
        item: fn(&mut Self) -> JinjaResult<Expression>,
    ) -> JinjaResult<Expression> {
        let line = self.line();
        let first = item(self)?;
        if !matches!(self.peek(), Some(Token::Operator(","))) {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip(",") {
            if self.tuple_ends() {
                break;
            }
            items.push(item(self)?);
        }
        Self::node(line, Kind::Tuple(items))
    }

    fn tuple_ends(&self) -> bool {
        matches!(
            self.peek(),
            None | Some(Token::BlockEnd | Token::PrintEnd | Token::Operator(")" | "="))
        ) || self.is_name("if")
            || self.is_name("recursive")
    }

    fn or(&mut self) -> JinjaResult<Expression> {
        let line = self.line();
        let mut left = self.and()?;
        while self.skip_name("or") {
            let right = self.and()?;
            left = Self::node(line, Kind::Or(Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn and(&mut self) -> JinjaResult<Expression> {
        let line = self.line();
        let mut left = self.not()?;
        while self.skip_name("and") {
            let right = self.not()?;
            left = Self::node(line, Kind::And(Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn not(&mut self) -> JinjaResult<Expression> {
        let line = self.line();
        if self.skip_name("not") {
            let value = self.deeper(Self::not)?;
            return Self::node(line, Kind::Not(Box::new(value)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> JinjaResult<Expression> {
        let line = self.line();
        let first = self.sum()?;
        let mut others = Vec::new();
        while let Some(comparison) = self.comparison_operator() {
            others.push((comparison, self.sum()?));
        }
        if others.is_empty() {
            return Ok(first);
        }
        Self::node(line, Kind::Compare(Box::new(first), others))
    }

    fn comparison_operator(&mut self) -> Option<Comparison> {
        const OPERATORS: [(&str, Comparison); 6] = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        if self.skip_name("in") {
            return Some(Comparison::In);
        }
        let not_in = self.is_name("not")
            && matches!(self.peek_at(1), Some(Token::Name(name)) if name == "in");
        if not_in {
            self.at += 2;
            return Some(Comparison::NotIn);
        }
        let found = OPERATORS.iter().find(|(symbol, _)| self.skip(symbol));
        found.map(|(_, comparison)| *comparison)
    }

    fn sum(&mut self) -> JinjaResult<Expression> {
        self.binary(Self::concat, &[Binary::Add, Binary::Subtract])
    }

    fn concat(&mut self) -> JinjaResult<Expression> {
        let line = self.line();
        let first = self.product()?;
        if !matches!(self.peek(), Some(Token::Operator("~"))) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip("~") {
            parts.push(self.product()?);
        }
        Self::node(line, Kind::Concat(parts))
    }

    fn product(&mut self) -> JinjaResult<Expression> {
        let operators = [
            Binary::Multiply,
            Binary::Divide,
            Binary::FloorDivide,
            Binary::Remainder,
        ];
        self.binary(Self::power, &operators)
    }

    fn power(&mut self) -> JinjaResult<Expression> {
        self.binary(Self::signed_with_filters, &[Binary::Power])
    }

    /// Operands between operators of one precedence, from the left.
    fn binary(
        &mut self,
        operand: fn(&mut Self) -> JinjaResult<Expression>,
        operators: &[Binary],
    ) -> JinjaResult<Expression> {
        let line = self.line();
        let mut left = operand(self)?;
        while let Some(operator) = operators.iter().find(|o| self.skip(o.symbol())) {
            let right = operand(self)?;
            left = Self::node(
                line,
                Kind::Binary(*operator, Box::new(left), Box::new(right)),
            )?;
        }
        Ok(left)
    }

    fn signed_with_filters(&mut self) -> JinjaResult<Expression> {
        let value = self.signed()?;
        self.filtered(value)
    }

    /// A value with sign, attributes, items and calls.
    fn signed(&mut self) -> JinjaResult<Expression> {
        let line = self.line();
        let value = if self.skip("-") {
            let value = self.deeper(Self::signed)?;
            Self::node(line, Kind::Negative(Box::new(value)))?
        } else if self.skip("+") {
            let value = self.deeper(Self::signed)?;
            Self::node(line, Kind::Positive(Box::new(value)))?
        } else {
            self.primary()?
        };
        self.postfix(value)
    }

    fn primary(&mut self) -> JinjaResult<Expression> {
        let line = self.line();
        let kind = match self.next() {
            Some(Token::Name(name)) => match name.as_str() {
                "true" | "True" => Kind::Bool(true),
                "false" | "False" => Kind::Bool(false),
                "none" | "None" => Kind::None,
                _ => Kind::Name(name),
            },
            Some(Token::Text(mut text)) => {
                while let Some(Token::Text(more)) = self.peek() {
                    text.push_str(more);
                    self.at += 1;
                }
                Kind::Text(text.into())
            }
            Some(Token::Int(n)) => Kind::Int(n),
            Some(Token::Float(n)) => Kind::Float(n),
            Some(Token::Operator("(")) => return self.parenthesised(),
            Some(Token::Operator("[")) => Kind::List(self.items("]")?),
            Some(Token::Operator("{")) => Kind::Dict(self.pairs()?),
            _ => {
                self.at -= 1;
                return self.unexpected("a value");
            }
        };
        Self::node(line, kind)
    }

    fn parenthesised(&mut self) -> JinjaResult<Expression> {
        let line = self.line();
        if self.skip(")") {
            return Self::node(line, Kind::Tuple(Vec::new()));
        }
        let inner = self.tuple()?;
        self.expect(")")?;
        Ok(inner)
    }

    fn items(&mut self, end: &str) -> JinjaResult<Vec<Expression>> {
        let mut items = Vec::new();
        while !self.skip(end) {
            if !items.is_empty() {
                self.expect(",")?;
                if self.skip(end) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    fn pairs(&mut self) -> JinjaResult<Vec<(Expression, Expression)>> {
        let mut pairs = Vec::new();
        while !self.skip("}") {
            if !pairs.is_empty() {
                self.expect(",")?;
                if self.skip("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect(":")?;
            pairs.push((key, self.expression()?));
        }
        Ok(pairs)
    }

    fn postfix(&mut self, mut value: Expression) -> JinjaResult<Expression> {
        loop {
            let line = self.line();
            let kind = if self.skip(".") {
                match self.next() {
                    Some(Token::Name(name)) => Kind::Attribute(Box::new(value), name),
                    Some(Token::Int(n)) => {
                        let index = Self::node(line, Kind::Int(n))?;
                        Kind::Item(Box::new(value), Box::new(index))
                    }
                    _ => {
                        self.at -= 1;
                        return self.unexpected("a name");
                    }
                }
            } else if self.skip("[") {
                self.subscript(value)?
            } else if self.skip("(") {
                Kind::Call(Box::new(value), self.arguments()?)
            } else {
                return Ok(value);
            };
            value = Self::node(line, kind)?;
        }
    }

    fn subscript(&mut self, value: Expression) -> JinjaResult<Kind> {
        let value = Box::new(value);
        let begin = match self.peek() {
            Some(Token::Operator(":")) => None,
            _ => Some(Box::new(self.tuple()?)),
        };
        if self.skip("]") {
            return match begin {
                Some(index) => Ok(Kind::Item(value, index)),
                None => self.unexpected("a value"),
            };
        }
        let mut parts = [begin, None, None];
        for part in &mut parts[1..] {
            if !self.skip(":") {
                break;
            }
            if !matches!(self.peek(), Some(Token::Operator(":" | "]"))) {
                *part = Some(Box::new(self.expression()?));
            }
        }
        self.expect("]")?;
        Ok(Kind::Slice(value, parts))
    }

    fn arguments(&mut self) -> JinjaResult<Vec<Argument>> {
        let mut arguments = Vec::new();
        while !self.skip(")") {
            if !arguments.is_empty() {
                self.expect(",")?;
                if self.skip(")") {
                    break;
                }
            }
            arguments.push(self.argument()?);
        }
        Ok(arguments)
    }

    fn argument(&mut self) -> JinjaResult<Argument> {
        if self.skip("**") {
            return Ok(Argument::DoubleStar(self.expression()?));
        }
        if self.skip("*") {
            return Ok(Argument::Star(self.expression()?));
        }
        if let Some(Token::Name(name)) = self.peek()
            && matches!(self.peek_at(1), Some(Token::Operator("=")))
        {
            let name = name.clone();
            self.at += 2;
            return Ok(Argument::Named(name, self.expression()?));
        }
        Ok(Argument::Positional(self.expression()?))
    }

    /// Filters, tests and calls of what they give.
    fn filtered(&mut self, mut value: Expression) -> JinjaResult<Expression> {
        loop {
            let line = self.line();
            let kind = if self.skip("|") {
                Kind::Filter(Box::new(value), self.filter()?)
            } else if self.skip_name("is") {
                self.test(value)?
            } else if self.skip("(") {
                Kind::Call(Box::new(value), self.arguments()?)
            } else {
                return Ok(value);
            };
            value = Self::node(line, kind)?;
        }
    }

    /// The name of a filter and its arguments.
    pub(super) fn filter(&mut self) -> JinjaResult<Filter> {
        let name = self.name()?;
        let arguments = match self.skip("(") {
            true => self.arguments()?,
            false => Vec::new(),
        };
        Ok(Filter { name, arguments })
    }

    fn test(&mut self, value: Expression) -> JinjaResult<Kind> {
        let negated = self.skip_name("not");
        let name = self.name()?;
        let arguments = if self.skip("(") {
            self.arguments()?
        } else if self.begins_argument() {
            let argument = self.primary()?;
            vec![Argument::Positional(self.postfix(argument)?)]
        } else {
            Vec::new()
        };
        Ok(Kind::Test {
            value: Box::new(value),
            name,
            arguments,
            negated,
        })
    }

    /// Whether an argument without parentheses follows the name of a test.
    fn begins_argument(&self) -> bool {
        match self.peek() {
            Some(Token::Name(name)) => !matches!(
                name.as_str(),
                "else" | "or" | "and" | "is" | "if" | "in" | "not" | "recursive"
            ),
            Some(Token::Text(_) | Token::Int(_) | Token::Float(_)) => true,
            Some(Token::Operator(o)) => matches!(*o, "[" | "{"),
            _ => false,
        }
    }
}
