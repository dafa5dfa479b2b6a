//! `gemc pull`: the name of a model on the Hugging Face hub -> its files in the hub's cache.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::{Failure, Outcome, Run, Ui};
use crate::hub::{self, Access, HubError, Pulled};
use crate::import::counted;
use crate::import::hub::{HubCache, HubName};

/// Fetch what gemc reads of a model of the Hugging Face hub into the hub's cache; prints where
///
/// Afterwards NAME stands for the model wherever a checkpoint is named. HF_TOKEN, or the file that `hf login` writes, has the
/// token for models that are not public; HF_ENDPOINT names another hub; HF_HUB_CACHE and HF_HOME say where the cache is.
#[derive(clap::Args, Debug)]
pub struct Pull {
    /// org/name, or org/name/FILE.gguf
    #[arg(value_name = "NAME", value_parser = name)]
    name: HubName,
    /// A branch, a tag or a commit; org/name@R is the same
    #[arg(long, value_name = "R")]
    revision: Option<String>,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

fn name(text: &str) -> Result<HubName, &'static str> {
    HubName::parse(Path::new(text))
        .ok_or("allowed: org/name, org/name@revision, org/name/FILE.gguf")
}

#[derive(Serialize)]
struct Report(Pulled);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pulled = &self.0;
        let files = counted(pulled.files.len(), "file");
        writeln!(f, "{}", pulled.path.display())?;
        write!(
            f,
            "commit {}: {files}, {} bytes, of which {} were fetched",
            pulled.commit, pulled.bytes, pulled.fetched
        )
    }
}

impl Run for Pull {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let name = match (self.revision, self.name.revision()) {
            (None, _) => self.name,
            (Some(_), Some(own)) => {
                let words = format!("--revision: {} names the revision {own} already", self.name);
                return Err(Failure::usage(words));
            }
            (Some(revision), None) => {
                let wrong = || {
                    Failure::usage(format!(
                        "--revision {revision}: allowed: a branch, a tag or a commit"
                    ))
                };
                self.name.at(&revision).ok_or_else(wrong)?
            }
        };
        let cache = HubCache::of_process().ok_or(HubError::NoCache)?;
        let pulled = hub::pull(&name, Access::of_process()?, &cache, ui)?;
        ui.result(self.json, &Report(pulled))?;
        Ok(Outcome::Done)
    }
}
