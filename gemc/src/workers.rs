//! Work -> the threads of this process. Each has a stack of a known size, whatever the environment says; where the
//! system gives fewer threads than wanted, or none, those that there are do the work, the calling one at least.
//!
//! Invariant: results do not depend on how many threads could be had.

use std::num::NonZero;
use std::thread;

/// Bytes of a thread's stack. Cranelift, `syn` and `prettyplease` recurse with what they are given; the kernels of
/// the examples take less than 256 KiB.
const STACK: usize = 8 << 20;

/// More threads than this are a mistake in the environment.
const MOST: usize = 1024;

/// How many threads to have: `RAYON_NUM_THREADS` where that is a sensible number, else what this process may use.
#[must_use]
pub fn wanted() -> usize {
    let asked = std::env::var("RAYON_NUM_THREADS").ok();
    asked
        .and_then(|n| n.parse().ok())
        .filter(|n| (1..=MOST).contains(n))
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get))
}

/// Calls `work` on the calling thread and on as many others as can be had; returns when all are through. `work` takes
/// from a common store until that is empty.
pub fn share(work: impl Fn() + Sync) {
    share_among(wanted(), STACK, work);
}

fn share_among(threads: usize, stack: usize, work: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 1..threads {
            let thread = thread::Builder::new().stack_size(stack);
            if thread.spawn_scoped(scope, &work).is_err() {
                break;
            }
        }
        work();
    });
}

/// Does `work`, whose parallel parts are rayon's, in a pool of [`wanted`] threads; in one of fewer, or on the calling
/// thread alone, where no more can be had.
#[cfg(any(feature = "calibrate", feature = "cranelift"))]
pub fn within<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static POOL: std::sync::OnceLock<Option<rayon::ThreadPool>> = std::sync::OnceLock::new();
    match POOL.get_or_init(|| pool(wanted(), STACK)) {
        Some(pool) => pool.install(work),
        None => alone(work),
    }
}

/// A pool of so many threads, or fewer; `None` when there is none to be had.
#[cfg(any(feature = "calibrate", feature = "cranelift"))]
fn pool(most: usize, stack: usize) -> Option<rayon::ThreadPool> {
    let halved = |threads: &usize| (*threads > 1).then_some(threads / 2);
    std::iter::successors(Some(most), halved).find_map(|threads| {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let named = builder.thread_name(|i| format!("gemc-{i}"));
        named.stack_size(stack).build().ok()
    })
}

/// Does `work` with the calling thread as rayon's only one. It stays so: rayon keeps the pool, which is small.
#[cfg(any(feature = "calibrate", feature = "cranelift"))]
fn alone<T>(work: impl FnOnce() -> T) -> T {
    if rayon::current_thread_index().is_some() {
        return work();
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build();
    let result = work();
    drop(pool);
    result
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A stack that no system gives.
    const IMPOSSIBLE: usize = 1 << 60;

    #[test]
    fn shared_work_is_done_without_other_threads() {
        for stack in [STACK, IMPOSSIBLE] {
            let (next, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
            share_among(4, stack, || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= 1000 {
                        return;
                    }
                    sum.fetch_add(n, Ordering::Relaxed);
                }
            });
            assert_eq!(sum.into_inner(), 499_500);
        }
    }

    #[cfg(any(feature = "calibrate", feature = "cranelift"))]
    #[test]
    fn parallel_work_is_done_without_a_pool() {
        use rayon::prelude::*;
        assert!(pool(2, IMPOSSIBLE).is_none());
        let sum = || (0..1000_usize).into_par_iter().sum::<usize>();
        // A thread of its own, since it is rayon's from then on.
        let alone = thread::spawn(move || (alone(sum), alone(sum), rayon::current_num_threads()));
        assert_eq!(alone.join().ok(), Some((499_500, 499_500, 1)));
        assert_eq!(within(sum), 499_500);
        assert!(within(rayon::current_thread_index).is_some());
    }
}
