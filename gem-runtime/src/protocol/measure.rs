//! The machine and this process -> figures: how fast memory can be read, how much of it is in use.

use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::hint::black_box;
use std::time::Instant;

use super::{ProbeRequest, ProbeResult};
use crate::abi::{Ctx, Executable, HalfTap, Items, Part, ProgramShape, RoutingTap, Table};
use crate::error::{Error, Result};
use crate::memory::Buffer;
use crate::team::Team;

/// Memory of this process, where the system tells.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The most that has been resident.
    pub peak_rss: Option<u64>,
    /// Resident anonymous memory.
    pub anonymous: Option<u64>,
}

/// Reads `/proc/self/status`.
pub(super) fn memory() -> Memory {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    Memory {
        peak_rss: field(&status, "VmHWM:"),
        anonymous: field(&status, "RssAnon:"),
    }
}

/// Memory that may be taken, where the system tells.
pub(super) fn available() -> Option<u64> {
    let about = std::fs::read_to_string("/proc/meminfo").ok()?;
    field(&about, "MemAvailable:")
}

/// Threads of a team that nobody gave a number.
pub(super) fn usual_threads() -> u32 {
    Team::new(None).map_or(1, |team| team.threads() as u32)
}

/// Bytes of a field such as `VmHWM:     1234 kB`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// What one item of the probe reads.
const UNIT_BYTES: usize = 16 << 20;

/// Rounds of a probe at most.
const MOST_ROUNDS: u32 = 100;

/// What is measured as a program, so that the same team shares it out as it does kernels: phases of items that share nothing.
struct Phases<F> {
    items: Vec<Items>,
    /// Runs items from one on, before another.
    run: F,
}

impl<F: Fn(u32, u32) + Sync> Executable for Phases<F> {
    fn shape(&self) -> &ProgramShape {
        &NOTHING
    }

    fn phases(&self, _: Part) -> &[Items] {
        &self.items
    }

    fn taps(&self) -> &[RoutingTap] {
        &[]
    }

    fn halves(&self) -> &[HalfTap] {
        &[]
    }

    fn tables(&self) -> &[Table] {
        &[]
    }

    unsafe fn run(&self, _: Part, _: usize, _: &Ctx, begin: u32, end: u32) {
        (self.run)(begin, end);
    }
}

impl<F: Fn(u32, u32) + Sync> Phases<F> {
    /// Seconds of all phases on a team.
    fn time(&self, team: &mut Team) -> Result<f64> {
        let start = Instant::now();
        // SAFETY: all phases have a fixed number of items and use nothing of their context.
        unsafe { team.run_part(self, Part::Body, &EMPTY, None)? };
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Sums words in 16 accumulators, so that no addition waits for another.
fn sum(bytes: &[u8]) -> usize {
    const WORD: usize = size_of::<usize>();
    let mut sums = [0_usize; 16];
    for line in bytes.as_chunks::<{ 16 * WORD }>().0 {
        for (sum, word) in sums.iter_mut().zip(line.as_chunks::<WORD>().0) {
            *sum = sum.wrapping_add(usize::from_le_bytes(*word));
        }
    }
    sums.into_iter().fold(0, usize::wrapping_add)
}

/// Reads memory with all threads, several times.
///
/// # Errors
/// When memory or threads are not to be had, or the number of rounds is out of range.
pub fn probe(request: &ProbeRequest) -> Result<ProbeResult> {
    if !(1..=MOST_ROUNDS).contains(&request.rounds) {
        let what = format!(
            "rounds is {}; allowed are 1 to {MOST_ROUNDS}",
            request.rounds
        );
        return Err(Error::Options(what));
    }
    let mut team = Team::new(request.threads.map(|n| n as usize))?;
    let bytes = request
        .bytes_per_thread
        .saturating_mul(team.threads() as u64);
    let mut buffer = Buffer::zeroed(bytes)?;
    // Written once, or all pages would be the same page of zeros.
    buffer.as_mut_slice().fill(1);
    let items =
        u32::try_from(buffer.len().div_ceil(UNIT_BYTES)).map_err(|_| Error::Memory { bytes })?;
    let sums = AtomicUsize::new(0);
    let scan = Phases {
        items: vec![Items::Fixed(items)],
        run: |begin, end| {
            let items = buffer.as_slice().chunks(UNIT_BYTES);
            for item in items.take(end as usize).skip(begin as usize) {
                sums.fetch_add(sum(item), Ordering::Relaxed);
            }
        },
    };
    let mut best = f64::INFINITY;
    for _ in 0..request.rounds {
        best = best.min(scan.time(&mut team)?);
    }
    black_box(sums.load(Ordering::Relaxed));
    Ok(ProbeResult {
        // A clock that does not advance must not give infinity.
        bytes_per_second: bytes as f64 / best.max(1e-9),
        threads: team.threads() as u32,
    })
}

/// Seconds that a phase takes beyond its work on a team of so many threads, which claim items and wait for one another: phases
/// of a few microseconds, less their share of what one thread takes; the median, 0 of one thread.
///
/// # Errors
/// When threads are not to be had.
pub fn barrier(threads: Option<u32>) -> Result<f64> {
    const PHASES: usize = 64;
    const TIMES: usize = 101;
    let mut team = Team::new(threads.map(|n| n as usize))?;
    let sharing = team.threads();
    if sharing == 1 {
        return Ok(0.0);
    }
    let mut alone = Team::new(Some(1))?;
    let turns = Phases {
        items: vec![Items::Fixed(16 * sharing as u32); PHASES],
        run: |begin, end| {
            for item in begin..end {
                // Each step waits for the one before it.
                let step = |x: u32, _| black_box(x.wrapping_mul(0x9e37_79b1));
                black_box((0..100).fold(item, step));
            }
        },
    };
    let mut more = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        // In turns: a clock that changes must not look like waiting.
        let shared = turns.time(&mut team)?;
        more.push(shared - turns.time(&mut alone)? / sharing as f64);
    }
    more.sort_unstable_by(f64::total_cmp);
    Ok((more[TIMES / 2] / PHASES as f64).max(0.0))
}

const NOTHING: ProgramShape = ProgramShape {
    arena_bytes: 0,
    kv_bytes_per_position: 0,
    ring_bytes: 0,
    rewind: u32::MAX,
    max_rows: 0,
    max_outputs: 0,
    logits: 0,
    logits_stride: 0,
    weight_bytes: 0,
};

const EMPTY: Ctx = Ctx {
    weights: ptr::null(),
    arena: ptr::null_mut(),
    kv: ptr::null(),
    rows: ptr::null(),
    outputs: ptr::null(),
    tables: ptr::null(),
    n_rows: 0,
    n_slots: 0,
    n_outputs: 0,
    context: 0,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_status_file_are_kilobytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nRssAnon:\t      16 kB\nVmLck: 3\n";
        assert_eq!(field(status, "VmHWM:"), Some(2048 * 1024));
        assert_eq!(field(status, "RssAnon:"), Some(16 * 1024));
        assert_eq!(field(status, "VmLck:"), None);
        assert_eq!(field(status, "VmSwap:"), None);
        assert_eq!(field("VmHWM: 18446744073709551615 kB", "VmHWM:"), None);
    }

    #[test]
    fn a_barrier_takes_little_time_and_some() {
        assert_eq!(barrier(Some(1)).expect("one thread"), 0.0);
        let two = barrier(Some(2)).expect("two threads");
        assert!(two > 0.0 && two < 1.0, "{two}");
    }

    #[test]
    fn the_probe_reads_every_byte() {
        let mut bytes = vec![0; 4096];
        for at in [0, 1024, 4088] {
            bytes[at] = 1;
        }
        assert_eq!(sum(&bytes), 3);
    }
}
