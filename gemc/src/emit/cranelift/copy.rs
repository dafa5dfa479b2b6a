//! An outline to a call of its compiled copy: regions, inputs and locals go through memory of the caller's frame.

use super::copies::Copy;
use super::emitter::Emitter;
use cranelift_codegen::ir::{
    AbiParam, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind, Value, types,
};
#[cfg(feature = "object")]
use cranelift_codegen::ir::{ExtFuncData, ExternalName, FuncRef, SigRef, UserExternalName};
use cranelift_codegen::isa::CallConv;

/// The signature of [`gemc_kernels::micro::Run`].
pub(super) fn signature(convention: CallConv) -> Signature {
    let mut signature = Signature::new(convention);
    signature.params.extend([AbiParam::new(types::I64); 3]);
    signature
}

/// Memory of the frame, 64-byte aligned.
struct Frame {
    address: Value,
}

impl Frame {
    fn new(e: &mut Emitter<'_>, bytes: usize) -> Self {
        const ALIGN_SHIFT: u8 = 6;
        let bytes = (bytes as u32).max(1);
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, ALIGN_SHIFT);
        let slot = e.b.create_sized_stack_slot(data);
        Self {
            address: e.ins().stack_addr(types::I64, slot, 0),
        }
    }

    fn put(&self, e: &mut Emitter<'_>, value: Value, at: usize) {
        e.ins().store(flags(), value, self.address, at as i32);
    }
}

/// Accesses lie in a frame made for them.
fn flags() -> MemFlagsData {
    MemFlagsData::new().with_notrap().with_aligned()
}

/// A copy that will stand in the same object file; [`super::compile`] reads its number.
#[cfg(feature = "object")]
fn function(e: &mut Emitter<'_>, signature: SigRef, number: u32) -> FuncRef {
    let name = UserExternalName::new(0, number);
    let name = e.b.func.declare_imported_user_function(name);
    e.b.import_function(ExtFuncData {
        name: ExternalName::user(name),
        signature,
        colocated: true,
        patchable: false,
    })
}

/// Calls the copy; gives the locals, four segments each, as it leaves them.
pub(super) fn call(
    e: &mut Emitter<'_>,
    convention: CallConv,
    copy: Copy,
    regions: &[Value],
    inputs: &[Value],
    locals: &[[Value; 4]],
) -> Vec<[Value; 4]> {
    let frames = [8 * regions.len(), 4 * inputs.len(), 64 * locals.len()];
    let [bases, words, lanes] = frames.map(|bytes| Frame::new(e, bytes));
    for (i, &base) in regions.iter().enumerate() {
        bases.put(e, base, 8 * i);
    }
    for (i, &word) in inputs.iter().enumerate() {
        words.put(e, word, 4 * i);
    }
    for (i, segments) in locals.iter().enumerate() {
        for (j, &segment) in segments.iter().enumerate() {
            lanes.put(e, segment, 64 * i + 16 * j);
        }
    }
    let called = e.b.import_signature(signature(convention));
    let operands = [bases.address, words.address, lanes.address];
    match copy {
        Copy::Here(run) => {
            let code = e.ins().iconst(types::I64, run as usize as i64);
            e.ins().call_indirect(called, code, &operands);
        }
        #[cfg(feature = "object")]
        Copy::Merged(number) => {
            let function = function(e, called, number);
            e.ins().call(function, &operands);
        }
    }
    let mut load = |at: usize| {
        e.ins()
            .load(types::F32X4, flags(), lanes.address, at as i32)
    };
    (0..locals.len())
        .map(|i| [0, 1, 2, 3].map(|j| load(64 * i + 16 * j)))
        .collect()
}
