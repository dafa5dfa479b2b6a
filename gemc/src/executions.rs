//! A small program in the interpreter and as machine code of this process, which must leave the same memory. For tests.

use gemc_kernels::ir::interp::Trap;
#[cfg(feature = "jit")]
use gemc_kernels::ir::testing::{Image, run};
use gemc_kernels::ir::testing::{Memory, interpret, program_of};
#[cfg(feature = "jit")]
use gemc_kernels::ir::verify::Verified;
use gemc_kernels::ir::verify::{VerifyError, verify};
use gemc_kernels::ir::{Function, Items, Kernel, Program};

#[cfg(feature = "jit")]
use crate::emit::cranelift::Effort;
#[cfg(feature = "jit")]
use crate::jit::JitProgram;

/// Why a test program did not run to its end.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RunError {
    /// It is not well-formed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Verify(Vec<VerifyError>),
    /// It broke a rule while running.
    #[error("{0}")]
    Trap(#[from] Trap),
    /// Machine code left other memory than the interpreter.
    #[error("{0}")]
    Differs(String),
}

/// Verifies one kernel and runs `items` of it in the interpreter, checking for races, and as machine code. `memory` is
/// changed by it.
///
/// # Errors
/// What the verifier refused, the trap, or where machine code left other memory.
pub fn run_kernel(
    memory: &mut Memory,
    functions: Vec<Function>,
    kernel: Kernel,
    args: &[u32],
    items: u32,
) -> Result<(), RunError> {
    let program = program_of(memory.shape, functions, kernel, args, Items::Fixed(items));
    run_program(memory, program)
}

/// The same with a program, which `memory` was made for.
///
/// # Errors
/// As [`run_kernel`].
pub fn run_program(memory: &mut Memory, program: Program) -> Result<(), RunError> {
    let verified = verify(program).map_err(RunError::Verify)?;
    #[cfg(feature = "jit")]
    let before = memory.clone();
    interpret(&verified, memory)?;
    #[cfg(feature = "jit")]
    check_machine_code(&verified, &memory.image(), || before.clone()).map_err(RunError::Differs)?;
    Ok(())
}

/// Runs a program as machine code of every effort on what `start` makes, and holds what it leaves against `expected`.
///
/// # Errors
/// Which machine code could not be made, or where its memory differs.
#[cfg(feature = "jit")]
pub fn check_machine_code(
    verified: &Verified,
    expected: &Image,
    start: impl Fn() -> Memory,
) -> Result<(), String> {
    for effort in [Effort::Low, Effort::High] {
        let jit = JitProgram::with_effort(verified, effort).map_err(|e| e.to_string())?;
        let mut memory = start();
        run(&jit, &mut memory);
        if let Some(difference) = expected.difference(&memory.image()) {
            return Err(format!(
                "interpreter and machine code ({effort:?}) differ: {difference}"
            ));
        }
    }
    Ok(())
}
