//! What can go wrong between a verified program and machine code.

use cranelift_module::ModuleError;

/// Why there is no description of a target's instructions.
#[derive(Debug, thiserror::Error)]
pub enum IsaError {
    /// An architecture without a backend.
    #[error(
        "target `{target}`: no machine code for `{triple}`; Cranelift is built here for x86-64 and aarch64"
    )]
    Architecture {
        /// Name of the target.
        target: String,
        /// The Rust target's triple.
        triple: String,
    },
    /// Instructions that kernels need and the target does not promise.
    #[error(
        "target `{target}`: its CPUs may lack {features}, which kernels need; \
         a target of level x86_v3 or higher has them"
    )]
    Baseline {
        /// Name of the target.
        target: String,
        /// The missing CPU features, separated by commas.
        features: String,
    },
    /// The machine this runs on is none that Cranelift knows.
    #[error("no machine code for this machine: {0}")]
    Host(&'static str),
    /// A fault of gemc: a setting that Cranelift does not have.
    #[error("internal fault, please report: {0}")]
    Setting(String),
}

/// Why a program did not become machine code.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// A fault of gemc or Cranelift.
    #[error("internal fault, please report: Cranelift refused kernel {kernel}: {reason}")]
    Compile {
        /// Name of the kernel.
        kernel: String,
        /// Cranelift's own message.
        reason: String,
    },
    /// A fault of gemc: machine code is to stand alone.
    #[error("internal fault, please report: the code of kernel {kernel} refers to {symbol}")]
    Symbol {
        /// Name of the kernel.
        kernel: String,
        /// What it refers to.
        symbol: String,
    },
    /// The module refused the code.
    #[error("placing machine code: {0}")]
    Module(#[from] Box<ModuleError>),
}
