//! The worker threads of a team, and how they share the items of one phase.
//!
//! A phase is cut into chunks. The caller writes the [`Open`] phase, then sets `unclaimed` to the number of chunks;
//! whoever lowers `unclaimed` owns one chunk and may read the open phase; whoever finishes chunks lowers `unfinished`.
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
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Job;
use super::cores::keep_to;
use crate::error::{Error, Result};

/// How long a thread spins before it sleeps: longer than most phases, shorter than a time slice.
const SPIN: Duration = Duration::from_micros(80);

/// Bytes of a worker's stack: kernels keep their arrays there, and the environment must not make it smaller.
const STACK: usize = 2 << 20;

/// Chunks per thread and phase: small enough to even out, large enough to keep the counter cool.
const CHUNKS_PER_THREAD: u32 = 8;

/// The phase whose items are being claimed. The lifetime is erased: it is read only by owners of a chunk, and
/// [`Crew::run`] does not return while a chunk is owned.
#[derive(Clone, Copy)]
struct Open {
    job: Job<'static>,
    items: u32,
    chunk: u32,
    chunks: u32,
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

struct Shared {
    open: UnsafeCell<Option<Open>>,
    unclaimed: AtomicU32,
    unfinished: AtomicU32,
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
    /// Claims a chunk; chunks count down.
    fn claim(&self) -> Option<u32> {
        self.unclaimed
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |n| n.checked_sub(1))
            .ok()
            .map(|n| n - 1)
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
            if let Some(open) = unsafe { *self.open.get() } {
                let begin = (open.chunks - 1 - left) * open.chunk;
                let end = open.items.min(begin + open.chunk);
                // SAFETY: `Crew::run`'s caller keeps the contract, and each chunk is claimed once.
                self.run(|| unsafe { open.job.run(begin, end) });
            }
            finished += 1;
        }
        if finished > 0 && self.unfinished.fetch_sub(finished, Ordering::SeqCst) == finished {
            self.done.ring();
        }
    }

    fn serve(&self) {
        loop {
            let stopped = || self.stop.load(Ordering::SeqCst);
            self.work
                .wait(|| self.unclaimed.load(Ordering::SeqCst) > 0 || stopped());
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
                open: UnsafeCell::new(None),
                unclaimed: AtomicU32::new(0),
                unfinished: AtomicU32::new(0),
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
            let threads = self.workers.len() as u32 + 1;
            let chunk = (items / (threads * CHUNKS_PER_THREAD)).max(1);
            // SAFETY: the erased lifetime is not used after `unfinished` is zero, which is awaited below.
            let job = unsafe { core::mem::transmute::<Job<'_>, Job<'static>>(*job) };
            self.share(Open {
                job,
                items,
                chunk,
                chunks: items.div_ceil(chunk),
            });
        }
        if self.shared.panicked.load(Ordering::Relaxed) {
            return Err(Error::Poisoned);
        }
        Ok(())
    }

    fn share(&mut self, open: Open) {
        let shared = &*self.shared;
        // SAFETY: no chunk is owned: the last phase was awaited, and `&mut self` excludes another caller.
        unsafe { *shared.open.get() = Some(open) };
        shared.unfinished.store(open.chunks, Ordering::Relaxed);
        shared.unclaimed.store(open.chunks, Ordering::SeqCst);
        shared.work.ring();
        shared.work();
        shared
            .done
            .wait(|| shared.unfinished.load(Ordering::SeqCst) == 0);
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
