//! A body of one format, or of two adjacent ones by layer: what plans are compared with.

use gemc_format::Codec;

use crate::assign::{LADDER, Options, bytes};
use crate::sensitivity::UnitInfo;

/// The largest such body that keeps to the budget: leading layers have one format more, and units outside of modules
/// `above` more than those inside, as far as there are formats. Units with an override keep it. `None` when nothing fits.
#[must_use]
pub fn body(
    units: &[UnitInfo],
    options: &Options,
    budget: u64,
    above: usize,
) -> Option<Vec<Codec>> {
    let mut starts: Vec<_> = units.iter().map(|unit| unit.start).collect();
    starts.sort_unstable();
    starts.dedup();
    let formats = |lower: usize, raised: usize| -> Vec<Codec> {
        let format = |unit: &UnitInfo| match options.get(unit.name()).map(Vec::as_slice) {
            Some([fixed, ..]) => *fixed,
            _ => {
                let layer = starts.binary_search(&unit.start).unwrap_or_default();
                let more = if unit.module.is_none() { above } else { 0 };
                let level = lower + usize::from(layer < raised) + more;
                LADDER[level.min(LADDER.len() - 1)]
            }
        };
        units.iter().map(format).collect()
    };
    let mut best = None;
    for lower in 0..LADDER.len() {
        for raised in 0..starts.len() {
            let formats = formats(lower, raised);
            if bytes(units, &formats) <= budget {
                best = Some(formats);
            }
        }
    }
    best
}
