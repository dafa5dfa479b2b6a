//! What a template does -> counts, and a fault before a limit is passed.

use std::cell::Cell;

use super::{Fault, JinjaResult};

/// Steps at most; real templates take some hundreds per message.
const STEPS: u64 = 8_000_000;

/// Bytes that are made at most, all together: texts, and lists with [`ITEM`] bytes an item.
const BYTES: u64 = 256 << 20;

/// How deep expressions, blocks and calls nest at most; each level is some hundred bytes of stack.
const DEPTH: u32 = 200;

/// What an item of a list counts.
const ITEM: u64 = 32;

/// What a text counts beside its bytes: the heap's and the count's.
const BOX: u64 = 32;

/// Bytes that are looked at in one step.
const BYTES_A_STEP: u64 = 64;

/// Counts for one rendering.
#[derive(Debug, Default)]
pub(in crate::text) struct Meter {
    steps: Cell<u64>,
    bytes: Cell<u64>,
    depth: Cell<u32>,
}

impl Meter {
    /// One step more.
    pub fn step(&self) -> JinjaResult<()> {
        self.steps(1)
    }

    /// So many steps more.
    pub fn steps(&self, count: u64) -> JinjaResult<()> {
        let steps = self.steps.get().saturating_add(count);
        self.steps.set(steps);
        if steps > STEPS {
            return Err(Fault::new(format!("takes more than {STEPS} steps")));
        }
        Ok(())
    }

    /// Looks through so many bytes.
    pub fn scan(&self, bytes: usize) -> JinjaResult<()> {
        self.steps(1 + bytes as u64 / BYTES_A_STEP)
    }

    /// Makes so many bytes of text.
    pub fn bytes(&self, count: usize) -> JinjaResult<()> {
        self.make(count as u64)
    }

    /// Makes a value of so many bytes of text.
    pub fn text(&self, count: usize) -> JinjaResult<()> {
        self.make((count as u64).saturating_add(BOX))
    }

    /// Makes a list of so many items.
    pub fn items(&self, count: usize) -> JinjaResult<()> {
        self.make((count as u64).saturating_add(1).saturating_mul(ITEM))
    }

    fn make(&self, count: u64) -> JinjaResult<()> {
        let bytes = self.bytes.get().saturating_add(count);
        if bytes > BYTES {
            let limit = BYTES >> 20;
            return Err(Fault::new(format!("needs more than {limit} MiB of memory")));
        }
        self.bytes.set(bytes);
        self.steps(count / BYTES_A_STEP)
    }

    /// Goes one level deeper; [`Meter::up`] comes back.
    pub fn down(&self) -> JinjaResult<()> {
        if self.depth.get() >= DEPTH {
            return Err(Fault::new(format!("nests deeper than {DEPTH} levels")));
        }
        self.depth.set(self.depth.get() + 1);
        Ok(())
    }

    /// Comes back from a level.
    pub fn up(&self) {
        self.depth.set(self.depth.get().saturating_sub(1));
    }
}

/// A text in the making, counted as it grows.
pub(super) struct Text<'m> {
    meter: &'m Meter,
    text: String,
}

impl<'m> Text<'m> {
    /// An empty one.
    pub const fn new(meter: &'m Meter) -> Self {
        Self {
            meter,
            text: String::new(),
        }
    }

    /// Adds a text.
    pub fn push(&mut self, text: &str) -> JinjaResult<()> {
        self.meter.bytes(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    /// Adds a text several times.
    pub fn repeat(&mut self, text: &str, times: usize) -> JinjaResult<()> {
        self.meter.bytes(text.len().saturating_mul(times))?;
        self.text.extend(std::iter::repeat_n(text, times));
        Ok(())
    }

    /// What counts it.
    pub const fn meter(&self) -> &'m Meter {
        self.meter
    }

    /// The whole.
    pub fn finish(self) -> String {
        self.text
    }
}
