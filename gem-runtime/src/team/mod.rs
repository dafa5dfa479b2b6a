//! Phases of a program -> items claimed by threads, with a barrier after every phase.
//!
//! What an item computes never depends on who runs it, so one thread and many give the same bytes. A phase of one item,
//! and every phase of a team of one, runs on the calling thread without waking anybody.

#[cfg(feature = "threads")]
mod cores;
#[cfg(feature = "threads")]
mod crew;
#[cfg(all(test, feature = "threads"))]
mod tests;

use alloc::format;

use crate::abi::{Ctx, Executable, Part};
use crate::error::{Error, Result};

#[cfg(feature = "threads")]
pub use cores::keep_to_fast_cores;

/// More threads than this are a mistake in an option.
pub const MOST_THREADS: usize = 1024;

/// Called on the calling thread after each phase, with the phase's index; an error ends the part.
pub type AfterPhase<'a> = &'a mut dyn FnMut(usize) -> Result<()>;

/// Items `begin..end` of a phase.
#[derive(Clone, Copy)]
struct Job<'a> {
    program: &'a dyn Executable,
    ctx: &'a Ctx,
    part: Part,
    phase: usize,
}

impl Job<'_> {
    /// Runs items of the phase.
    ///
    /// # Safety
    /// As [`Executable::run`].
    unsafe fn run(&self, begin: u32, end: u32) {
        // SAFETY: the caller keeps the contract.
        unsafe {
            self.program
                .run(self.part, self.phase, self.ctx, begin, end)
        }
    }
}

/// The threads of a session: the calling one, and workers that wait between steps.
#[derive(Debug)]
pub struct Team {
    #[cfg(feature = "threads")]
    crew: Option<crew::Crew>,
    threads: usize,
}

impl Team {
    /// Starts a team of so many threads, the calling one included; by default one for each core that the process may use, slow
    /// cores beside fast ones left out, or fewer where the system does not give so many. Without feature `threads` it is
    /// always one.
    ///
    /// # Errors
    /// [`Error::Options`] for zero or more than [`MOST_THREADS`] threads, [`Error::Io`] when one of those asked for
    /// cannot be started.
    pub fn new(threads: Option<usize>) -> Result<Self> {
        Self::check(threads)?;
        Self::start(threads)
    }

    /// How many threads run at once at most, where so many would wait for one another: a step is slower with them.
    #[must_use]
    pub fn too_many(threads: usize) -> Option<usize> {
        #[cfg(feature = "threads")]
        return (threads > cores::available()).then(cores::available);
        #[cfg(not(feature = "threads"))]
        return (threads > 1).then_some(1);
    }

    /// Whether a team may have so many threads.
    pub(crate) fn check(threads: Option<usize>) -> Result<()> {
        match threads {
            Some(n) if !(1..=MOST_THREADS).contains(&n) => Err(Error::Options(format!(
                "threads is {n}; allowed are 1 to {MOST_THREADS}"
            ))),
            _ => Ok(()),
        }
    }

    #[cfg(feature = "threads")]
    fn start(threads: Option<usize>) -> Result<Self> {
        let usual = cores::usual();
        let wanted = threads.unwrap_or(usual).min(MOST_THREADS);
        // Who asks for more threads than there are fast cores wants the others, too.
        let kept = match wanted <= usual {
            true => cores::kept(),
            false => Vec::new(),
        };
        let (crew, refused) = crew::Crew::start(wanted - 1, &kept);
        match (refused, threads) {
            // Who asks for a number gets it, or hears why not.
            (Some(source), Some(_)) => Err(Error::Io {
                path: format!("thread {} of {wanted}", crew.workers() + 2),
                source,
            }),
            _ => Ok(Self {
                threads: crew.workers() + 1,
                crew: (crew.workers() > 0).then_some(crew),
            }),
        }
    }

    #[cfg(not(feature = "threads"))]
    fn start(_: Option<usize>) -> Result<Self> {
        Ok(Self { threads: 1 })
    }

    /// How many threads run items, the calling one included.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Runs all phases of a part in order.
    ///
    /// # Errors
    /// [`Error::Poisoned`] once a kernel has panicked in a team of several threads; later calls give the same. What
    /// `after` returned.
    ///
    /// # Safety
    /// `ctx` must be what [`Executable::run`] asks for, and nothing else may touch the memory it points to meanwhile.
    pub unsafe fn run_part(
        &mut self,
        program: &dyn Executable,
        part: Part,
        ctx: &Ctx,
        mut after: Option<AfterPhase<'_>>,
    ) -> Result<()> {
        for (phase, items) in program.phases(part).iter().enumerate() {
            // SAFETY: the caller vouches for the arena, and all earlier phases have finished.
            let items = unsafe { items.count(ctx) };
            let job = Job {
                program,
                ctx,
                part,
                phase,
            };
            // SAFETY: as above; every item of the phase runs once.
            unsafe { self.run_phase(&job, items)? };
            if let Some(after) = &mut after {
                after(phase)?;
            }
        }
        Ok(())
    }

    #[cfg(feature = "threads")]
    unsafe fn run_phase(&mut self, job: &Job<'_>, items: u32) -> Result<()> {
        match &mut self.crew {
            // SAFETY: the caller keeps the contract.
            Some(crew) => unsafe { crew.run(job, items) },
            // SAFETY: the caller keeps the contract.
            None => unsafe { run_here(job, items) },
        }
    }

    #[cfg(not(feature = "threads"))]
    unsafe fn run_phase(&mut self, job: &Job<'_>, items: u32) -> Result<()> {
        // SAFETY: the caller keeps the contract.
        unsafe { run_here(job, items) }
    }
}

/// Runs all items on the calling thread.
///
/// # Safety
/// As [`Executable::run`].
unsafe fn run_here(job: &Job<'_>, items: u32) -> Result<()> {
    if items > 0 {
        // SAFETY: the caller keeps the contract.
        unsafe { job.run(0, items) };
    }
    Ok(())
}
