//! Options of very many units and a budget of bytes -> one option each: step by step, where a byte gains most.
//!
//! Only options on a unit's convex hull are taken, so the steps of a unit come in their order. What this misses of the best
//! selection is less than the gain of the one step that the budget cut off, which of thousands of units is nothing.

use super::solve::Choice;

/// A step from one option of a unit to the next on its hull.
struct Step {
    unit: usize,
    /// Index among the unit's choices.
    to: usize,
    bytes: u64,
    /// Cost saved per byte.
    gain: f64,
}

/// A selection that fits, and of which no single step up would: index of each unit's choice. `None` when even the smallest do
/// not fit.
#[must_use]
pub fn solve(units: &[Vec<Choice>], budget: u64) -> Option<Vec<usize>> {
    let hulls: Vec<Vec<usize>> = units.iter().map(|choices| hull(choices)).collect();
    let mut chosen: Vec<usize> = hulls
        .iter()
        .map(|hull| hull.first().copied())
        .collect::<Option<_>>()?;
    let smallest: u64 = units
        .iter()
        .zip(&chosen)
        .map(|(choices, at)| choices[*at].bytes)
        .sum();
    let mut room = budget.checked_sub(smallest)?;
    let mut steps: Vec<Step> = Vec::new();
    for (unit, (choices, hull)) in units.iter().zip(&hulls).enumerate() {
        steps.extend(hull.windows(2).map(|pair| {
            let (from, to) = (choices[pair[0]], choices[pair[1]]);
            let bytes = to.bytes - from.bytes;
            Step {
                unit,
                to: pair[1],
                bytes,
                gain: (from.cost - to.cost) / bytes as f64,
            }
        }));
    }
    // Equal gains in the order of the units; a unit's own steps stay in theirs.
    steps.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    let mut ended = vec![false; units.len()];
    for step in steps {
        if ended[step.unit] || step.bytes > room {
            ended[step.unit] = true;
            continue;
        }
        room -= step.bytes;
        chosen[step.unit] = step.to;
    }
    Some(chosen)
}

/// The choices that are best at some price of a byte, from the fewest bytes on.
fn hull(choices: &[Choice]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..choices.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (choices[*a], choices[*b]);
        a.bytes.cmp(&b.bytes).then(a.cost.total_cmp(&b.cost))
    });
    let mut hull: Vec<usize> = Vec::with_capacity(order.len());
    let gain = |from: usize, to: usize| {
        let (from, to) = (choices[from], choices[to]);
        (from.cost - to.cost) / (to.bytes - from.bytes) as f64
    };
    for next in order {
        // What has no fewer bytes and costs no less is never taken.
        if hull
            .last()
            .is_some_and(|last| choices[next].cost >= choices[*last].cost)
        {
            continue;
        }
        while let [.., before, last] = hull[..]
            && gain(last, next) >= gain(before, last)
        {
            hull.pop();
        }
        hull.push(next);
    }
    hull
}

#[cfg(test)]
mod tests {
    use gemc_kernels::ir::testing::Bytes;

    use super::*;

    fn choice(bytes: u64, cost: f64) -> Choice {
        Choice {
            bytes,
            cost,
            seconds: 0.0,
        }
    }

    #[test]
    fn only_what_pays_is_on_the_hull() {
        let choices = [
            choice(40, 1.0),
            choice(10, 9.0),
            choice(20, 8.0),
            choice(30, 2.0),
            choice(30, 3.0),
            choice(50, 1.0),
        ];
        assert_eq!(hull(&choices), [1, 3, 0]);
        assert_eq!(hull(&[choice(10, 9.0), choice(10, 8.0)]), [1]);
        assert!(hull(&[]).is_empty());
        // A format that is not known costs without end, and is left as soon as there is room.
        assert_eq!(hull(&[choice(10, f64::INFINITY), choice(20, 1.0)]), [0, 1]);
    }

    #[test]
    fn is_nearly_what_the_exact_solution_is() {
        let random = Bytes::random(5, 1 << 20);
        let mut bytes = Bytes::new(&random);
        let mut share = || f64::from(bytes.word() % 1000) / 1000.0;
        for _ in 0..20 {
            let mut unit = || -> Vec<Choice> {
                let size = 100.0 + 900.0 * share();
                let cost = 0.1 + share();
                [2.0, 3.0, 4.0, 5.0, 8.0f64]
                    .map(|bits| {
                        choice(
                            (size * bits) as u64,
                            cost * 4f64.powf(-bits) * (0.8 + 0.4 * share()),
                        )
                    })
                    .to_vec()
            };
            let units: Vec<Vec<Choice>> = (0..300).map(|_| unit()).collect();
            let sum = |chosen: &[usize], f: fn(&Choice) -> f64| -> f64 {
                units
                    .iter()
                    .zip(chosen)
                    .map(|(unit, at)| f(&unit[*at]))
                    .sum()
            };
            let budget = 300 * 550 * 4;
            let (near, best) = (
                solve(&units, budget),
                super::super::solve::exact(&units, budget),
            );
            let (near, best) = (near.expect("fits"), best.expect("fits"));
            assert!(sum(&near, |c| c.bytes as f64) <= budget as f64);
            let (near, best) = (sum(&near, |c| c.cost), sum(&best, |c| c.cost));
            assert!(near <= 1.005 * best, "{near} {best}");
        }
        assert_eq!(solve(&[vec![choice(5, 1.0)]], 4), None);
        assert_eq!(solve(&[vec![]], 4), None);
        assert_eq!(solve(&[], 0), Some(vec![]));
    }
}
