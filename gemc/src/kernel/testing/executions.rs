//! A program that the interpreter has run -> the same as machine code of this process, which must leave the same memory.

use super::{Image, Memory, run};
use crate::emit::cranelift::Effort;
use crate::jit::JitProgram;
use crate::kernel::verify::Verified;

/// Runs a program as machine code of every effort on what `start` makes, and holds what it leaves against `expected`.
///
/// # Errors
/// Which machine code could not be made, or where its memory differs.
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
