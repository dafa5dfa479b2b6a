//! Models tried -> the table of pairs of choices: which were met, which import refuses, which are left.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::features::FEATURES;
use crate::model::{Choice, Choices};

/// Two choices of different features, the earlier feature first.
pub type Pair = (Choice, Choice);

/// What became of every pair.
#[derive(Debug, Default)]
pub struct Table {
    /// By feature and value.
    tried: Vec<Vec<usize>>,
    met: HashSet<Pair>,
    refused: HashSet<Pair>,
    /// Pairs are looked through once: what was passed is met or refused.
    passed: usize,
}

impl Table {
    /// A table in which no pair has been met.
    pub fn new() -> Self {
        let tried = FEATURES.iter().map(|f| vec![0; f.values.len()]);
        Self {
            tried: tried.collect(),
            ..Self::default()
        }
    }

    /// Counts a model that import accepts.
    pub fn meet(&mut self, choices: &Choices) {
        let choices: Vec<Choice> = choices.0.iter().copied().enumerate().collect();
        for (i, a) in choices.iter().enumerate() {
            self.tried[a.0][a.1] += 1;
            self.met.extend(choices[i + 1..].iter().map(|b| (*a, *b)));
        }
    }

    /// No model has this pair.
    pub fn refuse(&mut self, pair: Pair) {
        self.refused.insert(pair);
    }

    /// A pair that is neither met nor refused.
    pub fn left(&mut self) -> Option<Pair> {
        let pairs = pairs();
        let open = |p: &Pair| !self.met.contains(p) && !self.refused.contains(p);
        let found = pairs[self.passed..].iter().position(open);
        self.passed = found.map_or(pairs.len(), |n| self.passed + n);
        pairs.get(self.passed).copied()
    }

    /// For people: models of every value, what was refused, what is left.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (feature, tried) in FEATURES.iter().zip(&self.tried) {
            let values = feature.values.iter().zip(tried);
            let values: Vec<String> = values.map(|(v, n)| format!("{v}: {n}")).collect();
            let _ = writeln!(text, "{:16} {}", feature.name, values.join(", "));
        }
        let all = pairs();
        let refused: Vec<&Pair> = all.iter().filter(|p| self.refused.contains(p)).collect();
        let left = all.len() - self.met.len() - refused.len();
        let _ = writeln!(
            text,
            "{} pairs of choices: {} met, {} without a model, {left} left",
            all.len(),
            self.met.len(),
            refused.len()
        );
        for pair in refused {
            let _ = writeln!(text, "no model: {}", named(*pair));
        }
        text
    }
}

/// Every pair of values of two different features.
fn pairs() -> Vec<Pair> {
    let choices: Vec<Choice> = FEATURES
        .iter()
        .enumerate()
        .flat_map(|(f, feature)| (0..feature.values.len()).map(move |v| (f, v)))
        .collect();
    let with = |a: &Choice| {
        let a = *a;
        let later = choices.iter().filter(move |b| b.0 > a.0);
        later.map(move |b| (a, *b)).collect::<Vec<Pair>>()
    };
    choices.iter().flat_map(with).collect()
}

/// The pair's names, for the table.
pub fn named((a, b): Pair) -> String {
    let name = |(f, v): Choice| format!("{}={}", FEATURES[f].name, FEATURES[f].values[v]);
    format!("{} with {}", name(a), name(b))
}
