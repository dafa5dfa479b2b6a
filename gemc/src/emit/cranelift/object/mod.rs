//! Machine code to an object file for a linker, without rustc: kernels, the tables that say how to run them, and the
//! functions of `gem.h`, which run them on one thread.
//!
//! The object has no undefined symbol, whatever the target, and its code refers to nothing but local symbols, so that it
//! links into position-independent programs, static ones and shared libraries, and several models into one program. The
//! same program gives the same bytes.

mod driver;
mod image;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use cranelift_module::{
    DataDescription, DataId, FuncId, Linkage, Module as _, ModuleRelocTarget, default_libcall_names,
};
use cranelift_object::{ObjectBuilder, ObjectModule};
use gem_runtime::ModelInfo;
use gemc_kernels::ir::{KernelId, Program};

use super::merged::Merged;
use super::{EmitError, Isa, IsaError, MachineCode, define};
use crate::target::Target;
use image::{Address, Image};
use tables::Tables;

/// Prefix of the symbol of a kernel, in objects that hold nothing else; its name follows.
pub const KERNEL_PREFIX: &str = "gem_kernel_";

/// Prefix of what an object exports, unless another is asked for.
pub const DEFAULT_PREFIX: &str = "gem";

/// Why there is no object file.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// A target without machine code.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// A system whose object files cannot be written.
    #[error(
        "target `{target}`: no object files for `{triple}`; allowed are ELF and Mach-O systems, and x86-64 Windows"
    )]
    Format {
        /// Name of the target.
        target: String,
        /// The Rust target's triple.
        triple: String,
    },
    /// A model whose outputs C has no function for.
    #[error(
        "objects for C give one output for a text, and this model one for each of its tokens; allowed are crates and programs"
    )]
    Tokens,
    /// The kernels could not be translated.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The object file could not be written, in the words of the `object` crate.
    #[error("internal fault, please report: writing the object file: {0}")]
    Write(String),
}

impl ObjectError {
    fn write(error: impl std::fmt::Display) -> Self {
        Self::Write(error.to_string())
    }
}

/// A model for an object file.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// What the code was compiled from.
    pub program: &'a Program,
    /// Facts about the model.
    pub info: &'a ModelInfo,
    /// What it was compiled for.
    pub target: &'a Target,
    /// Exported symbols begin with it and `_`; see [`is_prefix`].
    pub prefix: &'a str,
}

/// Whether a text can begin names in C.
#[must_use]
pub fn is_prefix(text: &str) -> bool {
    const LONGEST: usize = 64;
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.len() <= LONGEST
        && text.starts_with(letter)
        && text.chars().all(|c| letter(c) || c.is_ascii_digit())
}

/// The bytes of an object file that exports what `gem.h` declares.
///
/// # Errors
/// [`ObjectError::Format`]; otherwise only for faults of gemc or Cranelift.
pub fn object(
    compiled: &MachineCode,
    isa: &Isa,
    contents: &Contents<'_>,
) -> Result<Vec<u8>, ObjectError> {
    check_format(isa, contents.target)?;
    if contents.info.task == gem_runtime::Task::TokenClassification {
        return Err(ObjectError::Tokens);
    }
    let mut module = module(isa, contents.prefix)?;
    let prefix = contents.prefix;
    let copies = copies(&mut module, compiled, prefix)?;
    let kernels = define(&mut module, compiled, Linkage::Local, &copies, |_, code| {
        format!("{prefix}_kernel_{}", code.name)
    })?;
    let tables = Tables::new(contents);
    let data = Data::define(&mut module, &tables, &kernels, prefix)?;
    driver::define(&mut module, contents, &tables.places, &data)?;
    emit(module)
}

/// The bytes of an object file with all kernels and nothing else, exported as [`KERNEL_PREFIX`] and their name.
///
/// # Errors
/// Only for faults of gemc or Cranelift.
pub fn kernels(compiled: &MachineCode, isa: &Isa) -> Result<Vec<u8>, ObjectError> {
    let mut module = module(isa, DEFAULT_PREFIX)?;
    let copies = copies(&mut module, compiled, DEFAULT_PREFIX)?;
    define(
        &mut module,
        compiled,
        Linkage::Export,
        &copies,
        |_, code| format!("{KERNEL_PREFIX}{}", code.name),
    )?;
    emit(module)
}

/// Places the compiled copies that kernels call.
fn copies(
    module: &mut ObjectModule,
    compiled: &MachineCode,
    prefix: &str,
) -> Result<BTreeMap<u32, ModuleRelocTarget>, ObjectError> {
    let calls = compiled.kernels.values().flat_map(|code| &code.calls);
    let numbers: BTreeSet<u32> = calls.map(|call| call.copy).collect();
    match Merged::of_this_system() {
        Some(merged) => Ok(merged.place(module, &numbers, prefix)?),
        None => Ok(BTreeMap::new()),
    }
}

/// Refuses files that cranelift-object knows no relocations for: it would panic.
fn check_format(isa: &Isa, target: &Target) -> Result<(), ObjectError> {
    use target_lexicon::{Architecture, BinaryFormat};

    let triple = isa.triple();
    let written = matches!(
        (triple.architecture, triple.binary_format),
        (_, BinaryFormat::Elf | BinaryFormat::Macho) | (Architecture::X86_64, BinaryFormat::Coff)
    );
    if written {
        return Ok(());
    }
    Err(ObjectError::Format {
        target: target.name.clone(),
        triple: triple.to_string(),
    })
}

fn module(isa: &Isa, name: &str) -> Result<ObjectModule, ObjectError> {
    let builder = ObjectBuilder::new(isa.shared(), name, default_libcall_names());
    Ok(ObjectModule::new(builder.map_err(ObjectError::write)?))
}

fn emit(module: ObjectModule) -> Result<Vec<u8>, ObjectError> {
    module.finish().emit().map_err(ObjectError::write)
}

/// The constants of an object.
struct Data {
    /// Numbers and strings.
    constants: DataId,
    /// What points to them, to itself and to kernels.
    tables: DataId,
}

impl Data {
    fn define(
        module: &mut ObjectModule,
        tables: &Tables,
        kernels: &BTreeMap<KernelId, FuncId>,
        prefix: &str,
    ) -> Result<Self, ObjectError> {
        let mut declare = |name: &str, linkage| {
            let data = module.declare_data(&format!("{prefix}_{name}"), linkage, false, false);
            data.map_err(ObjectError::write)
        };
        let this = Self {
            constants: declare("constants", Linkage::Local)?,
            tables: declare("tables", Linkage::Local)?,
        };
        let program = declare("program", Linkage::Export)?;
        let images = [
            (this.constants, &tables.constants),
            (this.tables, &tables.tables),
            (program, &tables.program),
        ];
        for (id, image) in images {
            let description = this.describe(module, image, kernels);
            let defined = module.define_data(id, &description);
            defined.map_err(ObjectError::write)?;
        }
        Ok(this)
    }

    fn describe(
        &self,
        module: &mut ObjectModule,
        image: &Image,
        kernels: &BTreeMap<KernelId, FuncId>,
    ) -> DataDescription {
        let mut description = DataDescription::new();
        description.define(image.bytes().into());
        description.set_align(Image::ALIGNMENT);
        for &(at, address) in image.pointers() {
            let (data, offset) = match address {
                Address::Constant(offset) => (self.constants, offset),
                Address::Table(offset) => (self.tables, offset),
                Address::Kernel(kernel) => {
                    let function = kernels.get(&kernel).copied();
                    let function = function.unwrap_or_else(|| {
                        unreachable!("{kernel} is in a table, so it was compiled")
                    });
                    let function = module.declare_func_in_data(function, &mut description);
                    description.write_function_addr(at, function);
                    continue;
                }
            };
            let data = module.declare_data_in_data(data, &mut description);
            description.write_data_addr(at, data, i64::from(offset));
        }
        description
    }
}
