//! Kernel or function in, flat code out. Sibling blocks share slots, since their values are never alive together.

use super::code::{Access, Arg, Check, Code, Ins, ParamInfo, Size, Slot, V3, Vector};
use super::select::{reduction, scalar_one, scalar_two, vector_one, vector_two};
use crate::ir::expand::EXPANDED;
use crate::ir::verify::Range;
use crate::ir::{
    Block, Elem, Function, Kernel, Op, Param, ParamId, Space, Stmt, Ty, ValueDef, ValueId, VarId,
};

/// Translates a verified kernel. The item index is scalar slot 0. Values are held against `ranges`, where given.
pub(super) fn kernel(kernel: &Kernel, ranges: &[Option<Range>]) -> Code {
    let mut t = Translator::new(&kernel.name, &kernel.values);
    t.ranges = ranges;
    t.vars = vec![Arg::Scalar(0); kernel.vars.len()];
    t.var_types = kernel.vars.iter().map(|local| local.ty).collect();
    for param in &kernel.params {
        t.param(param);
    }
    t.define(ValueId(0));
    t.block(&kernel.body);
    t.code
}

/// Translates a verified function.
pub(super) fn function(function: &Function) -> Code {
    let mut t = Translator::new(&function.name, &function.values);
    for i in 0..function.values.len() {
        t.compute(ValueId::from_index(i));
    }
    t.code.entry = t.slots[..function.params as usize].to_vec();
    t.code.result = Some(t.slots[function.result.index()]);
    t.code
}

struct Translator<'a> {
    code: Code,
    values: &'a [ValueDef],
    slots: Vec<Arg>,
    vars: Vec<Arg>,
    var_types: Vec<Ty>,
    scalars: u32,
    vectors: u32,
    /// What is being translated.
    at: ValueId,
    /// By value; empty where nothing is to be checked.
    ranges: &'a [Option<Range>],
}

impl<'a> Translator<'a> {
    fn new(name: &str, values: &'a [ValueDef]) -> Self {
        Self {
            code: Code {
                name: name.to_owned(),
                ins: Vec::new(),
                origin: Vec::new(),
                params: Vec::new(),
                scalars: 0,
                vectors: 0,
                below: (0, 0),
                callees: Vec::new(),
                constants: Vec::new(),
                args: Vec::new(),
                entry: Vec::new(),
                result: None,
                local_bytes: 0,
                ranges: Vec::new(),
            },
            values,
            slots: vec![Arg::Scalar(0); values.len()],
            vars: Vec::new(),
            var_types: Vec::new(),
            scalars: 0,
            vectors: 0,
            at: ValueId(0),
            ranges: &[],
        }
    }

    fn param(&mut self, param: &Param) {
        let info = match param {
            Param::Region {
                name,
                space,
                elem,
                len,
                ..
            } => {
                let local = self.code.local_bytes;
                if *space == Space::Local {
                    let bytes = len.fixed.max(0) as usize * elem.bytes() as usize;
                    self.code.local_bytes += bytes.next_multiple_of(64);
                }
                ParamInfo::Region {
                    name: name.clone(),
                    space: *space,
                    elem: *elem,
                    len: *len,
                    local,
                }
            }
            Param::Scalar { .. } => ParamInfo::Scalar,
            Param::Table { .. } => ParamInfo::Table,
        };
        self.code.params.push(info);
    }

    fn allocate(&mut self, ty: Ty) -> Arg {
        if ty.is_vector() {
            self.vectors += 1;
            self.code.vectors = self.code.vectors.max(self.vectors as usize);
            Arg::Vector(self.vectors - 1)
        } else {
            self.scalars += 1;
            self.code.scalars = self.code.scalars.max(self.scalars as usize);
            Arg::Scalar(self.scalars - 1)
        }
    }

    fn define(&mut self, v: ValueId) -> Slot {
        let arg = self.allocate(self.ty(v));
        self.slots[v.index()] = arg;
        number(arg)
    }

    fn ty(&self, v: ValueId) -> Ty {
        self.values[v.index()].ty
    }

    fn slot(&self, v: ValueId) -> Slot {
        number(self.slots[v.index()])
    }

    fn emit(&mut self, ins: Ins) {
        self.code.ins.push(ins);
        self.code.origin.push(self.at);
    }

    /// Number of the next instruction.
    fn here(&self) -> u32 {
        self.code.ins.len() as u32
    }

    fn block(&mut self, block: &Block) {
        let open = (self.scalars, self.vectors);
        for stmt in block {
            self.stmt(stmt);
        }
        (self.scalars, self.vectors) = open;
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Let(v) => {
                self.compute(*v);
                self.check(*v);
            }
            Stmt::Var(m, v) => {
                self.vars[m.index()] = self.allocate(self.var_types[m.index()]);
                self.set(*m, *v);
            }
            Stmt::Set(m, v) => self.set(*m, *v),
            Stmt::Store {
                region,
                slot,
                index,
                value,
            } => {
                self.at = *value;
                let a = self.slot(*value);
                let access = self.access(*region, *slot, *index, self.ty(*value));
                self.emit(if self.ty(*value).is_vector() {
                    Ins::StoreV { a, access }
                } else {
                    Ins::Store { a, access }
                });
            }
            Stmt::For {
                index,
                start,
                end,
                body,
            } => self.for_loop(*index, *start, *end, body),
            Stmt::If {
                cond,
                then,
                otherwise,
            } => self.branch(*cond, then, otherwise),
            Stmt::Outline { inputs, body, .. } => {
                for (inner, outer) in inputs {
                    self.slots[inner.index()] = self.slots[outer.index()];
                }
                self.block(body);
            }
            Stmt::Call {
                table,
                entry,
                begin,
                end,
            } => {
                self.at = *entry;
                let (entry, begin, end) = (self.slot(*entry), self.slot(*begin), self.slot(*end));
                self.emit(Ins::CallTable {
                    table: *table,
                    entry,
                    begin,
                    end,
                });
            }
            Stmt::Comment(_) => {}
            Stmt::Repeat { .. } | Stmt::Strips { .. } | Stmt::SetElement(..) => {
                unreachable!("{EXPANDED}")
            }
        }
    }

    /// Checks what was proved of a value, if that is wanted.
    fn check(&mut self, v: ValueId) {
        if let Some(Some(range)) = self.ranges.get(v.index()) {
            self.code.ranges.push((*range, self.ty(v)));
            let at = self.code.ranges.len() as u32 - 1;
            let a = self.slot(v);
            self.emit(Ins::CheckProof { a, at });
        }
    }

    fn set(&mut self, m: VarId, v: ValueId) {
        self.at = v;
        let ins = self.copy(self.vars[m.index()], self.slots[v.index()]);
        self.emit(ins);
    }

    fn copy(&self, to: Arg, from: Arg) -> Ins {
        let (d, a) = (number(to), number(from));
        match to {
            Arg::Scalar(_) => Ins::Copy { d, a },
            Arg::Vector(_) => Ins::CopyV { d, a },
        }
    }

    fn for_loop(&mut self, index: ValueId, start: ValueId, end: ValueId, body: &Block) {
        self.at = index;
        let open = self.scalars;
        let a = self.slot(start);
        let end = self.slot(end);
        let index_value = index;
        let index = self.define(index);
        self.emit(Ins::Copy { d: index, a });
        let head = self.here();
        self.emit(Ins::LoopHead {
            index,
            end,
            exit: 0,
        });
        self.check(index_value);
        self.block(body);
        self.emit(Ins::LoopNext { index, head });
        let exit = self.here();
        self.code.ins[head as usize] = Ins::LoopHead { index, end, exit };
        self.scalars = open;
    }

    fn branch(&mut self, cond: ValueId, then: &Block, otherwise: &Block) {
        self.at = cond;
        let cond = self.slot(cond);
        let fork = self.here();
        self.emit(Ins::JumpUnless { cond, to: 0 });
        self.block(then);
        let join = self.here();
        if !otherwise.is_empty() {
            self.emit(Ins::Jump { to: 0 });
        }
        let to = self.here();
        self.code.ins[fork as usize] = Ins::JumpUnless { cond, to };
        if !otherwise.is_empty() {
            self.block(otherwise);
            let to = self.here();
            self.code.ins[join as usize] = Ins::Jump { to };
        }
    }

    fn is_bytes(&self, region: ParamId) -> bool {
        let param = self.code.params.get(region.index());
        matches!(param, Some(ParamInfo::Region { elem: Elem::I8, .. }))
    }

    fn access(&self, region: ParamId, slot: Option<ValueId>, index: ValueId, ty: Ty) -> Access {
        Access {
            region: region.0 as u16,
            bytes: ty.bytes() as u16,
            index: self.slot(index),
            slot: slot.map_or(u32::MAX, |v| self.slot(v)),
        }
    }

    fn compute(&mut self, v: ValueId) {
        self.at = v;
        let values = self.values;
        let def = &values[v.index()];
        let d = self.define(v);
        let ins = match &def.op {
            // Parameters of a function are written by the call.
            Op::Item | Op::Index | Op::Param(_) => return,
            Op::I32(n) => Ins::Const { d, bits: *n as u32 },
            Op::F32(bits) => Ins::Const { d, bits: *bits },
            Op::I32Lanes(lanes) => self.constant(d, Vector::of(*lanes)),
            Op::I8Lanes(lanes) => self.constant(d, Vector::narrow(bytemuck::cast_slice(lanes))),
            Op::Scalar(p) => Ins::Scalar { d, param: p.0 },
            Op::RowCount => Ins::Size {
                d,
                size: Size::Rows,
            },
            Op::OutputCount => Ins::Size {
                d,
                size: Size::Outputs,
            },
            Op::Context => Ins::Size {
                d,
                size: Size::Context,
            },
            Op::Element(..) => unreachable!("{EXPANDED}"),
            Op::Get(m) => self.copy(self.slots[v.index()], self.vars[m.index()]),
            Op::Bits(_, a) => self.copy(self.slots[v.index()], self.slots[a.index()]),
            Op::Splat(a) => Ins::Splat {
                d,
                a: self.slot(*a),
            },
            Op::ReduceAdd(a) | Op::ReduceMax(a) => Ins::Reduce {
                op: reduction(&def.op, def.ty),
                d,
                a: self.slot(*a),
            },
            Op::Select(c, a, b) => self.select(d, *c, *a, *b),
            Op::Fma(a, b, c)
            | Op::Lookup32(a, b, c)
            | Op::Dot4U(a, b, c)
            | Op::Dot4S(a, b, c)
            | Op::Dot4SBy(a, b, c, _)
            | Op::MacSBy(a, b, c, _) => {
                let op = match def.op {
                    Op::Fma(..) => V3::Fma,
                    Op::Lookup32(..) => V3::Lookup32,
                    Op::Dot4U(..) => V3::Dot4U,
                    Op::Dot4SBy(.., n) => V3::Dot4SBy(n as u8),
                    Op::MacSBy(.., n) => V3::MacSBy(n as u8),
                    _ => V3::Dot4S,
                };
                let (a, b, c) = (self.slot(*a), self.slot(*b), self.slot(*c));
                if def.ty.is_vector() {
                    Ins::V3 { op, d, a, b, c }
                } else {
                    Ins::Fma { d, a, b, c }
                }
            }
            Op::Load {
                region,
                slot,
                index,
                range,
            } => {
                return self.load(
                    d,
                    def.ty,
                    self.access(*region, *slot, *index, def.ty),
                    *range,
                    self.is_bytes(*region),
                );
            }
            Op::Call(f, args) => {
                let from = self.code.args.len() as u32;
                self.code
                    .args
                    .extend(args.iter().map(|a| self.slots[a.index()]));
                self.code.callees.push(*f);
                Ins::Call {
                    function: *f,
                    from,
                    d: self.slots[v.index()],
                }
            }
            op => self.plain(d, op),
        };
        self.emit(ins);
    }

    fn constant(&mut self, d: Slot, vector: Vector) -> Ins {
        self.code.constants.push(vector);
        Ins::ConstV {
            d,
            at: self.code.constants.len() as u32 - 1,
        }
    }

    fn select(&self, d: Slot, c: ValueId, a: ValueId, b: ValueId) -> Ins {
        let cond = self.slot(c);
        let vector = self.ty(a).is_vector();
        let mask = self.ty(c) == Ty::I32x16;
        let (a, b) = (self.slot(a), self.slot(b));
        match (mask, vector) {
            (true, _) => Ins::V3 {
                op: V3::Select,
                d,
                a: cond,
                b: a,
                c: b,
            },
            (false, true) => Ins::SelectV { d, cond, a, b },
            (false, false) => Ins::Select { d, cond, a, b },
        }
    }

    fn load(&mut self, d: Slot, ty: Ty, access: Access, range: Option<(i32, i32)>, bytes: bool) {
        if !ty.is_vector() {
            self.emit(Ins::Load { d, access });
            if let Some((lo, hi)) = range {
                self.emit(if bytes {
                    Ins::CheckBytes { a: d, lo, hi }
                } else {
                    Ins::CheckI32 { a: d, lo, hi }
                });
            }
            return;
        }
        let check = match (range, ty) {
            (Some((lo, hi)), Ty::I8x16 | Ty::I8x64) if hi > 127 => {
                Check::Unsigned8(lo as u8, hi as u8)
            }
            (Some((lo, hi)), Ty::I8x16 | Ty::I8x64) => Check::Signed8(lo as i8, hi as i8),
            (Some((lo, hi)), Ty::I16x32) => Check::Signed16(lo as i16, hi as i16),
            (Some((lo, hi)), Ty::I32x16) => Check::Signed32(lo, hi),
            _ => Check::None,
        };
        self.emit(Ins::LoadV { d, access, check });
    }

    /// Operations of one or two operands that follow their operands' type alone.
    fn plain(&self, d: Slot, op: &Op) -> Ins {
        let mut operands = [ValueId(0); 2];
        let mut count = 0;
        op.for_each_operand(|v| {
            operands[count.min(1)] = v;
            count += 1;
        });
        let ty = self.ty(operands[0]);
        let (a, b) = (self.slot(operands[0]), self.slot(operands[1]));
        match (count, ty.is_vector()) {
            (1, false) => Ins::S1 {
                op: scalar_one(op),
                d,
                a,
            },
            (1, true) => Ins::V1 {
                op: vector_one(op, ty),
                d,
                a,
            },
            (_, false) => Ins::S2 {
                op: scalar_two(op, ty.is_float()),
                d,
                a,
                b,
            },
            (_, true) => Ins::V2 {
                op: vector_two(op, ty),
                d,
                a,
                b,
            },
        }
    }
}

const fn number(arg: Arg) -> Slot {
    match arg {
        Arg::Scalar(s) | Arg::Vector(s) => s,
    }
}
