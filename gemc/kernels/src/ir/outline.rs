//! Takes an outline out of a kernel: a kernel of its own, whose text is the same wherever the outline came from, and the
//! values of the original kernel that are passed for its parameters. The kernel is one that was written out.
//!
//! The kernel's parameters are, in this order: the regions, in order of their first use; the inputs, as scalars; and
//! one region of f32, 16 for each mutable local, which it reads before and writes after. A region that every slot has is
//! handed over as that of one slot, an input of the outline. The kernel is not verified by itself: how long its regions
//! are is known, and proved, where the outline stands.

mod reach;

use std::collections::HashMap;

use gem_runtime::file::name_hash;

pub use reach::{Reach, UsedLocal, UsedRegion};

use super::expand::EXPANDED;
use super::text::kernel_to_string;
use super::{
    Block, Elem, Extent, Kernel, KernelId, Local, Op, Param, ParamId, Space, Stmt, Ty, ValueDef,
    ValueId, VarId, walk,
};

/// Lanes that a mutable local has in the last region.
pub const LANES: i32 = 16;

/// An outline by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlineKernel {
    /// The text that copies are found by.
    pub kernel: Kernel,
    /// Regions of the kernel it came from, each with the value outside that is its slot, where it has one in every slot.
    pub regions: Vec<(ParamId, Option<ValueId>)>,
    /// What the inputs are equal to.
    pub inputs: Vec<Input>,
    /// Mutable locals outside: f32x16.
    pub locals: Vec<VarId>,
}

impl OutlineKernel {
    /// What copies are found by: the hash of the kernel's text.
    #[must_use]
    pub fn key(&self) -> u64 {
        name_hash(&kernel_to_string(KernelId(0), &self.kernel))
    }
}

/// What an outline is given for an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A value outside.
    Value(ValueId),
    /// A local outside, which it does not assign.
    Local(VarId),
}

/// The outline by itself; `None` when it does what a copy could not: touch the step's rows or a region in two slots, write
/// to a slot, depend on the step, call, or assign locals other than f32x16.
#[must_use]
pub fn outlined(
    of: &Kernel,
    name: &str,
    inputs: &[(ValueId, ValueId)],
    body: &Block,
) -> Option<OutlineKernel> {
    let reach = Reach::of(of, body)?;
    let words = reach.locals.iter().filter(|local| !local.written);
    let (words, shared): (Vec<UsedLocal>, Vec<UsedLocal>) = (
        words.copied().collect(),
        reach.locals.iter().filter(|l| l.written).copied().collect(),
    );
    let ty = |local: &UsedLocal| of.vars[local.var.index()].ty;
    if words.iter().any(|l| ty(l) != Ty::I32) || shared.iter().any(|l| ty(l) != Ty::F32x16) {
        return None;
    }
    let mut writer = Writer::new(of, &reach);
    let regions = writer.params(inputs, words.len())?;
    let locals = ParamId::from_index(writer.params.len() - 1);
    let mut out = Block::new();
    let outer = inputs.iter().map(|(inner, _)| Some(*inner));
    for (i, inner) in outer.chain(words.iter().map(|_| None)).enumerate() {
        let param = ParamId::from_index(reach.regions.len() + i);
        let v = writer.fresh(Op::Scalar(param), Ty::I32, &mut out);
        match inner {
            Some(inner) => _ = writer.renamed.insert(inner, v),
            None => _ = writer.words.insert(words[i - inputs.len()].var, v),
        }
    }
    for local in reach.declared.iter().chain(shared.iter().map(|l| &l.var)) {
        writer.declare(*local);
    }
    for (i, local) in shared.iter().enumerate() {
        let index = writer.literal(LANES * i as i32, &mut out);
        let load = Op::Load {
            region: locals,
            slot: None,
            index,
            range: None,
        };
        let before = writer.fresh(load, Ty::F32x16, &mut out);
        out.push(Stmt::Var(writer.vars[&local.var], before));
    }
    let inner = writer.block(body)?;
    out.extend(inner);
    for (i, local) in shared.iter().enumerate() {
        let index = writer.literal(LANES * i as i32, &mut out);
        let after = writer.fresh(Op::Get(writer.vars[&local.var]), Ty::F32x16, &mut out);
        out.push(Stmt::Store {
            region: locals,
            slot: None,
            index,
            value: after,
        });
    }
    let values = inputs.iter().map(|(_, outer)| Input::Value(*outer));
    Some(OutlineKernel {
        kernel: Kernel {
            name: name.to_owned(),
            doc: "a copy of an outline".to_owned(),
            params: writer.params,
            items: 1,
            values: writer.values,
            vars: writer.var_types,
            body: out,
        },
        regions,
        inputs: values
            .chain(words.iter().map(|l| Input::Local(l.var)))
            .collect(),
        locals: shared.iter().map(|l| l.var).collect(),
    })
}

/// The outlines of a kernel that is written out, each by itself where it can be.
#[must_use]
pub fn outlines_of(kernel: &Kernel) -> Vec<Option<OutlineKernel>> {
    let mut all = Vec::new();
    walk(&kernel.body, &mut |stmt| {
        if let Stmt::Outline { name, inputs, body } = stmt {
            all.push(outlined(kernel, name, inputs, body));
        }
    });
    all
}

/// Numbers everything anew, in order of appearance.
struct Writer<'a> {
    of: &'a Kernel,
    reach: &'a Reach,
    params: Vec<Param>,
    values: Vec<ValueDef>,
    renamed: HashMap<ValueId, ValueId>,
    /// Locals from outside that are given as inputs.
    words: HashMap<VarId, ValueId>,
    vars: HashMap<VarId, VarId>,
    var_types: Vec<Local>,
}

impl<'a> Writer<'a> {
    fn new(of: &'a Kernel, reach: &'a Reach) -> Self {
        let item = ValueDef {
            op: Op::Item,
            ty: Ty::I32,
            name: None,
        };
        Self {
            of,
            reach,
            params: Vec::new(),
            values: vec![item],
            renamed: HashMap::new(),
            words: HashMap::new(),
            vars: HashMap::new(),
            var_types: Vec::new(),
        }
    }

    /// Declares the parameters; gives the regions outside.
    fn params(
        &mut self,
        inputs: &[(ValueId, ValueId)],
        words: usize,
    ) -> Option<Vec<(ParamId, Option<ValueId>)>> {
        let mut outside = Vec::new();
        for UsedRegion {
            region,
            slot,
            written,
        } in &self.reach.regions
        {
            let Param::Region {
                name, space, elem, ..
            } = self.of.params.get(region.index())?
            else {
                return None;
            };
            let space = match space {
                Space::Weights => Space::Weights,
                Space::Arena | Space::Local | Space::Kv => Space::Arena,
                Space::Rows | Space::Outputs => return None,
            };
            let outer = |inner| inputs.iter().find(|(v, _)| *v == inner).map(|(_, v)| *v);
            outside.push((
                *region,
                slot.map(outer).map_or(Some(None), |v| v.map(Some))?,
            ));
            self.params.push(region_param(name, space, *elem, *written));
        }
        for i in 0..inputs.len() + words {
            self.params.push(Param::Scalar {
                name: format!("input{i}"),
                max: i32::MAX as u32,
            });
        }
        let locals = region_param("locals", Space::Arena, Elem::F32, true);
        self.params.push(locals);
        Some(outside)
    }

    /// What the region is called in the outline's own kernel.
    fn region(&self, outside: ParamId) -> Option<ParamId> {
        let regions = &self.reach.regions;
        let at = regions.iter().position(|r| r.region == outside)?;
        Some(ParamId::from_index(at))
    }

    fn declare(&mut self, m: VarId) {
        self.vars.insert(m, VarId::from_index(self.var_types.len()));
        self.var_types.push(Local {
            name: None,
            ..self.of.vars[m.index()].clone()
        });
    }

    fn block(&mut self, block: &Block) -> Option<Block> {
        let mut out = Block::new();
        for stmt in block {
            match stmt {
                Stmt::Let(v) if self.is_word(*v) => {}
                stmt => out.push(self.stmt(stmt)?),
            }
        }
        Some(out)
    }

    /// Whether a value reads a local that is an input here, and so is known.
    fn is_word(&mut self, v: ValueId) -> bool {
        let Op::Get(m) = self.of.values[v.index()].op else {
            return false;
        };
        let word = self.words.get(&m).copied();
        if let Some(word) = word {
            self.renamed.insert(v, word);
        }
        word.is_some()
    }

    fn stmt(&mut self, stmt: &Stmt) -> Option<Stmt> {
        Some(match stmt {
            Stmt::Let(v) => Stmt::Let(self.copy(*v)?),
            Stmt::Var(m, v) => Stmt::Var(*self.vars.get(m)?, *self.renamed.get(v)?),
            Stmt::Set(m, v) => Stmt::Set(*self.vars.get(m)?, *self.renamed.get(v)?),
            Stmt::For {
                index,
                start,
                end,
                body,
            } => {
                let (start, end) = (*self.renamed.get(start)?, *self.renamed.get(end)?);
                let index = self.copy(*index)?;
                let body = self.block(body)?;
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
            } => Stmt::If {
                cond: *self.renamed.get(cond)?,
                then: self.block(then)?,
                otherwise: self.block(otherwise)?,
            },
            Stmt::Store {
                region,
                slot: None,
                index,
                value,
            } => Stmt::Store {
                region: self.region(*region)?,
                slot: None,
                index: *self.renamed.get(index)?,
                value: *self.renamed.get(value)?,
            },
            Stmt::Comment(text) => Stmt::Comment(text.clone()),
            Stmt::Repeat { .. } | Stmt::Strips { .. } | Stmt::SetElement(..) => {
                unreachable!("{EXPANDED}")
            }
            Stmt::Store { .. } | Stmt::Call { .. } | Stmt::Outline { .. } => return None,
        })
    }

    /// A value of the body, with its operands, region and local renamed.
    fn copy(&mut self, v: ValueId) -> Option<ValueId> {
        let def = self.of.values.get(v.index())?;
        let mut op = def.op.clone();
        let mut known = true;
        op.for_each_operand_mut(|operand| match self.renamed.get(operand) {
            Some(renamed) => *operand = *renamed,
            None => known = false,
        });
        match &mut op {
            Op::Load { region, slot, .. } => {
                *region = self.region(*region)?;
                *slot = None;
            }
            Op::Get(m) => *m = *self.vars.get(m)?,
            _ => {}
        }
        known.then(|| self.define(op, def.ty, v))
    }

    /// The new name of `old`.
    fn define(&mut self, op: Op, ty: Ty, old: ValueId) -> ValueId {
        let id = ValueId::from_index(self.values.len());
        let name = None;
        self.values.push(ValueDef { op, ty, name });
        self.renamed.insert(old, id);
        id
    }

    /// A value that the body has not.
    fn fresh(&mut self, op: Op, ty: Ty, out: &mut Block) -> ValueId {
        let id = ValueId::from_index(self.values.len());
        let name = None;
        self.values.push(ValueDef { op, ty, name });
        out.push(Stmt::Let(id));
        id
    }

    fn literal(&mut self, n: i32, out: &mut Block) -> ValueId {
        self.fresh(Op::I32(n), Ty::I32, out)
    }
}

fn region_param(name: &str, space: Space, elem: Elem, mutable: bool) -> Param {
    Param::Region {
        name: name.to_owned(),
        space,
        elem,
        len: Extent::fixed(1 << 40),
        mutable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::build::{KernelBuilder, Region, Val};

    /// A kernel around an outline with one input, and the outline by itself. The regions are of slots, of the arena and
    /// of the item.
    fn taken_out(
        body: impl for<'k> FnOnce(&'k KernelBuilder, [Region<'k>; 3], Val<'k>),
    ) -> Option<OutlineKernel> {
        let kernel = KernelBuilder::build("k", "", 8, |k| {
            let kv = k.region("kv", Space::Kv, Elem::F32, Extent::fixed(16), true);
            let out = k.output("out", Elem::F32, 16);
            let own = k.local("own", Elem::F32, 16);
            k.outline("part", &[("item", k.item())], |inputs| {
                body(k, [kv, out, own], inputs[0])
            });
        });
        let [Stmt::Outline { name, inputs, body }] = &kernel.body[..] else {
            panic!("one outline: {:?}", kernel.body);
        };
        outlined(&kernel, name, inputs, body)
    }

    #[test]
    fn a_region_of_a_slot_becomes_one_with_the_slot_handed_over() {
        let outlined = taken_out(|_, [kv, _, own], slot| own.store(0, kv.of(slot).get(0)));
        let outlined = outlined.expect("a copy can do that");
        let [kv, own] = [ParamId::from_index(0), ParamId::from_index(2)];
        assert_eq!(outlined.regions, [(kv, Some(ValueId(0))), (own, None)]);
        let text = kernel_to_string(KernelId(0), &outlined.kernel);
        assert!(text.contains(": f32 = load p0[v"), "{text}");
        assert!(text.contains("store p1["), "{text}");
    }

    #[test]
    fn what_a_copy_could_not_do_stays_in_place() {
        let two_slots = taken_out(|k, [kv, _, own], slot| {
            for slot in [slot, k.lit(1)] {
                own.store(0, kv.of(slot).get(0));
            }
        });
        let no_input = taken_out(|k, [kv, _, own], _| own.store(0, kv.of(k.lit(1)).get(0)));
        let to_slot = taken_out(|_, [kv, out, _], slot| kv.of(slot).store(0, out.get(0)));
        let of_the_step = taken_out(|k, [_, out, _], _| out.store(0, k.context().to_float()));
        for refused in [two_slots, no_input, to_slot, of_the_step] {
            assert_eq!(refused, None);
        }
    }
}
