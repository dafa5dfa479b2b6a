//! `gemc bench`: how fast a compiled program is, beside how fast this machine reads memory, and how far runs disagree.

use std::fmt;

use gem_runtime::hex;
use gem_runtime::protocol::{BenchRequest, BenchResult, ProbeRequest, ProbeResult};
use serde::Serialize;

use super::model::{Backend, Model, ModelArgs};
use super::numbers::{threads, whole};
use super::{Failure, Outcome, Run, Ui};
use crate::graph::Task;
use crate::import::counted;
use crate::metrics::Sample;
use crate::progress::Progress as _;

/// Tokens of a prompt and after it, where the model has room for them.
const PREFILL: u32 = 256;
const DECODE: u32 = 32;

/// Bytes that all threads together scan for the bandwidth at most: more than caches hold, less than machines have.
const SCANNED: u64 = 4 << 30;

/// Runs whose speeds lie further apart than this, in shares of the median, are told of.
const DISAGREE: f64 = 0.1;

/// Measure prefill and decode speed of a compiled model
#[derive(clap::Args, Debug)]
pub struct Bench {
    #[command(flatten)]
    model: ModelArgs,
    /// What runs the kernels
    #[arg(long, value_enum, default_value_t = Backend::Rust)]
    backend: Backend,
    /// Tokens of the prompt; 256 unless given, fewer where the model has less room
    #[arg(short = 'p', value_name = "N", value_parser = whole(1, u32::MAX))]
    prefill: Option<u32>,
    /// Tokens after it, one by one; 32 unless given, fewer where the model has less room, none of a classifier
    #[arg(short = 'n', value_name = "N", value_parser = whole(0, u32::MAX))]
    decode: Option<u32>,
    /// Thread counts, separated by commas
    #[arg(long, value_name = "1,2", value_delimiter = ',', default_value = "1,2", value_parser = threads)]
    threads: Vec<u32>,
    /// Runs of each; the output has medians, with the slowest and the quickest
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = whole(1_u32, 1000))]
    runs: u32,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

/// Tokens per second of several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Speed {
    median: f64,
    slowest: f64,
    quickest: f64,
}

impl Speed {
    /// Of runs that took so many nanoseconds each; `None` where there is nothing to measure.
    fn of(tokens: u32, ns: &[u64]) -> Option<Self> {
        let speed = |ns: u64| f64::from(tokens) * 1e9 / ns.max(1) as f64;
        let speeds: Sample = ns.iter().map(|ns| speed(*ns)).collect();
        let found = Self {
            median: speeds.quantile(0.5)?,
            slowest: speeds.quantile(0.0)?,
            quickest: speeds.quantile(1.0)?,
        };
        (tokens > 0).then_some(found)
    }

    /// How far runs lie apart, as a share of the median.
    fn spread(self) -> f64 {
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

/// Figures for one number of threads.
#[derive(Debug, Serialize)]
struct BenchRow {
    backend: &'static str,
    target: String,
    plan_hash: String,
    bits_per_weight: f64,
    weight_bytes: u64,
    threads: u32,
    prefill_tokens: u32,
    prefill_tok_s: f64,
    prefill_tok_s_min: f64,
    prefill_tok_s_max: f64,
    decode_tokens: u32,
    decode_tok_s: Option<f64>,
    decode_tok_s_min: Option<f64>,
    decode_tok_s_max: Option<f64>,
    weight_bytes_per_token: u64,
    read_gb_s: f64,
    read_share: Option<f64>,
    load_ms: f64,
    peak_rss_bytes: Option<u64>,
    anon_bytes: Option<u64>,
    kv_bytes: u64,
    arena_bytes: u64,
    runs: u32,
    #[serde(skip)]
    prefill: Speed,
    #[serde(skip)]
    decode: Option<Speed>,
}

#[derive(Serialize)]
struct Table(Vec<BenchRow>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(m) = self.0.first() {
            write!(
                f,
                "prompt of {}",
                counted(m.prefill_tokens as usize, "token")
            )?;
            if m.decode_tokens > 0 {
                write!(f, ", then {} one by one", m.decode_tokens)?;
            }
            let runs = counted(m.runs as usize, "run");
            writeln!(f, "; medians of {runs} (slowest to quickest)")?;
        }
        for m in &self.0 {
            let threads = counted(m.threads as usize, "thread");
            write!(f, "{threads:10}  prefill {}", m.prefill)?;
            if let Some(decode) = m.decode {
                write!(f, "  decode {decode}")?;
            }
            match m.read_share {
                Some(share) => {
                    let share = 100.0 * share;
                    writeln!(
                        f,
                        ", {share:.0} % of the {:.1} GB/s that memory gives",
                        m.read_gb_s
                    )?;
                }
                None => writeln!(f, "  memory {:.1} GB/s", m.read_gb_s)?,
            }
        }
        Ok(())
    }
}

impl Table {
    /// A line when runs of the same thing disagree.
    fn disagreement(&self) -> Option<String> {
        let speeds = self.0.iter().flat_map(|m| {
            let of = |what: &str| format!("{what} with {}", counted(m.threads as usize, "thread"));
            let decode = m.decode.map(|speed| (of("decode"), speed.spread()));
            [Some((of("prefill"), m.prefill.spread())), decode]
        });
        let far = speeds.flatten().filter(|(_, spread)| *spread > DISAGREE);
        let far: Vec<String> = far
            .map(|(what, spread)| format!("{what} by {:.0} %", 100.0 * spread))
            .collect();
        (!far.is_empty()).then(|| {
            format!(
                "warning: runs disagree by more than {:.0} % of the median: {}; is something else running?",
                100.0 * DISAGREE,
                far.join(", ")
            )
        })
    }
}

/// Tokens of the prompt and after it: as asked for, or as many as there is room for.
fn lengths(
    task: Task,
    positions: u32,
    prefill: Option<u32>,
    decode: Option<u32>,
) -> Result<(u32, u32), String> {
    let limit = format!("the model has {}", counted(positions as usize, "position"));
    let decode = match task {
        Task::SequenceClassification | Task::TokenClassification | Task::Embedding => Some(0),
        Task::CausalLm => decode,
    };
    let asked = u64::from(prefill.unwrap_or(1)) + u64::from(decode.unwrap_or(0));
    if asked > u64::from(positions) {
        let options = match (prefill, decode) {
            (Some(p), Some(n)) if n > 0 => format!("-p {p} and -n {n}"),
            (Some(p), _) => format!("-p {p}"),
            (None, n) => format!("-n {} and a prompt", n.unwrap_or(0)),
        };
        return Err(format!("{options}: {asked} tokens do not fit, {limit}"));
    }
    Ok(match (prefill, decode) {
        (Some(prefill), Some(decode)) => (prefill, decode),
        (Some(prefill), None) => (prefill, DECODE.min(positions - prefill)),
        (None, Some(decode)) => (PREFILL.min(positions - decode), decode),
        (None, None) => {
            let decode = DECODE.min(positions / 2);
            (PREFILL.min(positions - decode), decode)
        }
    })
}

impl Run for Bench {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let model = self.model.compile()?;
        let (prefill, decode) = self.lengths(&model, ui)?;
        ui.start("measuring", self.threads.len() as u64);
        let mut table = Vec::new();
        for &threads in &self.threads {
            let request = BenchRequest {
                prefill,
                decode,
                runs: self.runs,
                threads: Some(threads),
            };
            let usual = ProbeRequest::default();
            let probe = ProbeRequest {
                bytes_per_thread: usual.bytes_per_thread.min(SCANNED / u64::from(threads)),
                threads: Some(threads),
                ..usual
            };
            // Started anew for each, so that memory figures do not mix.
            let (result, probe) = model.answer(self.backend, ui, |peer| {
                Ok((peer.bench(&request)?, peer.probe(&probe)?))
            })?;
            table.extend(self.measured(&model, &request, &result, &probe));
            ui.advance(1);
        }
        let table = Table(table);
        ui.result(self.json, &table)?;
        if let Some(line) = table.disagreement() {
            ui.note(&line);
        }
        Ok(Outcome::Done)
    }
}

impl Bench {
    fn lengths(&self, model: &Model, ui: &Ui) -> Result<(u32, u32), Failure> {
        let facts = model.loaded.graph.facts();
        if facts.task != Task::CausalLm && self.decode.is_some_and(|n| n > 0) {
            ui.note("-n has no effect: a classifier generates no tokens");
        }
        let positions = u32::try_from(facts.max_positions).unwrap_or(u32::MAX);
        lengths(facts.task, positions, self.prefill, self.decode).map_err(Failure::usage)
    }

    /// Nothing where nothing was run.
    fn measured(
        &self,
        model: &Model,
        request: &BenchRequest,
        result: &BenchResult,
        probe: &ProbeResult,
    ) -> Option<BenchRow> {
        let layout = &model.compiled.layout;
        let per_token = layout.bytes_per_token(&model.loaded.graph);
        let prefill = Speed::of(request.prefill, &result.prefill_ns)?;
        let decode = Speed::of(request.decode, &result.decode_ns);
        let median = decode.map(|speed| speed.median);
        Some(BenchRow {
            backend: self.backend.name(),
            target: model.target.name.clone(),
            plan_hash: hex(&model.plan.hash()),
            bits_per_weight: layout.bits_per_weight(),
            weight_bytes: layout.weight_bytes(),
            threads: result.threads,
            prefill_tokens: request.prefill,
            prefill_tok_s: prefill.median,
            prefill_tok_s_min: prefill.slowest,
            prefill_tok_s_max: prefill.quickest,
            decode_tokens: request.decode,
            decode_tok_s: median,
            decode_tok_s_min: decode.map(|speed| speed.slowest),
            decode_tok_s_max: decode.map(|speed| speed.quickest),
            weight_bytes_per_token: per_token,
            read_gb_s: probe.bytes_per_second / 1e9,
            read_share: median.map(|d| d * per_token as f64 / probe.bytes_per_second),
            load_ms: result.load_ns as f64 / 1e6,
            peak_rss_bytes: result.peak_rss_bytes,
            anon_bytes: result.anon_bytes,
            kv_bytes: result.kv_bytes,
            arena_bytes: result.arena_bytes,
            runs: request.runs,
            prefill,
            decode,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_fit_the_model() {
        let fit = |positions, p, n| lengths(Task::CausalLm, positions, p, n);
        assert_eq!(fit(1024, None, None), Ok((256, 32)));
        assert_eq!(fit(128, None, None), Ok((96, 32)));
        assert_eq!(fit(10, None, None), Ok((5, 5)));
        assert_eq!(fit(1, None, None), Ok((1, 0)));
        assert_eq!(fit(128, Some(120), None), Ok((120, 8)));
        assert_eq!(fit(128, None, Some(100)), Ok((28, 100)));
        assert_eq!(fit(128, Some(96), Some(32)), Ok((96, 32)));
        for (p, n, words) in [
            (
                Some(129),
                None,
                "-p 129: 129 tokens do not fit, the model has 128 positions",
            ),
            (Some(100), Some(29), "-p 100 and -n 29: 129 tokens"),
            (None, Some(128), "-n 128 and a prompt: 129 tokens"),
            (Some(u32::MAX), Some(u32::MAX), "8589934590 tokens"),
        ] {
            let told = fit(128, p, n).expect_err(words);
            assert!(told.contains(words), "{told}");
        }
        let text = |p, n| lengths(Task::SequenceClassification, 64, p, n);
        assert_eq!(text(None, None), Ok((64, 0)));
        assert_eq!(text(Some(10), Some(3)), Ok((10, 0)));
        assert!(text(Some(65), None).is_err());
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
