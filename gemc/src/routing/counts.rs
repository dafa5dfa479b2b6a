//! Rows of one site in one domain of the text -> counts, and counts -> [`Measures`].

use std::collections::BTreeMap;

use super::information::{entropy, entropy_of_scores, normalised_mutual_information};
use super::mask::Pairs;
use super::table::{CoSelection, Density, Edge, Flow, Measures, Occupancy, Traffic};
use crate::metrics::argmax;
use crate::reference::Decisions;

/// What was counted at one site; counts of several domains add up.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    tokens: u64,
    fired: u64,
    modules: Vec<Traffic>,
    pairs: BTreeMap<(usize, usize), u64>,
    argmax: Vec<u64>,
    pub states: Vec<u64>,
    entropy: f64,
    clusters: BTreeMap<u32, u64>,
    pub single: Pairs,
    pub mixed: Pairs,
    pub across: Pairs,
}

/// What the graph says about a site, as far as counts need it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Centroids, where there are any.
    pub clusters: Option<usize>,
    /// Whether there is SCAR.
    pub scar: bool,
}

impl Counts {
    pub fn new(modules: usize) -> Self {
        Self {
            modules: vec![Traffic::default(); modules],
            argmax: vec![0; modules],
            states: vec![0; modules + 1],
            ..Self::default()
        }
    }

    /// Counts the decisions for one row.
    pub fn token(&mut self, decisions: &Decisions, row: usize) {
        let (p, fired) = (decisions.p_row(row), decisions.fired_row(row));
        self.tokens += 1;
        self.fired += u64::from(decisions.flag(row));
        self.argmax[argmax(p)] += 1;
        self.states[decisions.domain[row] as usize] += 1;
        self.entropy += entropy_of_scores(p);
        let chosen: Vec<usize> = (0..fired.len()).filter(|m| fired[*m]).collect();
        let sum: f32 = chosen.iter().map(|m| p[*m]).sum();
        for (i, &module) in chosen.iter().enumerate() {
            let gate = f64::from(decisions.rule.gates.gate(p[module], sum));
            let traffic = &mut self.modules[module];
            traffic.tokens += 1;
            traffic.gate += gate;
            traffic.gate_squared += gate * gate;
            for &other in &chosen[i + 1..] {
                *self.pairs.entry((module, other)).or_default() += 1;
            }
        }
    }

    /// Counts the cluster of one token.
    pub fn cluster(&mut self, id: u32) {
        *self.clusters.entry(id).or_default() += 1;
    }

    /// Adds the counts of other tokens at the same site.
    pub fn add(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.fired += other.fired;
        self.entropy += other.entropy;
        for (mine, theirs) in self.modules.iter_mut().zip(&other.modules) {
            mine.tokens += theirs.tokens;
            mine.gate += theirs.gate;
            mine.gate_squared += theirs.gate_squared;
        }
        add_lists(&mut self.argmax, &other.argmax);
        add_lists(&mut self.states, &other.states);
        add_maps(&mut self.pairs, &other.pairs);
        add_maps(&mut self.clusters, &other.clusters);
        self.single.add(other.single);
        self.mixed.add(other.mixed);
        self.across.add(other.across);
    }

    pub fn measures(&self, shape: Shape) -> Measures {
        let of_tokens = |x: f64| (self.tokens > 0).then(|| x / self.tokens as f64);
        let traffic = |t: &Traffic| Traffic {
            share: of_tokens(t.tokens as f64).unwrap_or(0.0),
            ..*t
        };
        Measures {
            tokens: self.tokens,
            fired: of_tokens(self.fired as f64),
            traffic: self.modules.iter().map(traffic).collect(),
            coselection: self.coselection(),
            argmax: self.argmax.clone(),
            states: self.states.clone(),
            entropy_p: of_tokens(self.entropy),
            entropy_states: entropy(self.states.iter().copied()),
            clusters: shape.clusters.map(|count| self.occupancy(count)),
            density: shape.scar.then(|| Density {
                single: self.single.density(),
                mixed: self.mixed.density(),
                across: self.across.density(),
            }),
        }
    }

    /// Modules that no token reached, and those reached by less than `share` of the fired tokens.
    pub fn seldom(&self, share: f64) -> (Vec<usize>, Vec<usize>) {
        let limit = share * self.fired as f64;
        let tokens = |m: &usize| self.modules[*m].tokens;
        let all = 0..self.modules.len();
        let unreached = all.clone().filter(|m| tokens(m) == 0).collect();
        let rare = all.filter(|m| tokens(m) > 0 && (tokens(m) as f64) < limit);
        (unreached, rare.collect())
    }

    fn coselection(&self) -> Vec<CoSelection> {
        let pairs = self.pairs.iter();
        pairs
            .map(|(&(first, second), &tokens)| CoSelection {
                first,
                second,
                tokens,
            })
            .collect()
    }

    fn occupancy(&self, clusters: usize) -> Occupancy {
        Occupancy {
            clusters,
            occupied: self.clusters.len() as f64 / clusters.max(1) as f64,
            entropy: entropy(self.clusters.values().copied()),
            tokens: self.clusters.clone(),
        }
    }
}

/// Tokens by state at one site and at the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps(BTreeMap<(u32, u32), u64>);

impl Steps {
    pub fn token(&mut self, from: u32, to: u32) {
        *self.0.entry((from, to)).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        add_maps(&mut self.0, &other.0);
    }

    pub fn flow(&self) -> Flow {
        let mut totals: BTreeMap<u32, u64> = BTreeMap::new();
        for ((from, _), tokens) in &self.0 {
            *totals.entry(*from).or_default() += tokens;
        }
        let edge = |(&(from, to), &tokens): (&(u32, u32), &u64)| Edge {
            from: from as usize,
            to: to as usize,
            tokens,
            probability: tokens as f64 / totals[&from] as f64,
        };
        Flow {
            nmi: normalised_mutual_information(self.0.iter().map(|(key, n)| (*key, *n))),
            edges: self.0.iter().map(edge).collect(),
        }
    }
}

fn add_lists(mine: &mut [u64], theirs: &[u64]) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine += theirs;
    }
}

fn add_maps<K: Ord + Copy>(mine: &mut BTreeMap<K, u64>, theirs: &BTreeMap<K, u64>) {
    for (key, count) in theirs {
        *mine.entry(*key).or_default() += count;
    }
}
