//! All kernels of a program to machine code, in parallel: no kernel refers to another one.

use std::collections::BTreeMap;

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_frontend::FunctionBuilderContext;
use gemc_kernels::ir::KernelId;
use gemc_kernels::ir::reach::reachable;
use gemc_kernels::ir::verify::Verified;
use rayon::prelude::*;

use super::error::EmitError;
use super::isa::Isa;
use super::kernel::translate;
use crate::workers;

/// Machine code of a program's kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineCode {
    /// By kernel; those that nothing leads to are absent.
    pub kernels: BTreeMap<KernelId, KernelCode>,
}

impl MachineCode {
    /// Bytes of machine code, with the literals beside it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.kernels.values().map(|code| code.bytes.len()).sum()
    }
}

/// Machine code of a kernel, which refers to nothing outside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelCode {
    /// Name of the kernel.
    pub name: String,
    /// Code and literals.
    pub bytes: Vec<u8>,
    /// Alignment of the first byte.
    pub alignment: u64,
    /// For readers, where it was asked for.
    pub listing: Option<Listing>,
}

/// What was made of a kernel, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Cranelift IR as it was translated.
    pub clif: String,
    /// Machine instructions.
    pub disassembly: String,
}

/// Compiles every kernel that a phase or table leads to. The same program gives the same bytes, whatever the number of
/// threads.
///
/// # Errors
/// Only for faults of gemc or Cranelift.
pub fn compile(verified: &Verified, isa: &Isa, listings: bool) -> Result<MachineCode, EmitError> {
    let ids: Vec<KernelId> = reachable(verified.program()).kernels.into_iter().collect();
    let scratch = || (Context::new(), FunctionBuilderContext::new());
    let codes = ids.par_iter().map_init(scratch, |(context, builder), &id| {
        Ok((id, kernel(verified, id, isa, listings, context, builder)?))
    });
    let kernels = workers::within(|| codes.collect::<Result<_, EmitError>>())?;
    Ok(MachineCode { kernels })
}

fn kernel(
    verified: &Verified,
    id: KernelId,
    isa: &Isa,
    listings: bool,
    context: &mut Context,
    builder: &mut FunctionBuilderContext,
) -> Result<KernelCode, EmitError> {
    let program = verified.program();
    let kernel = verified.kernel(id);
    let name = kernel.name.clone();
    context.clear();
    translate(
        program,
        kernel,
        verified.info(id),
        isa,
        &mut context.func,
        builder,
    );
    let clif = listings.then(|| context.func.display().to_string());
    context.set_disasm(listings);
    let code = context
        .compile(&*isa.inner, &mut ControlPlane::default())
        .map_err(|error| EmitError::Compile {
            kernel: name.clone(),
            reason: format!("{:?}", error.inner),
        })?;
    if let Some(reference) = code.buffer.relocs().first() {
        return Err(EmitError::Symbol {
            kernel: name,
            symbol: format!("{:?}", reference.target),
        });
    }
    let alignment = u64::from(code.buffer.alignment)
        .max(u64::from(isa.inner.function_alignment().minimum))
        .max(isa.inner.symbol_alignment());
    let disassembly = code.vcode.clone();
    Ok(KernelCode {
        name,
        bytes: code.code_buffer().to_vec(),
        alignment,
        listing: clif
            .zip(disassembly)
            .map(|(clif, disassembly)| Listing { clif, disassembly }),
    })
}
