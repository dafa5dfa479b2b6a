//! A model in this process -> answers; and the loop that serves them over a stream.
//!
//! Invariant: a failed request leaves the server ready for the next one.

use std::io::{BufReader, BufWriter, Read, Write};
use std::time::Instant;

use super::message::{self, Request};
use super::routing::Recorder;
use super::wire::{io, read_frame, write_frame};
use super::{
    BenchRequest, BenchResult, LogitsRequest, LogitsResult, Peer, ProbeRequest, ProbeResult, Setup,
    measure,
};
use crate::error::{Error, Result};
use crate::info::{ModelInfo, Task};
use crate::model::Engine;
use crate::random::Random;
use crate::routing::RoutingHook;
use crate::saturation::SaturatedValues;
use crate::session::{Session, SessionOptions};

/// Runs at most, so that a request cannot ask for more results than there is time for.
const MOST_RUNS: u32 = 1000;

/// Answers for a model in this process.
#[derive(Debug)]
pub struct Server {
    engine: Engine,
    load_ns: u64,
    /// The session of the last request, if it went well.
    session: Option<(Setup, Session)>,
}

impl Server {
    /// Answers for `engine`, which took so many nanoseconds to open.
    #[must_use]
    pub fn new(engine: &Engine, load_ns: u64) -> Self {
        Self {
            engine: engine.clone(),
            load_ns,
            session: None,
        }
    }

    /// Runs `work` in an empty session of this setup, the last one if it fits.
    fn within<T>(
        &mut self,
        setup: Setup,
        work: impl FnOnce(&mut Session) -> Result<T>,
    ) -> Result<T> {
        let mut session = match self.session.take() {
            Some((same, session)) if same == setup => session,
            other => {
                // The old one's memory is given back before the new one's is reserved.
                drop(other);
                let options = SessionOptions {
                    context: setup.context,
                    threads: setup.threads.map(|n| n as usize),
                };
                Session::new(&self.engine, options)?
            }
        };
        session.reset();
        let result = work(&mut session)?;
        self.session = Some((setup, session));
        Ok(result)
    }

    fn check_bench(&self, request: &BenchRequest) -> Result<u32> {
        let wrong = |what: String| Err(Error::Options(what));
        let BenchRequest {
            prefill, decode, ..
        } = *request;
        if prefill == 0 {
            return wrong("prefill is 0; allowed are 1 and above".to_owned());
        }
        if !(1..=MOST_RUNS).contains(&request.runs) {
            return wrong(format!(
                "runs is {}; allowed are 1 to {MOST_RUNS}",
                request.runs
            ));
        }
        if decode > 0 && self.engine.info().task != Task::CausalLm {
            return wrong("decode must be 0 for a model of whole texts".to_owned());
        }
        let needed = u64::from(prefill) + u64::from(decode);
        let limit = self.engine.info().max_positions;
        let fitting = u32::try_from(needed).ok().filter(|n| *n <= limit);
        fitting.ok_or_else(|| {
            Error::Options(format!(
                "prefill and decode are {prefill} and {decode}; allowed are {limit} tokens together"
            ))
        })
    }
}

impl Peer for Server {
    fn info(&mut self) -> Result<ModelInfo> {
        Ok(self.engine.info().clone())
    }

    fn logits(
        &mut self,
        request: &LogitsRequest,
        each: &mut dyn FnMut(u32, &[f32]),
    ) -> Result<LogitsResult> {
        if request.chunks.contains(&0) {
            return Err(Error::Options("chunks has a 0".to_owned()));
        }
        let mut recorder = Recorder::new(request, self.engine.program().taps())?;
        let task = self.engine.info().task;
        let saturated = self.within(request.setup, |session| {
            let hook = recorder.as_mut();
            let before = session.saturated().to_vec();
            match task {
                Task::CausalLm => sequence(session, request, hook, each)?,
                Task::SequenceClassification | Task::TokenClassification | Task::Embedding => {
                    whole_text(session, request, hook, each)?;
                }
            }
            Ok(since(&before, session.saturated()))
        })?;
        Ok(LogitsResult {
            routing: recorder.map(|r| r.records).unwrap_or_default(),
            saturated,
        })
    }

    fn bench(&mut self, request: &BenchRequest) -> Result<BenchResult> {
        let context = self.check_bench(request)?;
        let setup = Setup {
            threads: request.threads,
            context: Some(context),
        };
        let load_ns = self.load_ns;
        let vocab = self.engine.info().vocab_size;
        let phases = request.phases;
        let result = self.within(setup, |session| {
            let mut random = Random::new(0);
            let ids: Vec<u32> = (0..context).map(|_| random.below(vocab)).collect();
            let (prompt, rest) = ids.split_at(request.prefill as usize);
            let mut result = BenchResult::default();
            run_once(session, prompt, rest)?;
            if request.phases {
                session.phase_times();
            }
            for _ in 0..request.runs {
                result.prefill_ns.push(prefill(session, prompt)?);
                if request.phases {
                    add(&mut result.prefill_phase_ns, session.phase_times());
                }
                result.decode_ns.push(decode(session, rest)?);
                if request.phases {
                    add(&mut result.decode_phase_ns, session.phase_times());
                }
            }
            let memory = measure::memory();
            Ok(BenchResult {
                load_ns,
                threads: session.threads() as u32,
                peak_rss_bytes: memory.peak_rss,
                anon_bytes: memory.anonymous,
                kv_bytes: session.memory().kv,
                arena_bytes: session.memory().arena,
                ..result
            })
        });
        if phases {
            // Its phases would be timed from now on.
            self.session = None;
        }
        result
    }

    fn probe(&mut self, request: &ProbeRequest) -> Result<ProbeResult> {
        // Its threads would stand in the probe's way.
        self.session = None;
        measure::probe(request)
    }
}

/// Runs a decoder's sequence in the pieces asked for.
fn sequence(
    session: &mut Session,
    request: &LogitsRequest,
    mut hook: Option<&mut Recorder<'_>>,
    each: &mut dyn FnMut(u32, &[f32]),
) -> Result<()> {
    let mut rest = &request.ids[..];
    let needed = rest.len() as u64;
    if rest.is_empty() {
        return Err(Error::Empty);
    }
    if needed > u64::from(session.context()) {
        // The whole sequence, not only the piece that reaches the limit.
        let limit = session.context();
        return Err(Error::Context { needed, limit });
    }
    let from = request.from();
    let mut sizes = request.chunks.iter();
    let mut size = rest.len();
    while !rest.is_empty() {
        size = sizes.next().map_or(size, |next| *next as usize);
        let (ids, after) = rest.split_at(size.min(rest.len()));
        let hook = hook
            .as_mut()
            .map(|hook| &mut **hook as &mut dyn RoutingHook);
        session.forward_from(from, ids, hook, &mut *each)?;
        rest = after;
    }
    Ok(())
}

/// What was counted since `before`, by site.
fn since(before: &[SaturatedValues], now: &[SaturatedValues]) -> Vec<(String, u64)> {
    let new = now.iter().map(|s| {
        let known = before.iter().find(|b| b.site == s.site);
        (s.site.to_owned(), s.values - known.map_or(0, |b| b.values))
    });
    new.filter(|(_, values)| *values > 0).collect()
}

/// Runs a text in one step.
fn whole_text(
    session: &mut Session,
    request: &LogitsRequest,
    hook: Option<&mut Recorder<'_>>,
    each: &mut dyn FnMut(u32, &[f32]),
) -> Result<()> {
    let hook = hook.map(|hook| hook as &mut dyn RoutingHook);
    if session.engine().info().task == Task::TokenClassification {
        let from = request.from();
        return session.label_rows(&request.ids, hook, |position, logits| {
            if position >= from {
                each(position, logits);
            }
        });
    }
    let logits = session.text_rows(&request.ids, 0, hook)?;
    each(0, logits);
    Ok(())
}

/// Adds what each phase took; the sums begin empty.
fn add(sums: &mut Vec<u64>, times: Vec<u64>) {
    if sums.is_empty() {
        *sums = times;
    } else {
        sums.iter_mut().zip(times).for_each(|(sum, ns)| *sum += ns);
    }
}

/// Nanoseconds of a prompt, and of the tokens after it.
pub(crate) fn run_once(session: &mut Session, prompt: &[u32], rest: &[u32]) -> Result<(u64, u64)> {
    Ok((prefill(session, prompt)?, decode(session, rest)?))
}

/// Nanoseconds of a prompt or text, in an empty session.
fn prefill(session: &mut Session, prompt: &[u32]) -> Result<u64> {
    session.reset();
    let start = Instant::now();
    match session.engine().info().task {
        Task::CausalLm => {
            session.forward(prompt)?;
        }
        Task::SequenceClassification | Task::Embedding => {
            session.text_rows(prompt, 0, None)?;
        }
        Task::TokenClassification => session.label_rows(prompt, None, |_, _| {})?,
    }
    Ok(nanoseconds(start))
}

/// Nanoseconds of tokens one by one.
fn decode(session: &mut Session, rest: &[u32]) -> Result<u64> {
    let start = Instant::now();
    for id in rest {
        session.forward(&[*id])?;
    }
    Ok(nanoseconds(start))
}

/// Nanoseconds since `start`.
fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Answers requests until the input ends. What goes wrong in a request is its answer.
///
/// # Errors
/// [`Error::Io`] of the streams, [`Error::Protocol`] when the input is no sequence of frames.
pub fn serve(engine: &Engine, load_ns: u64, input: impl Read, output: impl Write) -> Result<()> {
    let mut server = Server::new(engine, load_ns);
    let mut input = BufReader::new(input);
    let mut output = BufWriter::new(output);
    let mut frame = Vec::new();
    while read_frame(&mut input, &mut frame)? {
        let last = match Request::decode(&frame) {
            Ok(request) => answer(&mut server, &request, &mut output),
            Err(e) => Err(e),
        };
        let last = last.unwrap_or_else(|e| message::failed(&e));
        write_frame(&mut output, &last)?;
        output.flush().map_err(io)?;
    }
    Ok(())
}

/// Writes all frames of an answer but the last, which is returned.
fn answer(server: &mut Server, request: &Request, output: &mut impl Write) -> Result<Vec<u8>> {
    Ok(match request {
        Request::Info => message::info(&server.info()?),
        Request::Bench(request) => message::bench(&server.bench(request)?),
        Request::Probe(request) => message::probe(&server.probe(request)?),
        Request::Logits(request) => {
            let mut written = Ok(());
            let result = server.logits(request, &mut |position, logits| {
                if written.is_ok() {
                    written = write_frame(output, &message::row(position, logits));
                }
            })?;
            written?;
            for record in &result.routing {
                write_frame(output, &message::routing(record))?;
            }
            message::done(&result.saturated)
        }
    })
}
