//! Questions about a model -> answers, in the same process ([`Server`]) or over a program's standard input and output
//! ([`serve`] and [`Client`]).
//!
//! A frame is its length (u32) and so many bytes: version (u8), kind (u8), body. All numbers are little endian; lists
//! and texts begin with their length (u32). A request is one frame. Its answer is any number of row and routing frames
//! and one last frame. Invariant: no reader reserves memory by a number it has not compared with what is there.

mod client;
mod measure;
mod message;
mod products;
mod routing;
mod server;
#[cfg(test)]
mod tests;
mod wire;

use crate::error::Result;
use crate::info::ModelInfo;

pub use client::Client;
pub use measure::{barrier, probe};
pub use products::{BATCH, Product, ProductCosts, ProductTimes, costs_of_phases, measure_products};
pub use routing::RoutingRecord;
#[cfg(feature = "cli")]
pub(crate) use server::run_once;
pub use server::{Server, serve};

/// Version of the frames; both ends must have the same.
pub const VERSION: u8 = 3;

/// Bytes of a frame at most.
pub const LONGEST_FRAME: u32 = 1 << 30;

/// How a session for a request is set up; as [`crate::SessionOptions`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Threads; by default one for each fast core that the process may use.
    pub threads: Option<u32>,
    /// Positions; by default the session's own.
    pub context: Option<u32>,
}

/// Which positions' logits are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The logits after every token.
    #[default]
    All,
    /// Of the last so many.
    Last(u32),
}

/// Runs a sequence from its start and asks for logits and routing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogitsRequest {
    /// Token ids of the sequence.
    pub ids: Vec<u32>,
    /// Which logits are wanted. A classifier has one row, whatever is asked.
    pub which: Which,
    /// How many tokens each call takes, in order; the last number counts for all that follow. Empty: all in one call.
    /// No zeros. A classifier takes all in one call, whatever is asked.
    pub chunks: Vec<u32>,
    /// Routing to be used instead of the model's own, for the sites named; rows by position.
    pub forced: Vec<RoutingRecord>,
    /// Whether the model's own routing is wanted: what its routers chose, before anything was forced.
    pub routing: bool,
    /// Threads and context of the session.
    pub setup: Setup,
}

impl LogitsRequest {
    /// The first position whose logits are wanted.
    #[must_use]
    pub(crate) fn from(&self) -> u32 {
        match self.which {
            Which::All => 0,
            Which::Last(n) => (self.ids.len() as u32).saturating_sub(n),
        }
    }
}

/// What a sequence gave beside its logits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogitsResult {
    /// One record per routed site where routing is wanted, in the model's order; else none.
    pub routing: Vec<RoutingRecord>,
    /// Keys and values of this sequence that f16 could not hold, by site.
    pub saturated: Vec<(String, u64)>,
}

/// Measures time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BenchRequest {
    /// Tokens of the prompt, or of the text of a classifier; at least 1.
    pub prefill: u32,
    /// Tokens after it, one by one; a classifier has none.
    pub decode: u32,
    /// How often both are measured, after one run that is not; 1 to 1000.
    pub runs: u32,
    /// Whether every phase is timed, too, which takes a little time itself.
    pub phases: bool,
    /// Threads; by default one for each fast core that the process may use.
    pub threads: Option<u32>,
}

/// Seconds of prefill and decode, run by run, and the memory that was used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BenchResult {
    /// Nanoseconds of each run's prompt.
    pub prefill_ns: Vec<u64>,
    /// Nanoseconds of all tokens after it, for each run.
    pub decode_ns: Vec<u64>,
    /// Nanoseconds of each phase in all prompts, those of the head last; none where they were not wanted.
    pub prefill_phase_ns: Vec<u64>,
    /// The same in all tokens after them.
    pub decode_phase_ns: Vec<u64>,
    /// Nanoseconds it took to open the model.
    pub load_ns: u64,
    /// Threads that were used.
    pub threads: u32,
    /// The most memory the process has had resident so far, mapped weights included; where the system tells.
    pub peak_rss_bytes: Option<u64>,
    /// Anonymous memory that is resident now; where the system tells.
    pub anon_bytes: Option<u64>,
    /// Key/value memory of the session.
    pub kv_bytes: u64,
    /// Scratch memory of the session.
    pub arena_bytes: u64,
}

/// Measures how fast memory can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeRequest {
    /// Bytes each thread reads; reserved once per thread.
    pub bytes_per_thread: u64,
    /// How often; the best counts.
    pub rounds: u32,
    /// Threads; by default one for each fast core that the process may use.
    pub threads: Option<u32>,
}

impl ProbeRequest {
    /// For small machines: more than caches hold, and together no more than half of the memory that is free.
    #[must_use]
    pub fn modest(threads: Option<u32>) -> Self {
        const SCANNED: u64 = 256 << 20;
        let count = u64::from(threads.unwrap_or_else(measure::usual_threads));
        let free = measure::available().map_or(SCANNED, |bytes| bytes / 2 / count.max(1));
        Self {
            bytes_per_thread: SCANNED.min(free).max(1 << 20),
            threads,
            ..Self::default()
        }
    }
}

impl Default for ProbeRequest {
    fn default() -> Self {
        Self {
            bytes_per_thread: 1 << 30,
            rounds: 5,
            threads: None,
        }
    }
}

/// What the probe found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProbeResult {
    /// Bytes per second of the best round, all threads together.
    pub bytes_per_second: f64,
    /// Threads that were used.
    pub threads: u32,
}

/// Something that answers: a model in this process or at the other end of a pipe.
pub trait Peer {
    /// Facts about the model.
    ///
    /// # Errors
    /// Those of the wire.
    fn info(&mut self) -> Result<ModelInfo>;

    /// Runs a sequence; calls `each` with the wanted positions, ascending, and their logits.
    ///
    /// # Errors
    /// As of [`crate::Session::forward_routed`] and those of the wire. [`crate::Error::Options`] for zero chunks, and
    /// for forced routing that does not fit the model or the sequence.
    fn logits(
        &mut self,
        request: &LogitsRequest,
        each: &mut dyn FnMut(u32, &[f32]),
    ) -> Result<LogitsResult>;

    /// Measures time.
    ///
    /// # Errors
    /// [`crate::Error::Options`], and as of [`crate::Session::forward`] and the wire.
    fn bench(&mut self, request: &BenchRequest) -> Result<BenchResult>;

    /// Measures the bandwidth of reading memory.
    ///
    /// # Errors
    /// [`crate::Error::Options`], [`crate::Error::Memory`], and those of the wire.
    fn probe(&mut self, request: &ProbeRequest) -> Result<ProbeResult>;
}

/// Reads whatever is given as frames and as every kind of message; for fuzzing.
pub fn fuzz_protocol(bytes: &[u8]) {
    let mut frames = bytes;
    let mut frame = Vec::new();
    while let Ok(true) = wire::read_frame(&mut frames, &mut frame) {
        message::fuzz(&frame);
    }
    message::fuzz(bytes);
}
