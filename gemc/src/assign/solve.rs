//! Options of every unit and a budget of bytes -> one option each, of the least total cost: a knapsack with choices,
//! solved by dynamic programming over the bytes; of thousands of units, by their convex hulls.

use super::hull;

/// A format of a unit: what it takes and what it costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Bytes of the unit in this format.
    pub bytes: u64,
    /// KL it is predicted to add, nats per token.
    pub cost: f64,
    /// Seconds that decoding a token spends on it.
    pub seconds: f64,
}

/// Steps the budget is divided into; an option's bytes are rounded up to whole steps.
const STEPS: u64 = 1 << 16;

/// Units whose exact solution takes some 64 MB and seconds.
const MOST_EXACT: usize = 1024;

/// The cheapest selection that fits: index of each unit's choice. `None` when even the smallest do not fit. Of more than 1024
/// units it is nearly the cheapest, see [`hull`].
#[must_use]
pub fn solve(units: &[Vec<Choice>], budget: u64) -> Option<Vec<usize>> {
    match units.len() <= MOST_EXACT {
        true => exact(units, budget),
        false => hull::solve(units, budget),
    }
}

/// The cheapest selection that fits.
#[must_use]
pub(super) fn exact(units: &[Vec<Choice>], budget: u64) -> Option<Vec<usize>> {
    let smallest: Vec<u64> = units
        .iter()
        .map(|choices| choices.iter().map(|c| c.bytes).min())
        .collect::<Option<_>>()?;
    let room = budget.checked_sub(smallest.iter().sum())?;
    // Bytes beyond the smallest choice are what is shared out.
    let step = room.div_ceil(STEPS).max(1);
    let steps = (room / step) as usize;
    let mut best = vec![0.0f64; steps + 1];
    let mut picks: Vec<Vec<u8>> = Vec::with_capacity(units.len());
    for (choices, least) in units.iter().zip(&smallest) {
        let mut next = vec![f64::INFINITY; steps + 1];
        let mut pick = vec![0u8; steps + 1];
        for (index, choice) in choices.iter().enumerate() {
            let extra = (choice.bytes - least).div_ceil(step) as usize;
            for at in extra..=steps {
                let cost = best[at - extra] + choice.cost;
                if cost < next[at] {
                    next[at] = cost;
                    pick[at] = index as u8;
                }
            }
        }
        best = next;
        picks.push(pick);
    }
    let mut at = (0..=steps).min_by(|a, b| best[*a].total_cmp(&best[*b]))?;
    let mut chosen = vec![0; units.len()];
    for (unit, choices) in units.iter().enumerate().rev() {
        let index = usize::from(picks[unit][at]);
        chosen[unit] = index;
        at -= (choices[index].bytes - smallest[unit]).div_ceil(step) as usize;
    }
    Some(chosen)
}

/// Prices of a second that are tried: twelve powers of ten, halved so often, are less than a part in a hundred thousand.
const PRICES: usize = 24;

/// The cheapest selection that fits and takes no longer than `limit` seconds, but for what a price of time cannot tell
/// apart: costs and seconds times a price are minimised together, the lowest price that keeps to the limit. `None` when
/// none keeps to both.
#[must_use]
pub fn solve_within(units: &[Vec<Choice>], budget: u64, limit: f64) -> Option<Vec<usize>> {
    let seconds = |chosen: &[usize]| -> f64 {
        let each = units.iter().zip(chosen);
        each.map(|(unit, index)| unit[*index].seconds).sum()
    };
    let priced = |price: f64| solve_for(units, budget, |c| c.cost + price * c.seconds);
    let free = priced(0.0)?;
    if seconds(&free) <= limit {
        return Some(free);
    }
    let quickest = quickest(units, budget)?;
    if seconds(&quickest) > limit {
        return None;
    }
    // Between a price that is too low and one at which time is all that counts.
    let dearest = |unit: &Vec<Choice>| unit.iter().map(|c| c.cost).fold(0.0, f64::max);
    let whole: f64 = units.iter().map(dearest).sum();
    let (mut low, mut high) = (0.0, 1e6 * whole / limit);
    let mut best = quickest;
    for _ in 0..PRICES {
        // Prices span many powers of ten: between two of them their geometric mean is the middle.
        let floor: f64 = if low > 0.0 { low } else { high * 1e-12 };
        let price = (floor * high).sqrt();
        let chosen = priced(price)?;
        if seconds(&chosen) <= limit {
            (best, high) = (chosen, price);
        } else {
            low = price;
        }
    }
    Some(best)
}

/// The selection that fits and takes the least time.
#[must_use]
pub fn quickest(units: &[Vec<Choice>], budget: u64) -> Option<Vec<usize>> {
    solve_for(units, budget, |c| c.seconds)
}

/// The selection that fits and is the cheapest by another cost.
fn solve_for(
    units: &[Vec<Choice>],
    budget: u64,
    cost: impl Fn(&Choice) -> f64,
) -> Option<Vec<usize>> {
    let choice = |choice: &Choice| Choice {
        cost: cost(choice),
        ..*choice
    };
    let units: Vec<Vec<Choice>> = units
        .iter()
        .map(|unit| unit.iter().map(choice).collect())
        .collect();
    solve(&units, budget)
}

#[cfg(test)]
mod tests {
    use gemc_kernels::ir::testing::Bytes;

    use super::*;

    fn choice(bytes: u64, cost: f64) -> Choice {
        let seconds = 0.0;
        Choice {
            bytes,
            cost,
            seconds,
        }
    }

    #[test]
    fn keeps_to_both_limits() {
        // What has fewer bytes need not be quicker.
        let timed = |bytes, cost, seconds| Choice {
            bytes,
            cost,
            seconds,
        };
        let units = vec![
            vec![
                timed(10, 9.0, 4.0),
                timed(20, 3.0, 2.0),
                timed(40, 0.0, 5.0),
            ],
            vec![timed(7, 5.0, 1.0), timed(9, 1.0, 3.0)],
            vec![
                timed(100, 2.0, 9.0),
                timed(130, 1.5, 1.0),
                timed(150, 0.1, 2.0),
            ],
        ];
        let sum = |chosen: &[usize], f: fn(&Choice) -> f64| -> f64 {
            units.iter().zip(chosen).map(|(u, c)| f(&u[*c])).sum()
        };
        for budget in [116, 120, 150, 160, 170, 199, 300] {
            for limit in [0.5, 3.9, 4.0, 5.0, 6.0, 7.0, 8.0, 12.0, 20.0] {
                let fits = |chosen: &[usize]| {
                    sum(chosen, |c| c.bytes as f64) <= budget as f64
                        && sum(chosen, |c| c.seconds) <= limit
                };
                let every = (0..18).map(|i| vec![i % 3, i / 3 % 2, i / 6]);
                let least = every
                    .filter(|chosen| fits(chosen))
                    .map(|c| sum(&c, |c| c.cost));
                let least = least.min_by(f64::total_cmp);
                let found = solve_within(&units, budget, limit);
                assert_eq!(found.is_none(), least.is_none(), "{budget} {limit}");
                if let Some(found) = found {
                    assert!(fits(&found), "{budget} {limit}: {found:?}");
                }
            }
        }
        assert_eq!(solve_within(&[], 0, 0.0), Some(vec![]));
    }

    /// A price of time finds what is on the convex hull alone; how much worse that is than the best of all selections, over
    /// random units with limits that bind.
    #[test]
    fn a_price_of_time_costs_little() {
        let random = Bytes::random(3, 1 << 20);
        let mut bytes = Bytes::new(&random);
        let mut share = || f64::from(bytes.word() % 1000) / 1000.0;
        let (mut tried, mut best, mut excess) = (0, 0, 0.0);
        while tried < 300 {
            let mut unit = || -> Vec<Choice> {
                let choice = |size: u64| Choice {
                    bytes: 100 * size,
                    cost: (4 - size) as f64 + share(),
                    seconds: 0.2 + share(),
                };
                [1, 2, 3].map(choice).to_vec()
            };
            let units: Vec<Vec<Choice>> = (0..6).map(|_| unit()).collect();
            let sum = |chosen: &[usize], f: fn(&Choice) -> f64| -> f64 {
                units.iter().zip(chosen).map(|(u, c)| f(&u[*c])).sum()
            };
            let (budget, limit) = (1300, 3.6);
            let every = (0..3usize.pow(6))
                .map(|i| -> Vec<usize> { (0..6).map(|unit| i / 3usize.pow(unit) % 3).collect() });
            let costs = every
                .filter(|c| sum(c, |c| c.bytes as f64) <= 1300.0 && sum(c, |c| c.seconds) <= limit)
                .map(|c| sum(&c, |c| c.cost));
            let least = costs.min_by(f64::total_cmp);
            let found = solve_within(&units, budget, limit).map(|c| sum(&c, |c| c.cost));
            assert_eq!(found.is_some(), least.is_some());
            if let (Some(found), Some(least)) = (found, least) {
                tried += 1;
                best += usize::from(found <= least + 1e-9);
                excess += found / least - 1.0;
            }
        }
        let mean = excess / f64::from(tried);
        assert!(
            best > 100 && mean < 0.05,
            "{best} of {tried} are the best, {mean} worse"
        );
    }

    fn bytes(units: &[Vec<Choice>], chosen: &[usize]) -> u64 {
        units.iter().zip(chosen).map(|(u, c)| u[*c].bytes).sum()
    }

    #[test]
    fn is_the_best_of_all() {
        let units = vec![
            vec![choice(10, 9.0), choice(20, 3.0), choice(40, 0.0)],
            vec![choice(7, 5.0), choice(9, 1.0)],
            vec![choice(100, 2.0), choice(130, 1.5), choice(150, 0.1)],
        ];
        for budget in 110..230 {
            let best = (0..18)
                .map(|i| [i % 3, i / 3 % 2, i / 6])
                .filter(|chosen| bytes(&units, chosen) <= budget)
                .map(|chosen| {
                    units
                        .iter()
                        .zip(chosen)
                        .map(|(u, c)| u[c].cost)
                        .sum::<f64>()
                })
                .min_by(f64::total_cmp);
            let found = solve(&units, budget);
            assert_eq!(found.is_none(), best.is_none(), "{budget}");
            if let (Some(found), Some(best)) = (found, best) {
                assert!(bytes(&units, &found) <= budget);
                let cost: f64 = units.iter().zip(&found).map(|(u, c)| u[*c].cost).sum();
                assert!((cost - best).abs() < 1e-12, "{budget}: {cost} {best}");
            }
        }
    }

    #[test]
    fn edges() {
        assert_eq!(solve(&[], 0), Some(vec![]));
        assert_eq!(solve(&[vec![]], 10), None);
        assert_eq!(solve(&[vec![choice(5, 1.0)]], 4), None);
        assert_eq!(solve(&[vec![choice(5, 1.0)]], 5), Some(vec![0]));
        // A worse and larger choice is never taken.
        assert_eq!(
            solve(&[vec![choice(5, 1.0), choice(6, 2.0)]], 100),
            Some(vec![0])
        );
        // Sizes beyond the number of steps.
        let large = vec![vec![choice(1 << 30, 3.0), choice(1 << 31, 1.0)]; 3];
        assert_eq!(solve(&large, 5 << 30), Some(vec![1, 1, 0]));
    }
}
