//! What can go wrong between a verified program and code that runs in this process.

use std::io;

use cranelift_module::ModuleError;

use crate::emit::cranelift::{EmitError, IsaError};

/// Why a program cannot be run as machine code here.
#[derive(Debug, thiserror::Error)]
pub enum JitError {
    /// A target of another architecture.
    #[error(
        "target `{target}` ({triple}) cannot run in this process, which is {host}; \
         build a crate for it instead (`gemc build`), or choose `host`"
    )]
    Foreign {
        /// Name of the target.
        target: String,
        /// Triple of the Rust target that its code is for.
        triple: String,
        /// Architecture of this machine.
        host: &'static str,
    },
    /// A target whose CPUs can more than this one.
    #[error("target `{target}` needs {missing}, which this CPU lacks; choose `host`")]
    Features {
        /// Name of the target.
        target: String,
        /// The CPU features that the target needs and this machine lacks.
        missing: String,
    },
    /// The system does not let a process make memory executable.
    #[error(
        "this system forbids executable memory, so kernels cannot be compiled in this process: {0}; \
         a program built ahead (`--backend rust`) and the interpreter (`--backend interp`) need none"
    )]
    Forbidden(#[source] io::Error),
    /// No address space.
    #[error("no memory for {bytes} bytes of machine code: {reason}")]
    Memory {
        /// Bytes of code that were asked for.
        bytes: usize,
        /// What the system said.
        reason: String,
    },
    /// Cranelift cannot make code for this machine.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// The kernels could not be translated.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The code's last step.
    #[error("making machine code executable: {0}")]
    Finish(#[from] Box<ModuleError>),
}
