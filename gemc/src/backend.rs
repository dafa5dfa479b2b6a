//! A compiled program with its weights, ready to answer: interpreted or as machine code in this process, or compiled by
//! rustc and run as a child. All answer the same questions ([`gem_runtime::protocol::Peer`]).

use std::io::{BufReader, BufWriter, Cursor};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use gem_runtime::abi;
use gem_runtime::protocol::Client;
use gem_runtime::storage::Weights;
use gem_runtime::{Engine, Error, ModelInfo};

use crate::facts;
use crate::kernel::interp::InterpProgram;
use crate::pack::{self, Origin};
use crate::package::{Builder, PackageError, Parts, Runtime, cache_dir, hash_bytes};
use crate::progress::Progress;

/// An engine that interprets the kernels, on weights packed in memory.
///
/// # Errors
/// When memory or the runtime's checks refuse; never for what gemc itself made.
pub fn interpreted(parts: &Parts<'_>) -> Result<Engine, Error> {
    engine(parts, Box::new(InterpProgram::new(&parts.compiled.program)))
}

/// Why there is no engine of machine code.
#[derive(Debug, thiserror::Error)]
pub enum JitEngineError {
    /// The code.
    #[error(transparent)]
    Jit(#[from] crate::jit::JitError),
    /// Memory, or the runtime's checks.
    #[error(transparent)]
    Runtime(#[from] Error),
}

/// An engine that runs the kernels as machine code of this process, on weights packed in memory.
///
/// # Errors
/// When this machine does not run the target or forbids executable memory; when memory or the runtime's checks refuse.
pub fn jitted(parts: &Parts<'_>) -> Result<Engine, JitEngineError> {
    let program = crate::jit::JitProgram::new(&parts.compiled.program, parts.target)?;
    Ok(engine(parts, Box::new(program))?)
}

/// As [`jitted`], for any target's kernels and with a chosen effort: for comparisons.
///
/// # Errors
/// As [`jitted`], but for the target.
pub fn jitted_with(
    parts: &Parts<'_>,
    effort: crate::emit::cranelift::Effort,
) -> Result<Engine, JitEngineError> {
    let program = crate::jit::JitProgram::with_effort(&parts.compiled.program, effort)?;
    Ok(engine(parts, Box::new(program))?)
}

/// An engine for a program that was made here, on weights packed in memory.
fn engine(parts: &Parts<'_>, program: Box<dyn abi::Program + Send>) -> Result<Engine, Error> {
    let Parts {
        name,
        loaded,
        compiled,
        plan,
        target,
        rounding,
    } = *parts;
    let origin = Origin {
        target: target.name.clone(),
        plan_hash: plan.hash(),
    };
    let to = Cursor::new(Vec::new());
    let weights = loaded.checkpoint.weights();
    let file = pack::write(
        to,
        origin,
        &compiled.layout,
        &loaded.graph,
        weights,
        rounding,
        &mut |_| {},
    )?;
    let weights = Weights::copied(&file.into_inner())?;
    let info = facts::model_info(name, loaded, plan, target, &compiled.layout);
    // Programs made here check for themselves what they need of the CPU.
    let info = ModelInfo {
        level: gem_runtime::simd::Level::Portable,
        ..info
    };
    Engine::new(info, program, weights)
}

/// A program compiled by rustc, with its weights, both in the cache.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its weight file; the checkpoint's texts lie beside it.
    pub weights: PathBuf,
}

/// Builds a program and its package, or finds both in the content-addressed cache.
///
/// # Errors
/// When the cache or cargo fails.
pub fn program(parts: &Parts<'_>, progress: &dyn Progress) -> Result<Program, PackageError> {
    let package = parts.package(Runtime::Embedded)?;
    let cache = cache_dir()?;
    progress.start("compiling the program", 0);
    let path = Builder::new(&cache, parts.target.rust_triple())?.build(&package)?;
    let folder = cache
        .join("packages")
        .join(package_key(parts, &package.inputs));
    let weights = folder.join("model.gemw");
    if !weights.is_file() {
        std::fs::create_dir_all(cache.join("packages")).map_err(PackageError::io(&cache))?;
        progress.start(
            "quantising and packing weights",
            parts.compiled.layout.body_bytes(),
        );
        let mut before = 0;
        parts.write(&folder, &package, &mut |done| {
            progress.advance(done - before);
            before = done;
        })?;
    }
    Ok(Program { path, weights })
}

/// What the weight file depends on: inputs, plan, target, rounding, and the layout's rules by the tool's version.
fn package_key(parts: &Parts<'_>, inputs: &std::collections::BTreeMap<String, String>) -> String {
    let facts = format!(
        "{} {:?} {} {:?} {inputs:?}",
        env!("CARGO_PKG_VERSION"),
        parts.plan.hash(),
        parts.target.name,
        parts.rounding,
    );
    hash_bytes(facts.as_bytes())
}

/// A program that runs as a child and answers over its standard input and output.
#[derive(Debug)]
pub struct Served {
    /// Asks it.
    pub client: Client<BufReader<ChildStdout>, BufWriter<ChildStdin>>,
    child: Child,
}

impl Served {
    /// Starts the child.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Program) -> Result<Self, PackageError> {
        let mut child = command(&program.path, &program.weights)
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(PackageError::io(&program.path))?;
        let broken = || PackageError::io(&program.path)(std::io::ErrorKind::BrokenPipe.into());
        let from = child.stdout.take().ok_or_else(broken)?;
        let to = child.stdin.take().ok_or_else(broken)?;
        Ok(Self {
            client: Client::new(BufReader::new(from), BufWriter::new(to)),
            child,
        })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It ends by itself when its input closes; a child that hangs must not keep us.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command line of a program with its weights.
#[must_use]
pub fn command(program: &Path, weights: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--weights").arg(weights);
    command
}
