//! A function of Cranelift IR in the making, with the few forms that the driver is written in: loads and stores at
//! offsets, loops that count, and returns with an error.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{AbiParam, InstBuilder, MemFlagsData, Signature, Type, Value};
use cranelift_frontend::{FuncInstBuilder, FunctionBuilder, FunctionBuilderContext, Variable};
use cranelift_module::{DataId, FuncId, Linkage, Module as _};
use cranelift_object::ObjectModule;
use gem_runtime::c::Status;

use super::ObjectError;
use crate::emit::cranelift::kernel;

/// A function to be written.
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) linkage: Linkage,
    pub(super) params: &'a [Type],
    pub(super) result: Option<Type>,
}

/// Adds a function to the object; `write` gets its parameters and returns on every path.
pub(super) fn define(
    module: &mut ObjectModule,
    function: &Function<'_>,
    write: &dyn Fn(&mut Code<'_>, &[Value]),
) -> Result<FuncId, ObjectError> {
    let mut signature = Signature::new(module.isa().default_call_conv());
    let params = function.params.iter().map(|ty| AbiParam::new(*ty));
    signature.params.extend(params);
    signature.returns.extend(function.result.map(AbiParam::new));
    let id = module
        .declare_function(function.name, function.linkage, &signature)
        .map_err(ObjectError::write)?;
    let mut context = module.make_context();
    context.func.signature = signature;
    let config = module.target_config();
    let mut scratch = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut context.func, &mut scratch);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let params = b.block_params(entry).to_vec();
    let mut code = Code { b, module };
    write(&mut code, &params);
    code.b.finalize(config);
    module
        .define_function(id, &mut context)
        .map_err(ObjectError::write)?;
    Ok(id)
}

/// A function in the making.
pub(super) struct Code<'c> {
    b: FunctionBuilder<'c>,
    module: &'c mut ObjectModule,
}

impl<'c> Code<'c> {
    /// The next instruction.
    pub(super) fn ins(&mut self) -> FuncInstBuilder<'_, 'c> {
        self.b.ins()
    }

    /// A 32-bit literal.
    pub(super) fn word(&mut self, n: u32) -> Value {
        self.ins().iconst(I32, i64::from(n))
    }

    /// A 64-bit literal.
    pub(super) fn wide(&mut self, n: u64) -> Value {
        self.ins().iconst(I64, n.cast_signed())
    }

    /// Reads a field, aligned at its size.
    pub(super) fn load(&mut self, ty: Type, base: Value, offset: i32) -> Value {
        let flags = MemFlagsData::new().with_aligned();
        self.ins().load(ty, flags, base, offset)
    }

    /// Writes a field, aligned at its size.
    pub(super) fn store(&mut self, value: Value, base: Value, offset: i32) {
        let flags = MemFlagsData::new().with_aligned();
        self.ins().store(flags, value, base, offset);
    }

    /// An address `bytes` further on.
    pub(super) fn offset(&mut self, base: Value, bytes: u64) -> Value {
        let bytes = self.wide(bytes);
        self.ins().iadd(base, bytes)
    }

    /// Address of an element of an array, by a 32-bit index.
    pub(super) fn element(&mut self, base: Value, index: Value, bytes: u32) -> Value {
        let index = self.ins().uextend(I64, index);
        let bytes = self.wide(u64::from(bytes));
        let offset = self.ins().imul(index, bytes);
        self.ins().iadd(base, offset)
    }

    /// Address of a constant of the object.
    pub(super) fn data(&mut self, data: DataId) -> Value {
        let data = self.module.declare_data_in_func(data, self.b.func);
        self.ins().symbol_value(I64, data)
    }

    /// Calls a function of the object that returns nothing.
    pub(super) fn call(&mut self, function: FuncId, operands: &[Value]) {
        let function = self.module.declare_func_in_func(function, self.b.func);
        self.ins().call(function, operands);
    }

    /// Calls a function of the object that returns a value.
    pub(super) fn called(&mut self, function: FuncId, operands: &[Value]) -> Value {
        let function = self.module.declare_func_in_func(function, self.b.func);
        let call = self.ins().call(function, operands);
        self.b.inst_results(call)[0]
    }

    /// Calls a kernel by its address.
    pub(super) fn call_kernel(&mut self, kernel: Value, operands: &[Value]) {
        let convention = self.module.isa().default_call_conv();
        let signature = self.b.import_signature(kernel::signature(convention));
        self.ins().call_indirect(signature, kernel, operands);
    }

    /// `a condition b`, as a value to branch on.
    pub(super) fn is(&mut self, a: Value, condition: IntCC, b: Value) -> Value {
        self.ins().icmp(condition, a, b)
    }

    /// Whether an address or number is zero.
    pub(super) fn is_zero(&mut self, ty: Type, a: Value) -> Value {
        let zero = self.ins().iconst(ty, 0);
        self.is(a, IntCC::Equal, zero)
    }

    /// Ends the function.
    pub(super) fn ret(&mut self, results: &[Value]) {
        self.ins().return_(results);
    }

    /// Ends the function with a status.
    pub(super) fn status(&mut self, status: Status) {
        let status = self.word(status as u32);
        self.ret(&[status]);
    }

    /// Ends the function with a status where a condition holds.
    pub(super) fn fail_if(&mut self, condition: Value, status: Status) {
        self.when(condition, |code| {
            code.status(status);
            false
        });
    }

    /// Does something where a condition holds; `write` says whether the function then goes on.
    pub(super) fn when(&mut self, condition: Value, write: impl FnOnce(&mut Self) -> bool) {
        let [yes, next] = [(); 2].map(|()| self.b.create_block());
        self.ins().brif(condition, yes, &[], next, &[]);
        self.b.seal_block(yes);
        self.b.switch_to_block(yes);
        if write(self) {
            self.ins().jump(next, &[]);
        }
        self.b.seal_block(next);
        self.b.switch_to_block(next);
    }

    /// Does something for every index from `start` up to but not including `end`, both 64-bit and unsigned.
    pub(super) fn each(&mut self, start: Value, end: Value, write: impl FnOnce(&mut Self, Value)) {
        let [test, body, exit] = [(); 3].map(|()| self.b.create_block());
        let index = self.b.append_block_param(test, I64);
        self.ins().jump(test, &[start.into()]);
        self.b.switch_to_block(test);
        let more = self.is(index, IntCC::UnsignedLessThan, end);
        self.ins().brif(more, body, &[], exit, &[]);
        self.b.seal_block(body);
        self.b.switch_to_block(body);
        write(self, index);
        let one = self.wide(1);
        let next = self.ins().iadd(index, one);
        self.ins().jump(test, &[next.into()]);
        self.b.seal_block(test);
        self.b.seal_block(exit);
        self.b.switch_to_block(exit);
    }

    /// A variable with a first value.
    pub(super) fn variable(&mut self, ty: Type, value: Value) -> Variable {
        let variable = self.b.declare_var(ty);
        self.b.def_var(variable, value);
        variable
    }

    /// What a variable holds.
    pub(super) fn get(&mut self, variable: Variable) -> Value {
        self.b.use_var(variable)
    }

    /// Changes a variable.
    pub(super) fn set(&mut self, variable: Variable, value: Value) {
        self.b.def_var(variable, value);
    }
}
