//! Memory of one step, to run small programs on; and random programs to run.
//!
//! For tests: filetests, and the comparison of the executions with each other.

mod arbitrary;
mod bytes;
mod memory;

pub use arbitrary::{any_program, valid_program};
pub use bytes::Bytes;
pub use memory::{Image, Memory, Step};

use super::interp::{InterpProgram, Trap};
use super::verify::Verified;
use super::{Function, Items, Kernel, KernelId, Phase, Program, ProgramShape, TableEntry};
use gem_runtime::abi::{self, Part};

/// One kernel as a program of one body phase.
#[must_use]
pub fn program_of(
    shape: ProgramShape,
    functions: Vec<Function>,
    kernel: Kernel,
    args: &[u32],
    items: Items,
) -> Program {
    let entry = TableEntry {
        kernel: KernelId(0),
        args: args.to_vec(),
    };
    Program {
        shape,
        functions,
        kernels: vec![kernel],
        tables: Vec::new(),
        body: vec![Phase {
            entry,
            items,
            doc: String::new(),
        }],
        head: Vec::new(),
        taps: Vec::new(),
        halves: Vec::new(),
    }
}

/// Runs body and head of a program in the interpreter, checking for races, and the verifier's ranges against values.
///
/// # Errors
/// The first trap.
pub fn interpret(verified: &Verified, memory: &mut Memory) -> Result<(), Trap> {
    let program = InterpProgram::with_proof_check(verified).with_race_check();
    for_each_phase(&program, memory, |memory, part, phase, items| {
        let ctx = memory.ctx();
        // SAFETY: `memory` was made for this program's shape, and phases run in order, each item once.
        unsafe { program.try_run(part, phase, &ctx, 0, items) }
    })
}

/// Runs body and head of any program on one thread. `memory` must have been made for its shape.
pub fn run(program: &dyn abi::Executable, memory: &mut Memory) {
    assert_eq!(*program.shape(), memory.shape, "memory of another program");
    let done: Result<(), Trap> = for_each_phase(program, memory, |memory, part, phase, items| {
        let mut ctx = memory.ctx();
        ctx.tables = program.tables().as_ptr();
        // SAFETY: `memory` has the program's shape, and phases run in order, each item once.
        unsafe { program.run(part, phase, &ctx, 0, items) };
        Ok(())
    });
    debug_assert!(done.is_ok());
}

fn for_each_phase(
    program: &dyn abi::Executable,
    memory: &mut Memory,
    mut f: impl FnMut(&mut Memory, Part, usize, u32) -> Result<(), Trap>,
) -> Result<(), Trap> {
    for part in [Part::Body, Part::Head] {
        for (phase, items) in program.phases(part).iter().enumerate() {
            // SAFETY: the arena has the size of the shape, which the verifier held the offset against.
            let items = unsafe { items.count(&memory.ctx()) };
            f(memory, part, phase, items)?;
        }
    }
    Ok(())
}

/// A shape with an arena and weights of these bytes, up to 8 rows and 4 outputs, no logits.
#[must_use]
pub const fn shape(
    arena_bytes: u32,
    weight_bytes: u64,
    kv_bytes_per_position: u32,
) -> ProgramShape {
    ProgramShape {
        arena_bytes,
        kv_bytes_per_position,
        ring_bytes: 0,
        rewind: ProgramShape::ANY,
        max_rows: 8,
        max_outputs: 4,
        logits: 0,
        logits_stride: 0,
        weight_bytes,
    }
}
