//! Keys and values kept as f16 -> how many of them are at its limits, layer by layer.
//!
//! Kernels store the largest f16 number where a value is larger. Such a value stands for a wrong one, so it is counted
//! when its position has been computed, and whoever runs the model can say so.

use alloc::vec::Vec;

use crate::abi::{ARG_UNIT, HalfTap, Row};

/// Bits of the largest f16 number, 65504, without its sign.
const LARGEST: u16 = 0x7bff;

/// Values of one layer that f16 cannot hold.
///
/// ```
/// /// What a session cut, layer by layer.
/// fn report(session: &gem_runtime::Session) {
///     for cut in session.saturated() {
///         eprintln!("{}: {} values", cut.site, cut.values);
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaturatedValues {
    /// `layers.3`, for instance.
    pub site: &'static str,
    /// Keys and values stored as plus or minus 65504 since the session began.
    pub values: u64,
}

/// Counts of a session, one per site in the program's order.
#[derive(Debug, Default)]
pub(crate) struct Counts(Vec<SaturatedValues>);

impl Counts {
    pub(crate) fn as_slice(&self) -> &[SaturatedValues] {
        &self.0
    }

    /// Adds what a step has stored in the memory of one slot.
    ///
    /// # Safety
    /// `memory` points into a slot of `context` positions of a program whose halves these are and that an engine has checked;
    /// the positions of `rows` are below `context`, and nothing writes to the memory meanwhile.
    pub(crate) unsafe fn add(
        &mut self,
        halves: &[HalfTap],
        memory: *const u8,
        context: u32,
        rows: &[Row],
    ) {
        for half in halves {
            let row = |position: u32, head: u32| {
                let [before, width, head, context, ring] =
                    [half.before, half.width, head, context, half.ring].map(|n| n as isize);
                let position = position as isize;
                let (start, row) = match ring {
                    0 => (before * context, head * context + position),
                    ring => (-(ARG_UNIT as isize) * before, head * ring + position % ring),
                };
                // SAFETY: a head of a position lies in the slot: the engine has checked `before`, heads, width and ring
                // against its bytes. Memory of a slot is 64-byte aligned, and `start` is even.
                unsafe {
                    let start = memory.offset(start + 2 * width * row).cast::<u16>();
                    core::slice::from_raw_parts(start, half.width as usize)
                }
            };
            let heads = rows
                .iter()
                .flat_map(|r| (0..half.heads).map(move |h| (r.position, h)));
            let values: u64 = heads
                .map(|(position, head)| at_limit(row(position, head)))
                .sum();
            if values > 0 {
                self.count(half.site, values);
            }
        }
    }

    fn count(&mut self, site: &'static str, values: u64) {
        match self.0.iter_mut().find(|known| known.site == site) {
            Some(known) => known.values += values,
            None => self.0.push(SaturatedValues { site, values }),
        }
    }
}

/// How many f16 numbers are the largest there is, of either sign.
fn at_limit(halves: &[u16]) -> u64 {
    let count: u32 = halves
        .iter()
        .map(|bits| u32::from(bits & 0x7fff == LARGEST))
        .sum();
    u64::from(count)
}

/// One sentence for people about values that were cut; `None` where there are none.
///
/// ```
/// use gem_runtime::{SaturatedValues, saturation_warning};
///
/// let site = "layers.3";
/// let words = saturation_warning(&[SaturatedValues { site, values: 7 }]).unwrap();
/// assert!(words.starts_with("7 keys and values of layers.3 are too large for f16"));
/// assert_eq!(saturation_warning(&[]), None);
/// ```
#[must_use]
pub fn warning(saturated: &[SaturatedValues]) -> Option<alloc::string::String> {
    let worst = saturated.iter().max_by_key(|s| s.values)?;
    let others = match saturated.len() - 1 {
        0 => alloc::string::String::new(),
        1 => alloc::string::String::from(" (and of one other layer)"),
        n => alloc::format!(" (and of {n} other layers)"),
    };
    Some(alloc::format!(
        "{} keys and values of {}{others} are too large for f16 and were cut to 65504, so answers may be wrong; --kv f32 or \
         --kv int8 holds them",
        worst.values,
        worst.site
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_positions_of_the_right_heads_count() {
        const CONTEXT: u32 = 5;
        let half = |site, before| HalfTap {
            site,
            before,
            heads: 2,
            width: 4,
            ring: 0,
        };
        // Two regions of 16 bytes per position, behind 8 bytes per position of something else.
        let halves = [
            half("layers.0", 8),
            half("layers.0", 24),
            half("layers.1", 40),
        ];
        let mut memory = alloc::vec![0_u64; (56 * CONTEXT as usize).div_ceil(8)];
        let words: &mut [u16] = bytemuck::cast_slice_mut(&mut memory);
        let mut put = |region: usize, head: usize, position: usize, bits: u16| {
            let base = [8, 24, 40][region] * CONTEXT as usize / 2;
            words[base + 4 * (head * CONTEXT as usize + position) + 3] = bits;
        };
        put(0, 0, 2, 0x7bff);
        put(1, 1, 4, 0xfbff);
        put(2, 1, 4, 0x7bfe);
        put(2, 0, 1, 0x7bff);
        let rows = |positions: core::ops::Range<u32>| -> Vec<Row> {
            let row = |position| Row {
                token: 0,
                slot: 0,
                position,
                visible: position + 1,
            };
            positions.map(row).collect()
        };
        let mut counts = Counts::default();
        for range in [2..3, 3..5] {
            let memory = memory.as_ptr().cast();
            // SAFETY: the memory has 56 bytes for each of the positions.
            unsafe { counts.add(&halves, memory, CONTEXT, &rows(range)) };
        }
        let expected = [SaturatedValues {
            site: "layers.0",
            values: 2,
        }];
        assert_eq!(counts.as_slice(), expected);
        let text = warning(counts.as_slice()).expect("something to say");
        assert!(
            text.contains("2 keys and values of layers.0 are too large"),
            "{text}"
        );
        assert_eq!(warning(&[]), None);
    }
}
