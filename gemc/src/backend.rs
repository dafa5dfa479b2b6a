//! A compiled program with its weights, ready to answer: interpreted in this process, or compiled by rustc and run as a
//! child. Both answer the same questions ([`gem_runtime::protocol::Peer`]).

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Cursor};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use gem_runtime::protocol::Client;
use gem_runtime::storage::Weights;
use gem_runtime::{Engine, Error, ModelInfo, hex};

use crate::cache::Cache;
use crate::facts;
use crate::kernel::interp::InterpProgram;
use crate::output::{OutputError, OutputFolder};
use crate::package::{Builder, PackageError, Parts, Runtime, WEIGHTS};
use crate::progress::Progress;

/// An engine that interprets the kernels, on weights packed in memory.
///
/// # Errors
/// When memory or the runtime's checks refuse; never for what gemc itself made.
pub fn interpreted(parts: &Parts<'_>) -> Result<Engine, Error> {
    let file = parts.write_weights(Cursor::new(Vec::new()), &mut |_| {})?;
    let weights = Weights::copied(&file.into_inner())?;
    let program = InterpProgram::new(&parts.compiled.program);
    // The interpreter runs every target's kernels on any CPU.
    let info = ModelInfo {
        level: gem_runtime::simd::Level::Portable,
        ..info(parts)
    };
    Engine::new(info, Box::new(program), weights)
}

fn info(parts: &Parts<'_>) -> ModelInfo {
    let layout = &parts.compiled.layout;
    facts::model_info(parts.name, parts.loaded, parts.plan, parts.target, layout)
}

/// A program compiled by rustc, with its weights, both in the cache.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its weight file; the checkpoint's texts lie beside it.
    pub weights: PathBuf,
}

/// Builds a program and its weights, or finds both in the cache.
///
/// # Errors
/// When the cache or cargo fails.
pub fn program(
    parts: &Parts<'_>,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Program, PackageError> {
    let package = parts.package(Runtime::Embedded)?;
    let builder = Builder::new(cache, parts.target.rust_triple());
    let path = match builder.find(&package)? {
        Some(path) => path,
        None => {
            progress.start("compiling the program", 0);
            builder.build(&package)?
        }
    };
    let weights = weights(parts, cache, progress)?;
    Ok(Program { path, weights })
}

/// The weight file in the cache, made if need be; the checkpoint's texts lie beside it.
///
/// # Errors
/// When the cache cannot be written.
pub fn weights(
    parts: &Parts<'_>,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<PathBuf, PackageError> {
    let folder = cache
        .root()
        .join("weights")
        .join(hex(&parts.weights_key()?));
    let file = folder.join(WEIGHTS);
    let sound = Weights::open(&file).is_ok_and(|weights| weights.verify().is_ok());
    if sound {
        return Ok(file);
    }
    let whatever_is_there = |_: &Path| Ok::<(), OutputError>(());
    let making = OutputFolder::replacing(&folder, whatever_is_there)?;
    for (name, bytes) in parts.texts()? {
        let written = fs::write(making.path().join(&name), bytes);
        written.map_err(|e| making.error(&name, e))?;
    }
    let layout = &parts.compiled.layout;
    progress.start("quantising and packing weights", layout.body_bytes());
    let mut before = 0;
    let to = File::create(making.path().join(WEIGHTS)).map_err(|e| making.error(WEIGHTS, e))?;
    parts.write_weights(BufWriter::new(to), &mut |done| {
        progress.advance(done - before);
        before = done;
    })?;
    making.commit()?;
    Ok(file)
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
