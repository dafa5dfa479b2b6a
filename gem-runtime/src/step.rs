//! Rows of one or several sequences -> one run of a program's body or head, in a session's arena.

use core::slice;

use crate::abi::{Ctx, Part, Row};
use crate::error::{Error, Result};
use crate::memory::Buffer;
use crate::model::Engine;
use crate::routing::{RoutingHook, RoutingView};
use crate::team::{AfterPhase, Team};

/// What a step is about: rows, each naming a sequence's memory by its slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    /// The rows; at least one, at most the program's `max_rows`.
    pub rows: &'a [Row],
    /// The memory of each slot, `context` positions long.
    pub slots: &'a [*mut u8],
    /// Positions each slot has room for.
    pub context: u32,
}

/// Scratch memory and threads.
#[derive(Debug)]
pub(crate) struct Machine {
    arena: Buffer,
    team: Team,
    /// Nanoseconds of each phase so far, those of the head last, where they are wanted.
    #[cfg(feature = "std")]
    times: Option<Vec<u64>>,
}

impl Machine {
    /// Reserves what a program needs.
    pub(crate) fn new(engine: &Engine, threads: Option<usize>) -> Result<Self> {
        let shape = engine.program().shape();
        Ok(Self {
            arena: Buffer::zeroed(u64::from(shape.arena_bytes))?,
            team: Team::new(threads)?,
            #[cfg(feature = "std")]
            times: None,
        })
    }

    /// The nanoseconds of each phase since this was called last, if it was. From now on they are counted.
    #[cfg(feature = "std")]
    pub(crate) fn phase_times(&mut self, engine: &Engine) -> Vec<u64> {
        let phases = [Part::Body, Part::Head].map(|part| engine.program().phases(part).len());
        let counted = self.times.replace(vec![0; phases.iter().sum()]);
        counted.unwrap_or_default()
    }

    /// Runs a part, and counts the time of its phases where that is wanted.
    ///
    /// # Safety
    /// As of [`Team::run_part`].
    unsafe fn run(
        &mut self,
        engine: &Engine,
        part: Part,
        ctx: &Ctx,
        after: Option<AfterPhase<'_>>,
    ) -> Result<()> {
        let program = engine.program();
        #[cfg(feature = "std")]
        if let Some(times) = &mut self.times {
            let first = match part {
                Part::Body => 0,
                Part::Head => program.phases(Part::Body).len(),
            };
            let mut after = after;
            let mut last = std::time::Instant::now();
            let mut timed = |phase: usize| {
                let took = u64::try_from(last.elapsed().as_nanos());
                times[first + phase] += took.unwrap_or(u64::MAX);
                let result = after.as_mut().map_or(Ok(()), |after| after(phase));
                last = std::time::Instant::now();
                result
            };
            // SAFETY: the caller keeps the contract.
            return unsafe { self.team.run_part(program, part, ctx, Some(&mut timed)) };
        }
        // SAFETY: the caller keeps the contract.
        unsafe { self.team.run_part(program, part, ctx, after) }
    }

    /// Bytes of scratch memory.
    pub(crate) const fn arena_bytes(&self) -> u64 {
        self.arena.len() as u64
    }

    /// Threads, the calling one included.
    pub(crate) const fn threads(&self) -> usize {
        self.team.threads()
    }

    /// Runs all layers over the rows.
    ///
    /// # Safety
    /// The machine was made for `engine`. Every slot points to memory of `context` positions that nothing else uses.
    pub(crate) unsafe fn body(
        &mut self,
        engine: &Engine,
        step: &Step<'_>,
        hook: Option<&mut dyn RoutingHook>,
    ) -> Result<()> {
        let ctx = self.context(engine, step, &[])?;
        let taps = engine.program().taps();
        let Some(hook) = hook else {
            // SAFETY: `context` checked the rows; the caller vouches for the slots; the rest is ours or the engine's.
            return unsafe { self.run(engine, Part::Body, &ctx, None) };
        };
        let mut after = |phase: usize| {
            for tap in taps.iter().filter(|tap| tap.after as usize == phase) {
                // SAFETY: the engine checked the tap against the arena; kernels of this phase have finished, the next
                // ones have not begun, and the rows are at most `max_rows`.
                let view = || unsafe { RoutingView::new(ctx.arena, tap, step.rows) };
                hook.routed(tap, view());
                view().check()?;
            }
            Ok(())
        };
        // SAFETY: as above.
        unsafe { self.run(engine, Part::Body, &ctx, Some(&mut after)) }
    }

    /// Runs the head over the rows with these indices, after a body over the same step.
    ///
    /// # Safety
    /// As [`Machine::body`].
    pub(crate) unsafe fn head(
        &mut self,
        engine: &Engine,
        step: &Step<'_>,
        outputs: &[u32],
    ) -> Result<()> {
        let ctx = self.context(engine, step, outputs)?;
        // SAFETY: as in `body`; `context` checked the outputs.
        unsafe { self.run(engine, Part::Head, &ctx, None) }
    }

    /// The logits of an output of the last head run.
    pub(crate) fn logits(&self, engine: &Engine, output: u32) -> &[f32] {
        let shape = engine.program().shape();
        assert!(
            output < shape.max_outputs,
            "outputs are counted by sessions"
        );
        let element = output as usize * shape.logits_stride as usize;
        // SAFETY: the engine checked that `max_outputs` rows of `logits_stride` floats lie in the arena, 4-aligned, and
        // that a row's width is within the stride. The arena is initialised and borrowed with `self`.
        unsafe {
            let logits = self.arena.as_ptr().add(shape.logits as usize).cast::<f32>();
            slice::from_raw_parts(logits.add(element), engine.info().output_width() as usize)
        }
    }

    /// The context kernels get. Checks all that kernels index by.
    fn context(&mut self, engine: &Engine, step: &Step<'_>, outputs: &[u32]) -> Result<Ctx> {
        let shape = engine.program().shape();
        let rows = step.rows;
        let sound = !rows.is_empty()
            && rows.len() <= shape.max_rows as usize
            && outputs.len() <= shape.max_outputs as usize
            && outputs.iter().all(|o| (*o as usize) < rows.len())
            && rows.iter().all(|row| {
                row.token < engine.info().ids()
                    && (row.slot as usize) < step.slots.len()
                    && row.position < step.context
                    && (1..=step.context).contains(&row.visible)
            });
        if !sound {
            return Err(Error::Program("a step asks for rows out of range"));
        }
        Ok(Ctx {
            weights: engine.weights().body().as_ptr(),
            arena: self.arena.as_mut_ptr(),
            kv: step.slots.as_ptr(),
            rows: rows.as_ptr(),
            outputs: outputs.as_ptr(),
            tables: engine.program().tables().as_ptr(),
            n_rows: rows.len() as u32,
            n_slots: step.slots.len() as u32,
            n_outputs: outputs.len() as u32,
            context: step.context,
        })
    }
}
