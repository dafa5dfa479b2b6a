//! `gemc build`: a checkpoint -> a folder for one target: a crate, and its program where asked; or an object for C.

use std::fmt;
use std::path::{Path, PathBuf};

use gem_runtime::{DEFAULT_CONTEXT, Task};
use serde::Serialize;

use super::emit::{self, Stage};
use super::model::{Model, ModelArgs};
use super::{Failure, Outcome, Run, Ui};
use crate::cache::Cache;
use crate::emit::cranelift::object::{DEFAULT_PREFIX, is_prefix};
use crate::package::{
    Builder, Destination, EditedFiles, Form, Linkage, Manifest, PackageError, ProgramManifest,
    Requirements, Runtime, hash_file,
};
use crate::planner::Predicted;
use crate::progress::Progress as _;
use crate::target::{Costs, Target};
use crate::work;

/// Compile a checkpoint into a crate, or an object for C, for one target
#[derive(clap::Args, Debug)]
pub struct Build {
    #[command(flatten)]
    model: ModelArgs,
    /// Folder to write; an earlier one is replaced once the new one is complete. Hidden files, such as .git, and cargo's
    /// target stay
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// What the folder holds
    #[arg(long, value_enum, default_value_t = Format::Crate)]
    format: Format,
    /// Beginning of exported symbols, with obj and staticlib, so that several models link into one program [default: gem]
    #[arg(long, value_name = "NAME", value_parser = prefix)]
    prefix: Option<String>,
    /// Name of the crate and its program, or of the object; the checkpoint folder's name unless given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Also compile the program, to DIR/bin/NAME
    #[arg(long)]
    bin: bool,
    /// With --bin: a program that needs no C library of the machine that runs it; for Linux
    #[arg(long, requires = "bin")]
    r#static: bool,
    /// Also write what stages made, to DIR/emit
    #[arg(long, value_enum, value_name = "STAGE", value_delimiter = ',')]
    emit: Vec<Stage>,
    /// Fail, and change nothing, where the plan, an input or any file would differ from what DIR/manifest.json says, or a
    /// file in DIR does; files that are missing are written as it says
    #[arg(long)]
    locked: bool,
    /// Replace files of DIR even where they were edited since gemc wrote them
    #[arg(long, conflicts_with_all = ["locked", "check"])]
    overwrite: bool,
    /// Have the crate depend on this gem-runtime, and not on sources of its own, so that several models of a program share it: a
    /// published version, or the folder of the crate (see `gemc runtime --sources`)
    #[arg(long, value_name = "VERSION|DIR", value_parser = runtime)]
    runtime: Option<Runtime>,
    /// Write nothing: compare what would be written with what DIR holds, and fail where it differs
    #[arg(long, conflicts_with = "bin")]
    check: bool,
    /// Write one JSON value
    #[arg(long)]
    json: bool,
}

/// What a build gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A Rust crate
    Crate,
    /// An object file with gem.h; needs no Rust toolchain
    Obj,
    /// The same as a static library
    Staticlib,
}

impl Format {
    /// How an object is wrapped; nothing for a crate.
    const fn form(self) -> Option<Form> {
        match self {
            Self::Crate => None,
            Self::Obj => Some(Form::Object),
            Self::Staticlib => Some(Form::Library),
        }
    }
}

fn prefix(text: &str) -> Result<String, &'static str> {
    match is_prefix(text) {
        true => Ok(text.to_owned()),
        false => Err("allowed are up to 64 letters, digits and `_`, not beginning with a digit"),
    }
}

/// A version as the registry has them, or a folder with a manifest.
fn runtime(text: &str) -> Result<Runtime, &'static str> {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if text.split('.').count() <= 3 && text.split('.').all(number) {
        return Ok(Runtime::Version(text.to_owned()));
    }
    match !text.is_empty() && Path::new(text).join("Cargo.toml").is_file() {
        true => Ok(Runtime::Path(text.to_owned())),
        false => {
            Err("allowed are numbers, 0.1.0 for instance, and the folder of a crate gem-runtime")
        }
    }
}

/// The way from a folder that may not be there yet to one that is, as cargo wants it in a manifest.
fn relative(from: &Path, to: &Path) -> Result<String, Failure> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(PackageError::io(path));
    let to = to.canonicalize().map_err(PackageError::io(to))?;
    let from = absolute(from)?;
    let there = from.ancestors().find(|above| above.exists());
    let real = there.map(|above| above.canonicalize().map_err(PackageError::io(above)));
    let real = real.transpose()?.unwrap_or_default();
    let below = there.and_then(|above| from.strip_prefix(above).ok());
    let from = real.join(below.unwrap_or(Path::new("")));
    let common = from.components().zip(to.components());
    let common = common.take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| "..".to_owned());
    let down = to.components().skip(common);
    let down = down.map(|part| part.as_os_str().to_string_lossy().into_owned());
    Ok(up.chain(down).collect::<Vec<_>>().join("/"))
}

/// What `--json` says of a build.
#[derive(Debug, Serialize)]
struct BuildReport {
    name: String,
    target: String,
    output: String,
    bits_per_weight: f64,
    weight_bytes: u64,
    arena_bytes: u32,
    kv_bytes_per_position: u32,
    /// Of layers with windows, whatever the context.
    ring_bytes: u32,
    kernels: usize,
    phases: usize,
    program: Option<String>,
    /// Of the program, beside the kernel; nothing where it cannot be told.
    requirements: Option<Requirements>,
    /// What the target's costs say, where it has any.
    predicted: Option<PredictedSpeed>,
}

/// Milliseconds by the target's costs.
#[derive(Clone, Copy, Debug, Serialize)]
struct PredictedSpeed {
    /// Whether nobody has measured the costs.
    projected: bool,
    /// Tokens of a prompt or text.
    tokens: u32,
    /// All of them at once.
    prompt_ms: f64,
    /// A position: 512, or as many as there are.
    position: u32,
    /// A token at it; none of a model of whole texts.
    token_ms: Option<f64>,
}

impl PredictedSpeed {
    fn of(model: &Model) -> Option<Self> {
        const TOKENS: u32 = 128;
        const POSITION: u32 = 512;
        let compiled = &model.compiled;
        let costs = model.costs()?;
        let (graph, plan, work) = (&model.loaded.graph, &model.plan, work::of(compiled));
        let info = model.info();
        let tokens = TOKENS.min(info.max_positions);
        let position = POSITION.min(info.max_positions);
        let token = (info.task == Task::CausalLm)
            .then(|| Predicted::token(graph, &work, plan, &costs, position - 1));
        Some(Self {
            projected: costs.projected,
            tokens,
            prompt_ms: Predicted::prompt(graph, &work, plan, &costs, tokens).ok()?,
            position,
            token_ms: token.transpose().ok()?,
        })
    }
}

impl fmt::Display for PredictedSpeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Costs::word(self.projected);
        write!(
            f,
            "{word}: {} tokens at once {:.3} ms",
            self.tokens, self.prompt_ms
        )?;
        match self.token_ms {
            Some(ms) => write!(f, ", a token at position {} {ms:.3} ms", self.position),
            None => Ok(()),
        }
    }
}

impl BuildReport {
    /// What is to be said where the device has less memory than a session with its usual context takes.
    fn too_large(&self, target: &Target, max_positions: u32) -> Option<String> {
        let memory = target.memory.as_ref()?;
        let context = max_positions.min(DEFAULT_CONTEXT);
        let kv = u64::from(self.kv_bytes_per_position) * u64::from(context);
        let session = u64::from(self.arena_bytes) + u64::from(self.ring_bytes) + kv;
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        let needed = self.weight_bytes + session;
        (needed > memory.ram).then(|| {
            format!(
                "{} has {:.1} GB of memory, and weights with a context of {context} positions take {:.1} GB",
                target.name,
                gigabytes(memory.ram),
                gigabytes(needed)
            )
        })
    }
}

impl fmt::Display for BuildReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} for {} in {}", self.name, self.target, self.output)?;
        writeln!(
            f,
            "  {:.3} bits per weight, {:.1} MB of weights",
            self.bits_per_weight,
            self.weight_bytes as f64 / 1e6
        )?;
        writeln!(f, "  {} kernels in {} phases", self.kernels, self.phases)?;
        let (arena, kv) = (
            (f64::from(self.arena_bytes) + f64::from(self.ring_bytes)) / 1e6,
            f64::from(self.kv_bytes_per_position) / 1e3,
        );
        write!(
            f,
            "  memory while running: {arena:.1} MB + {kv:.1} KB per position of context"
        )?;
        if let Some(predicted) = &self.predicted {
            write!(f, "\n  {predicted}")?;
        }
        if let Some(program) = &self.program {
            write!(f, "\n  program: {program}")?;
        }
        if let Some(requirements) = &self.requirements {
            write!(f, "\n  {requirements}")?;
        }
        Ok(())
    }
}

impl Build {
    /// Flags that contradict each other.
    fn consistent(&self) -> Result<(), Failure> {
        let wrong = match self.format.form() {
            Some(_) if self.bin => "--bin needs --format crate: an object is not a program",
            Some(_) if self.runtime.is_some() => {
                "--runtime needs --format crate: an object links no runtime"
            }
            None if self.prefix.is_some() => "--prefix needs --format obj or staticlib",
            _ => return Ok(()),
        };
        Err(Failure::usage(wrong))
    }

    /// What builds the program, where one is asked for; tells before any work what it lacks.
    fn builder(&self, model: &Model) -> Result<Option<Builder>, Failure> {
        if !self.bin {
            return Ok(None);
        }
        let linkage = match self.r#static {
            true => Linkage::Static,
            false => Linkage::Dynamic,
        };
        let builder = Builder::new(&Cache::open()?, model.target.rust_triple()).linked(linkage);
        builder.toolchain()?;
        Ok(Some(builder))
    }

    /// Tries the output, before anything is done.
    fn destination(&self) -> Result<(Destination, Option<Manifest>), Failure> {
        let edited = match (self.overwrite, self.locked) {
            (true, _) => EditedFiles::Overwritten,
            (_, true) => EditedFiles::RefusedWithLock,
            _ => EditedFiles::Refused,
        };
        let locked = self.locked.then(|| Manifest::locked(&self.output));
        let locked = locked.transpose()?;
        Ok((Destination::new(&self.output, edited)?, locked))
    }

    /// Builds beside, and says which files differ from those at the output.
    fn compare(&self, model: &Model, ui: &Ui) -> Result<Outcome, Failure> {
        let beside = tempfile::tempdir().map_err(PackageError::io(&std::env::temp_dir()))?;
        let fresh = beside.path().join("fresh");
        let locked = self.locked.then(|| Manifest::locked(&self.output));
        let to = Destination::new(&fresh, EditedFiles::Refused)?;
        self.write(to, locked.transpose()?, model, ui)?;
        let drift = Drift {
            output: self.output.display().to_string(),
            differing: differing(&fresh, &self.output)?,
        };
        if self.json {
            ui.result(true, &drift)?;
        }
        match (drift.differing.is_empty(), self.json) {
            (true, true) => {}
            (true, false) => ui.note(&drift.to_string()),
            // The result has said it.
            (false, true) => return Err(Failure::Told(1)),
            (false, false) => return Err(Failure::Input(drift.to_string().into())),
        }
        Ok(Outcome::Done)
    }

    /// Writes the folder; gives the name of what is in it, and the program's path with what is to be known of it.
    fn write(
        &self,
        to: Destination,
        locked: Option<Manifest>,
        model: &Model,
        ui: &Ui,
    ) -> Result<(String, Option<(PathBuf, ProgramManifest)>), Failure> {
        let builder = self.builder(model)?;
        let dumps = emit::texts(self.emit.clone(), model, ui)?;
        let total = model.compiled.layout.body_bytes();
        let mut before = 0;
        let mut progress = |done: u64| {
            ui.advance(done.saturating_sub(before));
            before = done;
        };
        if let Some(form) = self.format.form() {
            let object = model.object(self.prefix.as_deref().unwrap_or(DEFAULT_PREFIX))?;
            let mut linkable = model.linkable(form, object)?;
            linkable.texts.extend(dumps);
            linkable.locked = locked;
            ui.start("quantising and packing weights", total);
            model.write_linkable(to, &linkable, &mut progress)?;
            return Ok((linkable.file_name(), None));
        }
        let runtime = match &self.runtime {
            Some(Runtime::Path(path)) => Runtime::Path(relative(&self.output, Path::new(path))?),
            Some(other) => other.clone(),
            None => Runtime::Embedded,
        };
        let mut package = model.package(runtime)?;
        package.texts.extend(dumps);
        package.locked = locked;
        ui.start("quantising and packing weights", total);
        model.write(to, &package, &mut progress)?;
        let mut program = None;
        if let Some(builder) = builder {
            ui.start("compiling the program", 0);
            program = Some(builder.build_into(&package, &self.output)?);
        }
        Ok((package.crate_name(), program))
    }
}

/// What a folder is unlike a build.
#[derive(Debug, Serialize)]
struct Drift {
    output: String,
    /// In the order of their paths; none where the folder is up to date.
    differing: Vec<Differing>,
}

/// A file that is not what a build gives.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Differing {
    /// Path in the folder.
    file: String,
    /// What it is instead.
    is: Unlike,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Unlike {
    Missing,
    Different,
}

impl fmt::Display for Differing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is {
            Unlike::Missing => write!(f, "{} is missing", self.file),
            Unlike::Different => write!(f, "{} differs", self.file),
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.differing.is_empty() {
            return write!(f, "{} is up to date", self.output);
        }
        let files: Vec<String> = self.differing.iter().map(ToString::to_string).collect();
        write!(
            f,
            "{} differs from what this build makes: {}; build it again without --check",
            self.output,
            files.join(", ")
        )
    }
}

/// Files of a folder, by their paths in it, that another lacks or has with other contents.
fn differing(fresh: &Path, other: &Path) -> Result<Vec<Differing>, Failure> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let full = fresh.join(&folder);
        for item in std::fs::read_dir(&full).map_err(PackageError::io(&full))? {
            let item = item.map_err(PackageError::io(&full))?;
            let name = folder.join(item.file_name());
            let (path, there) = (item.path(), other.join(&name));
            if path.is_dir() {
                folders.push(name);
            } else {
                let is = match there.is_file() {
                    false => Some(Unlike::Missing),
                    true => (hash_file(&path)? != hash_file(&there)?).then_some(Unlike::Different),
                };
                let file = name.display().to_string();
                found.extend(is.map(|is| Differing { file, is }));
            }
        }
    }
    found.sort();
    Ok(found)
}

impl Run for Build {
    fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        self.consistent()?;
        let destination = match self.check {
            true => None,
            false => Some(self.destination()?),
        };
        let mut model = self.model.compile()?;
        if let Some(name) = &self.name {
            model.name.clone_from(name);
        }
        let Some((to, locked)) = destination else {
            return self.compare(&model, ui);
        };
        let (name, program) = self.write(to, locked, &model, ui)?;
        let (program, about) = program.unzip();
        let layout = &model.compiled.layout;
        let program_ir = model.compiled.program.program();
        let built = BuildReport {
            name,
            target: model.target.name.clone(),
            output: self.output.display().to_string(),
            bits_per_weight: layout.bits_per_weight(),
            weight_bytes: layout.weight_bytes(),
            arena_bytes: program_ir.shape.arena_bytes,
            kv_bytes_per_position: program_ir.shape.kv_bytes_per_position,
            ring_bytes: program_ir.shape.ring_bytes,
            kernels: program_ir.kernels.len(),
            phases: program_ir.body.len() + program_ir.head.len(),
            program: program.map(|p| p.display().to_string()),
            requirements: about.and_then(|about| about.requirements),
            predicted: PredictedSpeed::of(&model),
        };
        if let Some(warning) = built.too_large(&model.target, model.info().max_positions) {
            ui.note(&format!("warning: {warning}"));
        }
        ui.result(self.json, &built)?;
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_a_version_or_a_folder_that_is_one() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().to_str().expect("UTF-8");
        assert_eq!(runtime("0.1.0"), Ok(Runtime::Version("0.1.0".to_owned())));
        assert!(runtime(path).is_err() && runtime("0.1.x").is_err() && runtime("").is_err());
        std::fs::write(dir.path().join("Cargo.toml"), "").expect("space");
        assert_eq!(runtime(path), Ok(Runtime::Path(path.to_owned())));
    }

    #[test]
    fn a_model_that_a_device_has_no_memory_for_is_told() {
        let report = |weight_bytes| BuildReport {
            name: "big".to_owned(),
            target: "pi4".to_owned(),
            output: "out".to_owned(),
            bits_per_weight: 4.25,
            weight_bytes,
            arena_bytes: 1 << 20,
            kv_bytes_per_position: 10_000,
            ring_bytes: 0,
            kernels: 1,
            phases: 1,
            program: None,
            requirements: None,
            predicted: None,
        };
        let find = |name: &str| Target::find(name).expect("built in");
        let ram = find("pi4").memory.expect("a device's").ram;
        let told = |bytes, positions| report(bytes).too_large(&find("pi4"), positions);
        assert_eq!(told(ram / 2, 1 << 17), None);
        // A longer context than sessions have by themselves does not count.
        assert_eq!(told(ram - (42 << 20), 1 << 17), None);
        let says = told(ram - (2 << 20), 1 << 17).expect("too large");
        assert!(
            says.contains("pi4 has 4.3 GB of memory") && says.contains("4096 positions"),
            "{says}"
        );
        assert_eq!(report(ram * 9).too_large(&find("aarch64"), 1), None);
    }

    #[test]
    fn the_way_to_a_folder_is_relative() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let to = dir.path().join("a/runtime");
        std::fs::create_dir_all(&to).expect("space");
        let way = |from: &str| relative(&dir.path().join(from), &to).ok();
        assert_eq!(way("a/model").as_deref(), Some("../runtime"));
        assert_eq!(way("b/c").as_deref(), Some("../../a/runtime"));
        assert_eq!(way("").as_deref(), Some("a/runtime"));
        assert!(relative(dir.path(), &dir.path().join("none")).is_err());
    }
}
