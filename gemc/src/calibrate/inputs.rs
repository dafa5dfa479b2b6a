//! The inputs of one unit, summed up row by row.

use crate::quantise::factor::Moments;
use crate::reference::{Matrix, add_second_moments};

/// A module's own moments count against those of its site as its effective tokens (see [`Inputs::effective`]) against so
/// many times its width: what few tokens showed is not trusted.
pub const PRIOR: f64 = 0.5;

/// Sums over the rows that a unit multiplied, each weighted by its squared gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    width: usize,
    /// Σ g² x xᵀ, `[width, width]`; empty when only squares are gathered.
    moments: Vec<f32>,
    /// Σ g² x².
    squares: Vec<f64>,
    /// Σ g².
    weight: f64,
    /// Σ |g x|⁴.
    fourths: f64,
    /// Rows seen.
    rows: u64,
}

impl Inputs {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(width: usize, moments: bool) -> Self {
        Self {
            width,
            moments: vec![0.0; if moments { width * width } else { 0 }],
            squares: vec![0.0; width],
            weight: 0.0,
            fourths: 0.0,
            rows: 0,
        }
    }

    /// What was gathered before: second moments, if any, squares of each column, and the weight. `None` where they do not fit.
    #[must_use]
    pub fn kept(moments: Vec<f32>, squares: Vec<f64>, weight: f64) -> Option<Self> {
        let width = squares.len();
        let fits = moments.is_empty() || moments.len() == width * width;
        fits.then_some(Self {
            width,
            moments,
            squares,
            weight,
            fourths: 0.0,
            rows: 0,
        })
    }

    /// Σ g² x² of each column.
    #[must_use]
    pub fn squares(&self) -> &[f64] {
        &self.squares
    }

    /// Adds rows with their gates; without gates each counts 1.
    pub fn add(&mut self, x: Matrix, gates: Option<&[f32]>) {
        if x.rows() == 0 {
            return;
        }
        self.rows += x.rows() as u64;
        let width = self.width;
        let mut values = x.into_values();
        match gates {
            None => self.weight += (values.len() / width) as f64,
            Some(gates) => {
                for (row, gate) in values.chunks_exact_mut(width).zip(gates) {
                    self.weight += f64::from(*gate) * f64::from(*gate);
                    row.iter_mut().for_each(|x| *x *= gate);
                }
            }
        }
        for row in values.chunks_exact(width) {
            let mut length = 0.0;
            for (sum, x) in self.squares.iter_mut().zip(row) {
                let square = f64::from(*x) * f64::from(*x);
                *sum += square;
                length += square;
            }
            self.fourths += length * length;
        }
        if !self.moments.is_empty() {
            add_second_moments(&Matrix::new(values, width), &mut self.moments);
        }
    }

    /// Columns of the input.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Σ g²: tokens, gate-weighted.
    #[must_use]
    pub const fn weight(&self) -> f64 {
        self.weight
    }

    /// How many rows of equal length would show as much: `(Σ |g x|²)² / Σ |g x|⁴`. A few long rows can make up nearly all
    /// of the moments of many.
    #[must_use]
    pub fn effective(&self) -> f64 {
        let trace: f64 = self.squares.iter().sum();
        if self.fourths > 0.0 {
            trace * trace / self.fourths
        } else {
            0.0
        }
    }

    /// Rows seen.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Second moments Σ g² x xᵀ, `[width, width]`, when they were gathered.
    #[must_use]
    pub fn moments(&self) -> Option<&[f32]> {
        (!self.moments.is_empty()).then_some(&self.moments[..])
    }

    /// Adds another's sums: the site's, from those of its modules.
    pub fn merge(&mut self, other: &Self) {
        self.weight += other.weight;
        self.fourths += other.fourths;
        self.rows += other.rows;
        let squares = self.squares.iter_mut().zip(&other.squares);
        squares.for_each(|(a, b)| *a += b);
        let moments = self.moments.iter_mut().zip(&other.moments);
        moments.for_each(|(a, b)| *a += b);
    }

    /// Its own sums and as many of the prior's, per token, as [`PRIOR`] says.
    #[must_use]
    pub fn with_prior(&self, prior: &Self) -> Self {
        let mut mixed = self.clone();
        if prior.weight > 0.0 {
            let needed = PRIOR * self.width as f64;
            let tokens = match self.effective() {
                0.0 => needed,
                effective => self.weight * needed / effective,
            };
            let share = tokens / prior.weight;
            for (a, b) in mixed.squares.iter_mut().zip(&prior.squares) {
                *a += share * b;
            }
            for (a, b) in mixed.moments.iter_mut().zip(&prior.moments) {
                *a += (share * f64::from(*b)) as f32;
            }
            mixed.weight += tokens;
        }
        mixed
    }

    /// The same mean square in every column and no correlation: all that inputs of other modules say about a basis of
    /// their own.
    #[must_use]
    pub fn flattened(&self) -> Self {
        let mean = self.squares.iter().sum::<f64>() / self.width.max(1) as f64;
        let mut flat = Self::new(self.width, !self.moments.is_empty());
        flat.squares.fill(mean);
        for i in 0..self.width {
            if let Some(diagonal) = flat.moments.get_mut(i * self.width + i) {
                *diagonal = mean as f32;
            }
        }
        flat.weight = self.weight;
        flat
    }

    /// Mean squares of the columns.
    #[must_use]
    pub fn importance(&self) -> Vec<f32> {
        let weight = self.weight.max(f64::MIN_POSITIVE);
        self.squares.iter().map(|s| (s / weight) as f32).collect()
    }

    /// What error feedback needs, when moments were gathered; `ridge` as in [`Moments::new`].
    #[must_use]
    pub fn factorised(&self, ridge: f64) -> Option<Moments> {
        self.moments().map(|h| Moments::new(h, self.width, ridge))
    }

    /// Mean of the mean squares.
    #[must_use]
    pub fn mean_square(&self) -> f64 {
        let sum: f64 = self.squares.iter().sum();
        sum / (self.width.max(1) as f64 * self.weight.max(f64::MIN_POSITIVE))
    }

    /// `tr(ΔW H ΔWᵀ)` with H = Σ g² x xᵀ; `delta` is `[rows, width]`. Without moments H is taken for diagonal.
    #[must_use]
    pub fn error(&self, delta: &[f32]) -> f64 {
        use rayon::prelude::*;
        let rows = delta.par_chunks(self.width.max(1));
        let each = rows.map(|row| match self.moments() {
            Some(h) => (0..self.width)
                .map(|i| f64::from(row[i]) * product(row, &h[i * self.width..][..self.width]))
                .sum::<f64>(),
            None => row
                .iter()
                .zip(&self.squares)
                .map(|(d, s)| f64::from(*d) * f64::from(*d) * s)
                .sum(),
        });
        // Collected before it is added up: a parallel sum would depend on how the rows were shared out.
        each.collect::<Vec<f64>>().iter().sum()
    }
}

/// Sum of products in sixteen partial sums.
fn product(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f32; 16];
    let (whole_a, rest_a) = a.as_chunks::<16>();
    let (whole_b, rest_b) = b.as_chunks::<16>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in rest_a.iter().zip(rest_b).enumerate() {
        sums[lane] += a * b;
    }
    sums.iter().map(|s| f64::from(*s)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[[f32; 2]]) -> Inputs {
        let mut inputs = Inputs::new(2, true);
        inputs.add(Matrix::new(rows.as_flattened().to_vec(), 2), None);
        inputs
    }

    #[test]
    fn few_long_rows_are_few_tokens() {
        assert_eq!(of(&[]).effective(), 0.0);
        assert!((of(&[[1.0, 2.0]; 40]).effective() - 40.0).abs() < 1e-9);
        let mut rows = vec![[0.1, 0.0]; 99];
        rows.push([0.0, 30.0]);
        let effective = of(&rows).effective();
        assert!((1.0..1.1).contains(&effective), "{effective}");
        // Gates count with the rows that they are of.
        let mut gated = Inputs::new(2, true);
        gated.add(Matrix::new(vec![1.0; 8], 2), Some(&[1.0, 1.0, 0.0, 0.0]));
        assert!((gated.effective() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_prior_matters_where_little_was_seen() {
        let site = of(&[[1.0, 1.0]; 50]);
        let unseen = of(&[]).with_prior(&site);
        assert_eq!(unseen.importance(), site.importance());
        let off_diagonal = |inputs: &Inputs| {
            let moments = inputs.moments().expect("gathered");
            moments[1] / (0.5 * (moments[0] + moments[3]))
        };
        let crossed = [[2.0, -2.0]];
        let (few, many) = (crossed.to_vec(), crossed.repeat(1000));
        let (few, many) = (of(&few).with_prior(&site), of(&many).with_prior(&site));
        assert!(off_diagonal(&few) > -0.9 && off_diagonal(&many) < -0.99);
        assert!((many.weight() - 1000.0).abs() < 1.5);
        // The same of a unit whose long rows are few.
        let mut rows = vec![[0.01, 0.01]; 999];
        rows.push([20.0, -20.0]);
        let flat = of(&rows).with_prior(&of(&rows).flattened());
        assert!(off_diagonal(&flat) > -0.9, "{}", off_diagonal(&flat));
    }
}
