//! Weights by the `gemc` that is installed: optimised, where this one may not be. It does the work only if it rounds and packs
//! as this one does, by its own word; else nothing is lost.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;

use gemc_format::Rounding;

use crate::cache::Cache;
use crate::pack::PACKING;
use crate::prepared::{Formats, PreparedModel};

/// Has the installed gemc put a model's weights into a cache. Whether it did is seen there.
pub(super) fn keep(prepared: &PreparedModel, formats: &Formats, cache: &Cache) {
    let mut command = Command::new("gemc");
    command
        .arg("weights")
        .arg(prepared.loaded.checkpoint.path())
        .args(["--packing", PACKING, "--target", "portable"])
        .env("GEMC_CACHE", cache.root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let (option, value): (&str, &OsStr) = match formats {
        Formats::Bits(bits) => ("--bits", bits.as_ref()),
        Formats::File(path) => ("--plan", Path::as_os_str(path)),
        Formats::Plan(_) => return,
    };
    let rounding = match prepared.rounding {
        Rounding::Plain => "plain",
        Rounding::Search => "search",
    };
    command
        .arg(option)
        .arg(value)
        .args(["--rounding", rounding]);
    let Ok(status) = command.status() else {
        return;
    };
    if !status.success() {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            eprintln!(
                "note: the installed gemc does not round as this one ({}) or cannot; it is not used",
                env!("CARGO_PKG_VERSION")
            );
        });
    }
}
