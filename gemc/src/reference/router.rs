//! Rows of x in, decisions out: p, fired modules, domain and cluster, and the row list of every module.

use super::math;
use super::records::{ClusterIds, Decisions, RouterRule};
use crate::graph::Score;

/// Which rows each module serves, with what gates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dispatch {
    /// By module: rows in ascending order.
    pub rows: Vec<Vec<usize>>,
    /// By module: gate of each of its rows.
    pub gates: Vec<Vec<f32>>,
    /// Rows on which nothing fired.
    pub unrouted: Vec<usize>,
    /// What the base of each row is multiplied with; empty where it counts in full.
    pub base: Vec<f32>,
}

impl Dispatch {
    /// Gates follow from p and what fired.
    #[must_use]
    pub fn new(decisions: &Decisions, base: Vec<f32>) -> Self {
        let gates = decisions.rule.gates;
        let mut dispatch = Self {
            rows: vec![Vec::new(); decisions.modules],
            gates: vec![Vec::new(); decisions.modules],
            unrouted: Vec::new(),
            base,
        };
        for row in 0..decisions.rows() {
            let p = decisions.p_row(row);
            let fired = decisions.fired_row(row);
            let sum: f32 = p
                .iter()
                .zip(fired)
                .filter(|(_, f)| **f)
                .map(|(p, _)| p)
                .sum();
            for module in (0..decisions.modules).filter(|m| fired[*m]) {
                dispatch.rows[module].push(row);
                dispatch.gates[module].push(gates.gate(p[module], sum));
            }
            if !fired.contains(&true) {
                dispatch.unrouted.push(row);
            }
        }
        dispatch
    }
}

/// Decides every row from its router logits, which become p.
pub(super) fn decide(
    mut logits: Vec<f32>,
    modules: usize,
    rule: RouterRule,
    select_bias: &[f32],
) -> Decisions {
    let rows = logits.len() / modules;
    let mut fired = vec![false; logits.len()];
    let mut domain = Vec::with_capacity(rows);
    for (p, fired) in logits
        .chunks_exact_mut(modules)
        .zip(fired.chunks_exact_mut(modules))
    {
        score(rule.score, p);
        domain.push(choose(p, rule, select_bias, fired));
    }
    Decisions {
        modules,
        rule,
        p: logits,
        select_bias: select_bias.to_vec(),
        fired,
        domain,
    }
}

fn score(score: Score, row: &mut [f32]) {
    match score {
        Score::Softmax => math::softmax(row),
        Score::Sigmoid => row.iter_mut().for_each(|x| *x = math::sigmoid(*x)),
    }
}

/// Takes the top-k by p and what is added to it (ties: lower index); those above the threshold fire. Returns the domain.
fn choose(p: &[f32], rule: RouterRule, select_bias: &[f32], fired: &mut [bool]) -> u32 {
    let key = |m: usize| p[m] + select_bias.get(m).unwrap_or(&0.0);
    let mut taken = vec![false; p.len()];
    for _ in 0..rule.top_k.min(p.len()) {
        let free = (0..p.len()).filter(|m| !taken[*m]);
        let best = free.reduce(|best, m| if key(m) > key(best) { m } else { best });
        let Some(best) = best else { break };
        taken[best] = true;
        fired[best] = p[best] > rule.threshold;
    }
    let fired = (0..p.len()).filter(|m| fired[*m]);
    let domain = fired.reduce(|best, m| if p[m] > p[best] { m } else { best });
    domain.unwrap_or(p.len()) as u32
}

/// Nearest centroids from the products `x . C` `[rows, count]`, the squared norms of the centroids, and those of x.
///
/// The choice is argmin of `|C|^2 - 2 x . C` (ties: lower index); |x|^2 serves the margins alone.
pub(super) fn nearest(products: &[f32], centroid_norms: &[f32], x_norms: &[f32]) -> ClusterIds {
    let count = centroid_norms.len();
    let mut clusters = ClusterIds {
        count,
        ids: Vec::with_capacity(x_norms.len()),
        margins: Vec::with_capacity(x_norms.len()),
    };
    for (products, x_norm) in products.chunks_exact(count).zip(x_norms) {
        let (mut id, mut first, mut second) = (0, f32::INFINITY, f32::INFINITY);
        for (c, (product, norm)) in products.iter().zip(centroid_norms).enumerate() {
            let distance = norm - 2.0 * product;
            if distance < first {
                (id, second, first) = (c, first, distance);
            } else if distance < second {
                second = distance;
            }
        }
        clusters.ids.push(id as u32);
        let (first, second) = (
            (first + x_norm).max(0.0),
            (second + x_norm).max(f32::MIN_POSITIVE),
        );
        clusters.margins.push(if count == 1 {
            f32::INFINITY
        } else {
            1.0 - first / second
        });
    }
    clusters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Gates;

    const RULE: RouterRule = RouterRule {
        score: Score::Sigmoid,
        top_k: 2,
        threshold: 0.5,
        gates: Gates::plain(true),
    };

    #[test]
    fn ties_go_to_the_lower_index_and_the_threshold_is_strict() {
        // sigmoid(0) is exactly the threshold.
        let decisions = decide(
            vec![1.0, 2.0, 2.0, 2.0, 0.0, -1.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            4,
            RULE,
            &[],
        );
        assert_eq!(decisions.fired_row(0), [false, true, true, false]);
        assert_eq!(decisions.fired_row(1), [false, false, true, false]);
        assert_eq!(decisions.fired_row(2), [false; 4]);
        assert_eq!(decisions.domain, [1, 2, 4]);
        assert!(decisions.flag(0) && !decisions.flag(2));
    }

    #[test]
    fn dispatch_lists_rows_by_module_and_renormalises() {
        let decisions = decide(vec![5.0, 5.0, -9.0, -9.0, -9.0, 4.0], 3, RULE, &[]);
        let dispatch = Dispatch::new(&decisions, Vec::new());
        assert_eq!(dispatch.rows, [vec![0], vec![0], vec![1]]);
        assert_eq!(dispatch.gates, [vec![0.5], vec![0.5], vec![1.0]]);
        assert!(dispatch.unrouted.is_empty());
    }

    #[test]
    fn nearest_centroid_and_its_margin() {
        // Centroids 0, 2, 2 on a line; x = 0.5 and x = 1 (a tie) and x = 3.
        let products = [0.0, 1.0, 1.0, 0.0, 2.0, 2.0, 0.0, 6.0, 6.0];
        let clusters = nearest(&products, &[0.0, 4.0, 4.0], &[0.25, 1.0, 9.0]);
        assert_eq!(clusters.ids, [0, 0, 1]);
        assert!((clusters.margins[0] - (1.0 - 0.25 / 2.25)).abs() < 1e-6);
        assert!(clusters.near_tie(1) && clusters.near_tie(2) && !clusters.near_tie(0));
    }
}
