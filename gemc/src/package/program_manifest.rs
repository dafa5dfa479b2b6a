//! `bin/manifest.json`: what a built program is, and what it needs of the machine that runs it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::toolchain::{Linkage, Toolchain};
use super::{PackageError, Requirements, hash_file};

/// Contents of `bin/manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramManifest {
    /// Always `gemc`.
    pub tool: String,
    /// Version of the gemc that built it.
    pub version: String,
    /// File name of the program.
    pub program: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// The Rust target it was compiled for.
    pub triple: String,
    /// First line of `rustc --version`.
    pub rustc: String,
    /// Whether everything is inside.
    pub r#static: bool,
    /// What it needs beside the kernel; nothing where it cannot be told, as of programs that are no ELF files.
    pub requirements: Option<Requirements>,
}

impl ProgramManifest {
    /// Of the program at a path.
    pub(crate) fn new(
        name: &str,
        program: &Path,
        toolchain: &Toolchain,
    ) -> Result<Self, PackageError> {
        Ok(Self {
            tool: "gemc".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: name.to_owned(),
            sha256: hash_file(program)?,
            triple: toolchain.triple.clone(),
            rustc: toolchain.rustc.name().to_owned(),
            r#static: toolchain.linkage == Linkage::Static,
            requirements: Requirements::of(program),
        })
    }

    pub(super) fn to_json(&self) -> String {
        // Strings and lists always serialise.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        text + "\n"
    }
}
