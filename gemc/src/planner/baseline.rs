//! A body of one format, or of two adjacent ones by layer: what plans are compared with.

use gemc_format::Codec;

use crate::assign::{FixedFormats, Formats, bytes};
use crate::graph::{Unit, Units};

/// The largest such body that keeps to the budget: leading layers have one format more, and units outside of modules
/// `above` more than those inside, as far as there are formats. Units with an override keep it. `None` when nothing fits.
#[must_use]
pub fn body(units: &Units, fixed: &FixedFormats, budget: u64, above: usize) -> Option<Formats> {
    let mut starts: Vec<_> = units.iter().map(|unit| unit.start).collect();
    starts.sort_unstable();
    starts.dedup();
    let formats = |lower: usize, raised: usize| {
        let format = |unit: &Unit| match fixed[unit.id] {
            Some(fixed) => fixed,
            None => {
                let layer = starts.binary_search(&unit.start).unwrap_or_default();
                let more = if unit.module.is_none() { above } else { 0 };
                let level = lower + usize::from(layer < raised) + more;
                Codec::LADDER[level.min(Codec::LADDER.len() - 1)]
            }
        };
        Formats::of(units, format)
    };
    let mut best = None;
    for lower in 0..Codec::LADDER.len() {
        for raised in 0..starts.len() {
            let formats = formats(lower, raised);
            if bytes(units, &formats) <= budget {
                best = Some(formats);
            }
        }
    }
    best
}
