//! Processes that use a cache -> a lock that they share, so that whoever empties it knows whether it is alone.
//!
//! Invariant: while a [`super::Cache`] is held, nobody else removes an entry that was used lately. Where a folder cannot be
//! locked, nobody is ever alone, and entries that were used lately stay.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// One of the processes that use a cache; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct User(Option<Arc<File>>);

impl User {
    /// Of the cache in a folder, after whoever is emptying it.
    pub(super) fn of(root: &Path) -> Self {
        // The folder itself: nothing is written to a cache that is only read.
        let locked = File::open(root).and_then(|folder| folder.lock_shared().map(|()| folder));
        Self(locked.ok().map(Arc::new))
    }

    /// Does something while nobody else uses the cache, or while somebody does; `work` hears whether it is alone.
    pub(super) fn perhaps_alone<T>(&self, work: impl FnOnce(bool) -> T) -> T {
        let Some(folder) = &self.0 else {
            return work(false);
        };
        // A lock is not turned into another one: it is given back and taken anew. If neither can be taken, others may
        // be alone from now on, which costs this process a file that it finds missing.
        let alone = folder
            .unlock()
            .and_then(|()| Ok(folder.try_lock()?))
            .is_ok();
        let result = work(alone);
        let _ = folder.unlock().and_then(|()| folder.lock_shared());
        result
    }
}
