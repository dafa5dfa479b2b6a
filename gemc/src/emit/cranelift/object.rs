//! Machine code to an object file for a linker, without rustc: no undefined symbol, every kernel under a stable name.

use cranelift_module::{Linkage, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule};

use super::{Compiled, EmitError, Isa, define};

/// Prefix of the symbol of a kernel; its name follows.
pub const SYMBOL_PREFIX: &str = "gem_kernel_";

/// Why there is no object file.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The code.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The file.
    #[error("internal fault, please report: writing the object file: {0}")]
    Write(String),
}

/// The bytes of an object file with all kernels, exported as [`SYMBOL_PREFIX`] and their name.
///
/// # Errors
/// Only for faults of gemc or Cranelift.
pub fn object(compiled: &Compiled, isa: &Isa) -> Result<Vec<u8>, ObjectError> {
    let builder = ObjectBuilder::new(isa.shared(), "gem", default_libcall_names())
        .map_err(|e| ObjectError::Write(e.to_string()))?;
    let mut module = ObjectModule::new(builder);
    define(&mut module, compiled, Linkage::Export, |_, code| {
        format!("{SYMBOL_PREFIX}{}", code.name)
    })?;
    let product = module.finish();
    product
        .emit()
        .map_err(|e| ObjectError::Write(e.to_string()))
}
