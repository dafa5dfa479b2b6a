//! Finds the tables of the formats N5, N4, N3 and N2: `cargo run --release -p gemc-lab --bin code_values`.
//!
//! Blocks of 32 are drawn from a normal distribution (rotated weights) and from Student's t with 5 degrees of freedom (raw
//! ones, with heavy tails). Lloyd's algorithm finds real values: every block takes the scale, sign and shift that explain
//! most of it, then every value moves to the least-squares answer of what was rounded to it. The values are scaled to the
//! span that kernels allow and rounded; at last single values and the shift move by one as long as that helps. The
//! objective is the sum over both distributions of the relative error over that of the first table, so that both count
//! alike. Everything is deterministic, but for the last bits of the platform's `ln` and `cos`.
//!
//! The start values are those of ik_llama.cpp's `IQ2_KS` to `IQ5_KS`, whose two-shift trick this is.

/// Columns that share a scale.
const BLOCK: usize = 32;
/// Blocks of each distribution that tables are fitted to, and as many more that they are judged by.
const BLOCKS: usize = 2048;
/// Rounds of Lloyd's algorithm.
const ROUNDS: usize = 12;

/// A format to find a table for.
struct Search {
    name: &'static str,
    /// Largest distance between two values.
    span: i32,
    start: &'static [i32],
    shift: i32,
}

/// Spans are what products in 16 bits leave: `2 * chain * span * 127 < 2^15`, `chain` products of pairs being added
/// before sums are widened: 4 for N2, 2 for N3, 1 for N4 and N5.
const SEARCHES: &[Search] = &[
    Search {
        name: "N2",
        span: 31,
        start: &[-31, -13, 1, 17],
        shift: 5,
    },
    Search {
        name: "N3",
        span: 63,
        start: &[-63, -40, -23, -10, 1, 13, 28, 47],
        shift: 4,
    },
    Search {
        name: "N4",
        span: 127,
        start: &[
            -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
        ],
        shift: 4,
    },
    Search {
        name: "N5",
        span: 127,
        start: &[
            -126, -114, -103, -92, -83, -74, -65, -57, -50, -43, -36, -30, -24, -18, -12, -6, -1,
            5, 11, 17, 23, 29, 36, 43, 51, 59, 68, 77, 87, 97, 109, 121,
        ],
        shift: 2,
    },
];

fn main() {
    let distributions = [Samples::normal(), Samples::student5()];
    for search in SEARCHES {
        report(search, &distributions);
    }
}

fn report(search: &Search, distributions: &[Samples; 2]) {
    let real = lloyd(&Table::of(search.start, search.shift), distributions);
    let unit = errors(&real, distributions, Half::Fit);
    let table = descend(
        rounded(&real, search.span),
        distributions,
        &unit,
        search.span,
    );
    let names = ["normal", "student5"];
    let values: Vec<i32> = table.values.iter().map(|v| *v as i32).collect();
    println!("{}: {values:?}, shift {}", search.name, table.shift);
    let (held, free) = (
        errors(&table, distributions, Half::Judge),
        errors(&real, distributions, Half::Judge),
    );
    for (i, name) in names.iter().enumerate() {
        println!("  {name}: {:.5} ({:.5} before rounding)", held[i], free[i]);
    }
}

/// Values, ascending, and what a shifted block adds to each.
#[derive(Clone, Debug)]
struct Table {
    values: Vec<f64>,
    /// From `.0` on, the next value is nearer than the one before; it is `.1` more.
    steps: Vec<(f32, f32)>,
    shift: f64,
}

impl Table {
    fn new(values: Vec<f64>, shift: f64) -> Self {
        let steps = values
            .windows(2)
            .map(|v| (((v[0] + v[1]) / 2.0) as f32, (v[1] - v[0]) as f32))
            .collect();
        Self {
            values,
            steps,
            shift,
        }
    }

    fn of(values: &[i32], shift: i32) -> Self {
        Self::new(values.iter().map(|v| f64::from(*v)).collect(), shift.into())
    }

    fn nearest(&self, v: f64) -> usize {
        self.steps.partition_point(|step| f64::from(step.0) <= v)
    }
}

/// Which blocks.
#[derive(Clone, Copy)]
enum Half {
    Fit,
    Judge,
}

/// Blocks of one distribution.
struct Samples(Vec<[f64; BLOCK]>);

impl Samples {
    fn normal() -> Self {
        let mut random = Random(1);
        Self::draw(|| random.normal())
    }

    fn student5() -> Self {
        let mut random = Random(2);
        Self::draw(|| {
            let chi2: f64 = (0..5).map(|_| random.normal().powi(2)).sum();
            random.normal() / (chi2 / 5.0).sqrt()
        })
    }

    fn draw(mut next: impl FnMut() -> f64) -> Self {
        Self(
            (0..2 * BLOCKS)
                .map(|_| std::array::from_fn(|_| next()))
                .collect(),
        )
    }

    fn half(&self, half: Half) -> &[[f64; BLOCK]] {
        match half {
            Half::Fit => &self.0[..BLOCKS],
            Half::Judge => &self.0[BLOCKS..],
        }
    }
}

/// A linear congruential generator (Knuth's MMIX), its top bits.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    /// By Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// The best scale of a block.
#[derive(Clone, Copy, Default)]
struct Fit {
    scale: f64,
    shift: f64,
    /// Part of the block's energy that it explains.
    gain: f64,
}

/// Tries the block's extreme at either end, 60 % around it, with and without shift.
fn fit(table: &Table, x: &[f64; BLOCK]) -> Fit {
    let extreme = x
        .iter()
        .fold(0.0f64, |e, &v| if v.abs() > e.abs() { v } else { e });
    let mut best = Fit::default();
    for end in [table.values[0], table.values[table.values.len() - 1]] {
        for step in -10..=10 {
            let inverse = end * (1.0 + 0.06 * f64::from(step)) / extreme;
            challenge(&mut best, table, x, inverse);
        }
    }
    for _ in 0..2 {
        let inverse = 1.0 / best.scale;
        challenge(&mut best, table, x, inverse);
    }
    best
}

fn challenge(best: &mut Fit, table: &Table, x: &[f64; BLOCK], inverse: f64) {
    for shift in [0.0, table.shift] {
        let at = x.map(|x| (x * inverse - shift) as f32);
        // Edge by edge over all columns: this compiles to vector code.
        let mut v = [(table.values[0] + shift) as f32; BLOCK];
        for (edge, step) in &table.steps {
            for (v, at) in v.iter_mut().zip(&at) {
                *v += if at >= edge { *step } else { 0.0 };
            }
        }
        let (mut xv, mut vv) = ([0.0; 8], [0.0; 8]);
        for (x, v) in x.as_chunks::<8>().0.iter().zip(v.as_chunks::<8>().0) {
            for lane in 0..8 {
                let v = f64::from(v[lane]);
                xv[lane] += x[lane] * v;
                vv[lane] += v * v;
            }
        }
        let (xv, vv): (f64, f64) = (xv.iter().sum(), vv.iter().sum());
        if xv * xv > best.gain * vv {
            *best = Fit {
                scale: xv / vv,
                shift,
                gain: xv * xv / vv,
            };
        }
    }
}

/// Relative squared error of each distribution.
fn errors(table: &Table, distributions: &[Samples; 2], half: Half) -> [f64; 2] {
    [0, 1].map(|i| {
        let (mut error, mut energy) = (0.0, 0.0);
        for x in distributions[i].half(half) {
            let own: f64 = x.iter().map(|x| x * x).sum();
            energy += own;
            error += own - fit(table, x).gain;
        }
        error / energy
    })
}

/// Real values: blocks choose scales, values follow.
fn lloyd(start: &Table, distributions: &[Samples; 2]) -> Table {
    let mut table = start.clone();
    for _ in 0..ROUNDS {
        let unit = errors(&table, distributions, Half::Fit);
        let mut sums = vec![(0.0, 0.0); table.values.len()];
        let mut shift = (0.0, 0.0);
        for (samples, unit) in distributions.iter().zip(unit) {
            let energy: f64 = samples
                .half(Half::Fit)
                .iter()
                .flatten()
                .map(|x| x * x)
                .sum();
            for x in samples.half(Half::Fit) {
                let fit = fit(&table, x);
                let weight = 1.0 / (unit * energy);
                for &x in x {
                    let c = table.nearest(x / fit.scale - fit.shift);
                    let rest = x - fit.scale * fit.shift;
                    sums[c].0 += weight * fit.scale * rest;
                    sums[c].1 += weight * fit.scale * fit.scale;
                    if fit.shift != 0.0 {
                        shift.0 += weight * fit.scale * (x - fit.scale * table.values[c]);
                        shift.1 += weight * fit.scale * fit.scale;
                    }
                }
            }
        }
        let values = sums.iter().map(|(xv, vv)| xv / vv).collect();
        table = Table::new(values, shift.0 / shift.1);
    }
    table
}

/// Scaled so that the ends are `span` apart, then rounded.
fn rounded(real: &Table, span: i32) -> Table {
    let factor = f64::from(span) / (real.values[real.values.len() - 1] - real.values[0]);
    let mut values: Vec<f64> = real.values.iter().map(|v| (v * factor).round()).collect();
    let last = values.len() - 1;
    values[last] = values[last].min(values[0] + f64::from(span));
    Table::new(values, (real.shift * factor).round().max(1.0))
}

/// Moves single values and the shift by one while that lowers the sum of errors in units of `unit`.
fn descend(mut table: Table, distributions: &[Samples; 2], unit: &[f64; 2], span: i32) -> Table {
    let cost = |table: &Table| -> f64 {
        let errors = errors(table, distributions, Half::Fit);
        errors[0] / unit[0] + errors[1] / unit[1]
    };
    let mut best = cost(&table);
    loop {
        let before = best;
        for i in 0..=table.values.len() {
            for step in [-1.0, 1.0] {
                let mut moved = table.clone();
                match moved.values.get_mut(i) {
                    Some(value) => *value += step,
                    None => moved.shift += step,
                }
                let moved = Table::new(moved.values, moved.shift);
                if !allowed(&moved, span) {
                    continue;
                }
                let cost = cost(&moved);
                if cost < best {
                    (table, best) = (moved, cost);
                }
            }
        }
        if best > before - 1e-3 {
            return table;
        }
    }
}

/// Ascending, within the span, with a shift.
fn allowed(table: &Table, span: i32) -> bool {
    let ends = (table.values[0], table.values[table.values.len() - 1]);
    table.values.windows(2).all(|v| v[0] < v[1])
        && ends.1 - ends.0 <= f64::from(span)
        && table.shift >= 1.0
}
