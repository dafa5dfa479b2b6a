//! Parser of kernels' lines: parameters, definitions and statements.

use super::lex::Kind;
use super::parse::{Parser, Result};
use crate::ir::{
    Block, Count, Elem, Extent, Kernel, Local, Op, Param, ParamId, Space, Stmt, Ty, ValueDef,
    ValueId, VarId,
};
use std::collections::BTreeMap;

/// Blocks in blocks at most; the verifier allows fewer.
const MAX_DEPTH: usize = 64;
const STATEMENT: &str = "a definition such as `v1: i32 = ...`, `m0 = v1`, var, store, for, repeat, strips, if, call, let, a comment or `}`";

/// Definitions of a kernel so far. Ids may come in any order, and must be complete in the end.
#[derive(Default)]
struct Definitions {
    params: Vec<Param>,
    values: BTreeMap<u32, ValueDef>,
    vars: BTreeMap<u32, Local>,
}

impl Parser {
    /// A kernel, after its id.
    pub(super) fn kernel(&mut self) -> Result<Kernel> {
        let name = self.name()?;
        self.keyword("items")?;
        let items = self.u32()?;
        self.mark("{")?;
        self.end_line()?;
        self.skip_lines();
        let doc = self.doc()?;
        let mut defs = Definitions::default();
        let body = self.block(&mut defs, 1)?;
        Ok(Kernel {
            name,
            doc,
            params: defs.params,
            items,
            values: self.complete("v", defs.values)?,
            vars: self.complete("m", defs.vars)?,
            body,
        })
    }

    /// All definitions of a kind, if their ids leave no gap.
    fn complete<T>(&self, prefix: &str, defs: BTreeMap<u32, T>) -> Result<Vec<T>> {
        let gap = defs.keys().zip(0..).find(|(id, n)| *id != n);
        match gap {
            None => Ok(defs.into_values().collect()),
            Some((_, n)) => self.fail(format!(
                "a definition of {prefix}{n} before, as ids leave no gap"
            )),
        }
    }

    pub(super) fn doc(&mut self) -> Result<String> {
        self.keyword("doc")?;
        let doc = self.text()?;
        self.end_line()?;
        Ok(doc)
    }

    /// Statements up to and with `}`, which ends its line unless `else` follows.
    fn block(&mut self, defs: &mut Definitions, depth: usize) -> Result<Block> {
        if depth > MAX_DEPTH {
            return self.fail(format!("blocks at most {MAX_DEPTH} deep"));
        }
        let mut block = Block::new();
        loop {
            self.skip_lines();
            if self.eat("}") {
                return Ok(block);
            }
            if let Some(stmt) = self.line(defs, depth)? {
                block.push(stmt);
            }
            self.end_line()?;
        }
    }

    /// One line; declarations are no statements.
    fn line(&mut self, defs: &mut Definitions, depth: usize) -> Result<Option<Stmt>> {
        if let Some(text) = self.comment() {
            return Ok(Some(Stmt::Comment(text)));
        }
        if self.at_id("v").is_some() {
            return self.new_value(defs).map(|v| Some(Stmt::Let(v)));
        }
        if self.at_id("m").is_some() {
            let m = VarId(self.id("m")?);
            let at = self.element()?;
            self.mark("=")?;
            let value = self.value()?;
            return Ok(Some(match at {
                Some(at) => Stmt::SetElement(m, at, value),
                None => Stmt::Set(m, value),
            }));
        }
        if self.at_id("p").is_some() {
            self.next_id("p", defs.params.len())?;
            self.mark("=")?;
            let param = self.param()?;
            defs.params.push(param);
            return Ok(None);
        }
        if self.eat_word("value") {
            self.new_value(defs)?;
            return Ok(None);
        }
        if self.eat_word("local") {
            self.var(defs)?;
            return Ok(None);
        }
        self.statement(defs, depth).map(Some)
    }

    fn statement(&mut self, defs: &mut Definitions, depth: usize) -> Result<Stmt> {
        if self.eat_word("let") {
            Ok(Stmt::Let(self.value()?))
        } else if self.eat_word("var") {
            let m = self.var(defs)?;
            self.mark("=")?;
            Ok(Stmt::Var(m, self.value()?))
        } else if self.eat_word("store") {
            let (region, slot, index) = self.place()?;
            self.mark("=")?;
            let value = self.value()?;
            Ok(Stmt::Store {
                region,
                slot,
                index,
                value,
            })
        } else if self.eat_word("for") {
            self.for_loop(defs, depth)
        } else if self.eat_word("repeat") {
            self.repeat(defs, depth)
        } else if self.eat_word("strips") {
            self.strips(defs, depth)
        } else if self.eat_word("outline") {
            self.outline(defs, depth)
        } else if self.eat_word("if") {
            self.branch(defs, depth)
        } else if self.eat_word("call") {
            let table = ParamId(self.id("p")?);
            self.mark("[")?;
            let entry = self.value()?;
            self.mark("]")?;
            let begin = self.value()?;
            self.mark("..")?;
            let end = self.value()?;
            Ok(Stmt::Call {
                table,
                entry,
                begin,
                end,
            })
        } else {
            self.fail(STATEMENT)
        }
    }

    /// A definition; each value has one.
    fn new_value(&mut self, defs: &mut Definitions) -> Result<ValueId> {
        if let Some(n) = self.at_id("v").filter(|n| defs.values.contains_key(n)) {
            return self.fail(format!("another id; v{n} is defined before"));
        }
        let v = self.value()?;
        let def = self.definition()?;
        defs.values.insert(v.0, def);
        Ok(v)
    }

    /// `m0 name: type`, or `m0` alone if it is known.
    fn var(&mut self, defs: &mut Definitions) -> Result<VarId> {
        let m = VarId(self.id("m")?);
        if self.at_mark("=") {
            return Ok(m);
        }
        let name = self.hint(":")?;
        self.mark(":")?;
        let ty = self.ty()?;
        let count = if self.eat("[") {
            let count = self.count()?;
            self.mark("]")?;
            Some(count)
        } else {
            None
        };
        if defs.vars.insert(m.0, Local { ty, count, name }).is_some() {
            return self.fail(format!("another id before; {m} is defined twice"));
        }
        Ok(m)
    }

    /// `v0 name` or `v0`, an index unless it is known as something else; `unnamed`: whether no name follows.
    fn index(
        &mut self,
        defs: &mut Definitions,
        unnamed: impl Fn(&Self) -> bool,
    ) -> Result<ValueId> {
        let index = self.value()?;
        let name = if unnamed(self) {
            None
        } else {
            Some(self.name()?)
        };
        defs.values.entry(index.0).or_insert(ValueDef {
            op: Op::Index,
            ty: Ty::I32,
            name,
        });
        Ok(index)
    }

    fn outline(&mut self, defs: &mut Definitions, depth: usize) -> Result<Stmt> {
        let name = self.name()?;
        self.mark("(")?;
        let mut inputs = Vec::new();
        while !self.eat(")") {
            if !inputs.is_empty() {
                self.mark(",")?;
            }
            let inner = self.index(defs, |p| p.at_mark("="))?;
            self.mark("=")?;
            inputs.push((inner, self.value()?));
        }
        self.mark("{")?;
        self.end_line()?;
        let body = self.block(defs, depth + 1)?;
        Ok(Stmt::Outline { name, inputs, body })
    }

    fn for_loop(&mut self, defs: &mut Definitions, depth: usize) -> Result<Stmt> {
        let index = self.index(defs, |p| p.at_word("in"))?;
        self.keyword("in")?;
        let start = self.value()?;
        self.mark("..")?;
        let end = self.value()?;
        self.mark("{")?;
        self.end_line()?;
        let body = self.block(defs, depth + 1)?;
        Ok(Stmt::For {
            index,
            start,
            end,
            body,
        })
    }

    /// `[v0]`, if it stands here.
    pub(super) fn element(&mut self) -> Result<Option<ValueId>> {
        if !self.eat("[") {
            return Ok(None);
        }
        let at = self.value()?;
        self.mark("]")?;
        Ok(Some(at))
    }

    /// `8` or `rows=8`.
    fn count(&mut self) -> Result<Count> {
        let name = match self.peek() {
            Kind::Number(_) => None,
            _ => Some(self.name()?),
        };
        if name.is_some() {
            self.mark("=")?;
        }
        Ok(Count {
            n: self.u32()?,
            name,
        })
    }

    fn repeat(&mut self, defs: &mut Definitions, depth: usize) -> Result<Stmt> {
        let index = self.index(defs, |p| p.at_word("in"))?;
        self.keyword("in")?;
        self.zero()?;
        self.mark("..")?;
        let count = self.count()?;
        self.mark("{")?;
        self.end_line()?;
        let body = self.block(defs, depth + 1)?;
        Ok(Stmt::Repeat { index, count, body })
    }

    fn strips(&mut self, defs: &mut Definitions, depth: usize) -> Result<Stmt> {
        let first = self.index(defs, |p| p.at_mark(","))?;
        self.mark(",")?;
        let size = self.index(defs, |p| p.at_word("of"))?;
        self.keyword("of")?;
        let count = self.count()?;
        self.keyword("in")?;
        self.zero()?;
        self.mark("..")?;
        let end = self.value()?;
        self.mark("{")?;
        self.end_line()?;
        let body = self.block(defs, depth + 1)?;
        Ok(Stmt::Strips {
            first,
            size,
            end,
            count,
            body,
        })
    }

    /// Where repetitions and strips begin.
    fn zero(&mut self) -> Result<()> {
        if *self.peek() != Kind::Number("0".to_owned()) {
            return self.fail("`0`, where every repetition starts");
        }
        self.u32().map(|_| ())
    }

    fn branch(&mut self, defs: &mut Definitions, depth: usize) -> Result<Stmt> {
        let cond = self.value()?;
        self.mark("{")?;
        self.end_line()?;
        let then = self.block(defs, depth + 1)?;
        let otherwise = if self.eat_word("else") {
            self.mark("{")?;
            self.end_line()?;
            self.block(defs, depth + 1)?
        } else {
            Block::new()
        };
        Ok(Stmt::If {
            cond,
            then,
            otherwise,
        })
    }

    fn param(&mut self) -> Result<Param> {
        if self.eat_word("region") {
            let name = self.name()?;
            let space = self.choice(&Space::ALL, Space::name)?;
            let elem = self.choice(&Elem::ALL, Elem::name)?;
            self.keyword("len")?;
            let len = self.extent()?;
            let mutable = self.eat_word("mut");
            Ok(Param::Region {
                name,
                space,
                elem,
                len,
                mutable,
            })
        } else if self.eat_word("scalar") {
            let name = self.name()?;
            self.keyword("max")?;
            let max = self.u32()?;
            Ok(Param::Scalar { name, max })
        } else if self.eat_word("table") {
            let name = self.name()?;
            self.keyword("len")?;
            let len = self.u32()?;
            Ok(Param::Table { name, len })
        } else {
            self.fail("region, scalar or table")
        }
    }

    /// `N`, `N*context` or `N*context + M`.
    fn extent(&mut self) -> Result<Extent> {
        let n = self.integer("a number of 64 bits")?;
        if !self.eat("*") {
            return Ok(Extent::fixed(n));
        }
        self.keyword("context")?;
        let fixed = if self.eat("+") {
            self.integer("a number of 64 bits")?
        } else {
            0
        };
        Ok(Extent {
            per_context: n,
            fixed,
        })
    }
}
