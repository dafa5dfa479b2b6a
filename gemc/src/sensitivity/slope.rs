//! KL of a group as a function of its error, through two measured points.

use serde::{Deserialize, Serialize};

/// KL in nats per token of an error: `a e + b e²` where it bends upwards, `e / (a + b e)` where it bends downwards.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slope {
    linear: f64,
    bend: f64,
    upwards: bool,
    /// The largest KL that it was measured from.
    measured: f64,
    /// What the original costs against itself, measured in the same way: the rounding of probabilities.
    floor: f64,
}

/// A KL is told from nothing when it is above so many times what the original costs against itself.
const CLEAR: f64 = 4.0;

impl Slope {
    /// A straight line.
    #[must_use]
    pub const fn straight(linear: f64) -> Self {
        Self {
            linear,
            bend: 0.0,
            upwards: true,
            measured: 0.0,
            floor: 0.0,
        }
    }

    /// The same, of points measured where the original costs so much against itself.
    #[must_use]
    pub fn measured(self, points: &[(f64, f64)], floor: f64) -> Self {
        let measured = points.iter().map(|(_, kl)| *kl).fold(0.0, f64::max);
        Self {
            measured,
            floor,
            ..self
        }
    }

    /// The largest KL that it was measured from, nats per token.
    #[must_use]
    pub const fn largest(&self) -> f64 {
        self.measured
    }

    /// Whether no KL that it was measured from can be told from none: what it says is noise over an error.
    #[must_use]
    pub fn is_noise(&self) -> bool {
        self.measured <= CLEAR * self.floor
    }

    /// Through the origin and two points `(error, KL)` of ascending error. Points that say nothing (no error, no KL) are
    /// left out.
    #[must_use]
    pub fn through(points: &[(f64, f64)]) -> Self {
        let usable: Vec<(f64, f64)> = points
            .iter()
            .copied()
            .filter(|(error, kl)| *error > 0.0 && *kl > 0.0)
            .collect();
        match usable[..] {
            [] => Self::straight(0.0),
            [(error, kl)] => Self::straight(kl / error),
            [(e1, k1), .., (e2, k2)] if e2 > e1 => {
                let (r1, r2) = (k1 / e1, k2 / e2);
                if r2 >= r1 {
                    let bend = (r2 - r1) / (e2 - e1);
                    // What is left of a line that bends this much would be below nothing.
                    let linear = (r1 - bend * e1).max(0.1 * r1);
                    let bend = (r2 - linear) / e2;
                    Self {
                        bend,
                        ..Self::straight(linear)
                    }
                } else {
                    let bend = (1.0 / r2 - 1.0 / r1) / (e2 - e1);
                    Self {
                        linear: (1.0 / r1 - bend * e1).max(0.1 / r1),
                        bend,
                        upwards: false,
                        ..Self::straight(0.0)
                    }
                }
            }
            [(e1, k1), ..] => Self::straight(k1 / e1),
        }
    }

    /// KL of an error.
    #[must_use]
    pub fn kl(&self, error: f64) -> f64 {
        if error <= 0.0 {
            0.0
        } else if self.upwards {
            error * (self.linear + self.bend * error)
        } else {
            error / (self.linear + self.bend * error)
        }
    }

    /// KL per error at a total error of the group.
    #[must_use]
    pub fn secant(&self, error: f64) -> f64 {
        if error > 0.0 {
            self.kl(error) / error
        } else if self.upwards {
            self.linear
        } else {
            1.0 / self.linear
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-9 * b.abs().max(1e-9), "{a} {b}");
    }

    #[test]
    fn goes_through_its_points() {
        for points in [
            [(1.0, 0.5), (4.0, 3.0)],
            [(1.0, 0.5), (4.0, 1.0)],
            [(2.0, 1.0), (4.0, 2.0)],
        ] {
            let slope = Slope::through(&points);
            points.iter().for_each(|(e, k)| near(slope.kl(*e), *k));
            assert!(slope.kl(0.1) > 0.0);
            near(slope.secant(4.0), points[1].1 / 4.0);
        }
    }

    #[test]
    fn what_the_original_costs_too_is_noise() {
        let points = [(1e-13, 3e-8), (4e-13, 6e-8)];
        let slope = Slope::through(&points).measured(&points, 2e-8);
        assert!(slope.is_noise() && slope.secant(0.0) > 1e4);
        let points = [(1e-13, 3e-8), (4e-13, 1e-6)];
        assert!(!Slope::through(&points).measured(&points, 2e-8).is_noise());
        assert!(Slope::through(&[]).measured(&[(1.0, 0.0)], 0.0).is_noise());
    }

    #[test]
    fn says_little_of_little() {
        near(Slope::through(&[]).kl(3.0), 0.0);
        near(Slope::through(&[(0.0, 0.0), (2.0, 1.0)]).kl(4.0), 2.0);
        near(Slope::through(&[(2.0, 1.0), (2.0, 1.0)]).kl(4.0), 2.0);
        // Steeper than a parabola: rises all the same.
        let steep = Slope::through(&[(1.0, 0.01), (1.5, 1.0)]);
        near(steep.kl(1.5), 1.0);
        assert!(steep.kl(0.5) > 0.0 && steep.kl(0.5) < steep.kl(1.0));
    }
}
