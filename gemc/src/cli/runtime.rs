//! `gemc runtime`: the static library that gives linked objects text and threads, built once for a target.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::choices::Device;
use super::{Failure, Outcome, Run, Ui};
use crate::cache::Cache;
use crate::package::{Builder, LIBRARY, write_runtime};
use crate::progress::Progress as _;

/// Build libgem_runtime.a: text and threads for objects, for every model of a target
#[derive(clap::Args, Debug)]
pub struct Runtime {
    #[command(flatten)]
    device: Device,
    /// Folder to write; an earlier one is replaced once the new one is complete
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

/// What was built.
#[derive(Debug, Serialize)]
struct Built {
    target: String,
    triple: String,
    library: String,
    bytes: u64,
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes as f64 / 1e6;
        write!(f, "{} for {}: {megabytes:.1} MB", self.library, self.triple)
    }
}

impl Run for Runtime {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let target = self.device.find()?;
        ui.start("compiling the runtime", 0);
        let builder = Builder::new(&Cache::open()?, target.rust_triple());
        let library = builder.runtime_library()?;
        write_runtime(&self.output, &library, &target.name)?;
        let library = self.output.join(LIBRARY);
        let built = Built {
            bytes: library.metadata()?.len(),
            library: library.display().to_string(),
            triple: target
                .rust_triple()
                .unwrap_or_else(|| "this machine".to_owned()),
            target: target.name,
        };
        ui.result(self.json, &built)?;
        Ok(Outcome::Done)
    }
}
