//! Program in, text out.

use super::format::{
    At, CommentText, CountText, Definition, EntryText, Hint, ItemsText, LocalText, Name, ParamText,
    Quoted,
};
use crate::ir::{
    Block, FuncId, Function, Kernel, KernelId, Op, ParamId, Phase, Program, ProgramShape, Stmt,
    Table, TableId, Tap, Ty, ValueId, VarId, walk,
};
use std::fmt::{Display, Write};

/// The text of a program.
#[must_use]
pub fn print(program: &Program) -> String {
    let mut p = Printer::default();
    p.program(program);
    p.out
}

/// The text of one kernel, as in a program's.
#[must_use]
pub fn kernel_to_string(id: KernelId, kernel: &Kernel) -> String {
    let mut p = Printer::default();
    p.kernel(id, kernel);
    p.out
}

/// The text of one function, as in a program's.
#[must_use]
pub fn function_to_string(id: FuncId, function: &Function) -> String {
    let mut p = Printer::default();
    p.function(id, function);
    p.out
}

#[derive(Default)]
struct Printer {
    out: String,
    indent: usize,
}

/// What of a kernel has been printed, so that a second mention is printed differently.
struct PrintedSoFar {
    values: Vec<bool>,
    vars: Vec<bool>,
}

impl Printer {
    fn line(&mut self, text: impl Display) {
        for _ in 0..self.indent {
            self.out.push_str("  ");
        }
        // Writing to a String does not fail.
        let _ = writeln!(self.out, "{text}");
    }

    fn open(&mut self, text: impl Display) {
        self.line(format_args!("{text} {{"));
        self.indent += 1;
    }

    fn close(&mut self) {
        self.indent -= 1;
        self.line("}");
    }

    fn program(&mut self, program: &Program) {
        let s = &program.shape;
        let optional = |name: &str, n: u32, otherwise: u32| match n == otherwise {
            true => String::new(),
            false => format!(" {name} {n}"),
        };
        self.line(format_args!(
            "shape arena_bytes {} kv_bytes_per_position {}{}{} max_rows {} max_outputs {} logits {} logits_stride {} \
             weight_bytes {}",
            s.arena_bytes,
            s.kv_bytes_per_position,
            optional("ring_bytes", s.ring_bytes, 0),
            optional("rewind", s.rewind, ProgramShape::ANY),
            s.max_rows,
            s.max_outputs,
            s.logits,
            s.logits_stride,
            s.weight_bytes
        ));
        for (i, f) in program.functions.iter().enumerate() {
            self.out.push('\n');
            self.function(FuncId::from_index(i), f);
        }
        for (i, k) in program.kernels.iter().enumerate() {
            self.out.push('\n');
            self.kernel(KernelId::from_index(i), k);
        }
        for (i, t) in program.tables.iter().enumerate() {
            self.out.push('\n');
            self.table(TableId::from_index(i), t);
        }
        self.phases("body", &program.body);
        self.phases("head", &program.head);
        if !program.taps.is_empty() || !program.halves.is_empty() {
            self.out.push('\n');
        }
        for tap in &program.taps {
            self.tap(tap);
        }
        for half in &program.halves {
            self.line(format_args!(
                "half {} before {} heads {} width {}{}",
                Quoted(&half.site),
                half.before,
                half.heads,
                half.width,
                optional("ring", half.ring, 0)
            ));
        }
    }

    fn function(&mut self, id: FuncId, f: &Function) {
        self.open(format_args!("function {id} {}", Name(&f.name)));
        self.line(format_args!("doc {}", Quoted(&f.doc)));
        self.line(format_args!("params {}", f.params));
        for (i, def) in f.values.iter().enumerate() {
            self.line(Definition(ValueId::from_index(i), def));
        }
        self.line(format_args!("return {}", f.result));
        self.close();
    }

    fn kernel(&mut self, id: KernelId, k: &Kernel) {
        self.open(format_args!(
            "kernel {id} {} items {}",
            Name(&k.name),
            k.items
        ));
        self.line(format_args!("doc {}", Quoted(&k.doc)));
        for (i, param) in k.params.iter().enumerate() {
            self.line(format_args!(
                "{} = {}",
                ParamId::from_index(i),
                ParamText(param)
            ));
        }
        let mut seen = self.unplaced(k);
        self.block(k, &k.body, &mut seen);
        self.close();
    }

    /// Declares values and locals that no statement introduces, such as the item.
    fn unplaced(&mut self, k: &Kernel) -> PrintedSoFar {
        let mut placed = PrintedSoFar {
            values: vec![false; k.values.len()],
            vars: vec![false; k.vars.len()],
        };
        introduce(k, &k.body, &mut placed);
        forget_odd_indices(k, &k.body, &mut placed.values);
        for (i, def) in k.values.iter().enumerate() {
            if !placed.values[i] {
                self.line(format_args!(
                    "value {}",
                    Definition(ValueId::from_index(i), def)
                ));
            }
        }
        for (i, local) in k.vars.iter().enumerate() {
            if !placed.vars[i] {
                let local = LocalText(VarId::from_index(i), local);
                self.line(format_args!("local {local}"));
            }
        }
        // What is declared here counts as seen.
        PrintedSoFar {
            values: placed.values.iter().map(|placed| !placed).collect(),
            vars: placed.vars.iter().map(|placed| !placed).collect(),
        }
    }

    fn block(&mut self, k: &Kernel, block: &Block, seen: &mut PrintedSoFar) {
        for stmt in block {
            self.stmt(k, stmt, seen);
        }
    }

    fn stmt(&mut self, k: &Kernel, stmt: &Stmt, seen: &mut PrintedSoFar) {
        match stmt {
            Stmt::Let(v) if first(&mut seen.values, v.index()) => {
                self.line(Definition(*v, &k.values[v.index()]));
            }
            Stmt::Let(v) => self.line(format_args!("let {v}")),
            Stmt::Var(m, init) if first(&mut seen.vars, m.index()) => {
                let local = LocalText(*m, &k.vars[m.index()]);
                self.line(format_args!("var {local} = {init}"));
            }
            Stmt::Var(m, init) => self.line(format_args!("var {m} = {init}")),
            Stmt::Set(m, v) => self.line(format_args!("{m} = {v}")),
            Stmt::SetElement(m, at, v) => self.line(format_args!("{m}[{at}] = {v}")),
            Stmt::Store {
                region,
                slot,
                index,
                value,
            } => {
                self.line(format_args!(
                    "store {region}[{}] = {value}",
                    At(*slot, *index)
                ));
            }
            Stmt::For {
                index,
                start,
                end,
                body,
            } => {
                let name = index_hint(k, *index, seen);
                self.open(format_args!("for {index}{name} in {start}..{end}"));
                self.block(k, body, seen);
                self.close();
            }
            Stmt::Strips {
                first,
                size,
                end,
                count,
                body,
            } => {
                let names = [first, size].map(|index| index_hint(k, *index, seen));
                let [first_name, size_name] = names;
                let count = CountText(count);
                self.open(format_args!(
                    "strips {first}{first_name}, {size}{size_name} of {count} in 0..{end}"
                ));
                self.block(k, body, seen);
                self.close();
            }
            Stmt::Repeat { index, count, body } => {
                let name = index_hint(k, *index, seen);
                let count = CountText(count);
                self.open(format_args!("repeat {index}{name} in 0..{count}"));
                self.block(k, body, seen);
                self.close();
            }
            Stmt::Outline { name, inputs, body } => {
                let list: Vec<String> = inputs
                    .iter()
                    .map(|(inner, outer)| {
                        format!("{inner}{} = {outer}", index_hint(k, *inner, seen))
                    })
                    .collect();
                self.open(format_args!("outline {}({})", Name(name), list.join(", ")));
                self.block(k, body, seen);
                self.close();
            }
            Stmt::If {
                cond,
                then,
                otherwise,
            } => {
                self.open(format_args!("if {cond}"));
                self.block(k, then, seen);
                if !otherwise.is_empty() {
                    self.indent -= 1;
                    self.open("} else");
                    self.block(k, otherwise, seen);
                }
                self.close();
            }
            Stmt::Call {
                table,
                entry,
                begin,
                end,
            } => {
                self.line(format_args!("call {table}[{entry}] {begin}..{end}"));
            }
            Stmt::Comment(text) => self.line(CommentText(text)),
        }
    }

    fn table(&mut self, id: TableId, table: &Table) {
        self.open(format_args!("table {id} {}", Quoted(&table.doc)));
        for entry in &table.entries {
            self.line(EntryText(entry));
        }
        self.close();
    }

    fn phases(&mut self, part: &str, phases: &[Phase]) {
        if phases.is_empty() {
            return;
        }
        self.out.push('\n');
        self.open(part);
        for phase in phases {
            let items = ItemsText(phase.items);
            self.line(format_args!(
                "{} {items} {}",
                EntryText(&phase.entry),
                Quoted(&phase.doc)
            ));
        }
        self.close();
    }

    fn tap(&mut self, tap: &Tap) {
        let mut text = format!(
            "tap {} after {} modules {} top_k {} p {} fired {} gates {} domain {}",
            Quoted(&tap.site),
            tap.after,
            tap.modules,
            tap.top_k,
            tap.p,
            tap.fired,
            tap.gates,
            tap.domain
        );
        if let Some(cluster) = tap.cluster {
            let _ = write!(text, " cluster {cluster}");
        }
        self.line(text);
    }
}

/// Whether this is the first mention of a known id.
fn first(seen: &mut [bool], index: usize) -> bool {
    match seen.get_mut(index) {
        Some(seen) => !std::mem::replace(seen, true),
        None => false,
    }
}

/// The name of an index where it is first mentioned.
fn index_hint<'k>(k: &'k Kernel, index: ValueId, seen: &mut PrintedSoFar) -> Hint<'k> {
    if is_plain_index(k, index) && first(&mut seen.values, index.index()) {
        Hint(k.values[index.index()].name.as_deref())
    } else {
        Hint(None)
    }
}

/// Whether a `for` or `outline` line says all there is to know of its index.
fn is_plain_index(k: &Kernel, v: ValueId) -> bool {
    let def = k.values.get(v.index());
    def.is_some_and(|d| d.op == Op::Index && d.ty == Ty::I32)
}

/// Marks what statements introduce.
fn introduce(k: &Kernel, block: &Block, seen: &mut PrintedSoFar) {
    walk(block, &mut |stmt| match stmt {
        Stmt::Let(v) => _ = first(&mut seen.values, v.index()),
        Stmt::Var(m, _) => _ = first(&mut seen.vars, m.index()),
        stmt => {
            for index in indices(stmt).filter(|v| is_plain_index(k, *v)) {
                first(&mut seen.values, index.index());
            }
        }
    });
}

/// The indices that a statement defines.
fn indices(stmt: &Stmt) -> impl Iterator<Item = ValueId> {
    let (indices, inputs): (_, &[_]) = match stmt {
        Stmt::For { index, .. } | Stmt::Repeat { index, .. } => ([Some(*index), None], &[]),
        Stmt::Strips { first, size, .. } => ([Some(*first), Some(*size)], &[]),
        Stmt::Outline { inputs, .. } => ([None; 2], inputs),
        _ => ([None; 2], &[]),
    };
    let inputs = inputs.iter().map(|(v, _)| *v);
    indices.into_iter().flatten().chain(inputs)
}

/// Indices of loops whose definition a `for` line does not imply must be declared before.
fn forget_odd_indices(k: &Kernel, block: &Block, placed: &mut [bool]) {
    walk(block, &mut |stmt| {
        for index in indices(stmt).filter(|v| !is_plain_index(k, *v)) {
            if let Some(placed) = placed.get_mut(index.index()) {
                *placed = false;
            }
        }
    });
}
