//! What rounding does to the output: the error of every unit in every format, and KL per error, measured by group.
//!
//! All of it is forward-only. Units of one place and kind form a group (the modules of a layer, say): they share the
//! factor from error to KL, and their errors say how they differ; a module's error already holds how often it is visited
//! and with which gate.

mod journal;
mod judge;
mod ladder;
mod reading;
mod slope;
mod spill;

pub use journal::Journal;
pub use judge::{Judge, JudgedOutputs, KEPT_BYTES};
pub use ladder::{Evidence, Ladder, Method, with_inputs};
pub use reading::Reading;
pub use slope::Slope;

use gemc_format::Codec;

use crate::graph::{Group, GroupMap, NodeId, Unit, Units};
use crate::progress::{Progress, Silent};
use crate::reference::{Reference, ReferenceError};

/// The factor from error to KL of every group.
pub type Slopes = GroupMap<Slope>;

/// Measures every group by itself in formats of few and fewer bits, most bits first, all else in f32, with the original's
/// routing. One format gives a straight line, two a curve; what the original costs against itself says which KL is one at all.
///
/// What the journal of the ladder knows is taken from there.
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
    let slope = |(at, group): (usize, &Group)| {
        let mut points = Vec::new();
        // A group has at least one unit.
        let from = units[group.units[0]].start;
        for &codec in probes {
            let members: Vec<&Unit> = group.units.iter().map(|id| &units[*id]).collect();
            let error = ladder.errors(&members, codec).iter().sum();
            let name = format!("kl g{at} {}", codec.name());
            let kl = ladder.journal().get(&name, || {
                let mut candidate = reference.clone();
                let formats: Vec<_> = members.iter().map(|unit| (*unit, codec)).collect();
                ladder.apply_all(&mut candidate, &formats, &Silent)?;
                Ok(judge.judge(&candidate, from, true)?.mean())
            })?;
            ladder.journal().flush();
            points.push((error, kl));
            progress.advance(1);
        }
        Ok(Slope::through(&points).measured(&points, floor))
    };
    groups.iter().enumerate().map(slope).collect()
}
