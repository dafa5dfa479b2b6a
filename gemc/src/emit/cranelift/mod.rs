//! Verified kernel IR to machine code through Cranelift: every kernel that a phase or table leads to becomes a function
//! of the signature [`gem_runtime::abi::KernelFn`].
//!
//! The code computes the interpreter's bits. It stands alone: it refers to no symbol, so it can be placed by any
//! [`Module`], in this process or in an object file. A 64-byte vector is four values of 128 bits, pure functions are
//! translated where they are called, and calls through tables read the runtime's tables, so one runtime serves programs
//! of every origin.

mod compile;
mod copy;
mod dot;
mod emitter;
mod error;
mod half;
mod isa;
mod kernel;
mod layout;
mod literal;
mod memory;
#[cfg(feature = "object")]
pub mod object;
mod ops;
mod scope;
mod segments;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use cranelift_module::{FuncId, Linkage, Module};

pub use compile::{KernelCode, Listing, MachineCode, compile};
pub use error::{EmitError, IsaError};
pub use isa::{Effort, Isa};

use gemc_kernels::ir::KernelId;

/// Places the code of all kernels in a module, under the names that `name` gives them.
///
/// # Errors
/// When the module has no room or has the name already.
pub fn define<M: Module>(
    module: &mut M,
    compiled: &MachineCode,
    linkage: Linkage,
    name: impl Fn(KernelId, &KernelCode) -> String,
) -> Result<BTreeMap<KernelId, FuncId>, EmitError> {
    let signature = kernel::signature(module.isa().default_call_conv());
    let mut functions = BTreeMap::new();
    for (&id, code) in &compiled.kernels {
        let place = |module: &mut M| {
            let function = module
                .declare_function(&name(id, code), linkage, &signature)
                .map_err(Box::new)?;
            module
                .define_function_bytes(function, code.alignment, &code.bytes, &[])
                .map_err(Box::new)?;
            Ok::<FuncId, EmitError>(function)
        };
        functions.insert(id, place(module)?);
    }
    Ok(functions)
}
