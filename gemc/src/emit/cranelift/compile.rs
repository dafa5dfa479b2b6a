//! All kernels of a program to machine code, in parallel: no kernel refers to another one.

use std::collections::BTreeMap;

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{ExternalName, Function};
use cranelift_codegen::{CompiledCode, Context, FinalizedRelocTarget};
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

/// Machine code of a kernel, which refers to nothing outside it but compiled copies, where it is for an object file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelCode {
    /// Name of the kernel.
    pub name: String,
    /// Code and literals.
    pub bytes: Vec<u8>,
    /// Alignment of the first byte.
    pub alignment: u64,
    /// Where it calls copies that stand beside it.
    pub(super) calls: Vec<Call>,
    /// For readers, where it was asked for.
    pub listing: Option<Listing>,
}

/// A place in the code of a kernel that is to hold the distance to a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) at: u32,
    /// Number of the copy.
    pub(super) copy: u32,
    pub(super) addend: i64,
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
    let refused = |reason: String| EmitError::Compile {
        kernel: name.clone(),
        reason,
    };
    context
        .compile(&*isa.inner, &mut ControlPlane::default())
        .map_err(|error| refused(format!("{:?}", error.inner)))?;
    let code = context.compiled_code();
    let code = code.ok_or_else(|| refused("there is no code".into()))?;
    let calls = calls(&context.func, code).map_err(|symbol| EmitError::Symbol {
        kernel: name.clone(),
        symbol,
    })?;
    let alignment = u64::from(code.buffer.alignment)
        .max(u64::from(isa.inner.function_alignment().minimum))
        .max(isa.inner.symbol_alignment());
    let disassembly = code.vcode.clone();
    Ok(KernelCode {
        name,
        bytes: code.code_buffer().to_vec(),
        alignment,
        calls,
        listing: clif
            .zip(disassembly)
            .map(|(clif, disassembly)| Listing { clif, disassembly }),
    })
}

/// Where code calls copies; otherwise what else it refers to.
fn calls(function: &Function, code: &CompiledCode) -> Result<Vec<Call>, String> {
    let names = function.params.user_named_funcs();
    let references = code.buffer.relocs().iter();
    let calls = references.map(|reference| match (reference.kind, &reference.target) {
        (Reloc::X86CallPCRel4, &FinalizedRelocTarget::ExternalName(ExternalName::User(name))) => {
            Ok(Call {
                at: reference.offset,
                copy: names[name].index,
                addend: reference.addend,
            })
        }
        _ => Err(format!("{:?}", reference.target)),
    });
    calls.collect()
}
