//! Token ids -> logits, for one sequence: a position, its key/value memory, and the machine that runs its steps.
//!
//! Invariant: `tokens` are in the key/value memory, unless they are lost to rings; and a call that fails leaves it so: input is checked before
//! the first step, and positions count only once all steps are done, or as far as they are when the call is cancelled.

mod texts;

use alloc::format;
use alloc::vec::Vec;

use crate::abi::{ProgramShape, Row};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::info::{ModelInfo, Task};
use crate::memory::Buffer;
use crate::model::Engine;
use crate::routing::RoutingHook;
use crate::saturation::{Counts, SaturatedValues};
use crate::step::{Machine, Step};

/// Context of a session unless asked otherwise, if the model has so many positions.
pub const DEFAULT_CONTEXT: u32 = 4096;

/// How a session is set up.
///
/// ```
/// use gem_runtime::SessionOptions;
///
/// let small = SessionOptions {
///     context: Some(512),
///     ..SessionOptions::default()
/// };
/// assert_eq!(small.threads, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Positions it has room for; by default the model's, at most [`DEFAULT_CONTEXT`].
    pub context: Option<u32>,
    /// Threads; by default one for each fast core that the process may use.
    pub threads: Option<usize>,
}

/// Bytes a session holds.
///
/// ```
/// /// Bytes that a session of a model takes, beside the weights.
/// fn bytes(model: &impl gem_runtime::Model) -> gem_runtime::Result<u64> {
///     let memory = model.session(Default::default())?.memory();
///     Ok(memory.kv + memory.arena)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Keys, values and routing marks of all positions.
    pub kv: u64,
    /// Scratch memory of a step.
    pub arena: u64,
}

/// One sequence of a model, which it shares: model and session can be fields of one struct, and go to any thread.
///
/// ```
/// use gem_runtime::{Model, Result, Sampler, Sampling, SessionOptions};
///
/// /// Continues token ids, without any text.
/// fn continued(model: &impl Model, prompt: &[u32], tokens: usize) -> Result<Vec<u32>> {
///     let mut session = model.session(SessionOptions::default())?;
///     let mut sampler = Sampler::new(Sampling::default())?;
///     let mut ids = prompt.to_vec();
///     while ids.len() < prompt.len() + tokens {
///         let held = session.position() as usize;
///         let logits = session.forward(&ids[held..])?;
///         ids.push(sampler.next(logits, &ids)?);
///     }
///     Ok(ids)
/// }
/// ```
#[derive(Debug)]
pub struct Session {
    engine: Engine,
    machine: Machine,
    kv: Buffer,
    context: u32,
    /// The tokens it holds, one per position.
    tokens: Vec<u32>,
    /// Positions that were written since nothing was held.
    written: u32,
    rows: Vec<Row>,
    saturated: Counts,
    cancel: Option<Cancel>,
}

/// An app can hold it, and give it to a thread.
const _: () = {
    const fn movable<T: Send + 'static>() {}
    movable::<Session>();
};

impl Session {
    /// Reserves the memory of a session and starts its threads.
    pub(crate) fn new(engine: &Engine, options: SessionOptions) -> Result<Self> {
        let shape = engine.program().shape();
        let context = context(engine.info(), shape, options.context)?;
        let kv = Buffer::zeroed(shape.slot_bytes(context))?;
        Ok(Self {
            engine: engine.clone(),
            machine: Machine::new(engine, options.threads)?,
            kv,
            context,
            tokens: Vec::new(),
            written: 0,
            rows: Vec::new(),
            saturated: Counts::default(),
            cancel: None,
        })
    }

    /// The engine of the model that it is a session of.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// How many tokens it holds.
    #[must_use]
    pub const fn position(&self) -> u32 {
        // At most `context` tokens are held.
        self.tokens.len() as u32
    }

    /// The tokens it holds.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many tokens it has room for.
    #[must_use]
    pub const fn context(&self) -> u32 {
        self.context
    }

    /// Threads that run its steps, the calling one included.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.machine.threads()
    }

    /// What it holds in memory, beside the weights.
    #[must_use]
    pub const fn memory(&self) -> MemoryUse {
        MemoryUse {
            kv: self.kv.len() as u64,
            arena: self.machine.arena_bytes(),
        }
    }

    /// Keys and values since the session began that f16 could not hold, by layer; empty when all of them fit, and with
    /// any other format of keys and values. [`crate::saturation_warning`] makes a sentence of it.
    #[must_use]
    pub fn saturated(&self) -> &[SaturatedValues] {
        self.saturated.as_slice()
    }

    /// A handle that stops a call of this session, also between the steps of a long prompt: at most so many tokens as a
    /// step has rows are taken after [`Cancel::cancel`].
    ///
    /// A handle stops one call: the one that runs, or else the next one. The call ends with [`Error::Cancelled`], a
    /// generation with [`Finish::Cancelled`](crate::Finish); the tokens of the steps that were done stay in the session, and
    /// the handle means nothing any more. A new handle takes the place of the last: who takes one for every answer never
    /// stops an answer with the button of the one before.
    ///
    /// ```
    /// use gem_runtime::{Finish, Result, Sampling, Session};
    ///
    /// /// An answer that another thread may stop, here at once.
    /// fn stopped(session: &mut Session) -> Result<Option<Finish>> {
    ///     let stop = session.cancel_handle();
    ///     std::thread::spawn(move || stop.cancel());
    ///     let mut answer = session.generate("The license", Sampling::default());
    ///     for piece in &mut answer {
    ///         print!("{}", piece?.text);
    ///     }
    ///     Ok(answer.finish())
    /// }
    /// ```
    pub fn cancel_handle(&mut self) -> Cancel {
        self.cancel.insert(Cancel::default()).clone()
    }

    /// Whether the call is to stop here; the handle is used up then.
    fn is_cancelled(&mut self) -> bool {
        self.cancel
            .take_if(|cancel| cancel.is_cancelled())
            .is_some()
    }

    /// Forgets all tokens.
    pub fn reset(&mut self) {
        self.truncate(0);
    }

    /// Forgets the tokens from position `n` on; does nothing when there are no more than `n`.
    ///
    /// Layers that keep only a window of the last positions may have overwritten what precedes `n`. The next call then
    /// runs the first `n` tokens again before its own, which takes as long as reading them did. Tokens cut off by the
    /// [`rewind`](ProgramShape::rewind) of the program's shape never need that. Hooks do not see it: tokens whose routing was
    /// forced are run again as the model routes them.
    pub fn truncate(&mut self, n: u32) {
        self.tokens.truncate(n as usize);
    }

    /// Whether what rings kept of the tokens it holds was overwritten, or not all written again.
    fn is_lost(&self) -> bool {
        let shape = self.engine.program().shape();
        self.written < self.position() || !shape.can_rewind(self.written, self.position())
    }

    /// Where the slot's memory is counted from.
    fn slot(&mut self) -> *mut u8 {
        let ring = self.engine.program().shape().ring_bytes as usize;
        // SAFETY: a slot has `ring_bytes` and then some.
        unsafe { self.kv.as_mut_ptr().add(ring) }
    }

    /// Appends tokens; the logits after the last one, `[vocab_size]`.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Token`], [`Error::Context`], [`Error::Task`], [`Error::Logits`]; the session is then as
    /// before. [`Error::Cancelled`], after which it holds what it took.
    pub fn forward(&mut self, ids: &[u32]) -> Result<&[f32]> {
        let last = u64::from(self.position()) + ids.len() as u64 - u64::from(!ids.is_empty());
        self.advance(ids, None, |machine, engine, step| {
            let row = step.rows.len() as u32 - 1;
            let position = step.rows[row as usize].position;
            if u64::from(position) == last {
                // SAFETY: as for the body of this step, which has just run.
                unsafe { machine.head(engine, step, &[row])? };
                check_logits(machine.logits(engine, 0), position)?;
            }
            Ok(())
        })?;
        Ok(self.machine.logits(&self.engine, 0))
    }

    /// Appends tokens; calls `each` with every new position and the logits after its token, in order.
    ///
    /// # Errors
    /// As [`Session::forward`].
    pub fn forward_all(&mut self, ids: &[u32], each: impl FnMut(u32, &[f32])) -> Result<()> {
        self.forward_from(0, ids, None, each)
    }

    /// [`Session::forward_all`], with a hook that sees and may force the routing.
    ///
    /// # Errors
    /// As [`Session::forward`]; [`Error::Routing`] when the hook leaves an impossible decision.
    pub fn forward_routed(
        &mut self,
        ids: &[u32],
        hook: &mut dyn RoutingHook,
        each: impl FnMut(u32, &[f32]),
    ) -> Result<()> {
        self.forward_from(0, ids, Some(hook), each)
    }

    /// The nanoseconds of each phase, those of the head last, since this was called last; none the first time. Phases are
    /// timed from then on.
    #[cfg(feature = "std")]
    pub(crate) fn phase_times(&mut self) -> Vec<u64> {
        self.machine.phase_times(&self.engine)
    }

    /// Appends tokens; calls `each` with every new position not before `from`, and the logits after its token. Positions
    /// before it cost no logits.
    ///
    /// # Errors
    /// As [`Session::forward_routed`].
    pub fn forward_from(
        &mut self,
        from: u32,
        ids: &[u32],
        hook: Option<&mut dyn RoutingHook>,
        mut each: impl FnMut(u32, &[f32]),
    ) -> Result<()> {
        let max_outputs = self.engine.program().shape().max_outputs;
        let mut outputs = Vec::new();
        self.advance(ids, hook, |machine, engine, step| {
            // Positions ascend, so that the rows before `from` come first.
            let first = step.rows.partition_point(|row| row.position < from) as u32;
            for begin in (first..step.rows.len() as u32).step_by(max_outputs as usize) {
                outputs.clear();
                outputs.extend((begin..step.rows.len() as u32).take(max_outputs as usize));
                // SAFETY: as for the body of this step, which has just run.
                unsafe { machine.head(engine, step, &outputs)? };
                for (output, row) in outputs.iter().enumerate() {
                    let position = step.rows[*row as usize].position;
                    let logits = machine.logits(engine, output as u32);
                    check_logits(logits, position)?;
                    each(position, logits);
                }
            }
            Ok(())
        })
    }

    /// Runs the body over tokens in steps of at most `max_rows`, and `after` after each.
    fn advance(
        &mut self,
        ids: &[u32],
        mut hook: Option<&mut dyn RoutingHook>,
        mut after: impl FnMut(&mut Machine, &Engine, &Step<'_>) -> Result<()>,
    ) -> Result<()> {
        self.require(Task::CausalLm, "continue a text")?;
        self.check(ids, u64::from(self.position()), self.context)?;
        if self.tokens.is_empty() {
            self.written = 0;
        } else if self.is_lost() {
            self.replay()?;
        }
        let slots = [self.slot()];
        let mut next = self.position();
        let begin = next;
        for chunk in ids.chunks(self.engine.program().shape().max_rows as usize) {
            if self.is_cancelled() {
                let taken = next - begin;
                self.tokens.extend_from_slice(&ids[..taken as usize]);
                return Err(Error::Cancelled { taken });
            }
            self.rows.clear();
            self.rows
                .extend(chunk.iter().zip(next..).map(|(token, position)| Row {
                    token: *token,
                    slot: 0,
                    position,
                    visible: position + 1,
                }));
            let step = Step {
                rows: &self.rows,
                slots: &slots,
                context: self.context,
            };
            let hook = hook
                .as_mut()
                .map(|hook| &mut **hook as &mut dyn RoutingHook);
            next += chunk.len() as u32;
            // A step that fails halfway has written, too.
            self.written = self.written.max(next);
            // SAFETY: the machine is this engine's, and the only slot is this session's memory, `context` long.
            unsafe { self.machine.body(&self.engine, &step, hook)? };
            let halves = self.engine.program().halves();
            // SAFETY: as above; the step has checked its positions, and no kernel runs any more.
            unsafe {
                self.saturated
                    .add(halves, slots[0], self.context, &self.rows)
            };
            after(&mut self.machine, &self.engine, &step)?;
        }
        self.tokens.extend_from_slice(ids);
        Ok(())
    }

    /// Writes again what was lost of the tokens it holds.
    fn replay(&mut self) -> Result<()> {
        let tokens = core::mem::take(&mut self.tokens);
        // They were counted when they came.
        let saturated = core::mem::take(&mut self.saturated);
        let result = self.advance(&tokens, None, |_, _, _| Ok(()));
        (self.tokens, self.saturated) = (tokens, saturated);
        if result.is_err() {
            self.written = 0;
        }
        result.map_err(|error| match error {
            Error::Cancelled { .. } => Error::Cancelled { taken: 0 },
            error => error,
        })
    }

    fn require(&self, task: Task, asked: &'static str) -> Result<()> {
        check_task(self.engine.info(), task, asked)
    }

    fn check(&self, ids: &[u32], held: u64, limit: u32) -> Result<()> {
        let vocab = self.engine.info().ids();
        let needed = held + ids.len() as u64;
        if ids.is_empty() {
            Err(Error::Empty)
        } else if needed > u64::from(limit) {
            Err(Error::Context { needed, limit })
        } else if let Some(&id) = ids.iter().find(|id| **id >= vocab) {
            Err(Error::Token { id, vocab })
        } else {
            Ok(())
        }
    }
}

/// Refuses logits that are not finite numbers.
fn check_logits(logits: &[f32], position: u32) -> Result<()> {
    // A maximum of exponent bits has no branches, so that the whole vocabulary costs next to nothing.
    let bits = |x: &f32| x.to_bits() & f32::INFINITY.to_bits();
    if logits.iter().map(bits).max() < Some(f32::INFINITY.to_bits()) {
        return Ok(());
    }
    match logits.iter().zip(0..).find(|(x, _)| !x.is_finite()) {
        None => Ok(()),
        Some((&value, id)) => Err(Error::Logits {
            position,
            id,
            value,
        }),
    }
}

/// Whether a model is made for this.
pub(crate) fn check_task(info: &ModelInfo, task: Task, asked: &'static str) -> Result<()> {
    if info.task == task {
        return Ok(());
    }
    Err(Error::Task {
        asked,
        task: info.task.name(),
    })
}

/// The positions a session gets.
pub(crate) fn context(info: &ModelInfo, shape: &ProgramShape, asked: Option<u32>) -> Result<u32> {
    let most = info.most_positions(shape.max_rows);
    match asked {
        None => Ok(most.min(DEFAULT_CONTEXT)),
        Some(n) if (1..=most).contains(&n) => Ok(n),
        Some(n) => Err(Error::Options(format!(
            "context is {n}; allowed are 1 to {most}"
        ))),
    }
}
