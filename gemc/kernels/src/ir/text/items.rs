//! Parser of a program's items.

use super::lex::Kind;
use super::parse::{Parser, Result};
use crate::ir::{
    Function, Half, Items, KernelId, Phase, Program, ProgramShape, Table, TableEntry, Tap, ValueId,
};

/// A whole program: the shape, then items of any order.
pub(super) fn program(p: &mut Parser) -> Result<Program> {
    p.skip_lines();
    let mut program = Program {
        shape: p.shape()?,
        functions: Vec::new(),
        kernels: Vec::new(),
        tables: Vec::new(),
        body: Vec::new(),
        head: Vec::new(),
        taps: Vec::new(),
        halves: Vec::new(),
    };
    loop {
        p.skip_lines();
        if *p.peek() == Kind::End {
            return Ok(program);
        }
        p.item(&mut program)?;
        p.end_line()?;
    }
}

impl Parser {
    fn shape(&mut self) -> Result<ProgramShape> {
        self.keyword("shape")?;
        let shape = ProgramShape {
            arena_bytes: self.field("arena_bytes")?,
            kv_bytes_per_position: self.field("kv_bytes_per_position")?,
            ring_bytes: self.optional("ring_bytes", 0)?,
            rewind: self.optional("rewind", ProgramShape::ANY)?,
            max_rows: self.field("max_rows")?,
            max_outputs: self.field("max_outputs")?,
            logits: self.field("logits")?,
            logits_stride: self.field("logits_stride")?,
            weight_bytes: {
                self.keyword("weight_bytes")?;
                self.integer("a number of 64 bits")?
            },
        };
        self.end_line()?;
        Ok(shape)
    }

    /// A field that is written where it is not `otherwise`.
    fn optional(&mut self, name: &str, otherwise: u32) -> Result<u32> {
        match self.at_word(name) {
            true => self.field(name),
            false => Ok(otherwise),
        }
    }

    fn field(&mut self, name: &str) -> Result<u32> {
        self.keyword(name)?;
        self.u32()
    }

    fn item(&mut self, program: &mut Program) -> Result<()> {
        if self.eat_word("function") {
            self.next_id("f", program.functions.len())?;
            program.functions.push(self.function()?);
        } else if self.eat_word("kernel") {
            self.next_id("k", program.kernels.len())?;
            program.kernels.push(self.kernel()?);
        } else if self.eat_word("table") {
            self.next_id("tab", program.tables.len())?;
            program.tables.push(self.table()?);
        } else if self.at_word("body") && program.body.is_empty() {
            self.keyword("body")?;
            program.body = self.lines(Self::phase)?;
        } else if self.at_word("head") && program.head.is_empty() {
            self.keyword("head")?;
            program.head = self.lines(Self::phase)?;
        } else if self.eat_word("tap") {
            program.taps.push(self.tap()?);
        } else if self.eat_word("half") {
            program.halves.push(self.half()?);
        } else {
            return self
                .fail("function, kernel, table, body, head (each of these two once), tap or half");
        }
        Ok(())
    }

    fn function(&mut self) -> Result<Function> {
        let name = self.name()?;
        self.mark("{")?;
        self.end_line()?;
        self.skip_lines();
        let doc = self.doc()?;
        self.skip_lines();
        let params = self.field("params")?;
        self.end_line()?;
        let mut values = Vec::new();
        self.skip_lines();
        while !self.eat_word("return") {
            self.next_id("v", values.len())?;
            values.push(self.definition()?);
            self.end_line()?;
            self.skip_lines();
        }
        let result = ValueId(self.id("v")?);
        self.end_line()?;
        self.skip_lines();
        self.mark("}")?;
        Ok(Function {
            name,
            doc,
            params,
            values,
            result,
        })
    }

    /// `{`, one item a line, `}`.
    fn lines<T>(&mut self, item: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.mark("{")?;
        self.end_line()?;
        let mut items = Vec::new();
        loop {
            self.skip_lines();
            if self.eat("}") {
                return Ok(items);
            }
            items.push(item(self)?);
            self.end_line()?;
        }
    }

    fn table(&mut self) -> Result<Table> {
        let doc = self.text()?;
        let entries = self.lines(Self::entry)?;
        Ok(Table { doc, entries })
    }

    fn entry(&mut self) -> Result<TableEntry> {
        let kernel = KernelId(self.id("k")?);
        self.mark("(")?;
        let mut args = Vec::new();
        while !self.eat(")") {
            if !args.is_empty() {
                self.mark(",")?;
            }
            args.push(self.u32()?);
        }
        Ok(TableEntry { kernel, args })
    }

    fn phase(&mut self) -> Result<Phase> {
        let entry = self.entry()?;
        let items = self.items()?;
        let doc = self.text()?;
        Ok(Phase { entry, items, doc })
    }

    fn items(&mut self) -> Result<Items> {
        if self.eat_word("fixed") {
            Ok(Items::Fixed(self.u32()?))
        } else if self.eat_word("per_row") {
            Ok(Items::PerRow(self.u32()?))
        } else if self.eat_word("per_output") {
            Ok(Items::PerOutput(self.u32()?))
        } else if self.eat_word("loaded") {
            let offset = self.u32()?;
            let max = self.field("max")?;
            Ok(Items::Loaded { offset, max })
        } else {
            self.fail("fixed, per_row, per_output or loaded")
        }
    }

    fn half(&mut self) -> Result<Half> {
        Ok(Half {
            site: self.text()?,
            before: self.field("before")?,
            heads: self.field("heads")?,
            width: self.field("width")?,
            ring: self.optional("ring", 0)?,
        })
    }

    fn tap(&mut self) -> Result<Tap> {
        Ok(Tap {
            site: self.text()?,
            after: self.field("after")?,
            modules: self.field("modules")?,
            top_k: self.field("top_k")?,
            p: self.field("p")?,
            fired: self.field("fired")?,
            gates: self.field("gates")?,
            domain: self.field("domain")?,
            cluster: if self.at_word("cluster") {
                Some(self.field("cluster")?)
            } else {
                None
            },
        })
    }
}
