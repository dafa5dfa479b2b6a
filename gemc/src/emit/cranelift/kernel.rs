//! A kernel to a function of Cranelift IR: parameters bound at the top, then the loop over items.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Block as Label, Function, InstBuilder, SigRef, Signature, Value, types,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use gemc_kernels::ir::expand::EXPANDED;
use gemc_kernels::ir::outline::{Input, outlined};
use gemc_kernels::ir::verify::KernelInfo;
use gemc_kernels::ir::{Block, Kernel, Op, ParamId, Program, Stmt, ValueId, VarId};

use super::copies::Copies;
use super::copy;
use super::emitter::Emitter;
use super::isa::Isa;
use super::layout::{CTX, ENTRY_ARGS, ENTRY_BYTES, TABLE_BYTES};
use super::memory::{Memory, field, follow};
use super::scope::Scope;
use super::segments::{Segments, shape};

/// The signature of [`gem_runtime::abi::KernelFn`].
pub(super) fn signature(convention: CallConv) -> Signature {
    let mut signature = Signature::new(convention);
    let params = [types::I64, types::I64, types::I32, types::I32];
    signature.params.extend(params.map(AbiParam::new));
    signature
}

/// Writes a kernel's code into `function`.
pub(super) fn translate(
    program: &Program,
    kernel: &Kernel,
    info: &KernelInfo,
    isa: &Isa,
    function: &mut Function,
    context: &mut FunctionBuilderContext,
) {
    let target: &dyn TargetIsa = &*isa.inner;
    function.signature = signature(target.default_call_conv());
    let mut b = FunctionBuilder::new(function, context);
    let called = b.import_signature(signature(target.default_call_conv()));
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let [ctx, args, begin, end] = [0, 1, 2, 3].map(|i| b.block_params(entry)[i]);
    let mut e = Emitter::new(b, isa.features);
    let sizes = [CTX.n_rows, CTX.n_outputs, CTX.context];
    let sizes = sizes.map(|at| field(&mut e, types::I32, ctx, at));
    let vars = kernel.vars.iter().map(|local| {
        let (segment, count) = shape(local.ty);
        (0..count).map(|_| e.b.declare_var(segment)).collect()
    });
    let vars: Vec<Vec<Variable>> = vars.collect();
    let memory = Memory::bind(&mut e, kernel, &info.ranges, ctx, args);
    let mut translator = Translator {
        e,
        scope: Scope::new(&kernel.values, &program.functions),
        memory,
        vars,
        pending: Vec::new(),
        assignments: Vec::new(),
        ctx,
        sizes,
        called,
        kernel,
        copies: isa.copies,
        convention: target.default_call_conv(),
    };
    translator.items(kernel, begin, end);
    translator.e.ins().return_(&[]);
    translator.e.b.finalize(target.frontend_config());
}

struct Translator<'a, 'c> {
    e: Emitter<'c>,
    scope: Scope<'a>,
    memory: Memory<'a>,
    /// Mutable locals, a variable per segment.
    vars: Vec<Vec<Variable>>,
    /// Values of the current block that are computed when they are needed, in order.
    pending: Vec<ValueId>,
    /// Assignments to locals that were not made yet, in order.
    assignments: Vec<(VarId, ValueId)>,
    ctx: Value,
    /// Rows, outputs, context.
    sizes: [Value; 3],
    /// Signature of kernels that are called through tables.
    called: SigRef,
    kernel: &'a Kernel,
    copies: Option<Copies>,
    convention: CallConv,
}

/// The blocks of a loop.
struct Loop {
    body: Label,
    exit: Label,
    index: Value,
}

impl Translator<'_, '_> {
    /// The loop over items.
    fn items(&mut self, kernel: &Kernel, begin: Value, end: Value) {
        let items = self.enter_loop(begin, end, false);
        self.scope.set(ValueId(0), Segments::one(items.index));
        self.memory.zero_locals(&mut self.e, &kernel.body);
        self.block(&kernel.body);
        self.leave_loop(&items, end);
    }

    fn block(&mut self, block: &Block) {
        for stmt in block {
            self.stmt(stmt);
        }
        // What nothing asked for is not visible outside.
        self.assign_all();
        self.pending.clear();
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Let(v) => self.define(*v),
            Stmt::Var(m, v) | Stmt::Set(m, v) => self.assignments.push((*m, *v)),
            Stmt::Store {
                region,
                slot,
                index,
                value,
            } => {
                self.load_all();
                let value = self.scope.value(&mut self.e, *value);
                let access = (*region, *slot, *index);
                self.memory
                    .store(&mut self.e, &mut self.scope, access, &value);
            }
            Stmt::For {
                index,
                start,
                end,
                body,
            } => self.for_(*index, *start, *end, body),
            Stmt::If {
                cond,
                then,
                otherwise,
            } => self.if_(*cond, then, otherwise),
            Stmt::Outline { name, inputs, body } => {
                if self.copied(name, inputs, body).is_none() {
                    self.in_place(inputs, body);
                }
            }
            Stmt::Call {
                table,
                entry,
                begin,
                end,
            } => self.call(*table, [*entry, *begin, *end]),
            Stmt::Comment(_) => {}
            Stmt::Repeat { .. } | Stmt::Strips { .. } | Stmt::SetElement(..) => {
                unreachable!("{EXPANDED}")
            }
        }
    }

    /// An outline, executed where it stands.
    fn in_place(&mut self, inputs: &[(ValueId, ValueId)], body: &Block) {
        for (inner, outer) in inputs {
            let value = self.scope.segment(&mut self.e, *outer, 0);
            self.scope.set(*inner, Segments::one(value));
        }
        for stmt in body {
            self.stmt(stmt);
        }
    }

    /// An outline, executed by its compiled copy; `None` where there is no copy.
    fn copied(&mut self, name: &str, inputs: &[(ValueId, ValueId)], body: &Block) -> Option<()> {
        let outlined = outlined(self.kernel, name, inputs, body)?;
        let run = self.copies?.find(outlined.key())?;
        // The copy may write what they read.
        self.load_all();
        let regions: Vec<Value> = outlined
            .regions
            .iter()
            .map(|&region| self.memory.base(&mut self.e, &mut self.scope, region))
            .collect();
        let words: Vec<Value> = outlined
            .inputs
            .iter()
            .map(|&input| match input {
                Input::Value(v) => self.scope.segment(&mut self.e, v, 0),
                Input::Local(m) => self.read(m).at(0),
            })
            .collect();
        let before: Vec<[Value; 4]> = outlined
            .locals
            .iter()
            .map(|&m| {
                let segments = self.read(m);
                [0, 1, 2, 3].map(|i| segments.at(i))
            })
            .collect();
        let after = copy::call(&mut self.e, self.convention, run, &regions, &words, &before);
        for (&m, segments) in outlined.locals.iter().zip(after) {
            for (&variable, segment) in self.vars[m.index()].iter().zip(segments) {
                self.e.b.def_var(variable, segment);
            }
        }
        Some(())
    }

    /// Computes a scalar where it stands, and notes that a vector is to be computed when it is needed. Literals are
    /// written where they are used; what a position defines is there already.
    fn define(&mut self, v: ValueId) {
        let defs = self.scope.defs;
        let def = &defs[v.index()];
        let word = |value| Some(Segments::one(value));
        let known = match &def.op {
            Op::Item | Op::Index | Op::Param(_) => return,
            _ if self.scope.literal(v).is_some() => return,
            Op::Scalar(p) => word(self.memory.word(*p)),
            Op::RowCount => word(self.sizes[0]),
            Op::OutputCount => word(self.sizes[1]),
            Op::Context => word(self.sizes[2]),
            Op::Get(m) => Some(self.read(*m)),
            Op::Load {
                region,
                slot,
                index,
                ..
            } => {
                let access = (*region, *slot, *index);
                let place = self.memory.place(&mut self.e, &mut self.scope, access);
                self.scope.set_place(v, place);
                None
            }
            _ => None,
        };
        match known {
            Some(segments) => self.scope.set(v, segments),
            None if def.ty.is_vector() => self.pending.push(v),
            None => {
                self.scope.value(&mut self.e, v);
            }
        }
    }

    /// Loads what was to be loaded later, because memory is about to change.
    fn load_all(&mut self) {
        for i in 0..self.pending.len() {
            let v = self.pending[i];
            if self.scope.has_place(v) {
                self.scope.value(&mut self.e, v);
            }
        }
    }

    /// Computes everything that was to be computed later, because another block is about to begin.
    fn compute_all(&mut self) {
        self.assign_all();
        for v in std::mem::take(&mut self.pending) {
            self.scope.value(&mut self.e, v);
        }
    }

    /// Assigns locals, the first segments of all before the second ones: rows that share weights share their decoding.
    fn assign_all(&mut self) {
        let assignments = std::mem::take(&mut self.assignments);
        for i in 0..4 {
            for &(m, v) in &assignments {
                if let Some(&variable) = self.vars[m.index()].get(i) {
                    let segment = self.scope.segment(&mut self.e, v, i);
                    self.e.b.def_var(variable, segment);
                }
            }
        }
    }

    fn read(&mut self, m: VarId) -> Segments {
        if self.assignments.iter().any(|(assigned, _)| *assigned == m) {
            self.assign_all();
        }
        let values: Vec<Value> = self.vars[m.index()]
            .iter()
            .map(|&variable| self.e.b.use_var(variable))
            .collect();
        match values[..] {
            [a, b, c, d] => Segments::of([a, b, c, d]),
            [a, b] => Segments::of([a, b]),
            _ => Segments::one(values[0]),
        }
    }

    fn for_(&mut self, index: ValueId, start: ValueId, end: ValueId, body: &Block) {
        let runs = match (self.scope.int(start), self.scope.int(end)) {
            (Some(start), Some(end)) => start < end,
            _ => false,
        };
        self.compute_all();
        let [first, last] = [start, end].map(|v| self.scope.segment(&mut self.e, v, 0));
        let blocks = self.enter_loop(first, last, runs);
        self.scope.set(index, Segments::one(blocks.index));
        self.block(body);
        // A literal is written again, for it is an operand of the comparison.
        let last = self.scope.segment(&mut self.e, end, 0);
        self.leave_loop(&blocks, last);
    }

    /// Starts a loop whose test stands at its end; before it, there is one only if the loop may not run.
    fn enter_loop(&mut self, start: Value, end: Value, runs: bool) -> Loop {
        let body = self.e.b.create_block();
        let exit = self.e.b.create_block();
        let index = self.e.b.append_block_param(body, types::I32);
        if runs {
            self.e.ins().jump(body, &[start.into()]);
        } else {
            let less = self.e.ins().icmp(IntCC::SignedLessThan, start, end);
            self.e.ins().brif(less, body, &[start.into()], exit, &[]);
        }
        self.e.enter(body);
        self.memory.enter();
        Loop { body, exit, index }
    }

    fn leave_loop(&mut self, blocks: &Loop, end: Value) {
        let one = self.e.int(1);
        let next = self.e.ins().iadd(blocks.index, one);
        let less = self.e.ins().icmp(IntCC::SignedLessThan, next, end);
        let (body, exit) = (blocks.body, blocks.exit);
        self.e.ins().brif(less, body, &[next.into()], exit, &[]);
        self.memory.leave();
        self.e.b.seal_block(body);
        self.e.enter(exit);
        self.e.b.seal_block(exit);
    }

    fn if_(&mut self, cond: ValueId, then: &Block, otherwise: &Block) {
        self.compute_all();
        let cond = self.scope.segment(&mut self.e, cond, 0);
        let [yes, no, join] = [(); 3].map(|()| self.e.b.create_block());
        self.e.ins().brif(cond, yes, &[], no, &[]);
        for (label, block) in [(yes, then), (no, otherwise)] {
            self.e.b.seal_block(label);
            self.e.enter(label);
            self.memory.enter();
            self.memory.zero_locals(&mut self.e, block);
            self.block(block);
            self.memory.leave();
            self.e.ins().jump(join, &[]);
        }
        self.e.b.seal_block(join);
        self.e.enter(join);
    }

    /// Runs items of a table's entry: the runtime's tables, whoever compiled what they lead to.
    fn call(&mut self, table: ParamId, operands: [ValueId; 3]) {
        self.load_all();
        let [entry, begin, end] = operands.map(|v| self.scope.segment(&mut self.e, v, 0));
        let e = &mut self.e;
        let tables = field(e, types::I64, self.ctx, CTX.tables);
        let table = element(e, tables, self.memory.word(table), TABLE_BYTES);
        let entries = follow(e, table, 0);
        let entry = element(e, entries, entry, ENTRY_BYTES);
        let kernel = follow(e, entry, 0);
        let args = follow(e, entry, ENTRY_ARGS);
        let operands = [self.ctx, args, begin, end];
        e.ins().call_indirect(self.called, kernel, &operands);
    }
}

/// Address of an element of an array of structures, whose size is a power of two.
fn element(e: &mut Emitter<'_>, base: Value, index: Value, bytes: u32) -> Value {
    let index = e.ins().uextend(types::I64, index);
    let by = e.int(bytes.trailing_zeros() as i32);
    let offset = e.ins().ishl(index, by);
    e.ins().iadd(base, offset)
}
