//! Verified program in, the same computation run step by step: the oracle that the other executions are compared with.
//!
//! Every kernel is translated once into a flat list of typed instructions over slots, then run item by item on the
//! runtime's own memory. Nothing is assumed that can be checked: accesses are held against the regions of this step,
//! loads against their declared ranges, and a clamp, wrap or saturation that the rules exclude is a [`Trap`]. What is
//! not excluded is bit-exact: floats are computed lane by lane as [`crate::ir`] says; only which NaN an operation
//! on NaNs yields is left to the machine.

mod code;
mod exec;
mod fault;
mod memory;
mod race;
mod scalar;
mod select;
mod translate;
mod vector;

pub use fault::{Fault, Trap};

use super::verify::{Range, Verified};
use super::{Half, KernelId, TableEntry, Tap};
use code::Code;
use gem_runtime::abi::{self, Ctx, HalfTap, Items, Part, ProgramShape, RoutingTap};
use race::Races;

/// A program that the interpreter can run.
#[derive(Debug)]
pub struct InterpProgram {
    shape: ProgramShape,
    kernels: Vec<Code>,
    functions: Vec<Code>,
    tables: Vec<Vec<TableEntry>>,
    body: Phases,
    head: Phases,
    taps: Vec<RoutingTap>,
    halves: Vec<HalfTap>,
    races: Option<Races>,
}

#[derive(Debug)]
struct Phases {
    entries: Vec<TableEntry>,
    items: Vec<Items>,
}

impl Phases {
    fn new(phases: &[super::Phase]) -> Self {
        Self {
            entries: phases.iter().map(|p| p.entry.clone()).collect(),
            items: phases.iter().map(|p| p.items).collect(),
        }
    }
}

impl InterpProgram {
    /// Translates every kernel.
    #[must_use]
    pub fn new(verified: &Verified) -> Self {
        Self::translated(verified, |_| &[])
    }

    /// Also holds every value of a kernel against the range that the verifier found for it: a check of the verifier.
    #[must_use]
    pub fn with_proof_check(verified: &Verified) -> Self {
        Self::translated(verified, |k| &verified.info(k).ranges)
    }

    fn translated<'a>(
        verified: &'a Verified,
        ranges: impl Fn(KernelId) -> &'a [Option<Range>],
    ) -> Self {
        let program = verified.program();
        let ids = (0..program.kernels.len()).map(KernelId::from_index);
        let kernels = ids
            .map(|id| translate::kernel(verified.kernel(id), ranges(id)))
            .collect();
        let functions = program.functions.iter().map(translate::function).collect();
        let mut this = Self {
            shape: program.shape,
            kernels,
            functions,
            tables: program.tables.iter().map(|t| t.entries.clone()).collect(),
            body: Phases::new(&program.body),
            head: Phases::new(&program.head),
            taps: program.taps.iter().map(Tap::to_runtime).collect(),
            halves: program.halves.iter().map(Half::to_runtime).collect(),
            races: None,
        };
        this.size_stacks();
        this
    }

    /// Also checks that items of one phase neither write the same bytes nor read what another item writes. Slow: it
    /// keeps a record per byte.
    #[must_use]
    pub fn with_race_check(mut self) -> Self {
        self.races = Some(Races::default());
        self
    }

    /// Runs items `begin..end` of a phase.
    ///
    /// # Errors
    /// The first broken rule; memory is left as it was then.
    ///
    /// # Safety
    /// As [`abi::Executable::run`].
    pub unsafe fn try_run(
        &self,
        part: Part,
        phase: usize,
        ctx: &Ctx,
        begin: u32,
        end: u32,
    ) -> Result<(), Trap> {
        let phases = match part {
            Part::Body => &self.body,
            Part::Head => &self.head,
        };
        if let Some(races) = &self.races {
            races.enter(part, phase);
        }
        // SAFETY: the caller's contract is the one of `run_entry`, and the entry is a phase of this program.
        unsafe { exec::run_entry(self, &phases.entries[phase], ctx, begin..end, None) }
    }

    /// Gives every function room for the functions it calls, and kernels room for those they call. A function calls
    /// earlier ones only, whose needs are known by then.
    fn size_stacks(&mut self) {
        for i in 0..self.functions.len() {
            let below = self.below(&self.functions[i]);
            self.functions[i].below = below;
        }
        for i in 0..self.kernels.len() {
            let below = self.below(&self.kernels[i]);
            self.kernels[i].below = below;
        }
    }

    /// Scalar and vector slots that the callees of some code need at most.
    fn below(&self, code: &Code) -> (usize, usize) {
        code.callees
            .iter()
            .map(|f| self.functions[f.index()].stack())
            .fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)))
    }
}

impl abi::Executable for InterpProgram {
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

    /// Empty: calls are resolved here.
    fn tables(&self) -> &[abi::Table] {
        &[]
    }

    /// # Panics
    /// On a [`Trap`]: the interface has no errors, because compiled programs have none. A trap is a bug of the lowering
    /// or of a declared range, never of the user's input.
    unsafe fn run(&self, part: Part, phase: usize, ctx: &Ctx, begin: u32, end: u32) {
        // SAFETY: the caller keeps the same contract.
        if let Err(trap) = unsafe { self.try_run(part, phase, ctx, begin, end) } {
            unreachable!("{part:?} phase {phase}: {trap}");
        }
    }
}
