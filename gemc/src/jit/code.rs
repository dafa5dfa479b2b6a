//! Machine code in memory that this process may run, freed when it is dropped.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cranelift_jit::{ArenaMemoryProvider, JITBuilder, JITModule};
use cranelift_module::{Linkage, default_libcall_names};
use gem_runtime::abi::KernelFn;
use gemc_kernels::ir::KernelId;
use memmap2::MmapMut;

use super::JitError;
use crate::emit::cranelift::{Isa, MachineCode, define};

/// Address space of a function is rounded up to this: the memory below it grows in pages, by function. Only what is
/// used of it becomes memory.
const ROUNDING: usize = 64 << 10;

/// Kernels as functions.
pub(super) struct Code {
    /// Owns the memory. It is locked only to be dropped: functions are called through `functions`.
    module: Mutex<Option<JITModule>>,
    functions: BTreeMap<KernelId, KernelFn>,
}

impl Code {
    /// Places code in memory of its own and makes it executable.
    pub(super) fn new(compiled: &MachineCode, isa: &Isa) -> Result<Self, JitError> {
        may_execute().map_err(JitError::Forbidden)?;
        let sizes = compiled.kernels.values().map(|code| code.bytes.len());
        let bytes = sizes
            .map(|size| (size + 1).next_multiple_of(ROUNDING))
            .sum::<usize>();
        let bytes = bytes.max(ROUNDING);
        let memory = ArenaMemoryProvider::new_with_size(bytes).map_err(|e| JitError::Memory {
            bytes,
            reason: e.to_string(),
        })?;
        let mut builder = JITBuilder::with_isa(isa.shared(), default_libcall_names());
        builder.memory_provider(Box::new(memory));
        let mut module = JITModule::new(builder);
        let ids = define(&mut module, compiled, Linkage::Local, |id, code| {
            format!("{id}_{}", code.name)
        })?;
        module.finalize_definitions().map_err(Box::new)?;
        let functions = ids
            .into_iter()
            .map(|(kernel, function)| {
                let address = module.get_finalized_function(function);
                // SAFETY: `define` gave the function the signature of `KernelFn` and the host's calling convention,
                // and the code at the address is complete and executable.
                let function = unsafe { std::mem::transmute::<*const u8, KernelFn>(address) };
                (kernel, function)
            })
            .collect();
        Ok(Self {
            module: Mutex::new(Some(module)),
            functions,
        })
    }

    /// A kernel's function, to be called no longer than this lives.
    pub(super) fn function(&self, id: KernelId) -> Option<KernelFn> {
        self.functions.get(&id).copied()
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        let module = self
            .module
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = module.take() {
            // SAFETY: whoever got a function may not call it after `self` is gone.
            unsafe { module.free_memory() };
        }
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code")
            .field("functions", &self.functions.len())
            .finish_non_exhaustive()
    }
}

/// Tries what the module will do, since it knows no error for it: memory that was written becomes executable.
fn may_execute() -> std::io::Result<()> {
    MmapMut::map_anon(1)?.make_exec().map(drop)
}
