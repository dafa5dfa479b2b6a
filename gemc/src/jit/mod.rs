//! A verified program to machine code in this process: the same sessions run it as a compiled or interpreted one. And a
//! checkpoint to a [`crate::model::Model`] at run time.
//!
//! The code is made for the CPU at hand, whatever the target leaves unused, and computes the interpreter's bits. Its
//! memory lives exactly as long as the program.

mod code;
mod error;
#[cfg(test)]
mod tests;

pub use error::JitError;

use gem_runtime::abi::{self, Ctx, Entry, HalfTap, Items, Part, ProgramShape, RoutingTap, Table};
use gemc_kernels::ir::verify::Verified;
use gemc_kernels::ir::{Half, Phase, TableEntry, Tap};

use crate::emit::cranelift::{Effort, Isa, compile};
use crate::target::Target;
use code::Code;

/// A program as machine code.
#[derive(Debug)]
pub struct JitProgram {
    shape: ProgramShape,
    body: Phases,
    head: Phases,
    tables: Vec<Table>,
    taps: Vec<RoutingTap>,
    halves: Vec<HalfTap>,
    bytes: usize,
    /// What `tables` points to.
    _entries: Vec<Box<[Entry]>>,
    /// What entries point to.
    _arguments: Vec<Box<[u32]>>,
    /// What entries call.
    _code: Code,
}

#[derive(Debug, Default)]
struct Phases {
    entries: Vec<Entry>,
    items: Vec<Items>,
}

impl JitProgram {
    /// Compiles a program for this machine. `target` is the one it was lowered for.
    ///
    /// # Errors
    /// When the target is none of this machine, or the machine does not let code be made.
    pub fn for_target(
        verified: &Verified,
        target: &Target,
        effort: Effort,
    ) -> Result<Self, JitError> {
        runs_here(target)?;
        Self::with_effort(verified, effort)
    }

    /// Compiles a program for this machine, whatever it was lowered for.
    ///
    /// # Errors
    /// When the machine does not let code be made.
    pub fn with_effort(verified: &Verified, effort: Effort) -> Result<Self, JitError> {
        let isa = Isa::host(effort)?;
        let compiled = compile(verified, &isa, false)?;
        let code = Code::new(&compiled, &isa)?;
        let program = verified.program();
        let mut linker = Linker {
            code: &code,
            arguments: Vec::new(),
        };
        let body = linker.phases(&program.body);
        let head = linker.phases(&program.head);
        let entries: Vec<Box<[Entry]>> = program
            .tables
            .iter()
            .map(|table| table.entries.iter().map(|e| linker.entry(e)).collect())
            .collect();
        let tables = entries.iter().map(|entries| Table {
            entries: entries.as_ptr(),
            len: entries.len() as u32,
        });
        Ok(Self {
            shape: program.shape,
            body,
            head,
            tables: tables.collect(),
            taps: program.taps.iter().map(Tap::to_runtime).collect(),
            halves: program.halves.iter().map(Half::to_runtime).collect(),
            bytes: compiled.bytes(),
            _entries: entries,
            _arguments: linker.arguments,
            _code: code,
        })
    }

    /// Bytes of machine code.
    #[must_use]
    pub fn code_bytes(&self) -> usize {
        self.bytes
    }
}

/// Refuses targets that this machine does not run.
fn runs_here(target: &Target) -> Result<(), JitError> {
    if !target.is_native() {
        return Err(JitError::Foreign {
            target: target.name.clone(),
            triple: target.triple.clone(),
            host: std::env::consts::ARCH,
        });
    }
    match &target.missing_here()[..] {
        [] => Ok(()),
        missing => Err(JitError::Features {
            target: target.name.clone(),
            missing: missing.join(", "),
        }),
    }
}

/// Puts functions and arguments together.
struct Linker<'a> {
    code: &'a Code,
    arguments: Vec<Box<[u32]>>,
}

impl Linker<'_> {
    fn phases(&mut self, phases: &[Phase]) -> Phases {
        Phases {
            entries: phases.iter().map(|p| self.entry(&p.entry)).collect(),
            items: phases.iter().map(|p| p.items).collect(),
        }
    }

    fn entry(&mut self, entry: &TableEntry) -> Entry {
        let arguments: Box<[u32]> = entry.args.clone().into_boxed_slice();
        let args = arguments.as_ptr();
        self.arguments.push(arguments);
        let kernel = self
            .code
            .function(entry.kernel)
            .unwrap_or_else(|| unreachable!("{} is reachable, so it was compiled", entry.kernel));
        Entry { kernel, args }
    }
}

impl abi::Executable for JitProgram {
    fn shape(&self) -> &ProgramShape {
        &self.shape
    }

    fn phases(&self, part: Part) -> &[Items] {
        match part {
            Part::Body => &self.body.items,
            Part::Head => &self.head.items,
        }
    }

    fn taps(&self) -> &[RoutingTap] {
        &self.taps
    }

    fn halves(&self) -> &[HalfTap] {
        &self.halves
    }

    fn tables(&self) -> &[Table] {
        &self.tables
    }

    unsafe fn run(&self, part: Part, phase: usize, ctx: &Ctx, begin: u32, end: u32) {
        let phases = match part {
            Part::Body => &self.body,
            Part::Head => &self.head,
        };
        let entry = &phases.entries[phase];
        // SAFETY: the caller keeps the contract of `Executable::run`, under which the verifier proved the kernel in range
        // for these arguments; code and arguments live as long as `self`.
        unsafe { (entry.kernel)(ctx, entry.args, begin, end) }
    }
}
