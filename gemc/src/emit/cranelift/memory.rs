//! Regions of a kernel as pointers, and accesses relative to them.
//!
//! The verifier proved every access in range, so nothing is checked here; slots are clamped as the IR says. Elements at
//! a literal distance from each other share one address, where the verifier's ranges exclude that an index wrapped.

use std::collections::HashMap;

use cranelift_codegen::ir::{
    InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, Value, types,
};
use gem_runtime::abi::ARG_UNIT;
use gemc_kernels::ir::homes::Homes;
use gemc_kernels::ir::verify::Range;
use gemc_kernels::ir::{Block, Kernel, Op, Param, ParamId, Space, ValueId};

use super::emitter::Emitter;
use super::layout::{CTX, POINTER_BYTES};
use super::scope::{Place, Scope};
use super::segments::Segments;

/// What a parameter is to the code.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    Region(Region),
    /// A scalar or the number of a table, as i32.
    Word(Value),
}

/// A region that a parameter stands for: its address and the size of its elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region {
    base: Base,
    /// Logarithm of the bytes of an element.
    shift: u32,
    /// Whether nothing writes it while kernels run.
    constant: bool,
}

#[derive(Clone, Copy, Debug)]
enum Base {
    /// The first element.
    Fixed(Value),
    /// Bytes from a slot's pointer to the region.
    Slots(Value),
}

/// A region, the slot where it has one in every slot, and an index.
pub(super) type Access = (ParamId, Option<ValueId>, ValueId);

/// A region of a slot, and the value that an index is relative to.
type Key = (ParamId, Option<ValueId>, Option<ValueId>);

/// The regions of a kernel, and addresses computed in enclosing blocks.
pub(super) struct Memory<'a> {
    ctx: Value,
    params: Vec<Bound>,
    ranges: &'a [Option<Range>],
    addresses: Vec<HashMap<Key, Value>>,
    /// The table of slots and the number of the last one, where the kernel has regions in slots.
    slots: Option<(Value, Value)>,
    /// Local arrays, with their sizes.
    locals: HashMap<ParamId, (Value, u32)>,
    homes: Homes<'a>,
}

/// Flags of an access that the verifier proved in range where it stands; it need not be aligned.
fn flags(constant: bool) -> MemFlagsData {
    let flags = MemFlagsData::new().with_notrap();
    if constant {
        flags.with_readonly()
    } else {
        flags
    }
}

/// Reads a field of the context or an argument, which can be read anywhere in a kernel.
pub(super) fn field(e: &mut Emitter<'_>, ty: types::Type, base: Value, offset: i32) -> Value {
    let flags = flags(true).with_aligned().with_can_move();
    e.ins().load(ty, flags, base, offset)
}

/// Reads what nothing writes while kernels run, through an address that is valid here.
pub(super) fn follow(e: &mut Emitter<'_>, base: Value, offset: i32) -> Value {
    e.ins()
        .load(types::I64, flags(true).with_aligned(), base, offset)
}

impl<'a> Memory<'a> {
    /// Binds every parameter, at the top of the kernel.
    pub(super) fn bind(
        e: &mut Emitter<'_>,
        kernel: &'a Kernel,
        ranges: &'a [Option<Range>],
        ctx: Value,
        args: Value,
    ) -> Self {
        let mut this = Self {
            ctx,
            params: Vec::with_capacity(kernel.params.len()),
            ranges,
            addresses: vec![HashMap::new()],
            slots: None,
            locals: HashMap::new(),
            homes: Homes::of(kernel),
        };
        let mut at = 0;
        for param in &kernel.params {
            let word = param
                .takes_argument()
                .then(|| field(e, types::I32, args, 4 * at));
            at += i32::from(word.is_some());
            let bound = this.param(e, param, word);
            this.params.push(bound);
        }
        this
    }

    fn param(&mut self, e: &mut Emitter<'_>, param: &Param, word: Option<Value>) -> Bound {
        let Param::Region {
            space, elem, len, ..
        } = param
        else {
            return Bound::Word(word.unwrap_or(self.ctx));
        };
        let bytes = elem.bytes();
        let base = match (space, word) {
            (Space::Weights, Some(word)) => self.offset(e, CTX.weights, word),
            (Space::Arena, Some(word)) => self.offset(e, CTX.arena, word),
            (Space::Kv, Some(word)) => self.slots(e, word, len.per_context == 0),
            (Space::Rows, _) => Base::Fixed(field(e, types::I64, self.ctx, CTX.rows)),
            (Space::Outputs, _) => Base::Fixed(field(e, types::I64, self.ctx, CTX.outputs)),
            _ => {
                let region = ParamId::from_index(self.params.len());
                Base::Fixed(self.local(e, region, len.fixed.unsigned_abs() as u32 * bytes))
            }
        };
        Bound::Region(Region {
            base,
            shift: bytes.trailing_zeros(),
            constant: matches!(space, Space::Weights | Space::Rows | Space::Outputs),
        })
    }

    /// An argument's distance from a buffer of the context.
    fn offset(&self, e: &mut Emitter<'_>, at: i32, word: Value) -> Base {
        let buffer = field(e, types::I64, self.ctx, at);
        let items = e.ins().uextend(types::I64, word);
        let by = e.int(ARG_UNIT.trailing_zeros() as i32);
        let offset = e.ins().ishl(items, by);
        Base::Fixed(e.ins().iadd(buffer, offset))
    }

    /// A region in every slot, `word * context` bytes behind its pointer; or one that does not grow with the context, so many
    /// units before it.
    fn slots(&mut self, e: &mut Emitter<'_>, word: Value, is_ring: bool) -> Base {
        if self.slots.is_none() {
            let table = field(e, types::I64, self.ctx, CTX.kv);
            let count = field(e, types::I32, self.ctx, CTX.n_slots);
            self.slots = Some((table, count));
        }
        if is_ring {
            let units = e.ins().uextend(types::I64, word);
            return Base::Slots(e.ins().imul_imm_s(units, -(ARG_UNIT as i64)));
        }
        let context = field(e, types::I32, self.ctx, CTX.context);
        let [word, context] = [word, context].map(|x| e.ins().uextend(types::I64, x));
        Base::Slots(e.ins().imul(word, context))
    }

    fn local(&mut self, e: &mut Emitter<'_>, region: ParamId, bytes: u32) -> Value {
        let bytes = bytes.next_multiple_of(64);
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4);
        let slot = e.b.create_sized_stack_slot(data);
        let base = e.ins().stack_addr(types::I64, slot, 0);
        self.locals.insert(region, (base, bytes));
        base
    }

    /// A scalar or table parameter.
    pub(super) fn word(&self, p: ParamId) -> Value {
        match self.params[p.index()] {
            Bound::Word(value) => value,
            Bound::Region(_) => unreachable!("{p} is a region, which the verifier refuses here"),
        }
    }

    fn region(&self, p: ParamId) -> Region {
        match self.params[p.index()] {
            Bound::Region(region) => region,
            Bound::Word(_) => unreachable!("{p} is no region, which the verifier refuses here"),
        }
    }

    /// Address of a region, of that in a slot where every slot has one.
    pub(super) fn base(
        &mut self,
        e: &mut Emitter<'_>,
        scope: &mut Scope<'_>,
        (region, slot): (ParamId, Option<ValueId>),
    ) -> Value {
        self.address(e, scope, (region, slot, None))
    }

    /// Local arrays are zero where the block begins that they belong to.
    pub(super) fn zero_locals(&self, e: &mut Emitter<'_>, block: &Block) {
        for region in self.homes.begin_at(block) {
            if let Some(&(base, bytes)) = self.locals.get(&region) {
                zero(e, base, bytes);
            }
        }
    }

    /// Addresses computed from here on are forgotten by the matching [`Memory::leave`].
    pub(super) fn enter(&mut self) {
        self.addresses.push(HashMap::new());
    }

    /// See [`Memory::enter`].
    pub(super) fn leave(&mut self) {
        self.addresses.pop();
    }

    /// Where a value is read.
    pub(super) fn place(
        &mut self,
        e: &mut Emitter<'_>,
        scope: &mut Scope<'_>,
        (region, slot, index): Access,
    ) -> Place {
        let (address, offset) = self.locate(e, scope, (region, slot, index));
        Place {
            address,
            offset,
            flags: flags(self.region(region).constant),
        }
    }

    /// Writes a value.
    pub(super) fn store(
        &mut self,
        e: &mut Emitter<'_>,
        scope: &mut Scope<'_>,
        access: Access,
        value: &Segments,
    ) {
        let (address, offset) = self.locate(e, scope, access);
        for (i, &segment) in value.values().iter().enumerate() {
            e.ins()
                .store(flags(false), segment, address, offset + 16 * i as i32);
        }
    }

    /// An address and a distance from it, which with a vector's length fits 32 bits.
    fn locate(
        &mut self,
        e: &mut Emitter<'_>,
        scope: &mut Scope<'_>,
        (region, slot, index): Access,
    ) -> (Value, i32) {
        let shift = self.region(region).shift;
        let (root, distance) = self.split(scope, index);
        match i32::try_from(distance << shift) {
            Ok(offset) if offset <= i32::MAX - 64 => {
                (self.address(e, scope, (region, slot, root)), offset)
            }
            _ => (self.address(e, scope, (region, slot, Some(index))), 0),
        }
    }

    /// An index as a value, or nothing, plus a literal; the sum does not wrap and neither part is negative before it.
    fn split(&self, scope: &Scope<'_>, index: ValueId) -> (Option<ValueId>, i64) {
        let (mut root, mut distance) = (index, 0);
        loop {
            if let Some(n) = scope.int(root) {
                return (None, distance + i64::from(n));
            }
            let Op::Add(a, b) = scope.defs[root.index()].op else {
                return (Some(root), distance);
            };
            let (inner, n) = match (scope.int(a), scope.int(b)) {
                (_, Some(n)) => (a, i64::from(n)),
                (Some(n), _) => (b, i64::from(n)),
                _ => return (Some(root), distance),
            };
            let exact = |r: Range| r.lo >= 0 && r.hi + n <= i64::from(i32::MAX);
            if !self.ranges[inner.index()].is_some_and(exact) {
                return (Some(root), distance);
            }
            (root, distance) = (inner, distance + n);
        }
    }

    fn address(&mut self, e: &mut Emitter<'_>, scope: &mut Scope<'_>, key: Key) -> Value {
        if let Some(&address) = self
            .addresses
            .iter()
            .rev()
            .find_map(|known| known.get(&key))
        {
            return address;
        }
        let (region, slot, root) = key;
        let address = match root {
            Some(root) => {
                let base = self.address(e, scope, (region, slot, None));
                let index = scope.segment(e, root, 0);
                let shift = self.region(region).shift;
                let elements = e.ins().uextend(types::I64, index);
                let by = e.int(shift as i32);
                let bytes = if shift == 0 {
                    elements
                } else {
                    e.ins().ishl(elements, by)
                };
                e.ins().iadd(base, bytes)
            }
            None => match (self.region(region).base, slot) {
                (Base::Slots(before), Some(slot)) => {
                    let slot = scope.segment(e, slot, 0);
                    self.in_slot(e, before, slot)
                }
                (Base::Fixed(base) | Base::Slots(base), _) => base,
            },
        };
        if let Some(innermost) = self.addresses.last_mut() {
            innermost.insert(key, address);
        }
        address
    }

    /// A region of a slot; one that does not exist is the last one.
    fn in_slot(&self, e: &mut Emitter<'_>, before: Value, slot: Value) -> Value {
        let (table, count) = self.slots.unwrap_or((before, slot));
        let slot = e.bounded(slot, count);
        let slot = e.ins().uextend(types::I64, slot);
        let by = e.int(POINTER_BYTES.trailing_zeros() as i32);
        let at = e.ins().ishl(slot, by);
        let at = e.ins().iadd(table, at);
        let memory = follow(e, at, 0);
        e.ins().iadd(memory, before)
    }
}

/// Bytes up to which memory is zeroed without a loop.
const ZERO_INLINE: u32 = 512;

/// Zeroes `bytes` bytes, a multiple of 64.
fn zero(e: &mut Emitter<'_>, base: Value, bytes: u32) {
    if bytes <= ZERO_INLINE {
        return zero_lines(e, base, bytes);
    }
    let size = e.ins().iconst(types::I64, i64::from(bytes));
    let end = e.ins().iadd(base, size);
    let body = e.b.create_block();
    let done = e.b.create_block();
    let at = e.b.append_block_param(body, types::I64);
    e.ins().jump(body, &[base.into()]);
    e.enter(body);
    zero_lines(e, at, 64);
    let step = e.ins().iconst(types::I64, 64);
    let next = e.ins().iadd(at, step);
    let more = e.compare(gemc_kernels::ir::Cmp::Ne, next, end);
    e.ins().brif(more, body, &[next.into()], done, &[]);
    e.b.seal_block(body);
    e.enter(done);
    e.b.seal_block(done);
}

fn zero_lines(e: &mut Emitter<'_>, base: Value, bytes: u32) {
    let zero = e.words(0);
    for offset in (0..bytes).step_by(16) {
        e.ins().store(flags(false), zero, base, offset as i32);
    }
}
