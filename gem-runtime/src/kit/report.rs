//! What was measured -> a table for people, JSON, and the device's target file.

use std::fmt;
use std::fmt::Write as _;

use serde::Serialize;

use super::machine::Moment;
use crate::protocol::{BenchResult, ProbeResult, ProductTimes};

/// Tokens a second of several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// In the middle.
    pub median: f64,
    /// The lowest.
    pub slowest: f64,
    /// The highest.
    pub quickest: f64,
}

impl Speed {
    /// Of runs of so many tokens that took so many nanoseconds; `None` where there is nothing to measure.
    #[must_use]
    pub fn of(tokens: u32, ns: &[u64]) -> Option<Self> {
        let mut speeds: Vec<f64> = (ns.iter())
            .map(|ns| f64::from(tokens) * 1e9 / (*ns).max(1) as f64)
            .collect();
        speeds.sort_by(f64::total_cmp);
        let (slowest, quickest) = (*speeds.first()?, *speeds.last()?);
        let middle = speeds.len() / 2;
        let median = (speeds[middle] + speeds[(speeds.len() - 1) / 2]) / 2.0;
        (tokens > 0).then_some(Self {
            median,
            slowest,
            quickest,
        })
    }

    /// How far runs lie apart, as a share of the median.
    #[must_use]
    pub fn spread(self) -> f64 {
        (self.quickest - self.slowest) / self.median
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            median,
            slowest,
            quickest,
        } = self;
        write!(f, "{median:.1} tok/s ({slowest:.1} to {quickest:.1})")
    }
}

/// Of one number of threads.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub threads: u32,
    pub prefill: Option<Speed>,
    pub decode: Option<Speed>,
    /// GB/s of weights that decoding reads.
    pub decode_gb_s: Option<f64>,
    /// GB/s that as many threads read from memory.
    pub memory_gb_s: f64,
    pub anonymous_bytes: Option<u64>,
    pub kv_bytes: u64,
    pub arena_bytes: u64,
    #[serde(flatten)]
    pub moment: Moment,
}

impl Row {
    /// `read` are the bytes of weights that a decoded token reads.
    pub(super) fn new(
        (prefill, decode): (u32, u32),
        read: u64,
        bench: &BenchResult,
        probe: &ProbeResult,
        moment: Moment,
    ) -> Self {
        let decode = Speed::of(decode, &bench.decode_ns);
        Self {
            threads: bench.threads,
            prefill: Speed::of(prefill, &bench.prefill_ns),
            decode,
            decode_gb_s: decode.map(|speed| speed.median * read as f64 / 1e9),
            memory_gb_s: probe.bytes_per_second / 1e9,
            anonymous_bytes: bench.anon_bytes,
            kv_bytes: bench.kv_bytes,
            arena_bytes: bench.arena_bytes,
            moment,
        }
    }
}

/// A minute of sustained work.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Minute {
    pub tokens_per_second: f64,
    #[serde(flatten)]
    pub moment: Moment,
}

/// A format's costs, in nanoseconds for a thousand weights and a row.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct FormatCost {
    pub format: &'static str,
    pub alone: f64,
    pub batch: f64,
}

impl From<&ProductTimes> for FormatCost {
    fn from(times: &ProductTimes) -> Self {
        Self {
            format: times.format,
            alone: three_digits(times.alone),
            batch: three_digits(times.batch),
        }
    }
}

/// A figure to three digits: more would say more than was measured.
#[must_use]
pub fn three_digits(x: f64) -> f64 {
    let digits = 10f64.powi(2 - x.log10().floor() as i32);
    (x * digits).round() / digits
}

/// What the target's costs said before anybody measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// Threads that it is of.
    pub threads: u32,
    /// Tokens of the prompt.
    pub prefill_tokens: u32,
    /// Tokens after it.
    pub decode_tokens: u32,
    /// Milliseconds of the prompt.
    pub prefill_ms: f64,
    /// Milliseconds of a token after it, in their middle; none of a classifier.
    pub decode_ms: Option<f64>,
    /// Whether nobody had measured the costs, either.
    pub projected: bool,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub model: String,
    pub target: String,
    pub machine: Option<String>,
    pub date: String,
    pub weight_bytes: u64,
    pub prefill_tokens: u32,
    pub decode_tokens: u32,
    pub rows: Vec<Row>,
    pub costs: Vec<FormatCost>,
    /// Nanoseconds for a thousand values of other work, by kind.
    pub others: Vec<(&'static str, f64)>,
    /// Microseconds that a phase takes beyond its work on all threads.
    pub barrier: f64,
    pub expected: Option<Expected>,
    pub sustained: Vec<Minute>,
}

impl Report {
    /// A line for each figure that was expected, where as many threads and tokens were measured.
    pub(super) fn comparison(&self) -> Vec<String> {
        let Some(expected) = &self.expected else {
            return Vec::new();
        };
        let Some(row) = self.rows.iter().find(|row| row.threads == expected.threads) else {
            return Vec::new();
        };
        let word = if expected.projected {
            "projected"
        } else {
            "predicted"
        };
        let line = |what: &str, speed: Option<Speed>, tokens: u32, ms: f64| {
            let found = f64::from(tokens) * 1e3 / speed?.median;
            let times = found / ms;
            let (found, ms) = (three_digits(found), three_digits(ms));
            Some(format!(
                "{what}: {found} ms; {word} {ms} ({times:.2} times as long)"
            ))
        };
        let tokens = expected.prefill_tokens;
        let prompt = format!("prompt of {tokens}");
        let same = tokens == self.prefill_tokens;
        let prefill = same.then(|| line(&prompt, row.prefill, tokens, expected.prefill_ms));
        let same = same && expected.decode_tokens == self.decode_tokens;
        let decode = expected.decode_ms.filter(|_| same);
        let decode = decode.and_then(|ms| line("a token after it", row.decode, 1, ms));
        prefill.flatten().into_iter().chain(decode).collect()
    }

    /// The target's file with what was measured. `base` is all else of it; its last table is `[provenance]`.
    pub(super) fn target_file(&self, base: &str) -> Option<String> {
        let row = self.rows.last()?;
        let (machine, date) = (self.machine.as_deref().unwrap_or("a machine"), &self.date);
        let machine = machine.replace(['"', '\\'], "'");
        let how = format!(
            "measured on {date} on {machine} by a kit of gemc, {} threads",
            row.threads
        );
        let mut text = format!("{base}costs = \"{how}\"\n");
        let bandwidth = three_digits(row.memory_gb_s);
        let _ = write!(
            text,
            "\n[costs]\nthreads = {}\nbandwidth = {bandwidth:?}\n",
            row.threads
        );
        if self.barrier > 0.0 {
            let _ = writeln!(text, "barrier = {:?}", three_digits(self.barrier));
        }
        for (table, of) in [
            ("weights", (|c| c.alone) as fn(&FormatCost) -> f64),
            ("batch", |c| c.batch),
        ] {
            let _ = write!(text, "\n[costs.{table}]\n");
            for cost in &self.costs {
                let _ = writeln!(text, "{} = {:?}", cost.format, of(cost));
            }
        }
        let _ = write!(text, "\n[costs.others]\n");
        for (kind, cost) in &self.others {
            let _ = writeln!(text, "{kind} = {:?}", three_digits(*cost));
        }
        Some(text)
    }
}

fn known(of: Option<f64>, unit: &str) -> String {
    of.map_or_else(String::new, |x| format!("  {x:.1} {unit}"))
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&known(self.ghz, "GHz"))?;
        f.write_str(&known(self.celsius, "°C"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.machine.as_deref().unwrap_or("unknown machine");
        writeln!(
            f,
            "{} for {} on {machine}, {}",
            self.model, self.target, self.date
        )?;
        write!(f, "prompt of {} tokens", self.prefill_tokens)?;
        match self.decode_tokens {
            0 => writeln!(f)?,
            n => writeln!(f, ", then {n} one by one")?,
        }
        for row in &self.rows {
            let s = if row.threads == 1 { " " } else { "s" };
            write!(f, "{:3} thread{s}", row.threads)?;
            if let Some(speed) = row.prefill {
                write!(f, "  prefill {speed}")?;
            }
            if let Some(speed) = row.decode {
                write!(f, "  decode {speed}")?;
            }
            if let Some(gb_s) = row.decode_gb_s {
                write!(f, ", {gb_s:.1} GB/s of weights")?;
            }
            writeln!(f, "  memory {:.1} GB/s{}", row.memory_gb_s, row.moment)?;
        }
        for line in self.comparison() {
            writeln!(f, "{line}")?;
        }
        writeln!(
            f,
            "ns for 1000 weights and a row, one thread: alone, in a batch"
        )?;
        for cost in &self.costs {
            writeln!(f, "  {:4} {:8} {:8}", cost.format, cost.alone, cost.batch)?;
        }
        let others = self.others.iter();
        let others = others.map(|(kind, cost)| format!("{kind} {}", three_digits(*cost)));
        let others: Vec<String> = others.collect();
        writeln!(f, "ns for 1000 values: {}", others.join(", "))?;
        if self.barrier > 0.0 {
            writeln!(f, "a phase of all threads: {:.2} µs more", self.barrier)?;
        }
        for (i, minute) in self.sustained.iter().enumerate() {
            let speed = minute.tokens_per_second;
            writeln!(f, "minute {:3}: {speed:.1} tok/s{}", i + 1, minute.moment)?;
        }
        if let (Some(first), Some(last)) = (self.sustained.first(), self.sustained.last()) {
            let share = 100.0 * last.tokens_per_second / first.tokens_per_second;
            writeln!(
                f,
                "the last minute has {share:.0} % of the first one's speed"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let moment = Moment {
            ghz: Some(1.5),
            celsius: Some(61.25),
        };
        let bench = BenchResult {
            prefill_ns: vec![2_000_000_000, 1_000_000_000, 4_000_000_000],
            decode_ns: vec![500_000_000, 1_000_000_000],
            threads: 4,
            ..BenchResult::default()
        };
        let probe = ProbeResult {
            bytes_per_second: 4.126e9,
            threads: 4,
        };
        Report {
            model: "small".to_owned(),
            target: "pi4".to_owned(),
            machine: Some("Board \"4\"".to_owned()),
            date: "2026-11-30".to_owned(),
            weight_bytes: 1 << 20,
            prefill_tokens: 100,
            decode_tokens: 10,
            rows: vec![Row::new((100, 10), 1 << 20, &bench, &probe, moment)],
            costs: vec![FormatCost::from(&ProductTimes {
                format: "N4",
                alone: 395.4321,
                batch: 247.0,
            })],
            others: vec![("norm", 504.4), ("silu", 1763.0)],
            barrier: 1.98,
            expected: Some(Expected {
                threads: 4,
                prefill_tokens: 100,
                decode_tokens: 10,
                prefill_ms: 1000.0,
                decode_ms: Some(50.0),
                projected: true,
            }),
            sustained: vec![
                Minute {
                    tokens_per_second: 20.0,
                    moment,
                },
                Minute {
                    tokens_per_second: 15.0,
                    moment: Moment::default(),
                },
            ],
        }
    }

    #[test]
    fn a_report_reads_well() {
        let told = report().to_string();
        let expected = "\
small for pi4 on Board \"4\", 2026-11-30
prompt of 100 tokens, then 10 one by one
  4 threads  prefill 50.0 tok/s (25.0 to 100.0)  decode 15.0 tok/s (10.0 to 20.0), 0.0 GB/s of weights  memory 4.1 GB/s  1.5 GHz  61.2 °C
prompt of 100: 2000 ms; projected 1000 (2.00 times as long)
a token after it: 66.7 ms; projected 50 (1.33 times as long)
ns for 1000 weights and a row, one thread: alone, in a batch
  N4        395      247
ns for 1000 values: norm 504, silu 1760
a phase of all threads: 1.98 µs more
minute   1: 20.0 tok/s  1.5 GHz  61.2 °C
minute   2: 15.0 tok/s
the last minute has 75 % of the first one's speed
";
        assert_eq!(told, expected);
        let json = serde_json::to_value(report()).expect("JSON");
        assert_eq!(json["rows"][0]["celsius"], 61.25);
        assert_eq!(json["expected"]["projected"], true);
    }

    #[test]
    fn a_target_s_file_has_what_was_measured() {
        let text = report().target_file("name = \"pi4\"\n\n[provenance]\n");
        let expected = "\
name = \"pi4\"

[provenance]
costs = \"measured on 2026-11-30 on Board '4' by a kit of gemc, 4 threads\"

[costs]
threads = 4
bandwidth = 4.13
barrier = 1.98

[costs.weights]
N4 = 395.0

[costs.batch]
N4 = 247.0

[costs.others]
norm = 504.0
silu = 1760.0
";
        assert_eq!(text.as_deref(), Some(expected));
    }

    #[test]
    fn other_prompts_are_not_compared() {
        let longer = Report {
            prefill_tokens: 99,
            ..report()
        };
        assert!(longer.comparison().is_empty());
        let fewer_after = Report {
            decode_tokens: 9,
            ..report()
        };
        assert_eq!(fewer_after.comparison().len(), 1);
        let mut threads = report();
        threads.rows[0].threads = 2;
        assert!(threads.comparison().is_empty());
    }

    #[test]
    fn speeds_are_medians_and_tell_their_spread() {
        let speed = Speed::of(
            10,
            &[1_000_000_000, 2_000_000_000, 500_000_000, 1_000_000_000],
        );
        let speed = speed.expect("there are runs");
        assert_eq!(
            (speed.median, speed.slowest, speed.quickest),
            (10.0, 5.0, 20.0)
        );
        assert_eq!(speed.spread(), 1.5);
        let even = Speed::of(12, &[1_000_000_000, 2_000_000_000]).expect("there are runs");
        assert_eq!(even.median, 9.0);
        assert_eq!(Speed::of(0, &[5]), None);
        assert_eq!(Speed::of(5, &[]), None);
    }
}
