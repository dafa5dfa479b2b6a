//! What an outline uses of the kernel it stands in.

use crate::ir::{Block, Kernel, Op, ParamId, Stmt, ValueId, VarId, walk};

/// A region that a block uses.
#[derive(Clone, Copy, Debug)]
pub struct UsedRegion {
    /// Which.
    pub region: ParamId,
    /// The value inside that is its slot.
    pub slot: Option<ValueId>,
    /// Whether it is written to.
    pub written: bool,
}

/// A local from outside that a block uses.
#[derive(Clone, Copy, Debug)]
pub struct UsedLocal {
    /// Which.
    pub var: VarId,
    /// Whether it is assigned.
    pub written: bool,
}

/// What an outline's body uses of its kernel, besides its inputs, in order of first use.
#[derive(Debug, Default)]
pub struct Reach {
    /// Memory.
    pub regions: Vec<UsedRegion>,
    /// Locals from outside.
    pub locals: Vec<UsedLocal>,
    /// Locals of its own.
    pub declared: Vec<VarId>,
}

impl Reach {
    /// What a block uses; `None` if it does what an outline by itself could not.
    #[must_use]
    pub fn of(kernel: &Kernel, body: &Block) -> Option<Self> {
        let mut reach = Self::default();
        let mut possible = true;
        walk(body, &mut |stmt| {
            possible &= reach.stmt(kernel, stmt).is_some();
        });
        // By number, so that elements of an array stand together.
        reach.locals.sort_by_key(|local| local.var);
        possible.then_some(reach)
    }

    fn stmt(&mut self, kernel: &Kernel, stmt: &Stmt) -> Option<()> {
        match stmt {
            Stmt::Let(v) => match &kernel.values.get(v.index())?.op {
                Op::Load { region, slot, .. } => self.region(*region, *slot, false),
                Op::Get(m) | Op::Element(m, _) => {
                    self.local(*m, false);
                    Some(())
                }
                Op::Call(..) | Op::Scalar(_) | Op::RowCount | Op::OutputCount | Op::Context => None,
                _ => Some(()),
            },
            Stmt::Var(m, _) => {
                self.declared.push(*m);
                Some(())
            }
            Stmt::Set(m, _) | Stmt::SetElement(m, ..) => {
                self.local(*m, true);
                Some(())
            }
            Stmt::Store {
                region, slot: None, ..
            } => self.region(*region, None, true),
            Stmt::Store { .. } | Stmt::Call { .. } => None,
            Stmt::Outline { .. } | Stmt::Strips { .. } => None,
            Stmt::For { .. } | Stmt::Repeat { .. } | Stmt::If { .. } | Stmt::Comment(_) => Some(()),
        }
    }

    fn region(&mut self, region: ParamId, slot: Option<ValueId>, written: bool) -> Option<()> {
        match self.regions.iter_mut().find(|r| r.region == region) {
            Some(known) => {
                known.written |= written;
                (known.slot == slot).then_some(())
            }
            None => {
                self.regions.push(UsedRegion {
                    region,
                    slot,
                    written,
                });
                Some(())
            }
        }
    }

    fn local(&mut self, var: VarId, written: bool) {
        if self.declared.contains(&var) {
            return;
        }
        match self.locals.iter_mut().find(|local| local.var == var) {
            Some(known) => known.written |= written,
            None => self.locals.push(UsedLocal { var, written }),
        }
    }
}
