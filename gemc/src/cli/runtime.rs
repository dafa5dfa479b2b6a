//! `gemc runtime`: the static library that gives linked objects text and threads, built once for a target.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::choices::Device;
use super::{Failure, Outcome, Run, Ui};
use crate::cache::Cache;
use crate::package::{Builder, Destination, EditedFiles, LIBRARY, PackageError, write_runtime};
use crate::progress::Progress as _;

/// Build libgem_runtime.a: text and threads for objects, for every model of a target
#[derive(clap::Args, Debug)]
pub struct Runtime {
    #[command(flatten)]
    device: Device,
    /// Folder to write; an earlier one is replaced once the new one is complete
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Replace files of the folder even where they were edited
    #[arg(long)]
    overwrite: bool,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

/// What was built.
#[derive(Debug, Serialize)]
struct RuntimeReport {
    target: String,
    triple: String,
    library: String,
    bytes: u64,
}

impl fmt::Display for RuntimeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes as f64 / 1e6;
        write!(f, "{} for {}: {megabytes:.1} MB", self.library, self.triple)
    }
}

fn file_size(path: &Path) -> Result<u64, PackageError> {
    let meta = path.metadata().map_err(PackageError::io(path))?;
    Ok(meta.len())
}

impl Run for Runtime {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        let target = self.device.find()?;
        let edited = match self.overwrite {
            true => EditedFiles::Overwritten,
            false => EditedFiles::Refused,
        };
        let to = Destination::new(&self.output, edited)?;
        ui.start("compiling the runtime", 0);
        let builder = Builder::new(&Cache::open()?, target.rust_triple());
        let library = builder.runtime_library()?;
        write_runtime(to, &library, &target.name)?;
        let place = self.output.join(LIBRARY);
        let built = RuntimeReport {
            bytes: file_size(&place)?,
            library: place.display().to_string(),
            triple: target
                .rust_triple()
                .unwrap_or_else(|| "this machine".to_owned()),
            target: target.name,
        };
        ui.result(self.json, &built)?;
        Ok(Outcome::Done)
    }
}
