//! The worker threads of a team, and how they share the items of one phase.
//!
//! A phase is cut into chunks. The caller writes the [`Open`] phase, then sets `unclaimed` to the number of chunks;
//! whoever lowers it from above zero owns one chunk and may read the open phase; whoever finishes chunks lowers `unfinished`.
//! The caller works too, and returns when `unfinished` is zero. A worker that comes late, or never, holds up nobody: it
//! is waited for only if it owns a chunk.
//!
//! Memory ordering. The store to `unclaimed` releases the open phase and everything earlier phases wrote; every claim
//! is a read-modify-write with acquire, and read-modify-writes continue a release sequence, so each claimer sees all of
//! it. Likewise each release decrement of `unfinished` is seen by the caller's acquire load of zero. The open phase is
//! overwritten only after that load, when no chunk is owned, hence no reader left. Sleeping uses the usual pair of
//! sequentially consistent accesses (store the value, load `asleep`; raise `asleep`, load the value), of which at least
//! one side sees the other's store. All atomics are 32 bits wide, since small cores have no others.

use core::cell::UnsafeCell;
use core::hint;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Job;
use super::cores::{keep_to, uneven};
use crate::error::{Error, Result};

/// How long a thread spins before it sleeps: longer than most phases, shorter than a time slice.
const SPIN: Duration = Duration::from_micros(80);

/// Bytes of a worker's stack: kernels keep their arrays there, and the environment must not make it smaller.
const STACK: usize = 2 << 20;

/// How the items of a phase are cut: first a chunk for each thread that is half of its share, then the other half in pieces of
/// a quarter, or of an eighth where cores are not equally fast. Every claim moves a cache line between cores, which takes as long as
/// some items of a small phase; pieces even out what cores of one kind differ by, and small ones what those of two do.
#[derive(Clone, Copy)]
struct Cut {
    items: u32,
    /// Items of the first chunk of each thread.
    large: u32,
    /// Items of every other chunk.
    small: u32,
    chunks: u32,
}

impl Cut {
    fn new(items: u32, threads: u32, uneven: bool) -> Self {
        let pieces = if uneven { 8 } else { 4 };
        let large = (items / (2 * threads)).max(1);
        let small = items.div_ceil(pieces * threads);
        let first = threads.min(items / large);
        let rest = items - first * large;
        Self {
            items,
            large,
            small,
            chunks: first + rest.div_ceil(small),
        }
    }

    /// The items of a chunk, of which so many are left behind it: the first one, and the one after the last.
    fn chunk(&self, left: u32, threads: u32) -> (u32, u32) {
        let at = self.chunks - 1 - left;
        let (begin, size) = match at.checked_sub(threads) {
            None => (at * self.large, self.large),
            Some(at) => (threads * self.large + at * self.small, self.small),
        };
        (begin, self.items.min(begin + size))
    }
}

/// The phase whose items are being claimed. The lifetime is erased: it is read only by owners of a chunk, and
/// [`Crew::run`] does not return while a chunk is owned.
#[derive(Clone, Copy)]
struct Open {
    job: Job<'static>,
    cut: Cut,
}

/// A place to sleep until a condition holds.
#[derive(Debug, Default)]
struct Bell {
    asleep: AtomicU32,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Bell {
    /// Wakes whoever sleeps; call after making the condition true with a sequentially consistent store.
    fn ring(&self) {
        if self.asleep.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.bell.notify_all();
        }
    }

    /// Returns once `ready`, which loads sequentially consistently: spins for a while, then sleeps.
    fn wait(&self, ready: impl Fn() -> bool) {
        let mut began = None;
        loop {
            for _ in 0..64 {
                if ready() {
                    return;
                }
                hint::spin_loop();
            }
            if began.get_or_insert_with(Instant::now).elapsed() > SPIN {
                break;
            }
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.fetch_add(1, Ordering::SeqCst);
        while !ready() {
            guard = self
                .bell
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What one thread writes and others wait for, in cache lines of its own: two, since some processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// What a claim touches.
#[derive(Default)]
struct Phase {
    /// Chunks that nobody owns; below zero once threads looked in vain.
    unclaimed: AtomicI32,
    open: UnsafeCell<Option<Open>>,
}

struct Shared {
    phase: Apart<Phase>,
    unfinished: Apart<AtomicU32>,
    threads: u32,
    /// Whether cores are not equally fast.
    uneven: bool,
    stop: AtomicBool,
    panicked: AtomicBool,
    /// Workers wait here for a phase.
    work: Bell,
    /// The caller waits here for the last chunk.
    done: Bell,
}

// SAFETY: `open` is written by the caller while no chunk is owned and read by owners of chunks, ordered by `unclaimed`
// and `unfinished` as described above; what it points to is shareable (`Executable` and `Ctx` are `Sync`).
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Shared {
    /// Claims a chunk: how many are left behind it.
    fn claim(&self) -> Option<u32> {
        let before = self.phase.0.unclaimed.fetch_sub(1, Ordering::Acquire);
        u32::try_from(before).ok()?.checked_sub(1)
    }

    /// Runs kernels, and remembers a panic.
    fn run(&self, kernels: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(kernels)).is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
    }

    /// Runs chunks until none is left.
    fn work(&self) {
        let mut finished = 0;
        while let Some(left) = self.claim() {
            // SAFETY: this thread owns a chunk until it lowers `unfinished`, so `open` is set and does not change.
            if let Some(open) = unsafe { *self.phase.0.open.get() } {
                let (begin, end) = open.cut.chunk(left, self.threads);
                // SAFETY: `Crew::run`'s caller keeps the contract, and each chunk is claimed once.
                self.run(|| unsafe { open.job.run(begin, end) });
            }
            finished += 1;
        }
        if finished > 0 && self.unfinished.0.fetch_sub(finished, Ordering::SeqCst) == finished {
            self.done.ring();
        }
    }

    fn serve(&self) {
        loop {
            let stopped = || self.stop.load(Ordering::SeqCst);
            self.work
                .wait(|| self.phase.0.unclaimed.load(Ordering::SeqCst) > 0 || stopped());
            if stopped() {
                return;
            }
            self.work();
        }
    }
}

/// The worker threads.
pub(super) struct Crew {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl core::fmt::Debug for Crew {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Crew({})", self.workers.len())
    }
}

impl Crew {
    /// Starts so many workers, which keep to these cores, if there are any; fewer, and why, when the system gives no more.
    pub(super) fn start(workers: usize, cores: &[usize]) -> (Self, Option<io::Error>) {
        let mut crew = Self {
            shared: Arc::new(Shared {
                phase: Apart::default(),
                unfinished: Apart::default(),
                threads: workers as u32 + 1,
                uneven: uneven(),
                stop: AtomicBool::new(false),
                panicked: AtomicBool::new(false),
                work: Bell::default(),
                done: Bell::default(),
            }),
            workers: Vec::with_capacity(workers),
        };
        for i in 1..=workers {
            let shared = Arc::clone(&crew.shared);
            let cores = cores.to_vec();
            let worker = thread::Builder::new()
                .name(format!("gem-{i}"))
                .stack_size(STACK)
                .spawn(move || {
                    if !cores.is_empty() {
                        keep_to(&cores);
                    }
                    shared.serve();
                });
            match worker {
                Ok(worker) => crew.workers.push(worker),
                Err(refused) => return (crew, Some(refused)),
            }
        }
        (crew, None)
    }

    /// How many there are.
    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Runs `items` items of a phase, returning when all are finished.
    ///
    /// # Safety
    /// As [`crate::abi::Executable::run`].
    pub(super) unsafe fn run(&mut self, job: &Job<'_>, items: u32) -> Result<()> {
        if items == 1 {
            // SAFETY: the caller keeps the contract. Nobody is woken for a single item, nor may take it elsewhere.
            self.shared.run(|| unsafe { job.run(0, 1) });
        } else if items > 1 {
            // SAFETY: the erased lifetime is not used after `unfinished` is zero, which is awaited below.
            let job = unsafe { core::mem::transmute::<Job<'_>, Job<'static>>(*job) };
            let cut = Cut::new(items, self.shared.threads, self.shared.uneven);
            self.share(Open { job, cut });
        }
        if self.shared.panicked.load(Ordering::Relaxed) {
            return Err(Error::Poisoned);
        }
        Ok(())
    }

    fn share(&mut self, open: Open) {
        let shared = &*self.shared;
        // SAFETY: no chunk is owned: the last phase was awaited, and `&mut self` excludes another caller.
        unsafe { *shared.phase.0.open.get() = Some(open) };
        shared
            .unfinished
            .0
            .store(open.cut.chunks, Ordering::Relaxed);
        let chunks = open.cut.chunks as i32;
        shared.phase.0.unclaimed.store(chunks, Ordering::SeqCst);
        shared.work.ring();
        shared.work();
        shared
            .done
            .wait(|| shared.unfinished.0.load(Ordering::SeqCst) == 0);
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.work.ring();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of kernels; there is nothing else to report.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_all_items_once_and_few() {
        let cases = (1..=9).flat_map(|threads| (2..=400).map(move |items| (threads, items)));
        for ((threads, items), uneven) in cases.flat_map(|case| [(case, false), (case, true)]) {
            let cut = Cut::new(items, threads, uneven);
            let chunks = (0..cut.chunks).rev().map(|left| cut.chunk(left, threads));
            let end = chunks.fold(0, |end, (begin, next)| {
                assert!(begin == end && next > begin, "{items} on {threads}");
                next
            });
            assert_eq!(end, items);
            let most = threads * if uneven { 8 } else { 4 };
            assert!(cut.chunks <= most, "{} of {items} on {threads}", cut.chunks);
        }
    }

    #[test]
    fn what_a_claim_touches_is_one_cache_line() {
        assert!(size_of::<Phase>() <= 64);
    }
}
