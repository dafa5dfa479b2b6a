//! The functions of `gem.h` as Cranelift IR: sizes, checks, and one thread that runs the phases.
//!
//! Everything a function does is decided by numbers of the program, which stand in its code as literals. Invariant: a
//! function that returns an error has written nothing but through its own checks' registers, so the model is as before.

mod check;
mod code;
mod digest;
mod open;
mod step;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use cranelift_module::{FuncId, Linkage};
use cranelift_object::ObjectModule;
use gem_runtime::Task;
use gem_runtime::c::Status;

use super::tables::Places;
use super::{Contents, Data, ObjectError};
use crate::emit::cranelift::layout::CTX;
use code::{Code, Function};

/// Where a model keeps what, behind its start.
mod state {
    /// A `Ctx`, first.
    pub(super) const CTX: i32 = 0;
    /// The only pointer of `Ctx::kv`.
    pub(super) const SLOT: i32 = 64;
    /// Tokens the sequence holds.
    pub(super) const POSITION: i32 = 72;
    /// The only index of `Ctx::outputs`.
    pub(super) const OUTPUT: i32 = 76;
    /// Positions that were written since the sequence was empty.
    pub(super) const WRITTEN: i32 = 80;
    /// The rows of a step; then, each 64-byte aligned, the arena and the key/value memory.
    pub(super) const ROWS: u64 = 128;
}

/// Bytes of a `Row`.
const ROW_BYTES: u32 = 16;

/// Alignment of memory.
const ALIGNMENT: u64 = 64;

/// Numbers of the program and data of the object, for every function.
struct Facts<'a> {
    contents: &'a Contents<'a>,
    places: Places,
    data: &'a Data,
}

impl Facts<'_> {
    /// Where the arena starts.
    fn arena(&self) -> u64 {
        let rows = u64::from(ROW_BYTES) * u64::from(self.contents.program.shape.max_rows);
        (state::ROWS + rows).next_multiple_of(ALIGNMENT)
    }

    /// Where a slot's pointer points: behind its rings, which are a multiple of [`ALIGNMENT`] long.
    fn kv(&self) -> u64 {
        let shape = &self.contents.program.shape;
        let start = (self.arena() + u64::from(shape.arena_bytes)).next_multiple_of(ALIGNMENT);
        start + u64::from(shape.ring_bytes)
    }

    fn max_context(&self) -> u32 {
        let rows = self.contents.program.shape.max_rows;
        self.contents.info.most_positions(rows)
    }

    /// Whether sequences grow; otherwise each call is a text of its own.
    fn grows(&self) -> bool {
        self.contents.info.task == Task::CausalLm
    }

    /// Address of a byte of the tables.
    fn table(&self, code: &mut Code<'_>, at: u32) -> Value {
        let tables = code.data(self.data.tables);
        code.offset(tables, u64::from(at))
    }
}

/// Defines and exports the functions.
pub(super) fn define(
    module: &mut ObjectModule,
    contents: &Contents<'_>,
    places: &Places,
    data: &Data,
) -> Result<(), ObjectError> {
    let facts = &Facts {
        contents,
        places: *places,
        data,
    };
    let params = [I64, I64, I32];
    let run = local(module, contents, "run", &params, None, step::run)?;
    let params = [I64, I64];
    let digest = local(
        module,
        contents,
        "digest",
        &params,
        Some(I64),
        digest::digest,
    )?;
    let mut export = |name, params: &[_], result, write: &dyn Fn(&mut Code<'_>, &[Value])| {
        let function = Function {
            name: &format!("{}_{name}", contents.prefix),
            linkage: Linkage::Export,
            params,
            result,
        };
        code::define(module, &function, write).map(drop)
    };
    export("memory", &[I32], Some(I64), &|c, p| {
        open::memory(c, facts, p)
    })?;
    let params = [I64, I64, I64, I64, I64, I32];
    export("open", &params, Some(I32), &|c, p| {
        open::open(c, facts, digest, p);
    })?;
    export("check", &[I64, I64], Some(I32), &|c, p| {
        check::check(c, facts, digest, p);
    })?;
    let params = [I64, I64, I32, I64];
    export("step", &params, Some(I32), &|c, p| {
        step::step(c, facts, run, p);
    })?;
    export("position", &[I64], Some(I32), &|c, p| {
        let position = c.load(I32, p[0], state::POSITION);
        c.ret(&[position]);
    })?;
    export("context", &[I64], Some(I32), &|c, p| {
        let context = c.load(I32, p[0], state::CTX + CTX.context);
        c.ret(&[context]);
    })?;
    export("truncate", &[I64, I32], Some(I32), &|c, p| {
        truncate(c, facts, p[0], p[1]);
    })?;
    export("reset", &[I64], None, &|c, p| {
        forget_all(c, p[0]);
        c.ret(&[]);
    })?;
    export("error", &[I32], Some(I64), &|c, p| {
        // As an unsigned number, so that negative ones are unknown as well.
        let unknown = c.word(Status::ALL.len() as u32);
        let known = c.ins().umin(p[0], unknown);
        let messages = facts.table(c, facts.places.messages);
        let message = c.element(messages, known, 8);
        let message = c.load(I64, message, 0);
        c.ret(&[message]);
    })
}

/// `int gem_truncate(gem_model *model, uint32_t n)`, by the rule of `ProgramShape::can_rewind`.
fn truncate(c: &mut Code<'_>, facts: &Facts<'_>, model: Value, n: Value) {
    let held = c.load(I32, model, state::POSITION);
    let fewer = c.is(n, IntCC::UnsignedLessThan, held);
    c.when(fewer, |c| {
        let empty = c.is_zero(I32, n);
        c.when(empty, |c| {
            forget_all(c, model);
            c.status(Status::Ok);
            false
        });
        let written = c.load(I32, model, state::WRITTEN);
        let back = c.ins().isub(written, n);
        let most = c.word(facts.contents.program.shape.rewind);
        let lost = c.is(back, IntCC::UnsignedGreaterThan, most);
        c.fail_if(lost, Status::Overwritten);
        c.store(n, model, state::POSITION);
        true
    });
    c.status(Status::Ok);
}

fn forget_all(c: &mut Code<'_>, model: Value) {
    let none = c.word(0);
    c.store(none, model, state::POSITION);
    c.store(none, model, state::WRITTEN);
}

fn local(
    module: &mut ObjectModule,
    contents: &Contents<'_>,
    name: &str,
    params: &[Type],
    result: Option<Type>,
    write: impl Fn(&mut Code<'_>, &[Value]),
) -> Result<FuncId, ObjectError> {
    let function = Function {
        name: &format!("{}_{name}", contents.prefix),
        linkage: Linkage::Local,
        params,
        result,
    };
    code::define(module, &function, &write)
}
