//! KL of a group as a function of its error, through two measured points.

use serde::{Deserialize, Serialize};

/// KL in nats per token of an error: `a e + b e²` where it bends upwards, `e / (a + b e)` where it bends downwards.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slope {
    linear: f64,
    bend: f64,
    upwards: bool,
}

impl Slope {
    /// A straight line.
    #[must_use]
    pub const fn straight(linear: f64) -> Self {
        Self {
            linear,
            bend: 0.0,
            upwards: true,
        }
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
                        linear,
                        bend,
                        upwards: true,
                    }
                } else {
                    let bend = (1.0 / r2 - 1.0 / r1) / (e2 - e1);
                    Self {
                        linear: (1.0 / r1 - bend * e1).max(0.1 / r1),
                        bend,
                        upwards: false,
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
