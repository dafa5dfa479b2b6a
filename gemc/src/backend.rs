//! A compiled program with its weights, ready to answer: interpreted or as machine code in this process, or compiled by
//! rustc and run as a child. All answer the same questions ([`gem_runtime::protocol::Peer`]).

use std::io::{BufReader, BufWriter, Cursor};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use gem_runtime::abi;
use gem_runtime::protocol::Client;
use gem_runtime::simd::Level;
use gem_runtime::storage::Weights;
use gem_runtime::{Engine, Error, ModelInfo};
use gemc_kernels::ir::interp::InterpProgram;

use crate::cache::Cache;
use crate::emit::cranelift::Effort;
use crate::jit::{JitError, JitProgram};
use crate::output::OutputError;
use crate::package::{Builder, PackageError, Runtime, kept_weights};
use crate::prepared::PreparedModel;
use crate::progress::Progress;

/// An engine that interprets the kernels, on weights packed in memory.
///
/// # Errors
/// When memory or the runtime's checks refuse; never for what gemc itself made.
pub fn interpreted(model: &PreparedModel) -> Result<Engine, Error> {
    let program = InterpProgram::new(&model.compiled.program);
    engine(model, Box::new(program), in_memory(model)?)
}

/// Why there is no engine of machine code.
#[derive(Debug, thiserror::Error)]
pub enum JitEngineError {
    /// The machine code could not be made.
    #[error(transparent)]
    Jit(#[from] JitError),
    /// Memory, or the runtime's checks.
    #[error(transparent)]
    Runtime(#[from] Error),
    /// The program could not be built, or the cache cannot be used.
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// An engine that runs the kernels as machine code of this process, on a weight file of the cache; in memory where there
/// is none, or where it cannot be written.
///
/// # Errors
/// When this machine does not run the target or forbids executable memory; when memory or the runtime's checks refuse.
pub fn jitted(
    model: &PreparedModel,
    effort: Effort,
    progress: &dyn Progress,
) -> Result<Engine, JitEngineError> {
    let program = JitProgram::for_target(&model.compiled.program, &model.target, effort)?;
    let weights = match &model.cache {
        Some(cache) => kept(model, cache, progress)?,
        None => in_memory(model)?,
    };
    Ok(engine(model, Box::new(program), weights)?)
}

/// As [`jitted`], on weights that were built before, of the model's plan and layout.
///
/// # Errors
/// As [`jitted`].
pub fn jitted_on(model: &PreparedModel, weights: Weights) -> Result<Engine, JitEngineError> {
    let program = JitProgram::for_target(&model.compiled.program, &model.target, Effort::Low)?;
    Ok(engine(model, Box::new(program), weights)?)
}

/// Weights of the cache; where it cannot be written, made in memory.
fn kept(
    model: &PreparedModel,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Weights, JitEngineError> {
    match kept_weights(model, cache, progress) {
        Ok(file) => Ok(Weights::open(&file)?),
        // What fails so was being written to the cache.
        Err(error @ (PackageError::Output(_) | PackageError::Weights(Error::Io { .. }))) => {
            if let PackageError::Output(OutputError::Io { source, .. })
            | PackageError::Weights(Error::Io { source, .. }) = &error
            {
                cache.failed(source);
            }
            progress.note(&format!("weights are made again each time: {error}"));
            progress.start("quantising and packing weights", 0);
            Ok(in_memory(model)?)
        }
        Err(error) => Err(error.into()),
    }
}

/// As [`jitted`], for any target's kernels and with a chosen effort: for comparisons.
///
/// # Errors
/// As [`jitted`], but for the target.
pub fn jitted_with(model: &PreparedModel, effort: Effort) -> Result<Engine, JitEngineError> {
    let program = JitProgram::with_effort(&model.compiled.program, effort)?;
    Ok(engine(model, Box::new(program), in_memory(model)?)?)
}

fn in_memory(model: &PreparedModel) -> Result<Weights, Error> {
    let file = model.write_weights(Cursor::new(Vec::new()), &mut |_| {})?;
    Weights::copied(&file.into_inner())
}

/// An engine for a program that was made here.
fn engine(
    model: &PreparedModel,
    program: Box<dyn abi::Executable + Send>,
    weights: Weights,
) -> Result<Engine, Error> {
    // Programs made here check for themselves what they need of the CPU.
    let info = ModelInfo {
        level: Level::Portable,
        ..model.info()
    };
    Engine::new(info, program, weights)
}

/// A program compiled by rustc, with its weights, both in the cache.
#[derive(Clone, Debug)]
pub struct ProgramFiles {
    /// Path of the executable.
    pub path: PathBuf,
    /// Its weight file; the checkpoint's texts lie beside it.
    pub weights: PathBuf,
}

/// Builds a program and its weights, or finds both in the cache.
///
/// # Errors
/// When the cache or cargo fails.
pub fn program(
    model: &PreparedModel,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<ProgramFiles, PackageError> {
    let mut package = model.package(Runtime::Embedded)?;
    // What is asked for is the target's own program.
    package.better.clear();
    let builder = Builder::new(cache, model.target.rust_triple());
    let path = match builder.find(&package)? {
        Some(path) => path,
        None => {
            progress.start("compiling the program", 0);
            builder.build(&package)?
        }
    };
    let weights = kept_weights(model, cache, progress)?;
    Ok(ProgramFiles { path, weights })
}

/// A program that runs as a child and answers over its standard input and output.
#[derive(Debug)]
pub struct ServedProgram {
    /// Sends requests to the program over its standard streams.
    pub client: Client<BufReader<ChildStdout>, BufWriter<ChildStdin>>,
    child: Child,
}

impl ServedProgram {
    /// Starts the child.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &ProgramFiles) -> Result<Self, PackageError> {
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

impl Drop for ServedProgram {
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
