//! `gemc cache`: what is kept, by kind; or an empty cache.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{Failure, Outcome, Run, Ui};
use crate::cache::{self, Cache, Contents, KindContents};

/// Show what is kept of earlier runs, or remove it
#[derive(clap::Args, Debug)]
pub struct CacheArgs {
    /// Remove everything; what other gemc processes may be using stays
    #[arg(long)]
    clear: bool,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

/// [`Contents`] for people.
#[derive(Serialize)]
#[serde(transparent)]
struct Shown(Contents);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contents = &self.0;
        writeln!(f, "{}", contents.folder)?;
        for (name, kind) in &contents.kinds {
            if kind.entries > 0 {
                line(f, name, kind)?;
            }
        }
        writeln!(f, "{}", amount(contents.entries, contents.bytes))?;
        match contents.limit {
            Some(limit) => write!(f, "limit {limit} bytes (GEMC_CACHE_LIMIT); ")?,
            None => write!(f, "no limit, GEMC_CACHE_LIMIT sets one; ")?,
        }
        write!(f, "what is unused for {} days goes", contents.unused_days)
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, kind: &KindContents) -> fmt::Result {
    let amount = amount(kind.entries, kind.bytes);
    write!(f, "  {name:10}  {amount:>24}  {}", kind.what)?;
    match kind.oldest_use.map(ago) {
        Some(ago) => writeln!(f, "; oldest use {ago}"),
        None => writeln!(f),
    }
}

fn amount(entries: usize, bytes: u64) -> String {
    let noun = if entries == 1 { "entry" } else { "entries" };
    format!("{entries} {noun}, {:.2} MB", bytes as f64 / 1e6)
}

/// How long ago a time was, microseconds since 1970.
fn ago(then: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let passed = now.unwrap_or_default();
    let hours = passed.saturating_sub(Duration::from_micros(then)).as_secs() / 3600;
    match (hours / 24, hours) {
        (0, 0) => "within an hour".to_owned(),
        (0, hours) => format!("{hours} h ago"),
        (days, _) => format!("{days} days ago"),
    }
}

/// [`cache::Cleared`] with the place.
#[derive(Serialize)]
struct Cleared {
    folder: String,
    #[serde(flatten)]
    cleared: cache::Cleared,
}

impl fmt::Display for Cleared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cleared = &self.cleared;
        let removed = amount(cleared.removed, cleared.removed_bytes);
        write!(f, "{}: removed {removed}", self.folder)?;
        if cleared.in_use > 0 {
            let stays = amount(cleared.in_use, cleared.in_use_bytes);
            write!(f, "; {stays} stay, which another gemc may be using")?;
        }
        Ok(())
    }
}

impl Run for CacheArgs {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let cache = Cache::open()?;
        if self.clear {
            let folder = cache.root().display().to_string();
            let cleared = cache.clear();
            ui.result(self.json, &Cleared { folder, cleared })?;
        } else {
            ui.result(self.json, &Shown(cache.contents()))?;
        }
        Ok(Outcome::Done)
    }
}
