//! Random plans of equal size -> how well predicted KL ranks and meets what is measured.

use gemc::assign::{FixedFormats, Formats, Predictor, budget_of_bits, bytes, measured};
use gemc::graph::{Role, Unit, UnitId, UnitMap, Units};
use gemc::planner::Effort;
use gemc::progress::Silent;
use gemc::reference::{Activations, Reference};
use gemc::sensitivity::{self, Judge, Ladder, Slopes};
use gemc_format::Codec;

use crate::Result;
use crate::bench::{Bench, Ladders, Log};

/// Random plans per size.
const PLANS: usize = 40;

/// What predictions are made from and measured with.
struct Prediction<'a> {
    reference: &'a Reference,
    units: &'a Units,
    ladder: &'a Ladder<'a>,
    slopes: &'a Slopes,
    /// Texts that slopes were measured on.
    search: &'a Judge,
    /// Judges on texts that neither moments nor slopes were taken from.
    evaluation: &'a Judge,
}

/// Prints a line for each size, the embedding pinned or not.
pub fn table(bench: &Bench, ladders: &Ladders<'_>) -> Result<()> {
    let ladder = &ladders.feedback;
    let slopes = sensitivity::measure(
        &bench.reference,
        &bench.units,
        ladder,
        &bench.search,
        Effort::Default.probes(),
        &Log,
    )?;
    // Windows stand domain by domain.
    let part: Vec<_> = bench.judged.windows.iter().step_by(8).cloned().collect();
    let evaluation = Judge::new(&bench.reference, &part, Activations::F32, 2 << 30, &Log)?;
    let prediction = Prediction {
        reference: &bench.reference,
        units: &bench.units,
        ladder,
        slopes: &slopes,
        search: &bench.search,
        evaluation: &evaluation,
    };
    println!(
        "## Predicted against measured KL: {PLANS} random plans of equal size (within 0.5 %), routing forced\n"
    );
    println!(
        "| bits | embedding | Spearman | median error | KL from | to |\n|---|---|---|---|---|---|"
    );
    for bits in [4.0, 3.0] {
        for pinned in [true, false] {
            let (rank, error, low, high) = prediction.line(bits, pinned)?;
            let embedding = if pinned { "B8" } else { "free" };
            println!(
                "| {bits} | {embedding} | {rank:.3} | {:.1} % | {low:.5} | {high:.5} |",
                100.0 * error
            );
        }
    }
    println!();
    Ok(())
}

impl Prediction<'_> {
    fn line(&self, bits: f64, pinned: bool) -> Result<(f64, f64, f64, f64)> {
        let free = FixedFormats::all(self.units, None);
        let predictor = Predictor::new(self.units, self.ladder, self.slopes, &free);
        let budget = budget_of_bits(self.units, bits);
        let mut random = Random(7);
        // The joint factor comes from a plan of this size on the texts that slopes were measured on.
        let first = self.random_plan(&mut random, budget, pinned);
        let (_, kl) = measured(
            self.reference,
            self.units,
            self.ladder,
            &first,
            self.search,
            &Silent,
        )?;
        let joint = kl / predictor.kl(&first);
        let mut pairs = Vec::new();
        for _ in 0..PLANS {
            let formats = self.random_plan(&mut random, budget, pinned);
            let (_, kl) = measured(
                self.reference,
                self.units,
                self.ladder,
                &formats,
                self.evaluation,
                &Silent,
            )?;
            pairs.push((joint * predictor.kl(&formats), kl));
        }
        let mut errors: Vec<f64> = pairs.iter().map(|(p, m)| (p / m - 1.0).abs()).collect();
        errors.sort_unstable_by(f64::total_cmp);
        let measured = pairs.iter().map(|(_, m)| *m);
        let low = measured.clone().fold(f64::INFINITY, f64::min);
        let high = measured.fold(0.0, f64::max);
        Ok((spearman(&pairs), errors[errors.len() / 2], low, high))
    }

    /// Formats drawn with a leaning of each plan's own towards some groups, then moved one by one to the size.
    fn random_plan(&self, random: &mut Random, budget: u64, pinned: bool) -> Formats {
        let kinds: Vec<f64> = (0..16).map(|_| random.unit() * 4.0 - 2.0).collect();
        let fixed = |unit: &Unit| pinned && unit.role == Role::Embedding;
        let mut formats: UnitMap<usize> = self
            .units
            .iter()
            .map(|unit| {
                let group = self.units.group(unit.group);
                let kind = group
                    .name
                    .bytes()
                    .fold(0usize, |h, b| h * 31 % 1009 + usize::from(b))
                    % 16;
                let level = 2.0 + kinds[kind] + random.unit() * 2.0 - 1.0;
                if fixed(unit) {
                    5
                } else {
                    level.round().clamp(0.0, 4.0) as usize
                }
            })
            .collect();
        let codecs = |formats: &UnitMap<usize>| -> Formats {
            formats.values().map(|f| Codec::LADDER[*f]).collect()
        };
        let size = |formats: &UnitMap<usize>| bytes(self.units, &codecs(formats));
        for _ in 0..20_000 {
            let now = size(&formats);
            if now.abs_diff(budget) * 200 <= budget {
                break;
            }
            let unit = UnitId::from_index(random.below(self.units.len()));
            if fixed(&self.units[unit]) {
                continue;
            }
            if now > budget && formats[unit] > 0 {
                formats[unit] -= 1;
            } else if now < budget && formats[unit] < 4 {
                formats[unit] += 1;
            }
        }
        codecs(&formats)
    }
}

/// Rank correlation.
fn spearman(pairs: &[(f64, f64)]) -> f64 {
    let ranks = |values: Vec<f64>| -> Vec<f64> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        let mut ranks = vec![0.0; values.len()];
        for (rank, index) in order.into_iter().enumerate() {
            ranks[index] = rank as f64;
        }
        ranks
    };
    let (a, b) = (
        ranks(pairs.iter().map(|p| p.0).collect()),
        ranks(pairs.iter().map(|p| p.1).collect()),
    );
    let n = pairs.len() as f64;
    let squares: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
    1.0 - 6.0 * squares / (n * (n * n - 1.0))
}

/// A linear congruence.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize % n.max(1)
    }
}
