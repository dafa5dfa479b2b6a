//! Requests and answers <-> frames.
//!
//! Invariant: a decoded message is whole: its frame has the right version and nothing after its end, lists agree with
//! each other.

use std::borrow::Cow;

use super::routing::RoutingRecord;
use super::wire::{Put, Take, broken};
use super::{
    BenchRequest, BenchResult, LogitsRequest, ProbeRequest, ProbeResult, Setup, VERSION, Which,
};
use crate::error::{Error, Result};
use crate::info::{Conventions, LabelScore, ModelInfo, Task};
use crate::simd::Level;

/// What can be asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    Info,
    Logits(LogitsRequest),
    Bench(BenchRequest),
    Probe(ProbeRequest),
}

/// What can be answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Info(Box<ModelInfo>),
    /// A position and its logits.
    Row(u32, Vec<f32>),
    Routing(RoutingRecord),
    /// All rows and routing records are out; keys and values that f16 could not hold, by site.
    Done(Vec<(String, u64)>),
    Bench(BenchResult),
    Probe(ProbeResult),
    /// The request could not be done; why.
    Failed(String),
    /// An option of the request has a value that is not allowed: what [`Error::Options`] says.
    Refused(String),
}

const INFO: u8 = 1;
const LOGITS: u8 = 2;
const BENCH: u8 = 3;
const PROBE: u8 = 4;
const INFO_ANSWER: u8 = 129;
const ROW: u8 = 130;
const ROUTING: u8 = 131;
const DONE: u8 = 132;
const BENCH_ANSWER: u8 = 133;
const PROBE_ANSWER: u8 = 134;
const FAILED: u8 = 135;
const REFUSED: u8 = 136;

fn start(kind: u8) -> Put {
    Put(vec![VERSION, kind])
}

/// The kind of a frame, and its body.
fn open(frame: &[u8]) -> Result<(u8, Take<'_>)> {
    let mut take = Take(frame);
    let version = take.u8()?;
    if version != VERSION {
        let what = format!("the other end speaks version {version}, this one {VERSION}");
        return Err(Error::Protocol(what));
    }
    Ok((take.u8()?, take))
}

fn unknown(kind: u8) -> Error {
    Error::Protocol(format!("a frame of unknown kind {kind}"))
}

pub(super) fn info_request() -> Vec<u8> {
    start(INFO).0
}

pub(super) fn logits_request(request: &LogitsRequest) -> Vec<u8> {
    let mut put = start(LOGITS);
    put.words(&request.ids);
    put.optional(
        match request.which {
            Which::All => None,
            Which::Last(n) => Some(n),
        },
        Put::u32,
    );
    put.words(&request.chunks);
    put.len(request.forced.len());
    for record in &request.forced {
        record.put(&mut put);
    }
    put.u8(u8::from(request.routing));
    put.optional(request.setup.threads, Put::u32);
    put.optional(request.setup.context, Put::u32);
    put.0
}

fn take_logits(take: &mut Take<'_>) -> Result<LogitsRequest> {
    Ok(LogitsRequest {
        ids: take.words()?,
        which: take.optional(Take::u32)?.map_or(Which::All, Which::Last),
        chunks: take.words()?,
        forced: take.list(RoutingRecord::take)?,
        routing: take.flag()?,
        setup: Setup {
            threads: take.optional(Take::u32)?,
            context: take.optional(Take::u32)?,
        },
    })
}

pub(super) fn bench_request(request: &BenchRequest) -> Vec<u8> {
    let mut put = start(BENCH);
    put.u32(request.prefill);
    put.u32(request.decode);
    put.u32(request.runs);
    put.u8(u8::from(request.phases));
    put.optional(request.threads, Put::u32);
    put.0
}

fn take_bench(take: &mut Take<'_>) -> Result<BenchRequest> {
    Ok(BenchRequest {
        prefill: take.u32()?,
        decode: take.u32()?,
        runs: take.u32()?,
        phases: take.flag()?,
        threads: take.optional(Take::u32)?,
    })
}

pub(super) fn probe_request(request: &ProbeRequest) -> Vec<u8> {
    let mut put = start(PROBE);
    put.u64(request.bytes_per_thread);
    put.u32(request.rounds);
    put.optional(request.threads, Put::u32);
    put.0
}

fn take_probe(take: &mut Take<'_>) -> Result<ProbeRequest> {
    Ok(ProbeRequest {
        bytes_per_thread: take.u64()?,
        rounds: take.u32()?,
        threads: take.optional(Take::u32)?,
    })
}

impl Request {
    pub(super) fn decode(frame: &[u8]) -> Result<Self> {
        let (kind, mut take) = open(frame)?;
        let request = match kind {
            INFO => Self::Info,
            LOGITS => Self::Logits(take_logits(&mut take)?),
            BENCH => Self::Bench(take_bench(&mut take)?),
            PROBE => Self::Probe(take_probe(&mut take)?),
            _ => return Err(unknown(kind)),
        };
        take.end()?;
        Ok(request)
    }
}

pub(super) fn row(position: u32, logits: &[f32]) -> Vec<u8> {
    let mut put = start(ROW);
    put.u32(position);
    put.floats(logits);
    put.0
}

pub(super) fn routing(record: &RoutingRecord) -> Vec<u8> {
    let mut put = start(ROUTING);
    record.put(&mut put);
    put.0
}

pub(super) fn done(saturated: &[(String, u64)]) -> Vec<u8> {
    let mut put = start(DONE);
    put.len(saturated.len());
    for (site, values) in saturated {
        put.text(site);
        put.u64(*values);
    }
    put.0
}

pub(super) fn failed(error: &Error) -> Vec<u8> {
    let (kind, why) = match error {
        Error::Options(what) => (REFUSED, what.clone()),
        other => (FAILED, other.to_string()),
    };
    let mut put = start(kind);
    put.text(&why);
    put.0
}

pub(super) fn bench(result: &BenchResult) -> Vec<u8> {
    let mut put = start(BENCH_ANSWER);
    put.list(&result.prefill_ns, Put::u64);
    put.list(&result.decode_ns, Put::u64);
    put.list(&result.prefill_phase_ns, Put::u64);
    put.list(&result.decode_phase_ns, Put::u64);
    put.u64(result.load_ns);
    put.u32(result.threads);
    put.optional(result.peak_rss_bytes, Put::u64);
    put.optional(result.anon_bytes, Put::u64);
    put.u64(result.kv_bytes);
    put.u64(result.arena_bytes);
    put.0
}

fn take_bench_answer(take: &mut Take<'_>) -> Result<BenchResult> {
    Ok(BenchResult {
        prefill_ns: take.list(Take::u64)?,
        decode_ns: take.list(Take::u64)?,
        prefill_phase_ns: take.list(Take::u64)?,
        decode_phase_ns: take.list(Take::u64)?,
        load_ns: take.u64()?,
        threads: take.u32()?,
        peak_rss_bytes: take.optional(Take::u64)?,
        anon_bytes: take.optional(Take::u64)?,
        kv_bytes: take.u64()?,
        arena_bytes: take.u64()?,
    })
}

pub(super) fn probe(result: &ProbeResult) -> Vec<u8> {
    let mut put = start(PROBE_ANSWER);
    put.f64(result.bytes_per_second);
    put.u32(result.threads);
    put.0
}

pub(super) fn info(info: &ModelInfo) -> Vec<u8> {
    let mut put = start(INFO_ANSWER);
    put.text(&info.name);
    put.u8(match info.task {
        Task::CausalLm => 0,
        Task::SequenceClassification => 1,
        Task::Embedding => 2,
        Task::TokenClassification => 3,
    });
    put.text(&info.target);
    put.text(info.level.name());
    put.u32(info.vocab_size);
    put.u32(info.hidden_size);
    put.u32(info.max_positions);
    for names in [&info.domains, &info.labels] {
        put.len(names.len());
        for name in names.iter() {
            put.text(name);
        }
    }
    put.u32(info.embedding);
    put.u32(info.conventions.token_types);
    put.u8(match info.conventions.score {
        LabelScore::Softmax => 0,
        LabelScore::Sigmoid => 1,
        LabelScore::Identity => 2,
    });
    put.u8(u8::from(info.conventions.pools_prompt));
    put.f64(info.bits_per_weight);
    put.u64(info.weight_bytes);
    put.0.extend_from_slice(&info.plan_hash);
    put.u64(info.layout);
    put.optional(info.bos, Put::u32);
    put.words(&info.eos);
    put.0
}

fn take_info(take: &mut Take<'_>) -> Result<ModelInfo> {
    let names = |take: &mut Take<'_>| -> Result<Vec<Cow<'static, str>>> {
        take.list(|take| Ok(Cow::Owned(take.text()?)))
    };
    Ok(ModelInfo {
        name: Cow::Owned(take.text()?),
        task: match take.u8()? {
            0 => Task::CausalLm,
            1 => Task::SequenceClassification,
            2 => Task::Embedding,
            3 => Task::TokenClassification,
            _ => return Err(broken("a task is unknown")),
        },
        target: Cow::Owned(take.text()?),
        level: Level::from_name(&take.text()?).ok_or_else(|| broken("a CPU level is unknown"))?,
        vocab_size: take.u32()?,
        hidden_size: take.u32()?,
        max_positions: take.u32()?,
        domains: Cow::Owned(names(take)?),
        labels: Cow::Owned(names(take)?),
        embedding: take.u32()?,
        conventions: Conventions {
            token_types: take.u32()?,
            score: match take.u8()? {
                0 => LabelScore::Softmax,
                1 => LabelScore::Sigmoid,
                2 => LabelScore::Identity,
                _ => return Err(broken("a kind of scores is unknown")),
            },
            pools_prompt: take.u8()? != 0,
        },
        bits_per_weight: take.f64()?,
        weight_bytes: take.u64()?,
        plan_hash: take.array()?,
        layout: take.u64()?,
        bos: take.optional(Take::u32)?,
        eos: Cow::Owned(take.words()?),
    })
}

impl Answer {
    pub(super) fn decode(frame: &[u8]) -> Result<Self> {
        let (kind, mut take) = open(frame)?;
        let answer = match kind {
            INFO_ANSWER => Self::Info(Box::new(take_info(&mut take)?)),
            ROW => Self::Row(take.u32()?, take.floats()?),
            ROUTING => Self::Routing(RoutingRecord::take(&mut take)?),
            DONE => Self::Done(take.list(|take| Ok((take.text()?, take.u64()?)))?),
            BENCH_ANSWER => Self::Bench(take_bench_answer(&mut take)?),
            PROBE_ANSWER => Self::Probe(ProbeResult {
                bytes_per_second: take.f64()?,
                threads: take.u32()?,
            }),
            FAILED => Self::Failed(take.text()?),
            REFUSED => Self::Refused(take.text()?),
            _ => return Err(unknown(kind)),
        };
        take.end()?;
        Ok(answer)
    }
}

/// Decodes a frame as either; for fuzzing.
pub(super) fn fuzz(frame: &[u8]) {
    let _ = Request::decode(frame);
    let _ = Answer::decode(frame);
}
