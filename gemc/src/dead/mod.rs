//! A model and text -> what leaving out each of its branches costs: the dead-weight report.
//!
//! A branch is out when its last map gives zero, and runs resume from the start of its layer. Most branches do so much that
//! one batch shows it; only the others are measured on all the tokens that a verdict needs. Of a module these are the
//! batches that use it most, so that a seldom one does not need a run of everything.

mod reach;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::BTreeMap;

use reach::Reach;
use trial::Trial;

use crate::graph::{Branch, Guard};
use crate::plan::dead::{DeadWeight, FoundBranch, LEAST_KL, LEAST_TOKENS, TIMES_ROUNDING, Verdict};
use crate::progress::Progress;
use crate::reference::{Reference, ReferenceError};
use crate::routing::batches;
use crate::sequences::Sequence;

/// A branch whose first batch costs more than so many times what would let it be of interest is looked at no more.
const CLEARLY: f64 = 10.0;

/// What was measured of a branch so far.
#[derive(Clone, Debug, Default)]
struct Sums {
    /// Tokens of the measured batches that reach it.
    tokens: u64,
    /// Outputs that they belong to.
    outputs: u64,
    /// Divergences of all outputs without it.
    cost: f64,
    /// Outputs and divergences where its weights were rounded, too.
    rounded: (u64, f64),
}

impl Sums {
    fn cost(&self) -> f64 {
        self.cost / self.outputs.max(1) as f64
    }

    fn rounded(&self) -> Option<f64> {
        let (outputs, sum) = self.rounded;
        (outputs > 0).then(|| sum / outputs as f64)
    }

    /// What it must cost less than to be dead.
    fn bar(&self) -> f64 {
        let rounded = self.rounded().unwrap_or_default();
        LEAST_KL.max(TIMES_ROUNDING * rounded)
    }
}

/// Measures every branch on text, whose domains should be mixed; costs up to `prune` are told too, where something is to be
/// left out.
///
/// # Errors
/// When a sequence does not fit the model.
pub fn measure(
    reference: &Reference,
    sequences: &[Sequence],
    prune: Option<f64>,
    progress: &dyn Progress,
) -> Result<DeadWeight, ReferenceError> {
    let graph = reference.graph().clone();
    let branches = graph.branches();
    let batches = batches(sequences, graph.facts());
    let reach = Reach::count(reference, &batches, &branches, progress)?;
    let mut sums = vec![Sums::default(); branches.len()];
    let chosen: Vec<Vec<usize>> = (0..branches.len()).map(|b| reach.chosen(b)).collect();
    // The first batch of each, then the others of those that it left in doubt.
    let first = by_batch(&chosen, |list| list.iter().take(1));
    let steps: usize = first.values().map(Vec::len).sum();
    progress.start("looking for dead weight", steps as u64);
    let study = Study {
        reference,
        branches: &branches,
        batches: &batches,
        reach: &reach,
        progress,
    };
    study.run(&first, &mut sums)?;
    let doubtful = |branch: usize| {
        let sums: &Sums = &sums[branch];
        sums.cost() <= CLEARLY * sums.bar().max(prune.unwrap_or_default())
    };
    let rest: Vec<Vec<usize>> = chosen
        .into_iter()
        .enumerate()
        .map(|(branch, list)| match doubtful(branch) {
            true => list,
            false => Vec::new(),
        })
        .collect();
    let rest = by_batch(&rest, |list| list.iter().skip(1));
    let steps: usize = rest.values().map(Vec::len).sum();
    progress.start("measuring what may be dead", steps as u64);
    study.run(&rest, &mut sums)?;
    let found = branches
        .iter()
        .enumerate()
        .filter_map(|(index, branch)| found(branch, &sums[index], reach.total(index), prune));
    Ok(DeadWeight {
        tokens: sequences.iter().map(|s| s.ids.len() as u64).sum(),
        branches: branches.len(),
        prune,
        dropped_kl: None,
        found: found.collect(),
    })
}

/// Marks what a plan leaves out: of the measured branches the cheapest, as many as together cost at most `limit` nats an
/// output when later layers route anew. Each costs less than the limit.
///
/// # Errors
/// When a sequence does not fit the model.
pub fn drop_under(
    reference: &Reference,
    sequences: &[Sequence],
    dead: &mut DeadWeight,
    limit: f64,
    progress: &dyn Progress,
) -> Result<(), ReferenceError> {
    let graph = reference.graph().clone();
    let branches = graph.branches();
    let cost = |found: &FoundBranch| found.kl.filter(|kl| *kl < limit);
    let mut candidates: Vec<(f64, &Branch)> = dead
        .found
        .iter()
        .filter_map(|found| {
            let branch = branches.iter().find(|branch| branch.name == found.name);
            cost(found).zip(branch)
        })
        .collect();
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut batches = batches(sequences, graph.facts());
    let mut rows = 0;
    batches.retain(|batch| {
        let taken = rows < LEAST_TOKENS;
        rows += reach::tokens(batch);
        taken
    });
    progress.start("leaving out dead weight", batches.len() as u64);
    let mut kl = 0.0;
    while !candidates.is_empty() {
        let all: Vec<&Branch> = candidates.iter().map(|(_, branch)| *branch).collect();
        kl = trial::together(reference, &batches, &all, progress)?;
        if kl <= limit {
            break;
        }
        candidates.truncate(candidates.len() / 2);
        kl = 0.0;
    }
    for found in &mut dead.found {
        found.dropped = candidates
            .iter()
            .any(|(_, branch)| branch.name == found.name);
    }
    dead.dropped_kl = Some(kl);
    Ok(())
}

struct Study<'a> {
    reference: &'a Reference,
    branches: &'a [Branch],
    batches: &'a [Vec<&'a Sequence>],
    reach: &'a Reach,
    progress: &'a dyn Progress,
}

impl Study<'_> {
    /// Measures branches on batches, each with its branches.
    fn run(
        &self,
        work: &BTreeMap<usize, Vec<usize>>,
        sums: &mut [Sums],
    ) -> Result<(), ReferenceError> {
        for (batch, branches) in work {
            let own: Vec<&Branch> = branches.iter().map(|b| &self.branches[*b]).collect();
            let trial = Trial::new(self.reference, &self.batches[*batch], &own)?;
            for branch in branches {
                let sums = &mut sums[*branch];
                let subject = &self.branches[*branch];
                let reached = self.reach.of(*batch, *branch);
                sums.tokens += reached.tokens;
                sums.outputs += reached.outputs;
                sums.cost += trial.without(self.reference, subject)?;
                // Below the fixed bar nobody asks what rounding costs.
                if sums.cost() > LEAST_KL {
                    sums.rounded.0 += reached.outputs;
                    sums.rounded.1 += trial.rounded(self.reference, subject)?;
                }
                self.progress.advance(1);
            }
        }
        Ok(())
    }
}

/// Batches with the branches that want them.
fn by_batch<'c, I: Iterator<Item = &'c usize>>(
    chosen: &'c [Vec<usize>],
    part: impl Fn(&'c [usize]) -> I,
) -> BTreeMap<usize, Vec<usize>> {
    let mut work: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (branch, list) in chosen.iter().enumerate() {
        for batch in part(list) {
            work.entry(*batch).or_default().push(branch);
        }
    }
    work
}

/// What is told of a branch, if anything.
fn found(branch: &Branch, sums: &Sums, tokens: u64, prune: Option<f64>) -> Option<FoundBranch> {
    let told = |verdict, tokens, kl| FoundBranch {
        name: branch.name.clone(),
        verdict,
        tokens,
        kl,
        rounded_kl: kl.and(sums.rounded()),
        dropped: false,
    };
    if tokens < LEAST_TOKENS {
        return Some(told(Verdict::Unmeasured, tokens, None));
    }
    let cost = sums.cost();
    let dead = sums.tokens >= LEAST_TOKENS && cost < sums.bar();
    let cheap = sums.tokens >= LEAST_TOKENS && prune.is_some_and(|limit| cost < limit);
    match (dead, cheap) {
        (true, _) => Some(told(Verdict::Dead, sums.tokens, Some(cost))),
        (false, true) => Some(told(Verdict::Alive, sums.tokens, Some(cost))),
        (false, false) => None,
    }
}

/// Whether a guard lets every token pass.
const fn is_always(guard: Guard) -> bool {
    matches!(guard, Guard::Always)
}
