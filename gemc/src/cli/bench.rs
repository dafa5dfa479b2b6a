//! `gemc bench`: how fast a compiled program is, beside how fast this machine reads memory, and how far runs disagree.

use std::fmt;
use std::path::PathBuf;

use gem_runtime::cli::threads_warning;
use gem_runtime::hex;
use gem_runtime::kit::{Speed, lengths};
use gem_runtime::protocol::{BenchRequest, BenchResult, ProbeRequest, ProbeResult};
use serde::Serialize;

use super::kit;
use super::model::{Backend, Model, ModelArgs};
use super::numbers::{threads, whole};
use super::{Failure, Outcome, Run, Ui};
use crate::graph::Task;
use crate::import::counted;
use crate::planner::Predicted;
use crate::profile::{self, PartTime};
use crate::progress::Progress as _;
use crate::target::Costs;
use crate::work;

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
    /// Time every phase, and show what a step is spent on
    #[arg(long)]
    profile: bool,
    /// Instead of measuring here, make one program with the model in it, which is carried to a board of the target and
    /// measures that; into the folder at -o
    #[arg(long, requires = "output", conflicts_with_all = ["backend", "prefill", "decode", "threads", "runs", "profile"])]
    pack: bool,
    /// Folder of the kit
    #[arg(short, long, value_name = "DIR", requires = "pack")]
    output: Option<PathBuf>,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
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
    /// What the target's costs say of a prompt and of a token after it, with the bandwidth that was found.
    predicted_prefill_ms: Option<f64>,
    predicted_decode_ms: Option<f64>,
    load_ms: f64,
    peak_rss_bytes: Option<u64>,
    anon_bytes: Option<u64>,
    kv_bytes: u64,
    arena_bytes: u64,
    runs: u32,
    /// What a prompt and a token after it are spent on, where that is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<PartTime>,
    #[serde(skip)]
    prefill: Speed,
    #[serde(skip)]
    decode: Option<Speed>,
}

impl BenchRow {
    /// What was predicted, beside what was found.
    fn write_predicted(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(prefill) = self.predicted_prefill_ms else {
            return Ok(());
        };
        let found = 1e3 * f64::from(self.prefill_tokens) / self.prefill_tok_s;
        write!(
            f,
            "  predicted  prompt {prefill:.3} ms ({:.2} of what it took)",
            prefill / found
        )?;
        if let (Some(decode), Some(speed)) = (self.predicted_decode_ms, self.decode_tok_s) {
            let share = decode * speed / 1e3;
            write!(f, "  token {decode:.4} ms ({share:.2})")?;
        }
        writeln!(f)
    }

    /// What a step is spent on: milliseconds and shares, of routing and SCAR together as well.
    fn write_parts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((prefill, decode)) = sums(&self.parts) else {
            return Ok(());
        };
        let line = |f: &mut fmt::Formatter<'_>, part: &str, of: (f64, f64)| {
            write!(
                f,
                "  {part:20} {:9.3} ms {:5.1} %",
                of.0,
                100.0 * of.0 / prefill
            )?;
            if self.decode_tokens > 0 {
                write!(f, "   {:9.4} ms {:5.1} %", of.1, 100.0 * of.1 / decode)?;
            }
            writeln!(f)
        };
        for part in &self.parts {
            line(f, part.part, (part.prefill_ms, part.decode_ms))?;
        }
        let routing = self.parts.iter().copied();
        let routing = routing.filter(|p| profile::OF_ROUTING.contains(&p.part));
        match sums(&routing.collect::<Vec<_>>()) {
            Some(of) => line(f, "routing and SCAR", of),
            None => Ok(()),
        }
    }
}

/// Milliseconds of a prompt and of a token; `None` of nothing.
fn sums(parts: &[PartTime]) -> Option<(f64, f64)> {
    let sum = |of: fn(&PartTime) -> f64| parts.iter().map(of).sum();
    (!parts.is_empty()).then(|| (sum(|p| p.prefill_ms), sum(|p| p.decode_ms)))
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
            m.write_predicted(f)?;
            m.write_parts(f)?;
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

impl Run for Bench {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        if let (true, Some(output)) = (self.pack, &self.output) {
            return kit::pack(&self.model, output, self.json, ui);
        }
        let model = self.model.compile()?;
        let (prefill, decode) = self.lengths(&model, ui)?;
        ui.start("measuring", self.threads.len() as u64);
        let mut table = Vec::new();
        for &threads in &self.threads {
            if let Some(warning) = threads_warning(Some(threads as usize)) {
                ui.note(&format!("warning: {warning}"));
            }
            let request = BenchRequest {
                prefill,
                decode,
                runs: self.runs,
                phases: self.profile,
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
        lengths(model.info().task, positions, self.prefill, self.decode).map_err(Failure::usage)
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
        let parts = match self.profile {
            true => profile::parts(
                &model.compiled,
                (&result.prefill_phase_ns, request.runs),
                (&result.decode_phase_ns, request.runs * request.decode),
            ),
            false => Vec::new(),
        };
        let bytes = layout.weight_bytes() + result.kv_bytes;
        let predicted = model.target.costs_of(bytes).map(|costs| Costs {
            threads: result.threads,
            // Of as many threads, where there is a limit at all.
            bandwidth: match costs.bandwidth.is_finite() {
                true => probe.bytes_per_second / 1e9,
                false => costs.bandwidth,
            },
            ..costs
        });
        let phases = work::of(&model.compiled);
        let (graph, plan) = (&model.loaded.graph, &model.plan);
        let prompt = |costs| Predicted::prompt(graph, &phases, plan, costs, request.prefill).ok();
        let position = request.prefill + request.decode / 2;
        let token = |costs| Predicted::token(graph, &phases, plan, costs, position).ok();
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
            predicted_prefill_ms: predicted.as_ref().and_then(prompt),
            predicted_decode_ms: (predicted.as_ref())
                .and_then(token)
                .filter(|_| request.decode > 0),
            load_ms: result.load_ns as f64 / 1e6,
            peak_rss_bytes: result.peak_rss_bytes,
            anon_bytes: result.anon_bytes,
            kv_bytes: result.kv_bytes,
            arena_bytes: result.arena_bytes,
            runs: request.runs,
            parts,
            prefill,
            decode,
        })
    }
}
