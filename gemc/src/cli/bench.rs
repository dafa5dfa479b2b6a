//! `gemc bench`: how fast a program is, beside how fast this machine reads memory.

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use gem_runtime::hex;
use gem_runtime::protocol::{BenchRequest, Peer, ProbeRequest, Server};
use serde::Serialize;

use super::build::model_name;
use super::choices::{Device, Formats};
use super::{Failure, Outcome, Run, Ui};
use crate::backend::{self, Served};
use crate::graph::Task;
use crate::pack::layout::Layout;
use crate::package::Parts;
use crate::pipeline;
use crate::progress::Progress as _;

/// Measure prefill and decode speed of a compiled model
#[derive(clap::Args, Debug)]
pub struct Bench {
    /// Folder with config.json and model.safetensors
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    #[command(flatten)]
    device: Device,
    #[command(flatten)]
    formats: Formats,
    /// What runs the kernels
    #[arg(long, value_enum, default_value_t = Backend::Rust)]
    backend: Backend,
    /// Tokens of the prompt
    #[arg(short = 'p', value_name = "N", default_value_t = 256)]
    prefill: u32,
    /// Tokens after it, one by one
    #[arg(short = 'n', value_name = "N", default_value_t = 32)]
    decode: u32,
    /// Thread counts, separated by commas
    #[arg(long, value_name = "1,2", value_delimiter = ',', default_value = "1,2")]
    threads: Vec<u32>,
    /// Runs of each; medians are told
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: u32,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Backend {
    /// The generated crate, compiled and run as a child
    Rust,
    /// Machine code made in this process
    Jit,
}

impl Backend {
    const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Jit => "jit",
        }
    }
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
        let target = self.device.find()?;
        let loaded = pipeline::load(&self.checkpoint)?;
        let plan = self.formats.plan(&loaded.graph)?;
        let compiled = pipeline::compile(&loaded.graph, &plan, &target)?;
        let name = model_name(&self.checkpoint);
        let rounding = self.formats.rounding();
        let parts = Parts {
            name: &name,
            loaded: &loaded,
            compiled: &compiled,
            plan: &plan,
            target: &target,
            rounding,
        };
        let decode = if loaded.graph.facts().task == Task::CausalLm {
            self.decode
        } else {
            0
        };
        let facts = Facts {
            backend: self.backend.name(),
            target: &target.name,
            plan_hash: hex(&plan.hash()),
            layout: &compiled.layout,
            per_token: compiled.layout.bytes_per_token(&loaded.graph),
        };
        let mut table = Vec::new();
        match self.backend {
            Backend::Rust => {
                let program = backend::program(&parts, ui)?;
                ui.start("measuring", self.threads.len() as u64);
                for &threads in &self.threads {
                    // A process for each, so that memory figures do not mix.
                    let mut served = Served::start(&program)?;
                    table.push(self.measure(&facts, &mut served.client, decode, threads)?);
                    ui.advance(1);
                }
            }
            Backend::Jit => {
                let begin = Instant::now();
                let engine = backend::jitted(&parts)?;
                let load = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
                ui.start("measuring", self.threads.len() as u64);
                for &threads in &self.threads {
                    let mut server = Server::new(&engine, load);
                    table.push(self.measure(&facts, &mut server, decode, threads)?);
                    ui.advance(1);
                }
            }
        }
        ui.result(self.json, &Table(table))?;
        Ok(Outcome::Done)
    }
}

/// What figures are about.
struct Facts<'a> {
    backend: &'static str,
    target: &'a str,
    plan_hash: String,
    layout: &'a Layout,
    per_token: u64,
}

impl Bench {
    /// Measures a program on so many threads.
    fn measure(
        &self,
        facts: &Facts<'_>,
        peer: &mut dyn Peer,
        decode: u32,
        threads: u32,
    ) -> Result<Measured, Failure> {
        let result = peer.bench(&BenchRequest {
            prefill: self.prefill,
            decode,
            runs: self.runs,
            threads: Some(threads),
        })?;
        let probe = peer.probe(&ProbeRequest {
            threads: Some(threads),
            ..ProbeRequest::default()
        })?;
        let decode_tok_s = speed(decode, &result.decode_ns);
        let share = |d: f64| d * facts.per_token as f64 / probe.bytes_per_second;
        Ok(Measured {
            backend: facts.backend,
            target: facts.target.to_owned(),
            plan_hash: facts.plan_hash.clone(),
            bits_per_weight: facts.layout.bits_per_weight(),
            weight_bytes: facts.layout.weight_bytes(),
            threads: result.threads,
            prefill_tok_s: speed(self.prefill, &result.prefill_ns).unwrap_or_default(),
            decode_tok_s,
            weight_bytes_per_token: facts.per_token,
            read_gb_s: probe.bytes_per_second / 1e9,
            read_share: decode_tok_s.map(share),
            load_ms: result.load_ns as f64 / 1e6,
            peak_rss_bytes: result.peak_rss_bytes,
            anon_bytes: result.anon_bytes,
            kv_bytes: result.kv_bytes,
            arena_bytes: result.arena_bytes,
            runs: self.runs,
        })
    }
}

/// Tokens per second of the median run.
fn speed(tokens: u32, ns: &[u64]) -> Option<f64> {
    let mut sorted = ns.to_vec();
    sorted.sort_unstable();
    let median = *sorted.get(sorted.len() / 2)?;
    (tokens > 0 && median > 0).then(|| f64::from(tokens) * 1e9 / median as f64)
}
