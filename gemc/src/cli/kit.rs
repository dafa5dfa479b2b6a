//! `gemc bench --pack`: a model and a target -> one program that measures the board it is carried to.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::model::ModelArgs;
use super::{Failure, Outcome, Ui};
use crate::cache::Cache;
use crate::output::OutputFile;
use crate::package::{
    BUNDLE, Builder, Destination, EditedFiles, Linkage, Package, PackageError, ProgramManifest,
    bundle,
};
use crate::prepared::PreparedModel;
use crate::progress::Progress as _;

/// What was made.
#[derive(Debug, Serialize)]
struct Packed {
    program: String,
    target: String,
    bytes: u64,
    requirements: Option<String>,
}

impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes as f64 / 1e6;
        write!(
            f,
            "{}: {megabytes:.1} MB, for {}",
            self.program, self.target
        )?;
        if let Some(requirements) = &self.requirements {
            write!(f, "; {requirements}")?;
        }
        write!(
            f,
            "\ncopy it to the board and run it there; --help shows how"
        )
    }
}

/// Makes the kit.
pub(super) fn pack(
    model: &ModelArgs,
    output: &Path,
    json: bool,
    ui: &Ui,
) -> Result<Outcome, Failure> {
    let model = model.compile()?;
    let triple = model.target.rust_triple();
    let linux = triple.as_deref().unwrap_or(std::env::consts::OS);
    if linux.contains("-apple-") || linux == "macos" {
        return Err(Failure::usage(
            "--pack: a program for Apple's systems, whose signature covers its whole file, cannot carry a model; \
             `gemc targets --measure` measures a Mac",
        ));
    }
    let linkage = match linux.contains("-linux-gnu") || linux == "linux" {
        true => Linkage::Static,
        false => Linkage::Dynamic,
    };
    let builder = Builder::new(&Cache::open()?, triple).linked(linkage);
    builder.toolchain()?;
    let package = model.kit()?;
    let new = !output.exists();
    fs::create_dir_all(output).map_err(PackageError::io(output))?;
    let packed = put(&model, &package, &builder, output, ui);
    if packed.is_err() && new {
        // Nothing stays of what was begun: an empty folder goes.
        let _ = fs::remove_dir(output);
    }
    ui.result(json, &packed?)?;
    Ok(Outcome::Done)
}

/// Builds the program and puts it into the folder.
fn put(
    model: &PreparedModel,
    package: &Package,
    builder: &Builder,
    output: &Path,
    ui: &Ui,
) -> Result<Packed, Failure> {
    let name = format!("{}-bench", package.crate_name());
    let to = OutputFile::attempt(&output.join(&name), BUNDLE)?;
    let beside = tempfile::tempdir().map_err(PackageError::io(&std::env::temp_dir()))?;
    let folder = beside.path().join("model");
    ui.start(
        "quantising and packing weights",
        model.compiled.layout.body_bytes(),
    );
    let mut before = 0;
    model.write(
        Destination::new(&folder, EditedFiles::Refused)?,
        package,
        &mut |done| {
            ui.advance(done.saturating_sub(before));
            before = done;
        },
    )?;
    ui.start("compiling the program", 0);
    let program = builder.build(package)?;
    let about = ProgramManifest::new(&name, &program, builder.toolchain()?)?;
    let bundled = bundle(&program, &[(None, folder)], &to)?;
    Ok(Packed {
        program: bundled.output,
        target: model.target.name.clone(),
        bytes: bundled.bytes,
        requirements: about.requirements.map(|needs| needs.to_string()),
    })
}
