//! Kernels without repetitions and arrays: what [`Stmt::Repeat`] and elements of locals mean. The verifier proves, and
//! the interpreter and Cranelift execute, what is made here.
//!
//! Every repetition is written out, its index a literal, which folding carries on, and strips become two loops; each element of an array becomes a local
//! of its own; and in a stretch without branches a local is no more than a name for the value it was assigned. So `m0[v5]` is no access that could go wrong: an index that is no literal below the count is refused.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use super::build::Values;
use super::{Block, Count, Kernel, Local, Op, Stmt, Ty, ValueId, VarId};

/// Statements of a kernel at most, repetitions written out.
pub const MAX_STATEMENTS: usize = 1 << 20;

/// Why what executes kernels meets no repetition and no element.
pub const EXPANDED: &str = "a verified kernel is executed as it was written out";

/// A kernel written out.
#[derive(Clone, Debug)]
pub struct ExpandedKernel {
    /// The same computation.
    pub kernel: Kernel,
    /// For each of its values, the one it was made from.
    pub origins: Vec<ValueId>,
    /// Values of the original, each with what it became, in every turn of a repetition.
    pub made: Vec<(ValueId, ValueId)>,
}

/// What cannot be written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// An element is named by something else than a literal below its local's count.
    #[error(
        "an element of {0} is named by {1}, which is no index of a `repeat` and no literal below its count"
    )]
    Element(VarId, ValueId),
    /// Too long.
    #[error("has more than {MAX_STATEMENTS} statements once repetitions are written out")]
    Size,
}

/// Writes out a kernel whose structure is sound (types, scopes, ids).
///
/// # Errors
/// See [`ExpandError`].
pub fn expand(kernel: &Kernel) -> Result<ExpandedKernel, ExpandError> {
    let mut writer = Writer::new(kernel);
    let mut body = Block::new();
    writer.block(&kernel.body, &mut body)?;
    let read = writer.read;
    drop_unread(&mut body, &|m| !read.contains(&m));
    Ok(ExpandedKernel {
        kernel: Kernel {
            name: kernel.name.clone(),
            doc: kernel.doc.clone(),
            params: kernel.params.clone(),
            items: kernel.items,
            values: writer.values.defs,
            vars: writer.vars,
            body,
        },
        origins: writer.origins,
        made: writer.made,
    })
}

/// Whether a kernel holds a repetition or an array.
#[must_use]
pub fn is_expanded(kernel: &Kernel) -> bool {
    let mut plain = kernel.vars.iter().all(|local| local.count.is_none());
    super::walk(&kernel.body, &mut |stmt| {
        plain &= !matches!(stmt, Stmt::Repeat { .. } | Stmt::Strips { .. });
    });
    plain
}

struct Writer<'a> {
    of: &'a Kernel,
    values: Values,
    vars: Vec<Local>,
    /// First of a local's, and how many they are.
    places: Vec<(VarId, u32)>,
    /// Of strips around: how many numbers theirs has.
    sizes: HashMap<String, u32>,
    /// What locals were assigned in the open block, since it or a block inside it began or ended.
    assigned: HashMap<VarId, ValueId>,
    /// Locals that are read other than by that.
    read: HashSet<VarId>,
    /// What a value of the original is now.
    now: HashMap<ValueId, ValueId>,
    origins: Vec<ValueId>,
    made: Vec<(ValueId, ValueId)>,
    statements: usize,
    /// Repetitions around that are not in their first turn: comments are for readers, and said once.
    again: u32,
}

impl<'a> Writer<'a> {
    fn new(of: &'a Kernel) -> Self {
        let mut writer = Self {
            of,
            values: Values::default(),
            vars: Vec::new(),
            places: vec![(VarId(0), 1); of.vars.len()],
            sizes: HashMap::new(),
            assigned: HashMap::new(),
            read: HashSet::new(),
            now: HashMap::new(),
            origins: Vec::new(),
            made: Vec::new(),
            statements: 0,
            again: 0,
        };
        writer.values.open();
        // The item.
        writer.define(ValueId(0));
        writer
    }

    fn block(&mut self, block: &Block, out: &mut Block) -> Result<(), ExpandError> {
        for stmt in block {
            self.stmt(stmt, out)?;
        }
        Ok(())
    }

    fn nested(&mut self, block: &Block) -> Result<Block, ExpandError> {
        self.assigned.clear();
        let mut out = Block::new();
        self.block(block, &mut out)?;
        self.assigned.clear();
        self.values.close();
        Ok(out)
    }

    fn put(&mut self, stmt: Stmt, out: &mut Block) -> Result<(), ExpandError> {
        self.statements += 1;
        if self.statements > MAX_STATEMENTS {
            return Err(ExpandError::Size);
        }
        out.push(stmt);
        Ok(())
    }

    fn stmt(&mut self, stmt: &Stmt, out: &mut Block) -> Result<(), ExpandError> {
        let made = match stmt {
            Stmt::Let(v) => return self.compute(*v, out),
            Stmt::Repeat { index, count, body } => {
                for n in 0..self.count(count) {
                    let literal = self.enter(Op::I32(n as i32), Ty::I32, *index, out)?;
                    self.is(*index, literal);
                    self.again += u32::from(n > 0);
                    self.block(body, out)?;
                    self.again -= u32::from(n > 0);
                }
                return Ok(());
            }
            Stmt::Strips {
                first,
                size,
                end,
                count,
                body,
            } => return self.strips([*first, *size, *end], count, body, out),
            Stmt::Var(m, v) => return self.declare(*m, *v, out),
            Stmt::Set(m, v) => {
                let ((m, _), v) = (self.places[m.index()], self.now(*v));
                self.assign(m, v);
                Stmt::Set(m, v)
            }
            Stmt::SetElement(m, at, v) => {
                let (m, v) = (self.element(*m, *at)?, self.now(*v));
                self.assign(m, v);
                Stmt::Set(m, v)
            }
            Stmt::Store {
                region,
                slot,
                index,
                value,
            } => Stmt::Store {
                region: *region,
                slot: slot.map(|slot| self.now(slot)),
                index: self.now(*index),
                value: self.now(*value),
            },
            Stmt::For {
                index,
                start,
                end,
                body,
            } => {
                let (start, end) = (self.now(*start), self.now(*end));
                self.values.open();
                let index = self.define(*index);
                let body = self.nested(body)?;
                Stmt::For {
                    index,
                    start,
                    end,
                    body,
                }
            }
            Stmt::If {
                cond,
                then,
                otherwise,
            } => {
                let cond = self.now(*cond);
                self.values.open();
                let then = self.nested(then)?;
                self.values.open();
                let otherwise = self.nested(otherwise)?;
                Stmt::If {
                    cond,
                    then,
                    otherwise,
                }
            }
            Stmt::Call {
                table,
                entry,
                begin,
                end,
            } => Stmt::Call {
                table: *table,
                entry: self.now(*entry),
                begin: self.now(*begin),
                end: self.now(*end),
            },
            Stmt::Outline { name, inputs, body } => {
                let outer: Vec<ValueId> = inputs.iter().map(|(_, v)| self.now(*v)).collect();
                self.values.open_apart();
                let inner: Vec<ValueId> = inputs.iter().map(|(v, _)| self.define(*v)).collect();
                let body = self.nested(body)?;
                Stmt::Outline {
                    name: name.clone(),
                    inputs: inner.into_iter().zip(outer).collect(),
                    body,
                }
            }
            Stmt::Comment(_) if self.again > 0 => return Ok(()),
            Stmt::Comment(text) => Stmt::Comment(text.clone()),
        };
        self.put(made, out)
    }

    /// Notes what a value of the original is now.
    fn is(&mut self, v: ValueId, new: ValueId) {
        self.now.insert(v, new);
        self.made.push((v, new));
    }

    fn assign(&mut self, m: VarId, v: ValueId) {
        self.assigned.insert(m, v);
    }

    fn now(&self, v: ValueId) -> ValueId {
        self.now[&v]
    }

    /// A value that no operation computes.
    fn define(&mut self, v: ValueId) -> ValueId {
        let def = &self.of.values[v.index()];
        let new = self.values.define(def.op.clone(), def.ty);
        self.values.defs[new.index()].name = def.name.clone();
        self.origins.push(v);
        self.is(v, new);
        new
    }

    fn compute(&mut self, v: ValueId, out: &mut Block) -> Result<(), ExpandError> {
        let def = &self.of.values[v.index()];
        let mut op = def.op.clone();
        op.for_each_operand_mut(|operand| *operand = self.now[operand]);
        let op = match op {
            Op::Get(_) | Op::Element(..) => {
                let place = match op {
                    // Its operand is renamed already.
                    Op::Element(m, at) => self.place(m, at)?,
                    Op::Get(m) => self.places[m.index()].0,
                    _ => unreachable!("matched above"),
                };
                if let Some(&known) = self.assigned.get(&place) {
                    self.is(v, known);
                    return Ok(());
                }
                self.read.insert(place);
                Op::Get(place)
            }
            op => op,
        };
        let new = self.enter(op, def.ty, v, out)?;
        if let Some(name) = &def.name {
            self.values.name(new, name);
        }
        self.is(v, new);
        Ok(())
    }

    /// The value of an operation, with what folding needs before it.
    fn enter(
        &mut self,
        op: Op,
        ty: Ty,
        origin: ValueId,
        out: &mut Block,
    ) -> Result<ValueId, ExpandError> {
        let mut new = Vec::new();
        let v = self.values.enter(op, ty, &mut new);
        for v in new {
            self.origins.push(origin);
            self.put(Stmt::Let(v), out)?;
        }
        Ok(v)
    }

    fn element(&self, m: VarId, at: ValueId) -> Result<VarId, ExpandError> {
        self.place(m, self.now(at))
            .map_err(|_| ExpandError::Element(m, at))
    }

    /// The local that an element is; `at` is a value of the new kernel.
    fn place(&self, m: VarId, at: ValueId) -> Result<VarId, ExpandError> {
        let (first, count) = self.places[m.index()];
        let literal = self.values.literal(at);
        let n = literal.and_then(|n| u32::try_from(n).ok());
        let n = n.filter(|n| *n < count);
        n.map(|n| VarId(first.0 + n))
            .ok_or(ExpandError::Element(m, at))
    }

    /// A count, which that of strips around takes the place of.
    fn count(&self, count: &Count) -> u32 {
        let name = count.name.as_ref();
        let size = name.and_then(|name| self.sizes.get(name));
        size.copied().unwrap_or(count.n)
    }

    /// Declares a local, or an element for each of an array: new ones wherever the statement is written out.
    fn declare(&mut self, m: VarId, init: ValueId, out: &mut Block) -> Result<(), ExpandError> {
        let Local { ty, count, name } = &self.of.vars[m.index()];
        let first = VarId::from_index(self.vars.len());
        let count = count.as_ref().map_or(1, |count| self.count(count));
        self.places[m.index()] = (first, count);
        let one = Local {
            ty: *ty,
            count: None,
            name: name.clone(),
        };
        self.vars.extend(std::iter::repeat_n(one, count as usize));
        let init = self.now(init);
        for n in 0..count {
            let m = VarId(first.0 + n);
            self.assign(m, init);
            self.put(Stmt::Var(m, init), out)?;
        }
        Ok(())
    }

    /// Two loops: over whole strips, and over what is left.
    fn strips(
        &mut self,
        [first, size, end]: [ValueId; 3],
        count: &Count,
        body: &Block,
        out: &mut Block,
    ) -> Result<(), ExpandError> {
        let name = count.name.clone().unwrap_or_default();
        let before = self.sizes.get(&name).copied();
        let word = |this: &mut Self, op, out: &mut Block| this.enter(op, Ty::I32, end, out);
        let zero = word(self, Op::I32(0), out)?;
        let whole = word(self, Op::I32(count.n as i32), out)?;
        let end = self.now(end);
        let strips = word(self, Op::Div(end, whole), out)?;
        let done = word(self, Op::Mul(strips, whole), out)?;
        for (n, start, end) in [(count.n, zero, strips), (1, done, end)] {
            self.sizes.insert(name.clone(), n);
            self.values.open();
            let index = self.define(first);
            let mut inner = Block::new();
            let literal = self.enter(Op::I32(n as i32), Ty::I32, size, &mut inner)?;
            self.is(size, literal);
            if n == count.n {
                let start = self.enter(Op::Mul(index, literal), Ty::I32, first, &mut inner)?;
                self.is(first, start);
            }
            self.again += u32::from(n != count.n);
            let rest = self.nested(body)?;
            self.again -= u32::from(n != count.n);
            inner.extend(rest);
            let made = Stmt::For {
                index,
                start,
                end,
                body: inner,
            };
            self.put(made, out)?;
        }
        match before {
            Some(before) => _ = self.sizes.insert(name, before),
            None => _ = self.sizes.remove(&name),
        }
        Ok(())
    }
}

/// Takes out locals that nothing reads.
fn drop_unread(block: &mut Block, unread: &impl Fn(VarId) -> bool) {
    block.retain(|stmt| !matches!(stmt, Stmt::Var(m, _) | Stmt::Set(m, _) if unread(*m)));
    for stmt in block {
        for inner in stmt.blocks_mut() {
            drop_unread(inner, unread);
        }
    }
}
