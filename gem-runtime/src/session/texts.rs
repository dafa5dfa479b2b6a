//! Whole texts -> labels of them or of their tokens, or vectors: steps that see all of a text.

use alloc::format;
use alloc::vec::Vec;

use super::{Machine, Row, Session, Step, check_logits};
use crate::error::{Error, Result};
use crate::info::Task;
use crate::model::Engine;
use crate::routing::RoutingHook;

impl Session {
    /// The logits of a whole text's labels, `[labels]`. What the session held before does not matter.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Token`], [`Error::Context`] for a text of more tokens than a step has rows,
    /// [`Error::Task`], [`Error::Logits`]; [`Error::Cancelled`] before the step, which is not interrupted.
    pub fn classify_ids(&mut self, ids: &[u32]) -> Result<&[f32]> {
        self.classify_rows(ids, None)
    }

    /// [`Session::classify_ids`], with a hook that sees and may force the routing.
    ///
    /// # Errors
    /// As there; [`Error::Routing`] when the hook leaves an impossible decision.
    pub fn classify_ids_routed(
        &mut self,
        ids: &[u32],
        hook: &mut dyn RoutingHook,
    ) -> Result<&[f32]> {
        self.classify_rows(ids, Some(hook))
    }

    fn classify_rows(&mut self, ids: &[u32], hook: Option<&mut dyn RoutingHook>) -> Result<&[f32]> {
        self.require(Task::SequenceClassification, "classify a text")?;
        self.text_rows(ids, 0, hook)
    }

    /// The vector of a whole text, `[embedding]`. What the session held before does not matter.
    ///
    /// # Errors
    /// As [`Session::classify_ids`].
    pub fn embed_ids(&mut self, ids: &[u32]) -> Result<&[f32]> {
        self.embed_ids_from(ids, 0)
    }

    /// The same of the rows from `first` on, though all ids are seen: what stands before is a prompt that is not pooled.
    ///
    /// # Errors
    /// As [`Session::classify_ids`]; [`Error::Options`] where `first` is none of the ids.
    pub fn embed_ids_from(&mut self, ids: &[u32], first: u32) -> Result<&[f32]> {
        self.require(Task::Embedding, "embed a text")?;
        if !ids.is_empty() && first as usize >= ids.len() {
            return Err(Error::Options(format!(
                "the first row is {first}; allowed are 0 to {}",
                ids.len() - 1
            )));
        }
        self.text_rows(ids, first, None)
    }

    /// The logits of the labels of every token of a whole text: calls `each` with every position and its logits, `[labels]`, in
    /// order. What the session held before does not matter.
    ///
    /// # Errors
    /// As [`Session::classify_ids`].
    pub fn label_ids(&mut self, ids: &[u32], each: impl FnMut(u32, &[f32])) -> Result<()> {
        self.label_rows(ids, None, each)
    }

    pub(crate) fn label_rows(
        &mut self,
        ids: &[u32],
        hook: Option<&mut dyn RoutingHook>,
        mut each: impl FnMut(u32, &[f32]),
    ) -> Result<()> {
        self.require(Task::TokenClassification, "label tokens")?;
        let max_outputs = self.engine.program().shape().max_outputs;
        let rows: Vec<u32> = (0..ids.len() as u32).collect();
        self.text_step(ids, hook, |machine, engine, step| {
            for outputs in rows.chunks(max_outputs as usize) {
                // SAFETY: as for the body of this step, which has just run.
                unsafe { machine.head(engine, step, outputs)? };
                for (output, &position) in outputs.iter().enumerate() {
                    let logits = machine.logits(engine, output as u32);
                    check_logits(logits, position)?;
                    each(position, logits);
                }
            }
            Ok(())
        })
    }

    /// What a model of whole texts gives for one, pooled from row `first` on.
    pub(crate) fn text_rows(
        &mut self,
        ids: &[u32],
        first: u32,
        hook: Option<&mut dyn RoutingHook>,
    ) -> Result<&[f32]> {
        self.text_step(ids, hook, |machine, engine, step| {
            // SAFETY: as for the body of this step, which has just run.
            unsafe { machine.head(engine, step, &[first]) }
        })?;
        let logits = self.machine.logits(&self.engine, 0);
        check_logits(logits, 0)?;
        Ok(logits)
    }

    /// Runs the body over a whole text in one step, and `after` it.
    fn text_step(
        &mut self,
        ids: &[u32],
        hook: Option<&mut dyn RoutingHook>,
        mut after: impl FnMut(&mut Machine, &Engine, &Step<'_>) -> Result<()>,
    ) -> Result<()> {
        self.check(ids, 0, self.longest_text())?;
        if self.is_cancelled() {
            return Err(Error::Cancelled { taken: 0 });
        }
        let visible = ids.len() as u32;
        self.rows.clear();
        self.rows
            .extend(ids.iter().zip(0..).map(|(token, position)| Row {
                token: *token,
                slot: 0,
                position,
                visible,
            }));
        let slots = [self.slot()];
        let step = Step {
            rows: &self.rows,
            slots: &slots,
            context: self.context,
        };
        // SAFETY: the machine is this engine's, and the only slot is this session's memory, `context` long.
        unsafe {
            self.machine.body(&self.engine, &step, hook)?;
            let halves = self.engine.program().halves();
            self.saturated
                .add(halves, slots[0], self.context, &self.rows);
        }
        after(&mut self.machine, &self.engine, &step)
    }

    /// The most tokens [`Session::classify_ids`] and [`Session::embed_ids`] take.
    #[must_use]
    pub fn longest_text(&self) -> u32 {
        self.context.min(self.engine.program().shape().max_rows)
    }
}
