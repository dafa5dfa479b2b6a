//! The check that items of one phase write disjoint memory: a record of who touched which byte.

use gem_runtime::abi::Part;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Accesses of the phase that runs.
#[derive(Debug, Default)]
pub(super) struct Races(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    phase: Option<(Part, usize)>,
    bytes: HashMap<usize, Touched>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Touched {
    writer: Option<u32>,
    reader: Option<u32>,
    /// Whether an item other than `reader` read it too.
    many: bool,
}

impl Races {
    /// Forgets everything when another phase begins.
    pub(super) fn enter(&self, part: Part, phase: usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.phase != Some((part, phase)) {
            state.phase = Some((part, phase));
            state.bytes.clear();
        }
    }

    /// Records a write; the offset and item of a conflict.
    pub(super) fn write(&self, item: u32, address: usize, bytes: usize) -> Option<(usize, u32)> {
        self.each(address, bytes, |touched| {
            let other = |u: Option<u32>| u.filter(|u| *u != item);
            let meets = other(touched.writer).or(match touched.many {
                true => touched.reader,
                false => other(touched.reader),
            });
            touched.writer = Some(item);
            meets
        })
    }

    /// Records a read; the offset and item of a conflict.
    pub(super) fn read(&self, item: u32, address: usize, bytes: usize) -> Option<(usize, u32)> {
        self.each(address, bytes, |touched| {
            touched.many |= touched.reader.is_some_and(|r| r != item);
            touched.reader = touched.reader.or(Some(item));
            touched.writer.filter(|w| *w != item)
        })
    }

    fn each(
        &self,
        address: usize,
        bytes: usize,
        f: impl Fn(&mut Touched) -> Option<u32>,
    ) -> Option<(usize, u32)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (0..bytes).find_map(|i| {
            let touched = state.bytes.entry(address + i).or_default();
            f(touched).map(|other| (i, other))
        })
    }
}
