//! `org/name` -> the files of that model that gemc reads, in the cache of the Hugging Face hub, in the layout of Hugging
//! Face's own library: `blobs/HASH`, `snapshots/COMMIT/FILE` as links to them, `refs/REVISION`.
//!
//! Invariants: a blob has its name once it is whole and has the right hash; a snapshot gets its links once all its blobs
//! are there; a revision names a commit once its snapshot is there. What was fetched of a file when a run ended is taken up
//! again by the next.

mod choose;
mod client;
mod error;
mod fetch;
mod listing;
mod store;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use client::{Access, Patience};
pub use error::HubError;

use crate::import::hub::{HubCache, HubName, MAIN};
use crate::progress::Progress;
use client::Client;
use store::Store;

/// What is there after a model was fetched.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Pulled {
    /// The snapshot's folder, or the file that was named.
    pub path: PathBuf,
    /// The commit that it is of.
    pub commit: String,
    /// Files of the snapshot that gemc reads.
    pub files: Vec<String>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Bytes that were not there before.
    pub fetched: u64,
}

/// Fetches what gemc reads of a model into the hub's cache; what is there already is not fetched again.
///
/// # Errors
/// When the hub cannot be reached or does not have or give it, a hash is wrong, or the disk is full.
pub fn pull(
    name: &HubName,
    access: Access,
    cache: &HubCache,
    progress: &dyn Progress,
) -> Result<Pulled, HubError> {
    let client = Client::new(access)?;
    let repository = name.repository();
    let revision = name.revision().unwrap_or(MAIN);
    let listing = listing::of(&client, &repository, revision)?;
    let store = Store::open(cache, name)?;
    let of = |file: &str| client.file_url(&repository, &listing.commit, file);
    let mut fetched = 0;
    let mut get = |file: &listing::File| {
        let bytes = fetch::blob(
            &client,
            &store,
            &repository,
            &of(&file.name),
            file,
            progress,
        )?;
        fetched += bytes;
        Ok(store.blob(&file.hash))
    };
    let files = choose::files(name, &listing, &mut |file| {
        progress.start(&format!("fetching {}", file.name), file.size);
        get(file)
    })?;
    let bytes = files.iter().map(|file| file.size).sum();
    let missing: u64 = files.iter().map(|file| store.missing(file)).sum();
    progress.start(&format!("fetching {repository}"), missing);
    for file in &files {
        get(file)?;
    }
    store.link(&listing.commit, &files)?;
    if revision != listing.commit {
        store.refer(revision, &listing.commit)?;
    }
    let snapshot = store.snapshot(&listing.commit);
    Ok(Pulled {
        path: name
            .file()
            .map_or(snapshot.clone(), |file| snapshot.join(file)),
        commit: listing.commit.clone(),
        files: files.into_iter().map(|file| file.name.clone()).collect(),
        bytes,
        fetched,
    })
}
