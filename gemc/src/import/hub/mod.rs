//! `org/name` in the place of a path -> where the Hugging Face hub's cache holds that model, if it does.
//!
//! Nothing is fetched here. A folder of that name comes first, so that no download changes what a command means.

mod cache;
mod name;

use std::path::{Path, PathBuf};

pub use cache::HubCache;
#[cfg(feature = "hub")]
pub(crate) use cache::home_of_process;
pub(crate) use cache::model_of_snapshot;
pub use name::{HubName, MAIN};

/// Where a checkpoint stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its folder, or its file.
    pub path: PathBuf,
    /// The file of the hub's cache that says which snapshot a revision means; another may be fetched later.
    pub reference: Option<PathBuf>,
}

/// Where a checkpoint stands that was called `given`: at that path in `root`, or in the hub's cache. What is in neither is
/// said to be at the path, where reading it will tell what is wrong.
#[must_use]
pub fn locate(root: &Path, given: &Path) -> Located {
    let path = root.join(given);
    if !gem_runtime::regular::is_there(&path)
        && let Some(name) = HubName::parse(given)
        && let Some(found) = HubCache::of_process().and_then(|cache| cache.find(&name))
    {
        return found;
    }
    Located {
        path,
        reference: None,
    }
}
