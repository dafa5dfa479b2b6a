//! What rounding does to the output: the error of every unit in every format, and KL per error, measured by group.
//!
//! All of it is forward-only. Units of one place and kind form a group (the modules of a layer, say): they share the
//! factor from error to KL, and their errors say how they differ; a module's error already holds how often it is visited
//! and with which gate.

mod judge;
mod ladder;
mod reading;
mod slope;

pub use judge::{Judge, JudgedOutputs, KEPT_BYTES};
pub use ladder::{Evidence, Ladder, Method};
pub use reading::Reading;
pub use slope::Slope;

use gemc_format::Codec;

use crate::graph::{Group, GroupMap, NodeId, Units};
use crate::progress::Progress;
use crate::reference::{Reference, ReferenceError};

/// The factor from error to KL of every group.
pub type Slopes = GroupMap<Slope>;

/// Measures every group by itself in formats of few and fewer bits, most bits first, all else in f32, with the original's
/// routing. One format gives a straight line, two a curve; what the original costs against itself says which KL is one at all.
///
/// # Errors
/// Never for units of this reference.
pub fn measure(
    reference: &Reference,
    units: &Units,
    ladder: &Ladder<'_>,
    judge: &Judge,
    probes: &[Codec],
    progress: &dyn Progress,
) -> Result<Slopes, ReferenceError> {
    let groups = units.groups();
    let steps = groups.len() * probes.len();
    progress.start("measuring sensitivity", steps as u64);
    let head = reference.graph().starts().last();
    let floor = judge.judge(reference, head.map_or(NodeId(0), |(_, id)| id), true)?;
    let floor = floor.mean();
    let slope = |group: &Group| {
        let mut points = Vec::new();
        // A group has at least one unit.
        let from = units[group.units[0]].start;
        for &codec in probes {
            let mut candidate = reference.clone();
            let mut error = 0.0;
            for unit in group.units.iter().map(|id| &units[*id]) {
                error += ladder.error(unit, codec);
                ladder.apply(&mut candidate, unit, codec)?;
            }
            let kl = judge.judge(&candidate, from, true)?.mean();
            points.push((error, kl));
            progress.advance(1);
        }
        Ok(Slope::through(&points).measured(&points, floor))
    };
    groups.iter().map(slope).collect()
}
