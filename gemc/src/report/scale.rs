//! Values -> pixels along one axis, with ticks at round values. Values that cannot be drawn give no pixel.

use super::figure::figure;

/// How an axis maps values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Evenly.
    Linear,
    /// By the logarithm; only positive values can be drawn.
    Log,
}

impl Kind {
    /// Whether a value has a place on such an axis. The limits keep differences and logarithms finite.
    pub fn draws(self, value: f64) -> bool {
        let size = value.abs();
        match self {
            Self::Linear => size < 1e100,
            Self::Log => value > 0.0 && (1e-100..1e100).contains(&size),
        }
    }
}

/// One axis: values mapped to pixels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    kind: Kind,
    /// Ends, in values.
    low: f64,
    high: f64,
    /// Values of the ticks, ascending, ends included.
    ticks: Vec<f64>,
    /// Pixel of the low end and of the high end.
    pixels: (f64, f64),
}

impl Scale {
    /// From the tick below the smallest to the tick above the largest of the values that can be drawn; `None` when
    /// there is none.
    pub fn over(
        kind: Kind,
        values: impl IntoIterator<Item = f64>,
        pixels: (f64, f64),
    ) -> Option<Self> {
        let drawn = values.into_iter().filter(|v| kind.draws(*v));
        let (low, high) = drawn.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        if low > high {
            return None;
        }
        let ticks = match kind {
            Kind::Linear => linear_ticks(low, high),
            Kind::Log => log_ticks(low, high),
        };
        let (low, high) = (*ticks.first()?, *ticks.last()?);
        Some(Self {
            kind,
            low,
            high,
            ticks,
            pixels,
        })
    }

    /// Where a value lies; `None` when it cannot be drawn.
    pub fn at(&self, value: f64) -> Option<f64> {
        if !self.kind.draws(value) {
            return None;
        }
        let of = |v: f64| match self.kind {
            Kind::Linear => v,
            Kind::Log => v.log10(),
        };
        let share = (of(value) - of(self.low)) / (of(self.high) - of(self.low));
        let (from, to) = self.pixels;
        Some(from + share.clamp(0.0, 1.0) * (to - from))
    }

    /// Pixel and text of each tick.
    pub fn ticks(&self) -> impl Iterator<Item = (f64, String)> + '_ {
        let ticks = self.ticks.iter();
        ticks.filter_map(|v| Some((self.at(*v)?, figure(*v))))
    }

    /// Lowest and highest value.
    pub fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }
}

/// Four to ten multiples of 1, 2 or 5 times a power of ten around low and high.
fn linear_ticks(low: f64, high: f64) -> Vec<f64> {
    let size = low.abs().max(high.abs());
    // One value, or values that only rounding tells apart.
    let (low, high) = if high - low <= size * 1e-9 || high - low < 1e-90 {
        let room = if size < 1e-90 { 1.0 } else { size / 2.0 };
        (low - room, high + room)
    } else {
        (low, high)
    };
    let rough = (high - low) / 5.0;
    let power = 10f64.powi(rough.log10().floor() as i32);
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(rough);
    // Integers times the step, so that the ticks are the round numbers that they look like.
    let (first, last) = ((low / step).floor(), (high / step).ceil());
    let count = (last - first).clamp(1.0, 12.0) as usize;
    (0..=count).map(|i| (first + i as f64) * step).collect()
}

/// Powers of ten around low and high; with few of them also 2 and 5 times.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let last = last.max(first + 1);
    let stride = ((last - first) as usize).div_ceil(8).max(1);
    if last - first > 2 {
        let last = first + (((last - first) as usize).div_ceil(stride) * stride) as i32;
        return (first..=last)
            .step_by(stride)
            .map(|e| 10f64.powi(e))
            .collect();
    }
    let fine: Vec<f64> = (first..=last)
        .flat_map(|e| [1.0, 2.0, 5.0].map(|factor| factor * 10f64.powi(e)))
        .collect();
    let from = fine.iter().rposition(|t| *t <= low).unwrap_or(0);
    let found = fine.iter().position(|t| *t >= high);
    let to = found
        .unwrap_or(fine.len() - 1)
        .max(from + 1)
        .min(fine.len() - 1);
    fine[from..=to].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(kind: Kind, values: &[f64]) -> Vec<String> {
        let scale = Scale::over(kind, values.iter().copied(), (0.0, 100.0)).unwrap();
        scale.ticks().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(
            labels(Kind::Linear, &[0.0, 0.9]),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        assert_eq!(
            labels(Kind::Log, &[3e-4, 0.4]),
            ["0.0001", "0.001", "0.01", "0.1", "1"]
        );
        assert_eq!(
            labels(Kind::Log, &[0.03, 0.15]),
            ["0.02", "0.05", "0.1", "0.2"]
        );
    }

    #[test]
    fn any_values_that_can_be_drawn_lie_inside() {
        let odd = [
            0.0,
            1e-320,
            -1e99,
            1e99,
            5.0,
            5.000_000_000_1,
            1e-99,
            f64::NAN,
            f64::INFINITY,
        ];
        for kind in [Kind::Linear, Kind::Log] {
            for a in odd {
                for b in odd {
                    let Some(scale) = Scale::over(kind, [a, b], (10.0, 20.0)) else {
                        assert!(!kind.draws(a) && !kind.draws(b), "{a} {b}");
                        continue;
                    };
                    let ticks: Vec<f64> = scale.ticks().map(|(pixel, _)| pixel).collect();
                    assert!(
                        (2..=14).contains(&ticks.len()),
                        "{kind:?} {a} {b}: {ticks:?}"
                    );
                    assert!(ticks.is_sorted(), "{a} {b}: {ticks:?}");
                    for value in [a, b].into_iter().filter(|v| kind.draws(*v)) {
                        let (low, high) = scale.ends();
                        let near = (high - low) * 1e-9;
                        assert!(low <= value + near && value <= high + near, "{a} {b}");
                        assert!((10.0..=20.0).contains(&scale.at(value).unwrap()));
                    }
                }
            }
        }
        assert!(Scale::over(Kind::Log, [0.0, -1.0, f64::NAN], (0.0, 1.0)).is_none());
    }
}
