//! What a template consists of.

use std::sync::Arc;

/// A statement with its line.
#[derive(Debug)]
pub(super) struct Statement {
    pub line: u32,
    pub kind: StatementKind,
}

/// What a statement does.
#[derive(Debug)]
pub(super) enum StatementKind {
    /// Text as it is.
    Raw(String),
    /// `{{ … }}`.
    Emit(Expression),
    If {
        branches: Vec<(Expression, Vec<Statement>)>,
        otherwise: Vec<Statement>,
    },
    For(Box<For>),
    Set(Target, Expression),
    /// `{% set x | filters %}…{% endset %}`.
    SetBlock(Target, Vec<Filter>, Vec<Statement>),
    With(Vec<(Target, Expression)>, Vec<Statement>),
    /// A block that only limits what is set in it.
    Scope(Vec<Statement>),
    FilterBlock(Vec<Filter>, Vec<Statement>),
    Macro(Arc<Macro>),
    /// `{% call(a) macro(b) %}…{% endcall %}`: the call and the macro that its `caller` is.
    CallBlock(Expression, Arc<Macro>),
    Break,
    Continue,
}

/// `{% for target in iterable if filter %} body {% else %} otherwise {% endfor %}`.
#[derive(Debug)]
pub(super) struct For {
    pub target: Target,
    pub items: Expression,
    pub only: Option<Expression>,
    pub body: Vec<Statement>,
    pub otherwise: Vec<Statement>,
    pub recursive: bool,
}

/// `{% macro name(parameters) %} body {% endmacro %}`.
#[derive(Debug)]
pub(super) struct Macro {
    pub name: String,
    pub parameters: Vec<(String, Option<Expression>)>,
    pub body: Vec<Statement>,
}

/// A filter with its arguments.
#[derive(Debug)]
pub(super) struct Filter {
    pub name: String,
    pub arguments: Vec<Argument>,
}

/// What is assigned to.
#[derive(Debug)]
pub(super) enum Target {
    Name(String),
    /// An attribute of a namespace.
    Attribute(String, String),
    Several(Vec<Target>),
}

/// An expression with its line, and how many levels of expressions it has.
#[derive(Debug)]
pub(super) struct Expression {
    pub line: u32,
    pub depth: u32,
    pub kind: ExpressionKind,
}

/// What an expression is.
#[derive(Debug)]
pub(super) enum ExpressionKind {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Name(String),
    List(Vec<Expression>),
    Tuple(Vec<Expression>),
    Dict(Vec<(Expression, Expression)>),
    Attribute(Box<Expression>, String),
    Item(Box<Expression>, Box<Expression>),
    /// `value[begin:end:step]`.
    Slice(Box<Expression>, [Option<Box<Expression>>; 3]),
    Call(Box<Expression>, Vec<Argument>),
    Filter(Box<Expression>, Filter),
    Test {
        value: Box<Expression>,
        name: String,
        arguments: Vec<Argument>,
        negated: bool,
    },
    Negative(Box<Expression>),
    Positive(Box<Expression>),
    Not(Box<Expression>),
    Binary(Binary, Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    /// Comparisons that must all hold.
    Compare(Box<Expression>, Vec<(Comparison, Expression)>),
    /// Texts of all of them, joined.
    Concat(Vec<Expression>),
    Condition {
        when: Box<Expression>,
        then: Box<Expression>,
        otherwise: Option<Box<Expression>>,
    },
}

/// An argument of a call.
#[derive(Debug)]
pub(super) enum Argument {
    Positional(Expression),
    Named(String, Expression),
    Star(Expression),
    DoubleStar(Expression),
}

/// Arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
}

impl Binary {
    /// As it is written.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::FloorDivide => "//",
            Self::Remainder => "%",
            Self::Power => "**",
        }
    }
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

impl ExpressionKind {
    /// Levels of an expression of this kind.
    pub fn depth(&self) -> u32 {
        1 + self
            .parts()
            .iter()
            .map(|part| part.depth)
            .max()
            .unwrap_or(0)
    }

    /// What it is made of.
    fn parts(&self) -> Vec<&Expression> {
        match self {
            Self::None
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::Name(_) => Vec::new(),
            Self::List(items) | Self::Tuple(items) | Self::Concat(items) => items.iter().collect(),
            Self::Dict(pairs) => pairs.iter().flat_map(|(key, value)| [key, value]).collect(),
            Self::Attribute(value, _)
            | Self::Negative(value)
            | Self::Positive(value)
            | Self::Not(value) => vec![value],
            Self::Item(a, b) | Self::Binary(_, a, b) | Self::And(a, b) | Self::Or(a, b) => {
                vec![a, b]
            }
            Self::Slice(value, bounds) => {
                let bounds = bounds.iter().flatten().map(|bound| &**bound);
                bounds.chain([&**value]).collect()
            }
            Self::Call(value, arguments) => with_arguments(value, arguments),
            Self::Filter(value, filter) => with_arguments(value, &filter.arguments),
            Self::Test {
                value, arguments, ..
            } => with_arguments(value, arguments),
            Self::Compare(first, others) => {
                let others = others.iter().map(|(_, other)| other);
                others.chain([&**first]).collect()
            }
            Self::Condition {
                when,
                then,
                otherwise,
            } => {
                let otherwise = otherwise.iter().map(|other| &**other);
                otherwise.chain([&**when, &**then]).collect()
            }
        }
    }
}

fn with_arguments<'e>(value: &'e Expression, arguments: &'e [Argument]) -> Vec<&'e Expression> {
    let arguments = arguments.iter().map(|argument| match argument {
        Argument::Positional(value)
        | Argument::Named(_, value)
        | Argument::Star(value)
        | Argument::DoubleStar(value) => value,
    });
    arguments.chain([value]).collect()
}
