//! A flag that any thread may raise -> the end of a session's call, between two steps of its tokens.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

/// Stops a session's call from another thread, a callback or a signal's handler: see
/// [`Session::cancel_handle`](crate::Session::cancel_handle). Clones are the same handle.
///
/// ```
/// let stop = gem_runtime::Cancel::default();
/// let button = stop.clone();
/// std::thread::spawn(move || button.cancel()).join().unwrap();
/// assert!(stop.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Stops the call that is running, or else the next one.
    pub fn cancel(&self) {
        // Nothing but the flag is told, so no order with other memory is needed.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody wanted it so.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
