//! `gemc bench`: how fast a compiled program is, beside how fast this machine reads memory.

use std::fmt;

use gem_runtime::hex;
use gem_runtime::protocol::{BenchRequest, ProbeRequest};
use serde::Serialize;

use super::model::{Backend, ModelArgs};
use super::numbers::{threads, whole};
use super::{Failure, Outcome, Run, Ui};
use crate::graph::Task;
use crate::progress::Progress as _;

/// Measure prefill and decode speed of a compiled model
#[derive(clap::Args, Debug)]
pub struct Bench {
    #[command(flatten)]
    model: ModelArgs,
    /// What runs the kernels
    #[arg(long, value_enum, default_value_t = Backend::Rust)]
    backend: Backend,
    /// Tokens of the prompt
    #[arg(short = 'p', value_name = "N", default_value_t = 256, value_parser = whole(1, u32::MAX))]
    prefill: u32,
    /// Tokens after it, one by one
    #[arg(short = 'n', value_name = "N", default_value_t = 32, value_parser = whole(0, u32::MAX))]
    decode: u32,
    /// Thread counts, separated by commas
    #[arg(long, value_name = "1,2", value_delimiter = ',', default_value = "1,2", value_parser = threads)]
    threads: Vec<u32>,
    /// Runs of each; medians are told
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = whole(1_u32, 1000))]
    runs: u32,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

/// Figures for one number of threads.
#[derive(Debug, Serialize)]
struct Measured {
    backend: &'static str,
    target: String,
    plan_hash: String,
    bits_per_weight: f64,
    weight_bytes: u64,
    threads: u32,
    prefill_tok_s: f64,
    decode_tok_s: Option<f64>,
    weight_bytes_per_token: u64,
    read_gb_s: f64,
    read_share: Option<f64>,
    load_ms: f64,
    peak_rss_bytes: Option<u64>,
    anon_bytes: Option<u64>,
    kv_bytes: u64,
    arena_bytes: u64,
    runs: u32,
}

#[derive(Serialize)]
struct Table(Vec<Measured>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for m in &self.0 {
            let decode = m
                .decode_tok_s
                .map_or_else(|| "-".to_owned(), |d| format!("{d:.2}"));
            let share = m
                .read_share
                .map_or_else(|| "-".to_owned(), |s| format!("{:.0} %", 100.0 * s));
            writeln!(
                f,
                "{} threads: prefill {:.1} tok/s, decode {decode} tok/s, {share} of {:.1} GB/s",
                m.threads, m.prefill_tok_s, m.read_gb_s
            )?;
        }
        Ok(())
    }
}

impl Run for Bench {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let model = self.model.compile()?;
        let decode = if model.loaded.graph.facts().task == Task::CausalLm {
            self.decode
        } else {
            0
        };
        ui.start("measuring", self.threads.len() as u64);
        let mut table = Vec::new();
        for &threads in &self.threads {
            let request = BenchRequest {
                prefill: self.prefill,
                decode,
                runs: self.runs,
                threads: Some(threads),
            };
            let probe = ProbeRequest {
                threads: Some(threads),
                ..ProbeRequest::default()
            };
            // Started anew for each, so that memory figures do not mix.
            let (result, probe) = model.answer(self.backend, ui, |peer| {
                Ok((peer.bench(&request)?, peer.probe(&probe)?))
            })?;
            let layout = &model.compiled.layout;
            let per_token = layout.bytes_per_token(&model.loaded.graph);
            let read_gb_s = probe.bytes_per_second / 1e9;
            let decode_tok_s = speed(decode, &result.decode_ns);
            table.push(Measured {
                backend: self.backend.name(),
                target: model.target.name.clone(),
                plan_hash: hex(&model.plan.hash()),
                bits_per_weight: layout.bits_per_weight(),
                weight_bytes: layout.weight_bytes(),
                threads: result.threads,
                prefill_tok_s: speed(self.prefill, &result.prefill_ns).unwrap_or_default(),
                decode_tok_s,
                weight_bytes_per_token: per_token,
                read_gb_s,
                read_share: decode_tok_s.map(|d| d * per_token as f64 / probe.bytes_per_second),
                load_ms: result.load_ns as f64 / 1e6,
                peak_rss_bytes: result.peak_rss_bytes,
                anon_bytes: result.anon_bytes,
                kv_bytes: result.kv_bytes,
                arena_bytes: result.arena_bytes,
                runs: self.runs,
            });
            ui.advance(1);
        }
        ui.result(self.json, &Table(table))?;
        Ok(Outcome::Done)
    }
}

/// Tokens per second of the median run.
fn speed(tokens: u32, ns: &[u64]) -> Option<f64> {
    let mut sorted = ns.to_vec();
    sorted.sort_unstable();
    let median = *sorted.get(sorted.len() / 2)?;
    (tokens > 0 && median > 0).then(|| f64::from(tokens) * 1e9 / median as f64)
}
